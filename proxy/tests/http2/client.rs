//! A client that writes frames by hand, and servers that keep what they receive.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use lb_proxy::{
    Config, Proxy,
    config::{Alpn, Mode, Tls},
    http2::hpack::Decoder,
};
use rustls::version::TLS13;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{certificates, frames::*, peer, rig, rig::Scripted};

/// Marks where an answer to all that was sent has to be.
const MARK: &[u8; 8] = b"so far..";

/// Whatever bytes travel on.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

pub(crate) struct Client {
    wire: Box<dyn Wire>,
    bytes: Vec<u8>,
    decoder: Decoder,
    /// Frames that were read while others were awaited.
    before: VecDeque<Frame>,
}

/// An answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Interim heads, each as its fields.
    pub(crate) interim: Vec<Vec<(String, String)>>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// RST_STREAM behind or instead of it.
    pub(crate) reset: Option<u32>,
}

impl Answer {
    pub(crate) fn status(&self) -> &str {
        self.field(":status").unwrap_or("none")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

impl Client {
    /// Without TLS, and nothing is sent yet.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(rig::LONG)).unwrap();
        Self::over(socket)
    }

    pub(crate) fn silent_over_tls(address: SocketAddr) -> Self {
        let mut config = (*peer::client(&TLS13)).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self::over(peer::connect(address, &Arc::new(config), "a.example"))
    }

    pub(crate) fn over(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), bytes: Vec::new(), decoder: Decoder::default(), before: VecDeque::new() }
    }

    /// With the preface and SETTINGS.
    pub(crate) fn begun(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        client.begin();
        client
    }

    pub(crate) fn begin(&mut self) {
        self.send(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // A connection that was refused in the middle of them is found out by reading.
        let _ = self.wire.write_all(bytes);
        let _ = self.wire.flush();
    }

    /// The next frame; `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        if let Some(frame) = self.before.pop_front() {
            return Some(frame);
        }
        loop {
            if let Some((frame, length)) = Frame::read(&self.bytes) {
                self.bytes.drain(..length);
                return Some(frame);
            }
            let mut room = [0; 4096];
            match self.wire.read(&mut room) {
                Ok(0) => return None,
                Ok(n) => self.bytes.extend_from_slice(&room[..n]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing comes: {:?}", self.bytes)
                }
                Err(_) => return None,
            }
        }
    }

    /// The next frame of this kind; those of other kinds are still to be read.
    pub(crate) fn next(&mut self, kind: u8) -> Frame {
        let mut others = VecDeque::new();
        loop {
            let frame = self.frame().expect("the connection has ended");
            if frame.kind == kind {
                others.append(&mut self.before);
                self.before = others;
                return frame;
            }
            others.push_back(frame);
        }
    }

    /// Frames that answer what was sent so far, without SETTINGS and WINDOW_UPDATE; and is the connection still there?
    pub(crate) fn so_far(&mut self) -> (Vec<Frame>, bool) {
        self.send(&frame(PING, 0, 0, MARK));
        let mut frames = Vec::new();
        while let Some(frame) = self.frame() {
            match frame.kind {
                PING if frame.flags == ACK && frame.payload == MARK => return (frames, true),
                SETTINGS | WINDOW_UPDATE => {}
                _ => frames.push(frame),
            }
        }
        (frames, false)
    }

    /// The whole answer on this stream. Windows are opened for what comes.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        let mut others = VecDeque::new();
        loop {
            let frame = self.frame().unwrap_or_else(|| panic!("ended: {answer:?}"));
            if frame.stream != stream {
                others.push_back(frame);
                continue;
            }
            let is_last = frame.flags & END_STREAM != 0;
            match frame.kind {
                HEADERS => {
                    let mut block = frame.payload;
                    if frame.flags & END_HEADERS == 0 {
                        loop {
                            let more = self.next(CONTINUATION);
                            block.extend(more.payload);
                            if more.flags & END_HEADERS != 0 {
                                break;
                            }
                        }
                    }
                    let fields = self.decode(&block);
                    let status = fields.iter().find(|(name, _)| name == ":status");
                    match status {
                        Some((_, status)) if status.starts_with('1') => answer.interim.push(fields),
                        Some(_) => answer.fields = fields,
                        None => answer.trailers = fields,
                    }
                }
                DATA => {
                    answer.content.extend_from_slice(&frame.payload);
                    let more = u32::try_from(frame.payload.len()).unwrap();
                    if more > 0 {
                        self.send(&super::frames::frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()));
                        self.send(&super::frames::frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes()));
                    }
                }
                RST_STREAM => answer.reset = Some(frame.code()),
                _ => {}
            }
            if is_last && frame.kind != RST_STREAM || answer.reset.is_some() {
                others.append(&mut self.before);
                self.before = others;
                return answer;
            }
        }
    }

    pub(crate) fn decode(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields = Vec::new();
        self.decoder.decode(block, |name, value| fields.push((text(name), text(value)))).unwrap();
        fields
    }

    /// Opens this stream with GET of this path, and fields beside.
    pub(crate) fn get(&mut self, stream: u32, path: &str, fields: &[(&str, &str)]) {
        self.send(&request(stream, END_STREAM, "GET", path, fields));
    }
}

/// HEADERS of a request.
pub(crate) fn request(stream: u32, flags: u8, method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let first = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.example")];
    let block: Vec<u8> = first.iter().chain(fields).flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

/// A configuration whose listener takes HTTP/2 without TLS.
pub(crate) fn config(servers: &[SocketAddr]) -> Config {
    let mut config = rig::config(Mode::Http, servers);
    config.frontends[0].http2 = [0].into();
    config
}

/// One whose listener agrees on HTTP/2 over TLS.
pub(crate) fn config_over_tls(servers: &[SocketAddr]) -> Config {
    let mut config = rig::config(Mode::Http, servers);
    let tls = certificates::tls(certificates::certificate("a.example"));
    certificates::set(&mut config, Tls { alpn: vec![Alpn::H2, Alpn::Http11], ..tls });
    config
}

pub(crate) fn start(config: Config) -> Proxy {
    Proxy::start(config).unwrap()
}

/// A server that tells of each head that it receives, and answers what has a path that begins with `/index` or `/now`.
pub(crate) async fn telling() -> (Scripted, UnboundedReceiver<String>) {
    let (tell, told) = unbounded_channel();
    let server = Scripted::start(move |stream| serve(stream, tell.clone())).await;
    (server, told)
}

async fn serve(mut stream: tokio::net::TcpStream, tell: UnboundedSender<String>) {
    while let Some(head) = rig::read_head(&mut stream).await {
        let is_answered = head.contains(" /index") || head.contains(" /now");
        let _ = tell.send(head);
        if is_answered {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: 1\r\n\r\nok").await;
        }
    }
}

/// A server that answers each connection's first request with these bytes, and tells of all that it receives. It ends only where
/// its client does.
pub(crate) async fn scripted(answer: impl Into<Vec<u8>>) -> (Scripted, UnboundedReceiver<Vec<u8>>) {
    let answer: Arc<Vec<u8>> = Arc::new(answer.into());
    let (tell, told) = unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let (answer, tell) = (Arc::clone(&answer), tell.clone());
        async move {
            let mut received = Vec::new();
            let mut is_answered = false;
            loop {
                let mut room = [0; 4096];
                let n = stream.read(&mut room).await.unwrap_or(0);
                if n == 0 {
                    break;
                }
                received.extend_from_slice(&room[..n]);
                let is_whole = match received.windows(4).position(|part| part == b"\r\n\r\n") {
                    Some(_) if received.windows(9).any(|part| part == b": chunked") => {
                        received.ends_with(b"0\r\n\r\n")
                    }
                    Some(end) => received.len() >= end + 4 + content_length(&received[..end]),
                    None => false,
                };
                if is_whole && !is_answered {
                    is_answered = true;
                    let _ = stream.write_all(&answer).await;
                }
            }
            let _ = tell.send(received);
        }
    })
    .await;
    (server, told)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
    line.map_or(0, |length| length.parse().unwrap())
}
