//! PROXY headers to and from the installed HAProxy and nginx.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use lb_proxy::{
    Config, Proxy,
    config::{
        AcceptProxy, CheckKind, HttpCheck, Mode, ProxyExtension, ProxyVersion, SendProxy, Server, UniqueId,
        UnixAddress,
    },
    status::ServerState,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{haproxy::HAProxy, nginx::Nginx, rig::*};

/// A server that answers with the head that it got.
async fn mirror() -> Scripted {
    Scripted::start(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A connection from an address that is no proxy's.
async fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// The content of the answer to `GET /`.
async fn get(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = tokio::time::timeout(LONG, read_head(client)).await.unwrap().expect("no answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    let mut content = vec![0; length.parse().unwrap()];
    client.read_exact(&mut content).await.unwrap();
    String::from_utf8(content).unwrap()
}

/// A listener of ours that expects a header of whoever connects.
fn expecting(server: SocketAddr) -> Config {
    let mut config = config(Mode::Http, &[server]);
    config.frontends[0].binds[0].accept_proxy = Some(AcceptProxy::Everybody);
    config.frontends[0].forwardfor = true;
    config
}

#[tokio::test]
async fn headers_of_haproxy_are_read() {
    let server = mirror().await;
    let proxy = Proxy::start(expecting(server.address)).unwrap();
    let to = address(&proxy);
    let fronts = [apart(), apart(), apart()].map(|front| SocketAddr::new(front.ip(), 8080));
    let senders = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"];
    let mut sections = "frontend any\n  bind unix@FOLDER/any\n".to_owned();
    for ((index, front), sender) in fronts.iter().enumerate().zip(senders) {
        let check = "check inter 50ms rise 1";
        sections += &format!(
            "listen l{index}\n  bind {front}\n  unique-id-format %ci-%rt\n  option httpchk GET /\n  \
             server s {to} {check} {sender}\n"
        );
    }
    let _haproxy = HAProxy::start(&sections, "any").await;
    for front in fronts {
        let mut client = connect_from("127.0.9.7", front).await;
        for _ in 0..2 {
            let head = get(&mut client).await;
            assert!(head.contains("X-Forwarded-For: 127.0.9.7\r\n"), "{head}");
        }
    }
    // Its checks are LOCAL, or its own.
    eventually("checks have come", || proxy.status().frontends[0].requests_total > 12).await;
    assert_eq!(counter(&proxy, "proxy_header_errors_total"), 0);
}

#[tokio::test]
async fn headers_of_nginx_are_read() {
    let server = mirror().await;
    let proxy = Proxy::start(expecting(server.address)).unwrap();
    let front = SocketAddr::new(apart().ip(), 8080);
    let stream = format!(
        "  server {{ listen unix:FOLDER/any; return \"\"; }}\n  \
         server {{ listen {front}; proxy_pass {}; proxy_protocol on; }}\n",
        address(&proxy)
    );
    let _nginx = Nginx::start("", &stream, "any").await;
    let mut client = connect_from("127.0.9.8", front).await;
    let head = get(&mut client).await;
    assert!(head.contains("X-Forwarded-For: 127.0.9.8\r\n"), "{head}");
    assert_eq!(counter(&proxy, "proxy_header_errors_total"), 0);
}

/// Ours before a server on this socket, which is told of clients so.
fn telling(socket: &Path, send: &SendProxy) -> Config {
    let mut config = config(Mode::Http, &[]);
    let server = Server::new("s1", UnixAddress::new(socket.to_str().unwrap()).unwrap());
    config.frontends[0].unique_id =
        Some(UniqueId { header: Some("X-Request-Id".to_owned()), template: UniqueId::default_template() });
    config.backends[0].servers =
        vec![Server { send_proxy: Some(send.clone()), check_proxy: Some(send.version), ..server }];
    config.backends[0].check = Some(quick_check(CheckKind::Http(Box::new(HttpCheck::new("GET", "/")))));
    config
}

fn all_headers() -> [SendProxy; 3] {
    let extensions = vec![ProxyExtension::Crc32c, ProxyExtension::UniqueId];
    [
        SendProxy { version: ProxyVersion::V1, extensions: Vec::new() },
        SendProxy { version: ProxyVersion::V2, extensions: Vec::new() },
        SendProxy { version: ProxyVersion::V2, extensions },
    ]
}

#[tokio::test]
async fn haproxy_reads_headers_of_ours() {
    let sections = "frontend f\n  bind unix@FOLDER/f accept-proxy\n  \
                    http-request return content-type text/plain lf-string \
                    \"%[src]:%[src_port] %[dst_port] %[fc_pp_unique_id] %[req.hdr(x-request-id)]\"\n\
                    frontend any\n  bind unix@FOLDER/any\n";
    let haproxy = HAProxy::start(sections, "any").await;
    for send in all_headers() {
        let proxy = Proxy::start(telling(&haproxy.socket("f"), &send)).unwrap();
        let mut client = connect_from("127.0.9.9", address(&proxy)).await;
        let own = client.local_addr().unwrap();
        let front = address(&proxy).port();
        for _ in 0..2 {
            let said = get(&mut client).await;
            let words: Vec<&str> = said.split(' ').collect();
            assert_eq!(words[..2], [&own.to_string(), &front.to_string()], "{said}");
            let is_named = send.extensions.contains(&ProxyExtension::UniqueId);
            assert_eq!(words[2], if is_named { words[3] } else { "" }, "{said}");
        }
        eventually("its check passes", || proxy.status().backends[0].servers[0].state == ServerState::Up)
            .await;
    }
}

#[tokio::test]
async fn nginx_reads_headers_of_ours() {
    let http = "  server { listen unix:FOLDER/f proxy_protocol; location / { return 200 \
                \"$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_port\"; } }\n  \
                server { listen unix:FOLDER/any; }\n";
    let nginx = Nginx::start(http, "", "any").await;
    for send in all_headers() {
        let proxy = Proxy::start(telling(&nginx.socket("f"), &send)).unwrap();
        let mut client = connect_from("127.0.9.10", address(&proxy)).await;
        let expected = format!("{} {}", client.local_addr().unwrap(), address(&proxy).port());
        for _ in 0..2 {
            assert_eq!(get(&mut client).await, expected);
        }
        eventually("its check passes", || proxy.status().backends[0].servers[0].state == ServerState::Up)
            .await;
    }
}
