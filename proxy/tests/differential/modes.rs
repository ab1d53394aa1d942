//! What becomes of connections: close modes and who may use an idle connection to a server, in HAProxy's words.

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
};

use lb_proxy::{
    Config, Proxy,
    config::{
        Backend, BackendId, Bind,
        ConnectionMode::{self, Close, KeepAlive, ServerClose},
        Frontend, Mode,
        ReuseMode::{self, Aggressive, Always, Never, Safe},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{haproxy::HAProxy, rig::*};

/// A server that answers every request with `response`, and the heads that it got.
struct Recording {
    server: Scripted,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    async fn start(response: &'static str) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&heads);
        let server = Scripted::start(move |mut stream| {
            let heads = Arc::clone(&recorded);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    let has_content = head.to_ascii_lowercase().contains("content-length: 1\r\n");
                    heads.lock().unwrap().push(head);
                    if has_content {
                        read_n(&mut stream, 1).await;
                    }
                    if stream.write_all(response.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        })
        .await;
        Self { server, heads }
    }
}

/// Both, each with a frontend and a backend for each case, and with servers of their own.
struct Pair {
    haproxy: HAProxy,
    proxy: Proxy,
    theirs: Vec<Recording>,
    ours: Vec<Recording>,
}

impl Pair {
    /// `options` are lines of HAProxy's frontend and backend, and ours.
    async fn start(
        response: &'static str,
        options: impl Iterator<Item = ([&'static str; 2], ConnectionMode, ConnectionMode, ReuseMode)>,
    ) -> Self {
        let (mut theirs, mut ours, mut sections) = (Vec::new(), Vec::new(), String::new());
        let mut config = config(Mode::Http, &[]);
        config.threads = 1.try_into().unwrap();
        let (mut frontends, mut backends) = (Vec::new(), Vec::new());
        for (index, (lines, of_frontend, of_backend, reuse)) in options.enumerate() {
            let (their, our) = (Recording::start(response).await, Recording::start(response).await);
            let [frontend, backend] = lines.map(|line| format!("  {line}\n"));
            write!(
                sections,
                "frontend f{index}\n  bind unix@FOLDER/f{index}\n{frontend}  default_backend b{index}\n\
                 backend b{index}\n{backend}  server s1 {}\n",
                their.server.address
            )
            .unwrap();
            let bind = vec![Bind { label: "front:0".to_owned(), ..config.frontends[0].binds[0].clone() }];
            let mut one = Frontend::new(format!("f{index}"), Mode::Http, bind);
            one.options.connection = of_frontend;
            one.default_backend = Some(BackendId(index));
            frontends.push(one);
            let server = lb_proxy::config::Server::new("s1", our.server.address);
            let mut one = Backend::new(format!("b{index}"), Mode::Http, vec![server]);
            one.options.connection = of_backend;
            one.options.pool.reuse = reuse;
            backends.push(one);
            theirs.push(their);
            ours.push(our);
        }
        let config = Config { frontends, backends, ..config };
        let haproxy = HAProxy::start(&sections, "f0").await;
        Self { haproxy, proxy: Proxy::start(config).unwrap(), theirs, ours }
    }

    async fn their(&self, case: usize) -> UnixStream {
        UnixStream::connect(self.haproxy.socket(&format!("f{case}"))).await.unwrap()
    }

    /// Does another client of ours get the server's connection of the first one?
    async fn reuses(&self, case: usize) -> bool {
        ask(&mut self.our(case).await, GET).await.is_some() && self.ours[case].server.accepted() == 1
    }

    async fn our(&self, case: usize) -> TcpStream {
        TcpStream::connect(self.proxy.status().frontends[case].binds[0].address.unwrap()).await.unwrap()
    }
}

fn says_close(head: &str) -> bool {
    head.lines().any(|line| line.to_ascii_lowercase().starts_with("connection: close"))
}

/// The head of the response to `request`; `None` if the connection ends.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).await.ok()?;
    let head = timeout(LONG, read_head(stream)).await.expect("no answer")?;
    read_content(stream, &head).await;
    Some(head)
}

async fn read_content(stream: &mut (impl AsyncRead + Unpin), head: &str) {
    use tokio::io::AsyncReadExt;
    if head.to_ascii_lowercase().contains("content-length: 2\r\n") {
        stream.read_exact(&mut [0; 2]).await.unwrap();
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What two requests of one client come to.
#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    /// It is told that its connection ends.
    client_is_told: bool,
    client_stays: bool,
    server_is_told: bool,
    server_stays: bool,
}

async fn outcome(mut client: impl AsyncRead + AsyncWrite + Unpin, server: &Recording) -> Outcome {
    let first = ask(&mut client, GET).await.expect("an answer");
    let client_stays = ask(&mut client, GET).await.is_some();
    drop(client);
    let told = says_close(&server.heads.lock().unwrap()[0]);
    Outcome {
        client_is_told: says_close(&first),
        client_stays,
        server_is_told: told,
        server_stays: client_stays && server.server.accepted() == 1,
    }
}

#[tokio::test]
async fn close_modes_end_the_connections_that_haproxys_end() {
    let cases = [
        (["", ""], KeepAlive, KeepAlive),
        (["option httpclose", ""], Close, KeepAlive),
        (["", "option httpclose"], KeepAlive, Close),
        (["option httpclose", "option httpclose"], Close, Close),
        (["option http-server-close", ""], ServerClose, KeepAlive),
        (["", "option http-server-close"], KeepAlive, ServerClose),
        (["option httpclose", "option http-server-close"], Close, ServerClose),
        (["option http-server-close", "option httpclose"], ServerClose, Close),
    ];
    let options = cases.map(|(lines, frontend, backend)| (lines, frontend, backend, Safe));
    let pair = Pair::start(OK, options.into_iter()).await;
    let mut failures = String::new();
    for (case, (lines, ..)) in cases.iter().enumerate() {
        let theirs = outcome(pair.their(case).await, &pair.theirs[case]).await;
        let mut ours = outcome(pair.our(case).await, &pair.ours[case]).await;
        // Here a frontend that closes its clients' connections keeps those of the servers.
        if lines == &["option httpclose", ""] {
            assert!(!ours.server_is_told && pair.reuses(case).await, "{lines:?}");
            ours.server_is_told = true;
        }
        if theirs != ours {
            writeln!(failures, "{lines:?}:\n  HAProxy {theirs:?}\n  ours    {ours:?}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Connections that the server saw after each request: a GET and a POST of one client, a GET of another, a POST of a third.
async fn connections<S: AsyncRead + AsyncWrite + Unpin>(
    connect: impl AsyncFn() -> S,
    server: &Recording,
) -> [usize; 4] {
    let mut seen = [0; 4];
    let mut first = connect().await;
    for (at, request) in [GET, POST].into_iter().enumerate() {
        ask(&mut first, request).await.expect("an answer");
        seen[at] = server.server.accepted();
    }
    for (at, request) in [GET, POST].into_iter().enumerate() {
        ask(&mut connect().await, request).await.expect("an answer");
        seen[at + 2] = server.server.accepted();
    }
    seen
}

#[tokio::test]
async fn idle_connections_go_to_whom_haproxy_gives_them_but_where_a_request_can_be_repeated() {
    let cases = [
        ("http-reuse never", Never, None),
        // Here a first request that can be sent again takes a used connection as well.
        ("http-reuse safe", Safe, Some([1, 1, 1, 2])),
        ("http-reuse aggressive", Aggressive, None),
        ("http-reuse always", Always, None),
    ];
    let options = cases.map(|(line, reuse, _)| (["", line], KeepAlive, KeepAlive, reuse));
    let pair = Pair::start(OK, options.into_iter()).await;
    for (case, (line, _, differs)) in cases.into_iter().enumerate() {
        let theirs = connections(async || pair.their(case).await, &pair.theirs[case]).await;
        let ours = connections(async || pair.our(case).await, &pair.ours[case]).await;
        assert_eq!(ours, differs.unwrap_or(theirs), "{line}: HAProxy {theirs:?}");
        assert!(differs != Some(theirs), "{line} is the same");
    }
}

/// The request and the response of the client whose connection the server may know from then on.
#[tokio::test]
async fn connection_that_a_server_authenticates_is_nobody_elses() {
    const NTLM: &str = "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nno";
    const NEGOTIATE: &str = "HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 2\r\n\r\nno";
    const BASIC: &str =
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 2\r\n\r\nno";
    for (response, expected) in [(NTLM, 2), (NEGOTIATE, 2), (BASIC, 1)] {
        let options = [(["", "http-reuse always"], KeepAlive, KeepAlive, Always)];
        let pair = Pair::start(response, options.into_iter()).await;
        let (mut their, mut our) = (pair.their(0).await, pair.our(0).await);
        for _ in 0..2 {
            ask(&mut their, GET).await.expect("an answer");
            ask(&mut our, GET).await.expect("an answer");
        }
        ask(&mut pair.their(0).await, GET).await.expect("an answer");
        ask(&mut pair.our(0).await, GET).await.expect("an answer");
        let seen = [&pair.theirs[0], &pair.ours[0]].map(|one| one.server.accepted());
        assert_eq!(seen, [expected; 2], "{response}");
    }
}
