//! TLS to servers.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::Arc,
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    config::{
        Check, CheckKind, HttpCheck, Mode, ReuseMode, SequenceStep, ServerTls, ServerVerify, Sni, TlsVersion,
    },
    tls::{Certificate, PeerName, ServerContent, ServerFiles},
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    HandshakeKind, NamedGroup, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::io::AsyncWriteExt;

use crate::{
    certificates::pem,
    peer::VERSIONS,
    rig::{
        LONG, Scripted, address, config, connect, counted, counter, eventually, quick_check, read_all,
        read_head, read_n,
    },
    secured::{Issuer, Own, Secured, authority, read_request, trusting},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn name(text: &str) -> PeerName {
    PeerName::new(text).unwrap()
}

/// Told this name.
fn named(tls: ServerTls, text: &str) -> ServerTls {
    ServerTls { sni: Sni::Name(name(text)), ..tls }
}

/// A proxy of this mode in front of these servers.
fn with(mode: Mode, servers: &[(&Secured, ServerTls)]) -> Config {
    let addresses: Vec<_> = servers.iter().map(|(server, _)| server.address).collect();
    let mut config = config(mode, &addresses);
    for (server, (_, tls)) in config.backends[0].servers.iter_mut().zip(servers) {
        server.tls = Some(Arc::new(tls.clone()));
    }
    // However busy the machine is.
    config.backends[0].options.pool.idle = LONG;
    config
}

/// The status of the answer to a request for a host, over a connection of its own.
async fn status(proxy: &Proxy, host: &str) -> String {
    let mut client = connect(proxy).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Why requests of the backend came to nothing: the first of them, as there is no word on others of the same second.
fn why(proxy: &Proxy) -> String {
    let status = proxy.status();
    status.backends[0].refused.first().map(|one| one.reason.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn requests_share_a_connection_and_the_next_one_goes_on_with_its_session() {
    let issuer = Issuer::new();
    for version in VERSIONS {
        let mut own = issuer.issues(&["app.example"]).config(&[version]);
        own.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = Secured::answering(own, OK);
        let tls = ServerTls { alpn: vec!["http/1.1".into()], ..named(issuer.trusted(), "app.example") };
        let mut config = with(Mode::Http, &[(&server, tls)]);
        config.threads = std::num::NonZeroUsize::MIN;
        config.backends[0].options.pool.reuse = ReuseMode::Never;
        let proxy = Proxy::start(config).unwrap();
        for _ in 0..2 {
            let mut client = connect(&proxy).await;
            for _ in 0..3 {
                client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
                assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 "));
                assert_eq!(read_n(&mut client, 2).await, b"ok");
            }
        }
        assert_eq!(server.kinds(), [HandshakeKind::Full, HandshakeKind::Resumed], "{version:?}");
        for seen in server.seen() {
            assert_eq!(seen.name.as_deref(), Some("app.example"));
            assert_eq!(seen.protocol.as_deref(), Some("http/1.1"));
        }
    }
}

/// A server takes the first of ours that it knows.
#[tokio::test]
async fn curves_that_a_server_is_offered_are_those_of_the_file() {
    let issuer = Issuer::new();
    for version in VERSIONS {
        for (curves, expected) in
            [(&["P-384"][..], NamedGroup::secp384r1), (&["P-256", "P-384"], NamedGroup::secp256r1)]
        {
            let server = Secured::answering(issuer.issues(&["app.example"]).config(&[version]), OK);
            let tls = ServerTls { curves: curves.to_vec(), ..named(issuer.trusted(), "app.example") };
            let proxy = Proxy::start(with(Mode::Http, &[(&server, tls)])).unwrap();
            assert_eq!(status(&proxy, "a").await, "200");
            assert_eq!(server.seen()[0].group, Some(expected), "{version:?}");
        }
    }
}

#[tokio::test]
async fn each_host_has_connections_of_its_own_where_the_server_is_told_it() {
    let issuer = Issuer::new();
    let server = Secured::answering(issuer.issues(&["a.example", "b.example"]).config(&[&TLS13]), OK);
    let tls = ServerTls { sni: Sni::OfHost, ..issuer.trusted() };
    let mut config = with(Mode::Http, &[(&server, tls)]);
    config.threads = std::num::NonZeroUsize::MIN;
    let proxy = Proxy::start(config).unwrap();
    for host in ["a.example", "B.example:81", "a.example", "b.example:81", "a.example"] {
        assert_eq!(status(&proxy, host).await, "200", "{host}");
    }
    let names: Vec<_> = server.seen().into_iter().map(|seen| seen.name.unwrap()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    assert_eq!(counter(&proxy, "upstream_reuses_total"), 3);
    assert_eq!(status(&proxy, "c.example").await, "503");
    assert!(why(&proxy).ends_with(": its certificate is for a.example, b.example, and not for c.example"));
    // An address is told to nobody, and has to be in the certificate.
    assert_eq!(status(&proxy, "192.0.2.1").await, "503");
}

#[tokio::test]
async fn server_that_can_not_be_trusted_or_understood_gets_no_request_and_the_reason_is_told() {
    let issuer = Issuer::new();
    let good = issuer.issues(&["app.example"]);
    let mut expired = CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
    (expired.not_before, expired.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let key = KeyPair::generate().unwrap();
    let stranger = CertificateParams::new(vec!["app.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let stranger = Own {
        chain: vec![stranger.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    };
    let answering = |config| Secured::answering(config, OK);
    let tls = || named(issuer.trusted(), "app.example");
    let asking = {
        let roots = Arc::new({
            let mut roots = rustls::RootCertStore::empty();
            roots.add(good.chain[0].clone()).unwrap();
            roots
        });
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS12]).unwrap();
        let builder = builder.with_client_cert_verifier(verifier);
        builder.with_single_cert(good.chain.clone(), good.key.clone_key()).unwrap()
    };
    let cases = [
        (answering(good.config(&VERSIONS)), tls(), ""),
        (
            answering(issuer.signs(&expired).config(&VERSIONS)),
            tls(),
            "its certificate, or one on the way to its authority, has expired on 2002-01-01",
        ),
        (
            answering(good.config(&VERSIONS)),
            named(issuer.trusted(), "other.example"),
            "its certificate is for app.example, and not for other.example",
        ),
        (
            answering(Issuer::new().issues(&["app.example"]).config(&VERSIONS)),
            tls(),
            "its certificate is of an authority of a name that is trusted (`ca_file`), with another key",
        ),
        (
            answering(stranger.config(&VERSIONS)),
            tls(),
            "its certificate leads to no authority that is trusted (`ca_file`)",
        ),
        (
            answering(good.config(&[&TLS12])),
            ServerTls { min_version: TlsVersion::Tls13, ..tls() },
            "no version or cipher is spoken by both: its alert is ProtocolVersion",
        ),
        (answering(asking), tls(), "it wants a certificate of us (`certificate` of `tls`)"),
    ];
    for (server, tls, expected) in &cases {
        let proxy = Proxy::start(with(Mode::Http, &[(server, tls.clone())])).unwrap();
        let answer = status(&proxy, "a").await;
        if expected.is_empty() {
            assert_eq!(answer, "200");
            continue;
        }
        assert_eq!(answer, "503", "{expected}");
        let told = why(&proxy);
        assert!(told.starts_with("no server could be connected to, at last s1 at "), "{told}");
        assert!(told.ends_with(expected), "{told}");
    }
}

#[tokio::test]
async fn server_without_tls_and_one_that_says_nothing_are_told_apart() {
    let issuer = Issuer::new();
    let plain = Scripted::start(|mut stream| async move {
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        let _ = read_head(&mut stream).await;
    })
    .await;
    let closing = Scripted::start(|_| async {}).await;
    let silent = Scripted::start(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    for (server, limit, expected) in [
        (&plain, LONG, "it does not speak TLS there"),
        (&closing, LONG, "the TLS handshake"),
        (
            &silent,
            Duration::from_millis(100),
            "the TLS handshake was not over within 100 ms (timeout.connect)",
        ),
    ] {
        for mode in [Mode::Http, Mode::Tcp] {
            let mut config = config(mode, &[server.address]);
            config.backends[0].servers[0].tls = Some(Arc::new(issuer.trusted()));
            config.backends[0].timeout.connect = limit;
            let proxy = Proxy::start(config).unwrap();
            let mut client = connect(&proxy).await;
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            let answer = read_all(&mut client).await.unwrap_or_default();
            let is_http = mode == Mode::Http;
            assert_eq!(answer.starts_with(b"HTTP/1.1 503 "), is_http, "{expected}");
            assert!(why(&proxy).contains(expected), "{expected}: {}", why(&proxy));
        }
    }
}

#[tokio::test]
async fn failed_handshake_is_a_failed_connect_to_retries_and_redispatch() {
    let issuer = Issuer::new();
    let bad = Secured::answering(Issuer::new().issues(&["app.example"]).config(&VERSIONS), OK);
    let good = Secured::answering(issuer.issues(&["app.example"]).config(&VERSIONS), OK);
    let tls = || named(issuer.trusted(), "app.example");
    let mut config = with(Mode::Http, &[(&bad, tls()), (&good, tls())]);
    (config.backends[0].retries, config.backends[0].redispatch) = (1, true);
    let proxy = Proxy::start(config).unwrap();
    for _ in 0..4 {
        assert_eq!(status(&proxy, "a").await, "200");
    }
    assert!(counter(&proxy, "redispatches_total") >= 2);
    assert_eq!(counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total"));
    assert_eq!(bad.seen(), []);
}

#[tokio::test]
async fn what_is_verified_is_what_the_file_says() {
    let issuer = Issuer::new();
    let server = Secured::answering(issuer.issues(&["app.example"]).config(&VERSIONS), OK);
    let other = Secured::answering(Issuer::new().issues(&["app.example"]).config(&VERSIONS), OK);
    let trusted = || issuer.trusted();
    for (server, tls, expected) in [
        // It has no name, and its address is not in the certificate.
        (&server, trusted(), "503"),
        (&server, ServerTls { verify: ServerVerify::Chain, ..trusted() }, "200"),
        (&other, ServerTls { verify: ServerVerify::Chain, ..trusted() }, "503"),
        (&server, ServerTls { verify_name: Some(name("app.example")), ..trusted() }, "200"),
        (
            &server,
            ServerTls { verify_name: Some(name("b.example")), ..named(trusted(), "app.example") },
            "503",
        ),
        (&other, ServerTls { verify: ServerVerify::Nothing, ..ServerTls::default() }, "200"),
        (&other, ServerTls::default(), "503"),
    ] {
        let proxy = Proxy::start(with(Mode::Http, &[(server, tls.clone())])).unwrap();
        assert_eq!(status(&proxy, "a").await, expected, "{tls:?}");
    }
}

/// `openssl req -x509` makes such certificates, and who names one as `ca_file` means it.
#[tokio::test]
async fn certificate_that_is_an_authority_itself_is_trusted_where_it_is_named() {
    let key = KeyPair::generate().unwrap();
    let made = |year| {
        let mut params = CertificateParams::new(vec!["app.example".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&key).unwrap().der().clone()
    };
    for (year, expected) in [(2090, "200"), (2020, "503")] {
        let chain = vec![made(year)];
        let text = pem("CERTIFICATE", &chain[0]);
        let own = Own { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() };
        let server = Secured::answering(own.config(&VERSIONS), OK);
        let proxy =
            Proxy::start(with(Mode::Http, &[(&server, named(trusting(&text), "app.example"))])).unwrap();
        assert_eq!(status(&proxy, "a").await, expected);
        let proxy =
            Proxy::start(with(Mode::Http, &[(&server, named(trusting(&text), "b.example"))])).unwrap();
        assert_eq!(status(&proxy, "a").await, "503");
        if year == 2090 {
            let told = "its certificate is for app.example, and not for b.example";
            assert!(why(&proxy).ends_with(told), "{}", why(&proxy));
        }
    }
}

#[tokio::test]
async fn server_that_asks_is_shown_our_certificate() {
    let issuer = Issuer::new();
    let own = issuer.issues(&["app.example"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    for version in VERSIONS {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        let asking = builder.with_single_cert(own.chain.clone(), own.key.clone_key()).unwrap();
        let server = Secured::answering(asking, OK);
        let tls = named(issuer.trusted(), "app.example");
        let certificate =
            Certificate::from_pem(issuer.issues(&["lb.example"]).pem().as_bytes(), None).unwrap();
        let trusted = tls.content.load().trusted.clone();
        let content = ServerContent { trusted, certificate: Some(certificate) };
        let shown = ServerTls { content: Arc::new(ServerFiles::new(content)), ..tls.clone() };
        let proxy = Proxy::start(with(Mode::Http, &[(&server, shown)])).unwrap();
        assert_eq!(status(&proxy, "a").await, "200", "{version:?}");
        assert!(server.seen()[0].is_shown);
        let proxy = Proxy::start(with(Mode::Http, &[(&server, tls)])).unwrap();
        // In TLS 1.3 a server says so when the handshake is over for us.
        let expected = if version.version == rustls::ProtocolVersion::TLSv1_3 { "502" } else { "503" };
        assert_eq!(status(&proxy, "a").await, expected, "{version:?}");
    }
}

#[tokio::test]
async fn other_authorities_count_for_the_next_handshake_and_end_sessions_but_no_connection() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let content = |issuer: &Issuer| ServerContent {
        trusted: Some(authority(&pem("CERTIFICATE", &issuer.der()))),
        certificate: None,
    };
    for version in VERSIONS {
        let server = Secured::answering(issuer.issues(&["app.example"]).config(&[version]), OK);
        let tls = named(issuer.trusted(), "app.example");
        let files = Arc::clone(&tls.content);
        let mut config = with(Mode::Http, &[(&server, tls)]);
        // Each request of a connection of its own has one to the server of its own.
        config.backends[0].options.pool.reuse = ReuseMode::Never;
        let proxy = Proxy::start(config).unwrap();
        let mut kept = connect(&proxy).await;
        let ask = async |client: &mut tokio::net::TcpStream| {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let head = read_head(client).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            read_n(client, 2).await;
        };
        ask(&mut kept).await;
        assert_eq!([status(&proxy, "a").await, status(&proxy, "a").await], ["200", "200"]);
        assert_eq!(server.kinds(), [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);

        assert!(files.replace(content(&other)));
        assert_eq!(status(&proxy, "a").await, "503");
        ask(&mut kept).await;
        assert!(!files.replace(content(&other)), "nothing is another");
        assert!(files.replace(content(&issuer)));
        assert_eq!(status(&proxy, "a").await, "200");
        assert_eq!(server.kinds()[3..], [HandshakeKind::Full], "{version:?}");
        let tls = proxy.status().backends[0].servers[0].traffic.tls;
        assert_eq!((tls.completed, tls.resumed, tls.failed), (4, 2, 1), "{version:?}");
    }
}

#[tokio::test]
async fn tunnel_ends_each_way_on_its_own() {
    const LENGTH: usize = 3_000_001;
    let issuer = Issuer::new();
    let bytes: Arc<Vec<u8>> = Arc::new((0..LENGTH).map(|at| (at * 31 % 251) as u8).collect());
    let expected = Arc::clone(&bytes);
    for version in VERSIONS {
        let expected = Arc::clone(&expected);
        let server = Secured::start(issuer.issues(&["app.example"]).config(&[version]), move |peer| {
            let mut received = Vec::new();
            // An end with a word before it: without one it would be an error here.
            peer.read_to_end(&mut received).unwrap();
            assert!(received == *expected, "the server got other bytes");
            peer.write_all(&received).unwrap();
            peer.conn.send_close_notify();
            peer.flush().unwrap();
        });
        let tls = named(issuer.trusted(), "app.example");
        let proxy = Proxy::start(with(Mode::Tcp, &[(&server, tls)])).unwrap();
        let (front, sent) = (address(&proxy), Arc::clone(&bytes));
        let received = tokio::task::spawn_blocking(move || {
            let mut client = std::net::TcpStream::connect(front).unwrap();
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            received
        });
        assert!(received.await.unwrap() == *bytes, "{version:?}");
        counted(&proxy, "server_aborts_total", 0).await;
    }
}

#[tokio::test]
async fn keys_that_a_server_changes_are_followed() {
    let issuer = Issuer::new();
    let server = Secured::start(issuer.issues(&["app.example"]).config(&[&TLS13]), |peer| {
        while read_request(peer).is_some() {
            peer.conn.refresh_traffic_keys().unwrap();
            peer.write_all(OK.as_bytes()).unwrap();
        }
    });
    let tls = named(issuer.trusted(), "app.example");
    let proxy = Proxy::start(with(Mode::Http, &[(&server, tls)])).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..5 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 "));
        read_n(&mut client, 2).await;
    }
    assert_eq!(server.seen().len(), 1);
}

/// A ticket that is longer than a record of this server has room for.
#[tokio::test]
async fn ticket_in_several_records_is_one_ticket() {
    let issuer = Issuer::new();
    let mut own = issuer.issues(&["app.example"]).config(&[&TLS13]);
    own.max_fragment_size = Some(64);
    let server = Secured::answering(own, OK);
    let tls = named(issuer.trusted(), "app.example");
    let mut config = with(Mode::Http, &[(&server, tls)]);
    config.backends[0].options.pool.reuse = ReuseMode::Never;
    let proxy = Proxy::start(config).unwrap();
    for _ in 0..2 {
        assert_eq!(status(&proxy, "a").await, "200");
    }
    assert_eq!(server.kinds(), [HandshakeKind::Full, HandshakeKind::Resumed]);
}

/// What a check of a server found.
async fn checked(config: Config, expected: &str) {
    let proxy = Proxy::start(config).unwrap();
    let found = || {
        let report = proxy.status().backends[0].servers[0].last_check.clone();
        report.map(|report| report.to_string()).unwrap_or_default()
    };
    eventually(expected, || !found().is_empty()).await;
    assert!(found().starts_with(expected), "{} is not {expected}", found());
}

#[tokio::test]
async fn checks_shake_hands_in_full_and_say_what_is_wrong_in_haproxys_words() {
    let issuer = Issuer::new();
    let server = Secured::answering(issuer.issues(&["app.example"]).config(&VERSIONS), OK);
    let tls = || named(issuer.trusted(), "app.example");
    let with_check = |kind, tls: ServerTls| {
        let mut config = with(Mode::Http, &[(&server, tls)]);
        config.backends[0].check = Some(Check { timeout: LONG, ..quick_check(kind) });
        let own = &mut config.backends[0].servers[0];
        own.check_tls = own.tls.clone();
        config
    };
    let http = || CheckKind::Http(Box::new(HttpCheck::new("GET", "/")));
    checked(with_check(CheckKind::Tcp, tls()), "L6OK").await;
    checked(with_check(http(), tls()), "L7OK 200").await;
    let sequence = vec![
        SequenceStep::Send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        SequenceStep::Expect(lb_proxy::config::Pattern::Bytes(b"200 OK".to_vec())),
    ];
    checked(with_check(CheckKind::Sequence(sequence), tls()), "L7OK").await;
    let expected = "L6RSP its certificate is for app.example, and not for other.example";
    checked(with_check(http(), named(issuer.trusted(), "other.example")), expected).await;
    // The request that says the name is not there, and a name for checks alone is.
    let of_host = ServerTls { sni: Sni::OfHost, ..issuer.trusted() };
    checked(with_check(http(), of_host.clone()), "L7OK").await;
    for (told, expected) in [("app.example", "L7OK"), ("other.example", "L6RSP")] {
        let mut config = with_check(http(), of_host.clone());
        config.backends[0].servers[0].check_sni = Some(name(told));
        checked(config, expected).await;
    }
    assert!(server.kinds().iter().all(|kind| *kind == HandshakeKind::Full), "{:?}", server.kinds());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = with_check(http(), tls());
    config.backends[0].servers[0].address = silent.local_addr().unwrap().into();
    if let Some(check) = &mut config.backends[0].check {
        check.timeout = Duration::from_millis(100);
    }
    checked(config, "L6TOUT the TLS handshake was not over within 100 ms").await;
}
