//! Clients and servers that do what a script says, the same here and with HAProxy, and what came of it.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use lb_proxy::{Config, Proxy};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{
    haproxy::HAProxy,
    peers::{http_config, read_message},
    rig::*,
};

/// What a peer does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(&'static str),
    /// Server: reads a whole request.
    Request,
    /// Server: reads a head without its content.
    Head,
    /// Reads so many bytes.
    Bytes(usize),
    /// Client: reads a response, with those that come before it (1xx).
    Response,
    /// Client: reads the response to a HEAD.
    HeadResponse,
    /// Client: reads an interim response and no more.
    Interim,
    /// Ends its side.
    Finish,
    /// Ends the connection. Server: with a reset. Client: the next step is done on a new one.
    Leave,
    /// Reads until the connection ends.
    End,
}

/// The scripts of a case: of the client, and of each connection to the server; the last one is that of all others, too.
pub(crate) struct Play {
    pub(crate) client: &'static [Step],
    pub(crate) server: &'static [&'static [Step]],
}

/// What the client got, an entry for each response or end; and what the server got, each with the number of its connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) client: Vec<String>,
    pub(crate) server: Vec<String>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// HAProxy, or we.
enum Front {
    Theirs(PathBuf),
    Ours(SocketAddr),
}

impl Front {
    async fn connect(&self) -> Box<dyn Stream> {
        match self {
            Self::Theirs(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            Self::Ours(address) => Box::new(TcpStream::connect(address).await.unwrap()),
        }
    }
}

/// A server that plays its part, and what it was sent.
struct Actor {
    server: Scripted,
    seen: Arc<Mutex<Vec<String>>>,
    /// Connections whose end it waits for.
    waits: Arc<AtomicUsize>,
}

impl Actor {
    async fn start(scripts: &'static [&'static [Step]]) -> Self {
        let (seen, waits) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let connections = AtomicUsize::new(0);
        let (recorded, waiting) = (Arc::clone(&seen), Arc::clone(&waits));
        let server = Scripted::start(move |stream| {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            let script = scripts[number.min(scripts.len() - 1)];
            serve(stream, script, number + 1, Arc::clone(&recorded), Arc::clone(&waiting))
        })
        .await;
        Self { server, seen, waits }
    }

    /// What the client behind `front` and this server see.
    async fn watch(&self, front: &Front, client: &[Step]) -> Seen {
        let client = play(front, client).await;
        eventually("the server's connection ends", || self.waits.load(Ordering::SeqCst) == 0).await;
        let mut server = self.seen.lock().unwrap().clone();
        // Who is first of two connections is chance.
        server.sort_by_key(|one| one.split(':').next().map(str::to_owned));
        Seen { client, server }
    }
}

/// A connection whose end its script waits for: what it saw is not whole before.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(waits: Arc<AtomicUsize>) -> Self {
        waits.fetch_add(1, Ordering::SeqCst);
        Self(waits)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &'static [Step],
    number: usize,
    seen: Arc<Mutex<Vec<String>>>,
    waits: Arc<AtomicUsize>,
) {
    let waiting = script.iter().any(|step| matches!(step, Step::End)).then(|| Waiting::new(waits));
    let record = |what: &str| seen.lock().unwrap().push(format!("{number}: {what}"));
    for step in script {
        match step {
            Step::Send(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
            Step::Request | Step::Head => {
                let read = if matches!(step, Step::Head) {
                    read_head(&mut stream).await
                } else {
                    read_message(&mut stream).await
                };
                let Some(request) = read else { return };
                record(&settled(&request));
            }
            Step::Bytes(count) => {
                let mut bytes = vec![0; *count];
                if stream.read_exact(&mut bytes).await.is_err() {
                    return;
                }
                record(&format!("{:?}", String::from_utf8_lossy(&bytes)));
            }
            Step::End => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                record(&format!("{:?} and its end", String::from_utf8_lossy(&rest)));
            }
            Step::Finish => drop(stream.shutdown().await),
            Step::Leave => {
                let _ = stream.set_zero_linger();
                return;
            }
            Step::Response | Step::HeadResponse | Step::Interim => panic!("{step:?} is for clients"),
        }
    }
    drop(waiting);
    // It stays as long as the proxy does.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

async fn play(front: &Front, script: &[Step]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut stream = front.connect().await;
    for step in script {
        match step {
            Step::Send(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
            Step::Finish => drop(stream.shutdown().await),
            Step::Leave => stream = front.connect().await,
            Step::End => {
                let mut rest = Vec::new();
                let ended = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("it never ends");
                // On a Unix socket there is no reset.
                seen.push(format!("{:?} and its end", String::from_utf8_lossy(&rest)));
                drop(ended);
            }
            Step::Response | Step::HeadResponse | Step::Interim => {
                let read = response(&mut stream, *step);
                seen.push(timeout(LONG, read).await.unwrap_or_else(|_| panic!("no response: {script:?}")));
            }
            Step::Bytes(count) => {
                let mut bytes = vec![0; *count];
                let read = timeout(LONG, stream.read_exact(&mut bytes)).await.expect("too little");
                let bytes = String::from_utf8_lossy(&bytes);
                seen.push(read.map_or_else(|_| "end".to_owned(), |_| format!("{bytes:?}")));
            }
            Step::Request | Step::Head => panic!("{step:?} is for servers"),
        }
    }
    seen
}

/// Statuses and content of the next response, and whether all of it came.
async fn response(stream: &mut (impl AsyncRead + Unpin), step: Step) -> String {
    let mut seen = String::new();
    loop {
        let Some(head) = read_head(stream).await else { return seen + "end" };
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        write!(seen, "{status} ").unwrap();
        if status.starts_with('1') && status != "101" {
            if matches!(step, Step::Interim) {
                return seen;
            }
            continue;
        }
        if status == "101" || matches!(step, Step::HeadResponse) || ["204", "304"].contains(&status.as_str())
        {
            return seen;
        }
        let (content, is_whole) = content(stream, &head.to_ascii_lowercase()).await;
        write!(seen, "{:?}", String::from_utf8_lossy(&content)).unwrap();
        // The words of an error page are not compared.
        if status.starts_with(['4', '5']) && content.starts_with(b"<html>") {
            seen = format!("{status} page");
        }
        if !is_whole {
            seen.push_str(" broken off");
        }
        return seen;
    }
}

/// The content of a response by its framing, and whether all of it came.
async fn content(stream: &mut (impl AsyncRead + Unpin), head: &str) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let Some(line) = line(stream).await else { return (content, false) };
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return (content, false) };
            if size == 0 {
                // Trailers, and the empty line.
                while let Some(line) = self::line(stream).await {
                    if line == "\r\n" {
                        return (content, true);
                    }
                }
                return (content, false);
            }
            for _ in 0..size {
                let Ok(byte) = stream.read_u8().await else { return (content, false) };
                content.push(byte);
            }
            if self::line(stream).await.as_deref() != Some("\r\n") {
                return (content, false);
            }
        }
    }
    let Some((_, rest)) = head.split_once("content-length: ") else {
        let ended = stream.read_to_end(&mut content).await;
        return (content, ended.is_ok());
    };
    let length: usize = rest.split("\r\n").next().unwrap().trim().parse().unwrap();
    while content.len() < length {
        let Ok(byte) = stream.read_u8().await else { return (content, false) };
        content.push(byte);
    }
    (content, true)
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    while !line.ends_with('\n') {
        line.push(char::from(stream.read_u8().await.ok()?));
    }
    Some(line)
}

/// A request without what says nothing: the order of its fields and the letters of their names.
pub(crate) fn settled(request: &str) -> String {
    let (head, content) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut fields: Vec<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            format!("{}: {}", name.to_ascii_lowercase(), value.trim())
        })
        .collect();
    fields.sort_unstable();
    format!("{first} | {} | {content:?}", fields.join(" | "))
}

/// Plays all of them with HAProxy and with us, each with a server of its own; `lines` are of HAProxy's sections, `change` is
/// the same for us. What HAProxy's peers saw, and ours.
pub(crate) async fn both(plays: &[Play], lines: &str, change: impl Fn(&mut Config)) -> Vec<[Seen; 2]> {
    let (mut actors, mut sections) = (Vec::new(), String::new());
    for (number, play) in plays.iter().enumerate() {
        let actor = Actor::start(play.server).await;
        let server = actor.server.address;
        write!(sections, "listen w{number}\n  bind unix@FOLDER/w{number}\n  timeout http-request 10s\n{lines}  server s1 {server}\n").unwrap();
        actors.push(actor);
    }
    let haproxy = HAProxy::start(&sections, "w0").await;
    let mut all = Vec::new();
    for (number, (play, theirs)) in plays.iter().zip(&actors).enumerate() {
        let ours = Actor::start(play.server).await;
        let mut config = http_config(&[ours.server.address]);
        change(&mut config);
        let proxy = Proxy::start(config).unwrap();
        let their = theirs.watch(&Front::Theirs(haproxy.socket(&format!("w{number}"))), play.client).await;
        all.push([their, ours.watch(&Front::Ours(address(&proxy)), play.client).await]);
    }
    all
}
