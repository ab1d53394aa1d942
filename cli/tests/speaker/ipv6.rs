//! A vip with both families on real kernels: it comes, goes and dies as one.

use std::{
    net::{Ipv6Addr, SocketAddrV6, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Bridge, Node, VIP, in_namespace, is_dead, run, wait_for};

const VIP_IPV6: &str = "2001:db8:f::10";

/// The one that is made for vrid 51 and the address above.
const LINK_LOCAL: &str = "fe80::a96d:6237:d80d:290c";

/// The bridge has an address that clients may have.
fn bridge() -> Bridge {
    let bridge = Bridge::with(&format!("addresses = [\"{VIP}\", \"{VIP_IPV6}\"]"));
    run("ip", &["-6", "addr", "add", "2001:db8:f::1/64", "dev", "br0", "nodad"]);
    bridge
}

/// Which of the three addresses the node has.
fn has(node: &Node) -> [bool; 3] {
    let shown = node.ip(&["-6", "addr", "show"]);
    let has = |address| shown.contains(&format!("inet6 {address}/128 "));
    [node.has_vip(), has(LINK_LOCAL), has(VIP_IPV6)]
}

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];

fn wait_until(node: &Node, wanted: [bool; 3]) {
    wait_for(&format!("{} has {wanted:?}", node.name), || (has(node) == wanted).then_some(()));
}

/// Over IPv6 a node can speak once its kernel is sure of its link-local address.
fn wait_until_ready(node: &Node) {
    wait_for(&format!("{} is ready", node.name), || {
        let nodes = &node.status()["groups"][0]["nodes"];
        (nodes[0]["local"] == true && nodes[0]["ready"] == "yes").then_some(())
    });
}

fn pair() -> (Bridge, Node, Node) {
    let bridge = bridge();
    let mut lb1 = Node::new(&bridge, 1, true);
    let mut lb2 = Node::new(&bridge, 2, true);
    for (node, own) in [(&lb1, "2001:db8:f::11/64"), (&lb2, "2001:db8:f::12/64")] {
        // The way back to clients; the address that moves brings none.
        node.ip(&["-6", "addr", "add", own, "dev", "eth1", "nodad"]);
    }
    lb1.start();
    wait_until_ready(&lb1);
    wait_until(&lb1, ALL);
    lb2.start();
    wait_until_ready(&lb2);
    wait_for("lb1 is Active, lb2 its Backup", || {
        ([lb1.state(), lb2.state()] == ["Active", "Backup"]).then_some(())
    });
    (bridge, lb1, lb2)
}

#[test]
fn both_families_are_installed_leased_served_and_given_up_as_one() {
    in_namespace("ipv6::both_families_are_installed_leased_served_and_given_up_as_one", || {
        let (_bridge, mut lb1, lb2) = pair();
        let shown = lb1.ip(&["-6", "addr", "show", "dev", "eth1"]);
        let line = shown.lines().find(|line| line.contains(VIP_IPV6)).unwrap();
        // Nobody's source of connections, no second of doubt, no route, and a lease.
        for flag in ["/128 scope global", "deprecated", "nodad", "noprefixroute", "dynamic"] {
            assert!(line.contains(flag), "{flag}: {line}");
        }
        assert!(shown.contains("preferred_lft 0sec"), "{shown}");
        for node in [&lb1, &lb2] {
            let groups = node.ip(&["-6", "maddr", "show", "dev", "eth1"]);
            assert!(groups.contains("inet6 ff02::12"), "{groups}");
        }
        // By the address, not by a record of it: the kernel answers for it, and the proxy listens.
        let address = SocketAddrV6::new(VIP_IPV6.parse().unwrap(), 80, 0, 0);
        wait_for("a connection to the IPv6 address", || {
            TcpStream::connect_timeout(&address.into(), Duration::from_secs(1)).ok()
        });
        let vips = lb1.status()["groups"][0]["vips"].clone();
        assert_eq!(vips.as_array().map(Vec::len), Some(1), "one table, one vip: {vips}");
        assert_eq!(vips[0]["addresses"], serde_json::json!([VIP, LINK_LOCAL, VIP_IPV6]));
        assert_eq!(vips[0]["installed"], serde_json::json!([VIP, VIP_IPV6, LINK_LOCAL]));

        lb1.signal(lb1.daemon(), Signal::SIGTERM);
        lb1.wait();
        assert_eq!(has(&lb1), NONE);
        wait_until(&lb2, ALL);
        assert_eq!(lb2.counter("addresses_stolen"), 0);
    });
}

#[test]
fn a_killed_daemon_and_then_both_processes_leave_no_ipv6_address_behind() {
    in_namespace("ipv6::a_killed_daemon_and_then_both_processes_leave_no_ipv6_address_behind", || {
        let (_bridge, mut lb1, mut lb2) = pair();
        let speaker = lb1.speaker();
        lb1.signal(lb1.daemon(), Signal::SIGKILL);
        lb1.wait();
        wait_for("the end of the speaker", || is_dead(speaker).then_some(()));
        assert_eq!(has(&lb1), NONE);
        wait_until(&lb2, ALL);
        // Stopped first, so that neither can do anything about the other's death.
        let (daemon, speaker) = (lb2.daemon(), lb2.speaker());
        lb2.signal(speaker, Signal::SIGSTOP);
        lb2.signal(daemon, Signal::SIGSTOP);
        lb2.signal(speaker, Signal::SIGKILL);
        lb2.signal(daemon, Signal::SIGKILL);
        lb2.wait();
        // Their leases end.
        wait_until(&lb2, NONE);
    });
}

#[test]
fn an_ipv6_address_that_somebody_removes_comes_back_and_a_foreign_one_goes() {
    in_namespace("ipv6::an_ipv6_address_that_somebody_removes_comes_back_and_a_foreign_one_goes", || {
        let (_bridge, lb1, lb2) = pair();
        lb1.ip(&["addr", "del", &format!("{VIP_IPV6}/128"), "dev", "eth1"]);
        wait_for("it is put back", || (lb1.counter("addresses_stolen") == 1).then_some(()));
        wait_until(&lb1, ALL);
        lb2.ip(&["addr", "add", &format!("{VIP_IPV6}/128"), "dev", "eth1", "nodad"]);
        wait_for("it is seen", || (lb2.counter("addresses_foreign") == 1).then_some(()));
        wait_until(&lb2, NONE);
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
    });
}

#[test]
fn without_ipv6_on_its_interface_a_node_says_so_and_lets_the_other_one_serve() {
    in_namespace("ipv6::without_ipv6_on_its_interface_a_node_says_so_and_lets_the_other_one_serve", || {
        let (_bridge, lb1, lb2) = pair();
        lb1.inside(|| run("sysctl", &["-qw", "net.ipv6.conf.eth1.disable_ipv6=1"]));
        wait_until(&lb2, ALL);
        assert_eq!(has(&lb1), NONE);
        wait_for("status says why", || {
            let ready = lb1.status()["groups"][0]["nodes"][0]["ready"].to_string();
            ready.contains("vip web over IPv6: its interface has no link-local address").then_some(())
        });
        lb1.inside(|| run("sysctl", &["-qw", "net.ipv6.conf.eth1.disable_ipv6=0"]));
        wait_until_ready(&lb1);
        assert_eq!([lb1.state(), lb2.state()], ["Backup", "Active"]);
    });
}

/// V-1, V-6, V-8, V-15 and V-16 at the socket: what the kernel says beside the message is what is checked.
#[test]
fn forged_advertisements_over_ipv6_are_counted_and_move_nothing() {
    in_namespace("ipv6::forged_advertisements_over_ipv6_are_counted_and_move_nothing", || {
        let (_bridge, lb1, lb2) = pair();
        let (local, global): (Ipv6Addr, Ipv6Addr) =
            (link_local_of_bridge(), "2001:db8:f::1".parse().unwrap());
        let list = [LINK_LOCAL, VIP_IPV6];
        let mut wrong_sum = message(local, 255, &list);
        wrong_sum[7] ^= 1;
        let mut cut = message(local, 255, &list);
        cut.truncate(24);
        let cases = [
            ("reject_ttl", 254, local, message(local, 255, &list)),
            ("reject_checksum", 255, local, wrong_sum),
            ("reject_too_short", 255, local, cut),
            ("reject_count_zero", 255, local, message(local, 255, &[])),
            ("reject_first_address_not_link_local", 255, local, message(local, 255, &[VIP_IPV6])),
            ("reject_source_not_link_local", 255, global, message(global, 255, &list)),
        ];
        for (counter, hop_limit, source, bytes) in cases {
            let before = [lb1.counter(counter), lb2.counter(counter)];
            send(&raw_socket(hop_limit, source), &bytes);
            wait_for(counter, || {
                let now = [lb1.counter(counter), lb2.counter(counter)];
                (now == before.map(|count| count + 1)).then_some(())
            });
        }
        // Where there are too many, the kernel looks at the hop limit itself.
        let socket = raw_socket(254, local);
        let wrong = message(local, 255, &list);
        wait_for("a sample of a flood", || {
            (0..200).for_each(|_| send(&socket, &wrong));
            let dropped = |node: &Node| node.counter("dropped_in_kernel_about");
            (dropped(&lb1) > 0 && dropped(&lb2) > 0).then_some(())
        });
        // What is right comes through the same filter: lb2 goes on hearing lb1 over both families.
        let heard = lb2.counter("advertisements_received");
        wait_for("ten intervals of both families", || {
            send(&socket, &wrong);
            (lb2.counter("advertisements_received") >= heard + 20).then_some(())
        });
        assert_eq!(lb2.counter("member_missing"), 0);
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        assert_eq!((has(&lb1), has(&lb2)), (ALL, NONE));
        wait_for("the source in the log", || {
            let line = format!("vip web over IPv6: a packet from {local} was dropped: ttl is 254, not 255");
            lb2.log().contains(&line).then_some(())
        });
        // And what is right is heard: a better Active that is no node of the file.
        let right = message(local, 255, &list);
        let socket = raw_socket(255, local);
        wait_for("lb1 lets a better one be", || {
            send(&socket, &right);
            (has(&lb1) == NONE).then_some(())
        });
    });
}

fn link_local_of_bridge() -> Ipv6Addr {
    wait_for("a link-local address of the bridge", || {
        let shown = run("ip", &["-6", "-o", "addr", "show", "dev", "br0", "scope", "link"]);
        if shown.contains("tentative") {
            return None;
        }
        shown.split("inet6 ").nth(1)?.split('/').next()?.parse().ok()
    })
}

/// A VRRPv3 message of vrid 51, every 100 ms, with the sum of RFC 9568 §5.2.8.
fn message(source: Ipv6Addr, priority: u8, addresses: &[&str]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).unwrap();
    let mut message = vec![0x31, 51, priority, count, 0, 10, 0, 0];
    for address in addresses {
        message.extend_from_slice(&address.parse::<Ipv6Addr>().unwrap().octets());
    }
    let mut summed = [source.octets(), group().octets()].concat();
    summed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    summed.extend_from_slice(&[0, 0, 0, 112]);
    summed.extend_from_slice(&message);
    let mut sum: u32 = summed.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[6..8].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    message
}

fn group() -> Ipv6Addr {
    "ff02::12".parse().unwrap()
}

fn bridge_index() -> u32 {
    nix::net::if_::if_nametoindex("br0").unwrap()
}

/// Sends to the group from this address with this hop limit.
fn raw_socket(hop_limit: u32, source: Ipv6Addr) -> Socket {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(112))).unwrap();
    socket.set_multicast_hops_v6(hop_limit).unwrap();
    socket.set_multicast_if_v6(bridge_index()).unwrap();
    socket.bind(&SocketAddrV6::new(source, 0, 0, bridge_index()).into()).unwrap();
    socket
}

fn send(socket: &Socket, message: &[u8]) {
    socket.send_to(message, &SocketAddrV6::new(group(), 0, 0, bridge_index()).into()).unwrap();
}
