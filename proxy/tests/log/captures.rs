//! What lines have of headers and cookies.

use lb_proxy::{
    Config, Proxy,
    config::{Capture, CapturedCookie, CapturedHeader, LogFormat},
    rules::{Action, Condition, Destination, HostPattern, HostSet, PathPattern, Redirect, Rule},
    sample::{Names, Stage},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::connect,
    syslog::{Syslog, end},
};

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-B: q\"#|}\u{e4}\r\nSet-Cookie: SESS2=zzz; Path=/\r\n\
    Set-Cookie: SESSION=abcdefghijkl; Path=/\r\n\r\nok";

fn header(name: &str, length: u16) -> CapturedHeader {
    CapturedHeader { name: name.to_owned(), length }
}

fn cookie(name: &str, is_prefix: bool, length: u16) -> CapturedCookie {
    CapturedCookie { name: name.to_owned(), is_prefix, length }
}

/// With two headers of the request, two of the response and a cookie.
fn capturing(server: &Recording, syslog: &Syslog, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.capture = Capture {
        request_headers: vec![header("Host", 10), header("x-a", 20)],
        response_headers: vec![header("content-length", 20), header("X-B", 20)],
        cookie: Some(cookie("SESS", true, 12)),
    };
    change(&mut config);
    Proxy::start(config).unwrap()
}

const REQUEST: &str = "GET /a?b=1 HTTP/1.1\r\nHost: a.very.long.host.example\r\nX-A: one\r\nX-A: t{w}|\"#o\r\n\
    Cookie: a=b; SESSION=qwertyuiop; SESS=1\r\n\r\n";

#[tokio::test]
async fn captured_headers_and_cookies_stand_in_httplog_where_haproxy_has_them() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let proxy = capturing(&server, &syslog, |_| {});
    let mut client = connect(&proxy).await;
    ask(&mut client, REQUEST).await;
    let line = syslog.line().await;
    assert!(
        line.contains(" SESSION=qwer SESS2=zzz ---- ")
            && line.ends_with(
                " 0/0 {a.very.lon|t#7Bw#7D#7C#22#23o} {2|q#22#23#7C#7D#C3#A4} \"GET /a?b=1 HTTP/1.1\""
            ),
        "{line}"
    );
    // Nothing is left of the one before.
    ask(&mut client, GET).await;
    let line = syslog.line().await;
    assert!(line.contains(" - SESS2=zzz ---- ") && line.contains(" {a|} {2|q#22"), "{line}");
    client.write_all(b"GET\r\n\r\n").await.unwrap();
    let line = syslog.line().await;
    assert!(line.contains(" - - PR-- ") && line.ends_with(" 0/0 \"<BADREQ>\""), "{line}");
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn headers_are_captured_as_they_come_whatever_rules_make_of_them() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let text = |text: &str| crate::templates::text(text, Stage::Request, &Names::default());
    let proxy = capturing(&server, &syslog, |config| {
        let frontend = &mut config.frontends[0];
        frontend.rules = vec![
            Rule {
                when: Condition::All(Vec::new()),
                then: vec![Action::SetHeader("X-A".into(), text("changed"))],
            },
            Rule {
                when: Condition::Path(vec![PathPattern::Exact("/r".into())]),
                then: vec![Action::Redirect(Redirect {
                    to: Destination::Location(text("https://b.example/")),
                    status: 302,
                    drop_query: false,
                    append_slash: false,
                    headers: Vec::new(),
                })],
            },
        ];
        frontend.response_rules = vec![Rule {
            when: Condition::All(Vec::new()),
            then: vec![Action::SetHeader("X-B".into(), text("changed"))],
        }];
    });
    let mut client = connect(&proxy).await;
    let answer = ask(&mut client, REQUEST).await;
    assert!(server.requests()[0].contains("X-A: changed") && answer.contains("X-B: changed"), "{answer}");
    let line = syslog.line().await;
    assert!(line.contains(" {a.very.lon|t#7Bw#7D#7C#22#23o} {2|q#22#23#7C#7D#C3#A4} "), "{line}");
    // What is answered here has no headers of a server's.
    ask(&mut client, "GET /r HTTP/1.1\r\nHost: b\r\n\r\n").await;
    let line = syslog.line().await;
    assert!(line.ends_with(" LR-- 1/1/0/0/0 0/0 {b|} {|} \"GET /r HTTP/1.1\""), "{line}");
}

#[tokio::test]
async fn cookie_stands_in_lines_of_what_was_denied_and_not_of_what_a_rule_has_answered() {
    let server = Recording::answering(RESPONSE).await;
    for (format, is_json) in [(LogFormat::Http, false), (LogFormat::Clf, false), (LogFormat::Json, true)] {
        let syslog = Syslog::start().await;
        let proxy = capturing(&server, &syslog, |config| {
            let text = |text: &str| crate::templates::text(text, Stage::Request, &Names::default());
            let at = |path: &str| Condition::Path(vec![PathPattern::Exact(path.into())]);
            let there = Destination::Location(text("/there"));
            let redirect = Redirect::new(there, 302);
            config.frontends[0].log.format = format.clone();
            config.frontends[0].rules = vec![
                Rule { when: at("/there"), then: vec![Action::Redirect(redirect)] },
                Rule { when: at("/denied"), then: vec![Action::Deny(403)] },
            ];
        });
        let mut client = connect(&proxy).await;
        for (path, has_cookie) in [("/there", is_json), ("/denied", true)] {
            ask(&mut client, &REQUEST.replace("/a?b=1", path)).await;
            let line = syslog.raw().await;
            assert_eq!(line.contains("SESSION=qwer"), has_cookie, "{line}");
        }
    }
}

#[tokio::test]
async fn cookie_is_found_by_its_whole_name_or_by_the_beginning_of_it_and_never_breaks_a_column() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let proxy = capturing(&server, &syslog, |config| {
        config.frontends[0].log.capture =
            Capture { cookie: Some(cookie("SESS", false, 64)), ..Capture::default() };
    });
    let mut client = connect(&proxy).await;
    for (sent, logged) in [
        ("Cookie: SESSION=1; SESS=2; SESS=3", "SESS=2"),
        ("Cookie: SESSION=1", "-"),
        ("Cookie: SESS=a b\"", "SESS=a#20b#22"),
        ("Cookie: x=1\r\nCookie: SESS=4", "SESS=4"),
    ] {
        ask(&mut client, &format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}\r\n\r\n")).await;
        let line = syslog.line().await;
        assert!(line.contains(&format!(" {logged} - ---- ")) && !line.contains('{'), "{sent}: {line}");
    }
}

#[tokio::test]
async fn clf_is_haproxys() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let proxy = capturing(&server, &syslog, |config| config.frontends[0].log.format = LogFormat::Clf);
    let mut client = connect(&proxy).await;
    ask(&mut client, REQUEST).await;
    let port = client.local_addr().unwrap().port();
    let line = syslog.raw().await;
    let expected = format!(
        r#"^<134>.*\]: 127\.0\.0\.1 - - \[\d\d/\w{{3}}/\d{{4}}:\d\d:\d\d:\d\d [+-]\d{{4}}\] "GET /a\?b=1 HTTP/1\.1" 200 \d+ "" "" {port} \d{{3}} "front" "back" "s1" \d+ \d+ \d+ \d+ \d+ ---- 1 1 0 0 0 0 0 "SESSION=qwer" "SESS2=zzz" "a\.very\.lon" "t\#7Bw\#7D\#7C\#22\#23o" "2" "q\#22\#23\#7C\#7D\#C3\#A4"\n$"#
    );
    assert!(regex::Regex::new(&expected).unwrap().is_match(&line), "{line}");
}

#[tokio::test]
async fn json_has_what_was_captured_as_it_came() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let proxy = capturing(&server, &syslog, |config| {
        config.frontends[0].log.format = LogFormat::Json;
        config.frontends[0].log.targets[0].length = 2_048;
    });
    let mut client = connect(&proxy).await;
    ask(&mut client, REQUEST).await;
    let line = syslog.raw().await;
    let expected = "\"request_headers\":{\"Host\":\"a.very.lon\",\"x-a\":\"t{w}|\\\"#o\"},\
        \"response_headers\":{\"content-length\":\"2\",\"X-B\":\"q\\\"#|}\u{e4}\"},\
        \"request_cookie\":\"SESSION=qwer\",\"response_cookie\":\"SESS2=zzz\"}\n";
    assert!(line.ends_with(expected), "{line}");
    ask(&mut client, "GET / HTTP/1.0\r\n\r\n").await;
    let line = syslog.raw().await;
    assert!(line.contains("\"request_headers\":{\"Host\":null,\"x-a\":null},"), "{line}");
}

#[tokio::test]
async fn a_long_target_takes_no_room_from_what_was_captured_in_json() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let proxy = capturing(&server, &syslog, |config| {
        config.frontends[0].log.format = LogFormat::Json;
        config.frontends[0].log.targets[0].length = 2_048;
    });
    let long = format!("GET /{}", "\\".repeat(3000));
    let request = REQUEST.replacen("GET /", &format!("{long}?"), 1);
    ask(&mut connect(&proxy).await, &request).await;
    let line = syslog.raw().await;
    let expected = "\"request_headers\":{\"Host\":\"a.very.lon\",\"x-a\":\"t{w}|\\\"#o\"},\
        \"response_headers\":{\"content-length\":\"2\",\"X-B\":\"q\\\"#|}\u{e4}\"},\
        \"request_cookie\":\"SESSION=qwer\",\"response_cookie\":\"SESS2=zzz\"}\n";
    assert!(line.ends_with(expected), "{line}");
    assert!(line.contains("\"target\":\"/\\\\") && (1_500..=2_048).contains(&line.len()), "{line}");
}

#[tokio::test]
async fn hosts_alone_are_the_same_whether_something_else_is_looked_at_or_not() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(RESPONSE).await);
    let proxy = capturing(&server, &syslog, |config| {
        let frontend = &mut config.frontends[0];
        let host = HostSet::new(vec![HostPattern::parse("nobody.example").unwrap()]);
        frontend.rules = vec![Rule { when: Condition::Host(host), then: vec![Action::Deny(403)] }];
    });
    ask(&mut connect(&proxy).await, REQUEST).await;
    assert!(syslog.line().await.contains(" {a.very.lon|t#7Bw#7D#7C#22#23o} {2|"));
}
