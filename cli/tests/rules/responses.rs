//! Rules on responses that know the request, and variables that reach them and that they set.

use std::io::{Read, Write};

use crate::rig::{Rig, field, status};

const HOST: &str = "Host: www.example.com\r\n";

/// The answers to requests that come one after the other over one connection: their heads.
fn conversation(rig: &Rig, requests: &[&str]) -> Vec<String> {
    let mut client = rig.connect();
    for request in requests {
        client.write_all(request.as_bytes()).unwrap();
    }
    client.write_all(format!("GET /end HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    let heads: Vec<String> = all.split("HTTP/1.1 ").skip(1).map(|head| format!("HTTP/1.1 {head}")).collect();
    assert_eq!(heads.len(), requests.len() + 1, "{all}");
    heads
}

#[test]
fn each_condition_on_a_request_holds_for_its_response() {
    for (condition, holds, fails) in [
        (r#"host = "*.example.com""#, ("/", HOST), ("/", "Host: example.com\r\n")),
        (r#"path_prefix = "/a""#, ("/a/b?c", HOST), ("/ab", HOST)),
        (r#"path_suffix = ".png""#, ("/x.png?y", HOST), ("/x?y.png", HOST)),
        (r#"path_regex = '^/[0-9]+$'"#, ("/42", HOST), ("/4x", HOST)),
        (r#"method = ["GET", "HEAD"], path = "/""#, ("/", HOST), ("/x", HOST)),
        (r#"query = { q = "a b" }"#, ("/?x&q=a%20b", HOST), ("/?q=ab", HOST)),
        (r#"query = { q = false }"#, ("/?x", HOST), ("/?q", HOST)),
        (
            r#"cookie = { s = { prefix = "x" } }"#,
            ("/", "Host: a\r\nCookie: a=1; s=y\r\nCookie: s=xy\r\n"),
            ("/", "Host: a\r\nCookie: as=xy\r\n"),
        ),
        (r#"cookie = { s = false }"#, ("/", HOST), ("/", "Host: a\r\nCookie: a=1; s=\r\n")),
        (
            r#"value = { "{request.header.x-a|lower}" = "b" }"#,
            ("/", "Host: a\r\nX-A: a\r\nx-a: B\r\n"),
            ("/", "Host: a\r\nX-A: a\r\n"),
        ),
        (
            r#"status = 200, header = { "X-App" = "1" }, path = "/both""#,
            ("/both", HOST),
            ("/", "Host: a\r\nX-App: 1\r\n"),
        ),
    ] {
        let rule = format!("response_rules = [{{ when = {{ {condition} }}, deny = 451 }}]");
        for rig in [Rig::new(&rule, "", ""), Rig::new("", &rule, "")] {
            assert_eq!(status(&rig.get(holds.0, holds.1)), 451, "{condition}");
            assert_eq!(status(&rig.get(fails.0, fails.1)), 200, "{condition}");
        }
    }
}

#[test]
fn a_switch_of_protocols_gets_headers_and_variables_as_any_response() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let answer = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nX-Inner: 1\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all
    });
    let rig = Rig::new(
        r#"rules = [{ when = { path = "/ws" }, backend = "ws", set_var = { asked = "{request.path}" } }]
           response_rules = [
             { when = { status = 101 }, set_var = { "response.inner" = "{response.header.x-inner}" } },
             { set_header = { "X-Front" = "{var.asked} {var.response.inner} {var.back}", "Upgrade-Insecure" = "1" }, delete_header = "X-Inner" },
           ]"#,
        "",
        &format!(
            "[backend.ws]\ncheck = false\nservers = [\"{address}\"]\n\
             response_rules = [{{ when = {{ status = 101 }}, set_var = {{ back = \"{{server.name}}\" }} }}]"
        ),
    );
    let mut client = rig.connect();
    let ask = format!(
        "GET /ws HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nthrough"
    );
    client.write_all(ask.as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(
        answer,
        format!(
            "HTTP/1.1 101 x\r\nX-Front: /ws 1 {address}\r\nUpgrade-Insecure: 1\r\n\
             Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    );
    assert!(served.join().unwrap().ends_with("\r\n\r\nthrough"));
}

#[test]
fn texts_of_a_response_name_the_request_as_its_last_rule_left_it() {
    let rig = Rig::new(
        r#"unique_id = {}
           rules = [
             { set_var = { asked = "{request.target}" } },
             { set_path = "/new{request.path}", set_query = "z=1", set_header = { "X-Made" = "by a rule" }, delete_header = "X-Gone" },
             { set_header = { "X-Id" = "{request.id}" } },
           ]
           response_rules = [{ set_header = {
             "X-Request" = "{request.method} {request.target} {request.path} {request.query} {request.version}",
             "X-Host"    = "{request.host} {request.authority}",
             "X-Header"  = "[{request.header.x-made}][{request.header.x-gone}][{request.header.x-two}]",
             "X-Cookie"  = "{request.cookie.b} {request.query.z}",
             "X-Asked"   = "{var.asked}",
             "X-Id"      = "{request.id}",
           } }]"#,
        r#"rules = [{ set_header = { "X-Two" = "of the backend" } }]
           response_rules = [{ set_header = { "X-Back" = "{request.header.x-two} {response.status} {request.path}" } }]"#,
        "",
    );
    let answer = rig.get("/a?b=c", "Host: WWW.example.com:80\r\nX-Gone: 1\r\nCookie: a=1; b=2\r\n");
    let (_, head) = rig.taken().remove(0);
    for (name, expected) in [
        ("X-Request", "GET /new/a?z=1 /new/a z=1 1.1"),
        ("X-Host", "www.example.com WWW.example.com:80"),
        ("X-Header", "[by a rule][][of the backend]"),
        ("X-Cookie", "2 1"),
        ("X-Asked", "/a?b=c"),
        ("X-Back", "of the backend 200 /new/a"),
        ("X-Id", field(&head, "X-Id").unwrap()),
    ] {
        assert_eq!(field(&answer, name), Some(expected), "{answer}");
    }
}

#[test]
fn nothing_of_a_request_is_known_to_the_next_one_but_what_belongs_to_the_session() {
    let rig = Rig::with_rules_and_responses(
        r#"{ when = { header = { "X-User" = true } }, set_var = { user = "{request.header.x-user}" } },
           { set_header = { "X-Seen" = "{var.session.last|default('-')}" } }"#,
        r#"{ set_var = { "session.last" = "{request.path}", "response.kind" = "{response.header.x-app}{request.path}", user = "{var.user|upper}" } },
           { set_header = { "X-Said" = "{var.user|default('-')} {var.response.kind} {request.header.x-user|default('-')} {request.cookie.c|default('-')}" } }"#,
    );
    let first = format!("GET /1 HTTP/1.1\r\n{HOST}X-User: ann\r\nCookie: c=1\r\n\r\n");
    let second = format!("GET /2 HTTP/1.1\r\n{HOST}\r\n");
    let said: Vec<_> = conversation(&rig, &[&first, &second])
        .iter()
        .map(|head| field(head, "X-Said").unwrap().to_owned())
        .collect();
    assert_eq!(said, ["ANN 1/1 ann 1", "- 1/2 - -", "- 1/end - -"]);
    let seen: Vec<_> =
        rig.taken().iter().map(|(_, head)| field(head, "X-Seen").unwrap().to_owned()).collect();
    assert_eq!(seen, ["-", "/1", "/2"]);
    // Nor to another connection.
    rig.get("/3", HOST);
    assert_eq!(field(&rig.taken()[0].1, "X-Seen"), Some("-"));
}

#[test]
fn responses_see_the_source_that_rules_have_found() {
    let responses = r#"{ set_header = { "X-Client" = "{client.ip} {peer.ip}" } }, { when = { source = "192.0.2.0/24" }, deny = 451 }"#;
    let rig = Rig::with_rules_and_responses(r#"{ set_source = { trusted = ["127.0.0.1"] } }"#, responses);
    let from = |address: &str| rig.get("/", &format!("{HOST}X-Forwarded-For: {address}\r\n"));
    assert_eq!(field(&from("203.0.113.5"), "X-Client"), Some("203.0.113.5 127.0.0.1"));
    assert_eq!(status(&from("192.0.2.5")), 451);
    // Without rules on requests it is the peer.
    let rig = Rig::with_rules_and_responses("", responses);
    assert_eq!(field(&rig.get("/", HOST), "X-Client"), Some("127.0.0.1 127.0.0.1"));
}

#[test]
fn a_response_is_judged_by_the_settled_path_of_its_request() {
    let rig = Rig::with_rules_and_responses("", r#"{ when = { path_prefix = "/admin" }, deny = 403 }"#);
    for target in ["/admin", "//admin", "/%61dmin", "/x/../admin"] {
        assert_eq!(status(&rig.get(target, HOST)), 403, "{target}");
        assert!(rig.taken()[0].1.starts_with("GET /admin HTTP/1.1\r\n"), "{target}");
    }
    assert_eq!(status(&rig.get("/%2fadmin", HOST)), 400);
}

#[test]
fn an_answer_in_the_place_of_a_response_knows_the_request_the_response_and_the_variables() {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("gone.html");
    std::fs::write(&page, "<p>gone").unwrap();
    let rules = format!(
        r#"rules = [{{ set_var = {{ tenant = "{{request.host|field(1, '.')}}" }} }}]
           response_rules = [
             {{ when = {{ path = "/file" }}, respond = {{ status = 410, file = "{}" }} }},
             {{ set_header = {{ "X-Late" = "1" }} }},
             {{ when = {{ path_prefix = "/told" }}, respond = {{ body = "{{var.tenant}} {{request.path}} {{response.status}} {{response.header.x-app}}",
                headers = {{ "X-Server" = "{{backend.name}}/{{server.name}}", "X-Late" = "{{response.header.x-late}}" }} }} }},
           ]"#,
        page.display()
    );
    let rig = Rig::new(&rules, "", "");
    let file = rig.get("/file", HOST);
    assert_eq!((status(&file), field(&file, "Content-Type")), (410, Some("text/html")));
    assert!(file.ends_with("\r\n\r\n<p>gone"), "{file}");
    let told = rig.get("/told/x", HOST);
    assert!(told.ends_with("\r\n\r\nwww /told/x 200 1"), "{told}");
    assert_eq!((field(&told, "X-Late"), field(&told, "X-App")), (Some("1"), None), "{told}");
    assert!(field(&told, "X-Server").is_some_and(|server| server.starts_with("app/127.0.0.1:")), "{told}");
    let plain = rig.get("/", HOST);
    assert_eq!(
        (status(&plain), field(&plain, "X-App"), field(&plain, "X-Late")),
        (200, Some("1"), Some("1"))
    );
}

#[test]
fn a_response_gets_another_status() {
    let rig = Rig::with_rules_and_responses(
        "{ allow = true }",
        r#"{ when = { path = "/busy" }, set_status = { status = 503, reason = "Too busy" } },
           { when = { path = "/gone" }, set_status = 410 },
           { when = { status = "400-599" }, set_header = { "X-Error" = "{response.status}" } }"#,
    );
    for (target, line, error) in [
        ("/busy", "HTTP/1.1 503 Too busy\r\n", Some("503")),
        ("/gone", "HTTP/1.1 410 Gone\r\n", Some("410")),
        ("/", "HTTP/1.1 200 OK\r\n", None),
    ] {
        let answer = rig.get(target, HOST);
        assert!(answer.starts_with(line), "{target}: {answer}");
        assert!(answer.ends_with("\r\n\r\napp"), "{target}: {answer}");
        assert_eq!(field(&answer, "X-Error"), error, "{target}: {answer}");
    }
}
