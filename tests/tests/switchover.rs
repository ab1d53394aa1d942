//! The address goes to the other node because somebody asked, and stays there.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::time::Duration;

use lb_tests::{
    order::other,
    program,
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::{How, Options, VIP};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(30);
const FILE: &str = "/run/lab.toml";

/// The other node's answer is waited for as long as one interval: a busy machine has a whole second.
fn file() -> String {
    slower("1s")
}

/// That with a line more in the section of its address.
fn with(line: &str) -> String {
    let text = file().replacen("[vip.web]\n", &format!("[vip.web]\n{line}\n"), 1);
    assert!(text.contains(line));
    text
}

#[test]
fn address_goes_where_it_is_asked_for_without_losing_a_request_and_stays_there_whatever_preempt_says() {
    let text = with("preempt = \"always\"\npreempt_delay = \"100ms\"");
    Scene::unless_starved(&Options::default().configuration(&text), |scene| {
        // The preferred one, sooner or later.
        scene.wait_until_held_by("lb1", LONG).unwrap();
        scene.wait_until_other_is_ready("lb1");
        let load = scene.clients();
        let dry = scene.done("lb1", &["switchover", "--dry-run", "--json"]);
        assert_eq!((&dry["dry_run"], &dry["groups"][0]["to"]), (&json!(true), &json!("lb2")));
        scene.wait_until_held_by("lb1", LONG).unwrap();
        let report = scene.done("lb1", &["switchover", "--to", "lb2", "--json"]);
        // It returns when the new holder has announced.
        scene.wait_until_held_by("lb2", LONG).unwrap();
        assert_eq!((&report["groups"][0]["to"], &report["cut"]), (&json!("lb2"), &json!(0)));
        assert!(report["groups"][0]["gap_us"].as_u64().is_some(), "{report}");
        // Through a reload, another process and another speaker: many times the delay of the preemption.
        scene.done("lb1", &["reload", "--json"]);
        scene.done("lb1", &["upgrade", "--json"]);
        scene.wait_until_other_is_ready("lb2");
        let speakers = || scene.log("lb1", "lbctl").unwrap().matches("the speaker runs").count();
        let before = speakers();
        let kill = "for p in $(pgrep -x lbctl-speaker); do [ /proc/$p/ns/net -ef /proc/self/ns/net ] && kill -9 $p; done; true";
        scene.shell("lb1", kill);
        wait::until("another speaker", LONG, || (speakers() > before).then_some(()));
        scene.wait_until_other_is_ready("lb2");
        let served = load.report().ok();
        wait::until("some seconds of requests", LONG, || (load.report().ok() > served + 1_000).then_some(()));
        scene.wait_until_held_by("lb2", LONG).unwrap();
        let why = scene.refused("lb1", &["switchover"], 1);
        assert!(why.contains("lb1 holds no address"), "{why}");
        let why = scene.refused("lb2", &["switchover", "--to", "lb9"], 2);
        assert!(why.contains("there is no node `lb9`; did you mean `lb"), "{why}");
        let why = scene.refused("lb2", &["switchover", "--to", "lb2"], 1);
        assert!(why.contains("this is lb2"), "{why}");
        // Somebody asks again.
        let report = scene.done("lb2", &["switchover", "--json"]);
        assert_eq!(report["groups"][0]["to"], "lb1");
        scene.wait_until_held_by("lb1", LONG).unwrap();
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report:?}");
    });
}

#[test]
fn without_an_answer_the_address_stays() {
    Scene::unless_starved(&Options::default().configuration(&file()), |scene| {
        let first = scene.holder();
        scene.wait_until_other_is_ready(&first);
        let load = scene.clients();
        // What it said before it was asked counts for nothing.
        scene.fail(other(&first), How::Freeze).unwrap();
        let why = scene.refused(&first, &["switchover", "--dry-run"], 1);
        assert!(why.contains("and has said nothing for ") || why.contains("is silent"), "{why}");
        scene.heal(other(&first)).unwrap();
        scene.wait_until_other_is_ready(&first);
        // Its last hello is still believed, or it is silent already.
        scene.fail(other(&first), How::Kill).unwrap();
        let why = scene.refused(&first, &["switchover"], 1);
        assert!(
            why.contains("no other node answered within one interval") || why.contains("is silent"),
            "{why}"
        );
        let why = scene.refused(&first, &["switchover", "--force"], 1);
        assert!(why.contains("no other node answered within one interval"), "{why}");
        scene.wait_until_held_by(&first, LONG).unwrap();
        let served = load.report().ok();
        wait::until("clients are served", LONG, || (load.report().ok() > served + 100).then_some(()));
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report:?}");
    });
}

/// Half a request on a connection to `address`, which keeps whoever drains waiting.
fn hold<'scene>(scene: &'scene Scene, address: &str, name: &str) -> lbctl::lab::Spawned<'scene> {
    let held =
        format!("exec 3<>/dev/tcp/{address}/80; printf 'GET / HTTP/1.1\\r\\nHost' >&3; echo sent; cat <&3");
    let held = scene.spawn("client", name, ["bash", "-c", &held]).unwrap();
    wait::until("half a request", LONG, || {
        scene.log("client", name).unwrap_or_default().contains("sent").then_some(())
    });
    held
}

#[test]
fn what_comes_in_the_middle_waits_or_is_refused_with_the_reason() {
    let two = file().replacen("[\"198.51.100.10\"]", "[\"198.51.100.10\", \"198.51.100.20\"]", 1);
    assert_ne!(two, file());
    Scene::unless_starved(&Options::default().configuration(&two), |scene| {
        let first = scene.holder();
        scene.wait_until_other_is_ready(&first);
        // A reload that takes an address away waits for who is still there: no switchover meanwhile.
        let _held = hold(scene, "198.51.100.20", "second");
        for node in [&first, other(&first)] {
            scene.write_file(node, FILE, &file()).unwrap();
        }
        let lbctl = program::lbctl();
        let _reloading = scene.spawn(&first, "reload", [lbctl.as_str(), "reload", "--json"]).unwrap();
        wait::until("it reloads", LONG, || {
            scene.log(&first, "lbctl").unwrap().contains("reloading").then_some(())
        });
        let why = scene.refused(&first, &["switchover"], 1);
        assert!(why.contains("a reload is under way"), "{why}");
        wait::until("it is over", LONG, || {
            scene.log(&first, "reload").unwrap().trim_end().ends_with('}').then_some(())
        });
        let said = scene.log(&first, "reload").unwrap();
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(report["cut"], 1, "{report}");
        wait::until("it is gone", LONG, || {
            (!scene.shell(&first, "ip -o -4 address show").contains(" 198.51.100.20/")).then_some(())
        });
        scene.wait_until_held_by(&first, LONG).unwrap();
        scene.done(other(&first), &["reload", "--json"]);
        scene.wait_until_other_is_ready(&first);
        // The other way round: the reload follows, an upgrade and another one are refused.
        let _held = hold(scene, "198.51.100.10", "first");
        let _switching = scene.spawn(&first, "switch", [lbctl.as_str(), "switchover", "--json"]).unwrap();
        wait::until("it drains", LONG, || {
            scene.log(&first, "lbctl").unwrap().contains("switchover: draining first").then_some(())
        });
        for verb in ["upgrade", "switchover", "drain"] {
            let why = scene.refused(&first, &[verb], 1);
            assert!(why.contains("a switchover is under way"), "{verb}: {why}");
        }
        scene.done(&first, &["reload", "--json"]);
        scene.wait_until_held_by(other(&first), LONG).unwrap();
        let report: Value = wait::until("the verb has printed its report", LONG, || {
            serde_json::from_str(&scene.log(&first, "switch").ok()?).ok()
        });
        assert_eq!((&report["cut"], &report["groups"][0]["to"]), (&json!(1), &json!(other(&first))));
    });
}

#[test]
fn whoever_is_still_served_is_reset_while_the_address_is_there_however_busy_the_machine_is() {
    Scene::unless_starved(&Options::default().configuration(&file()), |scene| {
        let mut holder = scene.holder();
        // Each has a share of the processors like the daemon's own, which so takes its time.
        let busy = "for _ in 1 2 3 4 5 6; do setsid timeout 15 sh -c 'while :; do :; done' & done; wait";
        let busy = scene.spawn("client", "busy", ["sh", "-c", busy]).unwrap();
        for round in 0..3 {
            scene.wait_until_other_is_ready(&holder);
            let names = [0, 1, 2].map(|number| format!("held-{round}-{number}"));
            let _held = names.each_ref().map(|name| hold(scene, &VIP.to_string(), name));
            let report = scene.done(&holder, &["switchover", "--now", "--json"]);
            assert_eq!(report["cut"], 3, "{report}");
            for name in &names {
                wait::until("a reset", LONG, || {
                    scene.log("client", name).unwrap().contains("Connection reset by peer").then_some(())
                });
            }
            holder = other(&holder).to_owned();
        }
        busy.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    });
}

#[test]
fn address_that_is_given_straight_back_is_no_switchover_and_one_back_is_not_refused_for_what_was() {
    Scene::unless_starved(&Options::default().configuration(&file()), |scene| {
        let holder = scene.holder();
        let peer = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        // At once, both ways.
        scene.done(&holder, &["switchover", "--json"]);
        scene.done(peer, &["switchover", "--json"]);
        scene.wait_until_held_by(&holder, LONG).unwrap();
        scene.fail(peer, How::Backends).unwrap();
        wait::until("the other node is degraded", LONG, || {
            let status = scene.status_of(&holder);
            status["groups"][0]["nodes"][1]["ready"]["degraded"].is_object().then_some(())
        });
        let why = scene.refused(&holder, &["switchover", "--force"], 1);
        assert!(why.contains("gave it straight back") && why.contains("is degraded"), "{why}");
        assert_eq!(scene.holder(), holder);
        scene.heal(peer).unwrap();
    });
}

/// A third one runs where the clients are. It reaches no server, so this file has none.
const THREE: &str = r#"
[cluster]
node.lb1 = { address = "198.51.100.11" }
node.lb2 = { address = "198.51.100.12" }
node.lb3 = { address = "198.51.100.100" }

[vip.web]
vrid      = 51
addresses = ["198.51.100.10"]
advertisement_interval = "1s"

[global]
threads = 2

[frontend.web]
bind  = { vip = "web", port = 80 }
rules = [{ respond = { status = 200, body = "here" } }]
"#;

#[test]
fn of_three_nodes_the_one_that_is_wanted_takes_it_once_those_before_it_are_drained() {
    Scene::unless_starved(&Options::default().configuration(THREE), |scene| {
        scene.give_to("lb1");
        let (lbctl, file) = (program::lbctl(), scene.write("three.toml", THREE));
        let third = scene.spawn("client", "lbctl", [lbctl.as_str(), "run", &file]).unwrap();
        // Where the lab has no balancer it asks nobody either.
        let has = |node: &str| scene.shell(node, "ip -o -4 address show").contains(&format!(" {VIP}/"));
        let places =
            |node: &str| if node == "lb3" { "client" } else { ["lb1", "lb2"][usize::from(node == "lb2")] };
        let held_by = |wanted: &str| {
            wait::until(&format!("{wanted} alone has the address"), LONG, || {
                ["lb1", "lb2", "lb3"].iter().all(|node| has(places(node)) == (*node == wanted)).then_some(())
            });
        };
        let all_are_ready = |seen_from: &str, but: &str| {
            wait::until("all are ready", LONG, || {
                let status = scene.status_of(places(seen_from));
                let nodes = status["groups"][0]["nodes"].as_array()?.clone();
                let is_ready =
                    |node: &Value| node["silent"] == false && (node["ready"] == "yes" || node["name"] == but);
                (nodes.len() == 3 && nodes.iter().all(is_ready)).then_some(())
            });
        };
        all_are_ready("lb1", "");
        held_by("lb1");
        let why = scene.refused("lb1", &["switchover", "--to", "lb3"], 1);
        assert!(
            why.contains("lb2 is ready too, and would take group default before lb3: first drain lb2"),
            "{why}"
        );
        scene.done("lb2", &["drain", "--json"]);
        wait::until("lb1 knows it", LONG, || {
            let report = scene.verb("lb1", &["switchover", "--to", "lb3", "--dry-run", "--json"]);
            (report.0 == Some(0)).then_some(())
        });
        let report = scene.done("lb1", &["switchover", "--to", "lb3", "--json"]);
        assert_eq!((&report["groups"][0]["to"], &report["cut"]), (&json!("lb3"), &json!(0)), "{report}");
        held_by("lb3");
        // Whoever is drained is not wanted, and whoever is back is the next.
        let why = scene.refused("client", &["switchover", "--to", "lb2"], 1);
        assert!(why.contains("lb1 is ready too") || why.contains("lb2 is not known to be ready"), "{why}");
        scene.done("lb2", &["resume", "--json"]);
        all_are_ready("lb3", "");
        held_by("lb3");
        let report = scene.done("client", &["switchover", "--json"]);
        assert_eq!(report["groups"][0]["to"], "lb1", "{report}");
        held_by("lb1");
        third.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(third.wait().unwrap().code, Some(0));
    });
}

/// Readiness knows nothing of orders, or a pair would swing with them; who gives the addresses away is told.
#[test]
fn node_that_was_told_to_refuse_clients_is_given_nothing_unless_it_is_forced() {
    let statistics =
        "[frontend.stats]\nbind = { vip = \"web\", port = 8404 }\nstatistics = { uri = \"/stats\" }\n";
    Scene::unless_starved(&Options::default().configuration(&(file() + "\n" + statistics)), |scene| {
        let holder = scene.holder();
        let peer = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        // Which is nobody's client's.
        scene.done(peer, &["frontend", "stats", "pause", "--json"]);
        scene.done(peer, &["frontend", "web", "pause", "--json"]);
        let problem = format!("{peer} would refuse clients of web");
        let is_problem = || {
            let problems = scene.status_of(&holder)["problems"].to_string();
            problems.contains(&problem) && problems.contains("frontend web is paused by ")
        };
        wait::until("the holder knows", LONG, || is_problem().then_some(()));
        for words in [&["switchover"][..], &["switchover", "--dry-run"], &["drain"]] {
            let why = scene.refused(&holder, words, 1);
            assert!(
                why.contains(&format!("{peer} would refuse clients: frontend web is paused by ")),
                "{why}"
            );
        }
        assert_eq!(scene.holder(), holder);
        // Nobody loses anything where it is paused here as well.
        scene.done(&holder, &["frontend", "web", "pause", "--json"]);
        wait::until("both are alike", LONG, || (!is_problem()).then_some(()));
        scene.done(&holder, &["switchover", "--dry-run", "--json"]);
        scene.done(&holder, &["frontend", "web", "resume", "--json"]);
        wait::until("the holder knows again", LONG, || is_problem().then_some(()));
        scene.done(peer, &["frontend", "web", "resume", "--json"]);
        wait::until("it is over", LONG, || (!is_problem()).then_some(()));
        scene.done(&holder, &["switchover", "--json"]);
        scene.wait_until_held_by(peer, LONG).unwrap();
    });
}

/// Changes of a file roll over the nodes, so another one there is no reason to refuse; and whoever moves the address knows of it.
#[test]
fn whoever_gives_the_address_to_a_node_with_another_file_is_told() {
    Scene::unless_starved(&Options::default().configuration(&file()), |scene| {
        let holder = scene.holder();
        let peer = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        let report = scene.done(&holder, &["switchover", "--dry-run", "--json"]);
        assert_eq!(report["warnings"], json!([]));
        scene.write_file(peer, FILE, &format!("{}\n# another one\n", file())).unwrap();
        scene.done(peer, &["reload", "--json"]);
        wait::until("the holder knows", LONG, || {
            let problems = scene.status_of(&holder)["problems"].to_string();
            problems.contains("the file differs on ").then_some(())
        });
        scene.wait_until_other_is_ready(&holder);
        let warning = format!("{peer} has another file (");
        for verb in [&["switchover", "--dry-run", "--json"][..], &["switchover", "--json"]] {
            let report = scene.done(&holder, verb);
            assert!(report["warnings"][0].as_str().unwrap().starts_with(&warning), "{report}");
        }
        scene.wait_until_held_by(peer, LONG).unwrap();
        scene.wait_until_other_is_ready(peer);
        let report = scene.done(peer, &["drain", "--json"]);
        assert!(report["warnings"][0].as_str().unwrap().starts_with(&format!("{holder} has another file (")));
        scene.wait_until_held_by(&holder, LONG).unwrap();
        let said = scene.done(peer, &["resume", "--json"]);
        assert_eq!(said["was"]["what"], "drain");
    });
}

/// What both have lost keeps neither from its work: the other one serves no worse.
#[test]
fn of_two_nodes_that_are_equally_degraded_one_may_be_given_what_the_other_holds() {
    Scene::unless_starved(&Options::default().configuration(&file()), |scene| {
        let holder = scene.holder();
        let peer = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        for node in [peer, &holder] {
            scene.fail(node, How::Backends).unwrap();
        }
        wait::until("both are degraded", LONG, || {
            let status = scene.status_of(&holder);
            let nodes = status["groups"][0]["nodes"].as_array()?;
            nodes.iter().all(|node| node["ready"]["degraded"].is_object()).then_some(())
        });
        let report = scene.done(&holder, &["switchover", "--json"]);
        let warning = format!("{peer} is degraded for group default as this node is: ");
        assert!(report["warnings"][0].as_str().unwrap().starts_with(&warning), "{report}");
        scene.wait_until_held_by(peer, LONG).unwrap();
        // It comes back only because somebody asks: neither is better.
        scene.done(peer, &["drain", "--json"]);
        scene.wait_until_held_by(&holder, LONG).unwrap();
        scene.done(peer, &["resume", "--json"]);
        for node in [peer, &holder] {
            scene.heal(node).unwrap();
        }
    });
}
