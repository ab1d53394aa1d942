//! A speaker is replaced, and the next one is told what it has said: what has not changed is as old as it was.

use super::*;
use crate::Past;

/// The next speaker of `before`, `millis` later, as its daemon starts it.
fn next(before: &Node, millis: u64, readiness: Readiness) -> Node {
    let now = before.now + Duration::from_millis(millis);
    next_with(before.group.status().past(), before.state(), before.now, now, readiness)
}

fn next_with(past: Past, state: State, last: Moment, now: Moment, readiness: Readiness) -> Node {
    let start = if state == State::Active { Start::ResumeActive { last } } else { Start::Fresh };
    started(past, start, now, readiness)
}

fn started(past: Past, start: Start, now: Moment, readiness: Readiness) -> Node {
    let mut group = Group::new(config(254), now);
    group.handle_past(past);
    group.handle_readiness(now, readiness);
    group.handle_link(now, MemberId(0), Ok(()));
    group.handle_source(now, MemberId(0), Some(OURS));
    group.handle_startup(now, start);
    Node { group, now, answers: true }
}

#[test]
fn active_that_goes_on_is_active_since_before_and_for_the_same_reason() {
    let before = Node::active(config(254));
    let known = before.group.status();
    let mut node = next(&before, 100, Readiness::Ready);
    assert_eq!(
        node.drain(),
        [
            "advertise 254",
            "add 192.0.2.100",
            "group default goes on as Active: resumed, last advertisement 100 ms ago",
            "announce 192.0.2.100",
        ]
    );
    let status = node.group.status();
    assert_eq!((status.since, &status.reason), (known.since, &known.reason));
    assert_eq!(status.reason, "nobody advertises, listened for 300 ms");
    assert_eq!(status.transitions, known.transitions);
    assert_eq!(node.counter("became_active"), 0, "it was counted then");
}

#[test]
fn active_that_comes_too_late_has_lost_the_addresses_now() {
    let before = Node::active(config(254));
    let mut node = next(&before, 251, Readiness::Ready);
    assert_eq!(node.drain().last().unwrap(), "Active -> Backup: late: no advertisement sent for 251 ms");
    let status = node.group.status();
    assert_eq!(status.since, node.now);
    assert_eq!(status.transitions.len(), before.group.status().transitions.len() + 1);
}

#[test]
fn active_whose_addresses_were_withdrawn_resigns_however_early_it_comes() {
    let before = Node::active(config(254));
    let (last, now) = (before.now, before.now + Duration::from_millis(30));
    let start = Start::Withdrawn { last };
    let mut node = started(before.group.status().past(), start, now, Readiness::Ready);
    assert_eq!(
        node.drain(),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 0",
            "Active -> Backup: late: no advertisement sent for 30 ms"
        ]
    );
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn backup_that_goes_on_is_a_backup_since_before_and_listens_anew() {
    let mut before = Node::backup(config(254));
    before.hear(LOWER, 253);
    before.pause(7_000_000);
    let mut node = next(&before, 20, Readiness::Ready);
    assert_eq!(node.drain(), ["group default goes on as Backup: its speaker was replaced"]);
    let status = node.group.status();
    assert_eq!((status.state, status.since, status.reason.as_str()), (State::Backup, BEGIN, "started"));
    assert_eq!(node.run(300_782)[0], "300781 us: advertise 254");
}

#[test]
fn node_out_of_the_election_stays_out_since_before() {
    let mut before = Node::backup(config(254));
    before.pause(1_000_000);
    assert_eq!(before.readiness(fault()), ["Backup -> Initialize: fault: worker 1 stalled for 1.2 s"]);
    let since = before.now;
    before.pause(5_000_000);
    let mut node = next(&before, 20, fault());
    assert_eq!(node.drain(), ["group default goes on as Initialize: fault: worker 1 stalled for 1.2 s"]);
    assert_eq!(node.group.status().since, since);
    assert_eq!(
        node.readiness(Readiness::Ready),
        ["Initialize -> Backup: over: fault: worker 1 stalled for 1.2 s"]
    );
}

#[test]
fn what_has_changed_between_two_speakers_is_a_transition() {
    // It has become faulty meanwhile.
    let before = Node::backup(config(254));
    let mut node = next(&before, 20, fault());
    assert_eq!(node.drain(), ["Backup -> Initialize: fault: worker 1 stalled for 1.2 s"]);
    // Nobody says any more that it was Active.
    let before = Node::active(config(254));
    let past = before.group.status().past();
    let mut node = next_with(past, State::Backup, before.now, before.now, Readiness::Ready);
    assert_eq!(node.drain(), ["Active -> Backup: its speaker was replaced"]);
    // The last transition was not heard of.
    let before = Node::backup(config(254));
    let past = before.group.status().past();
    let mut node = next_with(past, State::Active, before.now, before.now, Readiness::Ready);
    assert_eq!(node.drain()[2], "Backup -> Active: resumed, last advertisement 0 us ago");
}

#[test]
fn past_without_its_reason_counts_for_nothing() {
    let before = Node::active(config(254));
    let mut past = before.group.status().past();
    past.shorten(0);
    let mut node = next_with(past, State::Active, before.now, before.now, Readiness::Ready);
    assert_eq!(node.drain()[2], "Initialize -> Active: resumed, last advertisement 0 us ago");
    assert_eq!(node.group.status().since, before.now);
}

#[test]
fn past_follows_a_transition_that_no_status_has_yet() {
    let mut before = Node::backup(config(254));
    let mut past = before.group.status().past();
    before.run(400_000);
    let claim = before.group.status().transitions.last().cloned().unwrap();
    past.follow(&claim);
    past.follow(&claim);
    let known = before.group.status().past();
    assert_eq!((past.state, past.since, past.transitions.len()), (known.state, known.since, 2));
    past.shorten(1);
    assert_eq!(past.transitions, [claim]);
}
