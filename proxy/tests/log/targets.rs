//! Places that lines go to, whole and broken. Whatever they do, requests go on.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    time::{Duration, Instant},
};

use lb_proxy::{
    Config, LogEvent, Proxy,
    config::{LogDestination, LogTarget, LogWire, ResolverConfig, Severity},
    status::LogStatus,
};

use tokio::io::AsyncReadExt;

use crate::{
    peers::*,
    rig::{LONG, connect, eventually},
    syslog::Syslog,
};

async fn logging_to(to: LogDestination) -> (Proxy, Recording) {
    logging(LogTarget::new(to), |_| {}).await
}

async fn logging(target: LogTarget, change: impl FnOnce(&mut Config)) -> (Proxy, Recording) {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    config.frontends[0].log.targets = vec![target];
    change(&mut config);
    (Proxy::start(config).unwrap(), server)
}

async fn request(proxy: &Proxy, path: &str) {
    let response = ask(&mut connect(proxy).await, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(response, OK);
}

fn status(proxy: &Proxy) -> LogStatus {
    proxy.status().logs[0].clone()
}

fn problem(proxy: &Proxy) -> Option<String> {
    status(proxy).problem.map(|problem| problem.what)
}

async fn has_problem(proxy: &Proxy, what: &str) {
    eventually(what, || problem(proxy).as_deref() == Some(what)).await;
}

/// The requests that the file tells of.
fn told(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| line.split('"').nth(1).unwrap_or(line).to_owned()).collect()
}

#[tokio::test]
async fn file_is_appended_to_and_opened_anew_by_its_name_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    fs::write(&file, "what was there\n").unwrap();
    let (proxy, _server) = logging_to(LogDestination::File(file.clone())).await;
    request(&proxy, "/1").await;
    eventually("the line", || told(&file) == ["what was there", "GET /1 HTTP/1.1"]).await;
    fs::rename(&file, &old).unwrap();
    request(&proxy, "/2").await;
    eventually("the line in the old file", || told(&old).len() == 3).await;
    assert_eq!(proxy.reopen_logs().await.len(), 1);
    eventually("the new file", || file.exists()).await;
    request(&proxy, "/3").await;
    eventually("the line in the new one", || told(&file) == ["GET /3 HTTP/1.1"]).await;
    assert_eq!(told(&old).len(), 3);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!((status(&proxy).written_total, status(&proxy).lost_total, problem(&proxy)), (3, 0, None));
    // As syslog daemons write it.
    let line = fs::read_to_string(&file).unwrap();
    let host = nix::unistd::gethostname().unwrap();
    assert_eq!(line.split(' ').filter(|word| !word.is_empty()).nth(3), host.to_str(), "{line}");
}

#[tokio::test]
async fn missing_folder_is_a_problem_while_it_is_missing_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs/access.log");
    let (proxy, _server) = logging_to(LogDestination::File(file.clone())).await;
    has_problem(&proxy, "there is no such file or folder").await;
    request(&proxy, "/1").await;
    fs::create_dir(folder.path().join("logs")).unwrap();
    eventually("the line", || told(&file) == ["GET /1 HTTP/1.1"]).await;
    eventually("it is well", || problem(&proxy).is_none()).await;
    assert_eq!(status(&proxy).lost_total, 0);
}

#[tokio::test]
async fn place_that_is_broken_in_another_way_is_broken_since_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs/access.log");
    let (proxy, _server) = logging_to(LogDestination::File(file.clone())).await;
    has_problem(&proxy, "there is no such file or folder").await;
    let since = status(&proxy).problem.unwrap().since;
    fs::create_dir_all(&file).unwrap();
    eventually("other words", || {
        problem(&proxy).is_some_and(|what| what != "there is no such file or folder")
    })
    .await;
    assert_eq!(status(&proxy).problem.unwrap().since, since);
    fs::remove_dir(&file).unwrap();
    eventually("it is well", || problem(&proxy).is_none()).await;
}

#[tokio::test]
async fn full_disk_is_a_problem_and_requests_go_on() {
    let (proxy, _server) = logging_to(LogDestination::File("/dev/full".into())).await;
    request(&proxy, "/1").await;
    has_problem(&proxy, "the disk is full").await;
    request(&proxy, "/2").await;
    assert_eq!(status(&proxy).target, "file /dev/full");
    // What could not be written is not kept for ever.
    let begun = Instant::now();
    proxy.stop(Duration::ZERO).await;
    assert!(begun.elapsed() < LONG);
}

#[tokio::test]
async fn named_pipe_that_nobody_reads_is_a_problem_until_somebody_does() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (proxy, _server) = logging_to(LogDestination::File(pipe.clone())).await;
    for round in 1..=2 {
        has_problem(&proxy, "nobody reads it").await;
        request(&proxy, &format!("/{round}")).await;
        // One that waits for its reader could not be told to open it anew.
        let reopened = proxy.reopen_logs().await;
        let why = reopened[0].problem.as_ref().map(|problem| problem.what.as_str());
        assert_eq!(why, Some("nobody reads it"));
        let reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
        assert!(line_of(reader).await.ends_with(&format!("\"GET /{round} HTTP/1.1\"")));
        // The reader has gone: that shows with the next line, which waits for another one.
        request(&proxy, &format!("/{}", round + 1)).await;
    }
    assert_eq!(status(&proxy).lost_total, 0);
}

/// The first one, and the reader goes.
async fn line_of(mut reader: tokio::net::unix::pipe::Receiver) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 1024]);
    while !text.ends_with('\n') {
        // While nobody writes to it there is an end in it.
        match tokio::time::timeout(LONG, reader.read(&mut bytes)).await.expect("no line").unwrap() {
            0 => tokio::task::yield_now().await,
            length => text.push_str(&String::from_utf8_lossy(&bytes[..length])),
        }
    }
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn socket_of_the_machine_gets_datagrams_also_from_a_daemon_that_starts_later_or_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (proxy, _server) = logging_to(LogDestination::Unix(path.clone())).await;
    has_problem(&proxy, "there is no such file or folder").await;
    request(&proxy, "/1").await;
    let daemon = UnixDatagram::bind(&path).unwrap();
    assert!(received(&daemon).await.contains("\"GET /1 "));
    eventually("it is well", || problem(&proxy).is_none()).await;
    drop(daemon);
    fs::remove_file(&path).unwrap();
    request(&proxy, "/2").await;
    eventually("a problem", || problem(&proxy).is_some()).await;
    let daemon = UnixDatagram::bind(&path).unwrap();
    assert!(received(&daemon).await.contains("\"GET /2 "));
    assert_eq!(status(&proxy).lost_total, 0);
}

async fn received(daemon: &UnixDatagram) -> String {
    daemon.set_nonblocking(true).unwrap();
    let daemon = tokio::net::UnixDatagram::from_std(daemon.try_clone().unwrap()).unwrap();
    let mut bytes = vec![0; 4096];
    let length = tokio::time::timeout(LONG, daemon.recv(&mut bytes)).await.expect("no line").unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test]
async fn daemon_that_takes_nothing_holds_up_no_request_and_is_told_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let (proxy, _server) = logging_to(LogDestination::Unix(path)).await;
    // Long lines: a few thousand are more than may wait.
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1_000));
    let mut client = connect(&proxy).await;
    let mut requests = 0;
    while status(&proxy).lost_total == 0 {
        assert_eq!(ask(&mut client, &request).await, OK);
        requests += 1;
        assert!(requests < 20_000, "nothing is lost");
    }
    has_problem(&proxy, "nothing is taken").await;
    for _ in 0..100 {
        assert_eq!(ask(&mut client, &request).await, OK);
    }
    drop(client);
    // From now on it reads.
    let mut lines = 0;
    loop {
        let line = received(&daemon).await;
        if let Some((header, message)) =
            line.split_once("]: ").filter(|(_, rest)| rest.contains(" of this log "))
        {
            // local0.warning
            assert!(header.starts_with("<132>"), "{line}");
            assert!(message.split(' ').next().unwrap().parse::<u64>().unwrap() > 0, "{line}");
            break;
        }
        lines += 1;
    }
    // Those that the kernel had, and some that waited.
    assert!(lines > 10, "{lines}");
    assert!(received(&daemon).await.contains(" \"GET /xxx"));
    eventually("it is well", || problem(&proxy).is_none()).await;
}

#[tokio::test]
async fn port_where_nobody_listens_is_a_problem_until_somebody_does() {
    let syslog = Syslog::start().await;
    let address = syslog.address;
    drop(syslog);
    let (proxy, _server) = logging_to(LogDestination::Udp(address)).await;
    while problem(&proxy).as_deref() != Some("nobody listens there") {
        request(&proxy, "/lost").await;
    }
    // One that was on its way; those after it wait for somebody to be there.
    let lost = status(&proxy).lost_total;
    assert_eq!(lost, 1);
    for _ in 0..20 {
        request(&proxy, "/waits").await;
    }
    assert_eq!((problem(&proxy).as_deref(), status(&proxy).lost_total), (Some("nobody listens there"), lost));
    let socket = std::net::UdpSocket::bind(address).unwrap();
    let (mut bytes, mut waiting, mut told) = ([0; 1024], 0, false);
    while waiting < 20 || !told {
        let length = socket.recv(&mut bytes).unwrap();
        let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
        waiting += usize::from(line.ends_with("\"GET /waits HTTP/1.1\"\n"));
        told |= line.ends_with("1 line of this log is lost\n");
    }
    eventually("it is well", || problem(&proxy).is_none()).await;
    assert_eq!(status(&proxy).lost_total, lost);
}

#[tokio::test]
async fn name_that_does_not_resolve_is_a_problem_and_its_lines_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (hosts, resolv_conf) = (folder.path().join("hosts"), folder.path().join("resolv.conf"));
    fs::write(&hosts, "").unwrap();
    fs::write(&resolv_conf, "").unwrap();
    let syslog = Syslog::start().await;
    let to = LogDestination::UdpName { host: "log.example".to_owned(), port: syslog.address.port() };
    let (proxy, _server) = logging(LogTarget::new(to), |config| {
        config.resolver = ResolverConfig {
            hosts: hosts.clone(),
            resolv_conf: resolv_conf.clone(),
            ..ResolverConfig::default()
        };
    })
    .await;
    eventually("a problem", || {
        problem(&proxy).is_some_and(|what| what.starts_with("its name does not resolve: "))
    })
    .await;
    request(&proxy, "/1").await;
    fs::write(&hosts, "127.0.0.1 log.example\n").unwrap();
    assert!(syslog.line().await.ends_with("\"GET /1 HTTP/1.1\""));
    eventually("it is well", || problem(&proxy).is_none()).await;
}

#[tokio::test]
async fn line_that_no_datagram_takes_is_left_out_and_those_behind_it_arrive() {
    let syslog = Syslog::start().await;
    let target = LogTarget { length: 65_535, wire: LogWire::Raw, ..syslog.target() };
    let (proxy, _server) =
        logging(target, |config| config.log = vec![LogTarget { length: 65_535, ..syslog.target() }]).await;
    let said = |message: String| LogEvent {
        level: Severity::Notice,
        source: "test",
        kind: "said",
        message: message.into(),
        facts: Vec::new(),
    };
    proxy.log(&said("x".repeat(70_000)));
    proxy.log(&said("after it".to_owned()));
    assert!(syslog.raw().await.ends_with(": after it\n"));
    assert_eq!(proxy.status().logs[0].lost_total, 1);
}
