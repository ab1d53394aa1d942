//! Servers lost by one node alone move the address; lost by both nodes they move nothing. Twenty runs of each.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{thread, time::Duration};

use lb_tests::{
    order::{self, other},
    scene::Scene,
    wait,
};
use lbctl::lab::{BALANCERS, CONFIGURATION, How, Options};

const RUNS: usize = 20;

/// The lab's own file with faster checks and a shorter hold: twenty runs of seconds would be minutes.
fn fast() -> Options {
    let file = CONFIGURATION
        .replace("interval = \"500ms\", timeout = \"500ms\"", "interval = \"200ms\", timeout = \"200ms\"")
        .replace("\"1500ms\"", "\"800ms\"");
    assert!(file.contains("200ms") && file.contains("\"800ms\""), "the lab's file has changed:\n{file}");
    Options::default().configuration(&file)
}

fn says(scene: &Scene, node: &str) -> String {
    scene.status().unwrap().node(node).and_then(|node| node.says.clone()).unwrap_or_default()
}

#[test]
fn servers_lost_by_the_active_alone_move_the_address() {
    Scene::unless_starved(&fast(), |scene| {
        for run in 1..=RUNS {
            let victim = scene.holder();
            let read = scene.record().unwrap().len();
            scene.fail(&victim, How::Backends).unwrap();
            scene
                .wait_until_held_by(other(&victim), Duration::from_secs(30))
                .unwrap_or_else(|error| panic!("run {run}, {victim}: {error:#}"));
            assert!(order::first_move(scene, &victim, read).in_order, "run {run}: two owners");
            scene.heal(&victim).unwrap();
            assert_eq!(order::claims(scene, read), 1, "run {run}: it moves once");
        }
    });
}

#[test]
fn servers_lost_by_the_backup_alone_move_nothing() {
    Scene::unless_starved(&fast(), |scene| {
        let holder = scene.holder();
        let read = scene.record().unwrap().len();
        for run in 1..=RUNS {
            let victim = other(&holder);
            scene.fail(victim, How::Backends).unwrap();
            wait::until("the Backup is degraded", Duration::from_secs(30), || {
                says(scene, victim).contains("degraded").then_some(())
            });
            scene.heal(victim).unwrap();
            assert_eq!(order::claims(scene, read), 0, "run {run}: the address moved");
        }
        assert_eq!(scene.holders().unwrap(), [holder]);
    });
}

#[test]
fn servers_lost_by_both_nodes_move_nothing_with_the_first_node_active() {
    lost_by_both("lb1");
}

#[test]
fn servers_lost_by_both_nodes_move_nothing_with_the_second_node_active() {
    lost_by_both("lb2");
}

/// The servers die, or both nodes lose the way to them: in turn.
fn lost_by_both(active: &str) {
    let scene = Scene::ready(&fast());
    scene.give_to(active);
    let read = scene.record().unwrap().len();
    for run in 1..=RUNS {
        let (victims, how) = match run % 3 {
            0 => (["web1", "web2"], How::Kill),
            1 => (["lb1", "lb2"], How::Backends),
            _ => (["lb2", "lb1"], How::Backends),
        };
        for victim in victims {
            scene.fail(victim, how).unwrap();
        }
        // Both know, and have told each other, after the hold of the Active: it is the last to count the bad news.
        wait::until("both nodes are degraded", Duration::from_secs(30), || {
            BALANCERS.iter().all(|node| says(&scene, node).contains("degraded")).then_some(())
        });
        // At the same time: one node that is back before the other one is a reason to move the address.
        thread::scope(|scope| {
            for victim in victims {
                scope.spawn(|| scene.heal(victim).unwrap());
            }
        });
        scene.wait_until_all_ready().unwrap_or_else(|error| panic!("run {run}: {error:#}"));
        assert_eq!(order::claims(&scene, read), 0, "run {run}, {how} {victims:?}: the address moved");
    }
    assert_eq!(scene.holders().unwrap(), [active]);
}
