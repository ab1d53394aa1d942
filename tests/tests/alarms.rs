//! What is wrong with the pair has one name in status, events and metrics, and that within 3 s.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::time::Duration;

use lb_tests::{
    attempts::{in_time, within},
    order::other,
    scene::Scene,
    wait,
};
use lbctl::{
    control::Timestamp,
    lab::{CONFIGURATION, How, Options},
};

const LONG: Duration = Duration::from_secs(30);
/// From the cause on.
const PROMISED: Duration = Duration::from_secs(3);
const GROUP: Option<&str> = Some("default");

/// Waits until an alarm is on, or off, in status, events and metrics of a node.
#[track_caller]
fn becomes(scene: &Scene, node: &str, name: &str, group: Option<&str>, is_on: bool) {
    let (to, value) = if is_on { ("on", 1) } else { ("off", 0) };
    let last = if node == "lb1" { 11 } else { 12 };
    let sample = format!("lbctl_alarm{{alarm=\"{name}\",group=\"{}\"}} {value}", group.unwrap_or_default());
    wait::until(&format!("{name} is {to} in the status of {node}"), LONG, || {
        (since(scene, node, name, group).is_some() == is_on).then_some(())
    });
    wait::until(&format!("{name} is {to} in the metrics of {node}"), LONG, || {
        let page = scene
            .shell("client", &format!("curl -s --max-time 5 http://198.51.100.{last}:8404/metrics || true"));
        page.lines().any(|line| line == sample).then_some(())
    });
    let (_, said, _) = scene.verb(node, &["events", "--json"]);
    let mut events = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let own = |event: &serde_json::Value| {
        event["kind"] == "alarm" && event["name"] == name && event["group"].as_str() == group
    };
    let event = events.rfind(own).unwrap_or_else(|| panic!("{name} is no event of {node}: {said}"));
    assert_eq!(event["to"], to, "{said}");
}

/// Since when an alarm is on, if it is.
fn since(scene: &Scene, node: &str, name: &str, group: Option<&str>) -> Option<Timestamp> {
    let status = scene.status_of(node);
    let alarm = status["alarms"]
        .as_array()?
        .iter()
        .find(|one| one["name"] == name && one["group"].as_str() == group)?;
    Timestamp::parse(alarm["since"].as_str()?)
}

/// It goes on, and how long after `cause`.
#[track_caller]
fn goes_on(
    scene: &Scene,
    node: &str,
    name: &str,
    group: Option<&str>,
    cause: Timestamp,
) -> Result<(), String> {
    becomes(scene, node, name, group, true);
    let took = since(scene, node, name, group).unwrap().saturating_since(cause);
    println!("{name} is on after {took:?} on {node}");
    within(PROMISED, took, &format!("{name} on {node}"))
}

#[test]
fn each_alarm_of_a_pair_is_on_within_three_seconds_in_status_events_and_metrics_and_off_after_the_repair() {
    let file = format!("{CONFIGURATION}\n[statistics]\nbind = \"*:8404\"\npublic = true\n");
    in_time(|| {
        let scene = Scene::ready(&Options::default().configuration(&file));
        let holder = scene.holder();
        let standby = other(&holder);
        let both = [holder.as_str(), standby];
        for node in both {
            // One may have needed longer to start than the other waits for it.
            wait::until("no alarm is on", LONG, || {
                (scene.status_of(node)["alarms"] == serde_json::json!([])).then_some(())
            });
        }

        let cause = Timestamp::now();
        scene.write_file(standby, "/run/lab.toml", &format!("{file}# one more line\n")).unwrap();
        scene.done(standby, &["reload", "--json"]);
        for node in both {
            goes_on(&scene, node, "files_differ", None, cause)?;
        }
        scene.write_file(standby, "/run/lab.toml", &file).unwrap();
        scene.done(standby, &["reload", "--json"]);
        for node in both {
            becomes(&scene, node, "files_differ", None, false);
        }

        let cut = |hooks: &[&str]| {
            let chain = |hook: &&str| {
                format!(
                    "nft add chain inet cut {hook} '{{ type filter hook {hook} priority 0; }}'; nft add rule inet cut {hook} meta l4proto 112 drop"
                )
            };
            let chains: Vec<_> = hooks.iter().map(chain).collect();
            scene.shell(standby, &format!("nft add table inet cut; {}", chains.join("; ")));
        };
        cut(&["input", "output"]);
        wait::until("both hold the address", LONG, || (scene.holders().unwrap().len() == 2).then_some(()));
        let cause = Timestamp::now();
        for node in both {
            goes_on(&scene, node, "two_holders", GROUP, cause)?;
        }
        let status = scene.status_of(&holder);
        assert!(status["alarms"].to_string().contains("both hold 198.51.100.10"), "{status}");
        scene.shell(standby, "nft delete table inet cut");
        for node in both {
            becomes(&scene, node, "two_holders", GROUP, false);
        }

        // One that takes no part in elections does not take over from whom it does not hear.
        let (holder, standby) = (scene.holder(), other(&scene.holder()).to_owned());
        let cause = Timestamp::now();
        scene.done(&standby, &["drain", "--json"]);
        for node in [&holder, &standby] {
            goes_on(&scene, node, "no_standby", GROUP, cause)?;
        }
        let table = "nft add table inet cut; nft add chain inet cut i '{ type filter hook input priority 0; }'; nft add rule inet cut i";
        scene.shell(&standby, &format!("{table} meta l4proto 112 drop"));
        let cause = Timestamp::now();
        goes_on(&scene, &standby, "advertisements_missing", GROUP, cause)?;
        let (_, said, _) = scene.verb(&standby, &["status"]);
        let plain = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains(&format!("{holder} lives, but its advertisements do not arrive")), "{said}");
        assert!(plain.contains("no standby is ready"), "{said}");
        scene.shell(&standby, "nft delete table inet cut");
        becomes(&scene, &standby, "advertisements_missing", GROUP, false);
        scene.done(&standby, &["resume", "--json"]);
        for node in [&holder, &standby] {
            becomes(&scene, node, "no_standby", GROUP, false);
        }

        let cause = Timestamp::now();
        scene.fail(&standby, How::Kill).unwrap();
        goes_on(&scene, &holder, "no_standby", GROUP, cause)?;
        scene.heal(&standby).unwrap();
        becomes(&scene, &holder, "no_standby", GROUP, false);
        assert_eq!(scene.holders().unwrap(), [holder]);
        Ok(())
    });
}
