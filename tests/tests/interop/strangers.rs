//! A keepalived that is no part of the pair and uses its vrid: whatever it speaks, that has a name in log, status, metrics and counters, and
//! no node stops.

use lb_tests::keepalived;
use lbctl::lab::{BALANCERS, CONFIGURATION};
use serde_json::Value;

use super::*;

/// Where the stranger is, and its address.
const PLACE: &str = "client";
const STRANGER: &str = "198.51.100.100";

/// What it speaks, and what our pair does.
struct Case {
    version: u8,
    /// Lines of the instance.
    instance: &'static str,
    wants: &'static str,
    /// Lines of `[vip.web]`.
    ours: &'static str,
    /// The alarm's reason begins with `198.51.100.100 uses vrid 51 of web too` and goes on so.
    why: &'static str,
    /// A line of the log has it.
    log: &'static str,
    /// Of the group, which counts what the stranger sends to the holder.
    counter: &'static str,
}

/// An address of nobody's.
const OTHER: &str = "198.51.100.99";

/// keepalived 2.2.7 that holds its addresses sends its next advertisement an interval after the last one that it has heard, of whatever kind:
/// beside a pair that sends ten a second it is all but silent.
const SLOWLY: &str = "advertisement_interval = \"2s\"";

/// It sends so many more while it is an alarm.
const MORE: u64 = 5;

#[test]
fn keepalived_of_version_2_on_our_vrid_is_named_everywhere_as_long_as_it_is_heard() {
    is_named(&Case {
        version: 2,
        instance: "priority 100\n advert_int 1",
        wants: OTHER,
        ours: SLOWLY,
        why: ": version 2 is not what this virtual router speaks",
        log: "a packet from 198.51.100.100 was dropped: version 2",
        counter: "reject_version",
    });
}

#[test]
fn keepalived_with_other_addresses_on_our_vrid_is_named_everywhere_as_long_as_it_is_heard() {
    is_named(&Case {
        version: 3,
        instance: "priority 100\n advert_int 1",
        wants: OTHER,
        ours: SLOWLY,
        why: ", for other addresses, with priority 100",
        log: "198.51.100.100 uses vrid 51 for other addresses, with priority 100",
        counter: "foreign_cluster",
    });
}

#[test]
fn keepalived_with_another_password_on_our_vrid_is_named_everywhere_as_long_as_it_is_heard() {
    is_named(&Case {
        version: 2,
        instance: "priority 100\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass other\n }",
        wants: OTHER,
        // What it sends is dropped for its password, before its interval is looked at.
        ours: "version = 2\npassword = \"secret\"\nadvertisement_interval = \"2s\"",
        why: ": the password is not ours",
        log: "a packet from 198.51.100.100 was dropped: the password",
        counter: "reject_password",
    });
}

/// It does not take our checksums (RFC 9568's form), so it takes the address, and speaks. The standby hears the holder far more often.
#[test]
fn keepalived_with_our_very_addresses_on_our_vrid_is_named_everywhere_as_long_as_it_is_heard() {
    is_named(&Case {
        version: 3,
        instance: "priority 100\n advert_int 1",
        wants: "198.51.100.10",
        ours: SLOWLY,
        why: ", for the same addresses, with priority 100",
        log: "198.51.100.100 speaks for vrid 51 too, with priority 100; it is no node of this file",
        counter: "advertisements_received",
    });
}

fn is_named(case: &Case) {
    let vip = CONFIGURATION.replacen("[vip.web]\n", &format!("[vip.web]\n{}\n", case.ours), 1);
    // A busy machine is no reason to give the addresses away here.
    let vip = vip.replacen("[global]\n", "[global]\nstall_timeout = \"10s\"\n", 1);
    let file = format!("{vip}\n[statistics]\nbind = \"*:8404\"\npublic = true\n");
    Scene::unless_starved(&Options::default().configuration(&file), |scene| is_named_in(scene, case));
}

fn is_named_in(scene: &Scene, case: &Case) {
    let holder = scene.holder();
    let before = scene.record().unwrap().len();
    let text = format!(
        "global_defs {{\n vrrp_version {}\n}}\nvrrp_instance a {{\n interface eth0\n virtual_router_id 51\n {}\n \
         virtual_ipaddress {{\n {}/32\n }}\n}}\n",
        case.version, case.instance, case.wants
    );
    let running = keepalived::run(scene, PLACE, &text);
    for node in BALANCERS {
        is_alarm_of(scene, node, case);
    }
    let counted = || scene.status_of(&holder)["groups"][0]["counters"][case.counter].as_u64().unwrap_or(0);
    let first = counted();
    wait::until("it has sent more", LONG, || (counted() >= first + MORE).then_some(()));
    for node in BALANCERS {
        is_alarm_of(scene, node, case);
    }
    assert!(scene.has_vip(&holder), "a stranger keeps nobody from serving");
    let of_nodes = scene.record_since(before).unwrap();
    let of_nodes: Vec<_> = of_nodes.iter().filter(|event| BALANCERS.contains(&event.node.as_str())).collect();
    assert!(of_nodes.is_empty(), "and moves nothing: {of_nodes:?}");
    running.signal(Signal::SIGTERM).unwrap();
    running.wait().unwrap();
    for node in BALANCERS {
        wait::until("the alarm is off", LONG, || alarm(&scene.status_of(node)).is_none().then_some(()));
        let turns = turns(scene, node);
        let ends = (turns.first().map(String::as_str), turns.last().map(String::as_str));
        assert_eq!(ends, (Some("on"), Some("off")), "{node}: {turns:?}");
    }
}

/// In status, log and metrics of that node.
#[track_caller]
fn is_alarm_of(scene: &Scene, node: &str, case: &Case) {
    let what = format!("{STRANGER} uses vrid 51 of web too");
    // An alarm outlives its cause for a while, a problem does not.
    let status = wait::until(&format!("the alarm is on at {node}"), LONG, || {
        let status = scene.status_of(node);
        let mut problems = status["problems"].as_array()?.iter();
        (problems.any(|one| one["what"] == what) && alarm(&status).is_some()).then_some(status)
    });
    let why = alarm(&status).unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with(&format!("{what}{}", case.why)), "{why}");
    assert_eq!(status["groups"][0]["vips"][0]["routers"][0]["foreign"], STRANGER, "{status}");
    let counted = status["groups"][0]["counters"][case.counter].as_u64();
    assert!(counted >= Some(1), "{} is {counted:?}", case.counter);
    let log = scene.log(node, "lbctl").unwrap();
    assert!(log.contains(case.log), "{log}");
    assert!(log.contains("alarm=\"foreign_cluster\"") || log.contains("alarm=foreign_cluster"), "{log}");
    let last = if node == "lb1" { 11 } else { 12 };
    for sample in [
        "lbctl_alarm{alarm=\"foreign_cluster\",group=\"default\"} 1",
        "lbctl_vip_foreign_cluster{group=\"default\",vip=\"web\",family=\"ipv4\"} 1",
    ] {
        wait::until(&format!("{sample} at {node}"), LONG, || {
            let page = scene
                .shell("lb1", &format!("curl -s --max-time 5 http://198.51.100.{last}:8404/metrics || true"));
            page.lines().any(|line| line == sample).then_some(())
        });
    }
}

/// Its events, of which each goes to whoever is told.
fn turns(scene: &Scene, node: &str) -> Vec<String> {
    let (_, said, _) = scene.verb(node, &["events", "--json"]);
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = events.filter(|event| {
        event["kind"] == "alarm" && event["name"] == "foreign_cluster" && event["group"] == "default"
    });
    own.map(|event| event["to"].as_str().unwrap_or_default().to_owned()).collect()
}

fn alarm(status: &Value) -> Option<&Value> {
    status["alarms"].as_array()?.iter().find(|one| one["name"] == "foreign_cluster")
}
