//! Several certificates for a listener: which one a client is shown, and with which cipher.

use std::{io::Read, net::SocketAddr, process::Stdio, sync::Arc};

use lb_proxy::{
    Proxy,
    config::{Mode, Tls},
    tls::Certificate,
};
use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::{
    certificates::{certificate, config, set, several, shown, tls},
    openssl::made,
    peer::{VERSIONS, apart, ask, client, connect},
    rig::{Scripted, address, counter, read_head},
    syslog::Syslog,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn serving(tls: Tls) -> (Proxy, SocketAddr) {
    let mut config = config(Mode::Http, &[]);
    set(&mut config, tls);
    let proxy = Proxy::start(config).unwrap();
    let address = address(&proxy);
    (proxy, address)
}

fn der(certificate: &Certificate) -> Vec<u8> {
    certificate.key().cert[0].to_vec()
}

/// What a client that asks for `name` is shown.
async fn shown_for(front: SocketAddr, name: &'static str) -> Vec<Vec<u8>> {
    apart(move || {
        let visit = |version| {
            let mut peer = connect(front, &client(version), name);
            ask(&mut peer, REQUEST, 0);
            peer.conn.peer_certificates().unwrap()[0].to_vec()
        };
        VERSIONS.map(visit).to_vec()
    })
    .await
}

#[tokio::test]
async fn client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let all = ["first.example", "a.example", "*.a.example"].map(certificate);
    let (_proxy, front) = serving(several(all.to_vec()));
    for (name, expected) in
        [("A.example", 1), ("www.a.example", 2), ("x.www.a.example", 0), ("b.example", 0), ("127.0.0.1", 0)]
    {
        assert_eq!(shown_for(front, name).await, [der(&all[expected]), der(&all[expected])], "{name}");
    }
}

#[tokio::test]
async fn strict_listener_refuses_who_asks_for_another_name_or_none() {
    let syslog = Syslog::start().await;
    let own = certificate("a.example");
    let mut config = config(Mode::Http, &[]);
    syslog.receive_from(&mut config);
    set(&mut config, Tls { strict_sni: true, ..tls(own.clone()) });
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    assert_eq!(shown_for(front, "a.example").await, [der(&own), der(&own)]);
    for _ in VERSIONS {
        syslog.line().await;
    }
    for name in ["b.example", "127.0.0.1"] {
        for version in VERSIONS {
            let error =
                apart(move || connect(front, &client(version), name).read(&mut [0]).unwrap_err().to_string());
            let error = error.await;
            assert!(error.contains("AccessDenied"), "{error}");
            let line = syslog.line().await;
            let why = "no certificate is for the name that the client asks for";
            assert_eq!(line, format!("front/1: SSL handshake failure ({why})"));
        }
    }
    assert_eq!(counter(&proxy, "tls_handshake_failures_total"), 4);
}

/// Nothing but the certificate is told anew: no reload.
#[tokio::test]
async fn renewed_certificate_is_shown_and_open_connections_go_on() {
    let (first, second) = (certificate("a.example"), certificate("a.example"));
    let tls = tls(first.clone());
    let renewed = Arc::clone(&tls.certificates);
    let (proxy, front) = serving(tls);
    let client = client(&rustls::version::TLS13);
    let own = Arc::clone(&client);
    let mut old = apart(move || {
        let mut peer = connect(front, &own, "a.example");
        ask(&mut peer, REQUEST, 0);
        peer
    })
    .await;
    renewed.replace(vec![shown(second.clone())]);
    assert_eq!(shown_for(front, "a.example").await, [der(&second), der(&second)]);
    apart(move || {
        ask(&mut old, REQUEST, 0);
        // Who has been here goes on with its session.
        let mut peer = connect(front, &client, "a.example");
        ask(&mut peer, REQUEST, 0);
        assert_eq!(peer.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    })
    .await;
    assert_eq!(counter(&proxy, "tls_handshakes_total"), 4);
}

/// What OpenSSL's client says of a handshake with these arguments.
pub(crate) async fn s_client(front: SocketAddr, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &front.to_string(), "-servername", "a.example"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may be refused by then.
    let _ = stdin.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    child.wait().await.unwrap();
    said
}

#[tokio::test]
async fn client_that_knows_no_ecdsa_is_shown_the_rsa_certificate_of_the_same_name() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    })
    .await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let rsa = made(&folders[0], &["rsa:2048"]).await.0;
    let ecdsa = made(&folders[1], &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]).await.0;
    let mut config = config(Mode::Http, &[server.address]);
    set(&mut config, several(vec![rsa, ecdsa]));
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    for (arguments, signature) in [
        (&["-tls1_3"][..], "Peer signature type: ECDSA"),
        (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], "Peer signature type: RSA-PSS"),
        (&["-tls1_2"], "Peer signature type: ECDSA"),
        (&["-tls1_2", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], "Peer signature type: RSA-PSS"),
        // The cipher says it alone.
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "Peer signature type: RSA-PSS"),
    ] {
        let said = s_client(front, arguments).await;
        assert!(said.contains(signature) && said.contains("HTTP/1.1 200 OK"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn ciphers_are_those_of_the_file_in_its_order() {
    let mut tls = tls(certificate("a.example"));
    tls.ciphers = vec!["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    tls.ciphersuites = vec!["TLS_AES_128_GCM_SHA256"];
    let (_proxy, front) = serving(tls);
    for (arguments, cipher) in [
        (&["-tls1_3"][..], "TLS_AES_128_GCM_SHA256"),
        (&["-tls1_2"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"],
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "(NONE)"),
    ] {
        let said = s_client(front, arguments).await;
        assert!(said.contains(&format!("Cipher is {cipher}\n")), "{arguments:?}: {said}");
    }
}

/// Of those the client's favourite is taken.
#[tokio::test]
async fn curves_are_those_of_the_file() {
    let mut tls = tls(certificate("a.example"));
    tls.curves = vec!["P-384", "X25519"];
    let (_proxy, front) = serving(tls);
    for (arguments, expected) in [
        (&["-tls1_3", "-curves", "X25519:P-384"][..], "Server Temp Key: X25519, 253 bits"),
        (&["-tls1_2", "-curves", "P-384:X25519:P-256"], "Server Temp Key: ECDH, secp384r1, 384 bits"),
        // That of the certificate's key is another matter.
        (&["-tls1_2", "-curves", "P-256:X25519"], "Server Temp Key: X25519, 253 bits"),
        (&["-tls1_3", "-curves", "P-384"], "Server Temp Key: ECDH, secp384r1, 384 bits"),
        (&["-tls1_3", "-curves", "P-256"], "Cipher is (NONE)\n"),
        (&["-tls1_2", "-curves", "P-256"], "Cipher is (NONE)\n"),
    ] {
        let said = s_client(front, arguments).await;
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn session_does_not_go_on_without_tickets() {
    for has_tickets in [true, false] {
        let (_proxy, front) = serving(Tls { tickets: has_tickets, ..tls(certificate("a.example")) });
        for version in VERSIONS {
            let kinds = apart(move || {
                let client = client(version);
                [(); 2].map(|()| {
                    let mut peer = connect(front, &client, "a.example");
                    ask(&mut peer, REQUEST, 0);
                    peer.conn.handshake_kind().unwrap()
                })
            });
            assert_eq!(
                kinds.await.map(|kind| kind == HandshakeKind::Resumed),
                [false, has_tickets],
                "{version:?}"
            );
        }
    }
}
