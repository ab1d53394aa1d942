//! Servers that are given by names.

use std::net::{SocketAddr, UdpSocket};

use crate::harness::{Daemon, unused_address};

/// A nameserver that knows nothing: it sends every question back as an answer with NXDOMAIN.
fn nameserver() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            question[2] |= 0x80;
            question[3] = 3;
            let _ = socket.send_to(&question[..length], client);
        }
    });
    address
}

#[test]
fn a_name_that_does_not_resolve_at_the_start_is_logged_once_with_its_place() {
    let (nameserver, frontend) = (nameserver(), unused_address());
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
