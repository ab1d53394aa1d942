//! A server that reads and writes frames by hand.

use std::{future::Future, num::NonZeroUsize, sync::Arc};

use lb_proxy::{Config, config::Mode, http2::hpack::Decoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{frames::*, rig, rig::Scripted};

/// One connection to it.
pub(crate) struct Connection {
    socket: TcpStream,
    bytes: Vec<u8>,
    decoder: Decoder,
}

/// A request's fields.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) stream: u32,
    pub(crate) fields: Vec<(String, String)>,
    /// Without content.
    pub(crate) is_all: bool,
}

impl Asked {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn path(&self) -> &str {
        self.field(":path").unwrap()
    }
}

/// Serves each connection so, behind a beginning with these settings.
pub(crate) async fn serving<F: Future<Output = ()> + Send + 'static>(
    settings: Vec<u8>,
    serve: impl Fn(Connection) -> F + Send + Sync + 'static,
) -> Scripted {
    let serve = Arc::new(serve);
    Scripted::start(move |socket| {
        let (settings, serve) = (settings.clone(), Arc::clone(&serve));
        async move {
            socket.set_nodelay(true).unwrap();
            let mut connection = Connection { socket, bytes: Vec::new(), decoder: Decoder::default() };
            connection.begin(&settings).await;
            serve(connection).await;
        }
    })
    .await
}

/// The same behind a PROXY header in text, of which `serve` gets the line.
pub(crate) async fn introduced<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(String, Connection) -> F + Send + Sync + 'static,
) -> Scripted {
    let serve = Arc::new(serve);
    Scripted::start(move |mut socket| {
        let serve = Arc::clone(&serve);
        async move {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(socket.read_u8().await.unwrap());
            }
            let mut connection = Connection { socket, bytes: Vec::new(), decoder: Decoder::default() };
            connection.begin(&[]).await;
            serve(String::from_utf8(line).unwrap(), connection).await;
        }
    })
    .await
}

/// A configuration whose server speaks HTTP/2 without TLS, and whose listener takes it.
pub(crate) fn config(servers: &[&Scripted]) -> Config {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut config = rig::config(Mode::Http, &addresses);
    // Each has connections of its own.
    config.threads = NonZeroUsize::MIN;
    config.frontends[0].http2 = [0].into();
    for server in &mut config.backends[0].servers {
        server.http2 = true;
    }
    config
}

/// Sends a request of HTTP/1.1.
pub(crate) async fn ask(client: &mut TcpStream, request: &str) {
    client.write_all(request.as_bytes()).await.unwrap();
}

/// A response in chunks, or with a length.
pub(crate) async fn response(client: &mut TcpStream) -> String {
    let mut text = rig::read_head(client).await.unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    if let Some(length) = length {
        let content = rig::read_n(client, length.parse().unwrap()).await;
        text.push_str(&String::from_utf8(content).unwrap());
    } else if text.contains("chunked") {
        while !text.ends_with("\r\n\r\n") || !text.contains("\r\n0\r\n") {
            text.push(client.read_u8().await.unwrap().into());
        }
    }
    text
}

impl Connection {
    async fn begin(&mut self, settings: &[u8]) {
        let mut preface = [0; PREFACE.len()];
        self.socket.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        self.send(&frame(SETTINGS, 0, 0, settings)).await;
    }

    /// Whoever has gone away misses it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::read(&self.bytes) {
                self.bytes.drain(..length);
                return Some(frame);
            }
            if self.socket.read_buf(&mut self.bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next frame that is about a stream, or GOAWAY. PING and SETTINGS are answered.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let next = self.frame().await?;
            match next.kind {
                SETTINGS if next.flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, b"")).await,
                PING if next.flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &next.payload)).await,
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(next),
            }
        }
    }

    /// The next request; `None` at the end. Content and resets before it are passed over.
    pub(crate) async fn asked(&mut self) -> Option<Asked> {
        loop {
            let frame = self.next().await?;
            match frame.kind {
                HEADERS => return Some(self.read(&frame)),
                GOAWAY => return None,
                _ => {}
            }
        }
    }

    pub(crate) fn read(&mut self, frame: &Frame) -> Asked {
        assert!(frame.flags & END_HEADERS != 0, "{frame:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields = Vec::new();
        self.decoder.decode(&frame.payload, |name, value| fields.push((text(name), text(value)))).unwrap();
        Asked { stream: frame.stream, fields, is_all: frame.flags & END_STREAM != 0 }
    }

    /// The content of a request, to its end.
    pub(crate) async fn content(&mut self, stream: u32) -> Vec<u8> {
        let mut content = Vec::new();
        while let Some(frame) = self.next().await {
            assert_eq!((frame.kind, frame.stream), (DATA, stream));
            content.extend_from_slice(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        content
    }

    /// The head of a response.
    pub(crate) async fn head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        self.send(&frame(HEADERS, flags | END_HEADERS, stream, &block)).await;
    }

    /// A whole response.
    pub(crate) async fn answer(&mut self, stream: u32, content: &[u8]) {
        self.head(stream, 0, &[(":status", "200")]).await;
        self.send(&frame(DATA, END_STREAM, stream, content)).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(&frame(RST_STREAM, 0, stream, &code.to_be_bytes())).await;
    }
}
