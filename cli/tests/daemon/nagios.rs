//! `lbctl nagios` against a running daemon: its exit codes, and the line that Nagios shows.

use std::{path::Path, process::Output, time::Duration};

use crate::harness::{Daemon, lbctl, unused_address, verb, web_server};

fn first_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn it_says_what_the_servers_are_like() {
    let (frontend, up, down) = (unused_address(), web_server(Duration::ZERO), unused_address());
    let daemon = Daemon::spawn(
        &format!(
            "[defaults]\ncheck = {{ interval = \"200ms\", rise = 1, fall = 1 }}\n[frontend.web]\nbind = \"{frontend}\"\n\
             default_backend = \"app\"\nrules = [{{ when = {{ path = \"/o\" }}, backend = \"other\" }}]\n\
             [backend.app]\nserver.web1 = \"{up}\"\n[backend.other]\nserver.web1 = \"{up}\"\nserver.web2 = \"{down}\"\n"
        ),
        frontend,
        None,
    );
    let nagios = |arguments: &[&str]| daemon.verb(&[&["nagios"], arguments].concat());
    daemon.wait_until("all servers are checked", |_| {
        first_line(&nagios(&[])).contains("other: 1 of 2 servers usable")
            && nagios(&["--backend", "app"]).status.code() == Some(0)
    });

    let output = nagios(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = first_line(&output);
    assert!(line.starts_with("LBCTL WARNING - other: 1 of 2 servers usable (web2 L4CON"), "{line}");
    assert!(line.contains("'servers other'=1;2:;1:;0;2"), "{line}");

    let output = nagios(&["--warning", "100", "--critical", "60"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(first_line(&output).starts_with("LBCTL CRITICAL - other: "), "{output:?}");

    let output = nagios(&["--backend", "app"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(first_line(&output).starts_with("LBCTL OK - "), "{output:?}");

    let output = nagios(&["--backend", "shop"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(first_line(&output), "LBCTL UNKNOWN - no backend is called shop");
}

#[test]
fn without_a_daemon_it_is_critical_and_with_wrong_arguments_unknown() {
    let output = verb(&["nagios"], Path::new("/nonexistent/control.sock"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(first_line(&output).starts_with("LBCTL CRITICAL - lbctl is not running here"), "{output:?}");
    let wrong: [(&[&str], &str); 4] = [
        (
            &["--warning", "many"],
            "invalid value 'many' for '--warning <PERCENT>': invalid digit found in string",
        ),
        (&["--critical", "50", "--warning", "20"], "--critical is above --warning: fewer servers are worse"),
        (
            &["--role", "active", "--backend", "app"],
            "the argument '--role <ROLE>' cannot be used with '--backend <NAME>'",
        ),
        (&["--zzz"], "unexpected argument '--zzz' found"),
    ];
    for (arguments, why) in wrong {
        let output = lbctl().arg("nagios").args(arguments).output().expect("ran");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        // Nagios shows stdout alone.
        assert_eq!(first_line(&output), format!("LBCTL UNKNOWN - {why}"));
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    let help = lbctl().args(["nagios", "--help"]).output().expect("ran");
    assert_eq!(help.status.code(), Some(0), "{help:?}");
}

#[test]
fn what_cannot_be_written_is_unknown() {
    let daemon = Daemon::start("tcp", web_server(Duration::ZERO));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = lbctl();
    let output =
        command.arg("nagios").arg("--control").arg(&daemon.socket).stdout(full).output().expect("ran");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("can't write to stdout: No space left"),
        "{output:?}"
    );
}
