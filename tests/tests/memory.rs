//! What lbctl takes of a machine's memory: after a peak, and for a large file. Bytes, which a busy machine does not change.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lb_tests::{
    plain::{Plain, get, unused_address, wait_until},
    wait,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const CONNECTIONS: usize = 8000;

/// On a machine under load it takes workers a minute to see that thousands of connections are closed.
const LONG: Duration = Duration::from_secs(180);

/// A fifth of what the release build takes at rest, of which most is pages of its program.
const FIFTH: u64 = 2400 << 10;

/// Bytes that are nobody else's and no file's.
fn own(lb: &Plain) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", lb.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn start(front: SocketAddr, rules: &str) -> Plain {
    Plain::start(&format!(
        "[global]\nthreads = 2\nmaxconn = 9000\n\n[frontend.web]\nbind = \"{front}\"\nmaxconn = 9000\n\
         timeout = {{ client = \"600s\", http_request = \"600s\" }}\nrules = [\n{rules}  {{ respond = 204 }},\n]\n"
    ))
}

/// Each in the middle of a head, for which it has a buffer; then they are gone.
fn flood(lb: &Plain, front: SocketAddr) -> u64 {
    let open = || {
        let mut client = TcpStream::connect(front).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: ").unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        // The answer to the first.
        assert!(client.read(&mut [0; 100]).unwrap() > 0);
        client
    };
    let clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| open()).collect();
    let most = own(lb);
    drop(clients);
    most
}

#[test]
fn memory_of_8000_connections_is_given_back() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = CONNECTIONS as u64 + 200;
    assert!(
        hard >= needed,
        "this test needs {needed} descriptors for its clients, and may have {hard}: raise it (ulimit -Hn)"
    );
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(20_000), hard).unwrap();
    let front = unused_address(8000);
    let lb = start(front, "");
    assert!(get(front, "/").starts_with("HTTP/1.1 204"));
    for round in 1..=2 {
        let before = own(&lb);
        let most = flood(&lb, front);
        assert!(most > before + (100 << 20), "each had a buffer: {most}");
        let what = format!("the memory of flood {round} is given back, but for a fifth");
        println!("{before} before, {most} with them");
        wait::until(&what, LONG, || (own(&lb) <= before + FIFTH).then_some(()));
    }
    assert!(get(front, "/").starts_with("HTTP/1.1 204"), "{}", lb.log());
}

/// Bytes that 10,000 rules may take.
const MOST_OF_RULES: u64 = 16 << 20;

#[test]
fn thousand_hosts_with_ten_rules_each_take_16_mib_at_most() {
    let mut rules = String::new();
    for host in 0..1000 {
        for rule in 0..10 {
            writeln!(
                rules,
                "  {{ when = {{ host = \"h{host}.example.com\", path_prefix = \"/{rule}\" }}, deny = 403 }},"
            )
            .unwrap();
        }
    }
    let (front, small) = (unused_address(8000), unused_address(8000));
    let without = start(small, "");
    let lb = start(front, &rules);
    assert!(get(front, "/").starts_with("HTTP/1.1 204"));
    let told = || format!("{} with them, {} without", own(&lb), own(&without));
    wait_until("what reading them has left is given back", told, || {
        own(&lb) <= own(&without) + MOST_OF_RULES
    });
}
