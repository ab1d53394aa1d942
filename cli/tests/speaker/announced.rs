//! When the holder announces its addresses: `lbctl announce`, and what makes it do so by itself.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    ADDED_1, ADDED_2, Bridge, Node, REMOVED_1, RESIGNED_1, Recorder, Seen, VIP, alone,
    forged::{message, raw_socket, repeatedly, send},
    in_namespace, pair, run,
    unicast::is,
    wait_for,
};

fn announce(node: &Node, options: &[&str]) -> Output {
    let control = node.folder().join("control.sock");
    Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .arg("announce")
        .args(options)
        .arg("--control")
        .arg(control)
        .output()
        .unwrap()
}

fn announcements(node: &Node) -> u64 {
    node.status()["groups"][0]["counters"]["announcements"].as_u64().unwrap_or_default()
}

#[test]
fn the_holder_announces_when_it_is_asked_and_nobody_else_does() {
    in_namespace("announced::the_holder_announces_when_it_is_asked_and_nobody_else_does", || {
        let (_bridge, lb1, lb2) = pair();
        wait_for("lb2 knows who holds it", || {
            (lb2.status()["groups"][0]["holders"][0] == "lb1").then_some(())
        });
        let refused = announce(&lb2, &[]);
        let why = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{why}");
        assert!(why.contains("lb2 does not hold the addresses") && why.contains("ask there: lb1"), "{why}");
        assert_eq!(announcements(&lb2), 0, "it has told nobody");
        let mac = lb1.ip(&["-br", "link", "show", "eth1"]);
        let mac = mac.split_whitespace().find(|word| word.len() == 17).unwrap().to_owned();
        // A neighbour that was left with a wrong address.
        run("ip", &["neigh", "replace", VIP, "lladdr", "02:00:00:00:00:99", "dev", "br0", "nud", "stale"]);
        let done = announce(&lb1, &[]);
        let said = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert_eq!(said, format!("web: {VIP} is at {mac}, said on eth1 (gratuitous ARP)\n"));
        assert!(run("ip", &["neigh", "show", VIP]).contains(&mac), "it is sent when the verb returns");
        let before = announcements(&lb1);
        let done = announce(&lb1, &["--json"]);
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(
            (&report["node"], &report["announced"][0]["hardware_address"]),
            (&"lb1".into(), &mac.into())
        );
        wait_for("it is counted", || (announcements(&lb1) > before).then_some(()));
        assert!(lb1.log().contains("the addresses are announced"), "{}", lb1.log());
    });
}

/// The announcements of its claim, of which the last one comes after a second, are out.
fn has_claimed(node: &Node) {
    wait_for("those of the claim", || (announcements(node) >= 4).then_some(()));
}

/// Somebody who loses may just have told clients that the address is his.
#[test]
fn a_losing_advertisement_is_followed_by_an_announcement() {
    in_namespace("announced::a_losing_advertisement_is_followed_by_an_announcement", || {
        let (_bridge, lb1) = alone();
        let record = Recorder::start(&lb1, None);
        has_claimed(&lb1);
        record.clear();
        send(&raw_socket(255), &message(18, 10, 1, &[198, 51, 100, 10]));
        record.wait_for(&Seen::Announced(lb1.mac()));
        wait_for("it is counted", || (lb1.counter("losing_received") == 1).then_some(()));
        assert_eq!((lb1.state(), record.count(&REMOVED_1)), ("Active".to_owned(), 0));
    });
}

/// The address goes first, so that whoever hears the last word may announce it.
#[test]
fn a_loser_removes_its_address_and_then_sends_one_last_advertisement() {
    in_namespace("announced::a_loser_removes_its_address_and_then_sends_one_last_advertisement", || {
        let (_bridge, lb1) = alone();
        let record = Recorder::start(&lb1, None);
        let better = message(255, 10, 1, &[198, 51, 100, 10]);
        repeatedly(&better, || {
            record.wait_for(&REMOVED_1);
            is(&lb1, "Backup");
            let heard = lb1.counter("advertisements_received");
            // It would have advertised again by then.
            wait_for("ten more", || (lb1.counter("advertisements_received") >= heard + 10).then_some(()));
            let all = record.all();
            let after = all.iter().skip(record.position(&REMOVED_1));
            let said: Vec<_> = after.filter(|seen| matches!(seen, Seen::Advertised(11, _))).collect();
            assert!(matches!(said[..], [Seen::Advertised(11, 1..)]), "{all:?}");
            assert!(!lb1.has_vip());
        });
    });
}

/// A switch has forgotten whom it saw there. The other interface keeps the node from having a fault.
#[test]
fn a_link_that_comes_up_is_followed_by_an_announcement() {
    in_namespace("announced::a_link_that_comes_up_is_followed_by_an_announcement", || {
        let other = "[vip.other]\nvrid = 52\ninterface = \"up0\"\naddresses = [\"203.0.113.10\"]";
        let bridge = Bridge::with(&format!("addresses = [\"{VIP}\"]\ninterface = \"eth1\"\n{other}"));
        let mut lb1 = Node::new(&bridge, 1, true);
        lb1.ip(&["link", "add", "up0", "type", "veth", "peer", "name", "far0"]);
        lb1.ip(&["addr", "add", "203.0.113.11/24", "dev", "up0"]);
        lb1.ip(&["link", "set", "up0", "up"]);
        lb1.ip(&["link", "set", "far0", "up"]);
        let record = Recorder::start(&lb1, None);
        lb1.start();
        let announced = Seen::Announced(lb1.mac());
        wait_for("those of the claim", || (record.count(&announced) >= 4).then_some(()));
        run("ip", &["link", "set", "port-lb1", "down"]);
        wait_for("the link is down", || {
            lb1.status().to_string().contains("interface eth1 has no carrier").then_some(())
        });
        assert_eq!(lb1.state(), "Active");
        record.clear();
        run("ip", &["link", "set", "port-lb1", "up"]);
        record.wait_for(&announced);
        assert_eq!(lb1.state(), "Active");
    });
}

/// Longer than one and a half intervals, and shorter than the two and a half after which it would start over. What happened meanwhile on the
/// wire nobody has told it. It is longer than `stall_timeout` as well: the daemon has not been silent, its word waits to be read.
#[test]
fn a_speaker_that_is_back_from_a_stall_announces() {
    in_namespace("announced::a_speaker_that_is_back_from_a_stall_announces", || {
        let bridge = Bridge::new("advertisement_interval = \"1s\"");
        let mut lb1 = Node::new(&bridge, 1, true);
        let record = Recorder::start(&lb1, None);
        lb1.start();
        has_claimed(&lb1);
        let (speaker, announced) = (lb1.speaker(), Seen::Announced(lb1.mac()));
        record.clear();
        record.wait_for(&Seen::Advertised(11, 254));
        lb1.signal(speaker, Signal::SIGSTOP);
        let begun = Instant::now();
        // More than may hold up its timers: they all come before its daemon's words.
        let flood = raw_socket(254);
        (0..100).for_each(|_| send(&flood, &message(255, 10, 1, &[198, 51, 100, 10])));
        wait_for("more than 1.5 s are over", || {
            (begun.elapsed() >= Duration::from_millis(1600)).then_some(())
        });
        assert_eq!(record.count(&announced), 0, "it had nothing to announce");
        lb1.signal(speaker, Signal::SIGCONT);
        record.wait_for(&announced);
        assert_eq!((record.count(&REMOVED_1), record.count(&RESIGNED_1)), (0, 0));
        assert_eq!((lb1.speaker(), lb1.state()), (speaker, "Active".to_owned()));
    });
}

/// For whoever has missed all of it. Otherwise the next one would come after a minute.
#[test]
fn the_holder_announces_again_and_again_as_often_as_the_file_says() {
    in_namespace("announced::the_holder_announces_again_and_again_as_often_as_the_file_says", || {
        let bridge = Bridge::new("garp_refresh = \"1s\"");
        let mut lb1 = Node::new(&bridge, 1, true);
        let record = Recorder::start(&lb1, None);
        lb1.start();
        let announced = Seen::Announced(lb1.mac());
        wait_for("three more than those of the claim", || (record.count(&announced) >= 7).then_some(()));
        assert_eq!(record.count(&REMOVED_1), 0, "all of one claim");
    });
}

/// By `ip address del`, as systemd-networkd does when it is restarted.
#[test]
fn an_address_that_somebody_removes_from_the_active_comes_back_without_a_move() {
    in_namespace(
        "announced::an_address_that_somebody_removes_from_the_active_comes_back_without_a_move",
        || {
            let (_bridge, lb1, lb2) = pair();
            let record = Recorder::start(&lb1, Some(&lb2));
            let announced = Seen::Announced(lb1.mac());
            // Those of the claim, of which the last one comes after a second.
            wait_for("all are out", || (lb1.counter("announcements") >= 4).then_some(()));
            for round in 1..=3 {
                record.clear();
                lb1.ip(&["addr", "del", &format!("{VIP}/32"), "dev", "eth1"]);
                wait_for("it is back", || (record.count(&ADDED_1) == 1).then_some(()));
                record.wait_for(&announced);
                assert_eq!(record.count(&REMOVED_1), 1, "round {round}");
                assert_eq!(record.count(&ADDED_2) + record.count(&RESIGNED_1), 0, "round {round}");
            }
            wait_for("it was counted", || (lb1.counter("addresses_stolen") == 3).then_some(()));
            let problem = wait_for("a problem", || {
                let what = format!("somebody removes {VIP} of web from eth1");
                let problems = lb1.status()["problems"].as_array().cloned().unwrap_or_default();
                problems.into_iter().find(|problem| problem["what"] == what)
            });
            let look_at = problem["look_at"].as_str().unwrap();
            let fix =
                "it was put back and announced, 3 times by now. systemd-networkd: KeepConfiguration=yes";
            assert!(look_at.starts_with(fix), "{look_at}");
            assert_eq!(lb1.state(), "Active");
        },
    );
}
