//! What a server is told of a client's handshake with us, in a PROXY header.

use lb_proxy::{
    Proxy,
    config::{Mode, ProxyExtension, ProxyVersion, SendProxy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{
    certificates::config,
    peer::{VERSIONS, apart, ask, client, connect},
    rig::{Scripted, address, read_head},
};

#[tokio::test]
async fn server_is_told_the_name_that_a_client_asked_for_and_the_protocol_that_was_agreed_on() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut fixed = [0; 16];
            stream.read_exact(&mut fixed).await.unwrap();
            let mut rest = vec![0; u16::from_be_bytes([fixed[14], fixed[15]]).into()];
            stream.read_exact(&mut rest).await.unwrap();
            // Behind two addresses of IPv4 and their ports.
            tell.send(rest.split_off(12)).unwrap();
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let mut config = config(Mode::Http, &[server.address]);
    let extensions = vec![ProxyExtension::Authority, ProxyExtension::Alpn];
    config.backends[0].servers[0].send_proxy = Some(SendProxy { version: ProxyVersion::V2, extensions });
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    for (name, protocols, expected) in [
        ("A.example", vec![b"http/1.1".to_vec()], &b"\x01\0\x08http/1.1\x02\0\x09a.example"[..]),
        ("b.example", Vec::new(), b"\x02\0\x09b.example"),
        // A client sends no address as a name (RFC 6066 §3).
        ("127.0.0.1", Vec::new(), b""),
    ] {
        let said = apart(move || {
            let mut with = (*client(VERSIONS[1])).clone();
            with.alpn_protocols = protocols;
            ask(&mut connect(front, &with.into(), name), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
        })
        .await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert_eq!(told.recv().await.unwrap(), expected, "{name}");
    }
}
