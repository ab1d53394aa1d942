//! Reloads of a pair that clients use: no address moves, and what is refused changes nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{net::IpAddr, time::Duration};

use lb_tests::{
    capture::{Capture, dissect},
    order::{self, other},
    scene::Scene,
    wait,
};
use lbctl::lab::{BALANCERS, CONFIGURATION, Change, How, LoadOptions, Options};
use serde_json::Value;

const FILE: &str = "/run/lab.toml";
/// Beside the lab's own address.
const SECOND: &str = "198.51.100.20";

#[track_caller]
fn reload(scene: &Scene, node: &str, text: &str) -> String {
    scene.write_file(node, FILE, text).unwrap();
    let (code, said, errors) = scene.verb(node, &["reload"]);
    assert_eq!(code, Some(0), "{errors}");
    said
}

#[track_caller]
fn wait_for_status(scene: &Scene, node: &str, what: &str, holds: impl Fn(&Value) -> bool) {
    wait::until(what, Duration::from_secs(30), || holds(&scene.status_of(node)).then_some(()));
}

/// 20 clients that keep their connections, at a rate that leaves room for the rest.
fn clients(scene: &Scene) -> lbctl::lab::Load {
    let load = scene.load(&LoadOptions { patience: 10_000, ..LoadOptions::default() }).unwrap();
    wait::until("clients are served", Duration::from_secs(30), || (load.report().ok() > 100).then_some(()));
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
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let load = clients(scene);
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
                reload(scene, node, text);
                let word = if differs { "differs on " } else { "same on " };
                for seen_from in BALANCERS {
                    wait::until(word, Duration::from_secs(30), || {
                        let (_, screen, _) = scene.verb(seen_from, &["status"]);
                        screen.contains(&format!("{word}{}", other(seen_from))).then_some(())
                    });
                }
            }
        }
        for node in BALANCERS {
            wait_for_status(scene, node, "no problems", |status| status["problems"] == serde_json::json!([]));
            let log = scene.log(node, "lbctl").unwrap();
            let (_, since) = log.split_once("reloading").unwrap();
            assert!(!since.contains("the first round of checks is not done"), "{since}");
        }
        let report = load.stop().unwrap();
        assert_eq!(report.failures(), Default::default(), "of {}", report.total());
        assert_eq!(order::claims(scene, read), 0, "the address was never away");
        assert_eq!(scene.holders().unwrap(), [holder]);
    });
}

#[test]
fn file_that_is_refused_changes_nothing_on_either_node() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let load = clients(scene);
        let read = scene.record().unwrap().len();
        let not_by_a_reload = [
            (changed("vrid      = 51", "vrid = 52"), "vrid of vip web can't change", "needs a restart"),
            (
                changed("lb1 = { address = \"198.51.100.11\" }", "lb1 = { address = \"198.51.100.13\" }"),
                "198.51.100.13",
                "needs a restart",
            ),
            (
                changed("[vip.web]\n", "[vip.web]\nversion = 2\nadvertisement_interval = \"1s\"\n"),
                "version of vip web can't change",
                "needs a restart",
            ),
            (changed("threads = 2 ", "threads = 1 "), "[global] threads", "lbctl upgrade"),
        ];
        for (text, why, way) in &not_by_a_reload {
            scene.write_file("lb1", FILE, text).unwrap();
            let (code, _, errors) = scene.verb("lb1", &["reload"]);
            assert_eq!(code, Some(1), "{text}: {errors}");
            assert!(errors.contains(why) && errors.contains(way), "{errors}");
        }
        let half = &CONFIGURATION[..CONFIGURATION.len() - 30];
        for node in BALANCERS {
            scene.write_file(node, FILE, half).unwrap();
            let (code, _, errors) = scene.verb(node, &["reload"]);
            assert_eq!(code, Some(78));
            assert_eq!(errors, scene.verb(node, &["check", FILE]).2);
            assert_eq!(scene.status_of(node)["problems"][0]["what"], "the last reload was refused");
            assert_eq!(scene.status_of(node)["file"]["generation"], 1);
        }
        let report = load.stop().unwrap();
        assert_eq!(report.failures(), Default::default(), "of {}", report.total());
        assert_eq!(order::claims(scene, read), 0, "the address was never away");
        assert_eq!(scene.holders().unwrap(), [holder]);
        for node in BALANCERS {
            reload(scene, node, CONFIGURATION);
            wait_for_status(scene, node, "no problems", |status| status["problems"] == serde_json::json!([]));
        }
    });
}

#[test]
fn addresses_come_and_go_while_the_first_one_stays() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let load = clients(scene);
        let read = scene.record().unwrap().len();
        let second: IpAddr = SECOND.parse().unwrap();
        let both = changed("[\"198.51.100.10\"]", "[\"198.51.100.10\", \"198.51.100.20\"]")
            .replacen("[vip.web]\n", "[vip.web]\nadvertisement_interval = \"1s\"\n", 1)
            .replacen("lb2 = { ", "lb2 = { priority = 200, ", 1);
        let ask_second = || {
            scene.exec("client", ["curl", "-sf", "--max-time", "1", &format!("http://{SECOND}/")]).unwrap()
        };
        let has_second =
            |node: &str| scene.shell(node, "ip -o -4 address show").contains(&format!(" {SECOND}/"));
        // The Backup first: a Backup that knows fewer addresses than the Active would say so.
        for node in [other(&holder), &holder] {
            reload(scene, node, &both);
        }
        assert!(has_second(&holder) && !has_second(other(&holder)));
        wait::until("the second address answers", Duration::from_secs(30), || {
            ask_second().success().then_some(())
        });
        for node in BALANCERS {
            wait_for_status(scene, node, "the new priority and interval", |status| {
                let nodes = status["groups"][0]["nodes"].as_array().cloned().unwrap_or_default();
                status["groups"][0]["vips"][0]["interval_ms"] == 1000
                    && nodes.iter().any(|one| one["name"] == "lb2" && one["priority"] == 200)
            });
        }

        // Another speaker begins with what was reloaded. A busy machine starts one within one and a half intervals.
        let daemon = scene.status().unwrap().node(&holder).unwrap().pid.unwrap();
        scene.shell(&holder, &format!("kill -9 $(pgrep -x -P {daemon} lbctl-speaker)"));
        wait::until("another speaker", Duration::from_secs(30), || {
            (scene.log(&holder, "lbctl").ok()?.matches("the speaker runs").count() == 2).then_some(())
        });
        scene.wait_until_ready(&holder).unwrap();
        assert!(has_second(&holder), "it resumes both addresses");

        for node in [other(&holder), &holder] {
            reload(scene, node, CONFIGURATION);
        }
        assert!(!has_second(&holder), "it is gone when the verb returns");
        for node in BALANCERS {
            wait_for_status(scene, node, "no problems", |status| status["problems"] == serde_json::json!([]));
        }
        let report = load.stop().unwrap();
        assert_eq!(report.failures(), Default::default(), "of {}", report.total());
        assert_eq!(order::claims(scene, read), 0, "the first address was never away");
        let events = scene.record_since(read).unwrap();
        let of_second = events
            .iter()
            .filter(|event| event.is_about(second))
            .map(|event| (event.node.as_str(), event.change));
        let (added, removed) = (Change::AddressAdded(second), Change::AddressRemoved(second));
        assert_eq!(of_second.collect::<Vec<_>>(), [(holder.as_str(), added), (holder.as_str(), removed)]);
        assert_eq!(scene.holders().unwrap(), [holder]);
    });
}

#[test]
fn backup_that_reloads_all_the_time_takes_over_as_fast_as_ever() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let heir = other(&holder);
        let more = format!(
            "{CONFIGURATION}\n[listen.more]\nbind = {{ vip = \"web\", port = 81 }}\nservers = [\"198.51.100.141:80\"]\n"
        );
        let read = scene.record().unwrap().len();
        let at = std::thread::scope(|scope| {
            let (scene, holder) = (scene, &holder);
            let fail = scope.spawn(move || scene.fail(holder, How::Kill).unwrap());
            for round in 0..20 {
                reload(scene, heir, if round % 2 == 0 { &more } else { CONFIGURATION });
            }
            fail.join().unwrap()
        });
        scene.wait_until_held_by(heir, Duration::from_secs(30)).unwrap();
        let moved = order::first_move(scene, &holder, read);
        assert!(moved.in_order, "{moved:?}");
        // Down_Interval is 302 ms, and a busy machine adds to it.
        let after = moved.added.saturating_since(at);
        assert!(after < Duration::from_secs(3), "{after:?}");
        scene.heal(&holder).unwrap();
        scene.wait_until_all_ready().unwrap();
        assert_eq!(scene.holders().unwrap(), [heir]);
        scene.wait_for_answer();
    });
}

#[test]
fn active_that_reloads_all_the_time_loses_its_address_all_the_same() {
    for how in [How::Backends, How::Cable] {
        Scene::unless_starved(&Options::default(), |scene| {
            let holder = scene.holder();
            let heir = other(&holder);
            scene.wait_until_other_is_ready(&holder);
            let more = format!(
                "{CONFIGURATION}\n[listen.more]\nbind = {{ vip = \"web\", port = 81 }}\nservers = [\"198.51.100.141:80\"]\n"
            );
            let read = scene.record().unwrap().len();
            std::thread::scope(|scope| {
                let (scene, holder) = (scene, &holder);
                let moves = scope.spawn(move || {
                    scene.fail(holder, how).unwrap();
                    scene.wait_until_held_by(heir, Duration::from_secs(30)).unwrap();
                });
                for text in [more.as_str(), CONFIGURATION].into_iter().cycle() {
                    reload(scene, holder, text);
                    if moves.is_finished() {
                        break;
                    }
                }
                moves.join().unwrap();
            });
            let moved = order::first_move(scene, &holder, read);
            assert!(moved.in_order, "{moved:?}");
            // The file that was read last is in force.
            for text in [more.as_str(), CONFIGURATION] {
                reload(scene, &holder, text);
                let status = scene.status_of(&holder);
                assert_eq!(status["frontends"].as_array().unwrap().len(), if text == more { 2 } else { 1 });
            }
            scene.heal(&holder).unwrap();
            scene.wait_until_all_ready().unwrap();
            assert_eq!(scene.holders().unwrap(), [heir]);
            scene.wait_for_answer();
        });
    }
}

/// A second virtual router beside the lab's, in a group of its own, with these lines in its section. Each node holds the one that
/// prefers it.
fn one_each(lines: &str) -> String {
    let own = |group: &str, node: &str| {
        format!("group = \"{group}\"\nprefer = \"{node}\"\npreempt = \"always\"\npreempt_delay = \"100ms\"\n")
    };
    let web =
        changed("[vip.web]\n", &format!("[vip.web]\nadvertisement_interval = \"1s\"\n{}", own("web", "lb1")));
    format!(
        "{web}\n[vip.mail]\nvrid = 52\n{}{lines}\n[listen.mail]\nbind = {{ vip = \"mail\", port = 80 }}\n\
         servers = [\"198.51.100.141:80\"]\n",
        own("mail", "lb2")
    )
}

#[test]
fn virtual_router_whose_settings_stay_is_not_touched_where_each_node_holds_one() {
    let mail = |interval: &str, addresses: &str| {
        one_each(&format!("advertisement_interval = \"{interval}\"\naddresses = [{addresses}]\n"))
    };
    let first = mail("1s", "\"198.51.100.20\"");
    Scene::unless_starved(&Options::default().configuration(&first), |scene| {
        let holds = |node: &str, address: &str| {
            scene.shell(node, "ip -o -4 address show").contains(&format!(" {address}/"))
        };
        wait::until("each node holds one address", Duration::from_secs(30), || {
            let as_wanted =
                scene.holders().unwrap() == ["lb1"] && holds("lb2", SECOND) && !holds("lb1", SECOND);
            as_wanted.then_some(())
        });
        let load = clients(scene);
        let read = scene.record().unwrap().len();
        let capture = Capture::start(scene, "client", "ip proto 112");
        let more = mail("2s", "\"198.51.100.20\", \"198.51.100.21\"");
        for text in [&more, &first].into_iter().cycle().take(10) {
            for node in BALANCERS {
                reload(scene, node, text);
            }
            wait::until("the third address comes and goes", Duration::from_secs(30), || {
                (holds("lb2", "198.51.100.21") == (*text == more)).then_some(())
            });
        }
        let enough = capture.packets() + 5;
        wait::until("five more packets", Duration::from_secs(30), || {
            (capture.packets() >= enough).then_some(())
        });
        let pcap = capture.stop();

        let about = |address: &str| {
            let address = address.parse().unwrap();
            let events = scene.record_since(read).unwrap();
            events.into_iter().filter(|event| event.is_about(address)).collect::<Vec<_>>()
        };
        assert_eq!(about("198.51.100.10"), []);
        assert_eq!(about(SECOND), []);
        assert_eq!(about("198.51.100.21").len(), 10);
        let said = |vrid: u8| {
            dissect(
                &pcap,
                &[],
                &format!("vrrp.virt_rtr_id == {vrid}"),
                &["ip.src", "vrrp.prio", "vrrp.ip_addr", "frame.time_relative"],
            )
        };
        let web = said(51);
        assert!(web.iter().all(|packet| packet[..3] == ["198.51.100.11", "254", "198.51.100.10"]), "{web:?}");
        let mail = said(52);
        assert!(mail.iter().all(|packet| packet[..2] == ["198.51.100.12", "254"]), "{mail:?}");
        assert!(mail.iter().any(|packet| packet[2] == "198.51.100.20,198.51.100.21"), "{mail:?}");
        // One a second, and no other: a busy machine sends less. The other one has said at once what is new, ten times.
        let seconds: f64 = web.last().unwrap()[3].parse::<f64>().unwrap() - web[0][3].parse::<f64>().unwrap();
        assert!((web.len() - 1) as f64 <= seconds + 1.0, "{web:?}");

        let report = load.stop().unwrap();
        assert_eq!(report.failures(), Default::default(), "of {}", report.total());
        // Whoever holds one takes the other when it has to.
        scene.fail("lb2", How::Kill).unwrap();
        wait::until("lb1 holds both", Duration::from_secs(30), || holds("lb1", SECOND).then_some(()));
        scene.heal("lb2").unwrap();
        wait::until("lb2 has its own again", Duration::from_secs(30), || {
            (holds("lb2", SECOND) && !holds("lb1", SECOND)).then_some(())
        });
        assert_eq!(about("198.51.100.10"), []);
    });
}
