//! Requests that nobody could serve.

use std::time::{Duration, SystemTime};

use super::*;

/// 10 s after the start of the daemon.
const NOW: u64 = 1_789_995_610;

fn refused(why: proxy::Why, age: u64, reason: &str) -> proxy::Refused {
    let then = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - seconds);
    proxy::Refused { why, count: 12, since: then(40), last: then(age), reason: reason.to_owned() }
}

#[test]
fn requests_that_are_refused_are_a_problem_while_it_goes_on_and_checks_find_nothing() {
    use proxy::{
        CheckCode::L7Ok,
        ServerState::Up,
        Why::{Full, NoServer, NotConnected},
    };
    let table = [
        (
            refused(Full, 9, "no slot of a full server became free within 5 s"),
            Some(
                "backend app is full: 12 requests got 503: no slot of a full server became free within 5 s. May `maxconn` be larger? \
                 Else it takes another server.",
            ),
        ),
        (
            refused(NotConnected, 0, "no server could be connected to"),
            Some(
                "backend app can't be reached: 12 requests got 503: no server could be connected to. Does the service run there, and \
                 does a firewall let this node in?",
            ),
        ),
        (
            refused(
                NotConnected,
                0,
                "no server could be connected to, at last web1: Too many open files (os error 24)",
            ),
            Some(
                "backend app can't be reached: 12 requests got 503: no server could be connected to, at last web1: Too many open \
                 files (os error 24). Raise LimitNOFILE= of the unit (ulimit -Hn) and restart, or lower maxconn.",
            ),
        ),
        // It is over; status tells of it all the same.
        (refused(Full, 10, ""), None),
        // The servers themselves are the problem.
        (refused(NoServer, 0, ""), None),
    ];
    for (refused, expected) in table {
        let mut world = World::new();
        let hash = world.config.hash.clone();
        world.is(State::Active, at(1_000), None);
        world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
        let one = backend(vec![server("web1", Up, L7Ok, "200")]);
        world.proxy.backends = vec![proxy::BackendStatus { refused: vec![refused], ..one }];
        let status = world.status(10_000);
        assert_eq!(status.backends[0].refused[0].count, 12);
        match expected {
            Some(expected) => assert_eq!(only_problem(&status), expected),
            None => assert_eq!(status.problems, []),
        }
    }
}

#[test]
fn only_server_that_takes_no_new_requests_is_a_problem_too() {
    use proxy::{CheckCode::L7Status, ServerState::Maintenance};
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    world.proxy.backends = vec![backend(vec![server("web1", Maintenance, L7Status, "200")])];
    let problem = only_problem(&world.status(10_000));
    let expected =
        "backend app has no usable server: its clients get 503. web1: its agent wants so, MAINT for ";
    assert!(problem.starts_with(expected), "{problem}");
}
