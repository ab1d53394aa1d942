//! Two real daemons in the lab: what `lbctl status` says on both, what `lbctl stop` does, and what the hello tells.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    thread,
    time::{Duration, Instant},
};

use lbctl::lab::{CONFIGURATION, How, Lab, LoadOptions, Options};
use serde_json::Value;

const LBCTL: &str = env!("CARGO_BIN_EXE_lbctl");

/// Nothing here takes longer on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options::default().program(LBCTL)
}

fn pair() -> Lab {
    let lab = Lab::up(&options()).unwrap();
    lab.wait_until_all_ready().unwrap();
    lab
}

/// Exit code and screen of `lbctl status` on `node`.
fn screen(lab: &Lab, node: &str) -> String {
    lab.exec(node, [LBCTL, "status"]).unwrap().stdout
}

fn json(lab: &Lab, node: &str) -> Value {
    let output = lab.exec(node, [LBCTL, "status", "--json"]).unwrap();
    serde_json::from_str(&output.stdout).unwrap_or(Value::Null)
}

#[track_caller]
fn wait_until(lab: &Lab, node: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = json(lab, node);
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}\n{status:#}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn problems(status: &Value) -> Vec<String> {
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    problems.iter().filter_map(|problem| problem["what"].as_str().map(str::to_owned)).collect()
}

fn other(node: &str) -> &'static str {
    if node == "lb1" { "lb2" } else { "lb1" }
}

#[test]
fn status_of_either_node_tells_of_both() {
    let lab = pair();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    let backup = other(&holder);
    for node in ["lb1", "lb2"] {
        let status = wait_until(&lab, node, "healthy", |status| {
            status["groups"][0]["nodes"][1]["ready"] == "yes"
                && status["groups"][0]["holders"] == serde_json::json!([holder])
                && status["problems"] == serde_json::json!([])
        });
        let group = &status["groups"][0];
        assert_eq!(group["nodes"][0]["name"], node);
        assert_eq!(group["nodes"][1]["name"], other(node));
        let states: Vec<&str> =
            group["nodes"].as_array().unwrap().iter().filter_map(|n| n["state"].as_str()).collect();
        assert_eq!(states, if node == holder { ["Active", "Backup"] } else { ["Backup", "Active"] });
        let installed =
            if node == holder { serde_json::json!(["198.51.100.10"]) } else { serde_json::json!([]) };
        assert_eq!(group["vips"][0]["installed"], installed);
        assert_eq!(status["peers"][0]["hash"], status["file"]["hash"]);
        let screen = screen(&lab, node);
        assert!(screen.starts_with(&format!("{node} · lbctl ")), "{screen}");
        assert!(screen.contains(&format!("same on {} · no problems", other(node))), "{screen}");
        assert!(screen.contains("yes, could take over now"), "{screen}");
        assert!(screen.contains("eth0, vrid 51, every 100 ms"), "{screen}");
    }
    lab.fail(backup, How::Kill).unwrap();
    let what = format!("{backup} is silent");
    wait_until(&lab, &holder, &what, |status| problems(status) == [what.as_str()]);
    let screen = screen(&lab, &holder);
    assert!(screen.contains("silent for ") && screen.contains(&format!("! {what} for ")), "{screen}");
    assert_eq!(lab.wait_for_holder(PATIENCE).unwrap(), holder, "silence moves nothing");
}

#[test]
fn the_survivor_names_a_silent_active_as_soon_as_it_holds_the_address() {
    let lab = pair();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    let survivor = other(&holder);
    lab.fail(&holder, How::Cable).unwrap();
    let status = wait_until(&lab, survivor, "it holds the address", |status| {
        status["groups"][0]["vips"][0]["installed"] == serde_json::json!(["198.51.100.10"])
    });
    // Not after the 2.75 s of the hello: the first status of an owner says it.
    assert_eq!(problems(&status), [format!("{holder} is silent")], "{status:#}");
    let look_at = status["problems"][0]["look_at"].as_str().unwrap();
    assert!(look_at.starts_with("it held the address and stopped advertising"), "{look_at}");
    assert!(screen(&lab, survivor).contains(&format!("{survivor}'s last move: Active +")));
    lab.heal(&holder).unwrap();
    wait_until(&lab, survivor, "no problems", |status| problems(status) == Vec::<String>::new());
}

#[test]
fn a_network_that_drops_advertisements_and_lets_the_hello_pass_is_named_on_both_nodes() {
    let lab = pair();
    lab.set_multicast(false).unwrap();
    for node in ["lb1", "lb2"] {
        let what = format!("{node} and {} both hold web", other(node));
        // For the first moments the last advertisement is young enough to have been heard.
        let status = wait_until(&lab, node, &what, |status| {
            let look_at = status["problems"][0]["look_at"].as_str().unwrap_or_default();
            problems(status) == [what.as_str()]
                && look_at.contains("IP protocol 112 to 224.0.0.18 is filtered between them")
        });
        assert_eq!(status["peers"][0]["silent"], false, "the hello passes");
        assert_eq!(lab.exec(node, [LBCTL, "status"]).unwrap().ended.code, Some(2));
    }
    lab.set_multicast(true).unwrap();
    for node in ["lb1", "lb2"] {
        wait_until(&lab, node, "one holder again", |status| {
            status["groups"][0]["holders"].as_array().is_some_and(|holders| holders.len() == 1)
                && problems(status) == Vec::<String>::new()
        });
    }
}

#[test]
fn stop_gives_the_address_away_and_says_so_on_both_nodes() {
    // The answer of the other node is waited for as long as one interval: a busy machine has a whole second.
    let slower = CONFIGURATION.replacen("[vip.web]\n", "[vip.web]\nadvertisement_interval = \"1s\"\n", 1);
    let lab = Lab::up(&options().configuration(&slower)).unwrap();
    lab.wait_until_all_ready().unwrap();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    let backup = other(&holder);
    let stopped = lab.exec(&holder, [LBCTL, "stop"]).unwrap();
    assert!(stopped.success(), "{}", stopped.stderr);
    assert!(stopped.stdout.contains("default: another node has taken it"), "{}", stopped.stdout);
    lab.wait_until_held_by(backup, PATIENCE).unwrap();
    let what = format!("{holder} is stopped");
    let status = wait_until(&lab, backup, &what, |status| problems(status) == [what.as_str()]);
    assert_eq!(status["groups"][0]["holders"], serde_json::json!([backup]));
    let why = status["groups"][0]["why"].as_str().unwrap();
    assert!(why.contains("is leaving"), "{why}");
    let gone = lab.exec(&holder, [LBCTL, "status"]).unwrap();
    assert!(gone.stderr.contains("lbctl is not running here"), "{}", gone.stderr);
    let log = lab.log(&holder, "lbctl").unwrap();
    assert!(log.contains("stopped cut=0"), "{log}");
}

#[test]
fn a_stop_that_nobody_answers_gives_the_address_up() {
    let lab = Lab::up(&options().without_daemon("lb2")).unwrap();
    // The daemon knows of it a moment after the kernel.
    wait_until(&lab, "lb1", "it holds the address", |status| {
        status["groups"][0]["holders"] == serde_json::json!(["lb1"])
    });
    let stopped = lab.exec("lb1", [LBCTL, "stop"]).unwrap();
    assert!(stopped.success(), "{}", stopped.stderr);
    assert!(stopped.stdout.contains("default: given up: no other node answered"), "{}", stopped.stdout);
    assert_eq!(lab.holders().unwrap(), Vec::<String>::new());
}

/// The other node does not run, and then it is drained: each time the holder knows, and keeps what it holds.
#[test]
fn switchover_and_drain_are_refused_where_the_other_node_is_not_ready() {
    // A busy machine is no reason to give the addresses away here.
    let patient = CONFIGURATION.replacen("[global]\n", "[global]\nstall_timeout = \"10s\"\n", 1);
    let lab = Lab::up(&options().configuration(&patient).without_daemon("lb2")).unwrap();
    wait_until(&lab, "lb1", "it holds the address", |status| {
        status["groups"][0]["holders"] == serde_json::json!(["lb1"])
    });
    let refused = |why: &str| {
        for verb in ["switchover", "drain"] {
            let said = lab.exec("lb1", [LBCTL, verb]).unwrap();
            let expected = format!("nobody is known that could take over group default: {why}");
            assert!(
                !said.success() && said.stderr.contains(&expected),
                "{verb}: {}{}",
                said.stdout,
                said.stderr
            );
        }
        assert_eq!(lab.holders().unwrap(), ["lb1"]);
    };
    wait_until(&lab, "lb1", "it misses the other node", |status| status["peers"][0]["silent"] == true);
    refused("lb2 is silent");
    lab.start("lb2").unwrap();
    lab.wait_until_all_ready().unwrap();
    let drained = lab.exec("lb2", [LBCTL, "drain"]).unwrap();
    assert!(drained.success(), "{}", drained.stderr);
    wait_until(&lab, "lb1", "it has heard of that", |status| {
        let nodes = status["groups"][0]["nodes"].as_array().unwrap();
        nodes.iter().any(|node| node["name"] == "lb2" && node["state"] == "Initialize")
    });
    refused("lb2 can't hold it (drained by root)");
}

#[test]
fn files_that_differ_are_a_problem_on_both_nodes() {
    let changed = format!("{CONFIGURATION}\n# one line more\n");
    let lab = Lab::up(&options().configuration_of("lb2", &changed)).unwrap();
    lab.wait_until_all_ready().unwrap();
    for node in ["lb1", "lb2"] {
        let what = format!("the file differs on {}", other(node));
        wait_until(&lab, node, &what, |status| problems(status) == [what.as_str()]);
        assert!(lab.log(node, "lbctl").unwrap().contains("the file differs"));
        assert!(screen(&lab, node).contains(&format!("differs on {}", other(node))));
    }
}

#[test]
fn a_running_node_says_that_an_address_is_outside_the_networks_of_its_interface() {
    let own = r#"addresses = ["198.51.100.10"]"#;
    let both = r#"addresses = ["198.51.100.10", "203.0.113.10"]"#;
    let lab = Lab::up(&options().configuration(&CONFIGURATION.replacen(own, both, 1))).unwrap();
    lab.wait_until_all_ready().unwrap();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    // Nodes that were started together may both have claimed, and each hears a moment later how the other took it back.
    wait_until(&lab, &holder, "both are installed, and nobody else holds them", |status| {
        status["groups"][0]["vips"][0]["installed"] == serde_json::json!(["198.51.100.10", "203.0.113.10"])
            && status["groups"][0]["holders"] == serde_json::json!([holder])
    });
    for node in ["lb1", "lb2"] {
        let log = lab.log(node, "lbctl").unwrap();
        let warning = "203.0.113.10 of [vip.web] is in none of the networks of eth0; the router in front must know the way";
        assert_eq!(log.matches(warning).count(), 1, "{log}");
        assert!(!log.contains("198.51.100.10 of [vip.web] is in none"), "{log}");
    }
}

#[test]
fn nodes_with_different_intervals_say_so_and_the_backup_goes_by_the_actives() {
    let slower = CONFIGURATION.replacen("[vip.web]\n", "[vip.web]\nadvertisement_interval = \"300ms\"\n", 1);
    assert_ne!(slower, CONFIGURATION);
    let lab = Lab::up(&options().configuration_of("lb1", &slower).without_daemon("lb2")).unwrap();
    lab.wait_until_held_by("lb1", PATIENCE).unwrap();
    lab.start("lb2").unwrap();
    lab.wait_until_all_ready().unwrap();
    // At its own 100 ms the Backup would have taken the address between two advertisements of the Active.
    let said = |status: &Value| status["groups"][0]["counters"]["interval_mismatch"].as_u64() >= Some(5);
    let status = wait_until(&lab, "lb2", "counted", said);
    assert_eq!(status["groups"][0]["holders"], serde_json::json!(["lb1"]), "{status:#}");
    let log = lab.log("lb2", "lbctl").unwrap();
    assert!(log.contains("advertises every 300 ms, we every 100 ms"), "{log}");
    lab.fail("lb1", How::Kill).unwrap();
    lab.wait_until_held_by("lb2", PATIENCE).unwrap();
}

#[test]
fn forged_hellos_are_counted_and_move_nothing() {
    let lab = pair();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    let own = if holder == "lb1" { "198.51.100.11" } else { "198.51.100.12" };
    // From the other node's own address, but with the TTL of an ordinary datagram.
    let send = format!("echo 'LBH' > /dev/udp/{own}/3112; head -c 4000 /dev/urandom > /dev/udp/{own}/3112");
    for node in [other(&holder), "client"] {
        lab.exec(node, ["bash", "-c", &send]).unwrap();
    }
    // What a busy machine does to the hello of the other node is a problem as well, but one that passes; and so is what nodes
    // that were started together say of who holds the address.
    wait_until(&lab, &holder, "counted, no problem, and nobody else holds it", |status| {
        status["counters"]["hello_ttl"].as_u64() >= Some(2)
            && problems(status) == Vec::<String>::new()
            && status["groups"][0]["holders"] == serde_json::json!([holder])
    });
}

#[test]
fn a_planned_stop_under_load_costs_no_client_more_than_one_request() {
    let lab = pair();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    let clients = 20;
    let load = lab.load(&LoadOptions { patience: 10_000, ..LoadOptions::default() }).unwrap();
    let answers = |count: usize| {
        let end = Instant::now() + PATIENCE;
        while load.report().ok() < count {
            assert!(Instant::now() < end, "{:?}", load.report().failures());
            thread::sleep(Duration::from_millis(10));
        }
    };
    answers(200);
    let stopped = lab.exec(&holder, [LBCTL, "stop"]).unwrap();
    assert!(stopped.success(), "{}", stopped.stderr);
    answers(load.report().ok() + 200);
    let report = load.stop().unwrap();
    assert!(report.failed() <= clients, "{:?}", report.failures());
    // An exchange is cut only where a busy machine takes longer for it than newcomers are kept waiting.
    let (_, cut) = stopped.stdout.lines().next().unwrap().rsplit_once(", ").unwrap();
    let cut: usize = cut.split(' ').next().unwrap().parse().unwrap_or(0);
    assert!(cut <= clients, "{}", stopped.stdout);
}

#[test]
fn transitions_are_objects_in_the_own_log_and_in_that_of_the_process() {
    let global =
        "[global]\nlog = { file = \"/run/log/events.log\", format = \"raw\" }\nlog_event_format = \"json\"\n";
    let lab = Lab::up(&options().configuration(&CONFIGURATION.replacen("[global]\n", global, 1))).unwrap();
    lab.wait_until_all_ready().unwrap();
    let holder = lab.wait_for_holder(PATIENCE).unwrap();
    let objects = |name: &str| -> Vec<Value> {
        lab.log(&holder, name).unwrap().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    };
    let end = Instant::now() + PATIENCE;
    let (event, own) = loop {
        let of = |name: &str, key: &str| {
            objects(name).into_iter().find(|line| line[key] == "transition" && line["to"] == "Active")
        };
        if let (Some(event), Some(own)) = (of("events", "event"), of("lbctl", "message")) {
            break (event, own);
        }
        assert!(Instant::now() < end, "no transition: {:?}", lab.log(&holder, "events"));
        thread::sleep(Duration::from_millis(50));
    };
    for line in [&event, &own] {
        assert_eq!(line["source"], "vrrp", "{line}");
        assert_eq!(line["node"], *holder, "{line}");
        assert_eq!((&line["group"], &line["vips"]), (&"default".into(), &"web".into()), "{line}");
        assert_eq!((&line["from"], &line["reason"]), (&"Backup".into(), &event["reason"]), "{line}");
    }
    let message = event["message"].as_str().unwrap();
    assert!(message.starts_with("VRRP group default (web) is Active, was Backup: "), "{message}");
    assert_eq!(event["level"], "notice");
    assert!(event["us"]["changed"].is_u64(), "{event}");
    assert!(own["changed"].as_str().is_some_and(|after| after.starts_with('+')), "{own}");
}
