//! What a forger on the LAN can do with single advertisements, and what it can't. Whoever can forge can always make a
//! Backup wait, or an Active go, by sending on and on; only signatures end that.

use super::*;
use crate::status::{PeerHeard, Said};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));

/// A Backup that knows the other node from its file.
fn backup_of_a_known_peer() -> Node {
    Node::backup(GroupConfig { peers: vec![LOWER], ..config(253) })
}

fn every(centiseconds: u64) -> Advertisement {
    Advertisement {
        version: Version::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: 254,
        interval: Duration::from_millis(10 * centiseconds),
        addresses: vec![VIP.address],
    }
}

/// Active_Down_Interval after an advertisement from `source`, in microseconds.
fn down_after(node: &mut Node, source: IpAddr, centiseconds: u64) -> u128 {
    node.hear_exactly(0, source, &every(centiseconds));
    node.group.poll_timeout().unwrap().0.saturating_since(node.now).as_micros()
}

#[test]
fn the_interval_of_a_known_peer_is_adopted_between_our_own_and_ten_times_as_much() {
    let mut node = backup_of_a_known_peer();
    assert_eq!(down_after(&mut node, LOWER, 50), 1_505_859, "3 x 500 ms and 3/256 of it");
    assert_eq!(down_after(&mut node, LOWER, 4_095), 3_011_718, "not two minutes");
    assert_eq!(down_after(&mut node, LOWER, 1), 301_171, "not before its next advertisement");
}

#[test]
fn a_stranger_does_not_stretch_the_interval_while_a_known_peer_is_heard() {
    let mut node = backup_of_a_known_peer();
    node.hear_exactly(0, LOWER, &every(10));
    assert_eq!(down_after(&mut node, STRANGER, 4_095), 3_011_718);
}

/// RFC 9568 §6.4.2, and the reason for it: a foreign cluster with a slow interval would hear a claim every 3 s.
#[test]
fn the_interval_of_a_stranger_that_is_alone_is_adopted_as_it_is() {
    let mut node = backup_of_a_known_peer();
    assert_eq!(down_after(&mut node, STRANGER, 4_095), 123_329_882);
    node.hear_exactly(0, LOWER, &every(10));
    node.hear_exactly(0, LOWER, &Advertisement { priority: 0, ..every(10) });
    assert_eq!(down_after(&mut node, STRANGER, 4_095), 123_329_882, "the peer has resigned");
}

/// Hears `count` losing advertisements at once; how many advertisements are sent for them at once.
fn answers_to(node: &mut Node, count: usize) -> usize {
    advertisements(&(0..count).flat_map(|_| node.hear(STRANGER, 100)).collect::<Vec<_>>())
}

fn advertisements(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.contains("advertise ")).count()
}

#[test]
fn losing_advertisements_get_eight_answers_at_once_and_then_one_in_5_ms() {
    let mut node = Node::active(config(200));
    assert_eq!(answers_to(&mut node, 1_000), 8);
    assert_eq!(node.counter("answers_put_off"), 992);
    assert_eq!(advertisements(&node.run(4_900)), 0);
    assert_eq!(answers_to(&mut node, 1_000), 0);
    assert_eq!(advertisements(&node.run(100)), 1, "one answers all that came");
    assert_eq!(advertisements(&node.run(99_900)), 0, "and no further one before the next of its own");
    node.run(60_000_000);
    assert_eq!(answers_to(&mut node, 1_000), 8, "no more than that, however long it was quiet");
}

#[test]
fn an_endless_flood_of_losing_advertisements_gets_two_hundred_answers_a_second() {
    let mut node = Node::active(config(200));
    let mut sent = 0;
    for _ in 0..10_000 {
        sent += answers_to(&mut node, 3);
        sent += advertisements(&node.run(100));
    }
    // Ten of its own at most are among them.
    assert!((200..=218).contains(&sent), "{sent} in a second");
}

/// An answer that is put off does not put off the next advertisement either.
#[test]
fn a_flood_of_priority_0_does_not_keep_an_active_from_advertising() {
    let mut node = Node::active(config(200));
    for _ in 0..8 {
        node.hear(STRANGER, 0);
    }
    let mut sent = 0;
    for _ in 0..1_000 {
        sent += advertisements(&node.hear(STRANGER, 0));
        sent += advertisements(&node.run(1_000));
    }
    assert!((200..=210).contains(&sent), "{sent} in a second");
}

/// Two clusters with one vrid: what wants none of our addresses is named, and decides nothing.
#[test]
fn another_cluster_on_our_vrid_is_named_and_keeps_nobody_from_serving() {
    let theirs =
        Advertisement { priority: 255, addresses: vec![IpAddr::from([192, 0, 2, 200])], ..every(10) };
    let mut node = backup_of_a_known_peer();
    assert_eq!(node.hear_exactly(0, STRANGER, &theirs), ["warning foreign_cluster"]);
    let claimed = node.run(302_000);
    assert!(claimed.iter().any(|line| line.contains("Backup -> Active: nobody advertises")), "{claimed:?}");
    node.run(10_000_000);
    assert_eq!(node.hear_exactly(0, STRANGER, &theirs), ["warning foreign_cluster"], "no answer either");
    assert_eq!((node.state(), node.counter("foreign_cluster")), (State::Active, 2));
    let [named] = node.group.status().members.remove(0).advertisers.try_into().unwrap();
    assert_eq!(named.said, Said::Others(PeerHeard::new(STRANGER, 255, node.now)));
    // Who wants one of them is somebody to reckon with.
    let shared = Advertisement { addresses: vec![theirs.addresses[0], VIP.address], ..theirs };
    node.hear_exactly(0, STRANGER, &shared);
    assert_eq!(node.state(), State::Backup);
}

/// The group's warning says it; the driver has nothing to add.
#[test]
fn another_cluster_is_known_as_one_also_where_there_is_no_room_to_remember_it() {
    let theirs = Advertisement { addresses: vec![IpAddr::from([192, 0, 2, 200])], ..every(10) };
    let mut node = backup_of_a_known_peer();
    for last in 1..=20 {
        let source = IpAddr::from([198, 51, 100, last]);
        assert!(node.group.handle_advertisement(node.now, MemberId(0), source, &theirs), "{source}");
    }
    assert_eq!(node.counter("advertisers_not_kept"), 12);
    assert!(!node.group.handle_advertisement(node.now, MemberId(0), LOWER, &theirs), "a node of the file");
    assert!(
        !node.group.handle_advertisement(node.now, MemberId(0), STRANGER, &every(10)),
        "for our addresses"
    );
    assert!(
        !node.group.handle_advertisement(node.now, MemberId(1), STRANGER, &theirs),
        "of no virtual router"
    );
}

/// Whoever speaks for our very addresses is reckoned with, and does not hide the node, nor the node him.
#[test]
fn a_stranger_who_wants_our_addresses_is_known_beside_the_node_that_is_heard_more_often() {
    let mut node = backup_of_a_known_peer();
    for tenth in 0..100 {
        node.hear_exactly(0, LOWER, &every(10));
        if tenth % 10 == 3 {
            node.hear_exactly(0, STRANGER, &Advertisement { priority: 100, ..every(100) });
            node.group.handle_rejected(node.now, MemberId(0), rejected(STRANGER, node.now));
        }
        node.run(100_000);
        if tenth < 3 {
            continue;
        }
        let known = node.group.status().members.remove(0).advertisers;
        let heard = known.iter().filter(|one| one.is_heard(node.now));
        let heard: Vec<_> = heard.map(|one| (one.said.source(), one.said.is_rejected())).collect();
        assert_eq!(heard, [(LOWER, false), (STRANGER, false), (STRANGER, true)], "after {tenth} tenths");
    }
    node.run(2_900_000);
    let known = node.group.status().members.remove(0).advertisers;
    assert!(known.iter().all(|one| !one.is_heard(node.now)), "{known:?}");
}

fn rejected(source: IpAddr, at: Moment) -> crate::status::Rejected {
    crate::status::Rejected { source, why: "the password is not ours".to_owned(), at }
}

#[test]
fn a_stranger_for_whom_there_is_no_room_is_counted() {
    let mut node = backup_of_a_known_peer();
    for last in 1..=20 {
        node.group.handle_rejected(
            node.now,
            MemberId(0),
            rejected(IpAddr::from([198, 51, 100, last]), node.now),
        );
    }
    assert_eq!(node.counter("advertisers_not_kept"), 12);
    assert_eq!(node.group.status().members[0].advertisers.len(), 8);
    node.hear_exactly(0, LOWER, &every(10));
    assert_eq!(node.group.status().members[0].advertisers.len(), 9, "a node of the file has its own");
    assert_eq!(node.counter("advertisers_not_kept"), 12);
}

/// With an `interface` in the file nobody knows from there where the other node advertises from; its hello says so. That is no reason to
/// take over its interval as that of a node of the file, or not to name it where it wants other addresses.
#[test]
fn a_source_that_a_hello_names_has_its_place_and_counts_for_nothing_else() {
    let mut node = backup_of_a_known_peer();
    for last in 1..=8 {
        let source = IpAddr::from([198, 51, 100, last]);
        node.group.handle_rejected(node.now, MemberId(0), rejected(source, node.now));
        node.group.handle_rejected(node.now, MemberId(0), rejected(source, node.now));
    }
    node.hear_exactly(0, HIGHER, &every(10));
    assert_eq!(node.counter("advertisers_not_kept"), 1);
    node.group.handle_named(&[HIGHER]);
    node.hear_exactly(0, HIGHER, &every(10));
    assert_eq!(node.counter("advertisers_not_kept"), 1);
    let known = node.group.status().members.remove(0).advertisers;
    let nodes: Vec<_> = known.iter().filter(|one| one.is_node).map(|one| one.said.source()).collect();
    assert_eq!((known.len(), nodes), (9, vec![HIGHER]));
    assert_eq!(down_after(&mut node, HIGHER, 4_095), 123_329_882, "as a stranger's");
    node.group.handle_named(&[HIGHER, STRANGER]);
    let other = Advertisement { addresses: vec![IpAddr::from([192, 0, 2, 200])], ..every(10) };
    assert_eq!(node.hear_exactly(0, STRANGER, &other), ["warning foreign_cluster"]);
}

/// The file is being changed on one node after the other: a node of it stays one, whatever its list.
#[test]
fn a_node_of_the_file_and_one_that_shared_our_addresses_may_have_others() {
    let other = Advertisement { addresses: vec![IpAddr::from([192, 0, 2, 200])], ..every(10) };
    for source in [LOWER, STRANGER] {
        let mut node = backup_of_a_known_peer();
        if source == STRANGER {
            node.hear_exactly(0, source, &every(10));
        }
        for _ in 0..10 {
            assert_eq!(node.hear_exactly(0, source, &other), ["warning address_list_mismatch"]);
            assert_eq!(node.run(250_000), Vec::<String>::new());
        }
    }
}

/// A node whose secret is another one than the Active's waits, so that there is one owner, and takes over when the Active is gone.
#[test]
fn a_backup_waits_for_what_it_can_not_trust_and_takes_over_when_that_ends() {
    let mut node = backup_of_a_known_peer();
    let first = node.group.poll_timeout().unwrap().0;
    for _ in 0..50 {
        node.now = node.now + Duration::from_millis(100);
        node.group.handle_untrusted(node.now, MemberId(0), &every(100));
        let (at, _) = node.group.poll_timeout().unwrap();
        assert_eq!(at.saturating_since(node.now).as_micros(), 301_171);
        assert_eq!(node.group.poll_output(), None);
    }
    let (at, _) = node.group.poll_timeout().unwrap();
    assert!(at > first);
    node.group.handle_timeout(at);
    assert_eq!(node.group.state(), State::Active);
    assert_eq!(node.group.status().members[0].heard, None, "it was not heard");
}

#[test]
fn an_active_does_not_mind_what_it_can_not_trust() {
    let mut node = Node::active(config(254));
    let next = node.group.poll_timeout();
    node.group.handle_untrusted(node.now, MemberId(0), &every(100));
    assert_eq!(
        (node.group.state(), node.group.poll_timeout(), node.group.poll_output()),
        (State::Active, next, None)
    );
}

/// Whoever can send into the network keeps nobody down: not with other addresses, and not for ever.
#[test]
fn a_backup_waits_for_no_other_addresses_and_for_a_minute_at_most() {
    let mut node = backup_of_a_known_peer();
    let next = node.group.poll_timeout();
    let other = Advertisement { addresses: vec![IpAddr::from([192, 0, 2, 200])], ..every(100) };
    node.group.handle_untrusted(node.now, MemberId(0), &other);
    assert_eq!(node.group.poll_timeout(), next);
    let begun = node.now;
    while node.group.state() == State::Backup {
        node.group.handle_untrusted(node.now, MemberId(0), &every(100));
        node.now = node.now + Duration::from_millis(100);
        node.group.handle_timeout(node.now);
        node.drain();
    }
    let waited = node.now.saturating_since(begun);
    assert!(waited > Duration::from_secs(60) && waited < Duration::from_secs(61), "{waited:?}");
}
