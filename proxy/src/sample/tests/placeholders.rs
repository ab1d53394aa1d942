//! Each placeholder has the value that its name says.

use super::*;
use crate::Endpoint;

#[test]
fn a_placeholder_is_the_fact_of_its_name() {
    let cases = [
        ("{client.ip}", "192.0.2.7"),
        ("{client.port}", "40000"),
        ("{peer.ip}", "198.51.100.9"),
        ("{local.ip}", "2001:db8::10"),
        ("{local.port}", "80"),
        ("{frontend.name}", "web"),
        ("{backend.name}", "app"),
        ("{server.name}", "web1"),
        ("{node.name}", "lb1"),
        ("{hostname}", "lb1.example.com"),
        ("{time.iso}", "1994-11-06T08:49:37.123Z"),
        ("{time.http}", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("{time.unix}", "784111777"),
        ("{time.unix_ms}", "784111777123"),
        ("{request.id}", "id-1"),
        ("{request.method}", "GET"),
        ("{request.path}", "/Shop/cart"),
        ("{request.query}", "id=7&name=a%20b&empty=&flag"),
        ("{request.target}", "/Shop/cart?id=7&name=a%20b&empty=&flag"),
        ("{request.host}", "www.example.com"),
        ("{request.authority}", "WWW.Example.com.:8080"),
        ("{request.version}", "1.1"),
        ("{request.base}", "WWW.Example.com.:8080/Shop/cart"),
        ("{request.base|lower|length}", "31"),
        ("{request.header.x-tag}", "second, third"),
        ("{request.header.X-Absent}", ""),
        ("{request.query.name}", "a%20b"),
        ("{request.query.nam}", ""),
        ("{request.query.flag}", ""),
        ("{request.cookie.SRV}", "web1"),
        ("{request.cookie.srv}", ""),
        ("{response.status}", "404"),
        ("{response.header.content-type}", "text/html"),
    ];
    for (text, expected) in cases {
        assert_eq!(rendered(text), expected, "{text}");
    }
    assert_eq!(rendered("{pid}"), std::process::id().to_string());
}

#[test]
fn client_on_a_unix_socket_has_no_address_and_no_port() {
    let world = World::new();
    let facts =
        Facts { client: Endpoint::Unix, peer: Endpoint::Unix, local: Endpoint::Unix, ..world.facts() };
    let names = Names::default();
    for placeholder in ["client.ip", "client.port", "peer.ip", "local.ip", "local.port"] {
        let text = format!("{{{placeholder}}},{{{placeholder}|default(\"-\")}}");
        let template = Template::parse(&text, &place(&names, Stage::Response, Text::Plain)).unwrap();
        let mut out = Vec::new();
        template.render(&facts, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), ",-", "{placeholder}");
    }
}

#[test]
fn every_placeholder_of_the_table_can_be_written_and_no_fact_is_without_a_row() {
    let mut names = Names::default();
    names.declare(&VariableName::parse("NAME").unwrap(), Stage::Request);
    for row in PLACEHOLDERS {
        let text = if row.since == Since::Log { Text::Log } else { Text::Plain };
        let stage = match row.since {
            Since::ClientHello => Stage::Connection,
            Since::Head => Stage::Request,
            _ => Stage::Response,
        };
        let parsed = Template::parse(&format!("{{{}}}", row.name), &place(&names, stage, text));
        assert!(parsed.is_ok(), "{}: {parsed:?}", row.name);
    }
}

#[test]
fn text_around_placeholders_stays_and_doubled_braces_are_one() {
    assert_eq!(rendered(""), "");
    assert_eq!(rendered("a {client.ip} b { client.port } ü"), "a 192.0.2.7 b 40000 ü");
    assert_eq!(rendered("{{{client.port}}}"), "{40000}");
    assert_eq!(rendered("{{client.port}}"), "{client.port}");
}

#[test]
fn hosts_lose_port_and_dot_and_keep_brackets() {
    let cases = [
        ("example.com", "example.com"),
        ("Example.COM:80", "example.com"),
        ("example.com.", "example.com"),
        ("[2001:DB8::1]:8080", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ];
    for (authority, expected) in cases {
        let mut world = World::new();
        world.request.fields = vec![(b"Host".to_vec(), authority.into())];
        let names = Names::default();
        assert_eq!(world.render("{request.host}", &place(&names, Stage::Request, Text::Plain)), expected);
    }
}

#[test]
fn a_request_without_a_query_has_no_value_for_it() {
    let mut world = World::new();
    world.request.query.clear();
    let names = Names::default();
    let place = place(&names, Stage::Request, Text::Plain);
    assert_eq!(world.render("{request.query|default(\"none\")}", &place), "none");
}

#[test]
fn a_uuid_is_random_and_of_version_4() {
    let uuids: std::collections::BTreeSet<String> = (0..100).map(|_| rendered("{uuid}")).collect();
    assert_eq!(uuids.len(), 100);
    for uuid in &uuids {
        let parts: Vec<&str> = uuid.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{uuid}");
    }
}

#[test]
fn text_without_placeholders_is_known_to_be_literal() {
    let names = Names::default();
    let place = place(&names, Stage::Request, Text::Plain);
    assert_eq!(Template::parse("a{{b", &place).unwrap().as_literal(), Some(b"a{b".as_slice()));
    assert_eq!(Template::parse("", &place).unwrap().as_literal(), Some(b"".as_slice()));
    assert_eq!(Template::parse("a{client.ip}", &place).unwrap().as_literal(), None);
}
