//! Services that are not the web, through the address of a pair: two databases and two mail servers; and HAProxy's own
//! words for what checks find.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use lb_tests::{
    attempts::{in_time, within},
    exim::{self, Exim},
    mariadb::{self, MariaDb},
    order::other,
    plain::{Plain, Running, unused_address, wait_until},
    program,
    scene::Scene,
    wait,
};
use lbctl::lab::{BALANCERS, CONFIGURATION, How, Options};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);
/// Of the checks of the databases.
const INTERVAL: Duration = Duration::from_millis(500);
const FALL: u32 = 3;

/// The lab's own file, and a service of `text` beside its website.
fn with_service(text: &str) -> Options {
    Options::default().configuration(&format!("{CONFIGURATION}\n{text}"))
}

/// What `node` says of a server.
fn server(scene: &Scene, node: &str, name: &str) -> Value {
    let status = scene.status_of(node);
    let backends = status["backends"].as_array().cloned().unwrap_or_default();
    let mut servers = backends.iter().flat_map(|backend| backend["servers"].as_array().into_iter().flatten());
    servers.find(|server| server["name"] == name).cloned().unwrap_or_default()
}

/// Waits until the server is `state` on `node`, by checks that end with `word`; what they said last.
#[track_caller]
fn wait_for(scene: &Scene, node: &str, name: &str, state: &str, word: &str) -> String {
    wait::until(&format!("{name} is {state} on {node}, {word}"), LONG, || {
        let found = server(scene, node, name);
        let is_so = found["state"] == state && found["last_check"]["code"] == word;
        is_so.then(|| found["last_check"]["what"].as_str().unwrap_or_default().to_owned())
    })
}

/// How many connections ended before they were logged in, as the server counts.
fn aborted(server: &MariaDb) -> String {
    let output = server.ask_itself("SHOW GLOBAL STATUS LIKE 'Aborted_connects'");
    String::from_utf8_lossy(&output.stdout).split_whitespace().last().unwrap().to_owned()
}

/// `Err` is what took too long.
fn databases() -> Result<(), String> {
    let scene = Scene::new(&with_service(&format!(
        "[listen.db]\nmode = \"tcp\"\nbind = {{ vip = \"web\", port = 3306 }}\nbalance = \"leastconn\"\nretries = 0\n\
         check = {{ mysql = {{ user = \"check\" }}, interval = \"{}ms\", timeout = \"5s\", fall = {FALL} }}\n\
         server.db1 = \"198.51.100.141:3306\"\nserver.db2 = \"198.51.100.142:3306\"\n",
        INTERVAL.as_millis()
    )));
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| MariaDb::start(&scene, "web1", 1));
        let two = MariaDb::start(&scene, "web2", 2);
        (one.join().unwrap(), two)
    });
    scene.wait_until_all_ready().unwrap();
    let holder = scene.holder();
    for (node, name) in BALANCERS.iter().flat_map(|node| ["db1", "db2"].map(|name| (node, name))) {
        // The version of the server, which it says in its greeting.
        let said = wait_for(&scene, node, name, "up", "L7OK");
        assert!(said.starts_with("5.5.5-10."), "{said}");
    }
    let before = aborted(&two);
    let ask = || mariadb::query(&scene, "SELECT @@server_id");
    // Each query is a connection of its own; ties of leastconn go in turn.
    let mut answers: Vec<_> = (0..6).map(|_| ask().unwrap()).collect();
    answers.sort();
    assert_eq!(answers, ["1", "1", "1", "2", "2", "2"]);

    one.kill();
    let died = Instant::now();
    // Without retries each query that the dead server gets fails: in its turn, as long as it is in.
    let mut last_lost = Duration::ZERO;
    loop {
        let is_out = server(&scene, &holder, "db1")["state"] == "down";
        let asked = died.elapsed();
        match ask() {
            Ok(answer) => assert_eq!(answer, "2"),
            Err(_) => last_lost = asked,
        }
        if is_out && asked > last_lost + 2 * INTERVAL {
            break;
        }
        assert!(asked < LONG, "never out: {}", server(&scene, &holder, "db1"));
    }
    for node in BALANCERS {
        assert_eq!(wait_for(&scene, node, "db1", "down", "L4CON"), "connection refused");
    }
    // Checks say goodbye: far more of them than max_connect_errors allows aborted connections.
    assert_eq!(aborted(&two), before);

    // The address moves: the other node has the same knowledge.
    scene.fail(&holder, How::Kill).unwrap();
    scene.wait_until_held_by(other(&holder), LONG).unwrap();
    for _ in 0..4 {
        assert_eq!(ask().as_deref(), Ok("2"));
    }
    println!("the last query that went to the dead server began {last_lost:?} after its death");
    within(INTERVAL * FALL, last_lost, "queries went to a dead server")
}

#[test]
fn a_pair_of_databases_serves_queries_through_the_address_and_one_that_dies_is_out_within_its_checks() {
    in_time(databases);
}

#[test]
fn a_mail_to_the_address_arrives_with_either_server_dead() {
    let port = exim::PORT;
    let scene = Scene::new(&with_service(&format!(
        "[listen.mail]\nmode = \"tcp\"\nbind = {{ vip = \"web\", port = 25 }}\n\
         check = {{ smtp = {{ greeting = \"EHLO\", domain = \"lb.example.com\" }}, interval = \"500ms\", timeout = \"5s\" }}\n\
         server.mx1 = \"198.51.100.141:{port}\"\nserver.mx2 = \"198.51.100.142:{port}\"\n",
    )));
    let places = [("web1", "mx1"), ("web2", "mx2")];
    let mut servers = places.map(|(node, _)| Exim::start(&scene, node));
    scene.wait_until_all_ready().unwrap();
    let all_up = || {
        for (node, (_, name)) in BALANCERS.iter().flat_map(|node| places.map(|place| (node, place))) {
            assert_eq!(wait_for(&scene, node, name, "up", "L7OK"), "221");
        }
    };
    let arrives = |servers: &[Exim], subject: &str| {
        exim::send(&scene, subject).unwrap_or_else(|error| panic!("{subject}: {error}"));
        wait::until(&format!("a mail arrives {subject}"), LONG, || {
            servers.iter().flat_map(Exim::mails).any(|mail| mail.contains(subject)).then_some(())
        });
    };
    all_up();
    arrives(&servers, "with both alive");
    for (dead, (node, name)) in places.into_iter().enumerate() {
        let held_by = scene.holder();
        servers[dead].kill();
        // Before a check finds out: whoever is refused by one server is sent to the other.
        arrives(&servers, &format!("with {name} just dead"));
        wait_for(&scene, &held_by, name, "down", "L4CON");
        arrives(&servers, &format!("with {name} dead"));
        if dead == 0 {
            scene.fail(&held_by, How::Kill).unwrap();
            scene.wait_until_held_by(other(&held_by), LONG).unwrap();
            arrives(&servers, &format!("with {name} and {held_by} dead"));
            scene.heal(&held_by).unwrap();
        }
        servers[dead] = Exim::start(&scene, node);
        all_up();
    }
}

/// A server that reads what it is asked, if it `reads`, and answers.
fn scripted(reads: bool, answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(unused_address(0)).expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                if reads {
                    let _ = stream.read(&mut [0; 4096]);
                }
                let _ = stream.write_all(answer);
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

/// A server that takes connections and says nothing.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind(unused_address(0)).expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    address
}

/// A kind of check here, the same in HAProxy, and servers with their outcome in the words of both.
struct Case {
    ours: &'static str,
    haproxy: &'static str,
    servers: Vec<(SocketAddr, &'static str)>,
}

fn cases() -> Vec<Case> {
    let silent_at = silent();
    let refusing = unused_address(1);
    vec![
        Case {
            ours: "http = { method = \"OPTIONS\", path = \"/x\" }",
            haproxy: "option httpchk OPTIONS /x HTTP/1.1\n  http-check send hdr Host a",
            servers: vec![
                (scripted(true, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "L7OK"),
                (scripted(true, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "L7OK"),
                (scripted(true, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "L7STS"),
                (scripted(true, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "L7STS"),
                (scripted(true, b"220 mail ESMTP\r\n\r\n"), "L7RSP"),
                (silent_at, "L7TOUT"),
                (refusing, "L4CON"),
            ],
        },
        Case { ours: "tcp = true", haproxy: "", servers: vec![(silent_at, "L4OK"), (refusing, "L4CON")] },
        Case {
            ours: "smtp = { greeting = \"EHLO\", domain = \"lb.example.com\" }",
            haproxy: "option smtpchk EHLO lb.example.com",
            servers: vec![
                (scripted(false, b"554 go away\r\n"), "L7STS"),
                (scripted(false, b"hello\r\n"), "L7RSP"),
                (silent_at, "L7TOUT"),
                (refusing, "L4CON"),
            ],
        },
        Case {
            ours: "redis = true",
            haproxy: "option redis-check",
            servers: vec![
                (scripted(true, b"+PONG\r\n"), "L7OK"),
                (scripted(true, b"-NOAUTH Authentication required.\r\n"), "L7STS"),
                (refusing, "L4CON"),
            ],
        },
        Case {
            ours: "mysql = {}",
            haproxy: "option mysql-check",
            servers: vec![
                (scripted(false, b"\x0e\0\0\0\x0a10.11\0\x07\0\0\0abc"), "L7OK"),
                (scripted(false, b"\x10\0\0\0\xff\x10\x04Too many here"), "L7STS"),
                (silent_at, "L7TOUT"),
                (refusing, "L4CON"),
            ],
        },
        Case {
            ours: "sequence = [{ send = \"a\" }, { expect = \"b\" }]",
            haproxy: "option tcp-check\n  tcp-check send a\n  tcp-check expect string b",
            servers: vec![
                (scripted(true, b"xxbxx"), "L7OK"),
                (scripted(true, b"no"), "L7RSP"),
                (silent_at, "L7TOUT"),
                (refusing, "L4CON"),
            ],
        },
    ]
}

#[test]
fn checks_end_with_the_words_of_haproxy() {
    let cases = cases();
    let statistics = unused_address(8404);
    let (mut ours, mut theirs) = (String::new(), String::new());
    theirs.push_str("defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 2s\n  timeout server 2s\n  timeout check 300ms\n");
    theirs.push_str(&format!(
        "frontend stats\n  mode http\n  bind {statistics}\n  stats enable\n  stats uri /\n"
    ));
    for (index, case) in cases.iter().enumerate() {
        ours.push_str(&format!(
            "[backend.b{index}]\nmode = \"tcp\"\ncheck = {{ {}, interval = \"300ms\" }}\n[frontend.f{index}]\nmode = \"tcp\"\n\
             bind = \"{}\"\ndefault_backend = \"b{index}\"\n",
            case.ours,
            unused_address(81)
        ));
        let servers = case.servers.iter().enumerate();
        let lines: String = servers.clone().map(|(n, (at, _))| format!("server.s{n} = \"{at}\"\n")).collect();
        ours = ours.replace(&format!("[frontend.f{index}]"), &format!("{lines}[frontend.f{index}]"));
        theirs.push_str(&format!("backend b{index}\n  {}\n", case.haproxy));
        theirs.extend(servers.map(|(n, (at, _))| format!("  server s{n} {at} check inter 300ms\n")));
    }
    let lb = Plain::start(&ours);
    let file = lb.folder().join("haproxy.cfg");
    fs::write(&file, theirs).expect("written");
    let mut command = Command::new(program::find("haproxy"));
    let log = lb.folder().join("haproxy.log");
    let _haproxy = Running::start(command.arg("-db").arg("-f").arg(&file), &log);
    let csv = || -> Option<String> {
        let mut stream = TcpStream::connect(statistics).ok()?;
        stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let their_word = |backend: usize, server: usize| -> Option<String> {
        let text = csv()?;
        let row = text.lines().find(|line| line.starts_with(&format!("b{backend},s{server},")))?.to_owned();
        // check_status; `* ` while a check runs.
        row.split(',').nth(36).map(|word| word.trim_start_matches("* ").to_owned())
    };
    let our_word = |backend: usize, server: usize| -> Option<String> {
        let output = lb.status(&["--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let backends = status["backends"].as_array()?.clone();
        let found = backends.iter().find(|found| found["name"] == format!("b{backend}"))?;
        found["servers"][server]["last_check"]["code"].as_str().map(str::to_owned)
    };
    for (backend, case) in cases.iter().enumerate() {
        for (server, (_, word)) in case.servers.iter().enumerate() {
            let what = format!("{} of server {server}: {word}", case.ours);
            let words = || (our_word(backend, server), their_word(backend, server));
            let context =
                || format!("here and there: {:?}\n{}", words(), fs::read_to_string(&log).unwrap_or_default());
            wait_until(&what, context, || words() == (Some((*word).to_owned()), Some((*word).to_owned())));
        }
    }
}
