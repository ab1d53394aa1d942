//! The place itself: a socket or a file, opened when it is needed and again after each fault.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::{
        fd::AsFd,
        unix::{fs::OpenOptionsExt, net::UnixDatagram},
    },
    path::PathBuf,
    time::Duration,
};

use crate::config::LogDestination;

/// A syslog daemon that takes nothing for so long is stuck.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Logs tell of people: not for everybody.
const MODE: u32 = 0o640;

/// See the module.
pub(super) enum Output {
    Udp { address: Option<SocketAddr>, socket: Option<UdpSocket> },
    Unix { path: PathBuf, socket: Option<UnixDatagram> },
    File { path: PathBuf, file: Option<File> },
    Standard { is_error: bool, file: Option<File> },
}

/// What one attempt came to.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Bytes that need no other attempt.
    pub(super) done: usize,
    /// Lines among them that did not arrive.
    pub(super) lost: u64,
    pub(super) fault: Option<String>,
}

impl Output {
    pub(super) fn new(destination: &LogDestination) -> Self {
        match destination {
            LogDestination::Udp(address) => Self::Udp { address: Some(*address), socket: None },
            LogDestination::UdpName { .. } => Self::Udp { address: None, socket: None },
            LogDestination::Unix(path) => Self::Unix { path: path.clone(), socket: None },
            LogDestination::File(path) => Self::File { path: path.clone(), file: None },
            LogDestination::Stdout => Self::Standard { is_error: false, file: None },
            LogDestination::Stderr => Self::Standard { is_error: true, file: None },
        }
    }

    /// Does what works say that the place is well? A datagram that was sent may have reached nobody.
    pub(super) fn tells(&self) -> bool {
        !matches!(self, Self::Udp { .. })
    }

    /// Opens it, if it is not open.
    pub(super) fn open(&mut self) -> io::Result<()> {
        match self {
            // A name that was not resolved yet is told elsewhere.
            Self::Udp { address: None, .. } => {}
            Self::Udp { address: Some(address), socket } => {
                open(socket, || {
                    let any = match address {
                        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                    };
                    let socket = UdpSocket::bind(any)?;
                    // Connected, so that a refusal is told.
                    socket.connect(*address)?;
                    Ok(socket)
                })?;
            }
            Self::Unix { path, socket } => {
                open(socket, || {
                    let socket = UnixDatagram::unbound()?;
                    socket.set_write_timeout(Some(TAKEN_WITHIN))?;
                    socket.connect(&path)?;
                    Ok(socket)
                })?;
            }
            Self::File { path, file } => {
                open(file, || OpenOptions::new().append(true).create(true).mode(MODE).open(&path))?;
            }
            Self::Standard { is_error, file } => {
                open(file, || {
                    let descriptor = if *is_error {
                        io::stderr().as_fd().try_clone_to_owned()
                    } else {
                        io::stdout().as_fd().try_clone_to_owned()
                    };
                    descriptor.map(File::from)
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn close(&mut self) {
        match self {
            Self::Udp { socket, .. } => *socket = None,
            Self::Unix { socket, .. } => *socket = None,
            Self::File { file, .. } | Self::Standard { file, .. } => *file = None,
        }
    }

    /// From now on it is there.
    pub(super) fn move_to(&mut self, to: SocketAddr) {
        if let Self::Udp { address, socket } = self
            && *address != Some(to)
        {
            *address = Some(to);
            *socket = None;
        }
    }

    /// One attempt to write whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Attempt {
        if let Err(error) = self.open() {
            return Attempt::failed(0, &error);
        }
        let attempt = match self {
            Self::Udp { socket: Some(socket), .. } => send_all(lines, true, |line| socket.send(line)),
            Self::Unix { socket: Some(socket), .. } => send_all(lines, false, |line| socket.send(line)),
            Self::File { file: Some(file), .. } | Self::Standard { file: Some(file), .. } => {
                append(file, lines)
            }
            // A name that was not resolved yet: its lines wait.
            Self::Udp { .. } | Self::Unix { .. } | Self::File { .. } | Self::Standard { .. } => {
                Attempt::default()
            }
        };
        if attempt.done < lines.len() {
            self.close();
        }
        attempt
    }
}

impl Attempt {
    fn failed(done: usize, error: &io::Error) -> Self {
        Self { done, lost: 0, fault: Some(words(error)) }
    }
}

fn open<T>(handle: &mut Option<T>, open: impl FnOnce() -> io::Result<T>) -> io::Result<()> {
    if handle.is_none() {
        *handle = Some(open()?);
    }
    Ok(())
}

/// One datagram for each line; `late` says that a refusal is one of those before.
fn send_all(lines: &[u8], late: bool, send: impl Fn(&[u8]) -> io::Result<usize>) -> Attempt {
    let mut attempt = Attempt::default();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let mut sent = send(line);
        // An earlier datagram was refused and is lost; this one was not sent.
        let refused = |error: &&io::Error| late && error.kind() == io::ErrorKind::ConnectionRefused;
        if let Some(error) = sent.as_ref().err().filter(refused) {
            attempt.fault = Some(words(error));
            attempt.lost += 1;
            sent = send(line);
        }
        match sent {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                attempt.lost += 1;
                attempt.fault = Some(format!("a line of {} bytes is too long for it", line.len()));
            }
            Err(error) => return Attempt { fault: Some(words(&error)), ..attempt },
        }
        attempt.done += line.len();
    }
    attempt
}

/// What was written of a line that did not fit is taken back.
fn append(file: &mut File, lines: &[u8]) -> Attempt {
    let mut done = 0;
    while done < lines.len() {
        match file.write(&lines[done..]) {
            Ok(0) => return Attempt::failed(done, &io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Attempt::failed(done - take_back(file, &lines[..done]), &error),
        }
    }
    Attempt { done, ..Attempt::default() }
}

/// How many bytes behind the last whole line were taken back.
fn take_back(file: &File, written: &[u8]) -> usize {
    let torn = written.len() - memchr::memrchr(b'\n', written).map_or(0, |at| at + 1);
    if torn == 0 {
        return 0;
    }
    let cut = file.metadata().and_then(|of| file.set_len(of.len().saturating_sub(torn as u64)));
    if cut.is_ok() { torn } else { 0 }
}

/// In a clause.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not write there".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "nothing is taken".to_owned(),
        _ => error.to_string(),
    }
}
