//! Descriptors of what moves chunks inside the kernel. In a process of its own: their limit and their number are the process's.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

use std::{
    num::NonZeroUsize,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use lb_proxy::{Proxy, config::Mode};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

use crate::rig::{LONG, Scripted, config, connect, counter, eventually, read_all, read_head};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Of the server's response.
const CONTENT: usize = 8 << 20;

/// Chunks, one of them large by itself.
fn content() -> Vec<u8> {
    let chunk = |size: usize| [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
    [chunk(0x4000).repeat(CONTENT / 0x8000), chunk(CONTENT / 2), b"0\r\n\r\n".to_vec()].concat()
}

/// A client that has asked and got the head.
async fn asking(proxy: &Proxy) -> TcpStream {
    let mut client = connect(proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    read_head(&mut client).await.unwrap();
    client
}

/// Asserts that all of the payload is there, and the end.
fn assert_whole(mut bytes: &[u8]) {
    let mut payload = 0;
    loop {
        let end = memchr::memmem::find(bytes, b"\r\n").unwrap();
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let (chunk, rest) = bytes[end + 2..].split_at(size);
        assert!(chunk.iter().all(|byte| *byte == b'x'));
        payload += size;
        bytes = rest.strip_prefix(b"\r\n").unwrap();
        if size == 0 {
            break;
        }
    }
    assert_eq!((payload, bytes), (CONTENT, &b""[..]));
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn chunks_are_copied_without_a_descriptor_for_a_pipe_and_clients_that_leave_leave_none_open() {
    let go = Arc::new(Notify::new());
    let goes = Arc::clone(&go);
    let server = Scripted::start(move |mut stream| {
        let goes = Arc::clone(&goes);
        async move {
            while read_head(&mut stream).await.is_some() {
                stream.write_all(HEAD).await.unwrap();
                goes.notified().await;
                if stream.write_all(&content()).await.is_err() {
                    break;
                }
            }
        }
    })
    .await;
    let mut config = config(Mode::Http, &[server.address]);
    config.threads = NonZeroUsize::MIN;
    let proxy = Proxy::start(config).unwrap();
    let moved = || counter(&proxy, "spliced_bytes_total");

    let mut client = asking(&proxy).await;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The lowest free descriptor is the first that a pipe would get.
    let probe: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let lowest_free = u64::try_from(probe.as_raw_fd()).unwrap();
    drop(probe);
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free, hard).unwrap();
    go.notify_one();
    let got = read_all(&mut client).await;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert_whole(&got.unwrap());
    assert_eq!(moved(), 0);

    let get = async || {
        let mut client = asking(&proxy).await;
        go.notify_one();
        assert_whole(&read_all(&mut client).await.unwrap());
    };
    get().await;
    assert!(moved() > CONTENT as u64 / 2, "{}", moved());
    drop(client);
    let nobody = || (proxy.status().connections, proxy.status().backends[0].servers[0].in_flight) == (0, 0);
    eventually("it is over", nobody).await;
    let before = open_descriptors();
    // More than there are pipes to be lent.
    for n in 0..260 {
        let mut client = asking(&proxy).await;
        go.notify_one();
        timeout(LONG, client.read_exact(&mut vec![0; 200_000])).await.unwrap().unwrap();
        if n % 2 == 0 {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    eventually("all are gone", nobody).await;
    eventually("nothing of them is open", || open_descriptors() <= before).await;
    let aborts = proxy.status().backends[0].traffic.client_aborts;
    assert!(aborts >= 250, "{aborts}");
    let of_others = moved();
    get().await;
    assert!(moved() - of_others > CONTENT as u64 / 2);
}
