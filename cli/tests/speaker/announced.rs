//! `lbctl announce`: what it says, and what neighbours learn by it.

use std::process::{Command, Output};

use super::{Node, VIP, in_namespace, pair, run, wait_for};

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
