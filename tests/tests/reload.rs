//! Reloads of a program that real clients use: none of them notices, and no address moves.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use lb_tests::{
    order::{self, other},
    plain::{Plain, Running, unused_address, wait_until},
    program,
    scene::Scene,
    wait,
    wrk::Wrk,
};
use lbctl::lab::{BALANCERS, CONFIGURATION, Change, How, LoadOptions, Options};
use serde_json::Value;

const FILE: &str = "/run/lab.toml";
/// Beside the lab's own address.
const SECOND: &str = "198.51.100.20";

/// The lab's web server, beside the program under test.
fn web_server(folder: &std::path::Path, name: &str) -> (SocketAddr, Running) {
    let address = unused_address(8000);
    let mut command = Command::new(program::lbctl());
    command.args(["lab", "web", "--name", name, "--listen", &address.to_string()]);
    (address, Running::start(&mut command, &folder.join(name)))
}

/// Frontend, servers and limits differ from round to round; everything is there in the first again.
fn file(frontend: SocketAddr, more: SocketAddr, servers: [SocketAddr; 2], round: usize) -> String {
    let [first, second] = servers;
    let web = match round % 4 {
        0 => format!("server.web1 = \"{first}\"\nserver.web2 = \"{second}\"\n"),
        1 => format!("server.web2 = \"{second}\"\n"),
        2 => format!(
            "server.web9 = \"{second}\"\nserver.web1 = {{ address = \"{first}\", weight = 3 }}\nretries = 1\n"
        ),
        _ => format!("balance = \"leastconn\"\nserver.web1 = {{ address = \"{first}\", maxconn = 50 }}\n"),
    };
    let more = match round % 3 {
        0 => String::new(),
        _ => format!("[listen.more]\nbind = \"{more}\"\nservers = [\"{first}\"]\n"),
    };
    format!(
        "[global]\nthreads = 2\n[frontend.web]\nbind = \"{frontend}\"\nmaxconn = {}\ndefault_backend = \"app\"\n\
         [backend.app]\ncheck = {{ interval = \"200ms\", timeout = \"2s\" }}\n{web}{more}",
        1000 + round % 5
    )
}

#[test]
fn clients_with_and_without_keep_alive_see_no_error_through_fifty_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _first) = web_server(folder.path(), "web1");
    let (second, _second) = web_server(folder.path(), "web2");
    let (frontend, more) = (unused_address(8000), unused_address(8000));
    let file = |round| file(frontend, more, [first, second], round);
    let plain = Plain::start(&file(0));
    let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", plain.id())).unwrap().count();
    let status = || -> Value { serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap() };
    let served = || status()["frontends"][0]["requests_total"].as_u64().unwrap();
    wait_until(
        "both servers are up",
        || plain.log(),
        || {
            let status = status();
            let servers = status["backends"][0]["servers"].as_array().unwrap();
            servers.iter().all(|server| server["state"] == "up")
        },
    );
    plain.reload(&file(0));
    let (descriptors, threads) = (count("fd"), count("task"));

    let kept = Wrk::start(folder.path(), "kept", frontend, 100, &[]);
    let closing = Wrk::start(folder.path(), "closing", frontend, 100, &["Connection: close"]);
    wait_until("clients are served", || plain.log(), || served() > 1000);
    for round in 1..=50 {
        let before = served();
        plain.reload(&file(round));
        // Each generation has its share of the load.
        wait_until("clients are served", || plain.log(), || served() > before + 200);
    }
    let answered = [kept.stop(), closing.stop()];
    println!("{answered:?} requests through 50 reloads");
    assert!(answered.iter().all(|requests| *requests > 1000), "{answered:?}");
    // wrk counts what it has read to the end; 200 may be on their way when it stops.
    let total = served();
    let sum: u64 = answered.iter().sum();
    assert!((sum..=sum + 200).contains(&total), "the counters go on over all generations: {total}, {sum}");
    assert_eq!(status()["file"]["generation"], 52);

    plain.reload(&file(0));
    wait_until("no old generation", || plain.log(), || status()["file"]["old_generations"] == 0);
    let context =
        || format!("{} and {} before, {} and {} now", descriptors, threads, count("fd"), count("task"));
    // Idle upstream connections are there for the next burst, at most one for each exchange that was in flight.
    wait_until("descriptors as before", context, || count("fd") <= descriptors + 220);
    wait_until("threads as before", context, || count("task") <= threads + 2);
}

/// `lbctl VERB` on a node.
fn verb(scene: &Scene, node: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let lbctl = program::lbctl();
    let output = scene.exec(node, [lbctl.as_str()].into_iter().chain(words.iter().copied())).unwrap();
    (output.ended.code, output.stdout, output.stderr)
}

#[track_caller]
fn reload(scene: &Scene, node: &str, text: &str) -> String {
    scene.write_file(node, FILE, text).unwrap();
    let (code, said, errors) = verb(scene, node, &["reload"]);
    assert_eq!(code, Some(0), "{errors}");
    said
}

fn status(scene: &Scene, node: &str) -> Value {
    serde_json::from_str(&verb(scene, node, &["status", "--json"]).1).unwrap_or_default()
}

#[track_caller]
fn wait_for_status(scene: &Scene, node: &str, what: &str, holds: impl Fn(&Value) -> bool) {
    wait::until(what, Duration::from_secs(20), || holds(&status(scene, node)).then_some(()));
}

/// 20 clients that keep their connections, at a rate that leaves room for the rest.
fn clients(scene: &Scene) -> lbctl::lab::Load {
    let load = scene.load(&LoadOptions::default()).unwrap();
    wait::until("clients are served", Duration::from_secs(10), || (load.report().ok() > 100).then_some(()));
    load
}

/// The lab's file with something in the section of its address, or instead of something.
fn changed(from: &str, to: &str) -> String {
    let text = CONFIGURATION.replacen(from, to, 1);
    assert_ne!(text, CONFIGURATION);
    text
}

#[test]
fn address_stays_through_reloads_of_either_node_and_files_are_the_same_again_at_once() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    let load = clients(&scene);
    let read = scene.record().unwrap().len();
    let others = [
        changed("server.web2 = { address = \"198.51.100.142:80\" }\n", ""),
        changed("interval = \"500ms\"", "interval = \"300ms\""),
        format!(
            "{CONFIGURATION}\n[listen.more]\nbind = {{ vip = \"web\", port = 81 }}\nservers = [\"198.51.100.141:80\"]\n"
        ),
        CONFIGURATION.to_owned(),
    ];
    for text in &others {
        for (node, differs) in [("lb1", true), ("lb2", false)] {
            reload(&scene, node, text);
            let word = if differs { "differs on " } else { "same on " };
            for seen_from in BALANCERS {
                wait::until(word, Duration::from_secs(10), || {
                    let (_, screen, _) = verb(&scene, seen_from, &["status"]);
                    screen.contains(&format!("{word}{}", other(seen_from))).then_some(())
                });
            }
        }
    }
    for node in BALANCERS {
        wait_for_status(&scene, node, "no problems", |status| status["problems"] == serde_json::json!([]));
        let log = scene.log(node, "lbctl").unwrap();
        let (_, since) = log.split_once("reloading").unwrap();
        assert!(!since.contains("the first round of checks is not done"), "{since}");
    }
    let report = load.stop().unwrap();
    assert_eq!(report.failures(), Default::default(), "of {}", report.total());
    assert_eq!(order::claims(&scene, read), 0, "the address was never away");
    assert_eq!(scene.holders().unwrap(), [holder]);
}

#[test]
fn file_that_is_refused_changes_nothing_on_either_node() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    let load = clients(&scene);
    let read = scene.record().unwrap().len();
    let no_restart = [
        (changed("vrid      = 51", "vrid = 52"), "vrid of vip web can't change"),
        (
            changed("lb1 = { address = \"198.51.100.11\" }", "lb1 = { address = \"198.51.100.13\" }"),
            "198.51.100.13",
        ),
        (
            changed("[vip.web]\n", "[vip.web]\nversion = 2\nadvertisement_interval = \"1s\"\n"),
            "version of vip web can't change",
        ),
        (changed("threads = 2 ", "threads = 1 "), "[global] threads"),
    ];
    for (text, why) in &no_restart {
        scene.write_file("lb1", FILE, text).unwrap();
        let (code, _, errors) = verb(&scene, "lb1", &["reload"]);
        assert_eq!(code, Some(1), "{text}: {errors}");
        assert!(errors.contains(why) && errors.contains("needs a restart"), "{errors}");
    }
    let half = &CONFIGURATION[..CONFIGURATION.len() - 30];
    for node in BALANCERS {
        scene.write_file(node, FILE, half).unwrap();
        let (code, _, errors) = verb(&scene, node, &["reload"]);
        assert_eq!(code, Some(78));
        assert_eq!(errors, verb(&scene, node, &["check", FILE]).2);
        assert_eq!(status(&scene, node)["problems"][0]["what"], "the last reload was refused");
        assert_eq!(status(&scene, node)["file"]["generation"], 1);
    }
    let report = load.stop().unwrap();
    assert_eq!(report.failures(), Default::default(), "of {}", report.total());
    assert_eq!(order::claims(&scene, read), 0, "the address was never away");
    assert_eq!(scene.holders().unwrap(), [holder]);
    for node in BALANCERS {
        reload(&scene, node, CONFIGURATION);
        wait_for_status(&scene, node, "no problems", |status| status["problems"] == serde_json::json!([]));
    }
}

#[test]
fn addresses_come_and_go_while_the_first_one_stays() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    let load = clients(&scene);
    let read = scene.record().unwrap().len();
    let second: IpAddr = SECOND.parse().unwrap();
    let both = changed("[\"198.51.100.10\"]", "[\"198.51.100.10\", \"198.51.100.20\"]")
        .replacen("[vip.web]\n", "[vip.web]\nadvertisement_interval = \"200ms\"\n", 1)
        .replacen("lb2 = { ", "lb2 = { priority = 200, ", 1);
    let ask_second =
        || scene.exec("client", ["curl", "-sf", "--max-time", "1", &format!("http://{SECOND}/")]).unwrap();
    let has_second = |node: &str| scene.shell(node, "ip -o -4 address show").contains(&format!(" {SECOND}/"));
    // The Backup first: a Backup that knows fewer addresses than the Active would say so.
    for node in [other(&holder), &holder] {
        reload(&scene, node, &both);
    }
    assert!(has_second(&holder) && !has_second(other(&holder)));
    wait::until("the second address answers", Duration::from_secs(10), || {
        ask_second().success().then_some(())
    });
    for node in BALANCERS {
        wait_for_status(&scene, node, "the new priority and interval", |status| {
            let nodes = status["groups"][0]["nodes"].as_array().cloned().unwrap_or_default();
            status["groups"][0]["vips"][0]["interval_ms"] == 200
                && nodes.iter().any(|one| one["name"] == "lb2" && one["priority"] == 200)
        });
    }

    for node in [other(&holder), &holder] {
        reload(&scene, node, CONFIGURATION);
    }
    assert!(!has_second(&holder), "it is gone when the verb returns");
    for node in BALANCERS {
        wait_for_status(&scene, node, "no problems", |status| status["problems"] == serde_json::json!([]));
    }
    let report = load.stop().unwrap();
    assert_eq!(report.failures(), Default::default(), "of {}", report.total());
    assert_eq!(order::claims(&scene, read), 0, "the first address was never away");
    let events = scene.record_since(read).unwrap();
    let of_second =
        events.iter().filter(|event| event.is_about(second)).map(|event| (event.node.as_str(), event.change));
    let (added, removed) = (Change::AddressAdded(second), Change::AddressRemoved(second));
    assert_eq!(of_second.collect::<Vec<_>>(), [(holder.as_str(), added), (holder.as_str(), removed)]);
    assert_eq!(scene.holders().unwrap(), [holder]);
}

#[test]
fn backup_that_reloads_all_the_time_takes_over_as_fast_as_ever() {
    let scene = Scene::ready(&Options::default());
    let holder = scene.holder();
    let heir = other(&holder);
    let more = format!(
        "{CONFIGURATION}\n[listen.more]\nbind = {{ vip = \"web\", port = 81 }}\nservers = [\"198.51.100.141:80\"]\n"
    );
    let read = scene.record().unwrap().len();
    let at = std::thread::scope(|scope| {
        let (scene, holder) = (&scene, &holder);
        let fail = scope.spawn(move || scene.fail(holder, How::Kill).unwrap());
        for round in 0..20 {
            reload(scene, heir, if round % 2 == 0 { &more } else { CONFIGURATION });
        }
        fail.join().unwrap()
    });
    scene.wait_until_held_by(heir, Duration::from_secs(5)).unwrap();
    let moved = order::first_move(&scene, &holder, read);
    assert!(moved.in_order, "{moved:?}");
    assert!(
        moved.added.saturating_since(at) < Duration::from_millis(1_300),
        "{:?}",
        moved.added.saturating_since(at)
    );
    scene.heal(&holder).unwrap();
    scene.wait_until_all_ready().unwrap();
    assert_eq!(scene.holders().unwrap(), [heir]);
    scene.wait_for_answer();
}
