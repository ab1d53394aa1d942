//! The scenarios of `vagrant/`, the same script, in the lab of namespaces.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use lb_tests::{order::other, program, scene::Scene, wait};
use lbctl::lab::Options;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// The script, for the lab of `scene`.
fn scenario_in(scene: &Scene, name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vagrant/scenario"));
    command.arg(name).env("LBCTL_LAB", "namespaces").env("LBCTL_LAB_NAME", scene.name());
    command.env("PATH", program::path_with_lbctl());
    command
}

/// Plays a scenario that the other node, or the same one, ends with the address: what it printed, of which clients saw
/// `failed` requests fail, if that is a matter of the scenario and not of the moment.
fn play(name: &str, middle: &str, failed: Option<u32>) {
    Scene::unless_starved(&Options::default(), |scene| {
        let [holder, other] = if scene.holder() == "lb1" { ["lb1", "lb2"] } else { ["lb2", "lb1"] };
        let output = scenario_in(scene, name).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.first(), Some(&format!("{holder} holds 198.51.100.10").as_str()), "{said}");
        let middle = middle.replace("OTHER", other);
        let middle: Vec<_> = middle.lines().collect();
        assert!(lines.windows(middle.len()).any(|lines| lines == middle), "{middle:?}: {said}");
        // SCENARIO: 20 of 1524 failed, gap 63 ms, longest wait 14 ms
        let seen = lines.last().and_then(|line| line.strip_prefix(&format!("{name}: "))).expect(&said);
        let numbers: Vec<u32> = seen.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [failures, requests, gap, longest] = numbers.try_into().expect(seen);
        assert!(requests > 400 && failures < requests && gap > 0 && longest > 0, "{seen}");
        assert!(failed.is_none_or(|failed| failed == failures), "{said}");
        // What was broken is whole again.
        scene.wait_until_all_ready().unwrap();
    });
}

const MOVED: &str = "OTHER holds it\nhealed: OTHER keeps it";

#[test]
fn kill_moves_the_address_and_healing_does_not() {
    play("kill", MOVED, None);
}

#[test]
fn cable_moves_the_address_and_healing_does_not() {
    play("cable", MOVED, None);
}

#[test]
fn freeze_moves_the_address_and_healing_does_not() {
    play("freeze", MOVED, None);
}

#[test]
fn drain_moves_the_address_without_a_failed_request_and_healing_does_not() {
    play("drain", MOVED, Some(0));
}

#[test]
fn backends_moves_the_address_and_healing_does_not() {
    play("backends", MOVED, None);
}

#[test]
fn split_makes_two_holders_and_healing_makes_one_of_them() {
    play("split", "both hold it: neither hears the other", None);
}

/// As systemd's watchdog does it on machines.
#[test]
fn freeze_of_processes_that_somebody_kills_and_starts_again_ends_well() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let daemon = scene.status_of(&holder)["pid"].as_u64().unwrap();
        let playing =
            scenario_in(scene, "freeze").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait::until("it is frozen", Duration::from_secs(60), || {
            let stat = scene.exec(&holder, ["cat", &format!("/proc/{daemon}/stat")]).unwrap().stdout;
            stat.contains(") T ").then_some(())
        });
        // Its speaker is stopped last.
        scene.wait_until_held_by(other(&holder), Duration::from_secs(60)).unwrap();
        scene.shell(&holder, &format!("kill -9 {daemon} $(cat /proc/{daemon}/task/*/children)"));
        scene.heal(&holder).unwrap();
        let ended = playing.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
        assert!(said(&ended).contains(&format!("healed: {} keeps it", other(&holder))), "{}", said(&ended));
    });
}

#[test]
fn scenario_that_is_interrupted_heals_what_it_has_broken() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let is_cut = || {
            let links = scene.exec(&holder, ["ip", "-o", "link", "show", "eth0"]).unwrap();
            links.stdout.contains("state DOWN")
        };
        let playing = scenario_in(scene, "cable").stdout(Stdio::null()).spawn().unwrap();
        wait::until("the cable is pulled", Duration::from_secs(60), || is_cut().then_some(()));
        kill(Pid::from_raw(playing.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let ended = playing.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(!is_cut());
        scene.wait_until_all_ready().unwrap();
    });
}
