//! Templates on made-up facts.

use std::time::{Duration, SystemTime};

use super::*;
use crate::client_hello::ClientHello;

mod attacks;
mod book;
mod faults;
mod functions;
mod placeholders;
mod properties;
mod variables;

/// A request and a response as tests write them.
#[derive(Debug, Default)]
struct Message {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    cookies: Vec<(Vec<u8>, Vec<u8>)>,
    status: u16,
}

impl Message {
    fn last(&self, name: &[u8]) -> Option<&[u8]> {
        let of_name = self.fields.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_slice())
    }
}

impl RequestFacts for Message {
    fn method(&self) -> &[u8] {
        &self.method
    }
    fn path(&self) -> &[u8] {
        &self.path
    }
    fn query(&self) -> &[u8] {
        &self.query
    }
    fn target(&self) -> &[u8] {
        &self.target
    }
    fn authority(&self) -> Option<&[u8]> {
        self.last(b"host")
    }
    fn version(&self) -> &'static str {
        "1.1"
    }
    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.last(name)
    }
    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
    fn each_cookie(&self, name: &[u8], look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.cookie(name).is_some_and(|value| {
            look(value);
            true
        })
    }

    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        self.cookie(name).map(test)
    }
}

impl ResponseFacts for Message {
    fn status(&self) -> u16 {
        self.status
    }
    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.last(name)
    }
}

/// The facts of a test.
#[derive(Debug)]
struct World {
    request: Message,
    response: Message,
    client_hello: ClientHello,
    session: Variables,
    variables: Variables,
    maps: Maps,
    host: Host,
    scratch: Scratch,
}

impl World {
    fn new() -> Self {
        let mut variables = Variables::default();
        assert!(variables.set(VariableId::REQUEST_ID, b"id-1"));
        let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Self {
            request: Message {
                method: b"GET".to_vec(),
                path: b"/Shop/cart".to_vec(),
                query: b"id=7&name=a%20b&empty=&flag".to_vec(),
                target: b"/Shop/cart?id=7&name=a%20b&empty=&flag".to_vec(),
                fields: vec![
                    field("Host", "WWW.Example.com.:8080"),
                    field("X-Tag", "first"),
                    field("x-tag", "second, third"),
                    field("Empty", ""),
                ],
                cookies: vec![field("SRV", "web1")],
                status: 0,
            },
            response: Message {
                status: 404,
                fields: vec![field("Content-Type", "text/html")],
                ..Message::default()
            },
            client_hello: ClientHello {
                sni: (*b"www.example.com").into(),
                alpn: (*b"h2,http/1.1").into(),
                version: 0x0304,
            },
            session: Variables::default(),
            variables,
            maps: Maps::default(),
            host: Host { node: "lb1".into(), hostname: "lb1.example.com".into() },
            scratch: Scratch::default(),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            client: "192.0.2.7:40000".parse().unwrap(),
            peer: "[::ffff:198.51.100.9]:41000".parse().unwrap(),
            local: "[2001:db8::10]:80".parse().unwrap(),
            frontend: "web",
            backend: Some("app"),
            server: Some("web1"),
            client_hello: Some(&self.client_hello),
            request: Some(&self.request),
            response: Some(&self.response),
            session: &self.session,
            variables: &self.variables,
            maps: &self.maps,
            host: &self.host,
            now: SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_123),
            tls: None,
            proxy_header: None,
            log: None,
            scratch: &self.scratch,
        }
    }

    fn render(&self, text: &str, place: &Place<'_>) -> String {
        let template = Template::parse(text, place).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut out = Vec::new();
        template.render(&self.facts(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn place(names: &Names, stage: Stage, text: Text) -> Place<'_> {
    Place { stage, backend: stage == Stage::Response, text, names }
}

/// Renders as a field of a response, where every placeholder exists.
fn rendered(text: &str) -> String {
    World::new().render(text, &place(&Names::default(), Stage::Response, Text::Field))
}
