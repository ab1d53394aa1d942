//! `lbctl doctor` on the nodes of a lab: it finds nothing where all is well, and each fault that is made.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::time::Duration;

use lb_tests::{keepalived, program, scene::Scene, wait};
use lbctl::lab::{How, Options};
use serde_json::Value;

/// The exit code, and what was found, a text `check: message` for each.
fn doctor(scene: &Scene, node: &str, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let (code, said, errors) = scene.verb(node, &[&["doctor", "--json"], arguments].concat());
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{errors}"));
    let found = report["findings"].as_array().unwrap().iter();
    let is_granted = |one: &&Value| {
        has_real_time() || !one["message"].as_str().is_some_and(|message| message.starts_with("the speaker "))
    };
    let found = found.filter(is_granted);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    (code, found.map(|one| format!("{}: {}", text(one, "check"), text(one, "message"))).collect())
}

/// A container may keep that from everybody.
fn has_real_time() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    is_root && lbctl::keeper::may_run_before_others()
}

#[track_caller]
fn finds(scene: &Scene, node: &str, arguments: &[&str], expected: &str) {
    let (code, found) = doctor(scene, node, arguments);
    assert!(found.iter().any(|one| one.contains(expected)), "{expected} is not among {found:#?}");
    assert_eq!(code, Some(2));
}

#[test]
fn nodes_that_are_well_have_nothing_and_each_fault_of_a_running_pair_is_found() {
    let scene = Scene::ready(&Options::default());
    for node in ["lb1", "lb2"] {
        let (code, found) = doctor(&scene, node, &[]);
        assert_eq!((code, found), (Some(0), Vec::new()), "{node}");
    }
    let (_, said, _) = scene.verb("lb1", &["doctor"]);
    assert!(said.lines().next().unwrap().ends_with(" · lbctl runs here · nothing found"), "{said}");
    assert!(said.contains("\n-  lbctl stays root, so who gets into it can use root's sockets"), "{said}");

    let settings = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
    scene.shell("lb2", &format!("echo 8 > {settings}"));
    finds(
        &scene,
        "lb2",
        &[],
        "kernel settings: eth0: arp_ignore is 8, so this machine answers for no address",
    );
    scene.shell("lb2", &format!("echo 0 > {settings}"));

    // A machine of its own has the address as well, beside the node that holds it.
    scene.shell("client", "ip address add 198.51.100.10/32 dev eth0");
    let (_, found) = doctor(&scene, "lb2", &[]);
    assert!(found.iter().any(|one| one.starts_with("addresses: eth0: 198.51.100.10 of [vip.")), "{found:#?}");
    scene.shell("client", "ip address del 198.51.100.10/32 dev eth0");

    scene.shell("lb2", "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind");
    let (code, said, _) = scene.verb("lb2", &["doctor"]);
    assert!(said.contains("\n-  net.ipv4.ip_nonlocal_bind is 1: lbctl does not need it"), "{said}");
    assert_eq!(code, Some(0));
    scene.shell("lb2", "echo 0 > /proc/sys/net/ipv4/ip_nonlocal_bind");

    if has_real_time() {
        let pid = scene.status_of("lb2")["pid"].clone();
        let speaker = format!("$(pgrep -x lbctl-speaker -P {pid})");
        scene.shell("lb2", &format!("chrt --other --pid 0 {speaker}"));
        finds(&scene, "lb2", &[], "limits: the speaker has no real-time priority: on a busy machine");
        scene.shell("lb2", &format!("chrt --rr --pid 10 {speaker}"));
    }

    let stub = scene.write("timedatectl", "#!/bin/sh\necho no\n");
    let lbctl = program::lbctl();
    let folder = stub.trim_end_matches("/timedatectl");
    let said = scene.shell("lb2", &format!("chmod +x {stub}; PATH={folder}:$PATH {lbctl} doctor || true"));
    assert!(said.contains("clock: this machine's clock follows no other one"), "{said}");

    scene.shell("lb2", "ip link set eth0 mtu 1000");
    finds(&scene, "lb2", &[], "kernel settings: eth0: its MTU is 1000, and the nodes' hello needs 1428");
    scene.shell("lb2", "ip link set eth0 mtu 1500");

    scene.fail("lb1", How::Cable).unwrap();
    finds(&scene, "lb2", &[], "path: node lb1 (198.51.100.11) does not answer a ping");
}

#[test]
fn each_fault_is_found_before_anything_runs() {
    let scene = Scene::new(&Options::default().without_daemons());
    let file = scene.write("lb.toml", include_str!("doctor/lb.toml"));
    let (code, found) = doctor(&scene, "lb1", &[&file]);
    assert_eq!((code, found), (Some(0), Vec::new()));

    let rules = "nft add table inet f; nft add chain inet f i '{ type filter hook input priority 0; policy accept; }'; nft add rule inet f i";
    scene.shell("lb1", &format!("{rules} meta l4proto 112 drop"));
    finds(
        &scene,
        "lb1",
        &[&file],
        "firewall: eth0: protocol 112 to 224.0.0.18 is dropped on this machine (nftables: inet f i)",
    );
    scene.shell("lb1", "nft delete table inet f");
    scene.shell("lb1", &format!("{} ip protocol 112 drop", rules.replace("hook input", "hook output")));
    finds(&scene, "lb1", &[&file], "firewall: eth0: protocol 112 to 224.0.0.18 is dropped on this machine");
    scene.shell("lb1", "nft delete table inet f");

    scene.shell("client", "ip address add 198.51.100.10/32 dev eth0");
    finds(&scene, "lb1", &[&file], "and no node advertises it: clients reach that machine");
    scene.shell("client", "ip address del 198.51.100.10/32 dev eth0");

    // A neighbour that takes no packets of the MTU here; what the hello needs it takes.
    scene.shell("lb2", "ip link set eth0 mtu 1450");
    finds(&scene, "lb1", &[&file], "path: eth0: node lb2 answers a small ping and none of 1500 bytes");
    scene.shell("lb2", "ip link set eth0 mtu 1500");

    let text = include_str!("doctor/lb.toml");
    let own = "addresses = [\"198.51.100.10\"]";
    let outside = text.replacen(own, "addresses = [\"198.51.100.10\", \"203.0.113.10\"]", 1);
    assert_ne!(outside, text);
    let outside = scene.write("outside.toml", &outside);
    let filters = |strict: u8| {
        scene.shell(
            "lb1",
            &format!("for i in all eth0; do echo {strict} > /proc/sys/net/ipv4/conf/$i/rp_filter; done"),
        );
    };
    let strict =
        "kernel settings: eth0: rp_filter is 1, and 203.0.113.10 of [vip.web] is in none of its networks";
    filters(1);
    finds(&scene, "lb1", &[&outside], strict);
    filters(2);
    let (_, found) = doctor(&scene, "lb1", &[&outside]);
    assert!(!found.iter().any(|one| one.contains("rp_filter")), "{found:#?}");

    let unicast =
        scene.write("unicast.toml", &text.replacen(own, &format!("transport = \"unicast\"\n{own}"), 1));
    let (code, found) = doctor(&scene, "lb1", &[&unicast]);
    assert_eq!((code, found), (Some(0), Vec::new()));
    let (inward, outward) = ("from 198.51.100.12 to 198.51.100.11", "to 198.51.100.12");
    for (hook, course) in [("input", inward), ("output", outward)] {
        scene.shell(
            "lb1",
            &format!("{} meta l4proto 112 drop", rules.replace("hook input", &format!("hook {hook}"))),
        );
        finds(
            &scene,
            "lb1",
            &[&unicast],
            &format!("firewall: eth0: protocol 112 {course} is dropped on this machine (nftables: inet f i)"),
        );
        scene.shell("lb1", "nft delete table inet f");
    }

    let stranger = "vrrp_instance a {\n interface eth0\n virtual_router_id 51\n version 3\n virtual_ipaddress {\n 198.51.100.99\n }\n}\n";
    let running = keepalived::run(&scene, "client", stranger);
    wait::until("keepalived is Active", Duration::from_secs(30), || {
        scene.shell("client", "ip -o -4 address show").contains(" 198.51.100.99/").then_some(())
    });
    finds(&scene, "lb1", &[&file], "uses vrid 51 of [vip.web] too, with priority 100");
    drop(running);

    if has_real_time() {
        let without =
            "--bounding-set -sys_nice,-ipc_lock,-sys_resource --inh-caps -sys_nice,-ipc_lock,-sys_resource";
        let lbctl = program::lbctl();
        let line =
            format!("prlimit --rtprio=0 --memlock=65536 setpriv {without} {lbctl} doctor {file} || true");
        let said = scene.shell("lb1", &line);
        for what in ["real-time priority: on a busy machine", "locked memory: where memory is short"] {
            let expected = format!("!  limits: the speaker would have, started from here, no {what}");
            assert!(said.contains(&expected), "{said}");
        }
    }

    let links = "mkdir -p /run/systemd/netif/links";
    let state =
        "echo NETWORK_FILE=/etc/lb.network > /run/systemd/netif/links/$(ip -o link show eth0 | cut -d: -f1)";
    scene.shell("lb1", &format!("{links}; {state}"));
    finds(&scene, "lb1", &[&file], "network manager: eth0: systemd-networkd manages it by /etc/lb.network");
}

/// What is found of the filters of lb1 with these rules for what comes in (nothing else passes), and the notes about them.
fn with_rules(scene: &Scene, file: &str, rules: &str) -> (Vec<String>, Vec<String>) {
    let input = "type filter hook input priority 0; policy drop; meta l4proto { icmp, ipv6-icmp } accept;";
    let rules =
        scene.write("rules.nft", &format!("table inet f {{\n chain i {{\n {input}\n {rules}\n }}\n}}\n"));
    scene.shell("lb1", &format!("nft -f {rules}"));
    let (_, said, errors) = scene.verb("lb1", &["doctor", "--json", file]);
    scene.shell("lb1", "nft flush ruleset");
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{errors}"));
    let texts = |of: &Value| -> Vec<String> {
        let all = of.as_array().unwrap().iter().map(|one| one.as_str().unwrap_or_default().to_owned());
        all.filter(|text| text.contains("protocol 112 ")).collect()
    };
    let found = report["findings"].as_array().unwrap().iter().map(|one| one["message"].clone()).collect();
    (texts(&Value::Array(found)), texts(&report["notes"]))
}

/// What comes in by the loopback interface is another matter: rules that let that pass hide nothing, and without them nothing is
/// made up.
#[test]
fn filters_are_told_as_packets_of_the_other_node_meet_them() {
    let scene = Scene::new(&Options::default().without_daemons());
    let text = include_str!("doctor/lb.toml");
    let (vip, mut files) = ("addresses = [\"198.51.100.10\"]", Vec::new());
    let nodes = "unicast_addresses = { lb1 = [\"2001:db8:f::11\"], lb2 = [\"2001:db8:f::12\"] }";
    for (name, lines) in [
        ("multicast", vip.to_owned()),
        ("unicast", format!("transport = \"unicast\"\n{vip}")),
        ("ipv6", format!("transport = \"unicast\"\n{nodes}\naddresses = [\"fe80::10\", \"2001:db8:f::10\"]")),
    ] {
        files.push(scene.write(&format!("{name}.toml"), &text.replacen(vip, &lines, 1)));
    }
    let [multicast, unicast, ipv6] = files.as_slice() else { unreachable!("three") };
    let (course, course_ipv6) = (
        "protocol 112 from 198.51.100.12 to 198.51.100.11",
        "protocol 112 from 2001:db8:f::12 to 2001:db8:f::11",
    );

    for (file, rules, course) in [
        (unicast, "iif lo accept;", course),
        (unicast, "ct state established,related accept; iif lo accept; udp dport 3112 accept;", course),
        (unicast, "ip saddr 198.51.100.99 meta l4proto 112 accept;", course),
        (unicast, "iif eth0 meta l4proto 112 drop; accept;", course),
        (multicast, "iif lo accept;", "protocol 112 to 224.0.0.18"),
        // Rules by the TTL that it does not meet, and one that sets it, are no excuse.
        (
            multicast,
            "meta l4proto 112 ip ttl set 64; }\n chain f { type filter hook forward priority 0; ip ttl 1 drop; }\n chain u { ip ttl 255 accept;",
            "protocol 112 to 224.0.0.18",
        ),
        (ipv6, "iif lo accept;", course_ipv6),
        (ipv6, "iif eth0 meta l4proto 112 drop; accept;", course_ipv6),
    ] {
        let (found, notes) = with_rules(&scene, file, rules);
        assert_eq!((found.len(), notes), (1, Vec::new()), "{rules}: {found:?}");
        assert!(
            found[0].contains(&format!("eth0: {course} is dropped on this machine (nftables: inet f i)"))
        );
    }
    for (file, rules) in [
        (unicast, "accept;"),
        (unicast, "iif lo drop; iif eth0 meta l4proto 112 accept;"),
        (unicast, "iif eth0 ip saddr 198.51.100.12 ip daddr 198.51.100.11 meta l4proto 112 accept;"),
        (multicast, "iif lo drop; meta l4proto 112 accept;"),
        (multicast, "meta pkttype multicast meta l4proto 112 accept;"),
        (multicast, "ip saddr 198.51.100.12 ip daddr 224.0.0.18 meta l4proto 112 accept;"),
        (ipv6, "iif lo drop; iif eth0 ip6 saddr 2001:db8:f::12 meta l4proto 112 accept;"),
    ] {
        assert_eq!(with_rules(&scene, file, rules), (Vec::new(), Vec::new()), "{rules}");
    }
    let group = "protocol 112 to 224.0.0.18";
    let blind = [
        (ipv6, "ip6 daddr 2001:db8:f::11 meta l4proto 112 accept;", course_ipv6),
        // By what a packet that leaves no machine has otherwise than a real one.
        (multicast, "ip ttl 255 meta l4proto 112 accept;", group),
        (multicast, "jump own; }\n chain own { ip ttl 255 meta l4proto 112 accept;", group),
        (unicast, "ip ttl 255 meta l4proto 112 accept;", course),
        (ipv6, "ip6 hoplimit 255 meta l4proto 112 accept;", course_ipv6),
        (unicast, "meta pkttype host meta l4proto 112 accept;", course),
        (
            unicast,
            "accept; }\n chain o { type filter hook output priority 0; policy drop; ip daddr 198.51.100.12 accept;",
            course,
        ),
    ];
    for (file, rules, course) in blind {
        let (found, notes) = with_rules(&scene, file, rules);
        assert_eq!((found, notes.len()), (Vec::new(), 1), "{rules}: {notes:?}");
        assert!(notes[0].starts_with(&format!("eth0: whether {course} passes")), "{notes:?}");
        assert!(notes[0].contains("tcpdump -ni eth0 proto 112 shows what comes"), "{notes:?}");
    }
}

/// Without rights it says what it could not look at, and finds the rest.
#[test]
fn without_rights_it_says_what_it_could_not_try() {
    let scene = Scene::new(&Options::default().without_daemons());
    let file = scene.write("lb.toml", include_str!("doctor/lb.toml"));
    let lbctl = program::lbctl();
    let said = scene
        .shell("lb1", &format!("setpriv --bounding-set -all --inh-caps -all {lbctl} doctor {file} || true"));
    assert!(said.contains("you don't have CAP_NET_ADMIN"), "{said}");
    assert!(said.contains("could not be tried") && said.contains("could not be asked"), "{said}");
}
