//! Servers that are given by names.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    harness::{Daemon, get, unused_address, web_server},
    nameserver::{Says, nameserver, nameserver_that},
};

/// Where the server moves to: the same port on another address, where everybody is answered `moved`.
fn beside(server: std::net::SocketAddr) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 210, high, low);
    let listener = TcpListener::bind((address, server.port())).expect("nobody else has it");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nmoved");
        }
    });
    address
}

#[test]
fn dns_that_is_gone_leaves_the_last_good_answer_through_reload_and_upgrade_until_there_is_another() {
    let says = Arc::new(Mutex::new(Says::Address(Ipv4Addr::LOCALHOST, 1)));
    let (nameserver, frontend, server) =
        (nameserver_that(&says), unused_address(), web_server(std::time::Duration::ZERO));
    let text = format!(
        "[global]\nthreads = 1\nnameservers = [\"{nameserver}\"]\n\n[listen.web]\nbind = \"{frontend}\"\n\
         server.a = \"app.lbctl.invalid:{}\"\ncheck = false\n",
        server.port()
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    let served = || get(frontend).unwrap_or_default();
    daemon.wait_until("it is served", |_| served() == "hello");
    *says.lock().unwrap() = Says::Nothing;
    let why = format!("no answer from {nameserver}");
    let is_said = |daemon: &Daemon| {
        let status = daemon.status_json().unwrap_or_default();
        status["problems"].to_string().contains(&why)
            && status["backends"][0]["servers"][0]["resolved"] == server.to_string()
    };
    daemon.wait_until("the TTL is over, and nobody answers", is_said);
    assert_eq!(served(), "hello");
    std::fs::write(
        daemon.folder.path().join("lb.toml"),
        text.replace("threads = 1", "threads = 1\nmaxconn = 99"),
    )
    .unwrap();
    for verb in ["reload", "upgrade"] {
        let output = daemon.verb(&[verb]);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(served(), "hello", "{verb}");
        daemon.wait_until("it is said", is_said);
        assert_eq!(served(), "hello", "{verb}");
    }
    *says.lock().unwrap() = Says::Address(beside(server), 60);
    daemon.wait_until("it is followed", |_| served() == "moved");
    daemon.wait_until("nothing is wrong", |daemon| {
        daemon.status_json().is_some_and(|status| !status["problems"].to_string().contains(&why))
    });
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

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
