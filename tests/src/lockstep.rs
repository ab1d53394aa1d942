//! A client and a server of one connection through the proxy, in one thread: nobody has anything to do before the one in
//! front of it is done, so the proxy does the same in each run.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

/// What is said again and again.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// Of the client.
    pub request: &'static [u8],
    /// How it ends at the server.
    pub end_of_request: &'static [u8],
    /// Of the server; none where the proxy answers itself.
    pub response: Option<&'static [u8]>,
    /// How the answer begins.
    pub begin_of_answer: &'static [u8],
    /// How it ends.
    pub end_of_answer: &'static [u8],
}

const PING: &[u8] = &[b'p'; 64];

const LARGE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 131072\r\n\r\n";
const LARGE_CONTENT: usize = 131_072;
/// Its last two bytes alone are `.\n`.
static LARGE: [u8; LARGE_HEAD.len() + LARGE_CONTENT] = {
    let mut bytes = [b'x'; LARGE_HEAD.len() + LARGE_CONTENT];
    bytes.split_at_mut(LARGE_HEAD.len()).0.copy_from_slice(LARGE_HEAD);
    bytes[LARGE_HEAD.len() + LARGE_CONTENT - 2] = b'.';
    bytes[LARGE_HEAD.len() + LARGE_CONTENT - 1] = b'\n';
    bytes
};

impl Conversation {
    /// A small GET.
    pub const GET: Self = Self {
        request: b"GET /index.html HTTP/1.1\r\nHost: www50.example.com\r\nUser-Agent: curl/7.88.1\r\n\
            Accept: */*\r\nCookie: SRV=s1\r\n\r\n",
        end_of_request: b"\r\n\r\n",
        response: Some(
            b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n",
        ),
        begin_of_answer: b"HTTP/1.1 200 ",
        end_of_answer: b"\r\n\r\nok\n",
    };

    /// A GET of 128 KiB, so much that the kernel moves it.
    pub const LARGE: Self = Self { response: Some(&LARGE), end_of_answer: b"xxx.\n", ..Self::GET };

    /// 64 bytes each way.
    pub const PING: Self = Self {
        request: PING,
        end_of_request: PING,
        response: Some(PING),
        begin_of_answer: PING,
        end_of_answer: PING,
    };
}

/// The server before it has a connection, and who takes lines of the log.
#[derive(Debug)]
pub struct Lockstep {
    listener: TcpListener,
    syslog: UdpSocket,
}

impl Lockstep {
    /// On any ports.
    ///
    /// # Errors
    /// There are none.
    pub fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, syslog: UdpSocket::bind("127.0.0.1:0")? })
    }

    /// Where the server is.
    ///
    /// # Errors
    /// Its socket has no address.
    pub fn server(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where lines of the log go.
    ///
    /// # Errors
    /// Its socket has no address.
    pub fn syslog(&self) -> io::Result<SocketAddr> {
        self.syslog.local_addr()
    }

    /// So many exchanges, one after the other, through the proxy that listens at `front`, soon.
    ///
    /// # Errors
    /// It does not listen or answer in time, or answers something else.
    pub fn play(
        &self,
        front: SocketAddr,
        conversation: &Conversation,
        exchanges: u32,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        let mut client = soon(end, || TcpStream::connect(front)).context("nobody listens")?;
        prepare(&client, patience)?;
        let mut server = None;
        let mut received = Vec::new();
        for _ in 0..exchanges {
            client.write_all(conversation.request)?;
            if let Some(response) = conversation.response {
                let server = match &mut server {
                    Some(server) => server,
                    none => none.insert(self.accept(end, patience)?),
                };
                read_to(server, &mut received, conversation.end_of_request)
                    .context("the request at the server")?;
                server.write_all(response)?;
            }
            read_to(&mut client, &mut received, conversation.end_of_answer).context("the answer")?;
            let is_expected = received.starts_with(conversation.begin_of_answer);
            ensure!(is_expected, "an unexpected answer: {}", String::from_utf8_lossy(&received));
        }
        Ok(())
    }

    fn accept(&self, end: Instant, patience: Duration) -> anyhow::Result<TcpStream> {
        let (stream, _) = soon(end, || self.listener.accept()).context("no connection to the server")?;
        stream.set_nonblocking(false)?;
        prepare(&stream, patience)?;
        Ok(stream)
    }
}

/// Tries until it works.
fn soon<T>(end: Instant, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

fn prepare(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))
}

/// Reads into `received` up to these bytes.
fn read_to(stream: &mut TcpStream, received: &mut Vec<u8>, last: &[u8]) -> io::Result<()> {
    received.clear();
    let mut part = [0; 4096];
    while !received.ends_with(last) {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&part[..length]);
    }
    Ok(())
}
