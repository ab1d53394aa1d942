//! Records that no ordinary client sends: sealed here, with the keys of a handshake that rustls has made.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use lb_proxy::{Proxy, config::Mode};
use rustls::{ClientConfig, ConnectionTrafficSecrets};

use crate::{
    certificates::config,
    peer::{apart, ask, client, connect},
    rig::{Scripted, address, eventually, read_head},
};

const ALERT: u8 = 21;
const DATA: u8 = 23;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// One direction of TLS 1.3 with AES-256-GCM (RFC 8446 §5.2, §5.3).
struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Keys {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another cipher") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    fn nonce(&mut self) -> Nonce {
        let number = u128::from_be_bytes([&[0; 4][..], &self.iv].concat().try_into().unwrap());
        let nonce = (number ^ u128::from(self.sequence)).to_be_bytes();
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce[4..].try_into().unwrap())
    }
}

/// A client behind its handshake, to whom records are nothing but bytes.
struct Raw {
    socket: TcpStream,
    sends: Keys,
    receives: Keys,
}

impl Raw {
    /// One request has been answered by then, so nothing that the other side said waits unread.
    fn connect(address: SocketAddr) -> Self {
        let mut config = ClientConfig::clone(&client(&rustls::version::TLS13));
        config.enable_secret_extraction = true;
        let mut peer = connect(address, &Arc::new(config), "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2);
        let secrets = peer.conn.dangerous_extract_secrets().unwrap();
        Self { socket: peer.sock, sends: Keys::new(secrets.tx), receives: Keys::new(secrets.rx) }
    }

    fn send(&mut self, kind: u8, content: &[u8]) {
        let mut sealed = [content, &[kind]].concat();
        let length = u16::try_from(sealed.len() + 16).unwrap().to_be_bytes();
        let header = [DATA, 3, 3, length[0], length[1]];
        let nonce = self.sends.nonce();
        self.sends.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).unwrap();
        self.socket.write_all(&[&header[..], &sealed].concat()).unwrap();
    }

    /// Kind and content of the next record; `None` where the other side has closed.
    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.socket.read_exact(&mut header).ok()?;
        let mut sealed = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        self.socket.read_exact(&mut sealed).unwrap();
        let nonce = self.receives.nonce();
        let opened = self.receives.key.open_in_place(nonce, Aad::from(header), &mut sealed).unwrap();
        let (kind, content) = opened.split_last().unwrap();
        Some((*kind, content.to_vec()))
    }

    fn is_answered(&mut self) -> bool {
        self.send(DATA, REQUEST);
        let (kind, content) = self.receive().unwrap();
        kind == DATA && content.starts_with(b"HTTP/1.1 200 OK\r\n")
    }
}

async fn serving() -> (Scripted, Proxy) {
    let server = Scripted::start(|mut stream| async move {
        use tokio::io::AsyncWriteExt;
        while read_head(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(config(Mode::Http, &[server.address])).unwrap();
    (server, proxy)
}

#[tokio::test]
async fn records_without_content_are_taken_32_in_a_row_and_no_more() {
    let (_server, proxy) = serving().await;
    let front = address(&proxy);
    apart(move || {
        let mut raw = Raw::connect(front);
        for _ in 0..3 {
            (0..32).for_each(|_| raw.send(DATA, b""));
            assert!(raw.is_answered());
        }
        (0..33).for_each(|_| raw.send(DATA, b""));
        // unexpected_message
        assert_eq!(raw.receive(), Some((ALERT, vec![2, 10])));
        assert_eq!(raw.receive(), None);
    })
    .await;
    eventually("it is gone", || proxy.status().frontends[0].connections == 0).await;
}

/// Each costs us new keys, and an answer if it asks for one.
#[tokio::test]
async fn keys_that_are_changed_and_not_used_are_followed_32_times_and_no_more() {
    let (_server, proxy) = serving().await;
    let front = address(&proxy);
    apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        let request = std::str::from_utf8(REQUEST).unwrap();
        for _ in 0..3 {
            assert!(ask(&mut peer, request, 2).starts_with("HTTP/1.1 200 OK\r\n"));
            (0..32).for_each(|_| peer.conn.refresh_traffic_keys().unwrap());
        }
        assert!(ask(&mut peer, request, 2).starts_with("HTTP/1.1 200 OK\r\n"));
        (0..33).for_each(|_| peer.conn.refresh_traffic_keys().unwrap());
        let refused = peer.write_all(REQUEST).and_then(|()| peer.read(&mut [0])).unwrap_err().to_string();
        assert!(refused.contains("UnexpectedMessage") || refused.contains("reset"), "{refused}");
    })
    .await;
    eventually("it is gone", || proxy.status().frontends[0].connections == 0).await;
}

#[tokio::test]
async fn alert_in_the_middle_of_a_connection_ends_it_unless_it_is_a_warning() {
    let (_server, proxy) = serving().await;
    let front = address(&proxy);
    apart(move || {
        let mut raw = Raw::connect(front);
        // user_canceled
        raw.send(ALERT, &[1, 90]);
        assert!(raw.is_answered());
        // close_notify: the other side says so as well.
        raw.send(ALERT, &[1, 0]);
        assert_eq!((raw.receive(), raw.receive()), (Some((ALERT, vec![1, 0])), None));

        for alert in [vec![2, 20], vec![2, 80], vec![2], vec![], vec![2, 20, 0]] {
            let mut raw = Raw::connect(front);
            raw.send(ALERT, &alert);
            raw.send(DATA, REQUEST);
            assert_eq!(raw.receive(), Some((ALERT, vec![2, 10])), "{alert:?}");
        }
    })
    .await;
    eventually("all are gone", || proxy.status().frontends[0].connections == 0).await;
}

#[tokio::test]
async fn changed_record_and_a_handshake_that_has_no_place_end_the_connection() {
    let (_server, proxy) = serving().await;
    let front = address(&proxy);
    apart(move || {
        let mut raw = Raw::connect(front);
        // bad_record_mac: it is not the next one.
        raw.sends.sequence += 1;
        raw.send(DATA, REQUEST);
        assert_eq!((raw.receive(), raw.receive()), (Some((ALERT, vec![2, 20])), None));
        // A ClientHello, and a key update with more behind it.
        for message in [&[1, 0, 0, 2, 3, 3][..], &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], &[24, 0, 0, 1, 2]] {
            let mut raw = Raw::connect(front);
            raw.send(22, message);
            assert_eq!((raw.receive(), raw.receive()), (Some((ALERT, vec![2, 10])), None), "{message:?}");
        }
    })
    .await;
}
