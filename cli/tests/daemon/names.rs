//! Servers that are given by names.

use std::net::Ipv4Addr;

use crate::{
    harness::{Daemon, unused_address},
    nameserver::nameserver,
};

#[test]
fn a_name_that_does_not_resolve_at_the_start_is_logged_once_with_its_place() {
    let (nameserver, frontend) = (nameserver(None), unused_address());
    let text = format!(
        "[global]\nthreads = 1\nnameservers = [\"{nameserver}\"]\n\n[listen.web]\nbind = \"{frontend}\"\n\
         server.a = \"app.lbctl.invalid:80\"\n"
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    let said = "name does not resolve";
    daemon.wait_until("it is said", |daemon| daemon.log().contains(said));
    let log = daemon.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(said)).collect();
    let [line] = lines[..] else { panic!("{log}") };
    let place = format!("at={}:7:12", daemon.folder.path().join("lb.toml").display());
    let why = format!("no such name (NXDOMAIN from {nameserver})");
    for part in [place.as_str(), "backend=web", "server=a", "host=\"app.lbctl.invalid\"", why.as_str()] {
        assert!(line.contains(part), "{part}\n{line}");
    }
    daemon.wait_until("status says so", |daemon| {
        daemon.status_json().is_some_and(|status| status["problems"].to_string().contains(&why))
    });
}

#[test]
fn a_name_that_leads_back_to_a_listener_of_ours_is_logged_with_its_place() {
    let (nameserver, frontend) = (nameserver(Some(Ipv4Addr::LOCALHOST)), unused_address());
    let port = frontend.port();
    let text = format!(
        "[global]\nthreads = 1\nnameservers = [\"{nameserver}\"]\n\n[frontend.web]\nbind = \"{frontend}\"\n\
         default_backend = \"app\"\n\n[backend.app]\nserver.a = \"app.lbctl.invalid:{port}\"\n"
    )
    .replace(&frontend.ip().to_string(), "127.0.0.1");
    let daemon = Daemon::spawn(&text, frontend, None);
    let said = "name of a server leads back to a listener of ours";
    daemon.wait_until("it is said", |daemon| daemon.log().contains(said));
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(said)).expect("a line");
    let place = format!("at={}:10:12", daemon.folder.path().join("lb.toml").display());
    for part in [&*place, "backend=app", "server=a", "frontend=web", &format!("to=127.0.0.1:{port}")] {
        assert!(line.contains(part), "{part}\n{line}");
    }
}
