//! The same requests through HAProxy and through us: where both have the same rules, both do the same.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::rig::{Rig, ask, field, status};

const SHA: &str = "$6$rounds=1000$saltsalt$nII71HJmawaDYdXrUHYtoWV/pe6ZN/eQzrZXdKjhrcMU0onLRg6A5m38udZu.lA6f53rIQturF4FMx1X99KF/0";
const YESCRYPT: &str = "$y$j75$saltsalt$3noX8BfvspORvyTLJpvzSCEe8VYTo40KwCpXxLpuU50";

/// A running HAProxy with one frontend on a Unix socket; no port can be taken away that way.
struct Haproxy {
    child: Child,
    folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(rules: &str, app: std::net::SocketAddr, other: std::net::SocketAddr) -> Self {
        let users = format!(
            "userlist staff\n group admins users anna\n user anna password {SHA}\n user bob password {YESCRYPT}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let file = format!(
            "{users}defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
             frontend web\n bind unix@{}\n{rules}\n default_backend app\n\
             backend app\n server s1 {app}\n\
             backend other\n server s1 {other}\n",
            path("socket")
        );
        fs::write(path("haproxy.cfg"), &file).unwrap();
        let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"];
        let program = program.iter().find(|path| fs::exists(path).unwrap()).expect("haproxy is missing");
        let child = Command::new(program)
            .args(["-db", "-f", &path("haproxy.cfg")])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let haproxy = Self { child, folder };
        let begun = Instant::now();
        while UnixStream::connect(haproxy.socket()).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "haproxy does not listen:\n{file}");
            thread::sleep(Duration::from_millis(5));
        }
        haproxy
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    fn ask(&self, request: &str) -> String {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        ask(stream, request)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What matters of an answer, and what the servers got: HAProxy writes names in small letters.
fn outcome(answer: &str, seen: Vec<(&'static str, String)>) -> (u16, Vec<Option<String>>, Vec<String>) {
    let heads = seen.into_iter().map(|(server, head)| {
        let (line, fields) = head.split_once("\r\n").unwrap();
        let fields =
            fields.trim_end().split("\r\n").filter(|field| !field.to_lowercase().starts_with("connection:"));
        let fields: Vec<_> = fields
            .filter_map(|field| field.split_once(':'))
            .map(|(name, value)| format!("{}: {}", name.to_lowercase(), value.trim()))
            .collect();
        format!("{server}: {line} | {}", fields.join(" | "))
    });
    let fields = ["Location", "Content-Type", "X-A"].map(|name| field(answer, name));
    let content = answer.split_once("\r\n\r\n").map(|(_, content)| content);
    // Both have a page of their own for an error.
    let told = if status(answer) < 400 { vec![fields[0], fields[1], fields[2], content] } else { Vec::new() };
    (status(answer), told.into_iter().map(|text| text.map(str::to_owned)).collect(), heads.collect())
}

#[test]
fn both_do_the_same_with_the_same_rules() {
    let get = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: www.example.com\r\n{fields}Connection: close\r\n\r\n")
    };
    // pw of anna and bob, another one, and what is none.
    let users = ["YW5uYTpwdw==", "Ym9iOnB3", "YW5uYTpwdzI=", "ZXZlOnB3", "YW5uYQ==", "!"];
    let users = |target: &str| users.map(|token| get(target, &format!("Authorization: Basic {token}\r\n")));
    let host = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let table: Vec<(&str, &str, Vec<String>)> = vec![
        (
            r#"{ when = { path = "/secret" }, deny = 403 }, { when = { method = "OPTIONS" }, deny = 405 }"#,
            "http-request deny deny_status 403 if { path /secret }\nhttp-request deny deny_status 405 if METH_OPTIONS",
            vec![
                get("/secret", ""),
                get("/secret?x", ""),
                get("/secretx", ""),
                get("/SECRET", ""),
                get("/", "").replace("GET", "OPTIONS"),
            ],
        ),
        (
            r#"{ when = { header = { "X-A" = "1" } }, deny = 403 }, { when = { query = { q = "a" } }, deny = 410 },
               { when = { cookie = { s = { prefix = "x" } } }, deny = 429 }"#,
            "http-request deny deny_status 403 if { hdr(x-a) 1 }\nhttp-request deny deny_status 410 if { url_param(q) a }\n\
             http-request deny deny_status 429 if { req.cook(s) -m beg x }",
            vec![
                get("/", "X-A: 1\r\n"),
                get("/", "X-A: 2\r\nx-a: 1\r\n"),
                get("/", "X-A: 12\r\n"),
                get("/?q=a&b", ""),
                get("/?b&q=aa", ""),
                get("/", "Cookie: a=1; s=xy\r\n"),
                get("/", "Cookie: as=xy\r\n"),
            ],
        ),
        (
            r#"{ when = { header = { "X-A" = { contains = "b c" } } }, deny = 403 },
               { when = { header = { "User-Agent" = { contains = "Bot" } }, path = "/b" }, backend = "other" }"#,
            "http-request deny deny_status 403 if { req.fhdr(x-a) -m sub \"b c\" }\n\
             use_backend other if { req.fhdr(user-agent) -m sub Bot } { path /b }",
            vec![
                get("/", "X-A: ab cd\r\n"),
                get("/", "X-A: b  c\r\n"),
                get("/", "X-A: b, c\r\nx-a: b c\r\n"),
                get("/", "X-A: B C\r\n"),
                get("/b", "User-Agent: aBot/1\r\n"),
                get("/b", "User-Agent: abot/1\r\n"),
                get("/", "User-Agent: aBot/1\r\n"),
            ],
        ),
        (
            r#"{ when = { scheme = "http", path = "/h" }, deny = 403 }, { when = { scheme = "https", path = "/s" }, deny = 410 },
               { when = { not = { scheme = "https" }, path = "/n" }, redirect = { scheme = "https" } }"#,
            "http-request deny deny_status 403 if !{ ssl_fc } { path /h }\n\
             http-request deny deny_status 410 if { ssl_fc } { path /s }\n\
             http-request redirect scheme https if !{ ssl_fc } { path /n }",
            vec![get("/h", ""), get("/s", ""), get("/n?x", ""), get("/", "")],
        ),
        (
            r#"{ when = { path = "/a" }, redirect = { location = "https://e.example.com/b", status = 301 } },
               { when = { path = "/p" }, redirect = { prefix = "https://e.example.com", status = 308 } },
               { when = { path = "/d" }, redirect = { prefix = "/n", drop_query = true } },
               { when = { path = "/s" }, redirect = { scheme = "https", status = 303 } }"#,
            "http-request redirect location https://e.example.com/b code 301 if { path /a }\n\
             http-request redirect prefix https://e.example.com code 308 if { path /p }\n\
             http-request redirect prefix /n drop-query if { path /d }\n\
             http-request redirect scheme https code 303 if { path /s }",
            vec![get("/a?x", ""), get("/p?x=y", ""), get("/d?x", ""), get("/s?x", ""), get("/", "")],
        ),
        (
            r#"{ set_header = { "X-A" = "1" } }, { add_header = { "X-A" = "2" } }, { when = { header = { "X-B" = true } }, set_header = { "X-A" = "3" } },
               { delete_header = "X-C" }, { replace_header = { "X-D" = { regex = '^(a+)(b)', with = "$2$1" } } }"#,
            "http-request set-header X-A 1\nhttp-request add-header X-A 2\nhttp-request set-header X-A 3 if { hdr(x-b) -m found }\n\
             http-request del-header X-C\nhttp-request replace-header X-D ^(a+)(b) \\2\\1",
            vec![
                get("/", "X-A: 0\r\nx-a: 0\r\n"),
                get("/", "X-B: 1\r\nX-C: 1\r\n"),
                get("/", "X-D: aab\r\nX-C: 1\r\nx-c: 2\r\n"),
            ],
        ),
        (
            r#"{ when = { host = "a.example.com" }, backend = "other" }, { when = { host = "*.b.example.com" }, backend = "other" }"#,
            "use_backend other if { req.hdr(host),host_only -i a.example.com }\nuse_backend other if { req.hdr(host),host_only -i -m end .b.example.com }",
            vec![
                host("a.example.com"),
                host("A.Example.com:81"),
                host("b.example.com"),
                host("x.y.B.example.com"),
                host("xb.example.com"),
            ],
        ),
        (
            r#"{ when = { path = "/ok" }, allow = true }, { when = { path_suffix = ".png", not = { header = { "X-A" = true } } }, deny = 403 },
               { when = [{ path = "/x" }, { path = "/y", header = { "X-A" = "1" } }], deny = 404 }"#,
            "http-request allow if { path /ok }\nhttp-request deny deny_status 403 if { path_end .png } !{ hdr(x-a) -m found }\n\
             http-request deny deny_status 404 if { path /x } or { path /y } { hdr(x-a) 1 }",
            vec![
                get("/ok", ""),
                get("/a.png", ""),
                get("/a.png", "X-A: 0\r\n"),
                get("/x", ""),
                get("/y", ""),
                get("/y", "X-A: 1\r\n"),
            ],
        ),
        (
            r#"{ when = { path = "/a" }, respond = { content_type = "text/plain", body = "{request.method} {request.path}", headers = { "X-A" = "{request.query}" } } },
               { when = { path = "/b" }, respond = { status = 503, body = "x" } }, { when = { path = "/c" }, respond = 204 }"#,
            "http-request return status 200 content-type text/plain lf-string \"%[method] %[path]\" hdr X-A \"%[query]\" if { path /a }\n\
             http-request return status 503 content-type text/plain string x if { path /b }\n\
             http-request return status 204 if { path /c }",
            vec![
                get("/a?b=c", ""),
                get("/a?b", "").replace("GET", "HEAD"),
                get("/b", ""),
                get("/c", ""),
                get("/d", ""),
            ],
        ),
        (
            r#"{ when = { path = "/a" }, require_auth = { users = "staff", realm = "A" } },
               { when = { path = "/b" }, require_auth = { users = "staff", groups = ["admins"] } }"#,
            "http-request auth realm A if { path /a } !{ http_auth(staff) }\n\
             http-request auth if { path /b } !{ http_auth_group(staff) admins }",
            [&[get("/a", ""), get("/b", ""), get("/", "")][..], &users("/a"), &users("/b")].concat(),
        ),
    ];
    let mut compared = 0;
    for (ours, theirs, requests) in table {
        let staff = format!(
            "[users.staff]\nuser.anna = \"{SHA}\"\nuser.bob = \"{YESCRYPT}\"\ngroup.admins = \"anna\"\n"
        );
        let rig = Rig::new(&format!("rules = [{ours}]"), "", &staff);
        let haproxy = Haproxy::start(theirs, rig.app, rig.other);
        for request in requests {
            let found = outcome(&rig.send(&request), rig.taken());
            let expected = outcome(&haproxy.ask(&request), rig.taken());
            assert_eq!(found, expected, "{theirs}\n{request}");
            compared += 1;
        }
    }
    assert_eq!(compared, 62);
}

/// An address that nobody else listens on: of this process, and another one for each `last`.
fn own_address(last: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 100 + high % 100, low, last)
}

#[test]
fn both_tell_the_ports_of_a_frontend_apart() {
    let (here, there) = (own_address(1), own_address(2));
    let rig = Rig::new(
        "",
        "",
        &format!(
            "[frontend.ports]\nbind = [\"{here}:8080\", \"{here}:8081\", \"{here}:9001\"]\ndefault_backend = \"app\"\n\
             rules = [{{ when = {{ port = 8081 }}, deny = 403 }}, {{ when = {{ port = \"9000-9999\" }}, backend = \"other\" }}]"
        ),
    );
    let theirs = format!(
        " default_backend app\nfrontend ports\n bind {there}:8080\n bind {there}:8081\n bind {there}:9001\n\
         http-request deny deny_status 403 if {{ dst_port 8081 }}\nuse_backend other if {{ dst_port 9000:9999 }}"
    );
    let _haproxy = Haproxy::start(&theirs, rig.app, rig.other);
    // It binds one after the other.
    let begun = Instant::now();
    while TcpStream::connect((there, 9001)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "haproxy does not listen:\n{theirs}");
        thread::sleep(Duration::from_millis(5));
    }
    let get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (port, expected) in [(8080, (200, "app")), (8081, (403, "")), (9001, (200, "other"))] {
        let [found, wanted] = [here, there].map(|address| {
            let answer = ask(TcpStream::connect((address, port)).unwrap(), get);
            outcome(&answer, rig.taken())
        });
        assert_eq!(found, wanted, "{port}");
        let server = found.2.first().and_then(|head| head.split(':').next());
        assert_eq!((found.0, server.unwrap_or_default()), expected, "{port}");
    }
}

/// Lines of a frontend, ours and theirs, and what is asked.
#[test]
fn both_refuse_the_same_requests_and_responses() {
    let get = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: www.example.com\r\n{fields}Connection: close\r\n\r\n")
    };
    let key = |key: &str| get("/", &format!("X-Key: {key}\r\n"));
    let table: Vec<(&str, &str, Vec<String>)> = vec![
        (
            r#"timeout = { tarpit = "100ms" }
               rules = [{ when = { path = "/t" }, tarpit = true }, { when = { path_prefix = "/u" }, tarpit = 429 }]"#,
            "timeout tarpit 100ms\nhttp-request tarpit if { path /t }\nhttp-request tarpit deny_status 429 if { path_beg /u }",
            vec![get("/t", ""), get("/u?x", ""), get("/", ""), get("/t", "").replace("GET", "HEAD")],
        ),
        (
            r#"rules = [{ rate_limit = { by = "{request.header.x-key}", rate = "3/1h" } }]"#,
            "stick-table type string size 100 expire 1h store http_req_rate(1h)\n\
             http-request track-sc0 req.hdr(x-key) if { req.hdr(x-key) -m found }\n\
             http-request deny deny_status 429 if { sc_http_req_rate(0) gt 3 }",
            ["a", "b", "a", "a", "b", "a", "a", "b", "b"]
                .iter()
                .map(|name| key(name))
                .chain([get("/", "")])
                .collect(),
        ),
        (
            r#"response_rules = [{ when = { path_prefix = "/a" }, deny = 403 }, { when = { path = "/b", header = { "X-App" = "1" } }, deny = true }]"#,
            "http-request set-var(txn.path) path\n\
             http-response deny deny_status 403 if { var(txn.path) -m dir a }\n\
             http-response deny if { var(txn.path) -m str /b } { res.hdr(x-app) 1 }",
            vec![get("/a", ""), get("/a/x?y", ""), get("/ab", ""), get("/b", ""), get("/", "")],
        ),
        (
            r#"response_rules = [
                 { when = { path_prefix = "/a", status = 200 }, respond = { status = 202, content_type = "text/x", body = "instead", headers = { "X-A" = "1" } } },
                 { when = { path = "/b" }, respond = 204 },
                 { when = { path = "/c" }, respond = { status = 503, body = "closed" } },
                 { when = { path = "/a" }, deny = 403 },
               ]"#,
            "http-request set-var(txn.path) path\n\
             http-response return status 202 content-type text/x string instead hdr X-A 1 if { var(txn.path) -m dir a } { status 200 }\n\
             http-response return status 204 if { var(txn.path) -m str /b }\n\
             http-response return status 503 content-type text/plain string closed if { var(txn.path) -m str /c }\n\
             http-response deny deny_status 403 if { var(txn.path) -m str /a }",
            ["/a", "/a/x?y", "/ab", "/b", "/c", "/"]
                .iter()
                .flat_map(|target| [get(target, ""), get(target, "").replace("GET", "HEAD")])
                .collect(),
        ),
    ];
    for (ours, theirs, requests) in table {
        let rig = Rig::new(ours, "", "");
        let haproxy = Haproxy::start(theirs, rig.app, rig.other);
        for request in requests {
            let found = outcome(&rig.send(&request), rig.taken());
            let expected = outcome(&haproxy.ask(&request), rig.taken());
            // Both have a page of their own for a refusal.
            assert_eq!(found, expected, "{theirs}\n{request}");
        }
    }
}
