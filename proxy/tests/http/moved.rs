//! Chunks that the kernel moves, and peers that stop, stall or leave meanwhile; sockets and kernels of other kinds.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::{Server, UnixAddress},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixListener},
};

use crate::{
    chunks::{Content, HEAD, LARGE, ask_once, read_chunks},
    old_kernel,
    peers::*,
    rig::{LONG, Scripted, address, connect, counted, counter, eventually, read_all},
    syslog::Syslog,
};

/// What runs out. Nothing else here takes so long.
const SHORT: Duration = Duration::from_millis(700);

/// A server that sends `wire` behind a head and then does what `then` says.
async fn server_that<F: Future<Output = ()> + Send + 'static>(
    wire: &[u8],
    then: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
) -> Scripted {
    let bytes = [HEAD.as_bytes(), wire].concat();
    Scripted::start(move |mut stream| {
        let (bytes, then) = (bytes.clone(), then.clone());
        async move {
            read_head(&mut stream).await;
            stream.write_all(&bytes).await.unwrap();
            then(stream).await;
        }
    })
    .await
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, wire: Vec<u8>) {
    while read_head(&mut stream).await.is_some() {
        stream.write_all(&[HEAD.as_bytes(), &wire].concat()).await.unwrap();
    }
}

/// Everything that may be among chunks, and what is moved around it.
fn mixed() -> Content {
    Content::large()
        .chunk("4000;a=\"b\"", 0x4000)
        .chunks([LARGE, 10, LARGE, 16_384])
        .chunk("00010000", 0x1_0000)
        .chunks([LARGE])
        .then("0;last\r\nX-Sum: 1\r\n\r\n")
}

/// Asserts that a client gets [`mixed`] twice, on one connection to the server; how many bytes were moved.
async fn gets_mixed(proxy: &Proxy) -> u64 {
    let content = mixed();
    for (fields, expected) in [("TE: trailers\r\n", "X-Sum: 1\r\n"), ("", "")] {
        let (_, wire) = ask_once(proxy, fields).await;
        let (payload, trailers) = read_chunks(&wire);
        assert!(payload == content.payload);
        assert_eq!(trailers.as_deref(), Some(expected));
    }
    counted(proxy, "upstream_reuses_total", 1).await;
    counter(proxy, "spliced_bytes_total")
}

#[tokio::test]
async fn client_that_stops_reading_and_goes_on_gets_every_byte() {
    let content = Content::default().chunks([16 * 1024; 1500]).then("0\r\n\r\n");
    let server = content.server().await;
    let proxy = proxy_for(&server);
    let socket = TcpSocket::new_v4().unwrap();
    // So that it has stopped soon.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut client = socket.connect(address(&proxy)).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    read_head(&mut client).await.unwrap();
    let mut wire = Vec::new();
    for _ in 0..3 {
        let (mut before, mut same) = (0, 0);
        eventually("nothing more is taken", || {
            let now = counter(&proxy, "spliced_bytes_total");
            same = if now == before { same + 1 } else { 0 };
            before = now;
            now > 0 && same == 20
        })
        .await;
        assert!(before < content.payload.len() as u64);
        let mut part = vec![0; 3 << 20];
        client.read_exact(&mut part).await.unwrap();
        wire.extend(part);
    }
    wire.extend(read_all(&mut client).await.unwrap());
    let (payload, trailers) = read_chunks(&wire);
    assert!(payload == content.payload);
    assert_eq!(trailers.as_deref(), Some(""));
}

#[tokio::test]
async fn server_that_stalls_in_a_chunk_ends_the_response_in_time_and_is_logged() {
    for (behind, logged) in [("100000\r\nabc", "abc"), ("4000", ""), ("", "")] {
        let content = Content::large();
        let server = server_that(content.clone().then(behind).wire.as_slice(), |mut stream| async move {
            let _ = read_all(&mut stream).await;
        })
        .await;
        let (syslog, mut config) = (Syslog::start().await, http_config(&[server.address]));
        syslog.receive_from(&mut config);
        config.backends[0].timeout.server = SHORT;
        let proxy = Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        read_head(&mut client).await.unwrap();
        let started = std::time::Instant::now();
        let wire = read_all(&mut client).await.unwrap();
        assert!(started.elapsed() >= SHORT / 2);
        let (payload, trailers) = read_chunks(&wire);
        assert!(payload == [&content.payload[..], logged.as_bytes()].concat(), "{behind}");
        assert_eq!(trailers, None);
        let line = syslog.line().await;
        let bytes = HEAD.len() + wire.len();
        let expected =
            format!("front back/s1 T/T/T/T/T 200 {bytes} - - sD-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"");
        assert_eq!(line, expected, "{behind}");
        eventually("it is counted", || counter(&proxy, "server_timeouts_total") == 1).await;
        let in_flight = || proxy.status().backends[0].servers[0].in_flight;
        eventually("its connection is given up", || in_flight() == 0).await;
    }
}

#[tokio::test]
async fn client_that_leaves_while_its_server_stalls_in_a_chunk_is_seen_at_once() {
    for behind in ["100000\r\nabc", "4000", ""] {
        let content = Content::large().then("3\r\nend\r\n").then(behind);
        let (left, mut leaves) = tokio::sync::mpsc::unbounded_channel();
        let server = server_that(&content.wire, move |mut stream| {
            let left = left.clone();
            async move {
                let _ = read_all(&mut stream).await;
                left.send(()).unwrap();
            }
        })
        .await;
        let (syslog, mut config) = (Syslog::start().await, http_config(&[server.address]));
        syslog.receive_from(&mut config);
        let proxy = Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        read_head(&mut client).await.unwrap();
        let mut wire = Vec::new();
        while memchr::memmem::find(&wire, b"end").is_none() {
            assert!(client.read_buf(&mut wire).await.unwrap() > 0, "{behind:?}");
        }
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        tokio::time::timeout(LONG, leaves.recv()).await.expect("the server is not left").unwrap();
        let line = syslog.line().await;
        assert!(line.contains(" 200 ") && line.contains(" CD-- "), "{behind:?}: {line}");
        let in_flight = || proxy.status().backends[0].servers[0].in_flight;
        eventually("its connection is given up", || in_flight() == 0).await;
    }
}

#[tokio::test]
async fn server_that_ends_or_breaks_anywhere_leaves_a_response_that_is_not_whole() {
    let content = Content::large();
    for behind in [
        "",
        "1",
        "4000",
        "4000\r",
        "4000\r\n",
        "100000\r\nabc",
        "0",
        "0\r",
        "0\r\n",
        "0\r\n\r",
        "0\r\nA: b\r\n",
    ] {
        // Without the end of the last chunk as well.
        for less in [0, 1, 2].into_iter().filter(|less| *less == 0 || behind.is_empty()) {
            for breaks in [false, true] {
                let mut wire = content.clone().then(behind).wire;
                wire.truncate(wire.len() - less);
                let server = server_that(&wire, move |stream| async move {
                    if breaks {
                        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                })
                .await;
                let (syslog, mut config) = (Syslog::start().await, http_config(&[server.address]));
                syslog.receive_from(&mut config);
                let proxy = Proxy::start(config).unwrap();
                let (_, wire) = ask_once(&proxy, "").await;
                let (payload, trailers) = read_chunks(&wire);
                let expected =
                    [&content.payload[..], behind.split_once("abc").map_or("", |_| "abc").as_bytes()]
                        .concat();
                // What a reset overtakes is lost.
                assert!(
                    if breaks { expected.starts_with(&payload) } else { payload == expected },
                    "{behind:?}"
                );
                assert_eq!(trailers, None, "{behind:?}");
                let line = syslog.line().await;
                assert!(
                    line.contains(" 200 ") && line.contains(" SD-- "),
                    "{behind:?} {less} {breaks}: {line}"
                );
            }
        }
    }
}

#[tokio::test]
async fn chunks_of_a_server_on_a_unix_socket_are_moved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, mixed().wire).await });
    let mut config = http_config(&[]);
    config.backends[0].servers = vec![Server::new("s1", UnixAddress::new(path.to_str().unwrap()).unwrap())];
    let proxy = Proxy::start(config).unwrap();
    assert!(gets_mixed(&proxy).await > 1 << 20);
    serving.abort();
}

#[tokio::test]
async fn chunks_of_a_server_of_ipv6_are_moved() {
    let address = "[::1]:0".parse().unwrap();
    let server = Scripted::start_at(address, |stream| serve(stream, mixed().wire)).await;
    let proxy = proxy_for(&server);
    assert!(gets_mixed(&proxy).await > 1 << 20);
}

#[tokio::test]
async fn where_the_kernel_looks_at_nothing_but_the_first_byte_each_large_chunk_is_moved_by_itself() {
    let server = mixed().server().await;
    // What it says of the option; the second takes it and does nothing.
    for error in [libc::ENOPROTOOPT, libc::EOPNOTSUPP, 0] {
        let config = http_config(&[server.address]);
        let runtime = tokio::runtime::Handle::current();
        let start = move || {
            let _runtime = runtime.enter();
            old_kernel::refuse_offsets(error).unwrap();
            Proxy::start(config).unwrap()
        };
        // Workers have the filter of who starts them.
        let proxy = std::thread::spawn(start).join().unwrap();
        let moved = gets_mixed(&proxy).await;
        // Each response has five, of which the first part is read.
        let large = (LARGE - 16 * 1024) as u64;
        assert!((2 * 4 * large..2 * 5 * LARGE as u64).contains(&moved), "{error}: {moved}");
    }
}

#[tokio::test]
async fn chunks_too_small_to_be_moved_keep_none_of_those_behind_them_from_it() {
    let small = |count| std::iter::repeat_n(64, count);
    let large = |count| std::iter::repeat_n(64 * 1024, count);
    let turns = |between: usize| (0..64).flat_map(move |_| small(between).chain(large(1)));
    let table: [(&str, Vec<usize>); 4] = [
        ("in turn", turns(1).collect()),
        ("some between", turns(10).collect()),
        ("many first", small(10_000).chain(large(64)).collect()),
        ("many between", large(20).chain(small(10_000)).chain(large(44)).collect()),
    ];
    for (name, sizes) in table {
        let content = Content::default().chunks(sizes).then("0\r\n\r\n");
        let server = content.server().await;
        let proxy = proxy_for(&server);
        let (_, wire) = ask_once(&proxy, "").await;
        let (payload, trailers) = read_chunks(&wire);
        assert!(payload == content.payload, "{name}");
        assert_eq!(trailers.as_deref(), Some(""), "{name}");
        let (moved, all) = (counter(&proxy, "spliced_bytes_total"), 64 * 64 * 1024);
        assert!(moved > all / 2, "{name}: {moved} of {all}");
    }
}
