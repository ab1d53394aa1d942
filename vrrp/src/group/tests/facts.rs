//! What the machine knows of its node, and what it says of itself.

use super::*;

#[test]
fn nothing_happens_before_startup_and_readiness_begins_as_a_fault() {
    let mut group = Group::new(config(254), BEGIN);
    assert_eq!(group.status().readiness, Readiness::Fault { reason: "readiness is not told yet".to_owned() });
    group.handle_startup(BEGIN, Start::Fresh);
    assert_eq!((group.state(), group.poll_output(), group.poll_timeout()), (State::Initialize, None, None));
    group.handle_readiness(BEGIN, Readiness::Ready);
    assert_eq!(group.status().reason, "fault: vip web: the link is not known yet");
    group.handle_link(BEGIN, MemberId(0), Ok(()));
    assert_eq!(group.status().reason, "fault: vip web: its interface has no address to send from");
    assert_eq!(group.state(), State::Initialize);
    group.handle_source(BEGIN, MemberId(0), Some(OURS));
    assert_eq!(group.state(), State::Backup);
}

#[test]
fn a_link_that_goes_down_is_a_fault_and_one_that_comes_up_begins_anew() {
    let mut node = Node::active(config(254));
    node.group.handle_link(node.now, MemberId(0), Err("link of eth0 is down".to_owned()));
    assert_eq!(
        node.drain(),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "Active -> Initialize: fault: vip web: link of eth0 is down",
        ]
    );
    node.group.handle_link(node.now, MemberId(0), Ok(()));
    assert_eq!(node.drain(), ["Initialize -> Backup: over: fault: vip web: link of eth0 is down"]);
}

#[test]
fn an_address_that_is_not_ours_is_removed_once_and_a_fault_the_second_time_within_a_minute() {
    let mut node = Node::backup(config(254));
    let hear = |node: &mut Node| {
        node.group.handle_address_foreign(node.now, MemberId(0), VIP, "static");
        node.drain()
    };
    assert_eq!(hear(&mut node), ["warning address_foreign", "remove 192.0.2.100"]);
    assert_eq!(node.state(), State::Backup);
    node.pause(100_000);
    let lines = hear(&mut node);
    assert_eq!(
        lines,
        [
            "Backup -> Initialize: fault: 192.0.2.100 came back to the interface within a minute without being ours \
          (static): take it out of the system's network configuration, lbctl installs it"
        ]
    );
    // It goes on being removed, once a second, and is over a minute after it was seen last.
    assert_eq!(node.run(1_000_000), ["900000 us: remove 192.0.2.100"]);
    let lines = node.run(59_000_001);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("59000000 us: Initialize -> Backup: over: fault"), "{lines:?}");
}

#[test]
fn an_address_that_is_not_ours_and_comes_back_after_a_minute_is_a_warning_again() {
    let mut node = Node::backup(config(254));
    for _ in 0..3 {
        node.group.handle_address_foreign(node.now, MemberId(0), VIP, "static");
        assert_eq!(node.drain(), ["warning address_foreign", "remove 192.0.2.100"]);
        for _ in 0..601 {
            node.hear(LOWER, 253);
            node.run(100_000);
        }
    }
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn an_active_puts_its_own_in_the_place_of_an_address_that_is_not_ours() {
    let mut node = Node::active(config(254));
    node.group.handle_address_foreign(node.now, MemberId(0), VIP, "static");
    assert_eq!(
        node.drain(),
        [
            "warning address_foreign",
            "remove 192.0.2.100",
            "warning address_stolen",
            "add 192.0.2.100",
            "announce 192.0.2.100",
        ]
    );
    assert_eq!(node.state(), State::Active);
}

#[test]
fn rule_9_every_transition_has_its_reason_and_its_moments() {
    let mut node = Node::backup(config(254));
    node.hear(LOWER, 16);
    node.answers = false;
    node.run(1_000);
    node.hear(LOWER, 16);
    node.run(500);
    node.group.handle_address_added(node.now, MemberId(0), VIP);
    let status = node.group.status();
    let claim = status.transitions.last().unwrap();
    assert_eq!((claim.from, claim.to), (State::Backup, State::Active));
    assert_eq!(claim.reason, "192.0.2.11 is degraded (priority 16, ours 254)");
    let at = |moment: Option<Moment>| moment.map(|moment| moment.saturating_since(BEGIN).as_nanos());
    assert_eq!(at(Some(claim.detected)), Some(0));
    assert_eq!(at(Some(claim.at)), Some(781_250));
    assert_eq!(at(claim.moments.heard), Some(0));
    assert_eq!(at(claim.moments.added), Some(1_500_000));
    assert_eq!(at(claim.moments.announced), Some(1_500_000));
    assert_eq!(claim.moments.removed, None);

    node.readiness(fault());
    node.run(2_000);
    node.group.handle_exchanges_reset(node.now);
    node.run(1_000);
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    let status = node.group.status();
    let resignation = status.transitions.last().unwrap();
    assert_eq!(at(Some(resignation.detected)), Some(1_500_000));
    assert_eq!(at(resignation.moments.removed), Some(4_500_000));
    assert_eq!(at(resignation.moments.resigned), Some(4_500_000));
}

#[test]
fn status_keeps_the_last_20_transitions() {
    let mut node = Node::backup(config(254));
    for _ in 0..30 {
        node.readiness(fault());
        node.readiness(Readiness::Ready);
    }
    let transitions = node.group.status().transitions;
    assert_eq!(transitions.len(), 20);
    assert_eq!(transitions[19].to, State::Backup);
}

#[test]
fn status_says_what_is_installed_who_was_heard_and_what_was_counted() {
    let mut node = Node::active(config(254));
    node.hear(LOWER, 0);
    let status = node.group.status();
    assert_eq!(status.members[0].installed, [VIP]);
    let heard = status.members[0].heard.clone().unwrap();
    assert_eq!((heard.source, heard.priority, heard.at), (LOWER, 0, node.now));
    assert_eq!(status.reason, "nobody advertises, listened for 300 ms");
    for (name, count) in [
        ("became_active", 1),
        ("advertisements_received", 1),
        ("priority_zero_received", 1),
        ("losing_received", 1),
        // The claim, 97 by the timer (10 s less Active_Down_Interval, and one more), and the answer.
        ("advertisements_sent", 99),
        ("announcements", 5),
    ] {
        assert_eq!(node.counter(name), count, "{name}");
    }
}

/// Early calls do nothing.
#[test]
fn handle_timeout_before_the_deadline_does_nothing() {
    for mut node in [Node::backup(config(254)), Node::active(config(254))] {
        let before = node.group.poll_timeout();
        node.group.handle_timeout(node.now);
        assert_eq!(node.drain(), Vec::<String>::new());
        assert_eq!(node.group.poll_timeout(), before);
    }
}
