//! Responses of HTTP/1 servers, and what changes them on their way.

use std::time::Duration;

use lb_proxy::{
    Config,
    config::{Compression, Cookie, Hsts},
    rules::{Action, Condition, Pattern, Replacement, Rule, SetStatus, Text as Written},
    sample::{Names, Place, Stage, Template, Text},
};

/// What is asked, what the server says to it, and what is changed in that.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) server: &'static str,
    pub(crate) change: fn(&mut Config),
    /// What each of the clients has to have got, among the rest.
    pub(crate) has: &'static [(&'static str, &'static str)],
}

const PLAIN: Case = Case {
    name: "nothing",
    method: "GET",
    fields: &[],
    server: "HTTP/1.1 200 OK\r\nServer: x\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nabc",
    change: |_| {},
    has: &[("server", "x"), ("x-a", "1"), ("content-length", "3")],
};

fn text(source: &str) -> Written {
    let names = Names::default();
    let place = Place { stage: Stage::Response, backend: false, text: Text::Field, names: &names };
    Written::new(source, Template::parse(source, &place).unwrap())
}

fn ruled(config: &mut Config, then: Vec<Action>) {
    config.frontends[0].response_rules = vec![Rule { when: Condition::ALWAYS, then }];
}

fn hsts(config: &mut Config) {
    config.frontends[0].hsts = Some(Hsts::new(Duration::from_secs(60), true, false));
}

fn gzip(config: &mut Config) {
    config.frontends[0].compression = Some(Compression { minimum_size: 0, ..Compression::default() });
}

fn sticky(config: &mut Config) {
    config.backends[0].cookie = Some(Cookie { indirect: true, ..Cookie::new("SRV") });
    config.backends[0].servers[0].cookie = Some("app1".to_owned());
}

fn set(name: &str, value: &str) -> Action {
    Action::SetHeader(name.to_owned(), text(value))
}

fn all(config: &mut Config) {
    hsts(config);
    gzip(config);
    sticky(config);
    ruled(config, vec![set("X-Set", "1"), Action::DeleteHeader("Server".to_owned())]);
}

pub(crate) fn cases() -> Vec<Case> {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"1\"\r\n";
    vec![
        PLAIN,
        Case {
            name: "fields that are set",
            change: |config| ruled(config, vec![set("X-A", "2"), set("X-New", "{response.status} b")]),
            has: &[("x-a", "2"), ("x-new", "200 b")],
            ..PLAIN
        },
        Case {
            name: "fields that are added",
            change: |config| {
                ruled(config, ["2", "3"].map(|value| Action::AddHeader("X-A".into(), text(value))).into());
            },
            has: &[("x-a", "1"), ("x-a", "2"), ("x-a", "3")],
            ..PLAIN
        },
        Case {
            name: "fields that are deleted",
            change: |config| ruled(config, vec![Action::DeleteHeader("x-a".into())]),
            has: &[("server", "x")],
            ..PLAIN
        },
        Case {
            name: "a value that is replaced",
            change: |config| {
                let replacement = Replacement::new(Pattern::new("1").unwrap(), "one").unwrap();
                ruled(config, vec![Action::ReplaceHeader("X-A".into(), replacement)]);
            },
            has: &[("x-a", "one")],
            ..PLAIN
        },
        Case {
            name: "another status",
            change: |config| {
                ruled(config, vec![Action::SetStatus(SetStatus { status: 418, reason: Some("Tea".into()) })]);
            },
            ..PLAIN
        },
        Case {
            name: "a field that is empty, and one of a value with spaces",
            server: "HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Spaces:   a  b \t\r\nContent-Length: 0\r\n\r\n",
            change: |config| ruled(config, vec![set("X-None", "{request.header.x-none}")]),
            has: &[("x-empty", ""), ("x-spaces", "a  b")],
            ..PLAIN
        },
        Case {
            name: "HSTS",
            change: hsts,
            has: &[("strict-transport-security", "max-age=60; includeSubDomains")],
            ..PLAIN
        },
        Case {
            name: "HSTS in the place of the server's",
            server: "HTTP/1.1 200 OK\r\nSTRICT-TRANSPORT-SECURITY: max-age=1\r\nContent-Length: 0\r\n\r\n",
            change: hsts,
            has: &[("strict-transport-security", "max-age=60; includeSubDomains")],
            ..PLAIN
        },
        Case {
            name: "gzip of a known length",
            fields: &[("accept-encoding", "gzip")],
            server: concat_head(html, "Content-Length: 12\r\n\r\nabcabcabcabc"),
            change: gzip,
            has: &[("content-encoding", "gzip"), ("vary", "Accept-Encoding"), ("etag", "W/\"1\"")],
            ..PLAIN
        },
        Case {
            name: "gzip of chunks with trailers",
            fields: &[("accept-encoding", "gzip"), ("te", "trailers")],
            server: concat_head(
                html,
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
            ),
            change: gzip,
            has: &[("content-encoding", "gzip")],
            ..PLAIN
        },
        Case {
            name: "gzip of HEAD",
            method: "HEAD",
            fields: &[("accept-encoding", "gzip")],
            server: concat_head(html, "Content-Length: 12\r\n\r\n"),
            change: gzip,
            has: &[("content-encoding", "gzip")],
        },
        Case {
            name: "gzip that is not taken",
            fields: &[("accept-encoding", "identity")],
            server: concat_head(html, "Content-Length: 12\r\n\r\nabcabcabcabc"),
            change: gzip,
            has: &[("content-length", "12"), ("etag", "\"1\"")],
            ..PLAIN
        },
        Case {
            name: "a cookie for persistence",
            server: "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n",
            change: sticky,
            has: &[("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("set-cookie", "SRV=app1; path=/")],
            ..PLAIN
        },
        Case {
            name: "cookies of a server, in their order",
            server: "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: a=2\r\nSet-Cookie: b=\"3, 4\"\r\nContent-Length: 0\r\n\r\n",
            has: &[("set-cookie", "a=1"), ("set-cookie", "a=2"), ("set-cookie", "b=\"3, 4\"")],
            ..PLAIN
        },
        Case {
            name: "names of any case",
            server: "HTTP/1.1 200 OK\r\nALT-SVC: H3=\":443\"; MA=60\r\nX-VeRy-LoNg-NaMe-Of-A-FiElD-tHaT-iS-nOt-In-AnY-tAbLe-Of-HpAcK-oR-eLsEwHeRe: V\r\nContent-LENGTH: 0\r\n\r\n",
            change: |config| ruled(config, vec![set("X-UPPER", "Value"), set("Alt-SVC", "H2=\":444\"")]),
            has: &[("alt-svc", "H2=\":444\""), ("x-upper", "Value")],
            ..PLAIN
        },
        Case {
            name: "fields of one hop and those that Connection names",
            server: "HTTP/1.1 200 OK\r\nConnection: X-Named, keep-alive\r\nx-named: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-Other: 1\r\nContent-Length: 0\r\n\r\n",
            has: &[("x-other", "1")],
            ..PLAIN
        },
        Case {
            name: "the same where something is changed",
            server: "HTTP/1.1 200 OK\r\nX-NAMED: 1\r\nConnection: X-Named\r\nConnection: x-b\r\nX-B: 2\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
            change: |config| ruled(config, vec![set("X-New", "1")]),
            has: &[("x-new", "1")],
            ..PLAIN
        },
        Case {
            name: "a named field that a rule sets",
            server: "HTTP/1.1 200 OK\r\nX-Named: 1\r\nConnection: X-Named\r\nContent-Length: 0\r\n\r\n",
            change: |config| ruled(config, vec![set("X-Named", "2")]),
            has: &[("x-named", "2")],
            ..PLAIN
        },
        Case {
            name: "interim heads",
            server: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLINK: </c>\r\nConnection: x-c\r\nX-C: 1\r\n\r\nHTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc",
            change: all,
            has: &[("x-set", "1")],
            ..PLAIN
        },
        Case {
            name: "204",
            server: "HTTP/1.1 204 No Content\r\nServer: x\r\nETag: \"1\"\r\n\r\n",
            change: all,
            has: &[("x-set", "1")],
            ..PLAIN
        },
        Case {
            name: "204 that says a length",
            server: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n",
            has: &[("x-a", "1")],
            ..PLAIN
        },
        Case {
            name: "205",
            server: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n",
            has: &[("x-a", "1")],
            ..PLAIN
        },
        Case {
            name: "304",
            fields: &[("if-none-match", "\"1\""), ("accept-encoding", "gzip")],
            server: "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Type: text/html\r\nContent-Length: 300\r\n\r\n",
            change: all,
            has: &[("x-set", "1")],
            ..PLAIN
        },
        Case {
            name: "304 as it is",
            server: "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 300\r\n\r\n",
            has: &[("etag", "\"1\""), ("content-length", "300")],
            ..PLAIN
        },
        Case {
            name: "HEAD",
            method: "HEAD",
            server: "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 300\r\n\r\n",
            has: &[("x-a", "1"), ("content-length", "300")],
            ..PLAIN
        },
        Case {
            name: "HEAD where something is changed",
            method: "HEAD",
            server: "HTTP/1.1 404 Not Found\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            change: all,
            has: &[("x-a", "1"), ("x-set", "1")],
            ..PLAIN
        },
        Case {
            name: "HTTP/1.0, until its end",
            server: "HTTP/1.0 200 Fine\r\nX-A: 1\r\n\r\nabc",
            change: |config| ruled(config, vec![set("X-New", "1")]),
            has: &[("x-a", "1"), ("x-new", "1")],
            ..PLAIN
        },
        Case {
            name: "chunks with trailers",
            fields: &[("te", "trailers")],
            server: "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\nX-UPPER: 2\r\n\r\n",
            change: sticky,
            has: &[("set-cookie", "SRV=app1; path=/")],
            ..PLAIN
        },
        Case {
            name: "all of it",
            fields: &[("accept-encoding", "gzip")],
            server: concat_head(
                html,
                "Server: x\r\nSet-Cookie: a=1\r\nContent-Length: 12\r\n\r\nabcabcabcabc",
            ),
            change: all,
            has: &[("x-set", "1"), ("content-encoding", "gzip"), ("set-cookie", "SRV=app1; path=/")],
            ..PLAIN
        },
        Case {
            name: "a response that rules refuse",
            change: |config| ruled(config, vec![Action::Deny(403)]),
            has: &[("content-type", "text/html")],
            ..PLAIN
        },
    ]
}

fn concat_head(head: &str, rest: &str) -> &'static str {
    Box::leak(format!("{head}{rest}").into_boxed_str())
}
