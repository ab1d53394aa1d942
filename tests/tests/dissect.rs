//! What is on the wire, checked by tshark's VRRP dissector: another reading of the RFC than ours.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{collections::BTreeSet, time::Duration};

use lb_tests::{
    capture::{Capture, dissect},
    order::other,
    scene::{Scene, with_ipv6},
    wait,
};
use lbctl::lab::{CONFIGURATION, How, Options, VIP_IPV6};

const FIELDS: [&str; 11] = [
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "vrrp.version",
    "vrrp.type",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.ip_addr",
    "vrrp.checksum.status",
    "_ws.malformed",
];

/// One node stops, the other takes over: every kind of message. `as_in_v2` is whether the sum that was sent covers the
/// message alone; `version` is what the messages should be of.
fn conversation_is_sound(file: &str, version: &str, as_in_v2: bool) {
    let scene = Scene::ready(&Options::default().configuration(file));
    let capture = Capture::start(&scene, "client", "ip proto 112 or arp");
    let holder = scene.holder();
    wait::until("three packets", Duration::from_secs(30), || (capture.packets() >= 3).then_some(()));
    scene.fail(&holder, How::Stop).unwrap();
    scene.wait_until_held_by(other(&holder), Duration::from_secs(30)).unwrap();
    let enough = capture.packets() + 5;
    wait::until("five more packets", Duration::from_secs(30), || (capture.packets() >= enough).then_some(()));
    let pcap = capture.stop();

    let setting = format!("vrrp.v3_checksum_as_in_v2:{}", if as_in_v2 { "TRUE" } else { "FALSE" });
    let packets = dissect(&pcap, &[&setting], "vrrp", &FIELDS);
    assert!(packets.len() >= 5, "{packets:?}");
    for packet in &packets {
        let [source, destination, ttl, found, kind, vrid, _, count, address, sum, malformed] =
            packet.as_slice()
        else {
            panic!("{packet:?}")
        };
        assert!(["198.51.100.11", "198.51.100.12"].contains(&source.as_str()), "{packet:?}");
        assert_eq!(
            [destination.as_str(), ttl, found, kind, vrid, count, address],
            ["224.0.0.18", "255", version, "1", "51", "1", "198.51.100.10"],
            "{packet:?}"
        );
        // tshark: 0 bad, 1 good, 2 unverified.
        assert_eq!((sum.as_str(), malformed.as_str()), ("1", ""), "{packet:?}");
    }
    let priorities: BTreeSet<&str> = packets.iter().map(|packet| packet[6].as_str()).collect();
    let (own, heirs) = if holder == "lb1" { ("254", "253") } else { ("253", "254") };
    assert!(priorities.is_superset(&BTreeSet::from([own, "1", heirs])), "leaving is 1: {priorities:?}");

    let announced = dissect(
        &pcap,
        &[],
        "arp.isgratuitous == 1",
        &["arp.src.proto_ipv4", "arp.dst.proto_ipv4", "eth.dst", "_ws.malformed"],
    );
    let expected = ["198.51.100.10", "198.51.100.10", "ff:ff:ff:ff:ff:ff", ""].map(str::to_owned).to_vec();
    assert!(announced.contains(&expected), "the new holder announces the address: {announced:?}");
    assert!(announced.iter().all(|frame| frame[3].is_empty()), "{announced:?}");
}

#[test]
fn version_3_with_the_checksum_of_rfc_9568_is_sound() {
    conversation_is_sound(CONFIGURATION, "3", true);
}

#[test]
fn version_3_with_the_checksum_of_rfc_5798_is_sound() {
    let file = CONFIGURATION.replace("vrid ", "checksum  = \"rfc5798\"\nvrid ");
    conversation_is_sound(&file, "3", false);
}

#[test]
fn version_2_is_sound() {
    let file = CONFIGURATION.replace("vrid ", "version   = 2\nvrid ");
    conversation_is_sound(&file, "2", false);
}

const FIELDS_IPV6: [&str; 13] = [
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "ipv6.tclass",
    "vrrp.version",
    "vrrp.type",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.ipv6_addr",
    "vrrp.checksum.status",
    "eth.dst",
    "_ws.malformed",
];

/// V-20, V-21 and V-61 on the wire: advertisements from the link-local address, the link-local address first, and the
/// announcement that a client believes.
#[test]
fn version_3_over_ipv6_is_sound() {
    let scene = Scene::ready(&Options::default().configuration(&with_ipv6()));
    let capture = Capture::start(&scene, "client", "ip6 proto 112 or icmp6");
    let holder = scene.holder();
    wait::until("ten packets", Duration::from_secs(30), || (capture.packets() >= 10).then_some(()));
    scene.fail(&holder, How::Stop).unwrap();
    wait::until("the other node has the address", Duration::from_secs(30), || {
        scene.has_vip_ipv6(other(&holder)).then_some(())
    });
    let enough = capture.packets() + 20;
    wait::until("more packets", Duration::from_secs(30), || (capture.packets() >= enough).then_some(()));
    let pcap = capture.stop();

    let packets = dissect(&pcap, &[], "vrrp", &FIELDS_IPV6);
    assert!(packets.len() >= 20, "{packets:?}");
    let link_local = packets[0][9].split(',').next().unwrap().to_owned();
    assert!(link_local.starts_with("fe80::"), "{link_local}");
    for packet in &packets {
        let fields: Vec<&str> = packet.iter().map(String::as_str).collect();
        let [source, destination, hops, class, found, kind, vrid, _, count, list, sum, group, malformed] =
            fields.as_slice()
        else {
            panic!("{packet:?}")
        };
        // Of 02:00:c6:33:64:0b and 02:00:c6:33:64:0c.
        assert!(["fe80::c6ff:fe33:640b", "fe80::c6ff:fe33:640c"].contains(source), "{packet:?}");
        assert_eq!(
            [*destination, *hops, *class, *group],
            ["ff02::12", "255", "0x000000c0", "33:33:00:00:00:12"]
        );
        assert_eq!([*found, *kind, *vrid, *count], ["3", "1", "51", "2"], "{packet:?}");
        assert_eq!(*list, format!("{link_local},{VIP_IPV6}"));
        assert_eq!([*sum, *malformed], ["1", ""], "{packet:?}");
    }
    let priorities: BTreeSet<&str> = packets.iter().map(|packet| packet[7].as_str()).collect();
    assert!(priorities.is_superset(&BTreeSet::from(["253", "254", "1"])), "{priorities:?}");

    let announced = dissect(
        &pcap,
        &[],
        "icmpv6.type == 136 and ipv6.dst == ff02::1",
        &[
            "ipv6.src",
            "icmpv6.nd.na.target_address",
            "icmpv6.nd.na.flag.r",
            "icmpv6.nd.na.flag.s",
            "icmpv6.nd.na.flag.o",
            "icmpv6.opt.linkaddr",
            "ipv6.hlim",
            "eth.dst",
            "icmpv6.checksum.status",
            "_ws.malformed",
        ],
    );
    let mac = if other(&holder) == "lb1" { "02:00:c6:33:64:0b" } else { "02:00:c6:33:64:0c" };
    for address in [&link_local, &VIP_IPV6.to_string()] {
        let expected = [address, address, "0", "0", "1", mac, "255", "33:33:00:00:00:01", "1", ""];
        let expected = expected.map(str::to_owned).to_vec();
        assert!(announced.contains(&expected), "{expected:?} in {announced:?}");
    }
}
