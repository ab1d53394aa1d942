//! Reloads under as many requests as the machine can do: no client notices. Apart from `reload.rs`, whose pair would starve
//! beside it.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fs, net::SocketAddr};

use lb_tests::{
    plain::{Plain, unused_address, wait_until, web_server},
    wrk::Wrk,
};
use serde_json::Value;

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
