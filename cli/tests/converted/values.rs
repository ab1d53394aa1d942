//! Whether a value is there, what number and which address it is.

use crate::{all_the_same, both::Both, get};

#[test]
fn values_are_there_and_are_numbers_and_addresses_where_they_were() {
    let both = Both::start("values");
    assert!(!both.notes.contains("not converted") && !both.notes.contains("not the same"), "{}", both.notes);
    let targets =
        ["/?a", "/?a=", "/?a=5x", "/?b&a=5", "/?", "/a/b", "/a/b/c", "/a//b/", "/small/1", "/small/2"];
    all_the_same(&both, "WEB", &targets.map(|target| get(target, &[])));
    let of = |name: &str, values: &[&str]| -> Vec<_> {
        values.iter().map(|value| get("/", &[&format!("{name}: {value}")])).collect()
    };
    all_the_same(&both, "WEB", &of("Cookie", &["a=", "a=1", "a", "a=; b=1", "b=1; a=", "b=1;a="]));
    let numbers = [
        "false", "true", "0", "00", "1", "-1", "+1", "2x", "02", "1.0", "-", "-x", "-01", "-0", "+", "x, 2",
        "0,0", "", "a+b%20c",
    ];
    all_the_same(&both, "WEB", &of("X-Canary", &numbers));
    let addresses = [
        "10.1.2.3",
        "10.1.2.3:8080",
        "010.1.2.0003",
        "192.0.2.9, 10.1.2.3:80",
        "10.1.2.3:65536",
        "10.1.2.3/24",
        "10.1.2",
        "unknown",
        "[fd00::1]:80",
        "fd00::1",
        "192.0.2.1",
    ];
    all_the_same(&both, "WEB", &of("X-Real-IP", &addresses));
    let [theirs, _] = both.ask("WEB", &get("/", &["X-Real-IP: 10.1.2.3:8080"]));
    assert!(theirs.contains("x-address: 10.1.2.3\r\n") && theirs.contains("x-inside: 1\r\n"), "{theirs}");
}

#[test]
fn converters_count_where_it_is_asked_whether_there_is_something() {
    let both = Both::start("found");
    let lost: Vec<_> = both.notes.lines().filter(|line| line.contains("not converted")).collect();
    let is_of_numbers = |line: &&str| line.contains("`urlp_val(n)` of a value that is no number");
    assert!(lost.iter().all(is_of_numbers) && !lost.is_empty(), "{}", both.notes);
    let requests = [
        get("/", &[]),
        get("/", &["Host: evil.example.com"]),
        get("/", &["Host: API.example.com"]),
        get("/", &["Cookie: plan=free"]),
        get("/", &["Cookie: plan=plus"]),
        get("/admin", &[]),
        get("/shop/x", &[]),
        get("/", &["X-Tenant: plus"]),
        get("/", &["X-Tenant: other"]),
        get("/", &["X-Ver: www.example.com"]),
        get("/", &["X-Ver: other"]),
        get("/?n=-5", &[]),
        get("/?n=-0", &[]),
        get("/?n=0", &[]),
        get("/?n=5", &[]),
        get("/?n=6", &[]),
        get("/", &["X-Real-IP: 10.0.0.1"]),
        get("/", &["X-Real-IP: unknown"]),
        get("/pq?a=b", &[]),
        get("/pq/c", &[]),
        get("/fx/?z=1", &[]),
        get("/own", &[]),
    ];
    all_the_same(&both, "WEB", &requests);
    all_the_same(&both, "OTHER", &[get("/", &[])]);
}

#[test]
fn all_that_a_request_has_of_a_name_are_tried() {
    let both = Both::start("several");
    assert!(!both.notes.contains("not converted") && !both.notes.contains("not the same"), "{}", both.notes);
    let targets = [
        "/",
        "/?role=z",
        "/?role=z&role=Admin",
        "/?role&role=Admin",
        "/?role=&role=z",
        "/?q=a&q=%3Cscript",
        "/?id=1&id=1234567890&id=2",
        "/?id=1&id=123456",
        "/?ip=junk&ip=10.1.2.3",
        "/?ip=192.0.2.1&ip=10.1.2.3:80",
        "/?ip=10.1.2.3abc",
        "/?ip=192.0.2.1&ip=192.0.2.2",
        "/?f=ftp:a&f=http:b",
        "/?m=a&m=none",
        "/?m=none&m=a",
        "/?m&m=a",
        "/tok?tok=x",
        "/tok?tok=x&tok=GOOD",
        "/?v=x&v=b3",
    ];
    all_the_same(&both, "WEB", &targets.map(|target| get(target, &[])));
    let fields: [&[&str]; 22] = [
        &["X-Plain: a, bc"],
        &["X-Plain: \"a, bc\""],
        &["X-Plain: c,E ,d"],
        &["X-Plain: \"c,E\""],
        &["X-Plain: a, x1,y"],
        &["X-Plain: a, x1y", "X-Plain: c"],
        &["Cookie: role=z; role=Admin"],
        &["Cookie: role=z", "Cookie: role=ADMIN"],
        &["Cookie: role=z; rol=admin"],
        &["Cookie: a=1; a=123456"],
        &["Cookie: a=\"12345\""],
        &["Cookie: ver=1; ver=Beta"],
        &["X-Forwarded-For: unknown, 10.1.2.3, 192.0.2.1"],
        &["X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 192.0.2.1"],
        &["X-Forwarded-For: 10.1.2.3, unknown"],
        &["X-Forwarded-For: [::1], 192.0.2.1"],
        &["X-Name: Evil, b"],
        &["X-Name: a", "X-Name: b"],
        &["X-Name: b, EVIL", "X-Name: c"],
        &["X-Name: \"a, evil\""],
        &["X-Name:", "X-Name: evil "],
        &["X-Name: a, evil, b"],
    ];
    all_the_same(&both, "WEB", &fields.map(|fields| get("/", fields)));
    let [_, ours] = both.ask("WEB", &get("/?role=z&role=Admin", &[]));
    assert!(ours.starts_with("HTTP/1.1 500"), "{ours}");
}

#[test]
fn counters_are_asked_where_they_were_and_addresses_are_counted_however_they_are_written() {
    let both = Both::start("asked");
    let said =
        ["not converted", "not the same", "`Retry-After`"].map(|what| both.notes.matches(what).count());
    assert_eq!(said, [0, 0, 1], "{}", both.notes);
    let statuses = |listener: &str, requests: &[String]| -> Vec<[String; 2]> {
        let of = |answer: String| answer.split(' ').nth(1).unwrap_or_default().to_owned();
        requests.iter().map(|request| both.ask(listener, request).map(of)).collect()
    };
    // What is refused before it is counted does not count.
    let requests = ["/", "/", "/", "/late", "/", "/late", "/"].map(|target| get(target, &[]));
    let expected = ["200", "200", "200", "403", "429", "429", "429"];
    assert_eq!(statuses("WEB", &requests), expected.map(|status| [status, status]));
    let forwarded = [
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "192.0.2.1:80",
        "192.0.2.2",
        "192.0.2.1, 192.0.2.2",
        "2001:db8::1",
        "2001:DB8::1",
        "2001:db8:0::1",
        "unknown",
        "unknown",
        "unknown",
    ];
    all_the_same(&both, "OTHER", &forwarded.map(|value| get("/", &[&format!("X-Forwarded-For: {value}")])));
    let clients = [
        "192.0.2.1",
        "192.0.2.1abc",
        "192.0.2.1.5",
        "192.0.2.1.5",
        "::ffff:192.0.2.2",
        "192.0.2.2",
        "::1",
        "::1",
    ];
    all_the_same(&both, "STATS", &clients.map(|value| get("/", &[&format!("X-Client: {value}")])));
}

#[test]
fn a_client_is_who_it_was_and_what_is_no_address_changes_nothing() {
    let both = Both::start("source");
    assert!(!both.notes.contains("not converted") && !both.notes.contains("not the same"), "{}", both.notes);
    let values = [
        "192.0.2.1",
        "10.0.0.010",
        "192.0.2.1:8080",
        "192.0.2.1abc",
        "192.0.2.1, 10.0.0.5",
        "10.0.0.5, unknown",
        "junk",
        "unknown",
        "",
        "192.0.2.1.5",
        "2001:DB8::1",
        "[2001:db8::1]",
    ];
    for field in ["X-Real-IP", "X-Client-IP"] {
        for target in ["/", "/adm", "/direct"] {
            let requests = values.map(|value| get(target, &[&format!("{field}: {value}")]));
            all_the_same(&both, "WEB", &requests);
        }
    }
    let several = [
        &["X-Real-IP: 192.0.2.1", "X-Real-IP: 192.0.2.2"][..],
        &["X-Real-IP: 192.0.2.1", "X-Real-IP: junk"],
        &["X-Real-IP: 192.0.2.1", "X-Client-IP: 10.0.0.1"],
        &["X-Real-IP: 127.0.0.9", "X-Client-IP: 10.0.0.1"],
        &[],
    ];
    all_the_same(&both, "WEB", &several.map(|fields| get("/adm", fields)));
    let [_, ours] = both.ask("WEB", &get("/", &["X-Real-IP: 192.0.2.1"]));
    assert!(ours.contains("X-Source: 192.0.2.1\r\nX-Has-Port: yes\r\n"), "{ours}");
}
