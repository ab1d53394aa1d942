//! The clients of a run: one that sends an echo request to the address every 2 ms, and one that opens a new HTTP
//! connection every 5 ms. They say `ready` once both have been answered, go on until SIGTERM, and print what they saw.

use std::{
    collections::HashMap,
    fs,
    io::{self, IoSlice, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lb_vrrp::Moment;
use lbctl::lab::{Outcome, Sample, now};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, raise},
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendmsg, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};
use serde::{Deserialize, Serialize};

const PROBE_EVERY: Duration = Duration::from_millis(2);
const CONNECT_EVERY: Duration = Duration::from_millis(5);
/// After this a request has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// Requests without an answer; beyond that none is begun.
const MAX_IN_FLIGHT: usize = 1000;
/// Of our echo requests.
const IDENTIFIER: u16 = 0x1b_c7;

/// Arguments of the hidden verb `client`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArguments {
    #[arg(long)]
    target: Ipv4Addr,
    /// They end after this without being told to.
    #[arg(long)]
    seconds: u64,
}

/// What they saw.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Seen {
    /// Echo requests.
    pub(crate) probes: Vec<Sample>,
    /// Requests, each with a connection of its own.
    pub(crate) requests: Vec<Sample>,
    /// SYNs that the kernel repeated.
    pub(crate) repeated_syns: u64,
}

#[derive(Default)]
struct Notes {
    stop: AtomicBool,
    in_flight: AtomicUsize,
    requests: Mutex<Vec<Sample>>,
    /// By sequence number.
    sent: Mutex<HashMap<u16, Moment>>,
    probes: Mutex<Vec<Sample>>,
}

/// Runs the clients until SIGTERM.
///
/// # Errors
/// No raw socket.
pub(crate) fn run(arguments: &ClientArguments) -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    // Before any thread begins: they inherit it, and this one alone is told.
    signals.thread_block()?;
    let notes = Arc::new(Notes::default());
    let syns = repeated_syns()?;
    let prober = prober(&notes, arguments.target)?;
    let requester = {
        let notes = Arc::clone(&notes);
        let target = SocketAddr::from((arguments.target, 80));
        thread::spawn(move || every(CONNECT_EVERY, &notes, |_| open(&notes, target)))
    };
    let limit = Duration::from_secs(arguments.seconds);
    thread::spawn(move || {
        thread::sleep(limit);
        let _ = raise(Signal::SIGTERM);
    });
    let begin = Instant::now();
    let answered = |samples: &Mutex<Vec<Sample>>| lock(samples).iter().any(Sample::is_ok);
    while !(answered(&notes.probes) && answered(&notes.requests)) && begin.elapsed() < limit {
        thread::sleep(Duration::from_millis(5));
    }
    writeln!(io::stdout(), "ready")?;
    signals.wait()?;
    notes.stop.store(true, Ordering::Relaxed);
    for thread in [prober.0, prober.1, requester] {
        thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
    }
    // Whoever has not been answered gets the time that is its due.
    let begin = Instant::now();
    while notes.in_flight.load(Ordering::Relaxed) > 0 && begin.elapsed() < PATIENCE * 2 {
        thread::sleep(Duration::from_millis(5));
    }
    let mut probes = std::mem::take(&mut *lock(&notes.probes));
    let unanswered = std::mem::take(&mut *lock(&notes.sent));
    probes.extend(unanswered.into_values().map(|at| {
        let outcome = Outcome::Failed("no answer".to_owned());
        Sample { at, wait: Duration::ZERO, outcome }
    }));
    let seen = Seen {
        probes,
        requests: std::mem::take(&mut *lock(&notes.requests)),
        repeated_syns: repeated_syns()?.saturating_sub(syns),
    };
    serde_json::to_writer(io::stdout(), &seen)?;
    writeln!(io::stdout())?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `work` at a steady pace until it is told to stop. What it was too late for is left out.
fn every(period: Duration, notes: &Notes, mut work: impl FnMut(u16)) {
    let mut next = Instant::now();
    let mut number = 0;
    while !notes.stop.load(Ordering::Relaxed) {
        work(number);
        number = number.wrapping_add(1);
        next = (next + period).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// A thread that asks and one that hears the answers.
fn prober(
    notes: &Arc<Notes>,
    target: Ipv4Addr,
) -> anyhow::Result<(thread::JoinHandle<()>, thread::JoinHandle<()>)> {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)
        .context("cannot open a raw socket")?;
    setsockopt(&raw, ReceiveTimeout, &TimeVal::milliseconds(50))?;
    let raw = Arc::new(raw);
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(target, 0));
    let asks = {
        let (notes, raw) = (Arc::clone(notes), Arc::clone(&raw));
        move |number: u16| {
            let packet = echo_request(number);
            lock(&notes.sent).insert(number, now());
            // Nobody has the address: the kernel says so, and the request is lost.
            let _ = sendmsg(raw.as_raw_fd(), &[IoSlice::new(&packet)], &[], MsgFlags::empty(), Some(&to));
        }
    };
    let sender = {
        let notes = Arc::clone(notes);
        thread::spawn(move || every(PROBE_EVERY, &notes, asks))
    };
    let notes = Arc::clone(notes);
    let receiver = thread::spawn(move || {
        let mut buffer = [0; 256];
        while !notes.stop.load(Ordering::Relaxed) {
            let length = match recv(raw.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(_) => return,
            };
            if let Some(number) = echo_reply(&buffer[..length])
                && let Some(at) = lock(&notes.sent).remove(&number)
            {
                let outcome = Outcome::Ok("echo".to_owned());
                lock(&notes.probes).push(Sample { at, wait: now().saturating_since(at), outcome });
            }
        }
    });
    Ok((sender, receiver))
}

fn echo_request(number: u16) -> [u8; 8] {
    let ([i, j], [m, n]) = (IDENTIFIER.to_be_bytes(), number.to_be_bytes());
    let sum = 0x0800 + u32::from(IDENTIFIER) + u32::from(number);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let [a, b] = (!u16::try_from(folded).unwrap_or(0)).to_be_bytes();
    [8, 0, a, b, i, j, m, n]
}

/// The number of an echo reply to us, as a raw socket has it: with the IPv4 header.
fn echo_reply(packet: &[u8]) -> Option<u16> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let message = packet.get(header..header + 8)?;
    let is_ours = message[0] == 0 && message[4..6] == IDENTIFIER.to_be_bytes();
    is_ours.then(|| u16::from_be_bytes([message[6], message[7]]))
}

/// One request on a connection of its own, in a thread of its own.
fn open(notes: &Arc<Notes>, target: SocketAddr) {
    if notes.in_flight.fetch_add(1, Ordering::Relaxed) >= MAX_IN_FLIGHT {
        notes.in_flight.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let notes = Arc::clone(notes);
    thread::spawn(move || {
        let at = now();
        let outcome = match request(target) {
            Ok(status) if status == "200" => Outcome::Ok(status),
            Ok(status) => Outcome::Failed(status),
            Err(error) => Outcome::Failed(failure(&error)),
        };
        lock(&notes.requests).push(Sample { at, wait: now().saturating_since(at), outcome });
        notes.in_flight.fetch_sub(1, Ordering::Relaxed);
    });
}

fn failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset => "reset".to_owned(),
        kind => kind.to_string(),
    }
}

/// The status of the whole response.
fn request(target: SocketAddr) -> io::Result<String> {
    let end = Instant::now() + PATIENCE;
    // As any client connects: a SYN that is lost is repeated by the kernel after a second.
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.ip()).as_bytes(),
    )?;
    let mut response = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            length => response.extend_from_slice(&buffer[..length]),
        }
    }
    let text = String::from_utf8_lossy(&response);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).map(str::to_owned);
    // Without the end of its head it was cut off.
    status.filter(|_| text.contains("\r\n\r\n")).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// SYNs that this network namespace has repeated so far.
fn repeated_syns() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    counter(&text, "TCPSynRetrans").context("/proc/net/netstat has no TCPSynRetrans")
}

/// A counter of `TcpExt`: a line of names and a line of values.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next()?, lines.next()?);
    names.zip(values).find(|(found, _)| *found == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_request_has_a_checksum_that_adds_up() {
        for number in [0, 1, 0xdc30, 0xffff] {
            let packet = echo_request(number);
            let words = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{number}");
        }
    }

    #[test]
    fn reply_to_somebody_else_is_none() {
        let mut packet = vec![0x45; 20];
        packet.extend([0, 0, 0, 0, 0x1b, 0xc7, 0, 7]);
        assert_eq!(echo_reply(&packet), Some(7));
        packet[24] = 0;
        assert_eq!(echo_reply(&packet), None);
        assert_eq!(echo_reply(&packet[..24]), None);
    }

    #[test]
    fn counter_is_found_by_its_name() {
        let text = "TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 3 14\nIpExt: InOctets\nIpExt: 9\n";
        assert_eq!(counter(text, "TCPSynRetrans"), Some(14));
        assert_eq!(counter(text, "Missing"), None);
    }
}
