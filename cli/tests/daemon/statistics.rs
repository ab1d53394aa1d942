//! Statistics of the running program: page, CSV and JSON at the URI of a frontend and on a listener of their own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::harness::{Daemon, unused_address, web_server};

/// The hash of `secret`.
const HASH: &str =
    "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";

fn get(address: SocketAddr, target: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, content)| content)
}

#[test]
fn they_are_at_the_uri_of_a_frontend_and_on_a_listener_of_their_own() {
    let (frontend, own) = (unused_address(), unused_address());
    let server = web_server(Duration::from_millis(20));
    let daemon = Daemon::spawn(
        &format!(
            "[users.staff]\nuser.anna = \"{HASH}\"\n[statistics]\nbind = \"{own}\"\nusers = \"staff\"\n\
             [listen.web]\nbind = \"{frontend}\"\nstatistics = {{ uri = \"/haproxy-stats\" }}\n\
             check = {{ interval = \"200ms\" }}\nserver.web1 = \"{server}\"\n"
        ),
        frontend,
        None,
    );
    daemon.wait_until("the server is up", |_| {
        content(&get(frontend, "/haproxy-stats;csv", "")).contains(",UP,")
    });
    assert!(get(frontend, "/haproxy-stat", "").ends_with("hello"));
    // The request before is in a report that is not older than a second.
    daemon.wait_until("the request is counted", |_| {
        let answer = get(frontend, "/haproxy-stats;csv", "");
        let line = content(&answer).lines().find(|line| line.starts_with("web,web1,")).map(str::to_owned);
        line.is_some_and(|line| line.split(',').nth(7) == Some("1"))
    });
    let csv = get(frontend, "/haproxy-stats;csv", "");
    assert!(csv.starts_with("HTTP/1.1 200 OK\r\n"), "{csv}");
    assert!(csv.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{csv}");
    assert!(csv.contains("\r\nCache-Control: no-cache, no-store\r\n"), "{csv}");
    for row in ["web,web1,", "web,BACKEND,"] {
        let line = content(&csv).lines().find(|line| line.starts_with(row)).expect("a row");
        let times: Vec<u64> =
            line.split(',').skip(58).take(4).map(|time| time.parse().expect("milliseconds")).collect();
        assert!(times[2] >= 20 && times[3] >= times[2], "{line}");
    }
    let names: Vec<_> =
        content(&csv).lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(names, ["# pxname svname", "statistics FRONTEND", "web FRONTEND", "web web1", "web BACKEND"]);
    let json = get(frontend, "/haproxy-stats;json", "");
    let json: serde_json::Value = serde_json::from_str(content(&json)).expect("JSON");
    assert_eq!(json[2][1]["value"]["value"], "web1");
    let page = get(frontend, "/haproxy-stats", "");
    assert!(page.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("\r\nContent-Security-Policy: default-src 'none'; style-src 'sha256-"), "{page}");
    assert!(page.contains("<tr class=\"server up\"><td>web1</td>"), "{page}");
    assert!(
        page.contains("anybody who reaches the frontend `web` can read its statistics at /haproxy-stats"),
        "{page}"
    );

    let refused = get(own, "/", "");
    assert!(refused.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{refused}");
    assert!(
        refused.contains("\r\nWWW-Authenticate: Basic realm=\"staff\", charset=\"UTF-8\"\r\n"),
        "{refused}"
    );
    // anna:wrong, anna:secret
    let wrong = get(own, "/", "Authorization: Basic YW5uYTp3cm9uZw==\r\n");
    assert!(wrong.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{wrong}");
    let let_in = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    let page = get(own, "/", let_in);
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("<td>web1</td>"), "{page}");
    assert!(page.contains("<a href=\"/;csv\">CSV</a>"), "{page}");
    assert!(content(&get(own, "/;csv", let_in)).starts_with("# pxname,svname,"));

    // The metrics are for those who may see the page, where it has a listener of its own.
    let refused = get(own, "/metrics", "");
    assert!(refused.starts_with("HTTP/1.1 401 Unauthorized\r\n") && !refused.contains("lbctl_"), "{refused}");
    let metrics = get(own, "/metrics", let_in);
    assert!(metrics.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(metrics.contains("\nlbctl_server_up{backend=\"web\",server=\"web1\"} 1\n"), "{metrics}");
    let metrics = get(own, "/metrics?names=haproxy", let_in);
    assert!(
        metrics.contains("\nhaproxy_server_status{proxy=\"web\",server=\"web1\",state=\"UP\"} 1\n"),
        "{metrics}"
    );
    // A typo in a scrape configuration is an error of the scrape, and no other names than were meant.
    let wrong = get(own, "/metrics?names=haprox", let_in);
    assert!(wrong.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{wrong}");
    assert!(
        content(&wrong).starts_with("names is `haproxy` or `lbctl` ") && !wrong.contains("lbctl_"),
        "{wrong}"
    );
    assert!(get(frontend, "/metrics", "").ends_with("hello"));
}

#[test]
fn what_a_file_leaves_open_is_noted_and_is_no_problem() {
    let frontend = unused_address();
    let server = web_server(Duration::ZERO);
    let daemon = Daemon::spawn(
        &format!(
            "[listen.web]\nbind = \"{frontend}\"\nstatistics = {{ uri = \"/stats\" }}\ncheck = false\nservers = [\"{server}\"]\n"
        ),
        frontend,
        None,
    );
    let output = daemon.verb(&["status"]);
    assert_eq!(output.status.code(), Some(0));
    let screen = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        screen.ends_with(
            " note: anybody who reaches the frontend `web` can read its statistics at /stats; set `users` or `allow` there, \
             or public = true if that is meant"
        ),
        "{screen}"
    );
}

#[test]
fn services_that_are_full_can_be_looked_at_and_strangers_are_turned_away() {
    let (frontend, own, closed) = (unused_address(), unused_address(), unused_address());
    let file = |bind: SocketAddr, allow: &str| {
        format!(
            "[global]\nmaxconn = 2\nthreads = 1\n[statistics]\nbind = \"{bind}\"\nallow = \"{allow}\"\n\
             [frontend.web]\nbind = \"{frontend}\"\nrules = [{{ respond = {{ status = 200 }} }}]\n"
        )
    };
    let daemon = Daemon::spawn(&file(own, "127.0.0.0/8"), frontend, None);
    let _served: Vec<_> = (0..2).map(|_| TcpStream::connect(frontend).expect("connected")).collect();
    daemon.wait_until("they are here", |daemon| daemon.status_json().expect("a status")["connections"] == 2);
    let _waits = TcpStream::connect(frontend).expect("in the queue");
    daemon.wait_until("it is full", |_| get(own, "/metrics", "").contains("\nlbctl_full 1\n"));
    let status = daemon.status_json().expect("a status");
    assert_eq!((&status["connections"], &status["maxconn"]), (&2.into(), &2.into()));
    // The number of its own places is no key of the file.
    let mut strangers = Vec::new();
    daemon.wait_until("what helps is said", |daemon| {
        strangers = (0..70).filter_map(|_| TcpStream::connect(own).ok()).collect();
        let problems = daemon.status_json().expect("a status")["problems"].to_string();
        problems.contains("frontend statistics is full") && problems.contains("Keep strangers out by `allow`")
    });
    drop(strangers);
    // They are many, and take nobody's place.
    std::fs::write(daemon.folder.path().join("lb.toml"), file(closed, "192.0.2.0/24")).expect("written");
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    for _ in 0..100 {
        let mut stranger = TcpStream::connect(closed).expect("connected");
        stranger.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        let end = stranger.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "no word is read or said: {end:?}");
    }
    daemon.wait_until("they are counted", |daemon| {
        let status = daemon.status_json().expect("a status");
        let frontends = status["frontends"].as_array().expect("a list").clone();
        frontends.iter().any(|one| one["name"] == "statistics" && one["counters"]["denied_total"] == 100)
    });
}
