//! A process that took the place of another one, and what that still has.

use std::time::Duration;

use super::*;

#[test]
fn daemon_has_run_as_long_as_the_first_of_its_processes() {
    let mut world = World::new();
    let status = world.status(10_000);
    assert_eq!((status.started, status.upgraded), (instants(0).wall, None));
    world.up = Some(instants(0).wall.saturating_sub(Duration::from_secs(3_600)));
    let status = world.status(10_000);
    assert_eq!((Some(status.started), status.upgraded), (world.up, Some(instants(0).wall)));
}

#[test]
fn process_before_that_says_nothing_is_told_of_and_how_it_is_ended() {
    let mut world = World::new();
    let now = instants(10_000).wall;
    world.earlier = vec![EarlierProcess {
        pid: 7,
        version: "0.1.0".to_owned(),
        since: now.saturating_sub(Duration::from_secs(20)),
        until: now.saturating_add(Duration::from_secs(40)),
        connections: 1,
        exchanges: 1,
        silent_ms: None,
    }];
    assert_eq!(
        world.status(10_000).notes,
        [
            "process 7, in charge until 20 s ago, still has 1 connection (1 busy) for 40 s at most; they are not among those above"
        ]
    );
    world.earlier[0].silent_ms = Some(12_300);
    assert_eq!(
        world.status(10_000).notes,
        [
            "process 7, in charge until 20 s ago, has said nothing for 12 s, when it had 1 connection; they hang with it. It is \
          stopped or stuck; to end it: kill -9 7"
        ]
    );
}
