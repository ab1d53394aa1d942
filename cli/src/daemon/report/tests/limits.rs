//! Limits that are reached, and servers that don't answer.

use std::time::SystemTime;

use super::*;

/// 10 s after the start of the daemon.
const NOW: u64 = 1_789_995_610;

fn ago(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - seconds)
}

fn healthy() -> World {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    world
}

fn frontend(full_since: Option<SystemTime>) -> proxy::FrontendStatus {
    proxy::FrontendStatus {
        name: "web".to_owned(),
        mode: Default::default(),
        binds: Vec::new(),
        paused: None,
        connections: 60,
        connections_peak: 60,
        maxconn: 60,
        full_since,
        connections_total: 0,
        connection_rate: Default::default(),
        requests_total: 0,
        request_rate: Default::default(),
        request_errors: 0,
        requests_per_second: 0.0,
        responses: [0; 6],
        server_errors_per_minute: 0,
        bytes_in: 0,
        bytes_out: 0,
        compressed: Default::default(),
        refused: Vec::new(),
        counters: Vec::new(),
    }
}

#[test]
fn process_and_frontends_that_are_full_are_problems_for_as_long_as_clients_wait() {
    let mut world = healthy();
    world.proxy.frontends = vec![frontend(None)];
    assert_eq!(world.status(10_000).problems, []);
    world.proxy.frontends = vec![frontend(Some(ago(8)))];
    let status = world.status(10_000);
    let rest = "clients wait in the kernel's queue. Raise maxconn, or see who holds them: ss -tnp state established.";
    assert_eq!(only_problem(&status), format!("frontend web is full: 60 of 60 connections; {rest}"));
    assert_eq!(status.at.saturating_since(status.problems[0].since.expect("known")), Duration::from_secs(8));
    let mut world = healthy();
    let maxconn = world.config.proxy.maxconn;
    world.proxy.connections = maxconn.into();
    world.proxy.full_since = Some(ago(8));
    let expected = format!("the process is full: {maxconn} of {maxconn} connections; {rest}");
    assert_eq!(only_problem(&world.status(10_000)), expected);
}

#[test]
fn too_few_open_files_are_a_problem_that_lasts_and_bound_every_frontend() {
    let mut world = healthy();
    world.proxy.maxconn = 41;
    // Nobody has asked for more.
    assert_eq!(world.status(10_000).problems, []);
    world.config.proxy.maxconn = 500;
    world.proxy.frontends = vec![frontend(None)];
    let status = world.status(10_000);
    assert_eq!(status.frontends[0].maxconn, 41);
    let wanted = world.config.proxy.maxconn;
    assert_eq!(
        only_problem(&status),
        format!(
            "open files are too few for maxconn {wanted}: 41 connections are taken and no more. Raise LimitNOFILE= \
             of the unit (ulimit -Hn) and restart, or lower maxconn."
        )
    );
}

#[test]
fn servers_that_are_up_and_answer_nobody_are_a_problem() {
    let mut world = healthy();
    let hang = server("web1", proxy::ServerState::Up, proxy::CheckCode::L4Ok, "");
    world.proxy.backends = vec![proxy::BackendStatus {
        unanswered: Some(proxy::Unanswered {
            count: 3,
            of: 3,
            since: ago(20),
            reason: "504 for web1 at 192.0.2.22:80: no answer within 2 s (timeout.server)".to_owned(),
        }),
        ..backend(vec![hang])
    }];
    assert_eq!(
        only_problem(&world.status(10_000)),
        "backend app does not answer: 3 of 3 answers in the last 10 s were 502 or 504, made up here; one of the last: 504 \
         for web1 at 192.0.2.22:80: no answer within 2 s (timeout.server). Its checks see nothing of that: look at that server's own log, and check a \
         path that shows it (`check = { http = ... }`, or `observe`)."
    );
}

#[test]
fn a_listener_on_an_address_that_is_not_here_is_a_problem() {
    let mut world = healthy();
    world.nowhere = vec![("web".to_owned(), ([192, 0, 2, 77], 80).into())];
    assert_eq!(
        only_problem(&world.status(10_000)),
        "nobody can come in at 192.0.2.77:80 of frontend web: no interface of this machine has 192.0.2.77, and no \
         [vip.*] brings it. Is the address right? ip addr"
    );
}
