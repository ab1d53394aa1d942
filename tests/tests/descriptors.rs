//! All descriptors used up that many a machine allows a process: 20,000 of them, by clients and their servers.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lb_tests::{
    plain::{PATIENCE, Plain, Running, get, unused_address, wait_until},
    program,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;

const LIMIT: u64 = 20_000;

/// Between two checks; three that fail take a server out.
const CHECKS: Duration = Duration::from_millis(200);

/// Descriptors that the process has open.
fn open(process: u32) -> u64 {
    u64::try_from(fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()).unwrap()
}

fn limit(process: u32, most: u64) {
    let limited = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--nofile={most}:")])
        .status()
        .unwrap();
    assert!(limited.success(), "{most}");
}

/// The lab's web server, which has as many.
fn web_server(folder: &Path) -> (SocketAddr, Running) {
    let address = unused_address(8000);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\""), &program::lbctl()]);
    command.args(["lab", "web", "--name", "web1", "--listen", &address.to_string()]);
    (address, Running::start(&mut command, &folder.join("web1.log")))
}

/// A connection, and what came over it last.
struct Client(TcpStream);

impl Client {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn ask(&mut self) {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }

    fn is_answered(&mut self) -> bool {
        let mut answer = [0; 1024];
        self.0.read(&mut answer).is_ok_and(|length| answer[..length].starts_with(b"HTTP/1.1 200 "))
    }
}

fn status(lb: &Plain) -> Value {
    serde_json::from_slice(&lb.status(&["--json"]).stdout).unwrap_or_default()
}

#[test]
fn with_20_000_descriptors_used_up_clients_are_served_others_wait_and_come_in_later() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= LIMIT, "this machine allows a process no more than {hard} descriptors: ulimit -Hn");
    setrlimit(Resource::RLIMIT_NOFILE, LIMIT, hard).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (server, _server) = web_server(folder.path());
    let (frontend, source) = (unused_address(8000), unused_address(0).ip());
    let limited = folder.path().join("lbctl");
    program::write_script(&limited, &format!("ulimit -n {LIMIT}; exec {} \"$@\"", program::lbctl()));
    // Connections to servers come from an address of their own, so that no other test runs out of ports.
    let lb = Plain::start_program(
        &limited,
        &format!(
            "[global]\nmaxconn = 50000\nthreads = 2\n[listen.web]\nmode = \"tcp\"\nbind = \"{frontend}\"\nsource = \"{source}\"\n\
             timeout = {{ client = \"10m\", server = \"10m\" }}\nservers = [\"{server}\"]\n\
             check = {{ interval = \"{}ms\", timeout = \"5s\" }}\n",
            CHECKS.as_millis()
        ),
    );
    wait_until("the server is up", || lb.log(), || status(&lb)["backends"][0]["servers"][0]["state"] == "up");
    let before = open(lb.id());
    let usable = status(&lb)["maxconn"].as_u64().unwrap();
    assert!((9_000..10_000).contains(&usable), "{usable}: two of each connection, and some for all else");

    // As many as that, each with an answer of the server.
    let mut clients: Vec<_> = (0..usable)
        .map(|_| {
            let mut client = Client::connect(frontend);
            client.ask();
            client
        })
        .collect();
    assert!(clients.iter_mut().all(Client::is_answered), "{}", lb.log());
    let used = open(lb.id());
    assert!((18_000..LIMIT).contains(&used), "{used}");

    // Nothing that has to be done wants for one, and those beyond wait, as is said.
    let mut late: Vec<_> = (0..3).map(|_| Client::connect(frontend)).collect();
    late.iter_mut().for_each(Client::ask);
    wait_until(
        "it says that it is full",
        || lb.screen(),
        || {
            let problems = status(&lb)["problems"].to_string();
            problems.contains("the process is full")
                && problems.contains("open files are too few for maxconn 50000")
        },
    );
    let check = || status(&lb)["backends"][0]["servers"][0]["last_check"].clone();
    let last = check()["at"].clone();
    wait_until("the server is checked", || lb.log(), || check()["at"] != last && check()["passed"] == true);
    for words in [&["reload"][..], &["log", "reopen"], &["server", &format!("web/{server}"), "check", "now"]]
    {
        let output = lb.verb(words);
        assert!(
            output.status.success(),
            "{words:?}: {}{}",
            String::from_utf8_lossy(&output.stderr),
            lb.log()
        );
    }
    assert!(!lb.log().contains("Too many open files"), "{}", lb.log());

    // Somebody lowers the limit: now there is none for anything, for longer than a server takes to be down. Who is there is served.
    limit(lb.id(), 3);
    let begun = Instant::now();
    while begun.elapsed() < CHECKS * 10 {
        for client in clients.iter_mut().step_by(100) {
            client.ask();
            assert!(client.is_answered(), "{}", lb.log());
        }
    }
    let _asking = UnixStream::connect(lb.socket()).unwrap();
    wait_until(
        "it says so",
        || lb.log(),
        || {
            lb.log().contains("can't accept on the control socket")
                && lb.log().contains("Too many open files")
        },
    );
    limit(lb.id(), LIMIT);
    // Checks that could not be made did not count.
    assert_eq!(status(&lb)["backends"][0]["servers"][0]["state"], "up", "{}", lb.log());
    wait_until("the server is checked again", || lb.log(), || check()["passed"] == true);

    // Some go: those that wait come in. All go: all descriptors are back.
    clients.truncate(clients.len() - 10);
    assert!(late.iter_mut().all(Client::is_answered), "{}", lb.log());
    drop((clients, late));
    wait_until(
        "all are closed",
        || format!("{} of {before} open", open(lb.id())),
        || status(&lb)["connections"] == 0 && open(lb.id()) < before + 100,
    );
    assert!(get(frontend, "/").starts_with("HTTP/1.1 200 "), "{}", lb.log());
    wait_until(
        "it says no more that it is full",
        || lb.screen(),
        || !status(&lb)["problems"].to_string().contains("is full"),
    );
}
