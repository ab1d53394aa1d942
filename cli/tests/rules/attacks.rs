//! What a client does to get past a rule, or to make one lead elsewhere.

use super::rig::{Rig, field, status};

const HOST: &str = "Host: www.example.com\r\n";

#[test]
fn a_path_is_settled_where_a_rule_looks_at_a_copy_of_it() {
    for (rules, copied) in [
        (r#"{ set_var = { "p" = "{request.path}" } }"#, "{var.p}"),
        (
            r#"{ set_var = { "p" = "x{request.target}", "session.q" = "{var.p|bytes(1)}" } }"#,
            "{var.session.q}",
        ),
        (r#"{ set_header = { "X-Path" = "{request.path}" } }"#, "{request.header.x-path}"),
        (r#"{ set_query = "p={request.path}" }"#, "{request.query.p}"),
    ] {
        let condition = format!(r#"{{ value = {{ "{copied}" = {{ prefix = "/admin" }} }} }}"#);
        let rig = Rig::with_rules(&format!("{rules}, {{ when = {condition}, deny = 403 }}"));
        for target in ["/admin", "//admin", "/%61dmin", "/x/../admin"] {
            assert_eq!(status(&rig.get(target, HOST)), 403, "{rules} {target}");
        }
        assert!(rig.taken().is_empty());
    }
    // A copy that no rule looks at changes nothing.
    let rig = Rig::with_rules(r#"{ set_header = { "X-Path" = "{request.path}" } }"#);
    rig.get("/group%2Fproject", HOST);
    assert!(rig.taken()[0].1.starts_with("GET /group%2Fproject HTTP/1.1\r\n"));
}

#[test]
fn a_rewritten_path_is_settled_before_the_next_rule_looks() {
    let rig = Rig::with_rules(
        r#"{ replace_path = { regex = '^/static', with = "/" } }, { when = { path_prefix = "/admin" }, deny = 403 }"#,
    );
    assert_eq!(status(&rig.get("/static/admin", HOST)), 403);
    assert!(rig.taken().is_empty());
    rig.get("/static/a?b=//c", HOST);
    assert!(rig.taken()[0].1.starts_with("GET /a?b=//c HTTP/1.1\r\n"));
}

#[test]
fn a_value_in_a_path_stays_below_what_stands_before_it() {
    for ambiguous in ["normalize", "pass"] {
        let rig = Rig::new(
            &format!(
                r#"ambiguous_path = "{ambiguous}"
                rules = [
                  {{ when = {{ host = "p.example.com" }}, set_path = "/app{{request.path}}" }},
                  {{ when = {{ host = "q.example.com" }}, set_path = "/a/{{request.query.u|url_decode}}" }},
                  {{ when = {{ host = "r.example.com" }}, replace_path = {{ regex = '^/static', with = "/" }} }},
                ]"#
            ),
            "",
            "",
        );
        for (host, target) in [
            ("q", "/?u=../admin"),
            ("q", "/?u=x/%2e%2e/%2e%2e/admin"),
            ("q", "/?u=%252e%252e/admin"),
            ("q", "/?u=..%3bx/admin"),
            ("r", "/static../admin"),
        ] {
            let answer = rig.get(target, &format!("Host: {host}.example.com\r\n"));
            assert_eq!(status(&answer), 400, "{ambiguous} {target}");
        }
        assert!(rig.taken().is_empty());
        for (host, target, path) in
            [("p", "/x/y", "/app/x/y"), ("q", "/?u=..a/b..%26", "/a/..a/b..&"), ("r", "/static/x", "//x")]
        {
            assert_eq!(status(&rig.get(target, &format!("Host: {host}.example.com\r\n"))), 200);
            let head = rig.taken().remove(0).1;
            assert_eq!(head.split(['?', ' ']).nth(1), Some(path), "{ambiguous} {target}");
        }
    }
}

#[test]
fn a_host_that_rules_write_is_one_or_the_request_is_refused() {
    let rig = Rig::with_rules(
        r#"{ when = { path = "/set" }, set_header = { "Host" = "{request.query.h}" } },
           { when = { path = "/replace" }, replace_header = { "host" = { regex = '^www', with = "" } } }"#,
    );
    for target in ["/set", "/set?h=a,b", "/set?h=a%20b", "/set?h=a/b", "/set?h=a@b", "/set?h=a..", "/replace"]
    {
        assert_eq!(status(&rig.get(target, HOST)), 400, "{target}");
    }
    assert!(rig.taken().is_empty());
    assert_eq!(status(&rig.get("/set?h=b.example.com:81", HOST)), 200);
    assert_eq!(field(&rig.taken()[0].1, "Host"), Some("b.example.com:81"));
}

#[test]
fn a_method_counts_in_every_case() {
    let rig = Rig::with_rules(r#"{ when = { method = ["DELETE", "PROPFIND"] }, deny = 403 }"#);
    for (method, expected) in [
        ("DELETE", 403),
        ("delete", 400),
        ("PROPFIND", 403),
        ("propfind", 403),
        ("Propfind", 403),
        ("PROP", 200),
    ] {
        let answer = rig.send(&format!("{method} / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"));
        assert_eq!(status(&answer), expected, "{method}");
    }
    assert_eq!(rig.taken().len(), 1);
}

#[test]
fn a_rule_on_all_paths_is_one_on_the_whole_server() {
    let rig = Rig::with_rules(r#"{ when = { path_prefix = "/" }, deny = 403 }"#);
    for target in ["/", "*", "http://www.example.com"] {
        let answer = rig.send(&format!("OPTIONS {target} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"));
        assert_eq!(status(&answer), 403, "{target}");
    }
}

#[test]
fn a_client_that_a_trusted_proxy_does_not_name_is_in_no_network() {
    let rig = Rig::with_rules(
        r#"{ set_source = { trusted = "127.0.0.0/8" } }, { when = { not = { source = "127.0.0.0/8" } }, deny = 403 }"#,
    );
    for entry in ["unknown", "_hidden", "198.51.100.1, 300.1.1.1", ""] {
        assert_eq!(status(&rig.get("/", &format!("{HOST}X-Forwarded-For: {entry}\r\n"))), 403, "{entry}");
    }
    assert_eq!(status(&rig.get("/", HOST)), 200, "the proxy itself");
}

#[test]
fn a_client_can_not_have_a_field_dropped_that_rules_look_at() {
    let rig = Rig::with_rules(
        r#"{ set_source = { trusted = "127.0.0.0/8", header = "X-Edge-Address" } },
           { when = { not = { source = "127.0.0.0/8" } }, deny = 403 },
           { when = { header = { "X-Edge-Country" = "zz" } }, deny = 404 },
           { set_var = { "id" = "{request.header.x-edge-id}" } }"#,
    );
    let get = |name: &str, value: &str| {
        rig.get("/", &format!("{HOST}{name}: {value}\r\nConnection: keep-alive, {}\r\n", name.to_lowercase()))
    };
    assert_eq!(status(&get("X-Edge-Address", "192.0.2.9")), 403);
    assert_eq!(status(&get("X-Edge-Country", "zz")), 404);
    for (name, is_kept) in [("X-Edge-Id", true), ("X-Other", false)] {
        assert_eq!(status(&get(name, "1")), 200);
        assert_eq!(rig.taken()[0].1.contains(name), is_kept, "{name}");
    }
}

#[test]
fn a_parameter_counts_however_its_name_is_spelled() {
    let rig = Rig::with_rules(r#"{ when = { value = { "{request.query.debug}" = "1" } }, deny = 403 }"#);
    for target in ["/?debug=1", "/?%64ebug=1", "/?a&d%65bu%67=1"] {
        assert_eq!(status(&rig.get(target, HOST)), 403, "{target}");
    }
    assert_eq!(status(&rig.get("/?debug%3d1", HOST)), 200);
}

#[test]
fn a_cookie_counts_however_a_server_reads_its_line() {
    let rig = Rig::with_rules(r#"{ when = { cookie = { "admin" = "1" } }, deny = 403 }"#);
    for cookies in [
        "admin=1",
        "admin=\"1\"",
        r#"admin="\1""#,
        r#"admin="\061""#,
        "admin=%31",
        // One quoted string to RFC 2109, three cookies to RFC 6265.
        "a=\"; admin=1; b=\"",
        "a=\";admin=1;\"; b=2",
        "a=\"\\\"; admin=\"1\"; b=\"",
    ] {
        assert_eq!(status(&rig.get("/", &format!("{HOST}Cookie: {cookies}\r\n"))), 403, "{cookies}");
    }
    assert!(rig.taken().is_empty());
    for cookies in ["a=\"; xadmin=1\"", "admin=2", "a=admin=1", "admin=\"1", "admin=%2531"] {
        assert_eq!(status(&rig.get("/", &format!("{HOST}Cookie: {cookies}\r\n"))), 200, "{cookies}");
    }
}

#[test]
fn a_prefix_of_a_slash_leads_to_no_other_host() {
    let rig = Rig::with_rules(
        r#"{ when = { path_prefix = "/x" }, redirect = { prefix = "/{request.query.p}", drop_query = true } },
           { redirect = { prefix = "/" } }"#,
    );
    for (target, location) in [
        ("/evil.example/", "/evil.example/"),
        ("//evil.example", "/evil.example"),
        ("/x", "/x"),
        ("/x?p=a", "/a/x"),
    ] {
        assert_eq!(field(&rig.get(target, HOST), "Location"), Some(location), "{target}");
    }
}

#[test]
fn a_host_longer_than_any_name_is_still_below_its_domain() {
    let rig = Rig::with_rules(r#"{ when = { host = "*.internal.example.com" }, deny = 403 }"#);
    let host = format!("{}internal.example.com", "a.".repeat(200));
    assert_eq!(status(&rig.get("/", &format!("Host: {host}\r\n"))), 403);
}

#[test]
fn a_value_that_an_unlucky_expression_would_take_squared_time_for_is_refused() {
    for (action, target, field) in [
        (r#"replace_header = { "X-A" = { regex = '.*[^A-Z]|[A-Z]', with = "x" } }"#, "/", "X-A: "),
        (r#"replace_path = { regex = '.*[^A-Z/]|[A-Z]', with = "x" }"#, "/", ""),
    ] {
        let rig = Rig::with_rules(&format!("{{ {action} }}"));
        let get = |letters: usize| {
            let letters = "A".repeat(letters);
            match field {
                "" => rig.get(&format!("{target}{letters}"), HOST),
                field => rig.get(target, &format!("{HOST}{field}{letters}\r\n")),
            }
        };
        assert_eq!(status(&get(8000)), 500, "{action}");
        assert!(rig.taken().is_empty());
        assert_eq!(status(&get(100)), 200, "{action}");
        assert!(rig.taken()[0].1.contains(&"x".repeat(100)), "{action}");
    }
}
