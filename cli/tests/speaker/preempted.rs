//! `preempt = "always"` between two daemons.

use super::{ADDED_1, Bridge, Node, Recorder, Seen, in_namespace, unicast::is, wait_for};

/// The preferred node comes later. It waits for as long as the file says, and takes an address that is served all the time.
#[test]
fn the_preferred_node_takes_the_address_back_after_its_delay_and_not_before() {
    in_namespace(
        "preempted::the_preferred_node_takes_the_address_back_after_its_delay_and_not_before",
        || {
            let bridge = Bridge::new("preempt = \"always\"\npreempt_delay = \"3s\"");
            let (mut lb1, mut lb2) = (Node::new(&bridge, 1, true), Node::new(&bridge, 2, true));
            lb2.start();
            wait_for("lb2 holds the address", || (lb2.has_vip() && lb2.state() == "Active").then_some(()));
            let record = Recorder::start(&lb2, Some(&lb1));
            lb1.start();
            record.wait_for(&ADDED_1);
            is(&lb1, "Active");
            is(&lb2, "Backup");
            let all = record.all();
            let before = all.iter().take(record.position(&ADDED_1));
            // One each 100 ms, but for what a busy machine leaves out.
            let heard = before.filter(|seen| **seen == Seen::Advertised(12, 253)).count();
            assert!(heard >= 25, "{heard} advertisements of lb2 meanwhile");
            assert!(record.position(&Seen::Removed("lb2")) < record.position(&ADDED_1));
            let why = lb1.status()["groups"][0]["why"].to_string();
            assert!(why.contains("has the lower priority (priority 253, ours 254)"), "{why}");
        },
    );
}
