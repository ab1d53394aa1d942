//! Requests over a connection that is kept cost no allocation on their worker, and one that waits holds little. In a
//! process of its own: it counts with the process's allocator.
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(
    unsafe_code,
    reason = "an allocator that counts is an unsafe trait, and the name of a thread a system call"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use lb_proxy::{
    Config, Proxy,
    config::{
        AccessLog, Backend, BackendId, Bind, Capture, CapturedCookie, CapturedHeader, Compression, Frontend,
        LogDestination, LogFormat, LogTarget, Mode, Server, ServerTls, Sni, Statistics,
    },
    rules::{Action, Condition, PathPattern, Rule, Text},
    sample::{Names, Place, Stage, Template, Text as Becomes, VariableName},
};

#[path = "allocations/active.rs"]
mod active;
#[allow(dead_code, reason = "shared with the tests of TLS")]
#[path = "tls/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "shared with the tests of HTTP/2")]
#[path = "http2/frames.rs"]
mod frames;
#[path = "allocations/http2.rs"]
mod http2;
#[path = "allocations/keys.rs"]
mod keys;
#[allow(dead_code, reason = "shared with the tests of TLS")]
#[path = "tls/peer.rs"]
mod peer;
#[allow(dead_code, reason = "shared with the tests of the loopback")]
#[path = "loopback/rig.rs"]
mod rig;
#[allow(dead_code, reason = "shared with the tests of TLS")]
#[path = "tls/secured.rs"]
mod secured;
#[path = "allocations/sizes.rs"]
mod sizes;

/// Counts what the workers allocate, or all threads, while it is told to.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static COUNTS_ALL: AtomicBool = AtomicBool::new(false);
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
/// Bytes that were allocated and not freed since it began to count.
static HELD: AtomicIsize = AtomicIsize::new(0);
/// Allocations of as many bytes as a buffer has.
static OF_BUFFERS: AtomicUsize = AtomicUsize::new(0);

/// So many bytes more are held, after an allocation or without one.
fn note(allocations: usize, bytes: isize) {
    if COUNTS.load(Ordering::Relaxed) && (COUNTS_ALL.load(Ordering::Relaxed) || is_worker()) {
        ALLOCATED.fetch_add(allocations, Ordering::Relaxed);
        HELD.fetch_add(bytes, Ordering::Relaxed);
        OF_BUFFERS
            .fetch_add(usize::from(bytes == lb_proxy::buffer::BUFFER_SIZE.cast_signed()), Ordering::Relaxed);
    }
}

/// Asked of the kernel each time: nothing that allocates may be used here.
fn is_worker() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes to the address that it is given.
    let failed = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } != 0;
    !failed && name.starts_with(b"lbctl-worker-")
}

// SAFETY: every call is passed on to the system's allocator. All memory has zeros where nobody has written: what is given back is
// looked at, to its last byte.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block has so many bytes until it is passed on.
        keys::look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        note(1, size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        let block = unsafe { System.realloc(block, layout, size) };
        if !block.is_null() && size > layout.size() {
            // SAFETY: the block has `size` bytes now, and those behind the old ones are nobody's yet.
            unsafe { block.add(layout.size()).write_bytes(0, size - layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the same.
        keys::look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        note(0, -layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counter is the process's: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Reads up to the end of a head and `content` bytes behind it, or chunks. False at the end of the stream.
fn read_message(stream: &mut impl Read, buffer: &mut Vec<u8>, content: usize) -> bool {
    buffer.clear();
    let mut byte = [0; 1];
    while !buffer.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return false;
        }
        buffer.push(byte[0]);
    }
    if buffer.windows(9).any(|part| part == b": chunked") {
        while !buffer.ends_with(b"\r\n0\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return false;
            }
            buffer.push(byte[0]);
        }
        return true;
    }
    let end = buffer.len() + content;
    buffer.resize(end, 0);
    stream.read_exact(&mut buffer[end - content..]).is_ok()
}

/// Answers each request, which has `content` bytes of content, with `response`.
fn server(content: usize, response: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            let response = response.clone();
            thread::spawn(move || {
                let mut buffer = Vec::new();
                while read_message(&mut stream, &mut buffer, content) {
                    stream.write_all(&response).unwrap();
                }
            });
        }
    });
    address
}

fn config(server: SocketAddr, mode: Mode) -> Config {
    let binds = vec![Bind {
        label: "front:0".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        accept_proxy: None,
    }];
    let default_backend = Some(BackendId(0));
    Config {
        threads: NonZeroUsize::MIN,
        maxconn: 100,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        ticket_secret: None,
        log: Vec::new(),
        resolver: Default::default(),
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        frontends: vec![Frontend {
            forwardfor: true,
            default_backend,
            ..Frontend::new("front", mode, binds)
        }],
        backends: vec![Backend::new("back", mode, vec![Server::new("s1", server)])],
    }
}

/// The least that 100 exchanges over one connection allocated on the worker, of ten rounds after a first one. Not the sum:
/// the timer wheel makes room for a tick's deadlines, ten times a second, however many requests there are.
fn cost(request: &[u8], content: usize, response: &[u8], answer: usize) -> usize {
    cost_with(|_| {}, request, content, response, answer)
}

fn cost_with(
    change: impl FnOnce(&mut Config),
    request: &[u8],
    content: usize,
    response: &[u8],
    answer: usize,
) -> usize {
    cost_over(|stream| stream, change, request, content, response, answer)
}

/// Over what `wrap` makes of the client's connection.
fn cost_over<S: Read + Write>(
    wrap: impl FnOnce(TcpStream) -> S,
    change: impl FnOnce(&mut Config),
    request: &[u8],
    content: usize,
    response: &[u8],
    answer: usize,
) -> usize {
    let exchanges = |client: TcpStream| {
        let (mut client, mut buffer) = (wrap(client), Vec::new());
        move || {
            client.write_all(request).unwrap();
            assert!(read_message(&mut client, &mut buffer, answer), "the proxy ended the connection");
            assert!(buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&buffer));
        }
    };
    cost_of(exchanges, 1, change, content, response)
}

/// Of what `exchanges` makes of the client's connection: each call is so many requests.
fn cost_of<E: FnMut()>(
    exchanges: impl FnOnce(TcpStream) -> E,
    requests: u64,
    change: impl FnOnce(&mut Config),
    content: usize,
    response: &[u8],
) -> usize {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // For the proxy's control tasks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut config = config(server(content, response.to_vec()), Mode::Http);
    change(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let client = TcpStream::connect(proxy.status().frontends[0].binds[0].address.unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let mut exchange = exchanges(client);
    let mut round = || {
        ALLOCATED.store(0, Ordering::Relaxed);
        (0..100).for_each(|_| exchange());
        ALLOCATED.load(Ordering::Relaxed)
    };
    round();
    COUNTS.store(true, Ordering::Relaxed);
    let least = (0..10).map(|_| round()).min().unwrap();
    COUNTS.store(false, Ordering::Relaxed);
    assert_eq!(proxy.status().frontends[0].requests_total, 1_100 * requests);
    least
}

#[test]
fn requests_over_a_kept_connection_allocate_nothing() {
    let request = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(cost(request, 0, response, 2), 0);
}

/// Bytes of a form, and of the answer to it.
const CONTENT: usize = 40_000;

fn with_content() -> (Vec<u8>, Vec<u8>) {
    let mut request =
        format!("POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n").into_bytes();
    request.resize(request.len() + CONTENT, b'q');
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {CONTENT}\r\n\r\n").into_bytes();
    response.resize(response.len() + CONTENT, b'a');
    (request, response)
}

/// Records of TLS are sealed and opened in buffers that are borrowed, with both versions and in both directions.
#[test]
fn requests_over_tls_allocate_nothing() {
    let (request, response) = with_content();
    for version in peer::VERSIONS {
        let wrap = |socket| peer::over(socket, &peer::client(version), "a.example");
        let change = |config: &mut Config| {
            certificates::set(config, certificates::tls(certificates::certificate("a.example")));
        };
        assert_eq!(cost_over(wrap, change, &request, CONTENT, &response, CONTENT), 0, "{version:?}");
    }
}

/// Records of TLS towards a server, which is told whom each request asks for.
#[test]
fn requests_to_a_server_with_tls_allocate_nothing() {
    let (request, response) = with_content();
    let issuer = secured::Issuer::new();
    for version in peer::VERSIONS {
        let response = response.clone();
        let server = secured::Secured::start(issuer.issues(&["a.example"]).config(&[version]), move |peer| {
            let mut buffer = Vec::new();
            while read_message(peer, &mut buffer, CONTENT) {
                peer.write_all(&response).unwrap();
            }
        });
        let tls = ServerTls { sni: Sni::OfHost, ..issuer.trusted() };
        let change = |config: &mut Config| {
            let to = &mut config.backends[0].servers[0];
            (to.address, to.tls) = (server.address.into(), Some(Arc::new(tls)));
        };
        let request = request.strip_prefix(b"POST /form HTTP/1.1\r\nHost: a\r\n".as_slice()).unwrap();
        let request = [b"POST /form HTTP/1.1\r\nHost: a.example\r\n", request].concat();
        assert_eq!(cost_over(|stream| stream, change, &request, CONTENT, b"", CONTENT), 0, "{version:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_line_in_the_log_for_each_request_allocates_nothing() {
    let request = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = LogDestination::Udp(syslog.local_addr().unwrap());
    let log = AccessLog { targets: vec![LogTarget::new(to)], ..AccessLog::default() };
    assert_eq!(cost_with(|config| config.frontends[0].log = log, request, 0, response, 2), 0);
    let mut line = [0; 200];
    let length = syslog.recv(&mut line).unwrap();
    assert!(line[..length].ends_with(b" \"GET /index.html HTTP/1.1\"\n"));
}

#[test]
fn measuring_each_request_for_the_statistics_allocates_nothing() {
    let request = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let uri = "/haproxy-stats".to_owned();
    let statistics = Statistics { uri, allow: Vec::new(), users: None, is_public: false, metrics: None };
    let change = |config: &mut Config| config.frontends[0].statistics = Some(statistics);
    assert_eq!(cost_with(change, request, 0, response, 2), 0);
}

#[test]
fn captures_and_a_text_of_ones_own_in_the_log_allocate_nothing() {
    let request = b"GET /a?q=1 HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\nCookie: c=2\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-B: b\r\nSet-Cookie: c=3\r\n\r\nok";
    let header = |name: &str| vec![CapturedHeader { name: name.to_owned(), length: 64 }];
    let own = "{client.ip} [{log.date.clf}] {log.server.ip} {request.path} {request.header.accept|upper} \
        {response.header.x-b} {log.headers.request}{log.headers.response} {log.cookie.request} {log.cookie.response} \
        {log.status} {log.time.total} {log.termination}";
    let place = Place { stage: Stage::Response, backend: true, text: Becomes::Log, names: &Names::default() };
    let template = LogFormat::Template(Template::parse(own, &place).unwrap());
    let captured = "c=2 c=3 ---- 1/1/0/0/0 0/0 {www.example.com} {b} \"GET /a?q=1 HTTP/1.1\"\n";
    let told = "127.0.0.1 /a */* b {www.example.com}{b} c=2 c=3 200 ";
    for (format, expected) in [(LogFormat::Http, captured), (template, told)] {
        let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = LogDestination::Udp(syslog.local_addr().unwrap());
        let capture = Capture {
            request_headers: header("Host"),
            response_headers: header("X-B"),
            cookie: Some(CapturedCookie { name: "c".to_owned(), is_prefix: false, length: 64 }),
        };
        let log = AccessLog { targets: vec![LogTarget::new(to)], format, capture, ..AccessLog::default() };
        assert_eq!(cost_with(|config| config.frontends[0].log = log, request, 0, response, 2), 0);
        let mut line = [0; 500];
        let length = syslog.recv(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line[..length]);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn content_both_ways_allocates_nothing() {
    let (request, response) = with_content();
    assert_eq!(cost(&request, CONTENT, &response, CONTENT), 0);
}

#[test]
fn rules_that_keep_parts_of_a_request_for_its_response_allocate_nothing() {
    let mut names = Names::default();
    let variable = VariableName::parse("asked").unwrap();
    let id = names.declare(&variable, Stage::Request);
    let text = |source: &str, stage, becomes| {
        let place = Place { stage, backend: false, text: becomes, names: &names };
        Text::new(source, Template::parse(source, &place).unwrap())
    };
    let asked = text("{request.host}{request.path}", Stage::Request, Becomes::Plain);
    let said = text(
        "{request.method} {request.query.q} {request.header.accept} {request.cookie.c} {var.asked}",
        Stage::Response,
        Becomes::Field,
    );
    let rule = |when, action| vec![Rule { when, then: vec![action] }];
    let path = Condition::Path(vec![PathPattern::Prefix("/a".into())]);
    let change = |config: &mut Config| {
        let frontend = &mut config.frontends[0];
        frontend.rules = rule(Condition::ALWAYS, Action::SetVariable(variable, id, asked));
        frontend.response_rules = rule(path, Action::SetHeader("X-Said".into(), said));
    };
    let request = b"GET /a?q=1 HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\nCookie: c=2\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(cost_with(change, request, 0, response, 2), 0);
}

/// Compressors are borrowed from the worker.
#[test]
fn compressed_content_allocates_nothing() {
    const CONTENT: usize = 3_000;
    let change = |config: &mut Config| config.frontends[0].compression = Some(Compression::default());
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {CONTENT}\r\n\r\n");
    let mut response = head.into_bytes();
    response.extend((0..CONTENT).map(|at| b"<p>abcdef</p>"[at % 13]));
    assert_eq!(cost_with(change, request, 0, &response, 0), 0);
}

/// How many bytes each of many connections holds that were opened by `open`, once it holds no more than `most`, or
/// after a while. Not at once: the last of them may have its answer and not be at rest yet.
fn held(mode: Mode, most: isize, open: impl Fn(SocketAddr) -> TcpStream) -> isize {
    const CONNECTIONS: isize = 200;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut config = config(server(0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()), mode);
    config.maxconn = 1_000;
    let proxy = Proxy::start(config).unwrap();
    let front = proxy.status().frontends[0].binds[0].address.unwrap();
    // What the worker keeps for all of them.
    let _first = open(front);
    // That of the proxy before this one may still give back what it held.
    while workers() > 1 {
        thread::yield_now();
    }
    HELD.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    let open: Vec<TcpStream> = (0..CONNECTIONS).map(|_| open(front)).collect();
    let each = at_most(most, || HELD.load(Ordering::Relaxed) / CONNECTIONS);
    COUNTS.store(false, Ordering::Relaxed);
    drop(open);
    each
}

/// What is held, once it is no more than `most`, or after a while.
fn at_most(most: isize, held: impl Fn() -> isize) -> isize {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let held = held();
        if held <= most || Instant::now() > patience {
            return held;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn workers() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lbctl-worker-")).count()
}

fn exchange(front: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(front).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n").unwrap();
    assert!(read_message(&mut client, &mut Vec::new(), 2));
    client
}

/// What an exchange needs is lent to a connection for as long as one lasts.
#[test]
fn connection_that_waits_for_its_next_request_holds_little() {
    const MOST: isize = 1_300;
    let each = held(Mode::Http, MOST, exchange);
    assert!(each <= MOST, "{each} bytes");
    // Less than its parts can't be: it was looked at.
    assert!(each > 500, "{each} bytes");
}

/// With its connection to the server.
#[test]
fn silent_tcp_connection_holds_little() {
    const MOST: isize = 3_000;
    let each = held(Mode::Tcp, MOST, exchange);
    assert!(each <= MOST, "{each} bytes");
    assert!(each > 500, "{each} bytes");
}

/// Each configuration has other names, so that nothing of one goes on under the next but the listener and its connections.
#[test]
fn two_hundred_reloads_leave_no_more_behind_than_fifty() {
    const RELOADS: isize = 150;
    // The three names alone are more, each reload. tokio frees what it has for sockets that are closed in batches, which
    // makes a difference of 10 kB.
    const MOST: isize = RELOADS * 128;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut config =
        config(server(0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()), Mode::Http);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = exchange(proxy.status().frontends[0].binds[0].address.unwrap());
    let mut reload = |number: isize| {
        let name =
            |what: &str| format!("{what}-of-configuration-{number:04}-with-a-name-that-is-rather-long");
        config.frontends[0].name = name("frontend");
        config.backends[0].name = name("backend");
        config.backends[0].servers[0].name = name("server");
        runtime.block_on(proxy.reload(config.clone())).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n").unwrap();
        assert!(read_message(&mut client, &mut Vec::new(), 2));
    };
    // The least of several: whoever is still giving something back only makes it more.
    let mut least = |reloads: Range<isize>| {
        let held = reloads.map(|number| {
            reload(number);
            while proxy.status().old_generations > 0 {
                runtime.block_on(tokio::task::yield_now());
            }
            runtime.block_on(tokio::time::sleep(Duration::from_millis(2)));
            HELD.load(Ordering::Relaxed)
        });
        held.min().unwrap()
    };
    COUNTS_ALL.store(true, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    least(0..30);
    let before = least(30..50);
    least(50..RELOADS + 30);
    let more = least(RELOADS + 30..RELOADS + 50) - before;
    COUNTS.store(false, Ordering::Relaxed);
    COUNTS_ALL.store(false, Ordering::Relaxed);
    assert!(more <= MOST, "{more} bytes after {RELOADS} reloads more");
}

/// A request for which the worker does allocate: that this is seen shows that the others are.
#[test]
fn a_new_connection_to_the_server_for_each_request_is_counted() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    assert!(cost(request, 0, response, 2) >= 100);
}
