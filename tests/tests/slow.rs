//! Clients that are slow on purpose: slowhttptest holds 200 connections in each of its modes, and others are served.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lb_tests::{
    plain::{Plain, unused_address},
    program, wait,
};
use nix::sys::{
    socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::SendTimeout},
    time::{TimeVal, TimeValLike},
};
use serde_json::Value;

/// Far more than the wait of one request, on a machine that builds something else as well.
const LONGEST: Duration = Duration::from_secs(10);

/// The first part of a connection's time is the attacker's: the configuration bounds it.
const TIMEOUTS: &str = "timeout = { http_request = \"2s\", client = \"2s\" }";

/// Answers `/big` with 2 MB and everything else with `hello`, each connection in a thread of its own.
fn web_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::Builder::new().stack_size(64 * 1024).spawn(move || answer(&stream)).unwrap();
        }
    });
    address
}

fn answer(stream: &TcpStream) {
    let big = vec![b'x'; 2_000_000];
    let mut reader = BufReader::new(stream);
    let (mut line, mut is_big, mut content) = (String::new(), false, 0);
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let lower = line.to_ascii_lowercase();
        is_big |= lower.starts_with("get /big ");
        if let Some(length) = lower.strip_prefix("content-length:") {
            content = length.trim().parse().unwrap();
        }
        if line == "\r\n" {
            let mut body = vec![0; content];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let body = if is_big { &big[..] } else { b"hello" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut writer = stream;
            if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body)).is_err() {
                return;
            }
            (is_big, content) = (false, 0);
        }
        line.clear();
    }
}

/// Whose requests are asked for: nobody who attacks.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection from another address than all others of this machine have. It is given [`LONGEST`] for each step.
fn connect(front: SocketAddr) -> Option<TcpStream> {
    let SocketAddr::V4(front) = front else { panic!("{front} is no IPv4 address") };
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let limit = TimeVal::seconds(LONGEST.as_secs().try_into().unwrap());
    setsockopt(&socket, SendTimeout, &limit).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(OTHER, 0))).unwrap();
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::from(front)).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    Some(stream)
}

/// One request on a connection of its own; how long it took, `None` if it was not answered well.
fn request(front: SocketAddr) -> Option<Duration> {
    let started = Instant::now();
    let mut stream = connect(front)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    (response.starts_with("HTTP/1.1 200 ") && response.ends_with("hello")).then(|| started.elapsed())
}

/// Options of slowhttptest, what it asks for, and the counter of those that are cut off for being slow.
struct Mode(&'static [&'static str], &'static str, &'static str);

const HEADS: Mode = Mode(&["-H", "-i", "1", "-x", "8"], "/", "request_timeouts_total");
const CONTENT: Mode = Mode(&["-B", "-i", "1", "-x", "8", "-s", "100000"], "/", "client_timeouts_total");
const READERS: Mode =
    Mode(&["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "5"], "/big", "client_timeouts_total");

/// What an attack leaves.
struct Attacked {
    lb: Plain,
    /// What slowhttptest says.
    report: String,
}

impl Attacked {
    /// The frontend's status.
    fn frontend(&self) -> Value {
        let status: Value = serde_json::from_slice(&self.lb.status(&["--json"]).stdout).unwrap();
        status["frontends"][0].clone()
    }

    /// At least so many connections have been counted there.
    #[track_caller]
    fn assert_cut_off(&self, counter: &str, least: u64) {
        let found = self.frontend()["counters"][counter].clone();
        assert!(found.as_u64().is_some_and(|found| found >= least), "{counter} is {found}\n{}", self.report);
    }

    /// Others had to wait for a place.
    fn was_full(&self) -> bool {
        self.lb.log().contains("the frontend is full")
    }
}

/// 200 slow connections for at most 6 s against a frontend with these `limits`; meanwhile others are served, each within
/// [`LONGEST`].
fn attack(Mode(arguments, path, _): &Mode, limits: &str) -> Attacked {
    let front = unused_address(8000);
    let lb = Plain::start(&format!(
        "[listen.web]\nbind = \"{front}\"\nservers = [\"{}\"]\n{limits}\n{TIMEOUTS}\n",
        web_server()
    ));
    wait::until("it serves", LONGEST, || request(front));
    let mut attacker = Command::new(program::find("slowhttptest"))
        .args(*arguments)
        .args(["-c", "200", "-r", "200", "-l", "6", "-p", "5", "-u", &format!("http://{front}{path}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = attacker.stdout.take().unwrap();
    let output = thread::spawn(move || {
        let mut text = Vec::new();
        BufReader::new(output).read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let (mut served, mut slowest) = (0, Duration::ZERO);
    while attacker.try_wait().unwrap().is_none() {
        let took = request(front).unwrap_or_else(|| panic!("request {served} was not served\n{}", lb.log()));
        slowest = slowest.max(took);
        served += 1;
        thread::sleep(Duration::from_millis(20));
    }
    assert!(served >= 10, "{served} served, the slowest in {slowest:?}");
    println!("{served} served, the slowest in {slowest:?}");
    Attacked { lb, report: output.join().unwrap() }
}

/// There is room for them and for others.
fn attack_with_room_for_others(mode: &Mode, cut_off: u64) {
    let attacked = attack(mode, "maxconn = 300");
    let report = &attacked.report;
    assert!(report.contains("YES") && !report.contains("NO\n"), "its own probe was not served:\n{report}");
    attacked.assert_cut_off(mode.2, cut_off);
    assert!(!attacked.was_full(), "{}", attacked.lb.log());
}

/// They take every place: others are served once the timeouts have thrown them out.
fn attack_that_takes_every_place(mode: &Mode) {
    let attacked = attack(mode, "maxconn = 200");
    attacked.assert_cut_off(mode.2, 150);
    assert!(attacked.was_full(), "{}\n{}", attacked.lb.log(), attacked.report);
}

/// One source gets so many places: others never wait for theirs.
fn attack_of_a_source_with_limits(mode: &Mode) {
    let attacked = attack(mode, "maxconn = 200\nper_source = { connections = 20 }");
    attacked.assert_cut_off("source_connection_refusals_total", 150);
    assert!(!attacked.was_full(), "{}", attacked.lb.log());
    // The rest were told so, some of them at a time.
    let peak = attacked.frontend()["statistics"]["connections_peak"].as_u64().unwrap();
    assert!((1..200).contains(&peak), "{peak} at once");
}

#[test]
fn slow_heads_leave_the_service_up_for_others() {
    attack_with_room_for_others(&HEADS, 150);
}

#[test]
fn slow_content_leaves_the_service_up_for_others() {
    attack_with_room_for_others(&CONTENT, 150);
}

#[test]
fn slow_readers_leave_the_service_up_for_others() {
    attack_with_room_for_others(&READERS, 100);
}

#[test]
fn slow_heads_that_take_every_place_lose_it_to_others() {
    attack_that_takes_every_place(&HEADS);
}

#[test]
fn slow_content_that_takes_every_place_loses_it_to_others() {
    attack_that_takes_every_place(&CONTENT);
}

#[test]
fn slow_heads_of_one_source_take_no_place_from_others() {
    attack_of_a_source_with_limits(&HEADS);
}

#[test]
fn slow_content_of_one_source_takes_no_place_from_others() {
    attack_of_a_source_with_limits(&CONTENT);
}

#[test]
fn slow_readers_of_one_source_take_no_place_from_others() {
    attack_of_a_source_with_limits(&READERS);
}
