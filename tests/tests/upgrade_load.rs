//! Upgrades under as many requests as the machine can do: no client notices. Apart from `upgrade.rs`, whose pair would starve
//! beside it.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use lb_tests::{
    plain::{Plain, unused_address, wait_until, web_server},
    wrk::Wrk,
};
use serde_json::Value;

#[test]
fn clients_with_and_without_keep_alive_see_no_error_through_fifteen_upgrades() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _first) = web_server(folder.path(), "web1");
    let (second, _second) = web_server(folder.path(), "web2");
    let frontend = unused_address(8000);
    let plain = Plain::start(&format!(
        "[global]\nthreads = 2\n[frontend.web]\nbind = \"{frontend}\"\ndefault_backend = \"app\"\n\
         [backend.app]\ncheck = {{ interval = \"200ms\", timeout = \"2s\" }}\nserver.web1 = \"{first}\"\nserver.web2 = \"{second}\"\n"
    ));
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
    let kept = Wrk::start(folder.path(), "kept", frontend, 100, &[]);
    let closing = Wrk::start(folder.path(), "closing", frontend, 100, &["Connection: close"]);
    wait_until("clients are served", || plain.log(), || served() > 1000);
    let mut pid = u64::from(plain.id());
    for _ in 0..15 {
        let output = plain.upgrade();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let next = report["pid"].as_u64().unwrap();
        assert_ne!(next, std::mem::replace(&mut pid, next));
        // Each process has its share of the load, with what those before have counted.
        let before = served();
        assert!(before > 1000, "{before}");
        wait_until("clients are served", || plain.log(), || served() > before + 200);
    }
    let answered = [kept.stop(), closing.stop()];
    println!("{answered:?} requests through 15 upgrades");
    assert!(answered.iter().all(|requests| *requests > 1000), "{answered:?}");
    let status = status();
    let backend = &status["backends"][0];
    assert!(
        backend["servers"].as_array().unwrap().iter().all(|server| server["state"] == "up"),
        "{backend:#}"
    );
    wait_until(
        "the processes before have ended",
        || plain.log(),
        || plain.log().matches("another process serves cut=0").count() == 15,
    );
}
