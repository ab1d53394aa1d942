//! A vip with both families: two virtual routers of one number on the wire, one fate.

use super::*;
use crate::{advertisement::Envelope, group::check_reconfigure};

const OURS_6: &str = "fe80::12";
const THEIRS_6: &str = "fe80::11";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// vip web: 192.0.2.100, and fe80::100 with 2001:db8::100.
fn dual(priority: u8) -> GroupConfig {
    let mut config = config(priority);
    let addresses = ["fe80::100", "2001:db8::100"];
    let addresses = addresses.map(|text| VirtualAddress { address: ip(text), prefix: 128 }).to_vec();
    config.members.push(MemberConfig { addresses, ..config.members[0].clone() });
    config.peers = vec![LOWER];
    config
}

/// As [`Node::new`], with a source of each family.
fn node(config: GroupConfig) -> Node {
    let mut node = Node::new(config);
    node.group.handle_source(node.now, MemberId(1), Some(ip(OURS_6)));
    node.group.handle_startup(node.now, Start::Fresh);
    assert_eq!(node.drain(), ["Initialize -> Backup: started"]);
    node
}

#[test]
fn both_families_are_claimed_and_given_up_together() {
    let mut node = node(dual(254));
    assert_eq!(
        node.run(300_782),
        [
            "300781 us: advertise 254",
            "300781 us: advertise 254 on 1",
            "300781 us: add 192.0.2.100",
            "300781 us: add fe80::100",
            "300781 us: add 2001:db8::100",
            "300781 us: Backup -> Active: nobody advertises, listened for 300 ms",
            "300781 us: announce 192.0.2.100",
            "300781 us: announce fe80::100",
            "300781 us: announce 2001:db8::100",
        ]
    );
    let lines = node.hear_on(1, ip(THEIRS_6), 255);
    assert_eq!(
        lines,
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "remove fe80::100",
            "remove 2001:db8::100",
            "advertise 254",
            "advertise 254 on 1",
            "Active -> Backup: fe80::11 is better (priority 255, ours 254)",
        ]
    );
}

#[test]
fn each_virtual_router_counts_its_own_part() {
    let mut node = node(dual(254));
    node.run(300_782);
    node.hear_on(1, ip(THEIRS_6), 0);
    let status = node.group.status();
    let count = |member: usize, name: &str| status.members[member].counters.get(name).copied().unwrap_or(0);
    // Another answer on the one that heard the other node.
    assert_eq!((count(0, "advertisements_sent"), count(1, "advertisements_sent")), (1, 2));
    assert_eq!((count(0, "priority_zero_received"), count(1, "priority_zero_received")), (0, 1));
    assert_eq!((count(0, "announcements"), count(1, "announcements")), (1, 2));
    assert_eq!(status.counters["advertisements_sent"], 3);
    assert_eq!(status.members[1].trouble, None);
}

#[test]
fn v_21_the_link_local_address_goes_first_and_each_family_has_its_own_list() {
    let mut node = node(dual(254));
    node.answers = false;
    let mut lists = Vec::new();
    while lists.len() < 2 {
        let (at, _) = node.group.poll_timeout().unwrap();
        node.group.handle_timeout(at);
        while let Some(output) = node.group.poll_output() {
            if let Output::Transmit { advertisement, .. } = output {
                lists.push(advertisement.addresses);
            }
        }
    }
    assert_eq!(lists, [vec![ip("192.0.2.100")], vec![ip("fe80::100"), ip("2001:db8::100")]]);
}

/// A switch that drops IPv6 multicast moves nothing, and is named.
#[test]
fn rule_10_a_family_that_is_not_heard_is_an_alarm_and_no_takeover() {
    for (heard, source, missing) in [(0, LOWER, "web over IPv6"), (1, ip(THEIRS_6), "web")] {
        let mut node = node(dual(253));
        let mut warnings = Vec::new();
        for _ in 0..20 {
            let advertisement = node.group.members[heard].advertisement(254);
            node.group.handle_advertisement(node.now, MemberId(heard), source, &advertisement);
            while let Some(output) = node.group.poll_output() {
                warnings.push(output);
            }
            assert_eq!(node.run(100_000), Vec::<String>::new());
        }
        let [Output::Warning { key: "member_missing", text }] = warnings.as_slice() else {
            panic!("{warnings:?}")
        };
        assert!(
            text.starts_with(&format!("vip {missing}: advertisements of {source} are missing")),
            "{text}"
        );
        assert_eq!(node.state(), State::Backup);
    }
}

#[test]
fn without_a_link_local_address_a_node_serves_but_lets_anyone_better() {
    let mut node = node(dual(254));
    node.group.handle_source(node.now, MemberId(1), None);
    let lines = node.run(400_000);
    assert_eq!(lines[0..2], ["300781 us: advertise 1", "300781 us: add 192.0.2.100"]);
    let status = node.group.status();
    let Readiness::Leaving { reason } = &status.readiness else { panic!("{:?}", status.readiness) };
    assert!(reason.starts_with("vip web over IPv6: its interface has no link-local address"), "{reason}");
    node.group.handle_source(node.now, MemberId(1), Some(ip(OURS_6)));
    assert_eq!(
        node.drain(),
        [
            "advertise 254",
            "advertise 254 on 1",
            "add fe80::100",
            "add 2001:db8::100",
            "announce fe80::100",
            "announce 2001:db8::100",
        ]
    );
}

/// Two networks may have the same link-local address in them.
#[test]
fn our_link_local_address_is_our_own_on_its_link_alone() {
    let mut node = node(dual(254));
    node.group.handle_source(node.now, MemberId(0), Some(ip(OURS_6)));
    node.group.handle_source(node.now, MemberId(1), Some(ip("fe80::13")));
    assert_eq!(node.hear_on(1, ip("fe80::13"), 255), ["warning duplicate_source"]);
    assert_eq!(node.hear_on(1, ip(OURS_6), 253), Vec::<String>::new(), "that of another link");
}

/// The source of IPv6 advertisements is in no file; that the peer is heard over IPv4 is enough.
#[test]
fn a_forged_interval_over_ipv6_is_held_within_bounds_while_a_known_peer_is_heard() {
    let forged = |node: &Node| Advertisement {
        interval: Duration::from_millis(40_950),
        ..node.group.members[1].advertisement(254)
    };
    let mut node = node(dual(253));
    node.hear_on(0, LOWER, 254);
    let advertisement = forged(&node);
    node.hear_exactly(1, ip(THEIRS_6), &advertisement);
    let (at, _) = node.group.poll_timeout().unwrap();
    assert!(at.saturating_since(node.now) < Duration::from_secs(4), "ten times our own at most");
}

/// It neither takes our addresses of its family nor, with them, those of the other one.
#[test]
fn another_cluster_over_ipv6_alone_takes_neither_family_away() {
    let mut node = node(dual(254));
    node.run(10_000_000);
    let addresses = vec![ip("fe80::200"), ip("2001:db8::200")];
    let theirs = Advertisement { addresses, ..node.group.members[1].advertisement(255) };
    for _ in 0..20 {
        assert_eq!(node.hear_exactly(1, ip("fe80::77"), &theirs), ["warning foreign_cluster"]);
        node.run(100_000);
    }
    assert_eq!(node.state(), State::Active);
    assert_eq!(node.group.members.iter().map(|member| member.installed.len()).sum::<usize>(), 3);
}

#[test]
fn a_family_can_neither_come_nor_go_while_the_group_runs() {
    let alone = GroupConfig { peers: vec![LOWER], ..config(254) };
    let said = |old: &GroupConfig, new: &GroupConfig| check_reconfigure(old, new).unwrap_err().to_string();
    assert_eq!(said(&alone, &dual(254)), "vip web over IPv6 can't come while the group runs");
    assert_eq!(said(&dual(254), &alone), "vip web over IPv6 can't go while the group runs");
    assert_eq!(check_reconfigure(&dual(254), &dual(253)), Ok(()));
    let mut swapped = dual(254);
    swapped.members.reverse();
    assert_eq!(said(&dual(254), &swapped), "vip web can't change places while the group runs");
}

/// What one node sends over IPv6 another accepts: V-15 and V-16 hold for ours.
#[test]
fn what_is_sent_over_ipv6_passes_the_checks_of_receipt() {
    let node = node(dual(254));
    let member = &node.group.members[1];
    let (source, destination) = (ip(OURS_6), ip("ff02::12"));
    let message = member.advertisement(254).encode(ChecksumForm::Rfc5798, source, destination);
    let envelope = Envelope { source, destination, ttl: 255 };
    let decoded = crate::advertisement::decode(&message, &envelope, &[member.config.expected()]).unwrap();
    assert_eq!(decoded.advertisement, member.advertisement(254));
}
