//! What `preempt` says, between two daemons.

use std::{fs, net::TcpListener, thread};

use super::{
    ADDED_1, ADDED_2, Bridge, Node, REMOVED_1, RESIGNED_1, Recorder, Seen, in_namespace, run,
    signed::reload,
    tracked::ready,
    unicast::{hears, is},
    wait_for,
};

/// One degradation on the first node of the file.
const DEGRADED_1: Seen = Seen::Advertised(11, 17);

/// A server on the bridge, and the far end of a cable of each node. A node that has no way to the one is degraded, without the other it has a
/// fault.
const SURROUNDINGS: &str = r#"
[listen.app]
bind    = { vip = "web", port = 81 }
servers = ["198.51.100.2:80"]
check   = { interval = "100ms", timeout = "1s", rise = 1, fall = 2 }
hold    = "200ms"
[track.cable]
interface = "up0"
up_delay  = "0s"
failure   = "fault"
"#;

/// Two nodes that are ready, lb1 Active.
fn pair(preempt: &str) -> (Bridge, Node, Node) {
    let bridge = Bridge::new(&format!("{preempt}{SURROUNDINGS}"));
    run("ip", &["addr", "add", "198.51.100.2/24", "dev", "br0"]);
    let server = TcpListener::bind("198.51.100.2:80").unwrap();
    thread::spawn(move || server.incoming().for_each(drop));
    let (mut lb1, mut lb2) = (Node::new(&bridge, 1, true), Node::new(&bridge, 2, true));
    for (node, state) in [(&mut lb1, "Active"), (&mut lb2, "Backup")] {
        node.ip(&["link", "add", "up0", "type", "veth", "peer", "name", "far0"]);
        node.ip(&["link", "set", "up0", "up"]);
        set_fault(node, false);
        node.start();
        is(node, state);
        is_ready(node);
    }
    (bridge, lb1, lb2)
}

fn is_ready(node: &Node) {
    wait_for(&format!("{} is ready", node.name), || ready(node).contains("yes").then_some(()));
}

fn set_degraded(node: &Node, is_so: bool) {
    node.ip(&["route", if is_so { "add" } else { "del" }, "blackhole", "198.51.100.2"]);
}

fn set_fault(node: &Node, is_so: bool) {
    let state = if is_so { "down" } else { "up" };
    node.ip(&["link", "set", "far0", state]);
    // The kernel takes its time with that.
    wait_for("the other end", || {
        (node.ip(&["link", "show", "up0"]).contains("state UP") != is_so).then_some(())
    });
}

/// What was ready gets worse: the other one hears it ten times and does nothing. Only what serves nobody any more gives the address away,
/// and a node that is well again waits as the other one did.
#[test]
fn never_leaves_the_address_to_a_degraded_node_and_takes_it_from_one_with_a_fault() {
    in_namespace(
        "preempted::never_leaves_the_address_to_a_degraded_node_and_takes_it_from_one_with_a_fault",
        || {
            let (bridge, lb1, lb2) = pair("preempt = \"never\"");
            let record = Recorder::start(&lb1, Some(&lb2));
            set_degraded(&lb1, true);
            record.wait_for(&DEGRADED_1);
            hears(&lb2);
            assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
            assert_eq!([&REMOVED_1, &RESIGNED_1, &ADDED_2].map(|moved| record.count(moved)), [0; 3]);
            set_fault(&lb1, true);
            record.wait_for(&ADDED_2);
            is(&lb1, "Initialize");
            assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
            assert!(record.position(&RESIGNED_1) < record.position(&ADDED_2));
            // Well again, the better one waits for the same.
            record.clear();
            set_fault(&lb1, false);
            set_degraded(&lb1, false);
            is(&lb1, "Backup");
            is_ready(&lb1);
            set_degraded(&lb2, true);
            record.wait_for(&Seen::Advertised(12, 16));
            hears(&lb1);
            assert_eq!([lb1.state(), lb2.state()], ["Backup", "Active"]);
            assert_eq!(record.count(&ADDED_1), 0);
            // By a file that says otherwise it takes it.
            let path = bridge.folder.path().join("lb.toml");
            let file = fs::read_to_string(&path).unwrap();
            fs::write(&path, file.replace("\"never\"", "\"degraded\"")).unwrap();
            assert!(reload(&lb1).status.success());
            record.wait_for(&ADDED_1);
            is(&lb2, "Backup");
        },
    );
}

/// The better one takes it from a degraded one at once, and the degraded one has it back after its delay, which the two moves have doubled.
#[test]
fn always_gives_the_address_of_a_degraded_node_away_and_back_after_the_delay() {
    in_namespace(
        "preempted::always_gives_the_address_of_a_degraded_node_away_and_back_after_the_delay",
        || {
            let (_bridge, lb1, lb2) = pair("preempt = \"always\"\npreempt_delay = \"1s\"");
            let record = Recorder::start(&lb1, Some(&lb2));
            set_degraded(&lb1, true);
            record.wait_for(&ADDED_2);
            is(&lb1, "Backup");
            // It has yielded to a better one.
            let why = lb2.status()["groups"][0]["why"].to_string();
            assert!(why.contains("is degraded (priority 17, ours 253)"), "{why}");
            hears(&lb1);
            assert_eq!(record.count(&ADDED_1), 0, "{:?}", record.all());
            record.clear();
            set_degraded(&lb1, false);
            record.wait_for(&ADDED_1);
            is(&lb2, "Backup");
            let all = record.all();
            let before = all.iter().take(record.position(&ADDED_1));
            // One each 100 ms, but for what a busy machine leaves out: the delay that the file says would be over by the fourteenth.
            let heard = before.filter(|seen| **seen == Seen::Advertised(12, 253)).count();
            assert!(heard >= 18, "{heard} advertisements of lb2 meanwhile");
        },
    );
}

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
