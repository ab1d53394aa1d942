//! Raw HTTP peers: what was sent is what is looked at.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use lb_proxy::{Config, Proxy, config::Mode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

pub(crate) use crate::rig::read_head;
use crate::rig::{LONG, Scripted, config};

/// One worker, so that one idle connection is the one that the next request finds.
pub(crate) fn http_config(servers: &[SocketAddr]) -> Config {
    let mut config = config(Mode::Http, servers);
    config.threads = NonZeroUsize::MIN;
    config
}

/// A running proxy in front of `server`.
pub(crate) fn proxy_for(server: &Scripted) -> Proxy {
    Proxy::start(http_config(&[server.address])).unwrap()
}

/// A server that answers every request with `OK`, and tells of each connection when it has ended.
pub(crate) async fn telling_of_ends() -> (Scripted, UnboundedReceiver<()>) {
    let (closed, ended) = unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            while read_message(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            closed.send(()).unwrap();
        }
    })
    .await;
    (server, ended)
}

/// A server that answers every request with the same bytes, and what it was sent.
pub(crate) struct Recording {
    pub(crate) server: Scripted,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    pub(crate) async fn answering(response: &'static str) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        let server = Scripted::start(move |mut stream| {
            let recorded = Arc::clone(&recorded);
            async move {
                while let Some(request) = read_message(&mut stream).await {
                    recorded.lock().unwrap().push(request);
                    if stream.write_all(response.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        })
        .await;
        Self { server, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A whole message: its head, then content by Content-Length or chunks. `None` at the end of the stream; what came of a
/// message that was not whole is lost.
pub(crate) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut message = read_head(stream).await?;
    let head = message.to_ascii_lowercase();
    let length =
        head.split_once("content-length: ").map(|(_, rest)| rest.split("\r\n").next().unwrap().to_owned());
    if let Some(length) = length {
        let mut content = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut content).await.ok()?;
        message.push_str(&String::from_utf8_lossy(&content));
    } else if head.contains("transfer-encoding: chunked") {
        while !(message.ends_with("\r\n0\r\n\r\n")) {
            message.push(char::from(stream.read_u8().await.ok()?));
        }
    }
    Some(message)
}

/// Sends `request` and reads the whole response.
pub(crate) async fn ask(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).await.unwrap();
    answer(client).await
}

/// Asserts that `answer` is one of our own with this status, whole: its fields, its page, and whether it says that the
/// connection ends.
#[track_caller]
pub(crate) fn assert_own(answer: &str, status: &str, closes: bool) {
    let (head, page) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer}"));
    let mut lines: Vec<_> = head.split("\r\n").collect();
    lines.sort_unstable();
    let first = format!("HTTP/1.1 {status}");
    let length = format!("Content-Length: {}", page.len());
    let mut expected = vec!["Cache-Control: no-cache", "Content-Type: text/html", &length, &first];
    expected.extend(closes.then_some("Connection: close"));
    expected.sort_unstable();
    assert_eq!(lines, expected, "{answer}");
    assert!(page.starts_with(&format!("<html><body><h1>{status}</h1>\n")), "{answer}");
    assert!(page.ends_with("</body></html>\n"), "{answer}");
}

/// The next whole response.
pub(crate) async fn answer(client: &mut TcpStream) -> String {
    timeout(LONG, read_message(client)).await.expect("no response in time").expect("no whole response")
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
