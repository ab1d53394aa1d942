//! Why the node before has given the addresses up.

use super::*;

/// What lb1 says of its claim at 5 s, once lb2 has said at `now` that it has been in `state` for `why` since `since`.
fn why(said: &[(u64, State, u64, &str)]) -> String {
    let mut world = World::new();
    world.is(State::Active, at(5_000), None);
    world.groups[0].status.as_mut().expect("said").1.reason = "lb2 gave it up".to_owned();
    for (now, state, since, why) in said {
        let mut hello = local("lb2", &world.config.hash);
        hello.groups[0] = LocalGroup {
            state: *state,
            since: at(*since),
            why: (*why).to_owned(),
            ..hello.groups[0].clone()
        };
        world.hears_that(at(*now), hello);
        let World { groups, session, .. } = &mut world;
        groups[0].note_cause(Some(session));
    }
    world.status(10_000).groups[0].why.clone()
}

#[test]
fn fault_of_the_node_before_is_the_cause_and_stays_it() {
    let fault = (5_100, State::Initialize, 4_990, "fault: worker 1 stalled for 1.2 s");
    assert_eq!(why(&[fault]), "lb2 gave it up: worker 1 stalled for 1.2 s");
    let over = (9_000, State::Backup, 8_900, "over: fault: another one");
    assert_eq!(why(&[fault, over]), "lb2 gave it up: worker 1 stalled for 1.2 s");
    // A daemon that hung says nothing before it goes on.
    let over = (9_000, State::Backup, 8_900, "over: fault: the daemon does not answer");
    assert_eq!(
        why(&[(4_000, State::Active, 0, "started"), over]),
        "lb2 gave it up: the daemon does not answer"
    );
}

#[test]
fn what_the_node_before_said_of_other_things_is_not_the_cause() {
    let (before, after) = (
        (4_900, State::Initialize, 1_000, "fault: of before"),
        (7_000, State::Initialize, 6_900, "fault: of later"),
    );
    assert_eq!(why(&[]), "lb2 gave it up");
    assert_eq!(why(&[before]), "lb2 gave it up");
    // It was not said why; a fault that comes afterwards is another one.
    assert_eq!(why(&[(5_100, State::Backup, 5_000, "started"), after]), "lb2 gave it up");
}

/// What lb1 says of a claim at 5 s, after these hellos of lb2: when, of which boot, whether as its last word.
fn why_after(said: &[(u64, &str, bool)], now: u64) -> String {
    let mut world = World::new();
    world.is(State::Active, at(5_000), None);
    world.groups[0].status.as_mut().expect("said").1.reason = "lb2 gave it up".to_owned();
    for (when, boot, ending) in said {
        let mut hello = local("lb2", &world.config.hash);
        hello.groups[0].since = at(*when);
        world.hears_of_boot(at(*when), hello, boot, *ending);
    }
    world.session.handle_timeout(at(now));
    let World { groups, session, .. } = &mut world;
    groups[0].note_cause(Some(session));
    world.status(10_000).groups[0].why.clone()
}

#[test]
fn daemon_that_ended_without_a_word_is_the_cause() {
    let before = (4_500, "1", false);
    let guess = "lb2 gave it up: its daemon says nothing any more: killed, crashed or hung";
    assert_eq!(why_after(&[before], 5_100), "lb2 gave it up");
    assert_eq!(why_after(&[before], 8_000), guess);
    let died = "lb2 gave it up: its daemon was killed, or crashed";
    for back in [5_200, 60_000] {
        assert_eq!(why_after(&[before, (back, "2", false)], back), died);
    }
    // It said that it ends; it ended long before, or later.
    for said in [
        vec![(4_900, "1", true), (5_200, "2", false)],
        vec![(2_000, "1", false), (3_000, "2", false)],
        vec![before, (5_900, "1", false), (6_200, "2", false)],
    ] {
        assert_eq!(why_after(&said, said[said.len() - 1].0), "lb2 gave it up", "{said:?}");
    }
}
