//! What is said of checks and of errors of traffic: the same servers, checked by both, then the lines of the backends' logs and
//! the columns of the statistics. How long a check took is left out.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{
        Backend, BackendId, Bind, Check, CheckKind, Frontend, HttpCheck, Layer, LogDestination, LogTarget,
        Mode, Observe, OnError, Pace, Server,
    },
    status::ServerState,
};
use regex::Regex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{haproxy::HAProxy, logs::Log, peers::read_head, rig::*};

const WELL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const HOUR: Duration = Duration::from_secs(3600);

struct Case {
    name: &'static str,
    /// What checks are answered while the server is not well; `None` for nothing.
    sick: Option<&'static [u8]>,
    logs_checks: bool,
    /// Errors of traffic instead, each answered so.
    traffic: Option<(&'static str, OnError)>,
    lines: usize,
}

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not \"here\", no <b>\r\nContent-Length: 0\r\n\r\n";

/// `lines`: of each, from the first check to the last one.
const CASES: [Case; 7] = [
    Case { name: "status", sick: Some(NOT_FOUND), logs_checks: false, traffic: None, lines: 3 },
    Case { name: "status_logged", sick: Some(NOT_FOUND), logs_checks: true, traffic: None, lines: 8 },
    Case { name: "silent", sick: None, logs_checks: false, traffic: None, lines: 3 },
    Case { name: "silent_logged", sick: None, logs_checks: true, traffic: None, lines: 8 },
    Case { name: "nonsense", sick: Some(b"nonsense\r\n\r\n"), logs_checks: false, traffic: None, lines: 3 },
    Case {
        name: "traffic",
        sick: None,
        logs_checks: false,
        traffic: Some(("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", OnError::MarkDown)),
        lines: 2,
    },
    Case {
        name: "traffic_logged",
        sick: None,
        logs_checks: true,
        traffic: Some(("", OnError::MarkDown)),
        lines: 4,
    },
];

/// Answers checks as the case says, and requests for `/` as its traffic is answered.
async fn server(case: &'static Case, is_well: &Arc<AtomicBool>) -> Scripted {
    let is_well = Arc::clone(is_well);
    Scripted::start(move |mut stream| {
        let is_well = Arc::clone(&is_well);
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            let answer = match case.traffic {
                Some((answer, _)) if head.starts_with("GET / ") => answer.as_bytes(),
                _ if is_well.load(Ordering::SeqCst) => WELL,
                _ => match case.sick {
                    Some(sick) => sick,
                    None => return drop(stream.read(&mut [0; 1]).await),
                },
            };
            let _ = stream.write_all(answer).await;
        }
    })
    .await
}

fn haproxy_sections(servers: &[SocketAddr], port: u16) -> String {
    // Or a server with a long interval waits for a part of it before its first check.
    let mut sections = "global\n  max-spread-checks 10\nfrontend stats\n  bind unix@FOLDER/stats\n  stats enable\n  stats uri /\n".to_owned();
    for (case, server) in CASES.iter().zip(servers) {
        let Case { name, logs_checks, traffic, .. } = case;
        let option = if *logs_checks { "  option log-health-checks\n" } else { "" };
        let (pace, observe) = match traffic {
            Some(_) => ("inter 1h", "observe layer7 error-limit 2 on-error mark-down"),
            None => ("inter 200ms", ""),
        };
        sections += &format!(
            "frontend f_{name}\n  bind unix@FOLDER/{name}\n  default_backend {name}\n\
             backend {name}\n  log 127.0.0.1:{port} local3\n{option}  option httpchk GET /check HTTP/1.1\n  retries 0\n  \
             server s1 {server} check {pace} rise 2 fall 2 {observe}\n"
        );
    }
    sections
}

fn our_config(servers: &[SocketAddr], port: u16) -> lb_proxy::Config {
    let mut all = config(Mode::Http, &[]);
    all.frontends.clear();
    all.backends.clear();
    let (_, local3) = lb_proxy::config::Facility::all().find(|(name, _)| *name == "local3").unwrap();
    for (index, (case, &server)) in CASES.iter().zip(servers).enumerate() {
        let to = LogDestination::Udp(([127, 0, 0, 1], port).into());
        let mut backend = Backend::new(case.name, Mode::Http, vec![Server::new("s1", server)]);
        backend.log = vec![LogTarget { facility: local3, ..LogTarget::new(to) }];
        backend.log_health_checks = case.logs_checks;
        backend.retries = 0;
        let every = if case.traffic.is_some() { HOUR } else { Duration::from_millis(200) };
        let kind = CheckKind::Http(Box::new(HttpCheck::new("GET", "/check")));
        let check = Check::new(kind);
        let timeout = Duration::from_millis(200);
        backend.check = Some(Check { pace: Pace::steady(every), timeout, rise: 2, fall: 2, ..check });
        backend.observe =
            case.traffic.map(|(_, on_error)| Observe { layer: Layer::Layer7, error_limit: 2, on_error });
        all.backends.push(backend);
        let bind = Bind { label: String::new(), address: ANY, accept_proxy: None };
        let mut frontend = Frontend::new(format!("f_{}", case.name), Mode::Http, vec![bind]);
        frontend.default_backend = Some(BackendId(index));
        all.frontends.push(frontend);
    }
    all
}

/// The lines of all cases, by case.
async fn lines(log: &Log, upto: impl Fn(&Case) -> usize) -> Vec<Vec<String>> {
    let duration = Regex::new(r"check duration: \d+ms").unwrap();
    let mut found: Vec<Vec<String>> = CASES.iter().map(|_| Vec::new()).collect();
    while CASES.iter().zip(&found).any(|(case, lines)| lines.len() < upto(case)) {
        let line = log.line().await;
        let (importance, rest) = line.split_once('>').unwrap();
        let message = duration.replace(rest.split_once("]: ").unwrap().1, "check duration: T").into_owned();
        // The request that made it may not have ended yet.
        let message = message.replace("1 sessions active", "0 sessions active");
        let of = |case: &Case| {
            message.contains(&format!(" {}/s1 ", case.name))
                || message.contains(&format!("backend {} ", case.name))
        };
        let index = CASES.iter().position(of).unwrap_or_else(|| panic!("{line}"));
        found[index].push(format!("{importance}> {message}"));
    }
    found
}

/// `check_status check_code last_chk` of each case's server.
async fn haproxy_columns(haproxy: &HAProxy) -> Vec<String> {
    let mut stream = UnixStream::connect(haproxy.socket("stats")).await.unwrap();
    stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let columns = CASES.iter().map(|case| {
        let line = text.lines().find(|line| line.starts_with(&format!("{},s1,", case.name))).unwrap();
        let cells: Vec<_> = line.splitn(57, ',').collect();
        // The last one may have commas in quotes.
        let last = match cells[56].strip_prefix('"') {
            Some(quoted) => quoted.replace("\"\"", "\u{1}").split('"').next().unwrap().replace('\u{1}', "\""),
            None => cells[56].split(',').next().unwrap().to_owned(),
        };
        format!("{} {} {last}", cells[36].trim_start_matches("* "), cells[37])
    });
    columns.collect()
}

fn our_columns(proxy: &Proxy) -> Vec<String> {
    let status = proxy.status();
    let columns = status.backends.iter().map(|backend| {
        let check = backend.servers[0].last_check.as_ref().unwrap();
        let code = check.code.has_status().then(|| check.status.unwrap_or(0).to_string());
        format!("{} {} {}", check.code.word(), code.unwrap_or_default(), check.info)
    });
    columns.collect()
}

#[tokio::test]
async fn both_say_the_same_of_checks_and_of_errors_of_traffic() {
    let is_well = Arc::new(AtomicBool::new(true));
    let mut servers = Vec::new();
    for case in &CASES {
        servers.push(server(case, &is_well).await);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let (their_log, our_log) = (Log::start(), Log::start());
    let haproxy = HAProxy::start(&haproxy_sections(&addresses, their_log.port), "stats").await;
    let proxy = Proxy::start(our_config(&addresses, our_log.port)).unwrap();
    eventually("all are up", || proxy.health().borrow().backends.iter().all(|backend| backend.usable == 1))
        .await;
    // Their first checks are done, with and without a line.
    let checked = async {
        while haproxy_columns(&haproxy).await.iter().any(|columns| columns != "L7OK 200 ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, checked).await.expect("HAProxy has checked");
    let logged = |case: &Case| usize::from(case.logs_checks);
    let (mut theirs, mut ours) = (lines(&their_log, logged).await, lines(&our_log, logged).await);

    is_well.store(false, Ordering::SeqCst);
    for (index, case) in CASES.iter().enumerate().filter(|(_, case)| case.traffic.is_some()) {
        let address = proxy.status().frontends[index].binds[0].address.unwrap();
        for _ in 0..2 {
            let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let mut client = UnixStream::connect(haproxy.socket(case.name)).await.unwrap();
            client.write_all(get).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(get).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
        }
    }
    // Down, and the line that says that nobody is left; before it those of checks that failed.
    let down = |case: &Case| match (case.traffic, case.logs_checks) {
        (None, true) => 4,
        (Some(_), true) => 3,
        (_, false) => 2,
    };
    for (all, log) in [(&mut theirs, &their_log), (&mut ours, &our_log)] {
        for (all, new) in all.iter_mut().zip(lines(log, down).await) {
            all.extend(new);
        }
    }
    eventually("all are down", || {
        proxy.status().backends.iter().all(|backend| backend.servers[0].state == ServerState::Down)
    })
    .await;
    let ours_of_checks: Vec<_> =
        our_columns(&proxy).iter().map(|columns| columns.replace("the answer is not HTTP", "")).collect();
    let mut theirs_of_checks = Vec::new();
    // While another check runs there, code and words of the last one are gone.
    for _ in 0..1000 {
        theirs_of_checks = haproxy_columns(&haproxy).await;
        if theirs_of_checks == ours_of_checks {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ours_of_checks, theirs_of_checks);

    is_well.store(true, Ordering::SeqCst);
    let up = |case: &Case| case.lines - down(case) - logged(case);
    for (all, log) in [(&mut theirs, &their_log), (&mut ours, &our_log)] {
        for (all, new) in all.iter_mut().zip(lines(log, up).await) {
            all.extend(new);
        }
    }
    proxy.stop(Duration::ZERO).await;
    for (case, (theirs, ours)) in CASES.iter().zip(theirs.into_iter().zip(ours)) {
        // HAProxy does not say what it could not understand.
        let ours: Vec<_> =
            ours.iter().map(|line| line.replace(", info: \"the answer is not HTTP\"", "")).collect();
        assert_eq!(ours, theirs, "{}", case.name);
        assert_eq!(ours.len(), case.lines, "{}: {ours:?}", case.name);
    }
}
