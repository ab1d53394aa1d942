//! What a forger on the LAN can do with single advertisements, and what it can't. Whoever can forge can always make a
//! Backup wait, or an Active go, by sending on and on; only signatures end that.

use super::*;

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

#[test]
fn losing_advertisements_get_eight_answers_and_then_one_an_interval() {
    let mut node = Node::active(config(200));
    let answers = |node: &mut Node, count: usize| {
        let lines: Vec<_> = (0..count).flat_map(|_| node.hear(STRANGER, 100)).collect();
        lines.iter().filter(|line| line.starts_with("advertise")).count()
    };
    assert_eq!(answers(&mut node, 1_000), 8);
    assert_eq!(node.counter("answers_withheld"), 992);
    node.run(100_000);
    assert_eq!(answers(&mut node, 1_000), 1);
    node.run(50_000);
    assert_eq!(answers(&mut node, 1_000), 0);
    node.run(60_000_000);
    assert_eq!(answers(&mut node, 1_000), 8, "no more than that, however long it was quiet");
}

/// An answer that is withheld does not put off the next advertisement either.
#[test]
fn a_flood_of_priority_0_does_not_keep_an_active_from_advertising() {
    let mut node = Node::active(config(200));
    for _ in 0..8 {
        node.hear(STRANGER, 0);
    }
    let mut sent = 0;
    for _ in 0..100 {
        sent += node.hear(STRANGER, 0).iter().filter(|line| line.starts_with("advertise")).count();
        sent += node.run(10_000).iter().filter(|line| line.ends_with("advertise 200")).count();
    }
    assert!((10..=20).contains(&sent), "{sent} in a second, at 100 ms");
}
