//! What `[track.*]` looks at, on real interfaces.

use super::{
    Bridge, Node, in_namespace, run,
    signed::reload,
    started,
    unicast::{hears, is},
    wait_for,
};

/// `track`: whole tables.
pub(crate) fn bridge(track: &str) -> Bridge {
    Bridge::new(&format!("\n{track}"))
}

/// What status says of the only tracker.
pub(crate) fn tracker(node: &Node) -> serde_json::Value {
    node.status()["trackers"][0].clone()
}

pub(crate) fn passes(node: &Node, expected: bool) {
    wait_for(&format!("the tracker of {} passes: {expected}", node.name), || {
        (tracker(node)["passes"] == expected).then_some(())
    });
}

pub(crate) fn ready(node: &Node) -> String {
    node.status()["groups"][0]["nodes"][0]["ready"].to_string()
}

#[test]
fn an_address_that_does_not_answer_one_node_moves_to_the_other_and_one_that_answers_neither_moves_nothing() {
    in_namespace(
        "tracked::an_address_that_does_not_answer_one_node_moves_to_the_other_and_one_that_answers_neither_moves_nothing",
        || {
            // The router of lb1 is another one than that of lb2.
            let bridge = bridge(
                "[track.gateway]\naddress = { lb1 = \"198.51.100.2\", lb2 = \"198.51.100.1\" }\n\
                 interval = \"100ms\"\ntimeout = \"1s\"\nfall = 2\nhold = \"200ms\"",
            );
            run("ip", &["addr", "add", "198.51.100.2/24", "dev", "br0"]);
            let (lb1, lb2) = started(&bridge);
            passes(&lb1, true);
            wait_for("lb2 is ready", || ready(&lb2).contains("yes").then_some(()));
            assert_eq!(tracker(&lb1)["subject"], "address 198.51.100.2");
            run("ip", &["addr", "del", "198.51.100.2/24", "dev", "br0"]);
            is(&lb2, "Active");
            is(&lb1, "Backup");
            assert!(lb2.has_vip() && !lb1.has_vip());
            let said = tracker(&lb1);
            assert_eq!((&said["passes"], &said["failures_total"]), (&false.into(), &1.into()), "{said}");
            assert!(ready(&lb1).contains("tracker gateway fails: 198.51.100.2"), "{}", ready(&lb1));
            let problems = lb1.status()["problems"].to_string();
            assert!(problems.contains("tracker gateway fails"), "{problems}");
            assert!(lb1.log().contains("tracker fails"), "{}", lb1.log());
            // Now the other one's as well: nobody is better.
            run("ip", &["addr", "del", "198.51.100.1/24", "dev", "br0"]);
            passes(&lb2, false);
            wait_for("lb2 counts it", || ready(&lb2).contains("tracker gateway fails").then_some(()));
            hears(&lb1);
            assert_eq!([lb1.state(), lb2.state()], ["Backup", "Active"]);
            // What comes back at the Backup alone makes it the better one.
            run("ip", &["addr", "add", "198.51.100.2/24", "dev", "br0"]);
            is(&lb1, "Active");
            passes(&lb1, true);
        },
    );
}

#[test]
fn an_interface_without_carrier_is_a_fault_and_one_that_is_back_too_short_is_none() {
    in_namespace(
        "tracked::an_interface_without_carrier_is_a_fault_and_one_that_is_back_too_short_is_none",
        || {
            let bridge =
                bridge("[track.uplink]\ninterface = \"up0\"\nup_delay = \"1h\"\nfailure = \"fault\"");
            let (mut lb1, mut lb2) = (Node::new(&bridge, 1, true), Node::new(&bridge, 2, true));
            for node in [&mut lb1, &mut lb2] {
                // The far end of a cable.
                node.ip(&["link", "add", "up0", "type", "veth", "peer", "name", "far0"]);
                node.ip(&["link", "set", "up0", "up"]);
                node.ip(&["link", "set", "far0", "up"]);
                // The kernel takes its time with that.
                wait_for("an operational interface", || {
                    node.ip(&["link", "show", "up0"]).contains("state UP").then_some(())
                });
            }
            lb1.start();
            is(&lb1, "Active");
            lb2.start();
            is(&lb2, "Backup");
            lb1.ip(&["link", "set", "far0", "down"]);
            is(&lb2, "Active");
            is(&lb1, "Initialize");
            assert!(!lb1.has_vip() && lb2.has_vip());
            assert!(
                ready(&lb1).contains("tracker uplink fails: interface up0 has no carrier"),
                "{}",
                ready(&lb1)
            );
            lb1.ip(&["link", "set", "far0", "up"]);
            wait_for("the last look passed", || tracker(&lb1)["reason"].is_null().then_some(()));
            assert_eq!((tracker(&lb1)["passes"].clone(), lb1.state()), (false.into(), "Initialize".into()));
        },
    );
}

#[test]
fn what_can_not_be_looked_at_is_a_problem_and_moves_nothing_and_a_reload_follows_the_file() {
    in_namespace(
        "tracked::what_can_not_be_looked_at_is_a_problem_and_moves_nothing_and_a_reload_follows_the_file",
        || {
            let bridge = bridge(
                "[track.gate]\nfile = \"@\"\nfails_while = \"absent\"\ninterval = \"100ms\"\nfailure = \"fault\"",
            );
            let folder = bridge.folder.path().join("locked");
            std::fs::create_dir(&folder).unwrap();
            let gate = folder.join("gate");
            std::fs::write(&gate, "").unwrap();
            let path = bridge.folder.path().join("lb.toml");
            let file = std::fs::read_to_string(&path).unwrap().replace('@', gate.to_str().unwrap());
            std::fs::write(&path, &file).unwrap();
            let (lb1, lb2) = started(&bridge);
            passes(&lb1, true);
            // A reload brings another one, which fails from the start: a fault of both nodes.
            let other = format!("{file}[track.maintenance]\nfile = \"{}\"\n", gate.display());
            std::fs::write(&path, &other).unwrap();
            assert!(reload(&lb1).status.success());
            wait_for("lb1 looks at both", || (lb1.status()["trackers"][1]["passes"] == false).then_some(()));
            is(&lb2, "Active");
            is(&lb1, "Backup");
            std::fs::write(&path, &file).unwrap();
            assert!(reload(&lb1).status.success());
            wait_for("lb1 looks at one", || lb1.status()["trackers"][1].is_null().then_some(()));
            // Not even root may look into it without its capabilities.
            let mode = |mode: u32| {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
            };
            mode(0);
            wait_for("a problem", || {
                lb2.status()["problems"].to_string().contains("tracker gate can't look at file").then_some(())
            });
            hears(&lb1);
            assert_eq!(lb2.state(), "Active");
            assert_eq!(tracker(&lb2)["passes"], true);
            mode(0o755);
            wait_for("no problem", || tracker(&lb2)["reason"].is_null().then_some(()));
            std::fs::remove_file(&gate).unwrap();
            is(&lb2, "Initialize");
            is(&lb1, "Initialize");
        },
    );
}

#[test]
fn an_address_that_answers_no_echo_answers_arp_and_neighbour_solicitations() {
    in_namespace("tracked::an_address_that_answers_no_echo_answers_arp_and_neighbour_solicitations", || {
        let one = |name: &str, address: &str, probe: &str| {
            format!(
                "[track.{name}]\naddress = \"{address}\"\nprobe = \"{probe}\"\ninterval = \"100ms\"\nfall = 2\n"
            )
        };
        let tracks = [
            one("ping", "198.51.100.2", "icmp"),
            one("arp", "198.51.100.2", "arp"),
            one("nd", "2001:db8::1", "arp"),
            one("far", "203.0.113.1", "arp"),
        ];
        let bridge = bridge(&tracks.concat());
        std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").unwrap();
        run("ip", &["addr", "add", "198.51.100.2/24", "dev", "br0"]);
        run("ip", &["addr", "add", "2001:db8::1/64", "dev", "br0", "nodad"]);
        let mut lb1 = Node::new(&bridge, 1, true);
        lb1.ip(&["addr", "add", "2001:db8::11/64", "dev", "eth1", "nodad"]);
        lb1.start();
        let passes = |expected: [bool; 4]| {
            wait_for(&format!("{expected:?}"), || {
                let all = lb1.status()["trackers"].clone();
                let each: Vec<_> = (0..4).map(|index| all[index]["passes"].as_bool()).collect();
                (each == expected.map(Some)).then_some(())
            });
        };
        passes([false, true, true, false]);
        let why = lb1.status()["trackers"][3]["reason"].to_string();
        assert!(why.contains("203.0.113.1 is in the network of no interface"), "{why}");
        run("ip", &["addr", "del", "198.51.100.2/24", "dev", "br0"]);
        run("ip", &["addr", "del", "2001:db8::1/64", "dev", "br0"]);
        passes([false, false, false, false]);
        let why = lb1.status()["trackers"][1]["reason"].to_string();
        assert!(why.contains("198.51.100.2 on eth1 does not answer within 1s"), "{why}");
        run("ip", &["addr", "add", "198.51.100.2/24", "dev", "br0"]);
        passes([false, true, false, false]);
    });
}
