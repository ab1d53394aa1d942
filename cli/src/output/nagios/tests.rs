//! Literal lines from literal states.

use super::*;
use crate::{
    control::{Bind, GroupNode, Problem, ServerState, Vip},
    statistics::tests::{backend, frontend, server, status, time},
};

const DEFAULT: Thresholds<'static> =
    Thresholds { servers: [100, 1], sessions: [80, 90], backends: &[], role: None };

fn pair() -> Status {
    let mut status =
        status(vec![frontend("web")], vec![backend("app", vec![server("web1"), server("web2")])]);
    let node = |name: &str, local, state: &str| GroupNode {
        name: name.to_owned(),
        local,
        state: Some(state.to_owned()),
        since: None,
        ready: Some(Ready::Yes),
        priority: None,
        heard: None,
        silent: false,
    };
    status.groups.push(crate::control::Group {
        name: "default".to_owned(),
        vips: vec![Vip {
            name: "web".to_owned(),
            addresses: vec!["192.0.2.10".to_owned()],
            unheld: Vec::new(),
            installed: Vec::new(),
            interface: None,
            vrid: 51,
            interval_ms: 100,
            routers: Vec::new(),
        }],
        holders: vec!["lb1".to_owned()],
        since: None,
        why: "it is better".to_owned(),
        nodes: vec![node("lb1", true, "Active"), node("lb2", false, "Backup")],
        transitions: Vec::new(),
        counters: Default::default(),
    });
    status
}

fn take_down(status: &mut Status, servers: &[usize]) {
    for &index in servers {
        let server = &mut status.backends[0].servers[index];
        server.state = ServerState::Down;
        server.statistics.is_in_use = false;
        if let Some(check) = &mut server.last_check {
            (check.passed, check.code, check.what) =
                (false, "L4CON".to_owned(), "connection refused".to_owned());
        }
    }
}

const FIGURES: &str = " 'connections web'=4;1600;1800;0;2000 'requests web'=71c '5xx web'=6c";

#[test]
fn a_healthy_pair_is_ok_and_says_so_in_one_line() {
    let report = judge(&pair(), &DEFAULT);
    assert_eq!(report.level.code(), 0);
    assert_eq!(
        report.text,
        format!("LBCTL OK - lb1; Active for web; app 2 of 2 servers |{FIGURES} 'servers app'=2;2:;1:;0;2\n")
    );
}

#[test]
fn a_server_that_is_down_is_a_warning_and_all_of_them_are_critical() {
    let mut status = pair();
    take_down(&mut status, &[1]);
    let report = judge(&status, &DEFAULT);
    assert_eq!(report.level.code(), 1);
    let what = "app: 1 of 2 servers usable (web2 L4CON connection refused, 5 of 5 failed)";
    assert_eq!(
        report.text,
        format!("LBCTL WARNING - {what} |{FIGURES} 'servers app'=1;2:;1:;0;2\nWARNING: {what}\n")
    );
    take_down(&mut status, &[0]);
    assert_eq!(judge(&status, &DEFAULT).level, Level::Critical);
}

#[test]
fn thresholds_are_percents_of_the_servers_and_of_maxconn() {
    let level = |down: &[usize], servers, sessions, connections| {
        let mut status = pair();
        take_down(&mut status, down);
        status.frontends[0].connections = connections;
        judge(&status, &Thresholds { servers, sessions, ..DEFAULT }).level
    };
    assert_eq!(level(&[1], [50, 1], [80, 90], 0), Level::Ok);
    assert_eq!(level(&[1], [100, 51], [80, 90], 0), Level::Critical);
    assert_eq!(level(&[0, 1], [0, 0], [80, 90], 0), Level::Ok);
    let connections =
        [1_599, 1_600, 1_799, 1_800].map(|connections| level(&[], [100, 1], [80, 90], connections));
    assert_eq!(connections, [Level::Ok, Level::Warning, Level::Warning, Level::Critical]);
}

#[test]
fn the_gravest_comes_first_and_every_problem_is_told() {
    let mut status = pair();
    take_down(&mut status, &[1]);
    status.groups[0].holders.clear();
    status.groups[0].why = "a|b\nc".to_owned();
    let taken = Bind { error: Some("taken".to_owned()), ..status.frontends[0].binds[0].clone() };
    status.frontends[0].binds.push(taken);
    status.problems.push(Problem {
        what: "lb2 is silent".to_owned(),
        since: Some(time("2026-09-21T13:00:00Z")),
        look_at: "no hello.".to_owned(),
    });
    let report = judge(&status, &DEFAULT);
    let lines: Vec<_> = report.text.lines().collect();
    assert!(lines[0].starts_with("LBCTL CRITICAL - nobody holds web: a/b"), "{}", report.text);
    assert!(lines[0].contains(" (and 3 more) |"), "{}", report.text);
    assert_eq!(lines[0].matches('|').count(), 1);
    assert!(lines[1].starts_with("CRITICAL: nobody holds web"), "{}", report.text);
    assert_eq!(lines[2], "CRITICAL: web does not listen on *:80: taken");
    assert!(lines[3].starts_with("WARNING: app: 1 of 2 servers usable"), "{}", report.text);
    assert_eq!(lines[4], "WARNING: lb2 is silent: no hello.");
    assert_eq!(lines.len(), 5);
}

#[test]
fn two_holders_faults_and_the_wrong_role_are_found() {
    let mut status = pair();
    status.groups[0].holders.push("lb2".to_owned());
    assert!(judge(&status, &DEFAULT).text.starts_with("LBCTL CRITICAL - lb1 and lb2 hold web |"));
    let mut status = pair();
    status.groups[0].nodes[0].ready = Some(Ready::Fault { reason: "worker 1 stalled".to_owned() });
    assert!(
        judge(&status, &DEFAULT).text.starts_with("LBCTL CRITICAL - lb1 can't hold web: worker 1 stalled |")
    );
    let role = |role| judge(&pair(), &Thresholds { role: Some(role), ..DEFAULT });
    assert_eq!(role("active").level, Level::Ok);
    assert!(role("backup").text.starts_with("LBCTL WARNING - lb1 is Active for web, not backup |"));
}

#[test]
fn one_backend_alone_can_be_looked_at() {
    let mut status = pair();
    status.backends.push(backend("mail", vec![server("m1")]));
    take_down(&mut status, &[1]);
    let only = |names: &[String]| judge(&status, &Thresholds { backends: names, ..DEFAULT });
    let report = only(&["mail".to_owned()]);
    assert_eq!(
        report.text,
        "LBCTL OK - lb1; Active for web; mail 1 of 1 servers | 'servers mail'=1;1:;1:;0;1\n"
    );
    assert_eq!(only(&["app".to_owned()]).level, Level::Warning);
    assert_eq!(only(&["typo".to_owned()]).text, "LBCTL UNKNOWN - no backend is called typo\n");
}
