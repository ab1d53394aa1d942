//! PROXY headers: those of proxies in front, those for servers, and those of checks.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{
        AcceptProxy, BackendId, CheckKind, Forwarded, ForwardedHeader, ForwardedParameters, HttpCheck, Mode,
        ProxyExtension, ProxyVersion, ReuseMode, SendProxy, Server, UnixAddress,
    },
    rules::{Action, Condition, Network, Rule, SourceFrom, Text},
    sample::{self, Names, Place, Stage, Template},
    status::ServerState,
    table::SourceLimits,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::mpsc,
};

use crate::rig::*;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

/// The same in version 2, with a type that is nobody's.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\xe7\x00\x02hi";

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn everybody(mode: Mode, servers: &[SocketAddr]) -> lb_proxy::Config {
    let mut config = config(mode, servers);
    config.frontends[0].binds[0].accept_proxy = Some(AcceptProxy::Everybody);
    config.frontends[0].forwardfor = mode == Mode::Http;
    config
}

fn network(text: &str, prefix: u8) -> Network {
    Network::new(text.parse().unwrap(), prefix).unwrap()
}

/// A server of HTTP that answers each request with its head, and tells what each connection began with: up to the end of a
/// header of this version.
async fn mirror(version: Option<ProxyVersion>) -> (Scripted, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            if let Some(version) = version {
                let Some(header) = read_header(&mut stream, version).await else { return };
                let _ = tell.send(header);
            }
            while let Some(head) = read_head(&mut stream).await {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (server, told)
}

async fn read_header(stream: &mut TcpStream, version: ProxyVersion) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    match version {
        ProxyVersion::V1 => {
            while !header.ends_with(b"\r\n") {
                header.push(stream.read_u8().await.ok()?);
            }
        }
        ProxyVersion::V2 => {
            header.resize(16, 0);
            stream.read_exact(&mut header).await.ok()?;
            let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
            header.resize(16 + length, 0);
            stream.read_exact(&mut header[16..]).await.ok()?;
        }
    }
    Some(header)
}

/// The head that a server got of `GET /` with these field lines.
async fn get(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), fields: &str) -> String {
    client.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).await.unwrap();
    read_answer(client).await
}

async fn read_answer(client: &mut (impl AsyncReadExt + Unpin)) -> String {
    let head = tokio::time::timeout(LONG, read_head(client)).await.unwrap().expect("no answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
    let mut content = vec![0; length.parse().unwrap()];
    client.read_exact(&mut content).await.unwrap();
    String::from_utf8(content).unwrap()
}

async fn ended(mut client: TcpStream) -> Vec<u8> {
    // With a reset if it had sent more.
    read_all(&mut client).await.unwrap_or_default()
}

#[tokio::test]
async fn header_says_who_the_client_is_however_it_comes() {
    let (server, _) = mirror(None).await;
    let proxy = Proxy::start(everybody(Mode::Http, &[server.address])).unwrap();
    for header in [V1, V2] {
        // In one piece with the request, byte by byte, and in two.
        for pieces in [header.len() + 1, 1, header.len() / 2] {
            let mut client = connect(&proxy).await;
            client.set_nodelay(true).unwrap();
            let all = [header, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let (first, rest) = all.split_at(header.len());
            for piece in if pieces > header.len() { vec![&all[..]] } else { first.chunks(pieces).collect() } {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            if pieces <= header.len() {
                client.write_all(rest).await.unwrap();
            }
            let head = read_answer(&mut client).await;
            assert!(head.contains("X-Forwarded-For: 192.0.2.7\r\n"), "{head}");
            // It is the connection's, and no further request has one.
            let head = get(&mut client, "").await;
            assert!(head.contains("X-Forwarded-For: 192.0.2.7\r\n"), "{head}");
        }
    }
    // A check of the proxy in front is its own.
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = connect(&proxy).await;
        client.write_all(header).await.unwrap();
        let head = get(&mut client, "").await;
        assert!(head.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{head}");
    }
    assert_eq!(counter(&proxy, "proxy_header_errors_total"), 0);
}

#[tokio::test]
async fn connection_without_a_valid_header_is_closed_and_counted() {
    let (server, _) = mirror(None).await;
    let proxy = Proxy::start(everybody(Mode::Http, &[server.address])).unwrap();
    let mut errors = 0;
    for (bytes, why) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "its first bytes are not those of a PROXY header"),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n", "its PROXY line has no two ports"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "its PROXY header has 65551 bytes, more than 4096"),
    ] {
        let mut client = connect(&proxy).await;
        client.write_all(bytes).await.unwrap();
        assert_eq!(ended(client).await, b"");
        errors += 1;
        counted(&proxy, "proxy_header_errors_total", errors).await;
        if errors == 1 {
            let status = proxy.status();
            let refused = &status.frontends[0].refused[0];
            assert!(refused.reason.contains(why), "{}", refused.reason);
        }
    }
    // The end in the middle of one.
    let mut client = connect(&proxy).await;
    client.write_all(&V1[..20]).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(ended(client).await, b"");
    counted(&proxy, "proxy_header_errors_total", 4).await;
    // Whoever only connects is no error.
    let nulls = counter(&proxy, "null_connections_total");
    drop(connect(&proxy).await);
    counted(&proxy, "null_connections_total", nulls + 1).await;
    assert_eq!(counter(&proxy, "proxy_header_errors_total"), 4);
    assert_eq!(server.accepted(), 0);
    eventually("nothing is left", || proxy.status().frontends[0].connections == 0).await;
}

#[tokio::test]
async fn header_that_does_not_come_in_time_ends_the_connection() {
    let (server, _) = mirror(None).await;
    let mut config = everybody(Mode::Tcp, &[server.address]);
    config.frontends[0].timeout.client_handshake = Duration::from_millis(50);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(&V2[..14]).await.unwrap();
    assert_eq!(ended(client).await, b"");
    counted(&proxy, "proxy_header_errors_total", 1).await;
    let reason = proxy.status().frontends[0].refused[0].reason.clone();
    assert!(reason.contains("was not whole within timeout.client_handshake"), "{reason}");
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn only_trusted_networks_are_asked_for_a_header() {
    let (server, _) = mirror(None).await;
    let mut config = everybody(Mode::Http, &[server.address]);
    config.frontends[0].binds[0].accept_proxy = Some(AcceptProxy::From(vec![network("192.0.2.0", 24)]));
    let proxy = Proxy::start(config.clone()).unwrap();
    // From elsewhere it is a bad request, and nobody is believed.
    let mut client = connect(&proxy).await;
    client.write_all(V1).await.unwrap();
    assert!(ended(client).await.starts_with(b"HTTP/1.1 400"));
    let mut client = connect(&proxy).await;
    assert!(get(&mut client, "").await.contains("X-Forwarded-For: 127.0.0.1\r\n"));
    // Another list is in force with the next connection.
    config.frontends[0].binds[0].accept_proxy =
        Some(AcceptProxy::From(vec![network("192.0.2.0", 24), network("127.0.0.0", 8)]));
    proxy.reload(config).await.unwrap();
    assert!(get(&mut client, "").await.contains("X-Forwarded-For: 127.0.0.1\r\n"));
    let mut client = connect(&proxy).await;
    client.write_all(V1).await.unwrap();
    assert!(get(&mut client, "").await.contains("X-Forwarded-For: 192.0.2.7\r\n"));
}

#[tokio::test]
async fn rules_and_limits_go_by_the_client_of_the_header() {
    let a = Scripted::named("a").await;
    let b = Scripted::named("b").await;
    let mut config = everybody(Mode::Tcp, &[a.address]);
    let mut other = config.backends[0].clone();
    other.name = "other".to_owned();
    other.servers = vec![Server::new("s1", b.address)];
    config.backends.push(other);
    config.frontends[0].rules = vec![Rule {
        when: Condition::All(vec![
            Condition::Source(vec![network("192.0.2.0", 24)]),
            Condition::Port(vec![443..=443]),
        ]),
        then: vec![Action::Backend(BackendId(1))],
    }];
    config.frontends[0].per_source = Some(SourceLimits {
        connections: Some(NonZeroU32::MIN),
        connection_rate: None,
        size: NonZeroU32::MIN,
        ipv6_prefix: 64,
    });
    let proxy = Proxy::start(config).unwrap();
    let mut first = connect(&proxy).await;
    first.write_all(V1).await.unwrap();
    assert_eq!(read_n(&mut first, 1).await, b"b");
    // Another of the same client is one too many, of somebody else not.
    let mut second = connect(&proxy).await;
    second.write_all(V2).await.unwrap();
    assert_eq!(ended(second).await, b"");
    counted(&proxy, "source_connection_refusals_total", 1).await;
    let mut third = connect(&proxy).await;
    third.write_all(b"PROXY TCP4 192.0.2.8 198.51.100.1 1 80\r\n").await.unwrap();
    assert_eq!(read_n(&mut third, 1).await, b"a");
}

#[tokio::test]
async fn unix_socket_takes_headers_as_well() {
    let (server, _) = mirror(None).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let mut config = everybody(Mode::Http, &[server.address]);
    let address = UnixAddress::new(path.to_str().unwrap()).unwrap();
    let unix = lb_proxy::config::UnixBind { accept_proxy: Some(AcceptProxy::Everybody), ..address.into() };
    config.frontends[0].unix = vec![unix];
    let _proxy = Proxy::start(config).unwrap();
    let mut client = UnixStream::connect(path).await.unwrap();
    client.write_all(V2).await.unwrap();
    assert!(get(&mut client, "").await.contains("X-Forwarded-For: 192.0.2.7\r\n"));
}

fn sending(version: ProxyVersion, extensions: &[ProxyExtension]) -> Option<SendProxy> {
    Some(SendProxy { version, extensions: extensions.to_vec() })
}

#[tokio::test]
async fn server_of_mode_tcp_is_told_of_the_client_first() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let server = Scripted::start(move |mut stream| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(read_header(&mut stream, version).await.unwrap());
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        })
        .await;
        let mut config = config(Mode::Tcp, &[server.address]);
        config.backends[0].servers[0].send_proxy = sending(version, &[]);
        let proxy = Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        let (own, front) = (client.local_addr().unwrap(), address(&proxy));
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read_n(&mut client, 5).await, b"hello");
        let header = told.recv().await.unwrap();
        match version {
            ProxyVersion::V1 => {
                let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), front.port());
                assert_eq!(String::from_utf8(header).unwrap(), line);
            }
            ProxyVersion::V2 => {
                let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01";
                let ports = [own.port().to_be_bytes(), front.port().to_be_bytes()].concat();
                assert_eq!(header, [&start[..], &ports].concat());
            }
        }
    }
}

#[tokio::test]
async fn connection_that_was_told_of_a_client_is_that_clients_alone() {
    let (server, mut told) = mirror(Some(ProxyVersion::V1)).await;
    let mut config = config(Mode::Http, &[server.address]);
    config.backends[0].options.pool.reuse = ReuseMode::Always;
    config.backends[0].servers[0].send_proxy = sending(ProxyVersion::V1, &[]);
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    let (mut first, mut second) = (connect(&proxy).await, connect(&proxy).await);
    for client in [&mut first, &mut second] {
        let line = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
            client.local_addr().unwrap().port(),
            front.port()
        );
        for _ in 0..3 {
            get(client, "").await;
        }
        assert_eq!(String::from_utf8(told.recv().await.unwrap()).unwrap(), line);
    }
    // Its own is used again, nobody else's, whoever comes between.
    get(&mut first, "").await;
    get(&mut second, "").await;
    get(&mut first, "").await;
    assert_eq!(server.accepted(), 2);
    drop((first, second));
    get(&mut connect(&proxy).await, "").await;
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn clients_behind_one_connection_are_told_apart() {
    let (server, mut told) = mirror(Some(ProxyVersion::V1)).await;
    let mut config = config(Mode::Http, &[server.address]);
    config.backends[0].servers[0].send_proxy = sending(ProxyVersion::V1, &[]);
    let (trusted, header) = (vec![network("127.0.0.0", 8)], "X-Forwarded-For".to_owned());
    let then = vec![Action::SetSource(SourceFrom::List { trusted, unix: false, header })];
    config.frontends[0].rules = vec![Rule { when: Condition::ALWAYS, then }];
    let proxy = Proxy::start(config).unwrap();
    // Another proxy sends requests of many over one connection.
    let mut client = connect(&proxy).await;
    for (of, is_new) in [("192.0.2.7", true), ("192.0.2.7", false), ("192.0.2.8", true), ("192.0.2.7", true)]
    {
        get(&mut client, &format!("X-Forwarded-For: {of}\r\n")).await;
        match told.try_recv() {
            Ok(line) => {
                assert!(is_new, "{of}");
                assert!(line.starts_with(format!("PROXY TCP4 {of} 127.0.0.1 ").as_bytes()), "{line:?}");
            }
            Err(_) => assert!(!is_new, "{of}"),
        }
    }
}

#[tokio::test]
async fn request_that_is_named_has_a_connection_of_its_own() {
    let (server, mut told) = mirror(Some(ProxyVersion::V2)).await;
    let mut config = config(Mode::Http, &[server.address]);
    config.backends[0].servers[0].send_proxy =
        sending(ProxyVersion::V2, &[ProxyExtension::UniqueId, ProxyExtension::Crc32c]);
    config.frontends[0].unique_id = Some(lb_proxy::config::UniqueId {
        header: Some("X-Request-Id".to_owned()),
        template: lb_proxy::config::UniqueId::default_template(),
    });
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..2 {
        let head = get(&mut client, "").await;
        let id = head.split("X-Request-Id: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let header = told.recv().await.unwrap();
        // Addresses, the checksum, then the id.
        assert_eq!(header[28..31], [0x03, 0, 4]);
        assert_eq!(header[35..38], [0x05, 0, 36]);
        assert_eq!(String::from_utf8(header[38..].to_vec()).unwrap(), id);
        let decoded = lb_proxy::proxy_protocol::Header::decode(&header).unwrap().unwrap();
        assert_eq!(decoded.length, header.len());
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn servers_that_are_told_stand_beside_those_that_are_not() {
    let (told_server, mut told) = mirror(Some(ProxyVersion::V1)).await;
    let (plain, _) = mirror(None).await;
    let mut config = config(Mode::Http, &[told_server.address, plain.address]);
    config.threads = NonZeroUsize::MIN;
    config.backends[0].servers[0].send_proxy = sending(ProxyVersion::V1, &[]);
    let proxy = Proxy::start(config).unwrap();
    for _ in 0..4 {
        let mut client = connect(&proxy).await;
        for _ in 0..2 {
            let head = get(&mut client, "").await;
            assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        }
    }
    // Each of four clients had a connection of its own there; the other's was anybody's.
    assert_eq!(told_server.accepted(), 4);
    assert_eq!(plain.accepted(), 1);
    assert!(told.recv().await.is_some());
}

#[tokio::test]
async fn client_of_a_header_is_passed_on() {
    let (server, mut told) = mirror(Some(ProxyVersion::V1)).await;
    let mut config = everybody(Mode::Http, &[server.address]);
    config.backends[0].servers[0].send_proxy = sending(ProxyVersion::V1, &[]);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(V2).await.unwrap();
    get(&mut client, "").await;
    assert_eq!(told.recv().await.unwrap(), V1);
}

#[tokio::test]
async fn rules_see_what_a_header_says_besides_addresses_and_of_connections_without_one_nothing() {
    let (server, _) = mirror(None).await;
    let mut config = everybody(Mode::Http, &[server.address]);
    config.frontends[0].forwardfor = false;
    config.frontends[0].binds[0].accept_proxy = Some(AcceptProxy::From(vec![network("127.0.0.1", 32)]));
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: sample::Text::Field, names: &names };
    let text = |text: &str| Text::new(text, Template::parse(text, &place).unwrap());
    let said = "{proxy_header.authority}|{proxy_header.alpn}|{proxy_header.unique_id}|{proxy_header.tls}|{proxy_header.tls.version}|\
        {proxy_header.tls.cipher}|{proxy_header.tls.client.verified}|{proxy_header.tls.client.name}";
    let then = vec![Action::SetHeader("X-Said".into(), text(said))];
    config.frontends[0].rules = vec![Rule { when: Condition::ALWAYS, then }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let extensions = b"\x01\0\x02h2\x02\0\x09a.example\x05\0\x02id\
        \x20\0\x1e\x05\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x04anna\x23\0\x05AES-X";
    let mut header = V2[..28].to_vec();
    header.extend(extensions);
    header[15] = u8::try_from(header.len() - 16).unwrap();
    client.write_all(&header).await.unwrap();
    for _ in 0..2 {
        let head = get(&mut client, "X-Said: forged\r\n").await;
        assert_eq!(
            head.lines().filter(|line| line.starts_with("X-Said")).collect::<Vec<_>>(),
            ["X-Said: a.example|h2|id|1|TLSv1.3|AES-X|1|anna"]
        );
    }
    let mut client = connect(&proxy).await;
    client.write_all(V1).await.unwrap();
    assert!(get(&mut client, "").await.contains("\r\nX-Said: |||||||\r\n"));
}

#[tokio::test]
async fn forwarded_is_of_who_the_header_says_and_nothing_of_what_a_stranger_says() {
    let (server, _) = mirror(None).await;
    let mut config = everybody(Mode::Http, &[server.address]);
    config.frontends[0].forwardfor = false;
    config.frontends[0].forwarded = Some(Forwarded {
        headers: ForwardedHeader::ALL.to_vec(),
        trust: vec![network("192.0.2.0", 25)],
        parameters: ForwardedParameters::default(),
    });
    let proxy = Proxy::start(config).unwrap();
    let forged = "Forwarded: for=x\r\nX-Forwarded-For: 10.0.0.1\r\nX_Forwarded_Proto: https\r\nX-Forwarded-Host: b\r\n";
    let said = |head: &str| {
        let is_ours = |line: &&str| line.to_ascii_lowercase().contains("forwarded");
        head.lines().filter(is_ours).map(str::to_owned).collect::<Vec<_>>()
    };
    let stranger = b"PROXY TCP4 192.0.2.207 198.51.100.1 56324 443\r\n";
    let mut client = connect(&proxy).await;
    client.write_all(stranger).await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            said(&get(&mut client, forged).await),
            [
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: a",
                "X-Forwarded-Port: 443",
                "Forwarded: proto=http;for=192.0.2.207",
                "X-Forwarded-For: 192.0.2.207"
            ]
        );
    }
    let mut client = connect(&proxy).await;
    client.write_all(V1).await.unwrap();
    let head = get(&mut client, forged).await;
    assert!(
        head.contains("X-Forwarded-For: 10.0.0.1\r\n") && head.contains("\r\nX-Forwarded-For: 192.0.2.7\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn checks_say_that_they_are_our_own() {
    let (v1, mut told_v1) = mirror(Some(ProxyVersion::V1)).await;
    let (v2, mut told_v2) = mirror(Some(ProxyVersion::V2)).await;
    let mut config = config(Mode::Http, &[v1.address, v2.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Http(Box::new(HttpCheck::new("HEAD", "/")))));
    config.backends[0].servers[0].check_proxy = Some(ProxyVersion::V1);
    config.backends[0].servers[1].check_proxy = Some(ProxyVersion::V2);
    let proxy = Proxy::start(config).unwrap();
    let proxy = Arc::new(proxy);
    eventually("both are up", || {
        proxy.status().backends[0].servers.iter().all(|server| server.state == ServerState::Up)
    })
    .await;
    assert_eq!(told_v2.recv().await.unwrap(), LOCAL);
    let line = String::from_utf8(told_v1.recv().await.unwrap()).unwrap();
    let port = v1.address.port();
    assert!(
        line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") && line.ends_with(&format!(" {port}\r\n")),
        "{line}"
    );
}
