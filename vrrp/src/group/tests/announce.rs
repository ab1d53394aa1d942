//! Rule 7 and V-60 to V-66: when an Active announces.

use super::*;

fn announcements(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_suffix(": announce 192.0.2.100")).collect()
}

/// 0, 100 and 300 ms, then 1 s, then every `garp_refresh`.
#[test]
fn v_62_a_claim_announces_at_0_100_and_300_ms_and_1_s_and_then_every_refresh() {
    let mut node = Node::backup(config(254));
    node.run(300_781);
    let lines = node.run(182_000_000);
    assert_eq!(
        announcements(&lines),
        ["0 us", "100000 us", "300000 us", "1000000 us", "61000000 us", "121000000 us", "181000000 us"]
    );
}

#[test]
fn a_refresh_of_0_s_turns_it_off() {
    let mut config = config(254);
    config.garp_refresh = Duration::ZERO;
    let mut node = Node::backup(config);
    assert_eq!(announcements(&node.run(200_000_000)).len(), 4);
}

#[test]
fn v_63_nothing_is_announced_before_the_kernel_acknowledged() {
    let mut node = Node::backup(config(254));
    node.answers = false;
    assert_eq!(announcements(&node.run(350_000)), Vec::<&str>::new());
    node.group.handle_peer_reappeared(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    node.group.handle_address_added(node.now, MemberId(0), VIP);
    assert_eq!(node.drain(), ["announce 192.0.2.100"]);
}

#[test]
fn v_64_a_backup_and_a_resigning_node_announce_nothing() {
    let mut node = Node::backup(config(254));
    node.group.handle_peer_reappeared(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    let mut node = Node::active(config(254));
    node.answers = false;
    node.readiness(fault());
    node.group.handle_peer_reappeared(node.now);
    node.hear(LOWER, 100);
    assert_eq!(announcements(&node.run(60_000)), Vec::<&str>::new());
}

#[test]
fn rule_7_a_losing_advertisement_is_answered_with_a_round_at_most_once_a_second() {
    let mut node = Node::active(config(254));
    let mut lines = Vec::new();
    for at in 0..30 {
        lines.extend(node.hear(LOWER, 253).iter().map(|line| format!("{at}: {line}")));
        lines.extend(node.run(100_000).iter().map(|line| format!("{at} + {line}")));
    }
    let rounds: Vec<_> = lines.iter().filter(|line| line.ends_with("announce 192.0.2.100")).collect();
    assert_eq!(
        rounds,
        [
            "0: announce 192.0.2.100",
            "9 + 100000 us: announce 192.0.2.100",
            "19 + 100000 us: announce 192.0.2.100",
            "29 + 100000 us: announce 192.0.2.100",
        ]
    );
}

/// The last word of a loser may come just after a round: it is not forgotten.
#[test]
fn rule_7_a_round_that_the_limit_puts_off_is_made_up_for() {
    let mut node = Node::active(config(254));
    node.hear(LOWER, 253);
    node.run(5_000);
    assert_eq!(node.hear(LOWER, 253), ["advertise 254"]);
    assert_eq!(announcements(&node.run(2_000_000)), ["995000 us"]);
}

#[test]
fn v_66_a_peer_that_reappears_is_followed_by_a_round() {
    let mut node = Node::active(config(254));
    node.group.handle_peer_reappeared(node.now);
    assert_eq!(node.drain(), ["announce 192.0.2.100"]);
}

#[test]
fn rule_7_back_from_a_short_stall_an_active_announces() {
    let mut node = Node::active(config(254));
    node.pause(160_000);
    node.group.handle_timeout(node.now);
    assert_eq!(node.drain(), ["advertise 254", "announce 192.0.2.100"]);
}

#[test]
fn rule_7_a_loser_removes_first_and_then_sends_one_last_advertisement() {
    let mut node = Node::active(config(200));
    assert_eq!(
        node.hear(LOWER, 254),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 200",
            "Active -> Backup: 192.0.2.11 is better (priority 254, ours 200)",
        ]
    );
    assert_eq!(node.run(300_000), Vec::<String>::new());
}

#[test]
fn rule_7_the_last_word_of_a_loser_is_no_better_than_what_lost() {
    let mut node = Node::active(config(254));
    node.readiness(degraded(1));
    node.answers = false;
    node.hear(LOWER, 253);
    node.readiness(Readiness::Ready);
    node.group.handle_exchanges_reset(node.now);
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    let lines = node.drain();
    assert!(lines.contains(&"advertise 16".to_owned()), "{lines:?}");
    assert!(!lines.contains(&"advertise 254".to_owned()), "{lines:?}");
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn an_address_that_somebody_removed_is_added_and_announced_again() {
    let mut node = Node::active(config(254));
    node.group.handle_address_stolen(node.now, MemberId(0), VIP);
    assert_eq!(node.drain(), ["warning address_stolen", "add 192.0.2.100", "announce 192.0.2.100"]);
    assert_eq!((node.state(), node.counter("addresses_stolen")), (State::Active, 1));
    assert_eq!(node.group.status().members[0].stolen, Some((VIP, node.now)));
}

#[test]
fn an_operator_s_round_is_sent_at_once_and_by_the_holder_alone() {
    let mut node = Node::active(config(254));
    node.run(5_000);
    for _ in 0..2 {
        node.group.handle_announce(node.now);
        assert_eq!(node.drain(), ["announce 192.0.2.100"], "whatever was sent just before");
    }
    // It is a round like others: the next one that somebody else wants is a second later.
    node.group.handle_peer_reappeared(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    node.hear(LOWER, 255);
    node.group.handle_announce(node.now);
    assert!(!node.drain().iter().any(|line| line.starts_with("announce")));
}
