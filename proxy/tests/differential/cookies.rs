//! Persistence by cookie. Every server answers with its name, with the lines that a request asks for, and with the
//! Cookie lines that it was sent.

use std::{fmt::Write, net::SocketAddr};

use lb_proxy::{
    Config, Proxy,
    config::{Backend, BackendId, Bind, CheckKind, Cookie, CookieMode, Frontend, Mode, SameSite, Server},
    rules::{Action, Condition, Rule},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{haproxy::HAProxy, rig::*};

/// Cookie values of the servers; the third has weight 0, the fourth is down.
const VALUES: [&str; 4] = ["app1", "app2", "app3", "app4"];

/// What came of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Outcome {
    /// `balanced` if the same request went to another one next.
    server: String,
    /// Values of Set-Cookie, moments as `DDDDD`, and the value of a server that was balanced as `OWN`.
    set: Vec<String>,
    cache: Vec<String>,
    /// The Cookie lines that the server got.
    seen: Vec<String>,
}

/// How a case of ours compares with HAProxy's.
enum Expected {
    Same,
    /// We differ, on purpose: what only we do.
    Differs(fn(&mut Outcome)),
}
use Expected::{Differs, Same};

struct Case {
    method: &'static str,
    cookies: &'static [&'static str],
    /// Lines that the server adds to its response.
    response: &'static [&'static str],
    expected: Expected,
}

fn get(cookies: &'static [&'static str], expected: Expected) -> Case {
    Case { method: "GET", cookies, response: &[], expected }
}

fn answered(cookies: &'static [&'static str], response: &'static [&'static str], expected: Expected) -> Case {
    Case { method: "GET", cookies, response, expected }
}

/// A moment that is `{now-60}` in a case's text becomes that time, as both write it.
fn with_moments(text: &str) -> String {
    let Some((before, rest)) = text.split_once("{now-") else { return text.to_owned() };
    let (ago, after) = rest.split_once('}').unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let steps = (now - ago.parse::<u64>().unwrap()) / 4;
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let moment: String =
        (0..5).rev().map(|at| char::from(digits[(steps >> (6 * at)) as usize & 63])).collect();
    format!("{before}{moment}{}", with_moments(after))
}

/// Moments differ by when they were made.
fn without_moments(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('|').enumerate() {
        if index == 0 {
            out.push_str(part);
        } else {
            write!(out, "|DDDDD{}", &part[5..]).unwrap();
        }
    }
    out
}

async fn server(name: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let lines = |wanted: &str| -> Vec<String> {
                head.lines()
                    .filter_map(|line| line.split_once(": "))
                    .filter(|(field, _)| field.eq_ignore_ascii_case(wanted))
                    .map(|(_, value)| value.to_owned())
                    .collect()
            };
            let body = lines("cookie").join("\n");
            let added: String = lines("x-respond").iter().map(|line| format!("{line}\r\n")).collect();
            let response = format!(
                "HTTP/1.1 200 OK\r\nX-Server: {name}\r\n{added}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(response.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await
}

async fn ask(stream: impl AsyncRead + AsyncWrite, case: &Case) -> Outcome {
    let mut stream = std::pin::pin!(stream);
    let mut request = format!("{} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", case.method);
    if case.method == "POST" {
        request.push_str("Content-Length: 0\r\n");
    }
    for line in case.cookies {
        write!(request, "Cookie: {}\r\n", with_moments(line)).unwrap();
    }
    for line in case.response {
        write!(request, "X-Respond: {line}\r\n").unwrap();
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    timeout(LONG, stream.read_to_end(&mut response)).await.expect("no whole response").unwrap();
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let lines = |wanted: &str| -> Vec<String> {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.to_owned())
            .collect()
    };
    Outcome {
        server: lines("x-server").concat(),
        set: lines("set-cookie").iter().map(|line| without_moments(line)).collect(),
        cache: lines("cache-control"),
        seen: body.lines().map(str::to_owned).collect(),
    }
}

/// Asks twice: of two servers in turn, two requests that are balanced get both.
async fn twice(ask: impl AsyncFn() -> Outcome) -> Outcome {
    let [mut outcome, second] = [ask().await, ask().await].map(|mut outcome| {
        let own = outcome.server.replace('s', "app");
        for line in &mut outcome.set {
            *line = line.replacen(&own, "OWN", 1);
        }
        outcome
    });
    if outcome.server != second.server {
        outcome.server = "balanced".into();
        assert_eq!(outcome, Outcome { server: "balanced".into(), ..second });
    }
    outcome
}

fn cookie(change: impl FnOnce(&mut Cookie)) -> Cookie {
    let mut cookie = Cookie::new("SRV");
    change(&mut cookie);
    cookie
}

/// The arguments of HAProxy's `cookie`, ours, and what is asked with them, in this order.
fn groups() -> Vec<(&'static str, Cookie, Vec<Case>)> {
    let private = |outcome: &mut Outcome| outcome.cache.push("private".into());
    let indirect = cookie(|cookie| cookie.indirect = true);
    vec![
        ("SRV insert", cookie(|_| ()), plain()),
        ("SRV insert indirect", indirect.clone(), hidden()),
        (
            "SRV insert indirect nocache",
            Cookie { nocache: true, ..indirect.clone() },
            vec![
                // HAProxy takes a response without a validator for one that no cache keeps; heuristics may.
                get(&[], Differs(private)),
                get(&["SRV=app1"], Same),
                answered(&[], &["ETag: \"1\""], Same),
                answered(&[], &["Cache-Control: max-age=60"], Same),
                answered(&[], &["Cache-Control: public, max-age=60"], Same),
                answered(&[], &["Cache-Control: no-store"], Same),
                answered(&[], &["Cache-Control: private"], Same),
                answered(&[], &["Cache-Control: no-cache", "ETag: \"1\""], Same),
            ],
        ),
        (
            "SRV insert indirect postonly",
            Cookie { postonly: true, ..indirect.clone() },
            vec![
                get(&[], Same),
                Case { method: "POST", cookies: &[], response: &[], expected: Same },
                Case { method: "POST", cookies: &["SRV=app2"], response: &[], expected: Same },
                get(&["SRV=app4"], Same),
            ],
        ),
        (
            "SRV insert indirect preserve",
            Cookie { preserve: true, ..indirect.clone() },
            vec![
                get(&[], Same),
                answered(&[], &["Set-Cookie: SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT"], Same),
                answered(&["SRV=app1"], &["Set-Cookie: SRV=own"], Same),
                answered(&["SRV=app4"], &["Set-Cookie: SRV=own; path=/x"], Same),
                answered(&[], &["Set-Cookie: XSRV=own"], Same),
            ],
        ),
        (
            "SRV insert indirect httponly secure domain .example.com attr SameSite=Lax",
            Cookie {
                httponly: true,
                secure: true,
                domain: Some(".example.com".into()),
                same_site: Some(SameSite::Lax),
                ..indirect.clone()
            },
            vec![get(&[], Same), get(&["SRV=app2"], Same)],
        ),
        ("SRV rewrite", cookie(|cookie| cookie.mode = CookieMode::Rewrite), of_servers()),
        ("SRV prefix", cookie(|cookie| cookie.mode = CookieMode::Prefix), prefixed()),
        (
            "SRV prefix indirect",
            cookie(|cookie| (cookie.mode, cookie.indirect) = (CookieMode::Prefix, true)),
            prefixed(),
        ),
        ("SRV", cookie(|cookie| cookie.mode = CookieMode::Passive), of_servers()),
        (
            "SRV insert indirect maxidle 1h maxlife 2h",
            Cookie {
                maxidle: Some(std::time::Duration::from_secs(3600)),
                maxlife: Some(std::time::Duration::from_secs(7200)),
                ..indirect.clone()
            },
            dated(),
        ),
        ("SRV insert\n  ignore-persist if TRUE", cookie(|_| ()), ignored()),
        ("SRV insert indirect\n  ignore-persist if TRUE", indirect, ignored()),
        (
            "SRV prefix\n  ignore-persist if TRUE",
            cookie(|cookie| cookie.mode = CookieMode::Prefix),
            ignored(),
        ),
    ]
}

/// A rule keeps them from being persisted.
fn ignored() -> Vec<Case> {
    vec![
        get(&[], Same),
        get(&["A=1; SRV=app1; B=2"], Same),
        get(&["SRV=app2~own"], Same),
        get(&["SRV=app4"], Same),
        answered(&["SRV=app1"], &["Set-Cookie: SRV=own"], Same),
    ]
}

/// Not persisted, and a new cookie is set.
fn balanced(seen: &[&str]) -> Outcome {
    let seen = seen.iter().map(|&line| line.to_owned()).collect();
    Outcome { server: "balanced".into(), set: vec!["SRV=OWN; path=/".into()], cache: vec![], seen }
}

/// HAProxy takes spaces around `=` away from the server's line.
fn spaced(outcome: &mut Outcome) {
    outcome.set[1] = outcome.set[1].replacen('=', " = ", 1);
}

fn plain() -> Vec<Case> {
    vec![
        get(&[], Same),
        get(&["SRV=app1"], Same),
        get(&["A=1; SRV=app2; B=2"], Same),
        get(&["SRV=app3"], Same),
        get(&["SRV=app4"], Same),
        get(&["SRV=nonsense"], Same),
        answered(&[], &["Set-Cookie: SRV=own", "Set-Cookie: A=1"], Same),
        answered(&["SRV=app1"], &["Set-Cookie: SRV=own", "Set-Cookie: A=1"], Same),
        answered(&["SRV=app1"], &["Set-Cookie: SRVx=own", "Set-Cookie: XSRV=1; path=/"], Same),
    ]
}

fn hidden() -> Vec<Case> {
    vec![
        get(&[], Same),
        get(&["SRV=app1"], Same),
        get(&["SRV=app2"], Same),
        get(&["A=1; SRV=app2; B=2"], Same),
        get(&["SRV=app2; B=2"], Same),
        get(&["A=1; SRV=app2"], Same),
        get(&["A=1", "SRV=app1", "B=2"], Same),
        get(&["A=1; SRV=app1", "SRV=app2; B=2"], Same),
        get(&["SRV=app2; A=1; SRV=app1"], Same),
        get(&["SRV=gone; A=1; SRV=app1"], Same),
        get(&["SRV=app4; SRV=app1"], Same),
        get(&["XSRV=app1; SRVx=app1; srv=app1; S=app1"], Same),
        get(&["SRV=app"], Same),
        get(&["SRV=app11"], Same),
        get(&["SRV=APP1"], Same),
        get(&["SRV=\"app1\""], Same),
        get(&["SRV="], Same),
        get(&["SRV"], Same),
        get(&["SRV=app3; A=1"], Same),
        get(&["SRV=app4; A=1"], Same),
        get(&["SRV=app1|{now-60}"], Same),
        get(&["A=\"x; SRV=app1; y\"; B=2"], Same),
        get(&["$Version=1; SRV=app1; $Path=/"], Same),
        get(&["$Version=1; A=1; $Path=/a; SRV=app1; $Path=/; B=2"], Same),
        // A comma separates cookies there; here it is part of a value, as in browsers.
        get(
            &["A=1,SRV=app1"],
            Differs(|outcome| {
                *outcome = balanced(&["A=1,SRV=app1"]);
            }),
        ),
        get(&["A=1;SRV=app2;B=2"], Same),
        // A quote that never ends hides what follows there.
        get(
            &["A=\"x; SRV=app1; B=2"],
            Differs(|outcome| {
                *outcome = Outcome {
                    server: "s1".into(),
                    set: vec![],
                    cache: vec![],
                    seen: vec!["A=\"x; B=2".into()],
                };
            }),
        ),
        // What is no moment is left out there.
        get(&["SRV=app1|x"], Differs(|outcome| *outcome = balanced(&[]))),
    ]
}

fn of_servers() -> Vec<Case> {
    vec![
        get(&[], Same),
        get(&["A=1; SRV=app2; B=2"], Same),
        get(&["SRV=app3"], Same),
        get(&["SRV=app4"], Same),
        answered(&[], &["Set-Cookie: SRV=own; path=/; HttpOnly"], Same),
        answered(&["SRV=app1"], &["Set-Cookie: SRV=own; path=/; HttpOnly"], Same),
        answered(&["SRV=app1"], &["Set-Cookie: SRVx=own", "Set-Cookie: SRV = own ; path=/"], Differs(spaced)),
        answered(&["SRV=app1"], &["Set-Cookie: SRV=", "Set-Cookie: A=SRV"], Same),
    ]
}

fn prefixed() -> Vec<Case> {
    vec![
        get(&[], Same),
        get(&["A=1; SRV=app2~own; B=2"], Same),
        get(&["SRV=app1~a~b"], Same),
        get(&["SRV=app1~"], Same),
        get(&["SRV=gone~own"], Same),
        get(&["SRV=app4~own"], Same),
        get(&["SRV=other"], Same),
        // Without the delimiter it is none of ours.
        get(&["SRV=app1"], Differs(|outcome| outcome.server = "balanced".into())),
        answered(&[], &["Set-Cookie: SRV=own; path=/"], Same),
        answered(&["SRV=app2~x"], &["Set-Cookie: SRV=own; path=/"], Same),
        answered(&["SRV=app4~x"], &["Set-Cookie: SRV=own; path=/", "Set-Cookie: XSRV=1"], Same),
    ]
}

fn dated() -> Vec<Case> {
    vec![
        get(&[], Same),
        get(&["SRV=app1|{now-60}|{now-90}"], Same),
        get(&["SRV=app2|{now-0}|{now-90}"], Same),
        get(&["SRV=app2|{now-3700}|{now-4000}"], Same),
        get(&["SRV=app2|{now-60}|{now-7300}"], Same),
        get(&["SRV=app2|{now-60}"], Same),
        get(&["SRV=app2"], Same),
        get(&["SRV=app4|{now-60}|{now-90}"], Same),
        get(&["SRV=gone|{now-60}|{now-90}"], Same),
    ]
}

/// One frontend and one backend for each group.
fn ours(groups: &[(&str, Cookie, Vec<Case>)], servers: &[SocketAddr]) -> Config {
    let mut config = config(Mode::Http, &[]);
    config.threads = 1.try_into().unwrap();
    let bind = || vec![Bind { label: "front:0".to_owned(), address: ANY, accept_proxy: None }];
    let server = |(index, &address): (usize, &SocketAddr)| Server {
        cookie: Some(VALUES[index].to_owned()),
        weight: u16::from(index != 2),
        ..Server::new(format!("s{}", index + 1), address)
    };
    let ignoring = [Rule { when: Condition::ALWAYS, then: vec![Action::IgnorePersistence] }];
    config.frontends = (0..groups.len())
        .map(|index| Frontend {
            default_backend: Some(BackendId(index)),
            ..Frontend::new(format!("f{index}"), Mode::Http, bind())
        })
        .collect();
    config.backends = groups
        .iter()
        .enumerate()
        .map(|(index, (arguments, cookie, _))| Backend {
            cookie: Some(cookie.clone()),
            rules: ignoring.iter().filter(|_| arguments.contains("ignore-persist")).cloned().collect(),
            check: Some(quick_check(CheckKind::Tcp)),
            ..Backend::new(format!("b{index}"), Mode::Http, servers.iter().enumerate().map(server).collect())
        })
        .collect();
    config
}

fn theirs(groups: &[(&str, Cookie, Vec<Case>)], servers: &[SocketAddr]) -> String {
    let mut text = String::new();
    for (index, (arguments, ..)) in groups.iter().enumerate() {
        writeln!(text, "frontend f{index}\n  bind unix@FOLDER/f{index}\n  default_backend b{index}").unwrap();
        writeln!(text, "backend b{index}\n  balance roundrobin\n  cookie {arguments}").unwrap();
        for (index, address) in servers.iter().enumerate() {
            let extra = ["", "", " weight 0", " disabled"][index];
            writeln!(text, "  server s{} {address} cookie {}{extra}", index + 1, VALUES[index]).unwrap();
        }
    }
    text
}

#[tokio::test]
async fn cookies_are_treated_as_by_haproxy_but_where_we_say_so() {
    let groups = groups();
    let (refusing, s1, s2, s3) =
        (Refusing::new(), server("s1").await, server("s2").await, server("s3").await);
    let servers = [s1.address, s2.address, s3.address, refusing.address];
    let haproxy = HAProxy::start(&theirs(&groups, &servers), "f0").await;
    let proxy = Proxy::start(ours(&groups, &servers)).unwrap();
    healthy(&proxy, "checked", |health| health.first_round_done).await;
    let mut failures = String::new();
    for (index, (arguments, _, cases)) in groups.iter().enumerate() {
        for case in cases {
            let socket = haproxy.socket(&format!("f{index}"));
            let address = proxy.status().frontends[index].binds[0].address.unwrap();
            let theirs = twice(async || ask(UnixStream::connect(&socket).await.unwrap(), case).await).await;
            let ours = twice(async || ask(TcpStream::connect(address).await.unwrap(), case).await).await;
            let mut expected = theirs.clone();
            if let Differs(change) = case.expected {
                change(&mut expected);
                assert_ne!(expected, theirs, "{arguments}: {:?}: this is no difference", case.cookies);
            }
            if ours != expected {
                writeln!(
                    failures,
                    "{arguments}: {:?} {:?}\n  HAProxy  {theirs:?}\n  expected {expected:?}\n  found    {ours:?}",
                    case.cookies, case.response
                )
                .unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
