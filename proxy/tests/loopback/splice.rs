//! Bytes that the kernel moves, and those that it may not.

use lb_proxy::{
    Proxy,
    config::{Mode, Splice},
};
use tokio::io::AsyncWriteExt;

use crate::rig::{Scripted, config, connect, counter, eventually, read_head, read_n};

const LENGTH: usize = 1 << 20;

fn content() -> Vec<u8> {
    (0..=250).cycle().take(LENGTH).collect()
}

/// Takes the content of a POST, and answers a GET with as much.
async fn server() -> Scripted {
    Scripted::start(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            if head.starts_with("POST") {
                assert!(read_n(&mut stream, LENGTH).await == content());
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            } else {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&content()).await.unwrap();
            }
        }
    })
    .await
}

/// Were bytes of a request spliced, and bytes of a response? Either mode forwards the same ones.
async fn spliced(mode: Mode, of_frontend: Splice, of_backend: Splice) -> [bool; 2] {
    let server = server().await;
    let mut config = config(mode, &[server.address]);
    config.frontends[0].options.splice = of_frontend;
    config.backends[0].options.splice = of_backend;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let spliced = || counter(&proxy, "spliced_bytes_total");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&content()).await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let of_request = spliced();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    assert_eq!(read_head(&mut client).await.unwrap(), head);
    assert!(read_n(&mut client, LENGTH).await == content());
    eventually("all is counted", || proxy.status().frontends[0].bytes_out > LENGTH as u64).await;
    // The head of the second request may follow the content of the first through the pipe.
    [of_request > 0, spliced() > of_request + 1000]
}

#[tokio::test]
async fn bytes_are_spliced_in_the_directions_that_frontend_and_backend_allow_and_else_copied() {
    use Splice::{Auto, Never, Request, Response};
    for mode in [Mode::Tcp, Mode::Http] {
        for (of_frontend, of_backend, expected) in [
            (Auto, Auto, [true, true]),
            (Request, Auto, [true, false]),
            (Auto, Response, [false, true]),
            (Request, Response, [false, false]),
            (Never, Auto, [false, false]),
            (Auto, Never, [false, false]),
        ] {
            let found = spliced(mode, of_frontend, of_backend).await;
            assert_eq!(found, expected, "{mode:?} {of_frontend:?} {of_backend:?}");
        }
    }
}
