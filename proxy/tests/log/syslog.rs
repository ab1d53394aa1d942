//! A syslog server that keeps what it gets, and lines without what differs from run to run.
#![allow(clippy::disallowed_methods, reason = "what is looked at is text of our own")]

use std::{io, net::SocketAddr, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{AccessLog, LogDestination, LogTarget},
};
use regex::Regex;
use tokio::{net::UdpSocket, time::timeout};

use crate::rig::LONG;

pub(crate) struct Syslog {
    socket: UdpSocket,
    /// The same one, for a look that does not depend on what the runtime has heard of it.
    directly: std::net::UdpSocket,
    pub(crate) address: SocketAddr,
}

impl Syslog {
    pub(crate) async fn start() -> Self {
        let directly = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        directly.set_nonblocking(true).unwrap();
        let socket = UdpSocket::from_std(directly.try_clone().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, directly, address }
    }

    pub(crate) fn target(&self) -> LogTarget {
        LogTarget::new(LogDestination::Udp(self.address))
    }

    /// Lets the first frontend log here.
    pub(crate) fn receive_from(&self, config: &mut Config) {
        config.frontends[0].log = AccessLog { targets: vec![self.target()], ..AccessLog::default() };
    }

    /// The next line as it came.
    pub(crate) async fn raw(&self) -> String {
        let mut bytes = vec![0; 65_536];
        let received = timeout(LONG, self.socket.recv(&mut bytes)).await.expect("no line in time").unwrap();
        bytes.truncate(received);
        String::from_utf8(bytes).unwrap()
    }

    /// The next line, [masked].
    pub(crate) async fn line(&self) -> String {
        masked(&self.raw().await)
    }

    /// The proxy has ended: there is nothing but the line that says so.
    #[track_caller]
    pub(crate) fn ends(&self) {
        let rest: Vec<_> = std::iter::from_fn(|| self.pending()).collect();
        assert!(!rest.is_empty());
        assert!(rest.iter().all(|line| line.contains("Proxy front stopped (")), "{rest:?}");
    }

    /// Whatever has come by now.
    pub(crate) fn pending(&self) -> Option<String> {
        let mut bytes = vec![0; 65_536];
        match self.directly.recv(&mut bytes) {
            Ok(received) => Some(String::from_utf8_lossy(&bytes[..received]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Without the header, the client's port and the date; times that are not -1 are `T`.
pub(crate) fn masked(line: &str) -> String {
    let pid = std::process::id();
    let header = Regex::new(r"^<134>[A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} lbctl\[(\d+)\]: ").unwrap();
    let found = header.captures(line).unwrap_or_else(|| panic!("no header: {line}"));
    assert_eq!(found[1], pid.to_string(), "{line}");
    let message = header.replace(line, "");
    assert!(message.ends_with('\n'), "{line:?}");
    let date =
        Regex::new(r"^127\.0\.0\.1:\d+ \[\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2}\.\d{3}\] ").unwrap();
    assert!(date.is_match(&message), "{line}");
    let message = date.replace(&message, "");
    let mut words: Vec<String> = message.trim_end().split(' ').map(str::to_owned).collect();
    let number = Regex::new(r"\d+").unwrap();
    words[2] = words[2]
        .split('/')
        .map(|time| if time == "-1" { time.to_owned() } else { number.replace(time, "T").into_owned() })
        .collect::<Vec<_>>()
        .join("/");
    words.join(" ")
}

/// Stops the proxy, so that whatever it logs has come; then nothing more may come but that it has ended.
pub(crate) async fn end(proxy: Proxy, syslog: &Syslog) {
    proxy.stop(Duration::ZERO).await;
    syslog.ends();
}
