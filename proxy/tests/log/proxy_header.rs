//! Connections that have to begin with a PROXY header and don't.

use lb_proxy::{
    Proxy,
    config::{AcceptProxy, Mode},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    rig::{config, counter, eventually, read_all},
    syslog::{Syslog, end},
    terminations::reset,
};

async fn expecting(dontlognull: bool) -> (Proxy, Syslog) {
    let (syslog, mut config) = (Syslog::start().await, config(Mode::Http, &[]));
    config.threads = std::num::NonZeroUsize::MIN;
    syslog.receive_from(&mut config);
    // Its number is that of the second.
    let second = config.frontends[0].binds[0].clone();
    config.frontends[0].binds.insert(0, second);
    config.frontends[0].binds[1].accept_proxy = Some(AcceptProxy::Everybody);
    config.frontends[0].options.dontlognull = dontlognull;
    (Proxy::start(config).unwrap(), syslog)
}

async fn second(proxy: &Proxy) -> TcpStream {
    let address = proxy.status().frontends[0].binds[1].address.unwrap();
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn what_is_no_proxy_header_has_a_line_in_the_words_of_haproxy() {
    let (proxy, syslog) = expecting(true).await;
    for (bytes, words) in [
        (
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            "Received something which does not look like a PROXY protocol header",
        ),
        (b"PROXY TCP4 192.0.2.1\r\n", "Received an invalid PROXY protocol header"),
        (
            b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
            "Received an unhandled protocol in the PROXY protocol header",
        ),
        (b"PROXY TCP4 192.0", "Truncated PROXY protocol header received"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "Truncated PROXY protocol header received"),
    ] {
        let mut client = second(&proxy).await;
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = read_all(&mut client).await;
        assert_eq!(syslog.line().await, format!("front/2: {words}"));
    }
    // Neither has sent a byte that could be told of.
    drop(second(&proxy).await);
    eventually("it is gone", || counter(&proxy, "null_connections_total") == 1).await;
    reset(second(&proxy).await);
    eventually("it is gone", || counter(&proxy, "proxy_header_errors_total") == 6).await;
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn who_leaves_without_a_byte_of_a_proxy_header_has_a_line_where_the_file_wants_so() {
    let (proxy, syslog) = expecting(false).await;
    drop(second(&proxy).await);
    assert_eq!(syslog.line().await, "front/2: Connection closed while waiting for PROXY protocol header");
    reset(second(&proxy).await);
    assert_eq!(syslog.line().await, "front/2: Connection error while waiting for PROXY protocol header");
    end(proxy, &syslog).await;
}
