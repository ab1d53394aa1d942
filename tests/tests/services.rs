//! Services that are not the web, behind real programs: a pair of databases and a pair of mail servers; and HAProxy's own
//! words for what checks find.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
};

use lb_tests::{
    exim::{self, Exim},
    mariadb::{self, MariaDb},
    plain::{Plain, Running, unused_address, wait_until},
    program,
};

#[test]
fn a_pair_of_databases_serves_queries_and_one_that_dies_is_out_within_its_checks() {
    let (mut one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| MariaDb::start(unused_address(3306), 1));
        let two = MariaDb::start(unused_address(3306), 2);
        (one.join().expect("started"), two)
    });
    let frontend = unused_address(3306);
    let lb = Plain::start(&format!(
        "[listen.db]\nmode = \"tcp\"\nbind = \"{frontend}\"\nbalance = \"leastconn\"\nretries = 0\n\
         on_marked_down = \"shutdown-sessions\"\n\
         check = {{ mysql = {{ user = \"check\" }}, interval = \"200ms\", timeout = \"2s\", fall = 3 }}\n\
         server.one = \"{}\"\nserver.two = \"{}\"\n",
        one.address, two.address
    ));
    lb.wait_for_screen("two up");
    lb.wait_for_screen("one up");
    assert!(lb.screen().contains("L7OK 5.5.5-10."), "the version of the server: {}", lb.screen());
    let ask = || mariadb::query(frontend, "SELECT @@server_id");
    // Each query is a connection of its own; ties of leastconn go in turn.
    let mut answers: Vec<_> = (0..6).map(|_| ask().expect("answered")).collect();
    answers.sort();
    assert_eq!(answers, ["1", "1", "1", "2", "2", "2"]);
    // Checks say goodbye: far more of them than max_connect_errors allows aborted connections.
    let errors = one.ask_itself("SHOW GLOBAL STATUS LIKE 'Aborted_connects'");
    assert_eq!(String::from_utf8_lossy(&errors.stdout).split_whitespace().last(), Some("0"), "{errors:?}");

    one.kill();
    lb.wait_for_screen("one DOWN");
    assert!(lb.screen().contains("L4CON connection refused, 3 of 3 failed"), "{}", lb.screen());
    for _ in 0..4 {
        assert_eq!(ask().as_deref(), Ok("2"));
    }
}

#[test]
fn a_mail_arrives_with_either_server_dead() {
    for dead in [None, Some(0), Some(1)] {
        let mut servers = [Exim::start(unused_address(2525)), Exim::start(unused_address(2525))];
        if let Some(dead) = dead {
            let server: &mut Exim = &mut servers[dead];
            server.kill();
        }
        let frontend = unused_address(2525);
        let lb = Plain::start(&format!(
            "[listen.mail]\nmode = \"tcp\"\nbind = \"{frontend}\"\n\
             check = {{ smtp = {{ greeting = \"EHLO\", domain = \"lb.example.com\" }}, interval = \"500ms\", timeout = \"5s\" }}\n\
             server.mx0 = \"{}\"\nserver.mx1 = \"{}\"\n",
            servers[0].address, servers[1].address
        ));
        for server in 0..2 {
            let state = if dead == Some(server) { "DOWN" } else { "up" };
            lb.wait_for_screen(&format!("mx{server} {state}"));
        }
        assert!(lb.screen().contains("L7OK 250"), "{}", lb.screen());
        let subject = format!("with {dead:?} dead");
        exim::send(frontend, &lb.folder(), &subject).expect("taken");
        let arrived = || servers.iter().flat_map(Exim::mails).any(|mail| mail.contains(&subject));
        wait_until("the mail arrives", || lb.log(), arrived);
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
                let _ = stream.shutdown(std::net::Shutdown::Write);
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
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
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
