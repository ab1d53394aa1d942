//! Answers that rules give by themselves.

use std::io::{Read, Write};

use crate::rig::{Rig, field, status};

const HOST: &str = "Host: www.example.com\r\n";

/// The answer up to its end, of a connection that stays open.
fn ask_on(client: &mut std::net::TcpStream, request: &str, end: &str) -> String {
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn respond_answers_byte_for_byte_and_no_server_is_asked() {
    let rig = Rig::with_rules(
        r#"{ when = { path = "/text" }, respond = { body = "You said {request.query.q|url_decode}\n" } },
           { when = { path = "/html" }, respond = { status = 503, content_type = "text/html", body = "<b>{request.query.q|url_decode|html}</b>", headers = { "Retry-After" = "120", "Set-Cookie" = ["a=1", "b={client.ip}"] } } },
           { when = { path = "/none" }, respond = 204 },
           { when = { path = "/same" }, respond = { status = 304, headers = { ETag = '"1"' } } },
           { when = { path = "/reset" }, respond = 205 },
           { when = { path = "/empty" }, respond = { headers = { "X-Path" = "{request.target}" } } },
           { set_var = { "who" = "{request.host}" } }, { respond = { status = 418, body = "{var.who}" } }"#,
    );
    let table = [
        (
            "/text?q=%3Cb%3E%0d%0a",
            "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nYou said <b>\r\n\n",
        ),
        (
            "/html?q=%3Cb%3E",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 16\r\nContent-Type: text/html\r\nRetry-After: 120\r\n\
             Set-Cookie: a=1\r\nSet-Cookie: b=127.0.0.1\r\n\r\n<b>&lt;b&gt;</b>",
        ),
        ("/none", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("/same", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n"),
        ("/reset", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        ("/empty?a", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Path: /empty?a\r\n\r\n"),
        (
            "/x",
            "HTTP/1.1 418 Refused\r\nContent-Length: 15\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nwww.example.com",
        ),
    ];
    // One connection for all: each answer ends where its length says.
    let mut client = rig.connect();
    for (target, expected) in table {
        let get = format!("GET {target} HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(ask_on(&mut client, &get, expected), expected);
        let head = &expected[..expected.find("\r\n\r\n").unwrap() + 4];
        assert_eq!(ask_on(&mut client, &get.replace("GET", "HEAD"), head), head);
    }
    assert!(rig.taken().is_empty());
    assert_eq!(rig.counter("denied_total"), 0);
}

#[test]
fn an_answer_ends_the_connection_where_it_has_to() {
    let rig = Rig::with_rules(r#"{ respond = { body = "ok" } }"#);
    let closed = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nok";
    for request in [
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 30\r\n\r\nGET /second HTTP/1.1\r\nHost: a"),
        format!("GET / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        assert_eq!(rig.send(&request), closed, "{request}");
    }
}

#[test]
fn a_value_of_a_client_ends_no_line_of_an_answer() {
    let rig = Rig::with_rules(
        r#"{ respond = { headers = { "X-Q" = "{request.query.q|url_decode}", "X-C" = "{request.cookie.c|base64_decode}" }, body = "ok" } }"#,
    );
    let answer = rig.get("/?q=a%0d%0aX-Evil:%201%0d%0a%0d%0a%00", &format!("{HOST}Cookie: c=YQ0KeDogMQ\r\n"));
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\nX-Q: a  X-Evil: 1     \r\n\
         X-C: a  x: 1\r\nConnection: close\r\n\r\nok"
    );
}

#[test]
fn a_file_is_sent_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("closed.html");
    let content: Vec<u8> = "{client.ip} \0".bytes().cycle().take(64 * 1024).collect();
    std::fs::write(&page, &content).unwrap();
    let rig = Rig::with_rules(&format!(
        "{{ when = {{ path = \"/closed\" }}, respond = {{ status = 503, file = {:?} }} }}",
        page.display().to_string()
    ));
    // What is read at the start is what is sent.
    std::fs::remove_file(&page).unwrap();
    let answer = rig.get("/closed", HOST);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let expected = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 65536\r\nContent-Type: text/html\r\nConnection: close";
    assert_eq!((head, body.as_bytes() == content), (expected, true));
    assert_eq!(status(&rig.get("/", HOST)), 200);
}

#[test]
fn a_backend_answers_for_its_servers_with_what_rules_know() {
    let rig =
        Rig::new("", r#"rules = [{ respond = { status = 503, body = "{backend.name} is closed" } }]"#, "");
    assert!(rig.get("/", HOST).ends_with("\r\n\r\napp is closed"));
    let answer = "rules = [{ when = { path = \"/r\" }, redirect = \"/{backend.name}/{client.ip}\" }, { respond = { body = \"{client.ip}\" } }]";
    let trusting = "rules = [{ set_source = { trusted = \"127.0.0.0/8\" } }]";
    let rig = Rig::new(trusting, answer, "");
    let through = format!("{HOST}X-Forwarded-For: 192.0.2.7\r\n");
    assert!(rig.get("/", &through).ends_with("\r\n\r\n192.0.2.7"));
    assert_eq!(field(&rig.get("/r", &through), "Location"), Some("/app/192.0.2.7"));
    assert!(rig.taken().is_empty());
}

#[test]
fn a_redirection_appends_a_slash_and_has_lines_of_its_own() {
    let rig = Rig::with_rules(
        r#"{ redirect = { prefix = "/new", append_slash = true, headers = { "Set-Cookie" = ["a=1", "b={request.host}"] } } }"#,
    );
    for (target, location) in
        [("/a?b=c", "/new/a/?b=c"), ("/a/", "/new/a/"), ("/", "/new/"), ("/a", "/new/a/")]
    {
        let answer = rig.get(target, "Host: x\r\n");
        assert_eq!(field(&answer, "Location"), Some(location), "{target}: {answer}");
        assert!(answer.contains("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=x\r\n"), "{answer}");
    }
}

#[test]
fn rules_go_by_how_many_servers_can_be_used() {
    let rig = Rig::with_rules(
        r#"{ when = { usable_below = { app = 1 } }, deny = 403 },
           { when = { usable_below = { app = 2 } }, set_header = { "X-Few" = "1" } },
           { when = { not = { usable_below = { app = 1 } } }, set_header = { "X-Any" = "1" } }"#,
    );
    assert_eq!(status(&rig.get("/", "Host: x\r\n")), 200);
    let head = rig.taken().remove(0).1;
    assert_eq!((field(&head, "X-Few"), field(&head, "X-Any")), (Some("1"), Some("1")), "{head}");
}
