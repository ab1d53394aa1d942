//! A keepalived that is no part of the pair and uses its vrid: whatever it speaks, that has a name in log, status, metrics and counters, and
//! no node stops.

use lb_tests::keepalived;
use lbctl::lab::CONFIGURATION;
use serde_json::Value;

use super::*;

/// Where the stranger is, and its address.
const PLACE: &str = "client";
const STRANGER: &str = "198.51.100.100";

/// What it speaks, and what our pair does.
struct Case {
    /// Lines of `global_defs` and of the instance.
    version: u8,
    instance: &'static str,
    /// Lines of `[vip.web]`.
    ours: &'static str,
    /// The alarm's reason begins with `198.51.100.100 uses vrid 51 of web too` and goes on so.
    why: &'static str,
    /// A line of the log has it.
    log: &'static str,
    /// Of the group, which counts.
    counter: &'static str,
}

/// What it wants.
const OTHER: &str = "198.51.100.99";

const CASES: [(&str, Case); 3] = [
    (
        "version 2",
        Case {
            version: 2,
            instance: "priority 100\n advert_int 1",
            ours: "",
            why: ": version 2 is not what this virtual router speaks",
            log: "a packet from 198.51.100.100 was dropped: version 2",
            counter: "reject_version",
        },
    ),
    (
        "version 3, other addresses",
        Case {
            version: 3,
            instance: "priority 100\n advert_int 1",
            ours: "",
            why: ", for other addresses, with priority 100",
            log: "198.51.100.100 uses vrid 51 for other addresses, with priority 100",
            counter: "foreign_cluster",
        },
    ),
    (
        "version 2, another password",
        Case {
            version: 2,
            instance: "priority 100\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass other\n }",
            ours: "version = 2\npassword = \"secret\"",
            why: ": the password is not ours",
            log: "a packet from 198.51.100.100 was dropped: the password",
            counter: "reject_password",
        },
    ),
];

#[test]
fn keepalived_of_another_cluster_on_our_vrid_is_named_in_log_status_metrics_and_counters() {
    for (name, case) in CASES {
        let vip = CONFIGURATION.replacen("[vip.web]\n", &format!("[vip.web]\n{}\n", case.ours), 1);
        let file = format!("{vip}\n[statistics]\nbind = \"*:8404\"\npublic = true\n");
        let scene = Scene::ready(&Options::default().configuration(&file));
        let holder = scene.holder();
        let before = scene.record().unwrap().len();
        let text = format!(
            "global_defs {{\n vrrp_version {}\n}}\nvrrp_instance a {{\n interface eth0\n virtual_router_id 51\n {}\n \
             virtual_ipaddress {{\n {}/32\n }}\n}}\n",
            case.version, case.instance, OTHER
        );
        let running = keepalived::run(&scene, PLACE, &text);
        for node in ["lb1", "lb2"] {
            let what = format!("{STRANGER} uses vrid 51 of web too");
            let status = wait::until(&format!("{name}: the alarm is on at {node}"), LONG, || {
                let status = scene.status_of(node);
                alarm(&status).is_some().then_some(status)
            });
            let why = alarm(&status).unwrap()["why"].as_str().unwrap().to_owned();
            assert!(why.starts_with(&format!("{what}{}", case.why)), "{name}: {why}");
            let problems = status["problems"].as_array().unwrap();
            assert!(problems.iter().any(|one| one["what"] == what), "{name}: {problems:#?}");
            let counted = status["groups"][0]["counters"][case.counter].as_u64();
            assert!(counted >= Some(1), "{name}: {} is {counted:?}", case.counter);
            let log = scene.log(node, "lbctl").unwrap();
            assert!(log.contains(case.log), "{name}: {log}");
            assert!(
                log.contains("alarm=\"foreign_cluster\"") || log.contains("alarm=foreign_cluster"),
                "{name}: {log}"
            );
            let last = if node == "lb1" { 11 } else { 12 };
            let sample = "lbctl_alarm{alarm=\"foreign_cluster\",group=\"default\"} 1";
            wait::until(&format!("{name}: {sample} at {node}"), LONG, || {
                let page = scene.shell(
                    "lb1",
                    &format!("curl -s --max-time 5 http://198.51.100.{last}:8404/metrics || true"),
                );
                page.lines().any(|line| line == sample).then_some(())
            });
        }
        assert_eq!(
            scene.holders().unwrap(),
            [holder.as_str()],
            "{name}: a stranger keeps nobody from serving"
        );
        assert_eq!(order::claims(&scene, before), 0, "{name}: and moves nothing");
        running.signal(Signal::SIGTERM).unwrap();
        running.wait().unwrap();
        wait::until(&format!("{name}: the alarm is off"), LONG, || {
            alarm(&scene.status_of("lb1")).is_none().then_some(())
        });
    }
}

fn alarm(status: &Value) -> Option<&Value> {
    status["alarms"].as_array()?.iter().find(|one| one["name"] == "foreign_cluster")
}
