//! More changes of the kernel than the speaker's queue for them holds.

use std::{fmt::Write, fs};

use nix::sys::signal::Signal;

use super::{ADDED_1, Bridge, Node, RESIGNED_1, Recorder, Seen, VIP, in_namespace, wait_for};

/// What the queue of 212,992 bytes can't hold: each is at least 500 of them there.
const CHANGES: usize = 700;

/// Changes that the kernel had no room for, over all sockets of the node.
fn dropped(node: &Node) -> u64 {
    let table = fs::read_to_string(format!("/proc/{}/net/netlink", node.speaker())).unwrap();
    let drops = table.lines().skip(1).filter_map(|row| row.split_whitespace().nth(8)?.parse::<u64>().ok());
    drops.sum()
}

/// What was lost is found by looking at all there is: the address that somebody removed meanwhile is put back and announced, and no node
/// thinks that it has one that is gone. That is so as well where the speaker has refreshed its lease before it looks, which puts it
/// back without a word: a stop of more than 250 ms makes that as likely as not. It stands still for less than 2.5 intervals, so that it
/// is a full queue and no stall.
#[test]
fn a_removal_that_the_full_queue_dropped_is_found_and_mended() {
    in_namespace("overrun::a_removal_that_the_full_queue_dropped_is_found_and_mended", || {
        let bridge = Bridge::new("advertisement_interval = \"2s\"");
        let mut lb1 = Node::new(&bridge, 1, true);
        let record = Recorder::start(&lb1, None);
        lb1.start();
        wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
        let mut batch = String::new();
        for number in 1..=CHANGES {
            writeln!(batch, "addr add 2001:db8:1::{number:x}/128 dev lo nodad").unwrap();
        }
        writeln!(batch, "addr del {VIP}/32 dev eth1").unwrap();
        let file = bridge.folder.path().join("changes");
        fs::write(&file, batch).unwrap();
        assert_eq!(dropped(&lb1), 0);
        let announced = Seen::Announced(lb1.mac());
        // Those of the claim: at 0, 100 and 300 ms and 1 s.
        wait_for("all are out", || (record.count(&announced) == 4).then_some(()));
        record.clear();

        let speaker = lb1.speaker();
        lb1.signal(speaker, Signal::SIGSTOP);
        lb1.ip(&["-batch", file.to_str().unwrap()]);
        let is_gone = !lb1.has_vip();
        lb1.signal(speaker, Signal::SIGCONT);

        assert!(is_gone, "the speaker stands still");
        assert!(dropped(&lb1) > 0, "the queue was full");
        wait_for("it is back", || (record.count(&ADDED_1) == 1).then_some(()));
        wait_for("it was counted", || (lb1.counter("addresses_stolen") >= 1).then_some(()));
        record.wait_for(&announced);
        assert_eq!(lb1.speaker(), speaker, "the same one");
        assert_eq!(record.count(&RESIGNED_1), 0);
        assert_eq!(lb1.state(), "Active");
    });
}
