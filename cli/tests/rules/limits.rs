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
fn a_limit_counts_what_a_server_reads_however_it_is_spelled() {
    let by = |name: &str| {
        Rig::with_rules(&format!(r#"{{ rate_limit = {{ by = "{{request.{name}}}", rate = "1/12h" }} }}"#))
    };
    let rig = by("query.key");
    for (target, expected) in [
        ("/?key=good", 200),
        ("/?key=%67ood", 429),
        ("/?%6bey=goo%64", 429),
        ("/?key=a+b", 200),
        ("/?key=a%20b", 429),
        ("/?key=a%2bb", 200),
    ] {
        assert_eq!(status(&rig.get(target, HOST)), expected, "{target}");
    }
    let rig = by("cookie.key");
    for (cookie, expected) in
        [("good", 200), ("%67ood", 429), ("\"good\"", 429), ("\"g%6fod\"", 429), ("\"", 200), ("Good", 200)]
    {
        let answer = rig.get("/", &format!("{HOST}Cookie: key={cookie}\r\n"));
        assert_eq!(status(&answer), expected, "{cookie}");
    }
    for cookies in [r#"key="\good""#, r#"key="goo\144""#, "a=\"; key=good; b=\"", "a=\";key=good;\""] {
        assert_eq!(status(&rig.get("/", &format!("{HOST}Cookie: {cookies}\r\n"))), 429, "{cookies}");
    }
}

#[test]
fn each_of_several_values_counts_whichever_the_server_looks_at() {
    let rig = Rig::with_rules(
        r#"{ rate_limit = { by = "{request.header.x-key}", rate = "1/12h" } },
           { rate_limit = { by = "{request.query.key}", rate = "1/12h", status = 503 } },
           { rate_limit = { by = "{request.cookie.key}", rate = "1/12h", status = 403 } }"#,
    );
    for (target, fields, expected) in [
        ("/", "X-Key: ann\r\n", 200),
        ("/", "X-Key: ann\r\nx-key: other 1\r\n", 429),
        ("/", "X-Key: other 2\r\nX-KEY: ann\r\n", 429),
        ("/", "X-Key: bob\r\nX-Key: bob\r\n", 200),
        ("/?key=ann", "", 200),
        ("/?key=ann&key=other1", "", 503),
        ("/?key=other2&%6bey=ann", "", 503),
        ("/", "Cookie: key=ann\r\n", 200),
        ("/", "Cookie: key=ann; key=other1\r\n", 403),
        ("/", "Cookie: key=other2\r\nCookie: key=ann\r\n", 403),
    ] {
        assert_eq!(status(&rig.get(target, &format!("{HOST}{fields}"))), expected, "{target} {fields}");
    }
    let many = |count: usize| {
        let lines: String = (0..count).map(|number| format!("X-Key: {count} {number}\r\n")).collect();
        rig.get("/", &format!("{HOST}{lines}"))
    };
    assert_eq!([16, 17].map(|count| status(&many(count))), [200, 429]);
    assert_eq!(field(&many(17), "Retry-After"), Some("43200"));
}

#[test]
fn what_is_made_of_several_parts_counts_for_each_choice_of_them() {
    let rig = Rig::with_rules(
        r#"{ rate_limit = { by = "{request.header.a}-{request.query.b}-{request.header.A}", rate = "1/12h" } }"#,
    );
    let get = |a: &[&str], b: &[&str]| {
        let lines: String = a.iter().map(|value| format!("A: {value}\r\n")).collect();
        let query: Vec<_> = b.iter().map(|value| format!("b={value}")).collect();
        status(&rig.get(&format!("/?{}", query.join("&")), &format!("{HOST}{lines}")))
    };
    assert_eq!(get(&["good"], &["good"]), 200);
    for (a, b) in [
        (["good", "1"], ["good", "1"]),
        (["good", "2"], ["2", "good"]),
        (["3", "good"], ["good", "3"]),
        (["4", "good"], ["4", "good"]),
    ] {
        assert_eq!(get(&a, &b), 429, "{a:?} {b:?}");
    }
    assert_eq!(get(&["5", "6"], &["5", "6"]), 200);
    // Now all four of these have come once.
    for (a, b) in [("5", "5"), ("5", "6"), ("6", "5"), ("6", "6")] {
        assert_eq!(get(&[a], &[b]), 429, "{a} {b}");
    }
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
fn a_limit_with_a_variable_counts_all_and_leaves_the_rest_to_other_rules() {
    let rig = Rig::with_rules(
        r#"{ rate_limit = { by = "{request.header.x-key}", rate = "2/12h", set_var = "much" } },
           { when = { path = "/refused" }, deny = 403 },
           { when = { path = "/login", value = { "{var.much}" = true } }, deny = 429 },
           { set_header = { "X-Much" = "[{var.much}]" } }"#,
    );
    let get = |target: &str, key: &str| status(&rig.get(target, &format!("{HOST}X-Key: {key}\r\n")));
    // What another rule refuses has been counted, and so is what comes of the limit itself.
    assert_eq!(
        ["/refused", "/login", "/login", "/", "/login"].map(|path| get(path, "a")),
        [403, 200, 429, 200, 429]
    );
    assert_eq!([get("/login", "b"), get("/", "")], [200, 200]);
    let told: Vec<_> =
        rig.taken().iter().filter_map(|(_, head)| field(head, "X-Much").map(str::to_owned)).collect();
    assert_eq!(told, ["[]", "[1]", "[]", "[]"]);
    assert_eq!(rig.counter("rate_limited_total"), 0);
    // One request with two values counts for both, the second one as well where the first is too much.
    let both = format!("{HOST}X-Key: a\r\nX-Key: c\r\n");
    assert_eq!([(); 3].map(|()| status(&rig.get("/", &both))), [200; 3]);
    assert_eq!(get("/login", "c"), 429);
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
