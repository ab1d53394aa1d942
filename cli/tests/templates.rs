//! Templates in a real proxy: ids, variables and maps, from the file to what a server gets.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::io::{Read, Write};

use rig::{Rig, field, status};

#[allow(dead_code, reason = "shared with the tests of rules")]
#[path = "rules/rig.rs"]
mod rig;

const HOST: &str = "Host: www.example.com\r\n";

/// All values of a field of a request.
fn fields(head: &str, name: &str) -> Vec<String> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn every_request_gets_an_id_of_its_own_that_no_client_chooses() {
    let rig = Rig::new("unique_id = { header = \"X-Request-Id\" }", "", "");
    for _ in 0..2 {
        rig.get("/", &format!("{HOST}x-request-id: forged\r\nX-Request-Id: forged\r\n"));
    }
    let ids: Vec<String> = rig.taken().iter().flat_map(|(_, head)| fields(head, "X-Request-Id")).collect();
    assert_eq!(ids.len(), 2, "one each: {ids:?}");
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'4'), "{ids:?}");
}

#[test]
fn an_id_is_what_its_template_says_and_the_same_in_every_rule() {
    let rig = Rig::new(
        r#"unique_id = { header = "X-Id", template = "{client.ip}-{local.ip}-{request.header.x|default('none')}-{uuid}" }
           rules = [{ set_header = { "X-A" = "{request.id}" } }, { set_header = { "X-B" = "{request.id}" } }]"#,
        r#"rules = [{ set_header = { "X-C" = "{backend.name} {request.id}" } }]"#,
        "",
    );
    rig.get("/", HOST);
    let (_, head) = rig.taken().remove(0);
    let id = field(&head, "X-Id").unwrap();
    assert!(id.starts_with("127.0.0.1-127.0.0.1-none-") && id.len() == 61, "{id}");
    assert_eq!(field(&head, "X-A"), Some(id));
    assert_eq!(field(&head, "X-B"), Some(id));
    assert_eq!(field(&head, "X-C"), Some(format!("app {id}").as_str()));
}

#[test]
fn an_id_exists_for_rules_even_where_no_header_is_sent() {
    let rig = Rig::with_rules(r#"{ set_header = { "X-A" = "{request.id}", "X-B" = "{request.id}" } }"#);
    rig.get("/", HOST);
    let (_, head) = rig.taken().remove(0);
    assert_eq!(field(&head, "X-A").map(str::len), Some(36), "{head}");
    assert_eq!(field(&head, "X-A"), field(&head, "X-B"));
}

#[test]
fn an_id_never_ends_its_line() {
    let rig =
        Rig::new(r#"unique_id = { header = "X-Id", template = "{request.query.id|url_decode}" }"#, "", "");
    rig.get("/?id=a%0d%0aX-Admin:%20yes%0d%0a%0d%0aGET%20/%20HTTP/1.1%00", HOST);
    let (_, head) = rig.taken().remove(0);
    assert_eq!(field(&head, "X-Id"), Some("a  X-Admin: yes    GET / HTTP/1.1"), "{head}");
    assert_eq!(field(&head, "X-Admin"), None, "{head}");
}

#[test]
fn a_variable_is_known_to_later_rules_and_conditions() {
    let rig = Rig::with_rules(
        r#"{ set_header = { "X-Before" = "[{var.tenant}]" } },
           { set_var = { tenant = "{request.host|field(1, '.')}" } },
           { when = { value = { "{var.tenant}" = "blocked" } }, deny = 403 },
           { when = { value = { "{var.tenant}" = "other" } }, set_var = { tenant = "{var.tenant}!" }, backend = "other" },
           { set_header = { "X-Tenant" = "{var.tenant}" } }"#,
    );
    assert_eq!(status(&rig.get("/", "Host: blocked.example.com\r\n")), 403);
    rig.get("/", "Host: shop.example.com\r\n");
    rig.get("/", "Host: other.example.com\r\n");
    let taken = rig.taken();
    let found: Vec<_> = taken
        .iter()
        .map(|(server, head)| (*server, field(head, "X-Before").unwrap(), field(head, "X-Tenant").unwrap()))
        .collect();
    assert_eq!(found, [("app", "[]", "shop"), ("other", "[]", "other!")]);
}

#[test]
fn a_session_variable_lives_as_long_as_the_connection_and_a_request_variable_does_not() {
    let rig = Rig::with_rules(
        r#"{ set_header = { "X-Session" = "{var.session.user|default('-')}", "X-Request" = "{var.user|default('-')}" } },
           { when = { header = { "X-User" = true } },
             set_var = { "session.user" = "{request.header.x-user}", user = "{request.header.x-user}" } }"#,
    );
    let mut client = rig.connect();
    client.write_all(format!("GET /1 HTTP/1.1\r\n{HOST}X-User: ann\r\n\r\n").as_bytes()).unwrap();
    client.write_all(format!("GET /2 HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n").as_bytes()).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    rig.get("/3", HOST);
    let taken = rig.taken();
    let found: Vec<_> = taken
        .iter()
        .map(|(_, head)| (field(head, "X-Session").unwrap(), field(head, "X-Request").unwrap()))
        .collect();
    assert_eq!(found, [("-", "-"), ("ann", "-"), ("-", "-")]);
}

#[test]
fn a_map_decides_where_a_request_goes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.map");
    std::fs::write(&file, "shop.example.com other\n").unwrap();
    let rig = Rig::new(
        r#"rules = [{ when = { value = { "{request.host|map('hosts')}" = "other" } }, backend = "other" }]"#,
        "",
        &format!("[map.hosts]\nfile = \"{}\"", file.display()),
    );
    rig.get("/", HOST);
    rig.get("/", "Host: SHOP.example.com:8080\r\n");
    let servers: Vec<&str> = rig.taken().iter().map(|(server, _)| *server).collect();
    assert_eq!(servers, ["app", "other"]);
}

#[test]
fn a_redirect_with_the_path_of_a_client_stays_on_this_site() {
    let rig = Rig::with_rules(r#"{ redirect = { location = "{request.query.to|url_decode}" } }"#);
    for (to, expected) in [
        ("%2f%2fevil.example", "/evil.example"),
        ("/%5cevil.example", "/evil.example"),
        ("/a%0d%0aSet-Cookie:%20x", "/a%0D%0ASet-Cookie:%20x"),
    ] {
        let answer = rig.get(&format!("/?to={to}"), HOST);
        assert_eq!(field(&answer, "Location"), Some(expected), "{answer}");
        assert_eq!(field(&answer, "Set-Cookie"), None, "{answer}");
    }
}
