//! A node that an operator takes out of the pair, and back, while clients are served.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::time::{Duration, Instant};

use lb_tests::{
    order::other,
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::{How, Options};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(30);

/// The other node's answer is waited for as long as one interval: a busy machine has a whole second.
fn options() -> Options {
    Options::default().configuration(&slower("1s"))
}

/// As `node` itself has it.
fn own(status: &Value) -> &Value {
    &status["groups"][0]["nodes"][0]
}

fn wait_for_problem(scene: &Scene, node: &str, part: &str) {
    wait::until(part, LONG, || {
        let (code, screen, _) = scene.verb(node, &["status"]);
        (code == Some(2) && screen.replace("\n  ", " ").contains(part)).then_some(())
    });
}

#[test]
fn holder_is_drained_without_losing_a_request_and_stays_out_until_it_is_resumed() {
    Scene::unless_starved(&options(), |scene| {
        let first = scene.holder();
        let second = other(&first);
        scene.wait_until_other_is_ready(&first);
        let load = scene.clients();
        let report = scene.done(&first, &["drain", "--json"]);
        assert_eq!(report["groups"][0]["outcome"], "another node has taken it");
        assert_eq!((&report["drained"]["by"], &report["cut"]), (&json!("root"), &json!(0)));
        scene.wait_until_held_by(second, LONG).unwrap();
        wait_for_problem(scene, &first, &format!("{first} is drained for "));
        wait_for_problem(scene, second, &format!("{first} is drained for "));
        wait_for_problem(
            scene,
            second,
            "by root. It takes no part in elections, so it could not take over. To end that, there: lbctl resume",
        );
        assert_eq!(own(&scene.status_of(&first))["state"], "Initialize");
        // Through a reload and two other processes.
        for verb in ["reload", "upgrade", "reload", "upgrade"] {
            scene.done(&first, &[verb, "--json"]);
            let status = scene.status_of(&first);
            assert_eq!(status["drained"]["by"], "root", "{verb}");
            assert_eq!(own(&status)["state"], "Initialize", "{verb}");
        }
        let (code, said, _) = scene.verb(&first, &["diff"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("node {first} has `drain` by root")), "{said}");
        // Both at once would leave nobody.
        let why = scene.refused(second, &["drain"], 1);
        assert!(why.contains(&format!("{first} can't hold it (drained by root)")), "{why}");
        assert_eq!(scene.holders().unwrap(), [second]);
        scene.done(&first, &["resume", "--json"]);
        scene.wait_until_other_is_ready(second);
        scene.done(second, &["drain", "--json"]);
        scene.wait_until_held_by(&first, LONG).unwrap();
        scene.done(second, &["resume", "--json"]);
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report:?}");
    });
}

#[test]
fn peer_that_dies_in_the_middle_leaves_the_address_where_it_is() {
    Scene::unless_starved(&options(), |scene| {
        let first = scene.holder();
        scene.wait_until_other_is_ready(&first);
        let load = scene.clients();
        // Its last hello is still believed, or it is silent already.
        scene.fail(other(&first), How::Kill).unwrap();
        let why = scene.refused(&first, &["drain"], 1);
        assert!(
            why.contains("no other node answered within one interval") || why.contains("is silent"),
            "{why}"
        );
        assert_eq!(scene.holders().unwrap(), std::slice::from_ref(&first));
        assert_eq!(scene.status_of(&first)["drained"], Value::Null);
        let served = load.report().ok();
        wait::until("clients are served", LONG, || (load.report().ok() > served + 100).then_some(()));
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report:?}");
        // Whoever insists gets what they want.
        let report = scene.done(&first, &["drain", "--force", "--now", "--json"]);
        let outcome = format!("given up: no other node answered; {} is silent", other(&first));
        assert_eq!(report["groups"][0]["outcome"], outcome);
        wait::until("nobody holds it", LONG, || scene.holders().unwrap().is_empty().then_some(()));
        scene.done(&first, &["resume", "--json"]);
        scene.wait_until_held_by(&first, LONG).unwrap();
    });
}

/// A stop is not refused, but says what it does, when it begins and in the end.
#[test]
fn stop_while_the_other_node_is_drained_says_why_nobody_has_taken_the_address() {
    Scene::unless_starved(&options(), |scene| {
        let first = scene.holder();
        let second = other(&first);
        scene.wait_until_other_is_ready(&first);
        scene.done(second, &["drain", "--json"]);
        wait_for_problem(scene, &first, &format!("{second} is drained for "));
        let report = scene.done(&first, &["stop", "--json"]);
        let why = format!("{second} can't hold it (drained by root)");
        assert_eq!(report["groups"][0]["outcome"], format!("given up: no other node answered; {why}"));
        assert_eq!(scene.holders().unwrap(), Vec::<String>::new());
        let log = scene.log(&first, "lbctl").unwrap();
        let warned = log.lines().find(|line| line.contains("nobody is known that could take it over"));
        assert!(warned.is_some_and(|line| line.contains("WARN") && line.contains(&why)), "{log}");
        scene.done(second, &["resume", "--json"]);
        scene.wait_until_held_by(second, LONG).unwrap();
    });
}

#[test]
fn reload_and_upgrade_in_the_middle_of_a_drain_wait_or_are_refused_and_what_is_left_is_cut() {
    Scene::unless_starved(&options(), |scene| {
        let first = scene.holder();
        scene.wait_until_other_is_ready(&first);
        // Half a request keeps the drain waiting for all of its time.
        let hold =
            "exec 3<>/dev/tcp/198.51.100.10/80; printf 'GET / HTTP/1.1\\r\\nHost' >&3; cat <&3; echo over";
        let _held = scene.spawn("client", "held", ["bash", "-c", hold]).unwrap();
        wait::until("it is connected", LONG, || {
            let status = scene.status_of(&first);
            (status["frontends"][0]["connections"].as_u64() > Some(0)).then_some(())
        });
        let _draining =
            scene.spawn(&first, "drain", [lb_tests::program::lbctl().as_str(), "drain", "--json"]).unwrap();
        wait::until("it drains", LONG, || {
            scene.log(&first, "lbctl").unwrap().contains("draining this node").then_some(())
        });
        let why = scene.refused(&first, &["upgrade"], 1);
        assert!(why.contains("a drain is under way"), "{why}");
        let why = scene.refused(&first, &["drain"], 1);
        assert!(why.contains("a drain is under way"), "{why}");
        scene.done(&first, &["reload", "--json"]);
        let report: Value = wait::until("the verb has printed its report", LONG, || {
            serde_json::from_str(&scene.log(&first, "drain").ok()?).ok()
        });
        assert_eq!(report["cut"], 1, "{report}");
        assert_eq!(scene.status_of(&first)["drained"]["by"], "root");
        scene.wait_until_held_by(other(&first), LONG).unwrap();
    });
}

#[test]
fn drain_that_is_under_way_is_shown_and_can_be_called_off() {
    let file = slower("1s").replacen("[global]\n", "[global]\ndrain_timeout = \"1h\"\n", 1);
    Scene::unless_starved(&Options::default().configuration(&file), |scene| {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let hold =
            "exec 3<>/dev/tcp/198.51.100.10/80; printf 'GET / HTTP/1.1\\r\\nHost' >&3; cat <&3; echo over";
        let _held = scene.spawn("client", "held", ["bash", "-c", hold]).unwrap();
        wait::until("it is connected", LONG, || {
            let status = scene.status_of(&holder);
            (status["frontends"][0]["connections"].as_u64() > Some(0)).then_some(())
        });
        let lbctl = lb_tests::program::lbctl();
        for verb in ["drain", "switchover"] {
            let asked = scene.spawn(&holder, verb, [lbctl.as_str(), verb]).unwrap();
            wait::until("it is under way", LONG, || {
                (scene.status_of(&holder)["giving"]["what"] == verb).then_some(())
            });
            let (_, screen, _) = scene.verb(&holder, &["status"]);
            let screen = screen.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(screen.contains(&format!("a {verb} by root is under way for ")), "{screen}");
            assert!(screen.contains("to call it off: lbctl resume"), "{screen}");
            let report = scene.done(&holder, &["resume", "--json"]);
            assert_eq!(report["called_off"]["what"], verb, "{report}");
            wait::until("the verb says so", LONG, || {
                scene.log(&holder, verb).ok()?.contains("resume by root").then_some(())
            });
            drop(asked);
            let status = scene.status_of(&holder);
            assert_eq!((&status["giving"], &status["drained"]), (&Value::Null, &Value::Null));
            assert_eq!(scene.holders().unwrap(), [holder.as_str()]);
            assert_eq!(own(&status)["ready"], "yes");
        }
    });
}

/// The lab's file with this limit of a drain, and with patience for half a request.
fn patient(limit: &str) -> String {
    let file = slower("1s").replacen("[global]\n", &format!("[global]\ndrain_timeout = \"{limit}\"\n"), 1);
    file.replacen("[listen.web]\n", "[listen.web]\ntimeout = { http_request = \"1h\" }\n", 1)
}

/// Half a request on a connection, which whoever drains waits for.
fn hold<'scene>(scene: &'scene Scene, holder: &str, name: &str) -> lbctl::lab::Spawned<'scene> {
    let hold = "exec 3<>/dev/tcp/198.51.100.10/80; printf 'GET / HTTP/1.1\\r\\nHost' >&3; cat <&3; echo over";
    let before = scene.status_of(holder)["frontends"][0]["connections"].as_u64().unwrap();
    let held = scene.spawn("client", name, ["bash", "-c", hold]).unwrap();
    wait::until("it is connected", LONG, || {
        (scene.status_of(holder)["frontends"][0]["connections"].as_u64() > Some(before)).then_some(())
    });
    held
}

/// A verb that waits.
fn ask<'scene>(scene: &'scene Scene, node: &str, verb: &str, what: &str) -> lbctl::lab::Spawned<'scene> {
    let lbctl = lb_tests::program::lbctl();
    let asked = scene.spawn(node, what, [lbctl.as_str(), verb, "--json"]).unwrap();
    wait::until("it is under way", LONG, || (scene.status_of(node)["giving"]["what"] == verb).then_some(()));
    asked
}

#[test]
fn drain_that_was_called_off_has_no_end_any_more_and_a_stop_goes_before_one() {
    Scene::unless_starved(&Options::default().configuration(&patient("3s")), |scene| {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let _held = hold(scene, &holder, "held");
        let load = scene.clients();
        let first = ask(scene, &holder, "drain", "first");
        let begun = Instant::now();
        scene.done(&holder, &["resume", "--json"]);
        assert_eq!(first.wait().unwrap().code, Some(1));
        for node in [&holder, other(&holder)] {
            scene.write_file(node, "/run/lab.toml", &patient("1h")).unwrap();
            scene.done(node, &["reload", "--json"]);
        }
        let second = ask(scene, &holder, "drain", "second");
        // Beyond the end of the first one: nobody is turned away, and the second one waits on.
        let served = load.report().ok();
        wait::until("clients are served until then", LONG, || {
            (begun.elapsed() > Duration::from_secs(4) && load.report().ok() > served + 100).then_some(())
        });
        assert_eq!(scene.status_of(&holder)["giving"]["what"], "drain");
        assert_eq!(scene.holders().unwrap(), [holder.as_str()]);
        let report = scene.done(&holder, &["stop", "--now", "--json"]);
        assert_eq!(report["groups"][0]["outcome"], "another node has taken it", "{report}");
        assert!(report["cut"].as_u64() >= Some(1), "{report}");
        assert_eq!(second.wait().unwrap().code, Some(1));
        let said = scene.log(&holder, "second").unwrap();
        assert!(said.contains("lbctl is about to stop"), "{said}");
        scene.wait_until_held_by(other(&holder), LONG).unwrap();
        scene.wait_for_answer();
    });
}

#[test]
fn fault_in_the_middle_is_told_and_no_success_of_a_switchover() {
    for verb in ["drain", "switchover"] {
        Scene::unless_starved(&Options::default().configuration(&patient("1h")), |scene| {
            let holder = scene.holder();
            scene.wait_until_other_is_ready(&holder);
            let _held = hold(scene, &holder, "held");
            let asked = ask(scene, &holder, verb, "asked");
            scene.fail(&holder, How::Cable).unwrap();
            scene.wait_until_held_by(other(&holder), LONG).unwrap();
            // Who waited for exchanges waits for those that are left, none, or for the limit.
            let ended = asked.wait().unwrap();
            let said = scene.log(&holder, "asked").unwrap();
            assert!(said.contains("no carrier") || said.contains("is down"), "{said}");
            assert_eq!(ended.code, Some(if verb == "drain" { 0 } else { 1 }), "{said}");
            if verb == "drain" {
                assert_eq!(scene.status_of(&holder)["drained"]["by"], "root");
                scene.done(&holder, &["resume", "--json"]);
            }
            scene.heal(&holder).unwrap();
            scene.wait_until_other_is_ready(other(&holder));
        });
    }
}
