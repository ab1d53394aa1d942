//! The screens that the book prints are what the renderer prints.

use std::{fs, path::Path};

use super::{claim, healthy, time};
use crate::{
    control::{Check, Problem, ServerState, Status},
    output::{Paint, status::render},
};

/// What `page` prints between `opening` and the end of the block is this screen.
#[track_caller]
fn assert_printed(page: &str, opening: &str, status: &Status) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let after_opening = text.split(opening).nth(1).unwrap_or_else(|| panic!("{page} has no {opening:?}"));
    let printed = after_opening.split("```").next().expect("split yields one");
    let screen = render(status, Paint::Never);
    assert_eq!(printed, screen, "{page} prints\n{printed}\nbut lbctl prints\n{screen}");
}

/// One IPv4 address, as this version has it.
fn pair() -> Status {
    let mut status = healthy();
    status.version = "0.1.0".to_owned();
    status.peers[0].version = Some(status.version.clone());
    let group = &mut status.groups[0];
    group.vips[0].addresses.truncate(1);
    group.vips[0].installed.truncate(1);
    group.why = "lb2 gave it up".to_owned();
    group.transitions = vec![claim()];
    status
}

#[test]
fn the_screen_of_operations_is_what_the_renderer_prints() {
    assert_printed("docs/operations.md", "[--watch [SECONDS]] [--control PATH]\n```\n\n```\n", &pair());
}

#[test]
fn the_screen_of_the_readme_is_what_the_renderer_prints() {
    let mut status = pair();
    status.started = time("2026-09-21T12:09:20Z");
    let hash = "ce6004bb".to_owned();
    status.file.hash.clone_from(&hash);
    status.peers[0].hash = Some(hash);
    let group = &mut status.groups[0];
    group.vips[0].interface = Some("eth0".to_owned());
    group.why = "nobody advertises, listened for 300 ms".to_owned();
    group.since = Some(time("2026-09-21T12:10:20Z"));
    let claimed = &mut group.transitions[0];
    claimed.detected = time("2026-09-21T12:10:20Z");
    claimed.at = claimed.detected;
    claimed.heard = None;
    claimed.added = Some(time("2026-09-21T12:10:20.000412Z"));
    claimed.announced = Some(time("2026-09-21T12:10:20.000480Z"));
    group.nodes[1].heard = Some(time("2026-09-21T14:13:19.9Z"));
    let backend = &mut status.backends[0];
    backend.name = "web".to_owned();
    for server in &mut backend.servers {
        server.since = status.started;
        let check = server.last_check.as_mut().expect("checked");
        check.code = "L4OK".to_owned();
        check.what = String::new();
    }
    let web2 = &mut backend.servers[1];
    web2.state = ServerState::Down;
    web2.since = time("2026-09-21T14:13:08Z");
    web2.in_flight = 0;
    web2.last_check = Some(Check {
        passed: false,
        code: "L4CON".to_owned(),
        what: "connection refused".to_owned(),
        info: String::new(),
        microseconds: 100,
        in_a_row: 7,
        fall: 3,
        at: time("2026-09-21T14:13:19Z"),
    });
    status.problems = vec![Problem {
        what: "web/web2 is down".to_owned(),
        since: Some(time("2026-09-21T14:13:08Z")),
        look_at:
            "192.0.2.22:80: L4CON connection refused. Does the service run there? The other server carries all."
                .to_owned(),
    }];
    assert_printed("README.md", "$ lbctl status\n", &status);
}
