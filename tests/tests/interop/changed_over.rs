//! The change-over of the book, step by step, with the file that stands there: Keepalived on two nodes becomes lbctl on both.

use std::{fs, path::Path};

use lb_tests::{
    keepalived::{self, Speaks},
    order,
    scene::Scene,
    wait,
};
use lbctl::lab::{How, Options};
use nix::sys::signal::Signal;

use super::{LONG, SPEAKS_V2};

/// Where nodes of the lab have their file.
const FILE: &str = "/run/lab.toml";

/// The file of the mixed pair, with the addresses of the lab.
fn mixed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/coming-from-keepalived.md");
    let page = fs::read_to_string(path).unwrap();
    let part = page.split("\n## One node at a time\n").nth(1).unwrap();
    let file = part.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let addresses =
        [("192.0.2.21", "198.51.100.141"), ("192.0.2.22", "198.51.100.142"), ("192.0.2.", "198.51.100.")];
    addresses.iter().fold(file.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn without(file: &str, keys: &[&str]) -> String {
    let stays = |line: &&str| !keys.iter().any(|key| line.starts_with(key));
    file.lines().filter(stays).map(|line| format!("{line}\n")).collect()
}

#[test]
fn steps_of_the_book_lead_from_keepalived_to_two_nodes_of_lbctl() {
    let mixed = mixed();
    let options = Options::default().configuration(&mixed).without_daemon("lb2");
    Scene::unless_starved_from_the_start(&options, |scene| {
        let speaks = Speaks { unicast: true, password: Some("secret"), ..SPEAKS_V2 };
        let keepalived = keepalived::start(scene, speaks);
        scene.wait_until_ready("lb1").unwrap();
        scene.wait_until_held_by("lb1", LONG).unwrap();
        let mixed_pair = scene.record().unwrap().len();

        // Step 3.
        keepalived.signal(Signal::SIGTERM).unwrap();
        keepalived.wait().unwrap();
        let kinds = mixed.replace(", foreign = \"keepalived\"", "");
        let ours =
            without(&kinds.replace(", priority = 150", "").replace(", priority = 100", ""), &["preempt"]);
        scene.write_file("lb2", FILE, &ours).unwrap();
        scene.start("lb2").unwrap();
        scene.wait_until_ready("lb2").unwrap();
        assert_eq!(order::claims(scene, mixed_pair), 0, "lb2 is a Backup");

        // Step 4.
        scene.write_file("lb1", FILE, &ours).unwrap();
        let refused = scene.refused("lb1", &["reload"], 1);
        assert!(refused.contains("can't be of another kind while it runs"), "{refused}");
        scene.fail("lb1", How::Stop).unwrap();
        scene.wait_until_held_by("lb2", LONG).unwrap();
        scene.heal("lb1").unwrap();
        assert!(order::first_move(scene, "lb1", mixed_pair).in_order, "two owners");
        assert_eq!(scene.holders().unwrap(), ["lb2"]);

        // Step 5.
        let new = without(&ours, &["version", "password", "advertisement_interval"]);
        for node in ["lb1", "lb2"] {
            scene.write_file(node, FILE, &new).unwrap();
        }
        let refused = scene.refused("lb2", &["reload"], 1);
        assert!(refused.contains("version of vip web can't change while it runs"), "{refused}");
        let two_nodes = scene.record().unwrap().len();
        scene.fail("lb1", How::Stop).unwrap();
        scene.fail("lb2", How::Stop).unwrap();
        scene.heal("lb2").unwrap();
        scene.wait_until_held_by("lb2", LONG).unwrap();
        scene.heal("lb1").unwrap();
        scene.wait_until_other_is_ready("lb2");
        assert_eq!(order::claims(scene, two_nodes), 1, "lb1 never had it");
        // What lb1 knows of lb2 is as old as its last hello.
        wait::until("lb1 has no problems", LONG, || {
            (scene.status_of("lb1")["problems"] == serde_json::json!([])).then_some(())
        });
    });
}
