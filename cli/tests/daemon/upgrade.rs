//! `lbctl upgrade`: what a service manager hears, and the verb alone. Clients, addresses and what is refused are in tests/.

use std::{os::unix::net::UnixDatagram, time::Duration};

use crate::harness::{Daemon, unused_address, verb, web_server};

#[test]
fn systemd_is_told_of_the_process_that_is_in_charge() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bound");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let frontend = unused_address();
    let text = crate::harness::file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        // Nobody's watchdog but that of the processes that take the place of one.
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1");
    });
    let output = daemon.verb(&["upgrade"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pid =
        said.strip_prefix("process ").and_then(|rest| rest.split_once(' ')).expect("a number").0.to_owned();
    assert!(said.ends_with(&format!(": lbctl {} again\n", env!("CARGO_PKG_VERSION"))), "{said}");
    let mut heard = Vec::new();
    while ![&format!("MAINPID={pid}"), "WATCHDOG=1"]
        .iter()
        .all(|state| heard.iter().any(|heard| heard == state))
    {
        let mut state = [0; 200];
        let length = manager.recv(&mut state).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
        heard.push(String::from_utf8_lossy(&state[..length]).into_owned());
    }
    assert!(!heard.iter().any(|state| state.starts_with("STOPPING")), "{heard:?}");
    assert_eq!(heard.iter().filter(|state| *state == "READY=1").count(), 1, "only the first one: {heard:?}");
    assert_eq!(daemon.status_json().expect("a status")["pid"].to_string(), pid);
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn without_a_daemon_it_fails_and_a_limit_that_is_none_is_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = verb(&["upgrade"], &folder.path().join("control.sock"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("lbctl is not running here"), "{said}");
    let output = verb(&["upgrade", "--limit", "soon"], &folder.path().join("control.sock"));
    assert_eq!(output.status.code(), Some(64));
}
