//! Forged packets on the LAN: each wrong one is counted and named, a flood of them wakes nobody, and what looks right buys
//! less than it could.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    ADDED_2, Bridge, Node, REMOVED_1, RESIGNED_1, Recorder, in_namespace, pair, run,
    unicast::{hears, is},
    wait_for,
};

const VIP_OCTETS: [u8; 4] = [198, 51, 100, 10];

#[test]
fn forged_advertisements_are_counted_and_move_nothing() {
    in_namespace("forged::forged_advertisements_are_counted_and_move_nothing", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        // Priority 255 would make the Active give way; priority 0 would make the Backup take over; an interval of 0
        // would do so at once.
        let cases: [(&str, u32, Vec<u8>); 6] = [
            ("reject_ttl", 254, message(255, 10, 1, &VIP_OCTETS)),
            ("reject_checksum", 255, {
                let mut wrong = message(255, 10, 1, &VIP_OCTETS);
                wrong[7] ^= 1;
                wrong
            }),
            ("reject_interval_zero", 255, message(254, 0, 1, &VIP_OCTETS)),
            ("reject_count_zero", 255, message(255, 10, 0, &[])),
            ("reject_too_short", 255, message(0, 10, 2, &VIP_OCTETS)),
            ("reject_too_short", 255, vec![0x31, 51, 0]),
        ];
        for (counter, ttl, bytes) in cases {
            let before = [lb1.counter(counter), lb2.counter(counter)];
            forge(ttl, &bytes);
            wait_for(counter, || {
                let now = [lb1.counter(counter), lb2.counter(counter)];
                (now == before.map(|count| count + 1)).then_some(())
            });
        }
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        for moved in [REMOVED_1, RESIGNED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
        wait_for("the source in the log", || {
            lb2.log().contains("a packet from 198.51.100.1 was dropped: ttl is 254, not 255").then_some(())
        });
    });
}

/// A loop in the LAN, or a second machine with the node's address: named, counted, and no reason to give way. The kernel drops
/// such packets unless it is told to take them.
#[test]
fn an_advertisement_from_the_nodes_own_address_is_named_and_moves_nothing() {
    in_namespace("forged::an_advertisement_from_the_nodes_own_address_is_named_and_moves_nothing", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        lb1.inside(|| run("sysctl", &["-qw", "net.ipv4.conf.eth1.accept_local=1"]));
        let socket = raw_socket(255);
        socket.set_header_included_v4(true).unwrap();
        // lb2 hears of an equal that it knows; lb1 of itself, with a priority to give way to.
        send(&socket, &in_the_name_of([198, 51, 100, 11], &message(255, 10, 1, &VIP_OCTETS)));
        wait_for("it was counted", || (lb1.counter("duplicate_source") == 1).then_some(()));
        wait_for("the log names it", || {
            let line =
                "vip web: an advertisement came from our own address 198.51.100.11: a loop, or a duplicate";
            lb1.log().contains(line).then_some(())
        });
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        for moved in [REMOVED_1, RESIGNED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
    });
}

/// Both forms are taken (Keepalived's is that one), counted, and told once for each who sends them.
#[test]
fn checksums_in_the_form_of_rfc_5798_are_counted_and_told_once_for_each_peer() {
    in_namespace("forged::checksums_in_the_form_of_rfc_5798_are_counted_and_told_once_for_each_peer", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        let socket = raw_socket(255);
        socket.set_header_included_v4(true).unwrap();
        let of = |source: [u8; 4]| {
            let mut message = message(2, 10, 1, &VIP_OCTETS);
            // RFC 5798 §5.2.8: over a pseudo-header as well.
            let pseudo = [source, [224, 0, 0, 18], [0, 112, 0, 12]].concat();
            message[6..8].fill(0);
            let sum = checksum(&[pseudo, message.clone()].concat());
            message[6..8].copy_from_slice(&sum.to_be_bytes());
            in_the_name_of(source, &message)
        };
        let sources = [[198, 51, 100, 77], [198, 51, 100, 78]];
        wait_for("each was heard often", || {
            for source in sources {
                send(&socket, &of(source));
            }
            (lb2.counter("checksum_rfc5798_received") >= 20).then_some(())
        });
        for [.., last] in sources {
            let line = format!("vip web: 198.51.100.{last} sends checksums in RFC 5798's form");
            wait_for("the log says it", || lb2.log().contains(&line).then_some(()));
            assert_eq!(lb2.log().matches(&line).count(), 1, "{}", lb2.log());
        }
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        assert_eq!(record.count(&REMOVED_1) + record.count(&ADDED_2), 0);
    });
}

/// The kernel drops nearly all of them: the speakers see a few hundred of 20,000, and nothing moves.
#[test]
fn a_flood_of_wrong_packets_wakes_nobody_and_moves_nothing() {
    in_namespace("forged::a_flood_of_wrong_packets_wakes_nobody_and_moves_nothing", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        let wrong = message(255, 10, 1, &VIP_OCTETS);
        for _ in 0..200 {
            forge(254, &wrong);
        }
        wait_for("both kernels filter", || {
            [&lb1, &lb2].iter().all(|node| node.log().contains("a flood of wrong packets")).then_some(())
        });
        let before = [lb1.counter("reject_ttl"), lb2.counter("reject_ttl")];
        let socket = raw_socket(254);
        for _ in 0..20_000 {
            send(&socket, &wrong);
        }
        wait_for("a sample came through", || {
            let dropped = |node: &Node| node.counter("dropped_in_kernel_about");
            (dropped(&lb1) > 6_300 && dropped(&lb2) > 6_300).then_some(())
        });
        for (node, before) in [&lb1, &lb2].iter().zip(before) {
            let seen = node.counter("reject_ttl") - before;
            // 313 on average, 18 as the standard deviation; and what of the first 200 was still in the socket.
            assert!((100..=700).contains(&seen), "{} saw {seen} of 20000", node.name);
        }
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        for moved in [REMOVED_1, RESIGNED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
    });
}

/// Eight, and then one in 5 ms; nothing moves.
#[test]
fn a_flood_of_losing_advertisements_gets_few_answers() {
    in_namespace("forged::a_flood_of_losing_advertisements_gets_few_answers", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        let losing = message(18, 10, 1, &VIP_OCTETS);
        let socket = raw_socket(255);
        // So few at a time that they fit into the speaker's socket, however late it runs.
        wait_for("a thousand of them are heard", || {
            for _ in 0..200 {
                send(&socket, &losing);
            }
            (lb1.counter("losing_received") >= 1_000).then_some(())
        });
        let (heard, put_off) = (lb1.counter("losing_received"), lb1.counter("answers_put_off"));
        assert!(put_off * 2 > heard, "{put_off} of {heard} were not answered at once");
        assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
        assert_eq!(record.count(&REMOVED_1) + record.count(&ADDED_2), 0);
    });
}

/// In the name of a node that has just died, the longest interval there is: 40.95 s, which would keep the other node
/// waiting for two minutes. It waits for 3 s: ten times as long as it would.
#[test]
fn a_forged_interval_does_not_keep_the_backup_from_taking_over() {
    in_namespace("forged::a_forged_interval_does_not_keep_the_backup_from_taking_over", || {
        let (_bridge, mut lb1, lb2) = pair();
        let record = Recorder::start(&lb2, None);
        let packet = in_the_name_of([198, 51, 100, 11], &message(254, 4_095, 1, &VIP_OCTETS));
        let socket = raw_socket(255);
        socket.set_header_included_v4(true).unwrap();
        let (daemon, speaker) = (lb1.daemon(), lb1.speaker());
        let before = lb2.counter("interval_mismatch");
        // Stopped first, so that neither can do anything about the other's death.
        lb1.signal(speaker, Signal::SIGSTOP);
        lb1.signal(daemon, Signal::SIGSTOP);
        send(&socket, &packet);
        wait_for("lb2 hears it", || {
            send(&socket, &packet);
            (lb2.counter("interval_mismatch") > before).then_some(())
        });
        assert_eq!(lb2.state(), "Backup");
        lb1.signal(speaker, Signal::SIGKILL);
        lb1.signal(daemon, Signal::SIGKILL);
        lb1.wait();
        // Within the 30 s of every wait here.
        record.wait_for(&ADDED_2);
    });
}

/// A foreign cluster whose Active is better than we can be, for addresses of its own: it does not keep us from serving ours,
/// and log, status and `check --here` say who it is and what to do.
#[test]
fn a_foreign_cluster_on_our_vrid_is_named_with_the_fix() {
    in_namespace("forged::a_foreign_cluster_on_our_vrid_is_named_with_the_fix", || {
        let bridge = Bridge::new("");
        let mut lb1 = Node::new(&bridge, 1, true);
        repeatedly(&message(255, 200, 1, &[198, 51, 100, 200]), || {
            let said = lb1.inside(|| {
                let mut check = Command::new(env!("CARGO_BIN_EXE_lbctl"));
                check.args(["check", "--here", "--node", "lb1"]).arg(bridge.folder.path().join("lb.toml"));
                String::from_utf8_lossy(&check.output().unwrap().stderr).into_owned()
            });
            let sentence = "on this machine: warning: 198.51.100.1 uses vrid 51 of [vip.web] too, with priority 255; it \
                            is no node of this file, so one of the two clusters needs another vrid\n";
            assert!(said.contains(sentence), "{said}");

            lb1.start();
            wait_for("the log names it", || {
                let line = "WARN vip web: 198.51.100.1 uses vrid 51 for other addresses, with priority 255; one of the two \
                            clusters needs another vrid";
                lb1.log().contains(line).then_some(())
            });
            wait_for("status names it", || {
                let problems = lb1.status()["problems"].to_string();
                (problems.contains("198.51.100.1 uses vrid 51 of web too")
                    && problems.contains("One of the two clusters needs another vrid"))
                .then_some(())
            });
            wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
            assert!(lb1.counter("foreign_cluster") > 0);
        });
        assert!(lb1.has_vip());
    });
}

/// Sends it to the group every 20 ms meanwhile.
pub(super) fn repeatedly(message: &[u8], meanwhile: impl FnOnce()) {
    let socket = raw_socket(255);
    every(Duration::from_millis(20), || send(&socket, message), meanwhile);
}

/// Does something again and again meanwhile.
fn every(period: Duration, act: impl Fn() + Send, meanwhile: impl FnOnce()) {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        // Told to end however this ends, or the scope would wait for it.
        let _ends = Ends(over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                act();
                thread::sleep(period);
            }
        });
        meanwhile();
    });
}

/// Where the file names an interface, it is the hello that says where the other node advertises from: it is known however many others
/// send all the time, and needs none of the few places for those.
#[test]
fn a_node_that_its_hello_names_is_known_beside_as_many_strangers_as_there_is_room_for() {
    in_namespace(
        "forged::a_node_that_its_hello_names_is_known_beside_as_many_strangers_as_there_is_room_for",
        || {
            let bridge = Bridge::new("interface = \"eth1\"");
            let (mut lb1, mut lb2) = (Node::new(&bridge, 1, true), Node::new(&bridge, 2, true));
            for node in [&lb1, &lb2] {
                // Advertisements come from the first address of the interface, which is not the one of [cluster].
                let (first, own) =
                    (format!("203.0.113.1{}/24", &node.name[2..]), format!("{}/24", node.address));
                node.ip(&["addr", "del", &own, "dev", "eth1"]);
                node.ip(&["addr", "add", &first, "dev", "eth1"]);
                node.ip(&["addr", "add", &own, "dev", "eth1"]);
            }
            // Of version 2, so few that no filter begins to drop them.
            let strangers = raw_socket(255);
            strangers.set_header_included_v4(true).unwrap();
            let mut wrong = message(100, 10, 1, &VIP_OCTETS);
            wrong[0] = 0x21;
            let all: Vec<_> = (80..88).map(|last| in_the_name_of([198, 51, 100, last], &wrong)).collect();
            let send_all = || all.iter().for_each(|packet| send(&strangers, packet));
            every(Duration::from_millis(200), send_all, || {
                lb2.start();
                wait_for("lb2 holds it, and has heard each of them twice", || {
                    (lb2.has_vip() && lb2.counter("reject_version") >= 24).then_some(())
                });
                lb1.start();
                wait_for("each has heard the other's hello", || {
                    let is_heard = |node: &Node| node.status()["peers"][0]["silent"] == false;
                    (is_heard(&lb1) && is_heard(&lb2)).then_some(())
                });
                is(&lb1, "Backup");
                lb2.signal(lb2.daemon(), Signal::SIGSTOP);
                is(&lb1, "Active");
                lb2.signal(lb2.daemon(), Signal::SIGCONT);
                is(&lb2, "Backup");
                // Its daemon may have stood still before it had heard where the other one speaks from.
                wait_for("each has its place", || {
                    let before = lb2.counter("advertisers_not_kept");
                    hears(&lb2);
                    (lb2.counter("advertisers_not_kept") == before).then_some(())
                });
                let foreign = lb2.status()["groups"][0]["vips"][0]["routers"][0]["foreign"].to_string();
                assert!(foreign.starts_with("\"198.51.100.8"), "{foreign}");
            });
        },
    );
}

/// Sets the flag when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// With an IPv4 header; the kernel fills in its checksum.
pub(super) fn in_the_name_of(source: [u8; 4], message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(20 + message.len()).unwrap();
    let mut packet = vec![0x45, 0xc0, 0, length, 0, 0, 0, 0, 255, 112, 0, 0];
    packet.extend_from_slice(&source);
    packet.extend_from_slice(&[224, 0, 0, 18]);
    packet.extend_from_slice(message);
    packet
}

/// A VRRPv3 message of vrid 51 (RFC 9568 §5.2) with a right checksum.
pub(super) fn message(priority: u8, centiseconds: u16, count: u8, addresses: &[u8]) -> Vec<u8> {
    let [high, low] = centiseconds.to_be_bytes();
    let mut message = vec![0x31, 51, priority, count, high, low, 0, 0];
    message.extend_from_slice(addresses);
    let sum = checksum(&message);
    message[6..8].copy_from_slice(&sum.to_be_bytes());
    message
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Sends to the group with this TTL.
pub(super) fn raw_socket(ttl: u32) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    socket.set_multicast_ttl_v4(ttl).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::new(198, 51, 100, 1)).unwrap();
    socket
}

pub(super) fn send(socket: &Socket, message: &[u8]) {
    let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0);
    socket.send_to(message, &group.into()).unwrap();
}

fn forge(ttl: u32, message: &[u8]) {
    send(&raw_socket(ttl), message);
}
