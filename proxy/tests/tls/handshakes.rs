//! Handshakes that fail, and what is said of them.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{Mode, TlsVersion},
    rules::{Action, Condition, Rule, Scheme},
};
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    certificates::{certificate, config, set, tls},
    peer::{VERSIONS, apart, ask, client, connect},
    rig::{self, address, counted, counter, eventually, read_all},
    syslog::Syslog,
};

/// What answers nobody: no server is asked in these tests.
const NOBODY: &[SocketAddr] = &[];

/// A frontend that answers 403 over TLS and 404 without.
fn answering() -> lb_proxy::Config {
    let mut config = config(Mode::Http, NOBODY);
    let deny = |scheme, status| Rule { when: Condition::Scheme(scheme), then: vec![Action::Deny(status)] };
    config.frontends[0].rules = vec![deny(Scheme::Https, 403), deny(Scheme::Http, 404)];
    config
}

/// The same at work, and who gets its log.
async fn answering_and_told() -> (Syslog, Proxy) {
    let syslog = Syslog::start().await;
    let mut config = answering();
    syslog.receive_from(&mut config);
    (syslog, Proxy::start(config).unwrap())
}

#[tokio::test]
async fn rules_and_the_log_know_that_a_client_speaks_tls() {
    let (syslog, proxy) = answering_and_told().await;
    let front = address(&proxy);
    let head = apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
    })
    .await;
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
    let line = syslog.line().await;
    assert!(line.starts_with("front~ front/<NOSRV> "), "{line}");
}

#[tokio::test]
async fn handshakes_that_fail_are_told_to_both_sides_and_counted() {
    let syslog = Syslog::start().await;
    let mut config = answering();
    syslog.receive_from(&mut config);
    let only13 = lb_proxy::config::Tls { min_version: TlsVersion::Tls13, ..tls(certificate("a.example")) };
    set(&mut config, only13);
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    let error = apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS12), "a.example");
        peer.read(&mut [0]).unwrap_err().to_string()
    })
    .await;
    assert!(error.contains("ProtocolVersion"), "{error}");
    let line = syslog.line().await;
    assert_eq!(line, "front/1: SSL handshake failure (peer is incompatible: Tls12NotOfferedOrEnabled)");

    // Clear text: OpenSSL closes on it as well.
    let mut plain = rig::connect(&proxy).await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = read_all(&mut plain).await.unwrap();
    assert!(said.is_empty() || said[0] == 21, "{said:?}");
    let line = syslog.line().await;
    assert!(line.starts_with("front/1: SSL handshake failure ("), "{line}");

    // Half a ClientHello, and gone.
    let mut half = rig::connect(&proxy).await;
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    drop(half);
    let line = syslog.line().await;
    assert_eq!(line, "front/1: Connection error during SSL handshake");
    counted(&proxy, "tls_handshake_failures_total", 3).await;

    // A probe of the port is nobody's failure, and has no line.
    drop(rig::connect(&proxy).await);
    counted(&proxy, "null_connections_total", 1).await;
    assert_eq!((counter(&proxy, "tls_handshake_failures_total"), syslog.pending()), (3, None));
}

#[tokio::test]
async fn handshake_that_does_not_end_is_cut_off() {
    let syslog = Syslog::start().await;
    for mode in [Mode::Http, Mode::Tcp] {
        let mut config = config(mode, NOBODY);
        syslog.receive_from(&mut config);
        config.frontends[0].timeout.client_handshake = Duration::from_millis(100);
        let proxy = Proxy::start(config).unwrap();
        let mut slow = rig::connect(&proxy).await;
        slow.write_all(&[22, 3, 1]).await.unwrap();
        assert_eq!(slow.read(&mut [0]).await.unwrap(), 0);
        let line = syslog.line().await;
        assert_eq!(line, "front/1: Timeout during SSL handshake");
        assert_eq!(counter(&proxy, "tls_handshake_failures_total"), 1);
    }
}

#[tokio::test]
async fn whatever_comes_instead_of_a_handshake_ends_and_others_are_served() {
    let proxy = Proxy::start(answering()).unwrap();
    let front = address(&proxy);
    let huge: Vec<u8> = std::iter::repeat_n([22, 3, 1, 0x40, 0].into_iter().chain([1, 0xff, 0xff, 0xff]), 1)
        .flatten()
        .chain(std::iter::repeat_n(0, 300_000))
        .collect();
    let mut seed = 7_u64;
    let mut random = |n: usize| -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    };
    let mut garbage = vec![huge, vec![0; 100], vec![255; 20_000], vec![0x80, 0x2e, 1, 0, 2, 0]];
    garbage.extend((0..20).map(|n| random(n * 500 + 6)));
    // With the beginning of a record, so that more than the header is looked at.
    garbage.extend((0..20).map(|n| [&[22, 3, 3, 0, 200][..], &random(n + 200)].concat()));
    for bytes in garbage {
        let mut client = rig::connect(&proxy).await;
        // It may be closed before all of it is taken.
        let _ = client.write_all(&bytes).await;
        let _ = client.shutdown().await;
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said).await;
        assert!(said.is_empty() || said[0] == 21, "{said:?}");
    }
    let head = apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
    })
    .await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    eventually("all are gone", || proxy.status().frontends[0].connections <= 1).await;
}

#[tokio::test]
async fn names_are_in_rules_and_a_client_may_have_none() {
    use lb_proxy::sample::{Names, Place, Stage, Template, Text};
    let syslog = Syslog::start().await;
    let mut config = answering();
    syslog.receive_from(&mut config);
    let text = "{tls.sni} {tls.version} {tls.cipher} {tls.resumed} {request.scheme} {log.frontend}";
    let place = Place { stage: Stage::Response, backend: true, text: Text::Log, names: &Names::default() };
    config.frontends[0].log.format =
        lb_proxy::config::LogFormat::Template(Template::parse(text, &place).unwrap());
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    let line = async |name: &'static str, version| {
        apart(move || {
            let mut peer = connect(front, &client(version), name);
            ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
        })
        .await;
        let line = syslog.raw().await;
        line.split_once("]: ").unwrap().1.trim_end().to_owned()
    };
    assert_eq!(
        line("WWW.Example.com", &rustls::version::TLS13).await,
        "www.example.com TLSv1.3 TLS_AES_256_GCM_SHA384 0 https front~"
    );
    assert_eq!(
        line("127.0.0.1", &rustls::version::TLS12).await,
        "- TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 0 https front~"
    );
}

/// What a handshake holds while nothing comes is bounded, and others are served meanwhile: with as many descriptors as there
/// are, 5,000 at most.
#[tokio::test]
async fn thousands_of_half_open_handshakes_keep_nobody_from_being_served() {
    let mut config = answering();
    config.maxconn = 20_000;
    config.frontends[0].maxconn = 20_000;
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    // The proxy has raised it as far as it goes. Both ends are in this process.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).unwrap().0;
    let many = usize::try_from(limit / 2).unwrap().saturating_sub(200).min(5_000);
    assert!(many >= 300, "{limit} descriptors are too few for this test");
    let mut open = Vec::new();
    for number in 0..many {
        let mut client = rig::connect(&proxy).await;
        // Nothing, a part of a header, and a part of a ClientHello.
        let part: &[u8] = [&b""[..], &[22, 3], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]][number % 3];
        client.write_all(part).await.unwrap();
        open.push(client);
    }
    eventually("all are here", || proxy.status().frontends[0].connections as usize == many).await;
    let head = apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
    })
    .await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    drop(open);
    eventually("all are gone", || proxy.status().frontends[0].connections <= 1).await;
    assert_eq!(counter(&proxy, "tls_handshakes_total"), 1);
}

/// In the form of TLS 1.0, as that of a first message is.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1, length[0], length[1]], content].concat()
}

/// Parts of messages, and then what no handshake has: rustls is not asked for what it was not given.
#[tokio::test]
async fn part_of_a_message_and_garbage_behind_it_is_refused_counted_and_said() {
    let (syslog, proxy) = answering_and_told().await;
    let part = record(22, &[1]);
    let behind: [&[u8]; 7] = [
        &[22, 3, 1, 0xff, 0xff],
        &record(99, b"zz"),
        &record(21, &[2, 40]),
        &record(20, &[1]),
        &record(23, &[0; 30]),
        &[&record(22, &[0xff, 0xff, 0xff])[..], &vec![0; 70_000]].concat(),
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for (number, behind) in behind.iter().enumerate() {
        let mut client = rig::connect(&proxy).await;
        // It may be closed before all of it is taken.
        let _ = client.write_all(&[&part, *behind].concat()).await;
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said).await;
        // rustls has no alert for a record of another kind between two parts, and who sends on loses it by a reset.
        assert!(said.first() == Some(&21) || (1..=5).contains(&number), "{number}: {said:?}");
        let line = syslog.line().await;
        assert!(line.starts_with("front/1: SSL handshake failure ("), "{number}: {line}");
        counted(&proxy, "tls_handshake_failures_total", number as u64 + 1).await;
    }
}

/// Says so many bytes of ALPN, in records of so many bytes, and asks for something; the head of the answer.
async fn asked_with(front: SocketAddr, protocols: usize, record: Option<usize>) -> io::Result<String> {
    apart(move || {
        let mut config = (*client(&rustls::version::TLS13)).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.alpn_protocols.extend((0..protocols / 100).map(|n| format!("{n:099}").into_bytes()));
        config.max_fragment_size = record;
        let mut peer = connect(front, &Arc::new(config), "a.example");
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        peer.read_to_string(&mut answer)?;
        Ok(answer)
    })
    .await
}

/// A ClientHello of any length up to 32 kB is understood however it is cut, and a longer one ends the connection when that is known;
/// nobody else notices.
#[tokio::test]
async fn huge_client_hello_is_understood_up_to_32_kb_and_then_refused_with_a_word() {
    let (syslog, proxy) = answering_and_told().await;
    let front = address(&proxy);
    for (protocols, record) in [(0, Some(32)), (28_000, None), (28_000, Some(1000)), (20_000, Some(32))] {
        let answer = asked_with(front, protocols, record).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{protocols} {record:?}: {answer}");
        assert!(syslog.line().await.starts_with("front~ "));
    }
    // Beyond what we hold, and beyond what TLS here holds, of which its beginning tells.
    let too_long = "its messages are longer than 32 kB";
    let far_too_long = "received corrupt message of type HandshakePayloadTooLarge";
    let of_hand = |length: usize, size: usize| {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        let message = [vec![1, high, middle, low, 3, 3], vec![0; length - 2]].concat();
        message.chunks(size).flat_map(|part| record(22, part)).collect::<Vec<_>>()
    };
    let mut failures = 0;
    for (bytes, why) in [
        (of_hand(40_000, 16_384), too_long),
        (of_hand(40_000, 100), too_long),
        (of_hand(65_535, 1000), too_long),
        (of_hand(65_536, 1000), far_too_long),
        (of_hand(100_000, 16_384), far_too_long),
        (of_hand(1_000_000, 16_384), far_too_long),
    ] {
        let mut client = rig::connect(&proxy).await;
        // It may be closed before all of it is taken.
        let _ = client.write_all(&bytes).await;
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said).await;
        assert!(said.is_empty() || said[0] == 21, "{said:?}");
        assert_eq!(syslog.line().await, format!("front/1: SSL handshake failure ({why})"));
        failures += 1;
        counted(&proxy, "tls_handshake_failures_total", failures).await;
    }
    let error = asked_with(front, 60_000, Some(1000)).await.unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert_eq!(syslog.line().await, format!("front/1: SSL handshake failure ({too_long})"));
    assert!(asked_with(front, 0, None).await.unwrap().starts_with("HTTP/1.1 403 "));
    eventually("all are gone", || proxy.status().frontends[0].connections == 0).await;
}

/// Whoever diverts a connection of a client cannot bring it to the servers of another frontend.
#[tokio::test]
async fn session_of_one_frontend_is_not_gone_on_with_at_another() {
    let mut config = answering();
    let mut other = config.frontends[0].clone();
    other.name = "other".into();
    config.frontends.push(other);
    let proxy = Proxy::start(config).unwrap();
    let clients = VERSIONS.map(client);
    let resumed = |place: usize| {
        let status = proxy.status();
        let mut counters = status.frontends[place].counters.iter();
        counters.find(|(counter, _)| *counter == "tls_resumptions_total").unwrap().1
    };
    for (place, expected) in [(0, [0, 0]), (0, [2, 0]), (1, [2, 0])] {
        let front = proxy.status().frontends[place].binds[0].address.unwrap();
        let clients = clients.clone();
        apart(move || {
            for client in &clients {
                let mut peer = connect(front, client, "a.example");
                ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
            }
        })
        .await;
        assert_eq!([resumed(0), resumed(1)], expected);
    }
}

/// The same client again: also behind a reload, which keeps the keys of tickets.
#[tokio::test]
async fn client_that_comes_again_goes_on_with_its_session() {
    let mut config = answering();
    let proxy = Proxy::start(config.clone()).unwrap();
    let front = address(&proxy);
    let clients = VERSIONS.map(client);
    let visit = async || {
        let clients = clients.clone();
        apart(move || {
            for client in &clients {
                let mut peer = connect(front, client, "a.example");
                let head = ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
                assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
            }
        })
        .await;
        (counter(&proxy, "tls_handshakes_total"), counter(&proxy, "tls_resumptions_total"))
    };
    assert_eq!(visit().await, (2, 0));
    assert_eq!(visit().await, (4, 2));
    set(&mut config, tls(certificate("b.example")));
    proxy.reload(config).await.unwrap();
    assert_eq!(visit().await, (6, 4));
}
