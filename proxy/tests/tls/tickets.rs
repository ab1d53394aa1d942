//! Sessions that another node goes on with: what both know is a secret.

use std::{net::SocketAddr, sync::Arc};

use lb_proxy::{
    Proxy,
    config::{Mode, TicketSecret},
};
use rustls::{ClientConfig, HandshakeKind};

use crate::{
    certificates::config,
    peer::{VERSIONS, apart, ask, client, connect},
    rig::{address, counter},
};

/// A node with this secret, and where it serves.
fn node(secret: Option<u8>) -> (Proxy, SocketAddr) {
    let mut config = config(Mode::Http, &[]);
    config.ticket_secret = secret.map(|byte| TicketSecret::new([byte; 32]));
    let proxy = Proxy::start(config).unwrap();
    let address = address(&proxy);
    (proxy, address)
}

async fn visit(front: SocketAddr, client: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let client = Arc::clone(client);
    apart(move || {
        let mut peer = connect(front, &client, "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
        peer.conn.handshake_kind()
    })
    .await
}

#[tokio::test]
async fn client_of_one_node_goes_on_with_its_session_at_another_that_has_the_same_secret() {
    for version in VERSIONS {
        let client = client(version);
        let ((_lb1, first), (lb2, second)) = (node(Some(7)), node(Some(7)));
        assert_ne!(visit(first, &client).await, Some(HandshakeKind::Resumed));
        assert_eq!(visit(second, &client).await, Some(HandshakeKind::Resumed));
        assert_eq!((counter(&lb2, "tls_handshakes_total"), counter(&lb2, "tls_resumptions_total")), (1, 1));
    }
}

#[tokio::test]
async fn node_with_another_secret_or_none_shakes_hands_in_full() {
    for version in VERSIONS {
        for secret in [Some(8), None] {
            let client = client(version);
            let ((_lb1, first), (lb2, second)) = (node(Some(7)), node(secret));
            visit(first, &client).await;
            assert_ne!(visit(second, &client).await, Some(HandshakeKind::Resumed));
            assert_eq!(counter(&lb2, "tls_resumptions_total"), 0);
        }
    }
}

#[tokio::test]
async fn other_secret_comes_with_a_reload() {
    let mut config = config(Mode::Http, &[]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let front = address(&proxy);
    let (_other, elsewhere) = node(Some(9));
    config.ticket_secret = Some(TicketSecret::new([9; 32]));
    proxy.reload(config).await.unwrap();
    let client = client(&rustls::version::TLS13);
    visit(elsewhere, &client).await;
    assert_eq!(visit(front, &client).await, Some(HandshakeKind::Resumed));
}
