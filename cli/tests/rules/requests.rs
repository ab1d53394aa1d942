//! Rules on requests.

use std::io::{Read, Write};

use crate::rig::{Rig, field, status};

const HOST: &str = "Host: www.example.com\r\n";

#[test]
fn deny_is_answered_with_its_status_and_no_server_sees_the_request() {
    let rig = Rig::with_rules(
        r#"{ when = { path_prefix = "/admin" }, deny = 403 },
           { when = { header = { "User-Agent" = { regex = '(?i)bot\b' } } }, deny = 429 },
           { when = { source = "127.0.0.0/8", method = ["PUT", "DELETE"] }, deny = 405 }"#,
    );
    for (target, fields, expected) in [
        ("/admin", "", 403),
        ("/admin/x?y", "", 403),
        ("/administrator", "", 200),
        ("/", "User-Agent: BadBot 1\r\n", 429),
        ("/", "User-Agent: robots\r\n", 200),
    ] {
        let answer = rig.get(target, &format!("{HOST}{fields}"));
        assert_eq!(status(&answer), expected, "{target} {fields}: {answer}");
        assert_eq!(rig.taken().len(), usize::from(expected == 200), "{target} {fields}");
    }
    let answer = rig.send(&format!("PUT / HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"));
    assert_eq!(status(&answer), 405, "{answer}");
    assert_eq!(field(&answer, "Connection"), Some("close"), "the content is not read");
    assert!(rig.taken().is_empty());
    assert_eq!(rig.counter("denied_total"), 4);
}

#[test]
fn a_refused_request_without_content_leaves_its_connection_open() {
    let rig = Rig::with_rules(r#"{ when = { path = "/no" }, deny = 403 }"#);
    let mut client = rig.connect();
    client.write_all(format!("GET /no HTTP/1.1\r\n{HOST}\r\n").repeat(2).as_bytes()).unwrap();
    client.write_all(format!("GET / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 403 ").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\napp"), "{answers}");
}

#[test]
fn spellings_of_a_refused_path_are_refused_and_what_is_matched_is_forwarded() {
    let rig = Rig::with_rules(r#"{ when = { path_prefix = "/admin" }, deny = 403 }"#);
    for target in [
        "/admin",
        "//admin",
        "/%61dmin",
        "/./admin",
        "/x/../admin",
        "/%2e%2e/admin/",
        "http://www.example.com//admin",
    ] {
        assert_eq!(status(&rig.get(target, HOST)), 403, "{target}");
    }
    for target in ["/x/..%2fadmin", "/%2fadmin", "/x\\..\\admin", "/%00admin", "/%"] {
        assert_eq!(status(&rig.get(target, HOST)), 400, "{target}");
    }
    assert!(rig.taken().is_empty());
    rig.get("/a/%7e/..//b?c=//d/../%2f", HOST);
    assert!(rig.taken()[0].1.starts_with("GET /a/b?c=//d/../%2f HTTP/1.1\r\n"));
}

#[test]
fn a_path_is_compared_without_parameters_and_forwarded_with_them() {
    let rig = Rig::new(
        r#"rules = [
             { when = { path_prefix = "/admin" }, deny = 403 },
             { when = { value = { "{request.path|lower}" = "/other" } }, deny = 404 },
             { when = { path_suffix = ".png" }, backend = "other" },
             { when = { path = "/moved" }, set_path = "/admin;x" },
             { when = { path = "/moved;x" }, deny = 410 },
             { when = { path_prefix = "/admin" }, deny = 405 },
             { when = { path = "/limited" }, rate_limit = { by = "{request.path}", rate = "1/12h" } },
           ]"#,
        r#"rules = [{ when = { path = "/inner" }, deny = 406 }]
           response_rules = [{ when = { path = "/secret" }, deny = 502 }]"#,
        "",
    );
    for (target, expected) in [
        ("/admin;x", 403),
        ("/admin;a=1/users;b?c=d", 403),
        ("/;/admin", 403),
        ("/;y/../admin;", 403),
        ("/x/..%3b/admin", 400),
        ("/a/;x/..;/admin", 400),
        ("/admin%3Bx", 403),
        ("//%61dmin;", 403),
        ("/OTHER;x", 404),
        ("/moved", 405),
        ("/inner;x=1", 406),
        ("/limited;1", 200),
        ("/limited;2", 429),
        ("/;/secret;x", 502),
    ] {
        assert_eq!(status(&rig.get(target, HOST)), expected, "{target}");
    }
    rig.taken();
    for (target, server) in [
        ("/cart;jsessionid=1A/items;x?a=;b", "app"),
        ("/a;x=.png", "app"),
        ("/a.png;x=1", "other"),
        ("/administrator;x", "app"),
    ] {
        rig.get(target, HOST);
        let (taken_by, head) = rig.taken().remove(0);
        assert_eq!((taken_by, head.lines().next()), (server, Some(&*format!("GET {target} HTTP/1.1"))));
    }
}

#[test]
fn ambiguous_paths_are_refused_or_passed_where_the_file_says_so_or_where_no_rule_looks() {
    let rules = r#"rules = [{ when = { path_prefix = "/admin" }, deny = 403 }]"#;
    let rig = Rig::new(&format!("ambiguous_path = \"refuse\"\n{rules}"), "", "");
    for target in ["//admin", "/admin;x", "/a;jsessionid=1", "/a%3bb"] {
        assert_eq!(status(&rig.get(target, HOST)), 400, "{target}");
    }
    assert_eq!(status(&rig.get("/admin", HOST)), 403);
    assert_eq!(status(&rig.get("/a", HOST)), 200);
    rig.taken();
    for frontend in [
        &format!("ambiguous_path = \"pass\"\n{rules}"),
        r#"rules = [{ when = { host = "a" }, deny = 403 }]"#,
        "",
    ] {
        let rig = Rig::new(frontend, "", "");
        assert_eq!(status(&rig.get("//admin%2f", HOST)), 200);
        assert_eq!(status(&rig.get("/admin;x", HOST)), 200);
        let taken: Vec<_> = rig.taken().into_iter().map(|(_, head)| head).collect();
        assert!(taken[0].starts_with("GET //admin%2f HTTP/1.1\r\n"), "{frontend}");
        assert!(taken[1].starts_with("GET /admin;x HTTP/1.1\r\n"), "{frontend}");
    }
}

#[test]
fn headers_are_set_added_deleted_and_replaced_in_the_order_of_the_file() {
    let rig = Rig::with_rules(
        r#"{ set_header = { "X-A" = "1", "X-Client" = "{client.ip} {request.path|upper}" } },
           { when = { header = { "X-A" = "1" } }, add_header = { "X-A" = "2" } },
           { when = { header = { "X-Secret" = true } }, delete_header = ["X-Secret", "X-Also"] },
           { replace_header = { "Referer" = { regex = '^http://([^/]+)(/.*)?$', with = "https://$1.test$2" } } },
           { when = { host = "www.example.com" }, set_header = { "Host" = "inner.example.com" } }"#,
    );
    let fields = format!("{HOST}X-Secret: 1\r\nX-A: 0\r\nx-also: 1\r\nReferer: http://a.b/c\r\n");
    rig.get("/path", &fields);
    let (_, head) = rig.taken().remove(0);
    assert_eq!(
        head,
        "GET /path HTTP/1.1\r\nReferer: https://a.b.test/c\r\nX-A: 1\r\nX-Client: 127.0.0.1 /PATH\r\nX-A: 2\r\n\
         Host: inner.example.com\r\n\r\n"
    );
}

#[test]
fn a_header_made_of_what_a_client_sent_stays_one_line() {
    let rig = Rig::with_rules(r#"{ set_header = { "X-Q" = "{request.query.q}" } }"#);
    rig.get("/?q=a%0d%0aX-Evil:%201%00b", HOST);
    let (_, head) = rig.taken().remove(0);
    assert_eq!(head.matches("\r\n").count(), 4, "{head:?}");
    assert!(head.bytes().all(|byte| byte >= b' ' || matches!(byte, b'\r' | b'\n')), "{head:?}");
}

#[test]
fn the_host_chooses_the_backend_and_the_first_choice_stands() {
    let rig = Rig::with_rules(
        r#"{ when = { host = ["other.example.com", "*.other.example.org"] }, backend = "other" },
           { when = { host = "app.example.com" }, backend = "app" },
           { when = { host = "late.example.com" }, set_header = { "X-Late" = "1" } },
           { when = { host = "other.example.com" }, backend = "app" },
           { when = { host = "late.example.com" }, backend = "other" },
           { set_header = { "X-All" = "1" } }"#,
    );
    for (host, expected) in [
        ("other.example.com", "other"),
        ("OTHER.Example.COM:8080", "other"),
        ("other.example.com.", "other"),
        ("a.b.other.example.org", "other"),
        ("other.example.org", "app"),
        ("app.example.com", "app"),
        ("late.example.com", "other"),
        ("unknown.example.com", "app"),
    ] {
        let answer = rig.get("/", &format!("Host: {host}\r\n"));
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{host}: {answer}");
        let (_, head) = rig.taken().remove(0);
        assert_eq!(field(&head, "X-All"), Some("1"), "a choice does not end the list: {head}");
    }
}

#[test]
fn h17_request_of_1_0_without_a_host_has_none_for_rules_and_our_address_for_servers() {
    let rig = Rig::with_rules(
        r#"{ when = { host = "127.0.0.1" }, deny = 403 },
           { when = { value = { "{request.host}" = true } }, deny = 404 },
           { when = { not = { host = "*.example.com" } }, set_header = { "X-Host" = "[{request.host}]" } },
           { when = { path = "/set" }, set_header = { "Host" = "www.example.com" } },
           { when = { path = "/set", host = "www.example.com" }, backend = "other" }"#,
    );
    let address = rig.address();
    for (target, server, host) in
        [("/", "app", address.to_string()), ("/set", "other", "www.example.com".to_owned())]
    {
        assert_eq!(status(&rig.send(&format!("GET {target} HTTP/1.0\r\n\r\n"))), 200);
        let (by, head) = rig.taken().remove(0);
        assert_eq!((by, field(&head, "Host")), (server, Some(host.as_str())), "{head}");
        assert_eq!(field(&head, "X-Host"), Some("[]"), "{head}");
    }
}

#[test]
fn redirections_lead_where_they_say() {
    let rig = Rig::with_rules(
        r#"{ when = { path = "/location" }, redirect = "https://new.example.com{request.path}?from={request.query.x}" },
           { when = { path_prefix = "/prefix" }, redirect = { prefix = "https://p.example.com", status = 301 } },
           { when = { path_prefix = "/drop" }, redirect = { prefix = "/new", status = 308, drop_query = true } },
           { when = { path_prefix = "/port" }, redirect = { scheme = "https", port = 8443, status = 307 } },
           { redirect = { scheme = "https", status = 303 } }"#,
    );
    for (target, host, expected, location) in [
        ("/location?x=a%20b", "h", 302, "https://new.example.com/location?from=a%20b"),
        ("/prefix/a?b=c", "h", 301, "https://p.example.com/prefix/a?b=c"),
        ("/drop/a?b=c", "h", 308, "/new/drop/a"),
        ("/port", "h:80", 307, "https://h:8443/port"),
        ("/x?y", "h:80", 303, "https://h/x?y"),
        ("/x?y", "[::1]:80", 303, "https://[::1]/x?y"),
    ] {
        let answer = rig.get(target, &format!("Host: {host}\r\n"));
        assert_eq!((status(&answer), field(&answer, "Location")), (expected, Some(location)), "{answer}");
        assert!(
            answer.ends_with("\r\nConnection: close\r\n\r\n") && answer.contains("\r\nContent-Length: 0\r\n")
        );
    }
    let answer = rig.send("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(field(&answer, "Location"), Some("https://127.0.0.1/x"), "{answer}");
    assert!(rig.taken().is_empty());
}

#[test]
fn allow_ends_the_list_of_the_frontend_and_rules_of_the_backend_come_after() {
    let rig = Rig::new(
        r#"rules = [
             { when = { path = "/ok" }, set_header = { "X-Front" = "1" }, allow = true },
             { when = { not = { path = "/backend" } }, deny = 403 },
           ]"#,
        r#"rules = [
             { set_header = { "X-Back" = "{backend.name}" } },
             { when = { header = { "X-Front" = false } }, deny = 404 },
           ]"#,
        "",
    );
    assert_eq!(status(&rig.get("/ok", HOST)), 200);
    let (_, head) = rig.taken().remove(0);
    assert_eq!((field(&head, "X-Front"), field(&head, "X-Back")), (Some("1"), Some("app")));
    assert_eq!(status(&rig.get("/backend", HOST)), 404);
    assert_eq!(status(&rig.get("/", HOST)), 403);
}

#[test]
fn rules_of_a_backend_run_for_a_frontend_without_any() {
    let rig = Rig::new("", r#"rules = [{ when = { path = "/no" }, deny = 410 }]"#, "");
    assert_eq!(status(&rig.get("/no", HOST)), 410);
    assert_eq!(status(&rig.get("//no", HOST)), 410);
    assert_eq!(status(&rig.get("/", HOST)), 200);
}

#[test]
fn a_head_that_grows_too_large_is_refused_and_not_sent() {
    let rig = Rig::with_rules(
        r#"{ set_header = { "X-1" = "{request.header.big}", "X-2" = "{request.header.big}", "X-3" = "{request.header.big}",
                            "X-4" = "{request.header.big}", "X-5" = "{request.header.big}" } }"#,
    );
    let fields = format!("{HOST}Big: {}\r\n", "x".repeat(7000));
    assert_eq!(status(&rig.get("/", &fields)), 500);
    assert!(rig.taken().is_empty());
    // It is our rules that did it, and not the client.
    let counters = ["failed_rewrites_total", "bad_requests_total"].map(|name| rig.counter(name));
    assert_eq!(counters, [1, 0]);
    assert_eq!(status(&rig.get("/", &format!("{HOST}A: {}\r\n", "x".repeat(9000)))), 431);
    assert_eq!(rig.counter("bad_requests_total"), 1);
}

#[test]
fn forwardfor_names_the_client_that_set_source_has_found() {
    let rig = Rig::new(
        r#"forwardfor = true
           rules = [{ set_source = { trusted = ["127.0.0.0/8"], header = "X-Real" } }]"#,
        "",
        "",
    );
    for (fields, expected) in [
        ("", "X-Forwarded-For: 127.0.0.1\r\n"),
        ("X-Real: 192.0.2.7\r\n", "X-Real: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.7\r\n"),
        (
            "X-Real: 2001:db8::7\r\nX-Forwarded-For: 192.0.2.1\r\n",
            "X-Real: 2001:db8::7\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 2001:db8::7\r\n",
        ),
    ] {
        rig.get("/", &format!("{HOST}{fields}"));
        let (_, head) = rig.taken().remove(0);
        assert_eq!(head, format!("GET / HTTP/1.1\r\n{HOST}{expected}\r\n"));
    }
}
