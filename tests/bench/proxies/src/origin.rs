//! The server behind all proxies: one thread that answers as cheaply as it can, so that the proxies are what is measured.
//!
//! | Path | Answer |
//! |---|---|
//! | `/` and whatever is not below | 6 bytes |
//! | `/bytes/N` | N bytes that no program looks at (sendfile) |
//! | `/chunked/N` | N bytes in chunks of 16 KiB |
//!
//! The content of a request is taken and dropped. A second port echoes, and a third one takes the lines of logs.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::{
    epoll::{Epoll, EpollEvent, EpollFlags},
    sendfile::sendfile,
};
use serde::{Deserialize, Serialize};

use crate::{
    sockets::{self, Did},
    wire::{self, Body},
};

/// Arguments of the hidden verb `origin`. It ends with its stdin.
#[derive(Debug, clap::Args)]
pub(crate) struct OriginArguments {
    /// 0 is any port.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Each answer comes so late, in milliseconds, and says so.
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

/// Where it is; the first line that it prints.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Places {
    /// Two ports for the same, so that a backend has two servers.
    pub(crate) http: [SocketAddr; 2],
    pub(crate) echo: SocketAddr,
    pub(crate) syslog: SocketAddr,
}

/// The longest answer.
const LONGEST: u64 = 1 << 30;
const CHUNK: usize = 16 * 1024;
/// Numbers of the listeners; connections follow.
const LISTENERS: usize = 3;

enum Answer {
    Bytes {
        of: Rc<[u8]>,
        at: usize,
    },
    /// So many bytes of the file.
    File(u64),
}

struct Connection {
    socket: TcpStream,
    echoes: bool,
    input: Vec<u8>,
    /// Content of a request that is still to come.
    to_drop: u64,
    answers: VecDeque<Answer>,
    /// Answers that are late.
    owed: usize,
    /// Behind what is left to say.
    ends: bool,
}

struct Origin {
    epoll: Epoll,
    listeners: [TcpListener; LISTENERS],
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    zeroes: File,
    small: Rc<[u8]>,
    delay: Duration,
    /// Connections whose request is to be answered then.
    late: VecDeque<(Instant, usize)>,
    chunked: HashMap<u64, Rc<[u8]>>,
}

/// Serves until its stdin ends.
pub(crate) fn run(arguments: &OriginArguments) -> anyhow::Result<()> {
    sockets::allow_many();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = SocketAddr::from(([127, 0, 0, 1], arguments.port));
    let listeners = [sockets::listener(first)?, sockets::listener(any)?, sockets::listener(any)?];
    let syslog = UdpSocket::bind(any)?;
    let places = Places {
        http: [listeners[0].local_addr()?, listeners[1].local_addr()?],
        echo: listeners[2].local_addr()?,
        syslog: syslog.local_addr()?,
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&places)?)?;
    thread::spawn(move || {
        let mut line = [0; 4096];
        while syslog.recv(&mut line).is_ok() {}
    });
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let zeroes = tempfile::tempfile().context("no temporary file")?;
    zeroes.set_len(LONGEST)?;
    let mark = if arguments.delay > 0 { "X-Slow: 1\r\n" } else { "" };
    let small =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{mark}Content-Length: 6\r\n\r\nhello\n");
    let mut origin = Origin {
        epoll: sockets::epoll()?,
        listeners,
        connections: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; 256 * 1024],
        zeroes,
        small: small.into_bytes().into(),
        delay: Duration::from_millis(arguments.delay),
        late: VecDeque::new(),
        chunked: HashMap::new(),
    };
    for (number, listener) in origin.listeners.iter().enumerate() {
        sockets::watch(&origin.epoll, listener, number)?;
    }
    let mut events = vec![EpollEvent::empty(); 1024];
    loop {
        let count = match origin.epoll.wait(&mut events, origin.patience()) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
            if number < LISTENERS {
                origin.welcome(number)?
            } else {
                origin.serve(number - LISTENERS, is_end(event))
            }
        }
        origin.answer_the_late();
    }
}

impl Origin {
    /// Milliseconds until something is late.
    fn patience(&self) -> u16 {
        let Some((due, _)) = self.late.front() else { return 1000 };
        let left = due.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        u16::try_from(left).unwrap_or(1000).min(1000)
    }

    fn welcome(&mut self, listener: usize) -> anyhow::Result<()> {
        while let Some(socket) = sockets::accept(&self.listeners[listener])? {
            let number = self.free.pop().unwrap_or(self.connections.len());
            sockets::watch(&self.epoll, &socket, number + LISTENERS)?;
            let connection = Connection {
                socket,
                echoes: listener == LISTENERS - 1,
                input: Vec::new(),
                to_drop: 0,
                answers: VecDeque::new(),
                owed: 0,
                ends: false,
            };
            if number == self.connections.len() {
                self.connections.push(Some(connection));
            } else {
                self.connections[number] = Some(connection);
            }
        }
        Ok(())
    }

    /// Reads and writes what goes.
    fn serve(&mut self, number: usize, is_end: bool) {
        let Some(slot) = self.connections.get_mut(number) else { return };
        let Some(mut connection) = slot.take() else { return };
        let is_there = self.take(&mut connection, number, is_end) && self.send(&mut connection);
        if is_there {
            self.connections[number] = Some(connection);
        } else {
            // Else a late answer would go to whoever has this number next.
            self.late.retain(|(_, late)| *late != number);
            self.free.push(number);
        }
    }

    /// `false`: it has ended.
    fn take(&mut self, connection: &mut Connection, number: usize, is_end: bool) -> bool {
        loop {
            let did = if connection.to_drop > 0 {
                sockets::discard(&connection.socket, &mut self.buffer, connection.to_drop)
            } else {
                sockets::read(&connection.socket, &mut self.buffer)
            };
            let bytes = match did {
                Did::Bytes(bytes) => bytes,
                Did::Later => return true,
                Did::Ended => return false,
            };
            if connection.to_drop > 0 {
                connection.to_drop -= bytes as u64;
                if connection.to_drop == 0 {
                    connection.answers.push_back(self.small_answer());
                }
            } else if connection.echoes {
                connection.answers.push_back(Answer::Bytes { of: self.buffer[..bytes].into(), at: 0 });
            } else {
                connection.input.extend_from_slice(&self.buffer[..bytes]);
                self.answer(connection, number);
            }
            // Without a full buffer there is no more now, but maybe the end; the next event tells of what comes later.
            if bytes < self.buffer.len() && connection.to_drop == 0 && !is_end {
                return true;
            }
        }
    }

    fn small_answer(&self) -> Answer {
        Answer::Bytes { of: Rc::clone(&self.small), at: 0 }
    }

    /// Answers each request whose head is there.
    fn answer(&mut self, connection: &mut Connection, number: usize) {
        while let Some(end) = wire::end_of_head(&connection.input) {
            let head = &connection.input[..end];
            connection.ends |= wire::closes(head);
            let length = if let Body::Length(length) = wire::body(head) { length } else { 0 };
            let path = wire::path(head);
            if length > 0 {
                let here = connection.input.len() - end;
                let taken = usize::try_from(length).unwrap_or(usize::MAX).min(here);
                connection.to_drop = length - taken as u64;
                if connection.to_drop == 0 {
                    connection.answers.push_back(self.small_answer());
                }
                connection.input.drain(..end + taken);
                continue;
            }
            if let Some(count) = path.strip_prefix(b"/bytes/") {
                let count = wire::number(count).min(LONGEST);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n");
                connection.answers.push_back(Answer::Bytes { of: head.into_bytes().into(), at: 0 });
                connection.answers.push_back(Answer::File(count));
            } else if let Some(count) = path.strip_prefix(b"/chunked/") {
                let count = wire::number(count).min(LONGEST / 64);
                let of = self.chunked.entry(count).or_insert_with(|| chunked(count).into());
                connection.answers.push_back(Answer::Bytes { of: Rc::clone(of), at: 0 });
            } else if self.delay.is_zero() {
                connection.answers.push_back(self.small_answer());
            } else {
                connection.owed += 1;
                self.late.push_back((Instant::now() + self.delay, number));
            }
            connection.input.drain(..end);
        }
    }

    /// `false`: it has ended.
    fn send(&self, connection: &mut Connection) -> bool {
        while let Some(answer) = connection.answers.front_mut() {
            let is_done = match answer {
                Answer::Bytes { of, at } => match sockets::write(&connection.socket, &of[*at..]) {
                    Did::Bytes(bytes) => {
                        *at += bytes;
                        *at == of.len()
                    }
                    Did::Later => return true,
                    Did::Ended => return false,
                },
                Answer::File(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(1 << 20);
                    match Did::from(sendfile(&connection.socket, &self.zeroes, Some(&mut 0), count)) {
                        Did::Bytes(bytes) => {
                            *left -= bytes as u64;
                            *left == 0
                        }
                        Did::Later => return true,
                        Did::Ended => return false,
                    }
                }
            };
            if is_done {
                connection.answers.pop_front();
            }
        }
        !(connection.ends && connection.to_drop == 0 && connection.owed == 0)
    }

    fn answer_the_late(&mut self) {
        while let Some((due, number)) = self.late.front().copied()
            && due <= Instant::now()
        {
            self.late.pop_front();
            let small = self.small_answer();
            if let Some(Some(connection)) = self.connections.get_mut(number) {
                connection.answers.push_back(small);
                connection.owed -= 1;
            }
            self.serve(number, false);
        }
    }
}

fn is_end(event: &EpollEvent) -> bool {
    event.events().intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
}

/// A whole response of `count` bytes without an empty line in it.
fn chunked(count: u64) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    while left > 0 {
        let size = left.min(CHUNK);
        bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        bytes.resize(bytes.len() + size, b'.');
        bytes.extend_from_slice(b"\r\n");
        left -= size;
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up_and_end_once() {
        let bytes = chunked(20_000);
        let dots = bytes.iter().filter(|byte| **byte == b'.').count();
        assert_eq!(dots, 20_000 + 1); // one in "HTTP/1.1"
        assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));
        assert_eq!(bytes.windows(5).filter(|five| *five == b"0\r\n\r\n").count(), 1);
    }
}
