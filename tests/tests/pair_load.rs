//! Reloads and upgrades of a pair under as many requests as the machine can do: no client notices, and the address never moves.
//! Apart from other tests of pairs, which would starve beside it.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fmt::Write as _, time::Duration};

use lb_tests::{
    order::other,
    scene::{Scene, slower},
    wait,
    wrk::WrkThere,
};
use lbctl::lab::Options;

const LONG: Duration = Duration::from_secs(60);

/// Servers, limits, listeners and addresses differ from round to round; everything is there in the first again.
fn file(round: usize) -> String {
    // Checks have time on a machine that does nothing but answer.
    let mut text = slower("1s").replacen("timeout = \"500ms\"", "timeout = \"5s\"", 1);
    assert!(text.contains("timeout = \"5s\""));
    let mut change = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    };
    match round % 4 {
        0 => {}
        1 => change("server.web2 = { address = \"198.51.100.142:80\" }\n", ""),
        2 => change("server.web1 = {", "server.web1 = { weight = 3,"),
        _ => change("[\"198.51.100.10\"]", "[\"198.51.100.10\", \"198.51.100.20\"]"),
    }
    change("maxconn = 2000", &format!("maxconn = {}", 2000 + round % 5));
    if !round.is_multiple_of(3) {
        write!(
            text,
            "\n[listen.more]\nbind = {{ vip = \"web\", port = 81 }}\nservers = [\"198.51.100.141:80\"]\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn clients_with_and_without_keep_alive_see_no_error_and_the_address_never_moves() {
    Scene::unless_starved(&Options::default().configuration(&file(0)), |scene| {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let moves = scene.record_of_vip().unwrap().len();
        let served =
            || scene.status_of(&holder)["frontends"][0]["requests_total"].as_u64().unwrap_or_default();
        let under_load = |what: &str, work: &dyn Fn()| {
            let start =
                |kind: &str, fields: &[&str]| WrkThere::start(scene, &format!("{what}-{kind}"), 100, fields);
            let before = served();
            let clients = [start("kept", &[]), start("closing", &["Connection: close"])];
            wait::until("clients are served", LONG, || (served() > before + 1000).then_some(()));
            work();
            let answered = clients.map(WrkThere::stop);
            println!("{answered:?} requests through {what}");
            assert!(answered.iter().all(|requests| *requests > 1000), "{answered:?}");
            assert_eq!(scene.record_of_vip().unwrap().len(), moves, "the address was never away");
        };
        // Each generation and each process has its share of the load.
        let some_are_served = || {
            let before = served();
            wait::until("clients are served", LONG, || (served() > before + 200).then_some(()));
        };
        under_load("reloads", &|| {
            for round in 1..=50 {
                for node in [other(&holder), &holder] {
                    scene.write_file(node, "/run/lab.toml", &file(round)).unwrap();
                    scene.done(node, &["reload", "--json"]);
                }
                some_are_served();
            }
        });
        under_load("upgrades", &|| {
            for _ in 0..15 {
                for node in [other(&holder), &holder] {
                    scene.done(node, &["upgrade", "--json"]);
                }
                some_are_served();
            }
        });
        assert_eq!(scene.holders().unwrap(), [holder]);
    });
}
