use std::net::SocketAddr;

use super::*;
use crate::{
    config::{ForwardedName, ForwardedNode as Node, ForwardedParameters},
    http::head::{
        Fields, Progress,
        request::{Head, Hop},
    },
    rules::{Network, UsedFields},
    sample::{Host, Maps, Scratch, Variables},
};

/// The lines of these names that a server gets.
struct Rig {
    policy: Forwarded,
    peer: Endpoint,
    local: Endpoint,
    /// As `set_source` has found it.
    client: Option<Endpoint>,
    of_backend: BackendForwarded,
    /// Has the frontend something to say?
    has_own: bool,
    rules: fn(&mut Message<'_>),
}

fn end(address: &str) -> Endpoint {
    Endpoint::Ip(address.parse::<SocketAddr>().unwrap())
}

impl Rig {
    fn new(headers: &[ForwardedHeader]) -> Self {
        let policy = Forwarded {
            headers: headers.to_vec(),
            trust: vec![Network::new("192.0.2.0".parse().unwrap(), 24).unwrap()],
            parameters: ForwardedParameters::default(),
        };
        let (peer, local) = (end("198.51.100.7:4711"), end("203.0.113.1:8443"));
        let of_backend = BackendForwarded::AsFrontend;
        Self { policy, peer, local, client: None, of_backend, has_own: true, rules: |_| {} }
    }

    fn lines(&self, request: &str) -> Vec<String> {
        let mut fields = Fields::default();
        let text = request.replace('\n', "\r\n");
        let head = Head::parse(text.as_bytes(), &mut Progress::default(), &mut fields).unwrap().unwrap();
        let request = head.check().unwrap();
        let (mut scratch, mut work) = (Vec::new(), b"old".to_vec());
        let mut message = Message::of_request(head, &request, &UsedFields::default(), &mut scratch).unwrap();
        let (none, maps, host, sample) =
            (Variables::default(), Maps::default(), Host::default(), Scratch::default());
        let facts = Facts {
            client: self.peer,
            peer: self.peer,
            local: self.local,
            frontend: "web",
            backend: None,
            server: None,
            client_hello: None,
            request: None,
            response: None,
            session: &none,
            variables: &none,
            maps: &maps,
            host: &host,
            now: std::time::SystemTime::UNIX_EPOCH,
            tls: None,
            proxy_header: None,
            log: None,
            scratch: &sample,
        };
        let host = message.host().map(<[u8]>::to_vec);
        let begun = self.has_own.then(|| begin(&self.policy, &facts, &mut message, &mut work).unwrap());
        let mark = message.mark();
        // A rule that gives the server another name.
        message.set(b"Host", b"inside.example").unwrap();
        (self.rules)(&mut message);
        let facts = Facts { client: self.client.unwrap_or(self.peer), ..facts };
        let seen = Seen { host: host.as_deref(), mark };
        tell(&self.of_backend, begun, &facts, seen, &mut message, &mut work).unwrap();
        let mut out = Vec::new();
        let hop = Hop { forwarded_for: None, local: self.local, close: false };
        message.encode_request(&request, &hop, &mut out);
        let text = String::from_utf8(out).unwrap();
        let is_ours = |line: &&str| line.to_ascii_lowercase().contains("forwarded");
        text.split("\r\n").filter(is_ours).map(str::to_owned).collect()
    }
}

const GET: &str = "GET / HTTP/1.1\nHost: a.example:8443\n\n";

/// What a client says of itself.
const FORGED: &str = "GET / HTTP/1.1\nHost: a\nForwarded: for=10.0.0.1;proto=https\nforwarded: by=x\nX-Forwarded-For: 10.0.0.1\n\
    X_Forwarded_For: 10.0.0.2\nX-Forwarded-Proto: https\nX-Forwarded-Host: b\nX-FORWARDED-PORT: 1\n\n";

#[test]
fn stranger_is_told_of_as_it_is_and_what_it_says_is_gone() {
    assert_eq!(
        Rig::new(&ForwardedHeader::ALL).lines(FORGED),
        [
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a",
            "X-Forwarded-Port: 8443",
            "Forwarded: proto=http;for=198.51.100.7",
            "X-Forwarded-For: 198.51.100.7",
        ]
    );
}

#[test]
fn what_a_trusted_proxy_says_stays_and_one_hop_is_added() {
    let mut rig = Rig::new(&ForwardedHeader::ALL);
    rig.peer = end("192.0.2.9:1");
    let lines = rig.lines(FORGED);
    assert_eq!(lines[..4], FORGED.lines().skip(2).take(4).collect::<Vec<_>>());
    assert_eq!(
        lines[4..],
        [
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: b",
            "X-FORWARDED-PORT: 1",
            "Forwarded: proto=http;for=192.0.2.9",
            "X-Forwarded-For: 192.0.2.9",
        ]
    );
    // Where rules have found the client in what it says, that is who is told of.
    rig.client = Some(end("[2001:db8::7]:9"));
    let lines = rig.lines(GET);
    assert_eq!(lines[3..], ["Forwarded: proto=http;for=\"[2001:db8::7]\"", "X-Forwarded-For: 2001:db8::7"]);
    // The network of a mapped address is that of its IPv4 address.
    rig.peer = end("[::ffff:192.0.2.9]:1");
    assert_eq!(rig.lines(FORGED).len(), 9);
}

#[test]
fn who_has_no_address_is_trusted_only_where_everybody_is() {
    let mut rig = Rig::new(&[ForwardedHeader::Forwarded, ForwardedHeader::For, ForwardedHeader::Port]);
    (rig.peer, rig.local) = (Endpoint::Unix, Endpoint::Unix);
    assert_eq!(
        rig.lines(FORGED)[..],
        ["X-Forwarded-Proto: https", "X-Forwarded-Host: b", "Forwarded: proto=http;for=unknown"]
    );
    rig.policy.trust = vec![Network::new("0.0.0.0".parse().unwrap(), 0).unwrap()];
    assert_eq!(rig.lines(FORGED).len(), 8);
}

#[test]
fn elements_are_those_of_rfc_7239() {
    let of = |change: fn(&mut Rig)| {
        let mut rig = Rig::new(&[ForwardedHeader::Forwarded]);
        rig.policy.parameters = ForwardedParameters {
            proto: false,
            host: false,
            by: None,
            by_port: false,
            client: None,
            client_port: false,
        };
        change(&mut rig);
        rig.lines(GET).remove(0)
    };
    type Change = fn(&mut Rig);
    let table: [(Change, &str); 7] = [
        // What the client asked for, whatever rules make of it.
        (|rig| rig.policy.parameters.host = true, "host=\"a.example:8443\""),
        (
            |rig| {
                rig.policy.parameters.client = Some(Node::Address);
                rig.policy.parameters.client_port = true;
            },
            "for=\"198.51.100.7:4711\"",
        ),
        (
            |rig| {
                rig.policy.parameters.by = Some(Node::Address);
                rig.local = end("[2001:db8::1]:443");
            },
            "by=\"[2001:db8::1]\"",
        ),
        (
            |rig| {
                rig.policy.parameters.by = Some(Node::Address);
                rig.policy.parameters.by_port = true;
                rig.local = end("[2001:db8::1]:443");
                rig.policy.parameters.proto = true;
            },
            "proto=http;by=\"[2001:db8::1]:443\"",
        ),
        (
            |rig| {
                rig.policy.parameters.by = Some(Node::Name(ForwardedName::new("_lb1").unwrap()));
                rig.policy.parameters.client = Some(Node::Name(ForwardedName::new("unknown").unwrap()));
            },
            "by=_lb1;for=unknown",
        ),
        (
            |rig| {
                rig.policy.parameters.by = Some(Node::Name(ForwardedName::new("_lb1").unwrap()));
                rig.policy.parameters.by_port = true;
            },
            "by=\"_lb1:8443\"",
        ),
        (
            |rig| {
                rig.policy.parameters.client = Some(Node::Address);
                rig.peer = end("[::ffff:198.51.100.7]:1");
            },
            "for=198.51.100.7",
        ),
    ];
    for (change, expected) in table {
        assert_eq!(of(change), format!("Forwarded: {expected}"));
    }
}

#[test]
fn backend_speaks_instead_of_its_frontend() {
    let mut rig = Rig::new(&ForwardedHeader::ALL);
    rig.of_backend = BackendForwarded::Off;
    assert!(rig.lines(FORGED).is_empty());
    let own = |headers: &[ForwardedHeader]| Forwarded {
        headers: headers.to_vec(),
        trust: Vec::new(),
        parameters: ForwardedParameters { host: true, ..ForwardedParameters::default() },
    };
    rig.of_backend = BackendForwarded::Own(own(&[ForwardedHeader::Forwarded]));
    assert_eq!(rig.lines(GET), ["Forwarded: proto=http;host=\"a.example:8443\";for=198.51.100.7"]);
    rig.of_backend = BackendForwarded::Own(own(&[ForwardedHeader::Host, ForwardedHeader::For]));
    let own_lines = ["X-Forwarded-Host: a.example:8443", "X-Forwarded-For: 198.51.100.7"];
    assert_eq!(rig.lines(GET), own_lines);
    // Who is trusted by the frontend and not by the backend.
    rig.peer = end("192.0.2.9:1");
    let left = ["X-Forwarded-Proto: https", "X-FORWARDED-PORT: 1"];
    let lines = rig.lines(FORGED);
    assert!(left.iter().all(|line| lines.iter().any(|other| other == line)), "{lines:?}");
    assert_eq!(lines[lines.len() - 2..], ["X-Forwarded-Host: a", "X-Forwarded-For: 192.0.2.9"]);
    assert!(!lines.iter().any(|line| line.contains("10.0.0") && line.to_ascii_lowercase().starts_with("x")));
}

/// Whoever says it, frontend or backend, and whoever is believed: one value, and the same in both forms.
#[test]
fn what_a_rule_has_said_is_what_servers_are_told() {
    let mut rig = Rig::new(&ForwardedHeader::ALL);
    rig.policy.parameters.host = true;
    let told = [
        "Forwarded: proto=https;host=\"outside.example:443\";for=198.51.100.7",
        "X-Forwarded-For: 198.51.100.7",
        "X-Forwarded-Host: outside.example:443",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Proto: https",
    ];
    let sorted = |lines: Vec<String>| {
        let mut lines = lines;
        lines.sort();
        lines
    };
    fn each(message: &mut Message<'_>, values: [&[u8]; 3], put: impl Fn(&mut Message<'_>, &[u8], &[u8])) {
        for (header, value) in SINGLE.iter().zip(values) {
            put(message, header.name().as_bytes(), value);
        }
    }
    const BY_RULE: [&[u8]; 3] = [b"https", b"outside.example:443", b"443"];
    for rules in [
        (|message| each(message, BY_RULE, |message, name, value| message.set(name, value).unwrap()))
            as fn(&mut Message<'_>),
        |message| each(message, BY_RULE, |message, name, value| message.add(name, value).unwrap()),
    ] {
        rig.rules = rules;
        let own = BackendForwarded::Own(rig.policy.clone());
        for (has_own, of_backend) in
            [(true, BackendForwarded::AsFrontend), (true, own.clone()), (false, own.clone())]
        {
            (rig.has_own, rig.of_backend) = (has_own, of_backend);
            for peer in ["198.51.100.7:4711", "192.0.2.9:1"] {
                rig.peer = end(peer);
                let is_trusted = peer.starts_with("192");
                let lines = sorted(rig.lines(FORGED));
                let ours: Vec<_> =
                    lines.iter().filter(|line| !line.contains("10.0.0") && !line.contains("by=x")).collect();
                let expected = told.map(|line| {
                    line.replace("198.51.100.7", if is_trusted { "192.0.2.9" } else { "198.51.100.7" })
                });
                assert_eq!(ours, expected.iter().collect::<Vec<_>>(), "{has_own} {peer}");
                assert_eq!(lines.len() > ours.len(), is_trusted, "{lines:?}");
            }
        }
        // A backend that says nothing takes nothing of a rule away.
        (rig.has_own, rig.of_backend, rig.peer) = (true, BackendForwarded::Off, end("198.51.100.7:4711"));
        assert_eq!(sorted(rig.lines(GET)), told[2..]);
    }
    // One that a rule takes away is not there, unless it is the backend that says it.
    rig.rules = |message| SINGLE.iter().for_each(|header| message.remove(header.name().as_bytes()));
    rig.of_backend = BackendForwarded::AsFrontend;
    assert_eq!(rig.lines(GET).len(), 2);
    rig.of_backend = BackendForwarded::Own(rig.policy.clone());
    assert_eq!(rig.lines(GET).len(), 5);
}

/// What a rule makes of Host is not what the client asked for.
#[test]
fn request_of_http_1_0_without_host_has_asked_for_none() {
    let mut rig = Rig::new(&[ForwardedHeader::Forwarded, ForwardedHeader::Host]);
    rig.policy.parameters.host = true;
    let request = "GET / HTTP/1.0\nX-Forwarded-Host: forged\n\n";
    for has_own in [true, false] {
        rig.has_own = has_own;
        for of_backend in [BackendForwarded::AsFrontend, BackendForwarded::Own(rig.policy.clone())] {
            if !has_own && of_backend == BackendForwarded::AsFrontend {
                continue;
            }
            rig.of_backend = of_backend;
            assert_eq!(rig.lines(request), ["Forwarded: proto=http;for=198.51.100.7"], "{has_own}");
        }
    }
}

#[test]
fn value_of_a_client_ends_neither_itself_nor_the_element() {
    let quoted = |value: &[u8]| {
        let mut out = Vec::new();
        put_value(value, &mut out);
        String::from_utf8(out).unwrap()
    };
    for (value, expected) in [
        ("a.example", "a.example"),
        ("a:1", "\"a:1\""),
        ("[2001:db8::1]:1", "\"[2001:db8::1]:1\""),
        ("", "\"\""),
        ("a;for=10.0.0.1", "\"a;for=10.0.0.1\""),
        ("a,for=x", "\"a,for=x\""),
        ("a\";for=x;host=\"", r#""a\";for=x;host=\"""#),
        ("a\\", r#""a\\""#),
    ] {
        assert_eq!(quoted(value.as_bytes()), expected, "{value}");
    }
}
