//! Rules that refuse whoever comes too often, and rules that let clients wait.

use super::rig::{Rig, field, status};

const HOST: &str = "Host: www.example.com\r\n";

/// The statuses of requests that differ in these field lines.
fn statuses<const N: usize>(rig: &Rig, fields: [&str; N]) -> [u16; N] {
    fields.map(|fields| status(&rig.get("/", &format!("{HOST}{fields}"))))
}

#[test]
fn each_value_of_a_header_has_a_limit_of_its_own_and_none_has_none() {
    let rig = Rig::with_rules(r#"{ rate_limit = { by = "{request.header.x-key|lower}", rate = "2/12h" } }"#);
    let (ann, bob) = ("X-Key: ann\r\n", "X-Key: bob\r\n");
    assert_eq!(
        statuses(&rig, [ann, "X-Key: ANN\r\n", ann, bob, ann, bob, bob]),
        [200, 200, 429, 200, 429, 200, 429]
    );
    assert_eq!(statuses(&rig, ["", "X-Key:\r\n", "", "", ""]), [200; 5]);
    let answer = rig.get("/", &format!("{HOST}{ann}"));
    let wait: u32 = field(&answer, "Retry-After").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{answer}");
    assert!(answer.ends_with("There are too many requests from there; try again later.\n</body></html>\n"));
    assert_eq!(rig.counter("rate_limited_total"), 4);
    assert_eq!(rig.table("frontend web, rate_limit by {request.header.x-key|lower} in 43200s"), 2);
    assert_eq!(rig.taken().len(), 9, "what is refused is not sent");
}

#[test]
fn source_is_what_rules_have_found_it_to_be() {
    let rig = Rig::with_rules(
        r#"{ set_source = { trusted = ["127.0.0.0/8"] } },
           { rate_limit = { by = "source", rate = "1/12h", status = 503, ipv6_prefix = 32 } }"#,
    );
    let from = |address: &str| {
        let answer = rig.get("/", &format!("{HOST}X-Forwarded-For: {address}\r\n"));
        (status(&answer), field(&answer, "Retry-After").is_some())
    };
    for (address, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.2", 200),
        ("192.0.2.1", 503),
        ("2001:db8:1::1", 200),
        ("2001:db8:2::2", 503),
        ("2001:db9::1", 200),
    ] {
        assert_eq!(from(address), (expected, expected == 503), "{address}");
    }
}

#[test]
fn limits_are_those_of_their_rules_conditions_and_lists() {
    let rig = Rig::new(
        r#"rules = [
             { when = { path_prefix = "/login" }, rate_limit = { by = "source", rate = "1/12h" } },
             { rate_limit = { by = "{request.path}", rate = "3/12h" } },
           ]"#,
        r#"rules = [{ rate_limit = { by = "source", rate = "5/12h", status = 503 } }]"#,
        "",
    );
    let get = |target: &str| status(&rig.get(target, HOST));
    assert_eq!(["/login", "/login/x", "/%6cogin"].map(get), [200, 429, 429]);
    // However it is spelled: a limit looks at the path.
    assert_eq!(["/a", "//a", "/b/../a", "/%61"].map(get), [200, 200, 200, 429]);
    // The backend's counts what has come through.
    assert_eq!(["/b", "/c", "/d"].map(get), [200, 503, 503]);
    assert_eq!(rig.counter("rate_limited_total"), 5);
}

#[test]
fn tarpit_waits_for_as_long_as_the_file_says() {
    let rig = Rig::new(
        r#"timeout = { tarpit = "100ms" }
           rules = [{ when = { path = "/held" }, tarpit = true }]"#,
        r#"rules = [{ when = { path = "/403" }, tarpit = 403 }]"#,
        "",
    );
    assert_eq!(status(&rig.get("/", HOST)), 200);
    for (target, expected) in [("/held", 500), ("/403", 403)] {
        let answer = rig.send(&format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(status(&answer), expected, "{target}: {answer}");
        assert_eq!(field(&answer, "Connection"), Some("close"), "{target}: {answer}");
    }
    assert_eq!(rig.counter("tarpitted_total"), 2);
    assert_eq!(rig.taken().len(), 1);
}
