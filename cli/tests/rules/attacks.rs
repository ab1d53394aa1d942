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
fn a_parameter_counts_however_its_name_is_spelled() {
    let rig = Rig::with_rules(r#"{ when = { value = { "{request.query.debug}" = "1" } }, deny = 403 }"#);
    for target in ["/?debug=1", "/?%64ebug=1", "/?a&d%65bu%67=1"] {
        assert_eq!(status(&rig.get(target, HOST)), 403, "{target}");
    }
    assert_eq!(status(&rig.get("/?debug%3d1", HOST)), 200);
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
        assert_eq!(status(&get(8000)), 431, "{action}");
        assert!(rig.taken().is_empty());
        assert_eq!(status(&get(100)), 200, "{action}");
        assert!(rig.taken()[0].1.contains(&"x".repeat(100)), "{action}");
    }
}
