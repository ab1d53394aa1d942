//! The two processes on real kernels: who gives up the address, and in which order, when one of them dies or stops.
//!
//! Every test runs `lbctl run` in namespaces of its own, on two nodes behind a bridge, and reads what the kernels and the
//! wire said. Only orders and final states are asserted, no times: the machine may be busy.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "speaker/announced.rs"]
mod announced;
#[path = "speaker/commands.rs"]
mod commands;
#[path = "speaker/forged.rs"]
mod forged;
#[path = "speaker/guard.rs"]
mod guard;
#[path = "speaker/hung.rs"]
mod hung;
#[path = "speaker/ipv6.rs"]
mod ipv6;
#[path = "speaker/net.rs"]
mod net;
#[path = "speaker/overrun.rs"]
mod overrun;
#[path = "speaker/preempted.rs"]
mod preempted;
#[path = "speaker/privileges.rs"]
mod privileges;
#[path = "speaker/realtime.rs"]
mod realtime;
#[path = "speaker/record.rs"]
mod record;
#[path = "speaker/replaced.rs"]
mod replaced;
#[path = "speaker/signed.rs"]
mod signed;
#[path = "speaker/tracked.rs"]
mod tracked;
#[path = "speaker/unicast.rs"]
mod unicast;

use std::{fs, net::IpAddr, process::Stdio, time::Duration};

use lbctl::control::Timestamp;
use net::{Bridge, Node, VIP, in_namespace, is_dead, run, wait_for, wait_until_both_say};
use netlink_packet_route::address::{AddressAttribute, AddressProtocol};
use nix::sys::signal::Signal;
use record::{Recorder, Seen};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

const ADDED_1: Seen = Seen::Added("lb1");
const REMOVED_1: Seen = Seen::Removed("lb1");
const ADDED_2: Seen = Seen::Added("lb2");
const RESIGNED_1: Seen = Seen::Advertised(11, 0);

/// lb1 is Active, lb2 its Backup.
fn pair() -> (Bridge, Node, Node) {
    let bridge = Bridge::new("");
    let (lb1, lb2) = started(&bridge);
    (bridge, lb1, lb2)
}

/// The same by the file that `bridge` has.
fn started(bridge: &Bridge) -> (Node, Node) {
    let mut lb1 = Node::new(bridge, 1, true);
    let mut lb2 = Node::new(bridge, 2, true);
    lb1.start();
    wait_for("lb1 holds the address", || (lb1.has_vip() && lb1.state() == "Active").then_some(()));
    lb2.start();
    wait_for("lb2 is a Backup", || (lb2.state() == "Backup").then_some(()));
    (lb1, lb2)
}

/// One node is enough.
fn alone() -> (Bridge, Node) {
    let bridge = Bridge::new("");
    let mut lb1 = Node::new(&bridge, 1, true);
    lb1.start();
    wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
    (bridge, lb1)
}

#[test]
fn a_claim_is_advertised_then_added_and_a_stop_removes_before_it_resigns() {
    in_namespace("a_claim_is_advertised_then_added_and_a_stop_removes_before_it_resigns", || {
        let bridge = Bridge::new("");
        let mut lb1 = Node::new(&bridge, 1, true);
        let record = Recorder::start(&lb1, None);
        lb1.start();
        let announced = Seen::Announced(lb1.mac());
        record.wait_for(&announced);
        assert!(record.position(&ADDED_1) < record.position(&announced));
        assert!(record.count(&Seen::Advertised(11, 254)) > 0);
        let shown = lb1.ip(&["-4", "addr", "show", "dev", "eth1"]);
        assert!(shown.contains(&format!("inet {VIP}/32 scope global dynamic noprefixroute eth1")), "{shown}");
        // A lease of 2 s that is refreshed: still there after 45 advertisements, one each 100 ms.
        let before = record.count(&Seen::Advertised(11, 254));
        wait_for("twice the lease", || {
            (record.count(&Seen::Advertised(11, 254)) >= before + 45).then_some(())
        });
        assert_eq!(record.count(&REMOVED_1), 0);
        lb1.signal(lb1.daemon(), Signal::SIGTERM);
        lb1.wait();
        record.wait_for(&RESIGNED_1);
        assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
        assert_eq!(record.all().last(), Some(&RESIGNED_1));
        assert!(!lb1.has_vip());
    });
}

#[test]
fn a_killed_daemon_is_resigned_for_by_its_speaker() {
    in_namespace("a_killed_daemon_is_resigned_for_by_its_speaker", || {
        let (_bridge, mut lb1, lb2) = pair();
        // It has said hello.
        wait_until_both_say([&lb1, &lb2], lb1.status()["groups"][0]["why"].as_str().unwrap());
        let record = Recorder::start(&lb1, Some(&lb2));
        let speaker = lb1.speaker();
        lb1.signal(lb1.daemon(), Signal::SIGKILL);
        lb1.wait();
        record.wait_for(&ADDED_2);
        record.wait_for(&RESIGNED_1);
        assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
        assert!(record.position(&RESIGNED_1) < record.position(&ADDED_2));
        wait_for("the end of the speaker", || is_dead(speaker).then_some(()));
        assert!(!lb1.has_vip() && lb2.has_vip());
        let guess = "lb1 gave it up: its daemon says nothing any more: killed, crashed or hung";
        wait_until_both_say([&lb2, &lb2], guess);
        lb1.start();
        wait_until_both_say([&lb1, &lb2], "lb1 gave it up: its daemon was killed, or crashed");
    });
}

#[test]
fn a_killed_speaker_is_replaced_and_nothing_moves() {
    in_namespace("a_killed_speaker_is_replaced_and_nothing_moves", || {
        // Slow enough that a busy machine starts a process within one and a half intervals.
        let bridge = Bridge::new("advertisement_interval = \"2s\"");
        let mut lb1 = Node::new(&bridge, 1, true);
        let mut lb2 = Node::new(&bridge, 2, true);
        lb1.start();
        wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
        lb2.start();
        wait_for("lb2 is a Backup", || (lb2.state() == "Backup").then_some(()));
        // Who holds it and why, its own state, and since when both are so, as this node says.
        let said = |node: &Node, own: &str| {
            let group = &node.status()["groups"][0];
            let nodes = group["nodes"].as_array().cloned().unwrap_or_default();
            let own = nodes.iter().find(|node| node["name"] == own).cloned().unwrap_or_default();
            let since = [&group["since"], &own["since"]].map(|at| at.as_str().and_then(Timestamp::parse));
            (json!([group["holders"], group["why"], own["state"]]), since)
        };
        let known = wait_for("lb2 knows who holds it", || {
            let (ours, theirs) = (said(&lb1, "lb1"), said(&lb2, "lb2"));
            (theirs.0[0] == json!(["lb1"]) && ours.0[1] == theirs.0[1]).then_some([ours, theirs])
        });
        let record = Recorder::start(&lb1, Some(&lb2));
        // Then what begins anew is at least 4 s younger.
        wait_for("three advertisements", || (record.count(&Seen::Advertised(11, 254)) >= 3).then_some(()));
        let killed = lb1.speaker();
        lb1.signal(killed, Signal::SIGKILL);
        let next = wait_for("another speaker", || lb1.speaker_now().filter(|pid| *pid != killed));
        wait_for("the other speaker goes on as Active", || {
            lb1.log().contains("resumed, last advertisement").then_some(())
        });
        for moved in [RESIGNED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
        record.clear();
        // One each two seconds, so the lease of the first speaker is over.
        wait_for("three advertisements", || (record.count(&Seen::Advertised(11, 254)) >= 3).then_some(()));
        assert_eq!(lb1.speaker(), next);
        for moved in [REMOVED_1, RESIGNED_1, ADDED_2] {
            assert_eq!(record.count(&moved), 0, "{moved:?}");
        }
        assert!(lb1.has_vip() && !lb2.has_vip());
        let next = wait_for("the loss is counted", || {
            let status = lb1.status();
            (status["speaker"]["restarts_total"] == 1).then_some(status)
        });
        let how = "was ended by signal 9 (SIGKILL)";
        assert_eq!(next["speaker"]["last_restart"]["how"], how);
        let notes = next["notes"].to_string();
        assert!(
            notes.contains("the speaker was restarted ") && notes.contains(&format!("ago: it {how}")),
            "{notes}"
        );
        let events = next["events"].as_array().unwrap();
        let lost: Vec<_> = events.iter().filter(|event| event["kind"] == "speaker").collect();
        assert_eq!(lost.len(), 1, "{events:?}");
        assert_eq!(
            (&lost[0]["from"], &lost[0]["to"], &lost[0]["name"]),
            (&json!("lost"), &json!("running"), &json!("lb1"))
        );
        // The other one dies as well: whoever is a Backup stays one.
        let killed = lb2.speaker();
        lb2.signal(killed, Signal::SIGKILL);
        wait_for("the loss is counted", || (lb2.status()["speaker"]["restarts_total"] == 1).then_some(()));
        wait_for("it goes on", || lb2.log().contains("goes on as Backup").then_some(()));
        // By now each has heard a hello of the other one that is younger than both.
        let heard = [&lb1, &lb2].map(|node| node.status()["peers"][0]["heard"].clone());
        wait_for("two more hellos", || {
            let now = [&lb1, &lb2].map(|node| node.status()["peers"][0]["heard"].clone());
            (now[0] != heard[0] && now[1] != heard[1]).then_some(())
        });
        for ((now, since), (known, was_since)) in [said(&lb1, "lb1"), said(&lb2, "lb2")].iter().zip(&known) {
            assert_eq!(now, known, "nothing has changed");
            for (since, was) in since.iter().zip(was_since) {
                let (since, was) = (since.unwrap(), was.unwrap());
                let differ = since.saturating_since(was).max(was.saturating_since(since));
                assert!(differ < Duration::from_secs(2), "{was} was {since}: {now}");
            }
        }
        assert!(lb1.has_vip() && !lb2.has_vip());
    });
}

/// systemd and a terminal send what ends a service to all of its processes, and the speaker is the one that resigns.
#[test]
fn a_speaker_is_deaf_to_what_is_for_its_daemon() {
    in_namespace("a_speaker_is_deaf_to_what_is_for_its_daemon", || {
        let (_bridge, mut lb1) = alone();
        let record = Recorder::start(&lb1, None);
        let (daemon, speaker) = (lb1.daemon(), lb1.speaker());
        for signal in "TERM INT HUP QUIT USR1 USR2 TTOU TTIN TSTP".split(' ') {
            let signal: Signal = format!("SIG{signal}").parse().unwrap();
            lb1.signal(speaker, signal);
            let before = record.count(&Seen::Advertised(11, 254));
            wait_for("it goes on", || (record.count(&Seen::Advertised(11, 254)) >= before + 2).then_some(()));
            assert_eq!(lb1.speaker(), speaker, "{signal}");
        }
        assert_eq!((record.count(&REMOVED_1), record.count(&RESIGNED_1)), (0, 0));
        assert!(!lb1.log().contains("another one is started"), "{}", lb1.log());
        // As systemd does it with KillMode=control-group.
        lb1.signal(speaker, Signal::SIGUSR1);
        lb1.signal(daemon, Signal::SIGUSR1);
        lb1.wait();
        record.wait_for(&RESIGNED_1);
        assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
        wait_for("the speaker ends", || is_dead(speaker).then_some(()));
    });
}

#[test]
fn a_frozen_speaker_is_killed_and_its_successor_removes_what_is_left() {
    in_namespace("a_frozen_speaker_is_killed_and_its_successor_removes_what_is_left", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        let frozen = lb1.speaker();
        lb1.signal(frozen, Signal::SIGSTOP);
        record.wait_for(&REMOVED_1);
        record.wait_for(&RESIGNED_1);
        record.wait_for(&ADDED_2);
        assert!(record.position(&REMOVED_1) < record.position(&ADDED_2));
        assert!(is_dead(frozen));
        assert!(lb1.log().contains("was frozen"));
        wait_for("lb1 is a Backup", || (lb1.state() == "Backup").then_some(()));
        assert!(!lb1.has_vip() && lb2.has_vip());
    });
}

#[test]
fn a_stop_resigns_even_if_the_speaker_is_frozen() {
    in_namespace("a_stop_resigns_even_if_the_speaker_is_frozen", || {
        let (_bridge, mut lb1) = alone();
        let record = Recorder::start(&lb1, None);
        let frozen = lb1.speaker();
        lb1.signal(frozen, Signal::SIGSTOP);
        lb1.signal(lb1.daemon(), Signal::SIGTERM);
        lb1.wait();
        record.wait_for(&RESIGNED_1);
        assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
        assert!(!lb1.has_vip());
        assert!(is_dead(frozen));
    });
}

#[test]
fn a_frozen_daemon_loses_the_address() {
    in_namespace("a_frozen_daemon_loses_the_address", || {
        let (_bridge, lb1, lb2) = pair();
        let record = Recorder::start(&lb1, Some(&lb2));
        lb1.signal(lb1.daemon(), Signal::SIGSTOP);
        record.wait_for(&ADDED_2);
        record.wait_for(&RESIGNED_1);
        assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
        assert!(record.position(&RESIGNED_1) < record.position(&ADDED_2));
        assert!(!lb1.has_vip() && lb2.has_vip());
        lb1.signal(lb1.daemon(), Signal::SIGCONT);
        wait_for("the reason is in the log", || {
            lb1.log().contains("the daemon does not answer").then_some(())
        });
        wait_for("lb1 is a Backup again", || (lb1.state() == "Backup").then_some(()));
        assert!(!lb1.has_vip() && lb2.has_vip());
        wait_until_both_say([&lb1, &lb2], "lb1 gave it up: the daemon does not answer");
    });
}

#[test]
fn a_node_that_was_paused_drops_its_address_before_it_sends_anything() {
    in_namespace("a_node_that_was_paused_drops_its_address_before_it_sends_anything", || {
        let (_bridge, lb1) = alone();
        let record = Recorder::start(&lb1, None);
        let (daemon, speaker) = (lb1.daemon(), lb1.speaker());
        let lease = || lb1.ip(&["-4", "addr", "show", "dev", "eth1"]);
        // More than 2.5 intervals of 100 ms and less than the lease of 2 s, so that the address is there to be dropped:
        // the kernel rounds up, so a second has passed. Who looks too late, because the machine is busy, tries again.
        wait_for("a pause that ends within the lease", || {
            lb1.signal(daemon, Signal::SIGSTOP);
            lb1.signal(speaker, Signal::SIGSTOP);
            let in_time = wait_for("a second of the lease is over", || match lease() {
                shown if shown.contains("valid_lft 1sec") => Some(true),
                shown => (!shown.contains(VIP)).then_some(false),
            });
            record.clear();
            lb1.signal(speaker, Signal::SIGCONT);
            lb1.signal(daemon, Signal::SIGCONT);
            record.wait_for(&RESIGNED_1);
            let first = record.all().first().cloned();
            record.wait_for(&ADDED_1);
            in_time.then(|| assert_eq!(first, Some(REMOVED_1)))
        });
        wait_for("the reason is in the log", || {
            lb1.log().contains("late: no advertisement sent for").then_some(())
        });
    });
}

#[test]
fn when_both_are_killed_the_lease_ends_the_address() {
    in_namespace("when_both_are_killed_the_lease_ends_the_address", || {
        let (_bridge, mut lb1) = alone();
        let record = Recorder::start(&lb1, None);
        // Who looks after the lease, because the machine is busy, tries again.
        wait_for("both are dead while the lease runs", || {
            let (daemon, speaker) = (lb1.daemon(), lb1.speaker());
            // Stopped first, so that neither can do anything about the other's death.
            lb1.signal(speaker, Signal::SIGSTOP);
            lb1.signal(daemon, Signal::SIGSTOP);
            lb1.signal(speaker, Signal::SIGKILL);
            lb1.signal(daemon, Signal::SIGKILL);
            lb1.wait();
            let lease = lb1.ip(&["-4", "addr", "show", "dev", "eth1"]);
            let runs = ["1sec", "2sec"].iter().any(|left| lease.contains(&format!("valid_lft {left}")));
            if !runs {
                lb1.start();
                wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
                record.clear();
            }
            runs.then_some(())
        });
        record.wait_for(&REMOVED_1);
        assert_eq!(record.count(&RESIGNED_1), 0);
    });
}

#[test]
fn leftovers_of_an_earlier_run_are_removed_at_start_from_every_interface() {
    in_namespace("leftovers_of_an_earlier_run_are_removed_at_start_from_every_interface", || {
        let (bridge, _lb1) = alone();
        let mut lb2 = Node::new(&bridge, 2, true);
        for interface in ["eth1", "lo"] {
            leave_behind(&lb2, interface);
        }
        assert!(lb2.has_vip());
        lb2.start();
        wait_for("no leftover", || (!lb2.has_vip()).then_some(()));
        wait_for("lb2 is a Backup", || (lb2.state() == "Backup").then_some(()));
        assert!(!lb2.has_vip());
        assert_eq!(lb2.counter("addresses_foreign"), 0);
    });
}

/// Installs the address as an lbctl would, but for ever.
fn leave_behind(node: &Node, interface: &str) {
    node.inside(|| {
        let index = nix::net::if_::if_nametoindex(interface).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            let mut request = handle.address().add(index, VIP.parse().unwrap(), 32);
            request.message_mut().attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(112)));
            request.execute().await.unwrap();
        });
    });
}

#[test]
fn a_backup_removes_an_address_that_somebody_else_put_there() {
    in_namespace("a_backup_removes_an_address_that_somebody_else_put_there", || {
        let (_bridge, lb1, lb2) = pair();
        lb2.ip(&["addr", "add", &format!("{VIP}/24"), "dev", "eth1"]);
        wait_for("it is removed", || (!lb2.has_vip()).then_some(()));
        wait_for("the warning", || {
            lb2.log()
                .contains(&format!("{VIP}/24 is on the interface without being ours (static)"))
                .then_some(())
        });
        assert_eq!(lb2.state(), "Backup");
        // Back within a minute: somebody insists.
        lb2.ip(&["addr", "add", &format!("{VIP}/24"), "dev", "eth1"]);
        wait_for("a fault", || (lb2.state() == "Initialize").then_some(()));
        wait_for("it is removed again", || (!lb2.has_vip()).then_some(()));
        assert_eq!(lb1.state(), "Active");
    });
}

/// Nothing can be sent from there: the node waits, and says what for.
#[test]
fn an_interface_without_an_address_is_a_fault_that_ends_when_it_has_one() {
    in_namespace("an_interface_without_an_address_is_a_fault_that_ends_when_it_has_one", || {
        let bridge = Bridge::new("interface = \"eth1\"");
        let mut lb1 = Node::new(&bridge, 1, true);
        let own = format!("{}/24", lb1.address);
        lb1.ip(&["addr", "del", &own, "dev", "eth1"]);
        lb1.start();
        let waiting = "vip web: its interface has no address to send from";
        wait_for("the reason in the status", || lb1.status().to_string().contains(waiting).then_some(()));
        assert_eq!(lb1.state(), "Initialize");
        lb1.ip(&["addr", "add", &own, "dev", "eth1"]);
        wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));

        let mut lb2 = Node::new(&bridge, 2, true);
        lb2.start();
        wait_for("lb2 is a Backup", || (lb2.state() == "Backup").then_some(()));
        lb1.ip(&["addr", "del", &own, "dev", "eth1"]);
        wait_for("lb2 holds the address", || lb2.has_vip().then_some(()));
        assert!(!lb1.has_vip());
        wait_for("the reason again", || lb1.status().to_string().contains(waiting).then_some(()));
    });
}

#[test]
fn an_interface_may_come_later_go_and_come_back() {
    in_namespace("an_interface_may_come_later_go_and_come_back", || {
        let bridge = Bridge::new("interface = \"eth1\"");
        let mut lb1 = Node::new(&bridge, 1, false);
        lb1.start();
        let waiting = "interface eth1 does not exist";
        wait_for("the reason in the status", || lb1.status().to_string().contains(waiting).then_some(()));
        lb1.plug_in();
        wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
        let speaker = lb1.speaker();
        lb1.ip(&["link", "del", "eth1"]);
        wait_for("the reason in the status", || lb1.status().to_string().contains(waiting).then_some(()));
        lb1.plug_in();
        wait_for("lb1 holds the address again", || lb1.has_vip().then_some(()));
        assert_eq!(lb1.speaker(), speaker);
    });
}

#[test]
fn a_missing_capability_is_named_and_nothing_is_touched() {
    in_namespace("a_missing_capability_is_named_and_nothing_is_touched", || {
        let bridge = Bridge::new("");
        let lb1 = Node::new(&bridge, 1, true);
        let record = Recorder::start(&lb1, None);
        for (capability, name) in [("-net_admin", "CAP_NET_ADMIN"), ("-net_raw", "CAP_NET_RAW")] {
            let without = ["setpriv", "--bounding-set", capability, "--inh-caps", capability];
            let output =
                lb1.command(&without, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains(&format!("{name} is missing, so")), "{text}");
            assert!(text.contains("start lbctl as root, or with AmbientCapabilities="), "{text}");
        }
        assert_eq!(record.all(), []);
    });
}

#[test]
fn a_second_lbctl_for_the_same_virtual_router_is_refused() {
    in_namespace("a_second_lbctl_for_the_same_virtual_router_is_refused", || {
        let (_bridge, lb1) = alone();
        let record = Recorder::start(&lb1, None);
        let control = lb1.folder().join("second.sock");
        let mut second = lb1.command(&[], &["--control", control.to_str().unwrap()]);
        let output = second.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("another lbctl speaks for vrid 51 on eth1 in this network namespace"),
            "{text}"
        );
        assert_eq!(record.count(&REMOVED_1), 0);
        assert_eq!(lb1.state(), "Active");
    });
}

#[test]
fn another_runtime_folder_does_not_let_a_second_lbctl_in() {
    in_namespace("another_runtime_folder_does_not_let_a_second_lbctl_in", || {
        let (_bridge, lb1) = alone();
        let record = Recorder::start(&lb1, None);
        let elsewhere = lb1.folder().join("elsewhere");
        let mut second = lb1.command_in(&elsewhere, &[], &[]);
        let output = second.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let refusal = format!(
            "another lbctl speaks for vrid 51 on eth1 in this network namespace (process {})",
            lb1.speaker()
        );
        assert!(text.contains(&refusal), "{text}");
        assert_eq!(record.count(&REMOVED_1), 0);
        assert_eq!(lb1.state(), "Active");
    });
}

#[test]
fn a_stranger_that_takes_the_name_of_the_lock_keeps_nobody_from_speaking() {
    in_namespace("a_stranger_that_takes_the_name_of_the_lock_keeps_nobody_from_speaking", || {
        let bridge = Bridge::new("");
        let mut lb1 = Node::new(&bridge, 1, true);
        // Bound and not listening: nobody is told whose it is.
        let squatter = lb1.inside(|| {
            let index = nix::net::if_::if_nametoindex("eth1").unwrap();
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.bind(&SockAddr::unix(format!("\0lbctl/speaker/{index}/51")).unwrap()).unwrap();
            socket
        });
        lb1.start();
        wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
        wait_for("the warning", || lb1.log().contains("from us: an lbctl with another").then_some(()));
        // The lock file in the runtime folder still refuses a second one there.
        let control = lb1.folder().join("second.sock");
        let mut second = lb1.command(&[], &["--control", control.to_str().unwrap()]);
        let output = second.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(".lock is locked)"), "{text}");
        drop(squatter);
    });
}

#[test]
fn the_interface_going_down_is_a_fault_and_coming_back_is_noticed() {
    in_namespace("the_interface_going_down_is_a_fault_and_coming_back_is_noticed", || {
        let (_bridge, lb1, lb2) = pair();
        // The far end of the cable.
        run("ip", &["link", "set", "port-lb1", "down"]);
        wait_for("lb1 is in fault", || {
            (lb1.state() == "Initialize"
                && lb1.status().to_string().contains("interface eth1 has no carrier"))
            .then_some(())
        });
        wait_for("lb2 holds the address", || lb2.has_vip().then_some(()));
        assert!(!lb1.has_vip());
        run("ip", &["link", "set", "port-lb1", "up"]);
        wait_for("lb1 is a Backup", || (lb1.state() == "Backup").then_some(()));
        let vip: IpAddr = VIP.parse().unwrap();
        assert!(lb2.has_vip(), "{vip} stays where it is");
    });
}

/// What a speaker is told is one message.
#[test]
fn more_addresses_than_a_speaker_can_be_told_are_refused_and_cost_nothing() {
    in_namespace("more_addresses_than_a_speaker_can_be_told_are_refused_and_cost_nothing", || {
        let vips = |most: u8| {
            let vip = |vrid: u8| {
                let addresses: Vec<_> = (1..=most).map(|last| format!("\"10.0.{vrid}.{last}\"")).collect();
                format!("[vip.v{vrid}]\nvrid = {vrid}\naddresses = [{}]\n", addresses.join(", "))
            };
            (1..=30).map(vip).collect::<String>()
        };
        let bridge = Bridge::with(&format!("addresses = [\"{VIP}\"]\n{}", vips(1)));
        let mut lb1 = Node::new(&bridge, 1, true);
        lb1.start();
        wait_for("lb1 holds the address", || (lb1.has_vip() && lb1.state() == "Active").then_some(()));
        let file = bridge.folder.path().join("lb.toml");
        let text = fs::read_to_string(&file).unwrap().replace(&vips(1), &vips(250));
        fs::write(&file, text).unwrap();
        let why = "[vip] has more than the speaker can be told: 200 kB is the most";
        let refused = signed::reload(&lb1);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains(why), "{said}");
        assert!(lb1.has_vip() && lb1.state() == "Active", "{}", lb1.log());
        lb1.signal(lb1.daemon(), Signal::SIGTERM);
        lb1.wait();
        let started = lb1.command(&[], &[]).stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(started.status.code() == Some(1) && said.contains(why), "{said}");
    });
}
