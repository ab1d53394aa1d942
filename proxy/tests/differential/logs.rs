//! Lines of logs: the same traffic through both, then httplog and tcplog compared field by field. The client and the date are
//! left out, times are only compared as done or never done (-1), and bytes only of what could not be read: heads are written
//! differently, and so are the pages of errors.

use std::net::UdpSocket;

use lb_proxy::{
    Proxy,
    config::{AccessLog, LogDestination, LogFormat, LogTarget, Mode},
};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::{Duration, timeout},
};

use crate::{
    counters::{CASES, Client, Servers, haproxy_sections, our_config, play},
    haproxy::HAProxy,
    rig::LONG,
};

/// Where lines go to.
pub(crate) struct Log {
    socket: tokio::net::UdpSocket,
    pub(crate) port: u16,
}

impl Log {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().port();
        Self { socket: tokio::net::UdpSocket::from_std(socket).unwrap(), port }
    }

    /// So many lines, sorted: who of several is first is nobody's promise.
    async fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(compared(&self.line().await));
        }
        lines.sort();
        lines
    }

    pub(crate) async fn line(&self) -> String {
        let mut bytes = vec![0; 4096];
        let length = timeout(LONG, self.socket.recv(&mut bytes)).await.expect("no line").unwrap();
        std::str::from_utf8(&bytes[..length]).unwrap().trim_end().to_owned()
    }
}

/// What has to be the same of a line.
fn compared(line: &str) -> String {
    let (importance, rest) = line.split_once('>').unwrap();
    // `unix:1 [date]` or `127.0.0.1:1234 [date]`.
    let (_, fields) = rest.split_once("] ").unwrap();
    let mut fields: Vec<String> = fields.split(' ').map(str::to_owned).collect();
    fields[0] = fields[0].trim_start_matches("f_").to_owned();
    fields[1] = fields[1].trim_start_matches("b_").trim_start_matches("f_").to_owned();
    let done = |time: &str| if time == "-1" { "-1" } else { "T" };
    fields[2] = fields[2].split('/').map(done).collect::<Vec<_>>().join("/");
    let is_http = fields.len() > 8;
    if fields.last().is_some_and(|request| request != "\"<BADREQ>\"") {
        fields[if is_http { 4 } else { 3 }] = "B".to_owned();
    }
    // How many are open at a moment is a matter of the moment; how often it was tried is not.
    let connections = if is_http { 8 } else { 5 };
    fields[connections] = fields[connections].rsplit('/').next().unwrap().to_owned();
    format!("{importance}> {}", fields.join(" "))
}

#[tokio::test]
async fn both_log_the_same() {
    let servers = Servers::start().await;
    let (theirs, ours) = (Log::start(), Log::start());
    let mut sections = haproxy_sections(&servers.addresses);
    let mut config = our_config(&servers.addresses);
    for (case, frontend) in CASES.iter().zip(&mut config.frontends) {
        let (option, format) = match case.mode {
            Mode::Http => ("httplog", LogFormat::Http),
            Mode::Tcp => ("tcplog", LogFormat::Tcp),
        };
        let begin = format!("frontend f_{}\n", case.name);
        let logs = format!("{begin}  log 127.0.0.1:{} local0\n  option {option}\n", theirs.port);
        assert!(sections.contains(&begin));
        sections = sections.replace(&begin, &logs);
        let to = LogDestination::Udp(([127, 0, 0, 1], ours.port).into());
        frontend.log = AccessLog { targets: vec![LogTarget::new(to)], format, ..AccessLog::default() };
        frontend.options.dontlognull = false;
    }
    let haproxy = HAProxy::start(&sections, "stats").await;
    let proxy = Proxy::start(config).unwrap();
    let mut wrong = Vec::new();
    for (index, case) in CASES.iter().enumerate() {
        let address = proxy.status().frontends[index].binds[0].address.unwrap();
        let mut clients = JoinSet::new();
        let count = if let Client::Crowd(count, _) = case.client { count } else { 1 };
        for _ in 0..count {
            let (socket, client) = (haproxy.socket(case.name), case.client);
            clients.spawn(async move { play(UnixStream::connect(socket).await.unwrap(), client).await });
            clients.spawn(async move { play(TcpStream::connect(address).await.unwrap(), client).await });
        }
        clients.join_all().await;
        let requests = if case.name == "three_requests" { 3 } else { count };
        let (theirs, ours) = (theirs.lines(requests).await, ours.lines(requests).await);
        for (theirs, ours) in theirs.iter().zip(&ours) {
            // There a client that has ended behind its request goes before what is wrong with that.
            let theirs = if case.name == "malformed" { &theirs.replace("CR--", "PR--") } else { theirs };
            if theirs != ours {
                wrong.push(format!("{}:\n  HAProxy {theirs}\n  we      {ours}", case.name));
            }
        }
    }
    proxy.stop(Duration::ZERO).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
