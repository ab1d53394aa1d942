//! What is counted: the same traffic through both, then the columns of HAProxy's statistics that have to agree. Each case
//! has a frontend and a backend of its own; bytes are not compared, since HAProxy counts heads in a form of its own.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{Backend, BackendId, Bind, Frontend, Mode, Server},
    rules::{Action, Condition, Rule},
    status::Traffic,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{haproxy::HAProxy, rig::*};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HALF: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx";
const LARGE: usize = 8 << 20;

/// What a client does.
#[derive(Clone, Copy)]
pub(crate) enum Client {
    /// Sends this, ends its side, and reads to the end.
    Says(&'static str),
    /// Sends this, reads a little, and goes away.
    Leaves(&'static str),
    /// Sends this, reads a response, and goes away.
    LeavesAnswered(&'static str),
    /// So many at a time, each as [`Self::Says`].
    Crowd(usize, &'static str),
}
use Client::{Crowd, Leaves, LeavesAnswered, Says};

/// What a server is.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Answers each request with this.
    Answers(&'static str),
    /// The same, after 100 ms.
    AnswersLate(&'static str),
    /// Answers with [`LARGE`] bytes.
    IsLarge,
    /// Answers with this and ends.
    Ends(&'static str),
    /// Says nothing.
    IsSilent,
    /// Answers with this, and says nothing more.
    StandsStill(&'static str),
    /// Refuses connections.
    Refuses,
    /// Sends back what it gets (mode tcp).
    Echoes,
}
use Behaviour::{Answers, AnswersLate, Echoes, Ends, IsLarge, IsSilent, Refuses, StandsStill};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) client: Client,
    servers: &'static [Behaviour],
    retries: u32,
    /// Of each server.
    maxconn: Option<u32>,
    deny: Option<Deny>,
    probes: bool,
}

/// What a rule refuses.
enum Deny {
    Request,
    /// One of the backend.
    RequestInBackend,
    Response,
}

impl Case {
    const fn new(name: &'static str, client: Client, servers: &'static [Behaviour]) -> Self {
        let mode = Mode::Http;
        Self { name, mode, client, servers, retries: 0, maxconn: None, deny: None, probes: false }
    }

    /// Short only where it has to come to that.
    fn timeout_server(&self) -> Duration {
        if self.is_silent() { Duration::from_millis(400) } else { LONG }
    }

    fn timeout_queue(&self) -> Duration {
        if self.is_silent() { Duration::from_millis(250) } else { LONG }
    }

    fn is_silent(&self) -> bool {
        self.servers.iter().any(|server| matches!(server, IsSilent | StandsStill(_)))
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) const CASES: &[Case] = &[
    Case::new(
        "three_requests",
        Says(
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        ),
        &[Answers(OK)],
    ),
    Case::new("missing", Says(GET), &[Answers("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")]),
    Case::new("error", Says(GET), &[Answers("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")]),
    Case::new("moved", Says(GET), &[Answers("HTTP/1.1 301 There\r\nContent-Length: 0\r\n\r\n")]),
    Case::new("crowd", Crowd(3, GET), &[AnswersLate(OK)]),
    Case::new("malformed", Says("BAD\r\n\r\n"), &[Answers(OK)]),
    Case::new("half_a_head", Says("GET / HT"), &[Answers(OK)]),
    Case { probes: true, ..Case::new("nothing", Says(""), &[Answers(OK)]) },
    Case { deny: Some(Deny::Request), ..Case::new("denied", Says(GET), &[Answers(OK)]) },
    Case { deny: Some(Deny::RequestInBackend), ..Case::new("denied_in_backend", Says(GET), &[Answers(OK)]) },
    Case { deny: Some(Deny::Response), ..Case::new("denied_response", Says(GET), &[Answers(OK)]) },
    Case::new("nowhere", Says(GET), &[]),
    Case::new("refused", Says(GET), &[Refuses]),
    Case { retries: 1, ..Case::new("refused_again", Says(GET), &[Refuses]) },
    Case { retries: 1, ..Case::new("the_other_one", Crowd(1, GET), &[Refuses, Answers(OK)]) },
    Case::new("ends_at_once", Says(GET), &[Ends("")]),
    Case::new("junk", Says(GET), &[Ends("what?\r\n\r\n")]),
    Case::new("ends_early", Says(GET), &[Ends("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")]),
    Case::new("silent", Says(GET), &[IsSilent]),
    Case::new("stands_still", Says(GET), &[StandsStill("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")]),
    Case::new("client_leaves", Leaves(GET), &[IsLarge]),
    Case::new(
        "answered_early",
        LeavesAnswered(HALF),
        &[Answers("HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n")],
    ),
    Case { maxconn: Some(1), ..Case::new("in_line", Crowd(3, GET), &[AnswersLate(OK)]) },
    Case { maxconn: Some(1), ..Case::new("in_line_for_too_long", Crowd(2, GET), &[IsSilent]) },
    Case { mode: Mode::Tcp, ..Case::new("tcp", Says("hello"), &[Echoes]) },
    Case { mode: Mode::Tcp, ..Case::new("tcp_refused", Says("hello"), &[Refuses]) },
];

async fn server(behaviour: Behaviour) -> Scripted {
    Scripted::start(move |mut stream| async move {
        match behaviour {
            Echoes => {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
            IsSilent => {
                let mut nothing = Vec::new();
                let _ = stream.read_to_end(&mut nothing).await;
            }
            StandsStill(text) => {
                let _ = read_request(&mut stream).await;
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            Ends(text) => {
                let _ = read_request(&mut stream).await;
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Answers(text) | AnswersLate(text) => {
                while read_request(&mut stream).await.is_some() {
                    if matches!(behaviour, AnswersLate(_)) {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
            IsLarge => {
                let _ = read_request(&mut stream).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&vec![b'x'; LARGE]).await;
            }
            Refuses => {}
        }
    })
    .await
}

async fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    if head.starts_with(b"POST") {
        stream.read_u8().await.ok()?;
    }
    Some(())
}

pub(crate) async fn play<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, client: Client) {
    let play = async {
        match client {
            Says(text) | Crowd(_, text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                // The end of a request may be taken for a client that has given up.
                if !text.starts_with("GET / HTTP") {
                    let _ = stream.shutdown().await;
                }
                let mut answer = Vec::new();
                if text == GET {
                    read_response(&mut stream, &mut answer).await;
                } else {
                    while answer.windows(8).filter(|bytes| bytes == b"HTTP/1.1").count() < 3 {
                        if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                            break;
                        }
                    }
                }
            }
            LeavesAnswered(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                read_response(&mut stream, &mut Vec::new()).await;
            }
            Leaves(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.read_exact(&mut vec![0; 100_000]).await;
            }
        }
    };
    timeout(LONG, play).await.expect("the proxy never answers");
}

/// A head and as much content as it says.
async fn read_response(stream: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>) {
    loop {
        let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
        if let Some((head, content)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_none_or(|length| content.len() >= length.trim().parse().unwrap()) {
                return;
            }
        }
        if stream.read_buf(answer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

pub(crate) fn haproxy_sections(servers: &[Vec<SocketAddr>]) -> String {
    let mut sections = "frontend stats\n  bind unix@FOLDER/stats\n  stats uri /\n".to_owned();
    for (case, servers) in CASES.iter().zip(servers) {
        let name = case.name;
        let mode = if case.mode == Mode::Tcp { "tcp" } else { "http" };
        sections += &format!(
            "frontend f_{name}\n  mode {mode}\n  bind unix@FOLDER/{name}\n  default_backend b_{name}\n  {}\n",
            match case.deny {
                None | Some(Deny::RequestInBackend) => "",
                Some(Deny::Request) => "http-request deny",
                Some(Deny::Response) => "http-response deny",
            }
        );
        sections += &format!(
            "backend b_{name}\n  mode {mode}\n  option redispatch 1\n  retries {}\n  timeout server {}ms\n  timeout queue {}ms\n",
            case.retries,
            case.timeout_server().as_millis(),
            case.timeout_queue().as_millis()
        );
        if let Some(Deny::RequestInBackend) = case.deny {
            sections += "  http-request deny\n";
        }
        for (index, server) in servers.iter().enumerate() {
            let maxconn = case.maxconn.map(|maxconn| format!("maxconn {maxconn}")).unwrap_or_default();
            sections += &format!("  server s{index} {server} {maxconn}\n");
        }
    }
    sections
}

pub(crate) fn our_config(servers: &[Vec<SocketAddr>]) -> Config {
    let mut all = config(Mode::Http, &[]);
    // HAProxy has one thread here as well.
    all.threads = std::num::NonZeroUsize::MIN;
    all.frontends.clear();
    all.backends.clear();
    for (index, (case, addresses)) in CASES.iter().zip(servers).enumerate() {
        let server = |(index, &address): (usize, &SocketAddr)| Server {
            maxconn: case.maxconn,
            ..Server::new(format!("s{index}"), address)
        };
        let mut backend =
            Backend::new(case.name, case.mode, addresses.iter().enumerate().map(server).collect());
        backend.retries = case.retries;
        backend.timeout.server = case.timeout_server();
        backend.timeout.queue = case.timeout_queue();
        backend.timeout.connect = Duration::from_secs(5);
        let deny = |status| vec![Rule { when: Condition::All(Vec::new()), then: vec![Action::Deny(status)] }];
        if let Some(Deny::RequestInBackend) = case.deny {
            backend.rules = deny(403);
        }
        all.backends.push(backend);
        let mut frontend = Frontend::new(
            case.name,
            case.mode,
            vec![Bind { label: String::new(), address: ANY, accept_proxy: None }],
        );
        frontend.default_backend = Some(BackendId(index));
        frontend.options.ignore_probes = !case.probes;
        match case.deny {
            None | Some(Deny::RequestInBackend) => {}
            Some(Deny::Request) => frontend.rules = deny(403),
            Some(Deny::Response) => frontend.response_rules = deny(502),
        }
        all.frontends.push(frontend);
    }
    all
}

/// By row and column.
type Counts = BTreeMap<String, u64>;

const COLUMNS: [&str; 20] = [
    "smax",
    "stot",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "lbtot",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "cli_abrt",
    "srv_abrt",
    "qmax",
    "req_tot",
];

async fn haproxy_counts(haproxy: &HAProxy) -> Counts {
    let mut stream = UnixStream::connect(haproxy.socket("stats")).await.unwrap();
    stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let mut lines = text.split_once("# ").unwrap().1.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    let mut counts = Counts::new();
    for line in lines {
        let cells: Vec<_> = line.split(',').collect();
        if cells.len() < 60 || cells[0] == "stats" {
            continue;
        }
        for (name, cell) in names.iter().zip(&cells) {
            if COLUMNS.contains(name) && !cell.is_empty() {
                counts.insert(format!("{}/{} {name}", &cells[0][2..], cells[1]), cell.parse().unwrap());
            }
        }
    }
    counts
}

fn our_counts(proxy: &Proxy) -> Counts {
    let status = proxy.status();
    let mut counts = Counts::new();
    for found in &status.frontends {
        let mut put =
            |name: &str, value: u64| counts.insert(format!("{}/FRONTEND {name}", found.name), value);
        let event = |name| found.counters.iter().find(|(counter, _)| *counter == name).unwrap().1;
        put("smax", found.connections_peak);
        put("stot", found.connections_total);
        put("dreq", event("denied_total"));
        put("dresp", event("denied_responses_total"));
        put("ereq", found.request_errors);
        if found.mode == Mode::Http {
            put("req_tot", found.requests_total);
            put_responses(&found.responses, &mut put);
        } else {
            put("req_tot", 0);
        }
    }
    for backend in &status.backends {
        let mut put_all = |row: &str, traffic: &Traffic| {
            let mut put = |name: &str, value| counts.insert(format!("{}/{row} {name}", backend.name), value);
            put("smax", traffic.peak);
            put("stot", traffic.sessions_total);
            put("dresp", traffic.denied_responses);
            put("econ", traffic.connect_failures);
            put("eresp", traffic.response_errors);
            put("wretr", traffic.retries);
            put("wredis", traffic.redispatches);
            put("lbtot", traffic.balanced_total);
            put("cli_abrt", traffic.client_aborts);
            put("srv_abrt", traffic.server_aborts);
            put("qmax", traffic.queued_peak);
            if backend.mode == Mode::Http {
                put("req_tot", traffic.responses.iter().sum());
                put_responses(&traffic.responses, &mut put);
            }
            if row == "BACKEND" {
                put("dreq", traffic.denied_requests);
            }
        };
        put_all("BACKEND", &backend.traffic);
        for server in &backend.servers {
            put_all(&server.name, &server.traffic);
        }
    }
    counts
}

fn put_responses(responses: &[u64; 6], put: &mut impl FnMut(&str, u64) -> Option<u64>) {
    for (name, value) in ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(responses) {
        put(&format!("hrsp_{name}"), *value);
    }
}

/// Those of all cases.
pub(crate) struct Servers {
    /// By case.
    pub(crate) addresses: Vec<Vec<SocketAddr>>,
    _scripted: Vec<Scripted>,
    _refusing: Vec<Refusing>,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let (mut scripted, mut refusing, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for case in CASES {
            let mut of_case = Vec::new();
            for &behaviour in case.servers {
                if let Refuses = behaviour {
                    let server = Refusing::new();
                    of_case.push(server.address);
                    refusing.push(server);
                } else {
                    let server = server(behaviour).await;
                    of_case.push(server.address);
                    scripted.push(server);
                }
            }
            addresses.push(of_case);
        }
        Self { addresses, _scripted: scripted, _refusing: refusing }
    }
}

#[tokio::test]
async fn both_count_the_same() {
    let Servers { addresses, .. } = &Servers::start().await;
    let haproxy = HAProxy::start(&haproxy_sections(addresses), "stats").await;
    let proxy = Proxy::start(our_config(addresses)).unwrap();
    for (index, case) in CASES.iter().enumerate() {
        let count = if let Crowd(count, _) = case.client { count } else { 1 };
        let ours = proxy.status().frontends[index].binds[0].address.unwrap();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..count {
            let socket = haproxy.socket(case.name);
            let client = case.client;
            clients.spawn(async move { play(UnixStream::connect(socket).await.unwrap(), client).await });
            clients.spawn(async move { play(TcpStream::connect(ours).await.unwrap(), client).await });
        }
        clients.join_all().await;
    }
    let (mut theirs, mut ours) = (Counts::new(), Counts::new());
    // What ends on the way is counted a little later.
    for _ in 0..1000 {
        (theirs, ours) = (haproxy_counts(&haproxy).await, our_counts(&proxy));
        if differences(&theirs, &ours).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("HAProxy, we:\n{}\n", differences(&theirs, &ours).join("\n"));
}

fn differences(theirs: &Counts, ours: &Counts) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    names
        .into_iter()
        .map(|name| (name, theirs.get(name), ours.get(name)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .map(|(name, theirs, ours)| format!("{name}: {theirs:?}, {ours:?}"))
        .collect()
}
