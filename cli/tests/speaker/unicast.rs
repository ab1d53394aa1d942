//! A pair that advertises by unicast.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use super::{
    Bridge, Node,
    forged::{in_the_name_of, message, raw_socket, send},
    in_namespace, started, wait_for,
};

const UNICAST: &str = "transport = \"unicast\"";

fn nodes(bridge: &Bridge) -> (Node, Node) {
    (Node::new(bridge, 1, true), Node::new(bridge, 2, true))
}

pub(super) fn is(node: &Node, state: &str) {
    wait_for(&format!("{} is {state}", node.name), || (node.state() == state).then_some(()));
}

/// It has heard ten advertisements more, so more than three intervals have passed.
pub(super) fn hears(node: &Node) {
    let before = node.counter("advertisements_received");
    wait_for(&format!("{} hears", node.name), || {
        (node.counter("advertisements_received") >= before + 10).then_some(())
    });
}

pub(super) fn stop(node: &mut Node) {
    node.signal(node.daemon(), Signal::SIGTERM);
    node.wait();
}

/// V-17 at the socket: an address that is no peer's, a peer's from too far away; and the pair itself goes on.
#[test]
fn by_unicast_a_stranger_is_counted_and_moves_nothing() {
    in_namespace("unicast::by_unicast_a_stranger_is_counted_and_moves_nothing", || {
        let bridge = Bridge::new(UNICAST);
        let (mut lb1, lb2) = started(&bridge);
        hears(&lb2);
        let better = message(255, 10, 1, &[198, 51, 100, 10]);
        let to = |node: &Node| SocketAddr::new(node.address.parse().unwrap(), 0).into();
        let socket = raw_socket(255);
        socket.set_ttl_v4(255).unwrap();
        for node in [&lb1, &lb2] {
            let before = node.counter("reject_not_a_peer");
            socket.send_to(&better, &to(node)).unwrap();
            wait_for("an advertisement to the node alone", || {
                (node.counter("reject_not_a_peer") == before + 1).then_some(())
            });
        }
        send(&socket, &better);
        wait_for("one to the group", || {
            ([&lb1, &lb2].map(|node| node.counter("reject_not_a_peer")) == [2, 2]).then_some(())
        });
        let forged = raw_socket(255);
        forged.set_header_included_v4(true).unwrap();
        let mut packet = in_the_name_of([198, 51, 100, 12], &better);
        packet[8] = 254;
        packet[16..20].copy_from_slice(&[198, 51, 100, 11]);
        forged.send_to(&packet, &to(&lb1)).unwrap();
        wait_for("a peer's from another network", || (lb1.counter("reject_ttl") == 1).then_some(()));
        hears(&lb2);
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        assert_eq!(lb1.counter("transmit_errors") + lb2.counter("transmit_errors"), 0);
        stop(&mut lb1);
        is(&lb2, "Active");
        assert!(lb2.has_vip() && !lb1.has_vip());
    });
}

/// Each hears the other whichever of the two has been restarted with the other transport.
#[test]
fn a_pair_goes_over_to_unicast_and_back_one_node_after_the_other() {
    in_namespace("unicast::a_pair_goes_over_to_unicast_and_back_one_node_after_the_other", || {
        let bridge = Bridge::new("");
        let (mut lb1, mut lb2) = nodes(&bridge);
        let path = bridge.folder.path().join("lb.toml");
        let multicast = std::fs::read_to_string(&path).unwrap();
        let unicast = multicast.replace("vrid = 51\n", &format!("vrid = 51\n{UNICAST}\n"));
        let start = |node: &mut Node, file: &str| {
            std::fs::write(&path, file).unwrap();
            node.start();
        };
        start(&mut lb1, &multicast);
        is(&lb1, "Active");
        for (first, second) in [(&unicast, &unicast), (&multicast, &multicast)] {
            start(&mut lb2, first);
            is(&lb2, "Backup");
            hears(&lb2);
            assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
            stop(&mut lb1);
            is(&lb2, "Active");
            start(&mut lb1, second);
            is(&lb1, "Backup");
            hears(&lb1);
            assert_eq!([lb1.state(), lb2.state()], ["Backup", "Active"]);
            stop(&mut lb2);
            is(&lb1, "Active");
        }
    });
}

#[test]
fn without_its_address_a_node_waits_for_it_and_says_so() {
    in_namespace("unicast::without_its_address_a_node_waits_for_it_and_says_so", || {
        let addresses = "unicast_addresses = { lb1 = \"198.51.100.31\", lb2 = \"198.51.100.32\" }";
        let bridge = Bridge::new(&format!("{UNICAST}\n{addresses}"));
        let mut lb1 = Node::new(&bridge, 1, true);
        lb1.start();
        wait_for("status says why", || {
            let ready = lb1.status()["groups"][0]["nodes"][0]["ready"].to_string();
            ready.contains("its interface does not have 198.51.100.31").then_some(())
        });
        assert!(!lb1.has_vip());
        lb1.ip(&["addr", "add", "198.51.100.31/24", "dev", "eth1"]);
        is(&lb1, "Active");
    });
}

/// The other node's address is here as well: what comes from there is dropped. What is sent there still leaves by the vip's interface, and has to.
#[test]
fn a_node_whose_unicast_peer_is_itself_says_so_counts_it_and_goes_on() {
    in_namespace("unicast::a_node_whose_unicast_peer_is_itself_says_so_counts_it_and_goes_on", || {
        let (_bridge, lb1, lb2) = {
            let bridge = Bridge::new(UNICAST);
            let (lb1, lb2) = started(&bridge);
            (bridge, lb1, lb2)
        };
        hears(&lb2);
        assert_eq!(lb1.counter("peer_is_this_node"), 0);
        let theirs = format!("{}/32", lb2.address);
        lb1.ip(&["addr", "add", &theirs, "dev", "lo"]);
        wait_for("it is counted", || (lb1.counter("peer_is_this_node") >= 3).then_some(()));
        wait_for("the log says it", || {
            let line = "vip web: 198.51.100.12, the address of another node by unicast, is an address of this machine";
            lb1.log().contains(line).then_some(())
        });
        let what = "198.51.100.12 of lb2 is an address of this machine";
        let is_problem = |node: &Node| {
            let problems = node.status()["problems"].as_array().cloned().unwrap_or_default();
            problems.iter().any(|problem| problem["what"] == what)
        };
        wait_for("it is a problem", || is_problem(&lb1).then_some(()));
        hears(&lb2);
        assert_eq!((lb1.state().as_str(), lb1.has_vip()), ("Active", true), "it goes on");
        assert_eq!((lb2.state().as_str(), lb2.has_vip()), ("Backup", false), "it hears who holds it");
        lb1.ip(&["addr", "del", &theirs, "dev", "lo"]);
        wait_for("it is none any more", || (!is_problem(&lb1)).then_some(()));
        let counted = lb1.counter("peer_is_this_node");
        hears(&lb2);
        assert_eq!(lb1.counter("peer_is_this_node"), counted);
    });
}

/// One vip of a group by unicast, over a router in between if the file says so, and one to everybody.
#[test]
fn transport_and_minimum_ttl_are_those_of_each_vip() {
    in_namespace("unicast::transport_and_minimum_ttl_are_those_of_each_vip", || {
        let other = "[vip.other]\nvrid = 52\naddresses = [\"198.51.100.20\"]";
        let bridge = Bridge::new(&format!("{UNICAST}\nminimum_ttl = 250\n{other}"));
        let (lb1, lb2) = started(&bridge);
        let routers = |node: &Node, what: &str| {
            let status = node.status();
            [0, 1].map(|vip| status["groups"][0]["vips"][vip]["routers"][0][what].clone())
        };
        let unicast =
            serde_json::json!({ "unicast": { "source": "198.51.100.12", "peers": ["198.51.100.11"] } });
        assert_eq!(routers(&lb2, "transport"), [unicast, "multicast".into()]);
        wait_for("lb2 hears each", || {
            let heard = routers(&lb2, "counters").map(|all| all["advertisements_received"].as_u64());
            heard.iter().all(|heard| *heard >= Some(5)).then_some(())
        });
        // In the name of the other node, from so far away, and worse than what is there.
        let forged = raw_socket(255);
        forged.set_header_included_v4(true).unwrap();
        let mut packet = in_the_name_of([198, 51, 100, 12], &message(18, 10, 1, &[198, 51, 100, 10]));
        packet[16..20].copy_from_slice(&[198, 51, 100, 11]);
        for (ttl, counter) in [(250, "losing_received"), (249, "reject_ttl")] {
            let before = lb1.counter(counter);
            packet[8] = ttl;
            forged.send_to(&packet, &SocketAddr::new(lb1.address.parse().unwrap(), 0).into()).unwrap();
            wait_for(counter, || (lb1.counter(counter) == before + 1).then_some(()));
        }
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
    });
}
