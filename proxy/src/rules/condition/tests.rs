//! Conditions, one by one and together.

use super::*;
use crate::{
    Endpoint,
    http::head::{Fields, Progress, request::Head},
    rules::{HostPattern, Pattern, UsedFields},
    sample::{Expression, Names, Place, Stage, Text},
};

/// Does `condition` hold for the request with this target and these field lines?
fn holds(condition: &Condition, line: &str, fields: &str) -> bool {
    let [client, local] = ["192.0.2.7:1234", "192.0.2.10:8080"].map(|end| end.parse().unwrap());
    holds_between(client, local, condition, line, fields)
}

fn holds_between(client: Endpoint, local: Endpoint, condition: &Condition, line: &str, fields: &str) -> bool {
    let bytes = format!("{line} HTTP/1.1\r\n{fields}\r\n");
    let mut lines = Fields::default();
    let head = Head::parse(bytes.as_bytes(), &mut Progress::default(), &mut lines).unwrap().unwrap();
    let request = head.check().unwrap();
    let mut scratch = Vec::new();
    let message = Message::of_request(head, &request, &UsedFields::default(), &mut scratch).unwrap();
    let (variables, maps, host, room) = Default::default();
    let facts = Facts {
        client,
        peer: client,
        local,
        frontend: "front",
        backend: None,
        server: None,
        client_hello: None,
        request: Some(&message),
        response: None,
        session: &variables,
        variables: &variables,
        maps: &maps,
        host: &host,
        now: std::time::SystemTime::UNIX_EPOCH,
        tls: None,
        proxy_header: None,
        log: None,
        scratch: &room,
    };
    condition.holds(&Subject { facts: &facts, message: Some(&message), count_usable: &|backend| backend.0 })
}

fn exact(text: &str) -> Vec<ValuePattern> {
    vec![ValuePattern::Exact(text.into())]
}

fn host(names: &[&str]) -> Condition {
    Condition::Host(HostSet::new(names.iter().map(|name| HostPattern::parse(name).unwrap()).collect()))
}

fn value(source: &str, patterns: Vec<ValuePattern>) -> Condition {
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: Text::Plain, names: &names };
    Condition::Value(Value::new(source, Expression::parse(source, &place).unwrap()), patterns)
}

fn network(address: &str, prefix: u8) -> Condition {
    Condition::Source(vec![Network::new(address.parse().unwrap(), prefix).unwrap()])
}

#[test]
fn each_condition_holds_for_what_it_names() {
    let regex = |text: &str| Pattern::new(text).unwrap();
    let path = |pattern| Condition::Path(vec![pattern]);
    let table = [
        (host(&["a.example.com"]), "GET /", "Host: A.example.com:81\r\n", true),
        (host(&["a.example.com"]), "GET http://a.example.com/", "Host: a.example.com\r\n", true),
        (host(&["a.example.com"]), "GET /", "Host: b.example.com\r\n", false),
        (path(PathPattern::Exact("/a".into())), "GET /a?b", "Host: a\r\n", true),
        (path(PathPattern::Exact("/a".into())), "GET /A", "Host: a\r\n", false),
        (path(PathPattern::Prefix("/a".into())), "GET /a/b", "Host: a\r\n", true),
        (path(PathPattern::Suffix(".png".into())), "GET /x.png?y=.jpg", "Host: a\r\n", true),
        (path(PathPattern::Suffix(".jpg".into())), "GET /x.png?y=.jpg", "Host: a\r\n", false),
        (path(PathPattern::Regex(regex("^/[0-9]+$"))), "GET /42", "Host: a\r\n", true),
        (path(PathPattern::Regex(regex("^/[0-9]+$"))), "GET /4x", "Host: a\r\n", false),
        (Condition::Method(vec!["PUT".into(), "PATCH".into()]), "PATCH /", "Host: a\r\n", true),
        (Condition::Method(vec!["PURGE".into()]), "purge /", "Host: a\r\n", true),
        (Condition::Method(vec!["PURGE".into()]), "PUT /", "Host: a\r\n", false),
        (Condition::Header("x".into(), exact("1")), "GET /", "Host: a\r\nX: 2\r\nX: 1\r\n", true),
        (Condition::Header("x".into(), exact("1")), "GET /", "Host: a\r\nX: 1, 2\r\n", false),
        (Condition::Header("x".into(), vec![ValuePattern::Present]), "GET /", "Host: a\r\nX:\r\n", true),
        (Condition::Header("x".into(), vec![ValuePattern::Present]), "GET /", "Host: a\r\nXx: 1\r\n", false),
        (Condition::Header("x".into(), vec![ValuePattern::Absent]), "GET /", "Host: a\r\nX:\r\n", false),
        (Condition::Header("x".into(), vec![ValuePattern::Absent]), "GET /", "Host: a\r\n", true),
        (value("{request.path|upper}", exact("/A")), "GET /a?b", "Host: a\r\n", true),
        (value("{request.header.x}", vec![ValuePattern::Absent]), "GET /", "Host: a\r\n", true),
        (value("{request.query.x|lower}", exact("b")), "GET /?x=a&x=B", "Host: a\r\n", true),
        (value("{request.query.x|lower}", exact("")), "GET /?x&x=a", "Host: a\r\n", false),
        (value("{request.query.x}", vec![ValuePattern::Present]), "GET /?x", "Host: a\r\n", false),
        (value("{request.query.x|default('b')}", exact("b")), "GET /?y=a", "Host: a\r\n", true),
        (value("{request.query.x|default('b')}", exact("b")), "GET /?x=a", "Host: a\r\n", false),
        (value("{request.query.x|field(2, '.')}", exact("b")), "GET /?x=1.a&x=1.b", "Host: a\r\n", true),
        // What the functions leave nothing of ends it, but for an address.
        (value("{request.query.x|field(2, '.')}", exact("b")), "GET /?x=1.a&x=1&x=1.b", "Host: a\r\n", false),
        (value("{request.query.x|address}", exact("::1")), "GET /?x=1&x=::1", "Host: a\r\n", true),
        (
            value("{request.query.x|address}", vec![ValuePattern::Absent]),
            "GET /?x=1&x=2",
            "Host: a\r\n",
            true,
        ),
        (value("{request.cookie.s|upper}", exact("B")), "GET /", "Host: a\r\nCookie: s=a; s=b\r\n", true),
        (
            value("{request.cookie.s|upper}", exact("B")),
            "GET /",
            "Host: a\r\nCookie: s=a\r\nCookie: s=b\r\n",
            true,
        ),
        (value("{request.header_value.x}", exact("b")), "GET /", "Host: a\r\nX: a, b ,c\r\nX: d\r\n", true),
        (value("{request.header_value.x}", exact("a,b")), "GET /", "Host: a\r\nX: \"a,b\"\r\n", false),
        (value("{request.header_value.x}", exact("")), "GET /", "Host: a\r\nX:\r\n", true),
        (value("{request.header_value.x}", vec![ValuePattern::Absent]), "GET /", "Host: a\r\n", true),
        (value("{request.header.x}", exact("a")), "GET /", "Host: a\r\nX: a\r\nX: b\r\n", false),
        (Condition::Query("id".into(), exact("a b")), "GET /?x&id=a%20b", "Host: a\r\n", true),
        (Condition::Query("id".into(), exact("a b")), "GET /?%69d=a+b&id=c", "Host: a\r\n", true),
        (Condition::Query("id".into(), exact("%zz%")), "GET /?id=%zz%", "Host: a\r\n", true),
        (Condition::Query("id".into(), vec![ValuePattern::Present]), "GET /?id", "Host: a\r\n", true),
        (Condition::Query("id".into(), vec![ValuePattern::Present]), "GET /id", "Host: a\r\n", false),
        (Condition::Cookie("s".into(), exact("1")), "GET /", "Host: a\r\nCookie: a=2; s=1\r\n", true),
        (Condition::Cookie("s".into(), exact("1")), "GET /", "Host: a\r\nCookie: xs=1; S=1\r\n", false),
        (network("192.0.2.0", 24), "GET /", "Host: a\r\n", true),
        (network("192.0.2.0", 30), "GET /", "Host: a\r\n", false),
        (Condition::Port(vec![80..=80, 8000..=8999]), "GET /", "Host: a\r\n", true),
        (Condition::Port(vec![443..=443]), "GET /", "Host: a\r\n", false),
        (Condition::Scheme(Scheme::Http), "GET /", "Host: a\r\n", true),
        (Condition::Scheme(Scheme::Https), "GET /", "Host: a\r\n", false),
        (Condition::ALWAYS, "GET /", "Host: a\r\n", true),
    ];
    for (condition, line, fields, expected) in table {
        assert_eq!(holds(&condition, line, fields), expected, "{condition:?}: {line} {fields:?}");
        let not = Condition::Not(Box::new(condition));
        assert_eq!(holds(&not, line, fields), !expected, "{not:?}");
    }
}

#[test]
fn all_any_and_not_join_conditions() {
    let (yes, no) = (|| Condition::ALWAYS, || Condition::Any(Vec::new()));
    for (condition, expected) in [
        (Condition::All(vec![yes(), yes()]), true),
        (Condition::All(vec![yes(), no()]), false),
        (Condition::Any(vec![no(), yes()]), true),
        (Condition::Any(vec![no(), no()]), false),
        (Condition::Not(Box::new(Condition::All(vec![yes(), no()]))), true),
    ] {
        assert_eq!(holds(&condition, "GET /", "Host: a\r\n"), expected, "{condition:?}");
    }
}

#[test]
fn a_condition_covers_what_can_not_hold_without_it() {
    let path = |text: &str| Condition::Path(vec![PathPattern::Prefix(text.into())]);
    let all = |list: &[Condition]| Condition::All(list.to_vec());
    let any = |list: &[Condition]| Condition::Any(list.to_vec());
    let not = |condition: Condition| Condition::Not(Box::new(condition));
    for (own, other) in [
        (Condition::ALWAYS, path("/a")),
        (path("/a"), path("/a/b")),
        (path("/a"), all(&[path("/a/b"), Condition::Method(vec!["GET".into()])])),
        (any(&[path("/a"), path("/b")]), path("/b/c")),
        (any(&[path("/a"), path("/b")]), any(&[path("/b"), path("/a/x")])),
        (not(path("/a/b")), not(path("/a"))),
        (host(&["*.example.com", "b"]), host(&["b", "a.example.com"])),
        (network("192.0.2.0", 24), network("192.0.2.128", 25)),
        (Condition::Port(vec![1..=1024]), Condition::Port(vec![80..=81])),
        (
            Condition::Header("X".into(), vec![ValuePattern::Present]),
            Condition::Header("x".into(), exact("1")),
        ),
    ] {
        assert!(own.covers(&other), "{own:?} {other:?}");
    }
    for (own, other) in [
        (path("/a"), Condition::ALWAYS),
        (path("/a/b"), path("/a")),
        (all(&[path("/a"), Condition::Method(vec!["GET".into()])]), path("/a")),
        (path("/a"), any(&[path("/a"), path("/b")])),
        (host(&["a"]), host(&["a", "b"])),
        (not(path("/a")), not(path("/a/b"))),
        (Condition::Query("a".into(), exact("1")), Condition::Cookie("a".into(), exact("1"))),
    ] {
        assert!(!own.covers(&other), "{own:?} {other:?}");
    }
}

#[test]
fn client_without_an_address_is_in_no_network_and_came_to_no_port() {
    let holds = |condition: &Condition| {
        holds_between(Endpoint::Unix, Endpoint::Unix, condition, "GET /", "Host: a\r\n")
    };
    for condition in [network("0.0.0.0", 0), network("::", 0), Condition::Port(vec![0..=65_535])] {
        assert!(!holds(&condition), "{condition:?}");
        assert!(holds(&Condition::Not(Box::new(condition))));
    }
}
