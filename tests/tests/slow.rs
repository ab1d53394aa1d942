//! Clients that are slow on purpose: slowhttptest holds 200 connections in each of its modes, and others are served.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lb_tests::{plain::unused_address, program, wait};

/// Far more than the wait of one request, on a machine that builds something else as well.
const LONGEST: Duration = Duration::from_secs(10);

/// The first part of a connection's time is the attacker's: the configuration bounds it.
const TIMEOUTS: &str = "timeout = { http_request = \"2s\", client = \"2s\" }";

/// `lbctl run`, ended when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

/// One request on a connection of its own; how long it took, `None` if it was not answered well.
fn request(front: SocketAddr) -> Option<Duration> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&front, LONGEST).ok()?;
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    (response.starts_with("HTTP/1.1 200 ") && response.ends_with("hello")).then(|| started.elapsed())
}

fn start(front: SocketAddr, folder: &Path) -> Daemon {
    let file = folder.join("lb.toml");
    let text = format!(
        "[listen.web]\nbind = \"{front}\"\nservers = [\"{}\"]\nmaxconn = 300\n{TIMEOUTS}\n",
        web_server()
    );
    std::fs::write(&file, text).unwrap();
    let child = Command::new(program::lbctl())
        .arg("run")
        .arg(&file)
        .arg("--runtime-dir")
        .arg(folder.join("run"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = Daemon(child);
    wait::until("it serves", Duration::from_secs(30), || request(front));
    daemon
}

/// The value of a counter of the frontend.
fn counter(folder: &Path, name: &str) -> u64 {
    let output = Command::new(program::lbctl())
        .args(["status", "--json", "--control"])
        .arg(folder.join("run/control.sock"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{text}"));
    rest.trim_start()
        .chars()
        .map_while(|digit| digit.to_digit(10))
        .fold(0, |sum, digit| sum * 10 + u64::from(digit))
}

/// 200 slow connections for at most 6 s; meanwhile others are served, each within [`LONGEST`], and at least so many of
/// the slow ones are cut off by `counted`.
fn attack(arguments: &[&str], path: &str, counted: &str, cut_off: u64) {
    let folder = tempfile::tempdir().unwrap();
    let front = unused_address(8000);
    let _daemon = start(front, folder.path());
    let mut attacker = Command::new(program::find("slowhttptest"))
        .args(arguments)
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
        let took = request(front).unwrap_or_else(|| panic!("request {served} was not served"));
        slowest = slowest.max(took);
        served += 1;
        thread::sleep(Duration::from_millis(20));
    }
    let output = output.join().unwrap();
    assert!(output.contains("YES") && !output.contains("NO\n"), "its own probe was not served:\n{output}");
    assert!(served >= 10, "{served} served, the slowest in {slowest:?}");
    let found = counter(folder.path(), counted);
    assert!(found >= cut_off, "{counted} is {found}\n{output}");
}

#[test]
fn slow_heads_leave_the_service_up_for_others() {
    attack(&["-H", "-i", "1", "-x", "8"], "/", "request_timeouts_total", 150);
}

#[test]
fn slow_content_leaves_the_service_up_for_others() {
    attack(&["-B", "-i", "1", "-x", "8", "-s", "100000"], "/", "client_timeouts_total", 150);
}

#[test]
fn slow_readers_leave_the_service_up_for_others() {
    attack(&["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "5"], "/big", "client_timeouts_total", 100);
}
