//! Rules that give a request another path, query or source; rules on responses; rules of tcp frontends.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use crate::rig::{Rig, ask, field, status};

const HOST: &str = "Host: www.example.com\r\n";

#[test]
fn path_and_query_are_rewritten_and_what_a_client_sent_cannot_leave_them() {
    let rig = Rig::with_rules(
        r#"{ when = { path_prefix = "/old" }, replace_path = { regex = '^/old(/.*)?$', with = "/new$1" } },
           { when = { path_prefix = "/new/x" }, set_header = { "X-Seen" = "{request.path}" } },
           { when = { path = "/q" }, set_path = "/p/{request.query.x}", set_query = "a={request.query.y}" },
           { when = { path = "/none" }, set_query = "" }"#,
    );
    for (target, expected) in
        [("/old/x?k=v", "/new/x?k=v"), ("/old", "/new"), ("/older", "/older"), ("/none?a=b", "/none")]
    {
        rig.get(target, HOST);
        let (_, head) = rig.taken().remove(0);
        assert!(head.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{target}: {head}");
        assert_eq!(field(&head, "X-Seen").is_some(), target.starts_with("/old/x"), "{head}");
    }
    rig.get("/q?x=a%20b%0d%0aX-Evil:1&y=1%202", HOST);
    let (_, head) = rig.taken().remove(0);
    let line = head.split("\r\n").next().unwrap();
    assert_eq!(line.split(' ').count(), 3, "{head:?}");
    assert!(line.starts_with("GET /p/a") && line.contains("?a=1"), "{head:?}");
    assert_eq!(field(&head, "X-Evil"), None, "{head:?}");
}

#[test]
fn the_source_is_taken_from_trusted_proxies_and_from_nobody_else() {
    let rules = |trusted: &str| {
        format!(
            r#"{{ set_source = {{ trusted = [{trusted}] }} }}, {{ when = {{ source = "198.51.100.0/24" }}, deny = 403 }},
               {{ set_header = {{ "X-Client" = "{{client.ip}}" }} }}"#
        )
    };
    let rig = Rig::with_rules(&rules(r#""127.0.0.0/8", "192.0.2.0/24""#));
    for (fields, expected) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.5\r\n", "203.0.113.5"),
        ("X-Forwarded-For: 203.0.113.5, 192.0.2.1\r\n", "203.0.113.5"),
        ("X-Forwarded-For: 198.51.100.1, 203.0.113.5\r\nX-Forwarded-For: 192.0.2.1\r\n", "203.0.113.5"),
        ("X-Forwarded-For: 198.51.100.1, unknown, 192.0.2.1\r\n", "0.0.0.0"),
        ("X-Forwarded-For: 198.51.100.1,\r\n", "0.0.0.0"),
    ] {
        assert_eq!(status(&rig.get("/", &format!("{HOST}{fields}"))), 200, "{fields}");
        let (_, head) = rig.taken().remove(0);
        assert_eq!(field(&head, "X-Client"), Some(expected), "{fields}");
    }
    let listed = "X-Forwarded-For: 203.0.113.5, 198.51.100.1\r\n";
    assert_eq!(status(&rig.get("/", &format!("{HOST}{listed}"))), 403);
    let rig = Rig::with_rules(&rules(r#""192.0.2.0/24""#));
    assert_eq!(status(&rig.get("/", &format!("{HOST}{listed}"))), 200, "the peer is not trusted");
}

#[test]
fn who_comes_over_a_unix_socket_is_trusted_if_the_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("front.sock");
    for (trusted, expected) in [(r#""unix""#, "203.0.113.5"), (r#""0.0.0.0/0", "::/0""#, "none")] {
        let local = format!(
            r#"[frontend.local]
            bind = "unix:{}"
            default_backend = "app"
            rules = [{{ set_source = {{ trusted = [{trusted}] }}, set_header = {{ "X-Client" = '{{client.ip|default("none")}}' }} }}]"#,
            socket.display()
        );
        let rig = Rig::new("", "", &local);
        let stream = UnixStream::connect(&socket).unwrap();
        let listed = "X-Forwarded-For: 198.51.100.1, 203.0.113.5\r\n";
        let answer = ask(stream, &format!("GET / HTTP/1.1\r\n{HOST}{listed}Connection: close\r\n\r\n"));
        assert_eq!(status(&answer), 200);
        let (_, head) = rig.taken().remove(0);
        assert_eq!(field(&head, "X-Client"), Some(expected), "{head}");
        assert_eq!(field(&head, "X-Forwarded-For"), Some("198.51.100.1, 203.0.113.5"));
    }
}

#[test]
fn responses_are_changed_by_the_backend_and_then_by_the_frontend() {
    let rig = Rig::new(
        r#"response_rules = [
             { when = { header = { "X-Order" = "back" } }, set_header = { "X-Order" = "{response.header.x-order} front" } },
             { set_header = { "Strict-Transport-Security" = "max-age=1" } },
             { when = { status = "500-599" }, set_header = { "X-Wrong" = "1" } },
           ]"#,
        r#"response_rules = [
             { delete_header = "X-App", set_header = { "X-Order" = "back" } },
             { replace_header = { "Server" = { regex = '/.*', with = "" } } },
             { when = { status = 200 }, add_header = { "X-Server" = "{backend.name} {response.status}" }, allow = true },
             { set_header = { "X-Wrong" = "1" } },
           ]"#,
        "",
    );
    let answer = rig.get("/", HOST);
    assert!(answer.ends_with("\r\n\r\napp"), "{answer}");
    for (name, expected) in [
        ("X-App", None),
        ("Server", Some("app")),
        ("X-Server", Some("app 200")),
        ("X-Order", Some("back front")),
        ("Strict-Transport-Security", Some("max-age=1")),
        ("X-Wrong", None),
        ("Content-Length", Some("3")),
    ] {
        assert_eq!(field(&answer, name), expected, "{name}: {answer}");
    }
}

#[test]
fn responses_are_refused_by_what_they_say() {
    let rig = Rig::new(
        r#"response_rules = [{ when = { header = { "X-App" = "1" } }, deny = 451 }]"#,
        r#"response_rules = [{ when = { header = { "Server" = { prefix = "apache" } } }, deny = true }]"#,
        "",
    );
    assert_eq!(status(&rig.get("/", HOST)), 451);
    let rig = Rig::new(
        "",
        r#"response_rules = [{ when = { header = { "Server" = { prefix = "app" } } }, deny = true }]"#,
        "",
    );
    let answer = rig.get("/", HOST);
    assert_eq!((status(&answer), field(&answer, "X-App")), (502, None), "{answer}");
    assert_eq!(rig.counter("denied_responses_total"), 1);
}

#[test]
fn connections_of_a_tcp_frontend_are_refused_or_let_through_by_source_and_port() {
    for (rules, served) in [
        (r#"{ when = { source = "127.0.0.0/8" }, deny = true }"#, false),
        (r#"{ when = { source = "192.0.2.0/24" }, deny = true }"#, true),
        (r#"{ when = { source = "127.0.0.1" }, allow = true }, { deny = true }"#, true),
        (r#"{ when = { not = { port = "1-65535" } }, allow = true }, { deny = true }"#, false),
        (r#"{ when = { source = "127.0.0.1" }, backend = "app" }"#, true),
    ] {
        let rig = Rig::new(&format!("mode = \"tcp\"\nrules = [{rules}]"), "mode = \"tcp\"", "");
        let mut client = rig.connect();
        let _ = client.write_all(format!("GET / HTTP/1.1\r\n{HOST}\r\n").as_bytes());
        let _ = client.shutdown(Shutdown::Write);
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        assert_eq!(answer.ends_with("\r\n\r\napp"), served, "{rules}: {answer}");
        assert_eq!(rig.counter("denied_total"), u64::from(!served), "{rules}");
    }
}

#[test]
fn values_between_commas_are_replaced_one_by_one() {
    let rig = Rig::with_rules_and_responses(
        r#"{ replace_value = { "X-List" = { regex = '^b$', with = "c" } }, set_method = "PUT" },
           { when = { method = "PUT", value = { "{request.header_count.x-list}" = "3", "{request.header_lines.x-list}" = "2" } },
             set_header = { "X-Seen" = "{request.base}" } }"#,
        r#"{ replace_value = { "X-App" = { regex = '^1$', with = "2" } } }"#,
    );
    let answer = rig.get("/p?q", "Host: A:80\r\nX-List: a,  b ,\"x,b\"\r\nX-List:b\r\n");
    assert_eq!(field(&answer, "X-App"), Some("2"), "{answer}");
    let taken = rig.taken();
    let head = &taken[0].1;
    assert!(head.starts_with("PUT /p?q HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("X-List: a,  c ,\"x,b\"\r\nX-List: c\r\n"), "{head}");
    // Three values in one line and one in the other are four.
    assert_eq!(field(head, "X-Seen"), None, "{head}");
    rig.get("/p?q", "Host: A:80\r\nX-List: a, b\r\nX-List:\r\n");
    assert_eq!(field(&rig.taken()[0].1, "X-Seen"), Some("A:80/p"));
    let answer = rig.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(rig.taken()[0].1.starts_with("HEAD / "));
}

#[test]
fn names_that_are_read_in_two_ways_are_deleted_or_refused_behind_the_rules() {
    let rules = r#"rules = [
        { when = { header = { "x_see" = true } }, respond = 204 },
        { set_header = { "Set_By" = "a rule", "X-B" = "1" } },
    ]"#;
    for (word, expected) in [("delete", 200), ("reject", 403), ("preserve", 200)] {
        let rig = Rig::new(&format!("restrict_header_names = \"{word}\"\n{rules}"), "", "");
        let answer = rig.get("/", "Host: a\r\nX_A: 1\r\nX.A: 2\r\nX-A1: 3\r\n");
        assert_eq!(status(&answer), expected, "{word}: {answer}");
        if expected == 200 {
            let head = rig.taken().remove(0).1;
            let kept = ["X_A", "X.A", "Set_By"].map(|name| field(&head, name).is_some());
            assert_eq!(kept, [word == "preserve"; 3], "{word}: {head}");
            assert_eq!((field(&head, "X-A1"), field(&head, "X-B")), (Some("3"), Some("1")), "{word}: {head}");
        }
        let answer = rig.get("/", "Host: a\r\nx_see: 1\r\n");
        assert_eq!(status(&answer), 204, "{word}: {answer}");
    }
    let rig = Rig::new("restrict_header_names = \"reject\"", "", "");
    assert_eq!(status(&rig.get("/", "Host: a\r\nX_A: 1\r\n")), 403);
    assert_eq!((status(&rig.get("/", "Host: a\r\n")), rig.counter("denied_total")), (200, 1));
}
