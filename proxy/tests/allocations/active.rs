//! What requests hold that are in flight together.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Barrier, PoisonError, atomic::Ordering},
    thread,
};

use lb_proxy::{Proxy, config::Mode};

use super::{COUNTS, OF_BUFFERS, TURN, config, read_message};

const CONNECTIONS: usize = 100;

/// Answers no request before there are as many as connections.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let all = Arc::new(Barrier::new(CONNECTIONS));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let all = Arc::clone(&all);
            thread::spawn(move || {
                let mut buffer = Vec::new();
                while read_message(&mut stream, &mut buffer, 0) {
                    all.wait();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
            });
        }
    });
    address
}

/// Whoever has read one waits for the others of its turn, and does so with a head's buffer.
#[test]
fn small_responses_that_come_together_share_one_large_buffer() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut config = config(server(), Mode::Http);
    config.maxconn = 1_000;
    let proxy = Proxy::start(config).unwrap();
    let front = proxy.status().frontends[0].binds[0].address.unwrap();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(front).unwrap()).collect();
    OF_BUFFERS.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        for client in &mut clients {
            assert!(read_message(client, &mut Vec::new(), 2));
        }
    }
    COUNTS.store(false, Ordering::Relaxed);
    // The pool keeps 16, so each that was needed beside others is one that was made.
    let made = OF_BUFFERS.load(Ordering::Relaxed);
    assert!((1..=2).contains(&made), "{made} buffers");
}
