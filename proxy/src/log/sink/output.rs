//! The place itself: a socket or a file, opened when it is needed and again after each fault.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::{
        fd::AsFd,
        unix::{fs::OpenOptionsExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::{config::LogDestination, file::with_reach};

/// A syslog daemon that takes nothing for so long is stuck.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Between two looks for a refusal.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// So many of these: a machine may send one refusal a second (ICMP), and this one does so at once.
const REFUSED_WITHIN: u32 = 10;

/// Logs tell of people: not for everybody.
const MODE: u32 = 0o640;

/// See the module.
pub(super) enum Output {
    Udp { address: Option<SocketAddr>, socket: Option<UdpSocket> },
    Unix { path: PathBuf, socket: Option<UnixDatagram> },
    File { path: PathBuf, file: Option<File>, torn: bool },
    Standard { is_error: bool, file: Option<File>, torn: bool },
}

/// What one attempt came to.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Bytes that need no other attempt.
    pub(super) done: usize,
    /// Lines among them that did not arrive.
    pub(super) lost: u64,
    pub(super) fault: Option<String>,
    /// The other side says that nobody is there; it may say so of the next one, too.
    pub(super) is_refused: bool,
}

impl Output {
    pub(super) fn new(destination: &LogDestination) -> Self {
        match destination {
            LogDestination::Udp(address) => Self::Udp { address: Some(*address), socket: None },
            LogDestination::UdpName { .. } => Self::Udp { address: None, socket: None },
            LogDestination::Unix(path) => Self::Unix { path: path.clone(), socket: None },
            LogDestination::File(path) => Self::File { path: path.clone(), file: None, torn: false },
            LogDestination::Stdout => Self::Standard { is_error: false, file: None, torn: false },
            LogDestination::Stderr => Self::Standard { is_error: true, file: None, torn: false },
        }
    }

    /// Does what works say that the place is well? A datagram that was sent may have reached nobody.
    pub(super) fn tells(&self) -> bool {
        !matches!(self, Self::Udp { .. })
    }

    /// Is it known where it is?
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Self::Udp { address: None, .. })
    }

    /// Sends the first line alone and waits for a refusal of it, which comes later than the line leaves. Not done if one came.
    pub(super) fn probe(&mut self, lines: &[u8], is_over: impl Fn() -> bool) -> Attempt {
        let end = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        let attempt = self.write(&lines[..end]);
        let Self::Udp { address: Some(address), socket: Some(socket) } = &*self else { return attempt };
        if attempt.fault.is_some() {
            return attempt;
        }
        let waits = if address.ip().is_loopback() { 1 } else { REFUSED_WITHIN };
        for _ in 0..waits {
            std::thread::sleep(PROBE_PAUSE);
            if let Ok(Some(error)) = socket.take_error() {
                return Attempt { is_refused: true, ..Attempt::failed(0, &error) };
            }
            if is_over() {
                break;
            }
        }
        attempt
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
            Self::File { path, file, .. } => {
                open(file, || open_file(path))?;
            }
            Self::Standard { is_error, file, .. } => {
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
            Self::File { file: Some(file), torn, .. } | Self::Standard { file: Some(file), torn, .. } => {
                append(file, torn, lines)
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
        Self { done, lost: 0, fault: Some(words(error)), is_refused: false }
    }
}

/// Without waiting for the reader of a named pipe; what is written to it waits all the same.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened =
        OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|error| with_reach(path, error))?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
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
        match send(line) {
            Ok(_) => {}
            // An earlier datagram was refused and is lost; this one was not sent, and it and the rest wait.
            Err(error) if late && error.kind() == io::ErrorKind::ConnectionRefused => {
                attempt.lost += 1;
                return Attempt { fault: Some(words(&error)), is_refused: true, ..attempt };
            }
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

/// A line of which only a part was written is written again, whole and on a line of its own. `torn` says that the place may
/// end with such a part. Nothing is ever taken back: others may have appended theirs meanwhile.
fn append(file: &mut File, torn: &mut bool, lines: &[u8]) -> Attempt {
    if *torn && let Err(error) = file.write_all(b"\n") {
        return Attempt::failed(0, &error);
    }
    *torn = false;
    let mut done = 0;
    while done < lines.len() {
        match file.write(&lines[done..]) {
            Ok(0) => return Attempt::failed(done, &io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let whole = memchr::memrchr(b'\n', &lines[..done]).map_or(0, |at| at + 1);
                *torn = whole < done;
                return Attempt::failed(whole, &error);
            }
        }
    }
    Attempt { done, ..Attempt::default() }
}

/// In a clause.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not write there".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        // Of a named pipe; the first is what opening it says.
        _ if error.raw_os_error() == Some(libc::ENXIO) => "nobody reads it".to_owned(),
        io::ErrorKind::BrokenPipe => "nobody reads it".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "nothing is taken".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::unistd::pipe2;

    use super::*;

    /// A pipe takes a part of what does not fit, as a full disk does.
    #[test]
    fn line_that_did_not_fit_comes_again_whole_and_takes_nothing_of_another_writer() {
        let (reader, writer) = pipe2(OFlag::O_NONBLOCK).expect("a pipe");
        let (mut reader, mut writer) = (File::from(reader), File::from(writer));
        let mut other = writer.try_clone().expect("another writer");
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a small pipe");
        let [a, b] = ["a", "b"].map(|letter| format!("{}\n", letter.repeat(3_000)));
        let both = format!("{a}{b}");
        let mut torn = false;
        let attempt = append(&mut writer, &mut torn, both.as_bytes());
        assert_eq!((attempt.done, torn, attempt.fault.is_some()), (a.len(), true, true));
        let mut room = [0; 16_384];
        let mut text = Vec::new();
        let mut drain = |text: &mut Vec<u8>| {
            let n = reader.read(&mut room).expect("what was written");
            text.extend_from_slice(&room[..n]);
        };
        drain(&mut text);
        other.write_all(b", from the other one\n").expect("room");
        let attempt = append(&mut writer, &mut torn, &both.as_bytes()[attempt.done..]);
        assert_eq!((attempt.done, torn, attempt.fault), (b.len(), false, None));
        drain(&mut text);
        let text = String::from_utf8(text).expect("text");
        let part = &b[..4096 - a.len()];
        assert_eq!(text, format!("{a}{part}, from the other one\n\n{b}"));
    }
}
