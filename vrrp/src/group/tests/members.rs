//! Rule 10: several virtual routers, one fate.

use super::*;

/// vip web (vrid 51, 192.0.2.100) and vip mail (vrid 52, 192.0.2.52).
fn two(priority: u8) -> GroupConfig {
    let mut config = config(priority);
    config.members.push(member("mail", 52, Version::V3, 100));
    config
}

#[test]
fn rule_10_a_group_claims_and_resigns_on_all_its_virtual_routers_at_once() {
    let mut node = Node::backup(two(254));
    assert_eq!(
        node.run(300_782),
        [
            "300781 us: advertise 254",
            "300781 us: advertise 254 on 1",
            "300781 us: add 192.0.2.100",
            "300781 us: add 192.0.2.52",
            "300781 us: Backup -> Active: nobody advertises, listened for 300 ms",
            "300781 us: announce 192.0.2.100",
            "300781 us: announce 192.0.2.52",
        ]
    );
    assert_eq!(
        node.readiness(fault()),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "remove 192.0.2.52",
            "advertise 0",
            "advertise 0 on 1",
            "Active -> Initialize: fault: worker 1 stalled for 1.2 s",
        ]
    );
}

#[test]
fn rule_10_hearing_any_member_of_a_peer_is_hearing_the_peer() {
    let mut node = Node::backup(two(254));
    let mut lines = Vec::new();
    for _ in 0..20 {
        lines.extend(node.hear_on(1, LOWER, 253));
        lines.extend(node.run(100_000));
    }
    assert_eq!(lines, ["warning member_missing"]);
    assert_eq!((node.state(), node.counter("member_missing")), (State::Backup, 1));
    // Heard again, and missing again: raised again.
    node.hear_on(0, LOWER, 253);
    node.run(290_000);
    node.hear_on(1, LOWER, 253);
    node.run(20_000);
    assert_eq!(node.hear_on(1, LOWER, 253), ["warning member_missing"]);
}

#[test]
fn rule_10_the_warning_names_the_vip_and_the_peer() {
    let mut node = Node::backup(two(254));
    node.run(290_000);
    node.hear_on(1, LOWER, 253);
    node.run(20_000);
    let advertisement = node.group.members[1].advertisement(253);
    node.group.handle_advertisement(node.now, MemberId(1), LOWER, &advertisement);
    assert_eq!(
        node.group.poll_output(),
        Some(Output::Warning {
            key: "member_missing",
            text: "vip web: advertisements of 192.0.2.11 are missing here, while other vips hear them"
                .to_owned(),
        })
    );
}

#[test]
fn rule_10_a_group_loses_as_a_whole() {
    let mut node = Node::active(two(200));
    let lines = node.hear_on(1, LOWER, 254);
    assert_eq!(lines[1..3], ["remove 192.0.2.100", "remove 192.0.2.52"]);
}

#[test]
fn v_41_the_answer_goes_to_the_virtual_router_that_heard() {
    let mut node = Node::active(two(200));
    assert_eq!(node.hear_on(1, LOWER, 100)[0], "advertise 200 on 1");
}

/// Two interfaces whose addresses are ordered differently: each node would win one.
#[test]
fn rule_10_a_tie_is_decided_by_the_first_ipv4_member() {
    let mut node = Node::active(two(200));
    let second = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
    node.group.handle_source(node.now, MemberId(1), Some(second));
    node.hear_on(0, LOWER, 200);
    node.hear_on(1, IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 200);
    assert_eq!(node.state(), State::Active);
    node.hear_on(0, HIGHER, 200);
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn members_with_intervals_of_their_own_advertise_at_them() {
    let mut config = two(254);
    config.members[1] = member("mail", 52, Version::V3, 1_000);
    let mut node = Node::active(config);
    let lines = node.run(10_000_000);
    let count = |text: &str| lines.iter().filter(|line| line.ends_with(text)).count();
    assert_eq!((count(": advertise 254"), count(": advertise 254 on 1")), (100, 10));
}

/// The slower member is as good a sign of life: its own Active_Down_Interval counts.
#[test]
fn rule_10_the_last_active_down_timer_of_the_members_counts() {
    let mut config = two(254);
    config.members[1] = member("mail", 52, Version::V3, 1_000);
    let mut node = Node::backup(config);
    node.run(2_000_000);
    node.hear_on(1, LOWER, 253);
    assert_eq!(node.run(3_007_812), Vec::<String>::new());
    assert_eq!(node.run(1)[0], "0 us: advertise 254");
}

#[test]
fn one_link_of_two_down_is_leaving_and_both_down_are_a_fault() {
    let mut node = Node::active(two(254));
    node.group.handle_link(node.now, MemberId(1), Err("link of eth1 is down".to_owned()));
    assert_eq!(node.drain(), ["advertise 1"]);
    assert_eq!(
        node.group.status().readiness,
        Readiness::Leaving { reason: "vip mail: link of eth1 is down".to_owned() }
    );
    node.group.handle_link(node.now, MemberId(0), Err("link of eth0 is down".to_owned()));
    let lines = node.drain();
    assert_eq!(lines.last().unwrap(), "Active -> Initialize: fault: vip web: link of eth0 is down");
}

#[test]
fn rule_7_a_link_that_comes_up_is_advertised_and_announced_on() {
    let mut node = Node::active(two(254));
    node.group.handle_link(node.now, MemberId(1), Err("link of eth1 is down".to_owned()));
    node.drain();
    assert_eq!(node.run(100_000), ["100000 us: advertise 1"]);
    node.group.handle_address_stolen(node.now, MemberId(1), node.group.config().members[1].addresses[0]);
    node.run(50_000);
    node.group.handle_link(node.now, MemberId(1), Ok(()));
    assert_eq!(
        node.drain(),
        ["advertise 254", "advertise 254 on 1", "add 192.0.2.52", "announce 192.0.2.52"]
    );
    assert_eq!(node.run(1_000_000).iter().filter(|line| line.contains("announce")).count(), 2);
}
