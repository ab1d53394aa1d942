//! The letters of HAProxy's logs: who ended an exchange, and where. Each is produced by a client or a server that does it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    auth::PasswordHash,
    config::{BackendId, Check, CheckKind, Layer, Observe, OnError, Pace, Source, User, UserList},
    rules::{Action, Condition, RequireAuth, Rule},
    status::ServerState,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    peers::*,
    rig::{LONG, Refusing, Scripted, connect, counter, eventually, quick_check, quick_once, read_all},
    syslog::{Syslog, end},
};

/// What runs out. Nothing else here takes so long, also on a busy machine.
pub(crate) const SHORT: Duration = Duration::from_millis(700);

/// A proxy with a log, and the words of the line's state: status, letters, server, times.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) syslog: Syslog,
}

impl Bench {
    pub(crate) async fn start(config: impl Into<Config>, change: impl FnOnce(&mut Config)) -> Self {
        let (syslog, mut config) = (Syslog::start().await, config.into());
        syslog.receive_from(&mut config);
        change(&mut config);
        Self { proxy: Proxy::start(config).unwrap(), syslog }
    }

    /// One whose only server has one place, which is taken while the client that comes with it is there. Others wait in line
    /// for so long.
    pub(crate) async fn busy(server: SocketAddr, queue: Duration) -> (Self, TcpStream) {
        let bench = Self::start(http_config(&[server]), |config| {
            config.backends[0].servers[0].maxconn = Some(1);
            config.backends[0].timeout.queue = queue;
        })
        .await;
        let first = bench.sends(GET).await;
        eventually("it is at the server", || bench.proxy.status().backends[0].servers[0].in_flight == 1)
            .await;
        (bench, first)
    }

    pub(crate) async fn sends(&self, bytes: &str) -> TcpStream {
        let mut client = connect(&self.proxy).await;
        client.write_all(bytes.as_bytes()).await.unwrap();
        client
    }

    /// `status letters backend/server times` of the next line.
    pub(crate) async fn outcome(&self) -> String {
        let line = self.syslog.line().await;
        let words: Vec<_> = line.split(' ').collect();
        format!("{} {} {} {}", words[3], words[7], words[1], words[2])
    }

    async fn end(self) {
        end(self.proxy, &self.syslog).await;
    }
}

pub(crate) fn reset(client: TcpStream) {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// Says this after each request, and then nothing more.
pub(crate) async fn server_saying(response: &'static [u8], ends: bool) -> Scripted {
    Scripted::start(move |mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            if stream.write_all(response).await.is_err() || ends {
                return;
            }
        }
    })
    .await
}

/// Takes connections and says nothing.
pub(crate) async fn silent() -> Scripted {
    server_saying(b"", false).await
}

/// Drops the SYNs of whoever comes after the first.
pub(crate) async fn deaf() -> (tokio::net::TcpListener, TcpStream) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(crate::rig::ANY).unwrap();
    let listener = socket.listen(0).unwrap();
    let filling = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener, filling)
}

#[tokio::test]
async fn client_that_ends_in_the_middle_of_a_head_is_cr_400() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    drop(bench.sends("GET / HT").await);
    assert_eq!(bench.outcome().await, "400 CR-- front/<NOSRV> -1/-1/-1/-1/T");
    bench.end().await;
}

#[tokio::test]
async fn client_that_resets_in_a_head_or_before_it_is_cr_400_and_the_answer_has_no_bytes() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        let options = &mut config.frontends[0].options;
        (options.dontlognull, options.ignore_probes) = (false, false);
    })
    .await;
    let mut received = 0;
    for bytes in ["GET / HT", ""] {
        let client = bench.sends(bytes).await;
        received += bytes.len() as u64;
        let status = || bench.proxy.status().frontends[0].clone();
        eventually("it is read", || status().connections == 1 && status().bytes_in == received).await;
        reset(client);
        let line = bench.syslog.line().await;
        let expected = "front front/<NOSRV> -1/-1/-1/-1/T 400 0 - - CR-- 1/1/0/0/0 0/0 \"<BADREQ>\"";
        assert_eq!(line, expected);
        eventually("it is over", || status().connections == 0).await;
    }
    bench.end().await;
}

#[tokio::test]
async fn head_that_does_not_come_in_time_is_cr_408() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.http_request = SHORT;
    })
    .await;
    let _client = bench.sends("GET / HT").await;
    assert_eq!(bench.outcome().await, "408 cR-- front/<NOSRV> -1/-1/-1/-1/T");
}

/// Asks for a password that takes a second or more to check.
fn ask_slowly(config: &mut Config) {
    let hash = PasswordHash::parse("$2b$14$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW").unwrap();
    let users = vec![User { name: "anna".to_owned(), hash, is_of_file: false }];
    config.users = vec![UserList { name: "staff".to_owned(), file: None, users, groups: Vec::new() }];
    let ask = Action::RequireAuth(RequireAuth::new(0, Vec::new(), "staff"));
    config.frontends[0].rules = vec![Rule { when: Condition::All(Vec::new()), then: vec![ask] }];
}

/// A request of `anna`, with a password of its own.
fn of_anna(number: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uYTp4{number:04}\r\n\r\n")
}

#[tokio::test]
async fn client_that_leaves_while_its_password_is_checked_is_cr() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), ask_slowly).await;
    let client = bench.sends(&of_anna(0)).await;
    eventually("it is read", || bench.proxy.status().frontends[0].bytes_in > 0).await;
    reset(client);
    assert_eq!(bench.outcome().await, "-1 CR-- front/<NOSRV> T/-1/-1/-1/T");
    assert_eq!(counter(&bench.proxy, "client_aborts_total"), 1);
    bench.end().await;
}

/// The line does not wait for what the client may still send.
#[tokio::test]
async fn one_password_too_many_is_rr_429_as_soon_as_it_is_answered() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), ask_slowly).await;
    let mut clients = Vec::new();
    // Twice as many as may stand in line.
    for number in 0..256 {
        clients.push(bench.sends(&of_anna(number)).await);
    }
    // A client that is silent behind its answer is waited for for two seconds.
    quick_once(Duration::from_millis(1_500), async || {
        let line = loop {
            let line = bench.syslog.raw().await;
            if line.contains(" RR-- ") {
                break line;
            }
        };
        assert!(line.contains("/-1/-1/-1/") && line.contains(" 429 "), "{line}");
        let words: Vec<_> = line.split(' ').collect();
        Duration::from_millis(words[8].rsplit('/').next().unwrap().parse().unwrap())
    })
    .await;
}

#[tokio::test]
async fn content_that_is_waited_for_is_part_of_the_request() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.http_request = SHORT;
        config.frontends[0].options.wait_for_body = true;
    })
    .await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    let _client = bench.sends(post).await;
    assert_eq!(bench.outcome().await, "408 cR-- front/<NOSRV> -1/-1/-1/-1/T");
    reset(bench.sends(post).await);
    assert_eq!(bench.outcome().await, "-1 CR-- front/<NOSRV> -1/-1/-1/-1/T");
}

#[tokio::test]
async fn malformed_and_denied_requests_are_pr() {
    let server = silent().await;
    let denied = Rule { when: Condition::Method(vec!["PUT".to_owned()]), then: vec![Action::Deny(403)] };
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].rules = vec![denied];
    })
    .await;
    let _client = bench.sends("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
    assert_eq!(bench.outcome().await, "400 PR-- front/<NOSRV> -1/-1/-1/-1/T");
    let _client = bench.sends("PUT / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(bench.outcome().await, "403 PR-- front/<NOSRV> T/-1/-1/-1/T");
    let chunk = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let _client = bench.sends(chunk).await;
    assert_eq!(bench.outcome().await, "400 PR-- front/<NOSRV> T/-1/-1/-1/T");
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let mut client = bench.sends("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    eventually("it is at the server", || bench.proxy.status().backends[0].servers[0].in_flight == 1).await;
    client.write_all(b"zz\r\n").await.unwrap();
    assert_eq!(bench.outcome().await, "400 PR-- back/s1 T/T/T/-1/T");
}

/// As in HAProxy: it is one of the backend's requests, and is in its line and its counters.
#[tokio::test]
async fn request_that_a_rule_of_a_backend_answers_is_at_that_backend() {
    let server = silent().await;
    let denied = Rule { when: Condition::Method(vec!["PUT".to_owned()]), then: vec![Action::Deny(403)] };
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.backends[0].rules = vec![denied];
    })
    .await;
    let _client = bench.sends("PUT / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(bench.outcome().await, "403 PR-- back/<NOSRV> T/-1/-1/-1/T");
    let traffic = bench.proxy.status().backends[0].traffic.clone();
    assert_eq!((traffic.sessions_total, traffic.responses[4]), (1, 1));
    assert_eq!(traffic.bytes_in, "PUT / HTTP/1.1\r\nHost: a\r\n\r\n".len() as u64);
}

#[tokio::test]
async fn request_that_a_rule_holds_is_pt_and_ct_if_its_client_does_not_wait() {
    let server = silent().await;
    let hold = Rule { when: Condition::All(Vec::new()), then: vec![Action::Tarpit(500)] };
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.tarpit = SHORT;
        config.frontends[0].rules = vec![hold.clone()];
    })
    .await;
    let _client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "500 PT-- front/<NOSRV> -1/T/-1/-1/T");
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.tarpit = LONG;
        config.frontends[0].rules = vec![hold];
    })
    .await;
    let mut client = bench.sends(GET).await;
    eventually("it waits", || counter(&bench.proxy, "tarpitted_total") == 1).await;
    client.shutdown().await.unwrap();
    assert_eq!(bench.outcome().await, "500 CT-- front/<NOSRV> -1/T/-1/-1/T");
}

#[tokio::test]
async fn request_that_a_rule_answers_is_lr() {
    use lb_proxy::{
        rules::{Destination, Redirect, Text as Written},
        sample::{Names, Place, Stage, Template, Text},
    };
    let server = silent().await;
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: Text::Location, names: &names };
    let to = Destination::Location(Written::new("/there", Template::parse("/there", &place).unwrap()));
    let redirect = Action::Redirect(Redirect::new(to, 302));
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].rules = vec![Rule { when: Condition::All(Vec::new()), then: vec![redirect] }];
    })
    .await;
    let _client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "302 LR-- front/<NOSRV> T/-1/-1/-1/T");
}

#[tokio::test]
async fn client_that_leaves_the_line_is_cq_and_one_that_waits_too_long_sq_503() {
    let server = silent().await;
    let (bench, _first) = Bench::busy(server.address, LONG).await;
    let waiting = bench.sends(GET).await;
    eventually("it waits", || counter(&bench.proxy, "queued_total") == 1).await;
    reset(waiting);
    let line = bench.syslog.line().await;
    assert_eq!(line, "front back/<NOSRV> T/T/-1/-1/T -1 0 - - CQ-- 2/2/1/0/0 0/1 \"GET / HTTP/1.1\"");

    let (bench, _first) = Bench::busy(server.address, SHORT).await;
    let _second = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "503 sQ-- back/<NOSRV> T/T/-1/-1/T");
}

#[tokio::test]
async fn server_that_does_not_answer_to_a_connect_is_sc_503_and_a_client_that_leaves_then_cc() {
    let (deaf, _filling) = deaf().await;
    let bench = Bench::start(http_config(&[deaf.local_addr().unwrap()]), |config| {
        config.backends[0].timeout.connect = SHORT;
    })
    .await;
    let _client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "503 sC-- back/s1 T/T/-1/-1/T");
    let bench = Bench::start(http_config(&[deaf.local_addr().unwrap()]), |_| {}).await;
    let client = bench.sends(GET).await;
    eventually("it is tried", || bench.proxy.status().backends[0].servers[0].in_flight == 1).await;
    reset(client);
    assert_eq!(bench.outcome().await, "-1 CC-- back/s1 T/T/-1/-1/T");
}

#[tokio::test]
async fn server_that_refuses_is_sc_503_and_so_is_none_at_all() {
    let dead = Refusing::new();
    let bench = Bench::start(http_config(&[dead.address]), |_| {}).await;
    let mut client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "503 SC-- back/s1 T/T/-1/-1/T");
    answer(&mut client).await;
    let bench = Bench::start(http_config(&[dead.address]), |config| {
        config.backends[0].servers.clear();
    })
    .await;
    let _client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "503 SC-- back/<NOSRV> T/-1/-1/-1/T");
    let bench = Bench::start(http_config(&[dead.address]), |config| {
        config.frontends[0].default_backend = None;
    })
    .await;
    let _client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "503 SC-- front/<NOSRV> -1/-1/-1/-1/T");
}

#[tokio::test]
async fn machine_without_a_port_to_connect_from_is_rc_503_and_blames_no_server() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        let own = Some(IpAddr::from([127, 0, 8, 4]));
        let backend = &mut config.backends[0];
        backend.source = Source { address: own, ports: Some(20_000..=20_000), ..Source::default() };
        // One check, before anybody else needs the port.
        let hour = Duration::from_secs(3600);
        let pace = Pace { interval: hour, fast: hour, down: hour };
        backend.check = Some(Check { pace, ..quick_check(CheckKind::Tcp) });
        backend.observe = Some(Observe { layer: Layer::Layer4, error_limit: 1, on_error: OnError::MarkDown });
    })
    .await;
    eventually("up", || bench.proxy.health().borrow().backends[0].usable == 1).await;
    let _first = bench.sends(GET).await;
    eventually("it is at the server", || bench.proxy.status().backends[0].servers[0].in_flight == 1).await;
    for _ in 0..2 {
        let _client = bench.sends(GET).await;
        assert_eq!(bench.outcome().await, "503 RC-- back/s1 T/T/-1/-1/T");
    }
    let status = bench.proxy.status().backends[0].servers[0].clone();
    assert_eq!((status.state, status.history.observed_errors), (ServerState::Up, 0));
}

#[tokio::test]
async fn time_of_attempts_on_one_server_is_that_of_the_connect_unless_it_may_go_elsewhere() {
    let dead = Refusing::new();
    for (redispatch, times) in [(false, "T/T/-1/-1/T"), (true, "T/T/-1/-1/T")] {
        let bench = Bench::start(http_config(&[dead.address]), |config| {
            let backend = &mut config.backends[0];
            (backend.retries, backend.redispatch, backend.timeout.connect) = (2, redispatch, SHORT);
        })
        .await;
        let _client = bench.sends(GET).await;
        let line = bench.syslog.raw().await;
        let words: Vec<_> = line.split(' ').collect();
        let waited: u64 = words[8].split('/').nth(1).unwrap().parse().unwrap();
        // HAProxy's own lines: 0/0/-1/-1/1001 without option redispatch, 0/2002/-1/-1/2002 with it.
        assert_eq!(waited >= 2 * 700, redispatch, "{line}");
        assert!(crate::syslog::masked(&line).contains(times), "{line}");
        assert!(line.contains(" SC-- 1/1/0/0/2 0/0 "), "{line}");
    }
}

#[tokio::test]
async fn client_that_does_not_wait_for_the_response_is_ch() {
    let server = silent().await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let client = bench.sends(GET).await;
    eventually("it is at the server", || bench.proxy.status().backends[0].servers[0].in_flight == 1).await;
    reset(client);
    assert_eq!(bench.outcome().await, "-1 CH-- back/s1 T/T/T/-1/T");
}

/// What HAProxy makes of the same with `option abortonclose`.
#[tokio::test]
async fn client_that_ends_its_side_while_its_server_works_is_ch_400_where_the_file_takes_that_for_its_departure()
 {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    for request in [GET, post, &GET.repeat(2)] {
        let server = silent().await;
        let bench = Bench::start(http_config(&[server.address]), |config| {
            config.backends[0].options.aborts_awaiting = true;
        })
        .await;
        let mut client = bench.sends(request).await;
        eventually("it is asked", || server.accepted() == 1).await;
        client.shutdown().await.unwrap();
        assert_eq!(bench.outcome().await, "400 CH-- back/s1 T/T/T/-1/T", "{request}");
        let answer = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let status = bench.proxy.status();
        let server = &status.backends[0].servers[0];
        assert_eq!((server.traffic.client_aborts, server.in_flight), (1, 0), "{request}");
    }
    let server = server_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false).await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.backends[0].options.aborts_awaiting = true;
    })
    .await;
    let mut client = bench.sends(GET).await;
    read_head(&mut client).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(bench.outcome().await, "200 CD-- back/s1 T/T/T/T/T");
}

#[tokio::test]
async fn client_that_stalls_in_its_content_before_the_response_is_ch_408_and_one_that_leaves_cd() {
    let server = silent().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.client = SHORT;
    })
    .await;
    let _client = bench.sends(post).await;
    assert_eq!(bench.outcome().await, "408 cH-- back/s1 T/T/T/-1/T");
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let client = bench.sends(post).await;
    eventually("it is at the server", || bench.proxy.status().backends[0].servers[0].in_flight == 1).await;
    reset(client);
    assert_eq!(bench.outcome().await, "-1 CD-- back/s1 T/T/T/-1/T");
}

#[tokio::test]
async fn server_that_ends_without_a_response_is_sh_502_one_that_is_late_504_and_nonsense_ph_502() {
    for (response, ends, expected) in [
        (&b""[..], true, "502 SH--"),
        (b"", false, "504 sH--"),
        (b"HTTP/1.1 200 OK\r\nX", false, "504 sH--"),
        (b"garbage\r\n\r\n", false, "502 PH--"),
    ] {
        let server = server_saying(response, ends).await;
        let bench = Bench::start(http_config(&[server.address]), |config| {
            config.backends[0].timeout.server = if expected.starts_with("504") { SHORT } else { LONG };
        })
        .await;
        // Not to be repeated.
        let _client = bench.sends("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(bench.outcome().await, format!("{expected} back/s1 T/T/T/-1/T"));
    }
}

#[tokio::test]
async fn response_that_is_not_whole_is_sd_when_its_server_ends_or_says_nonsense_and_sd_when_it_stalls() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (response, ends, expected) in
        [(HEAD, true, "200 SD--"), (HEAD, false, "200 sD--"), (CHUNKS, false, "200 sD--")]
    {
        let server = server_saying(response, ends).await;
        let bench = Bench::start(http_config(&[server.address]), |config| {
            config.backends[0].timeout.server = SHORT;
        })
        .await;
        let _client = bench.sends(GET).await;
        assert_eq!(bench.outcome().await, format!("{expected} back/s1 T/T/T/T/T"));
    }
    let (go_on, wait) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut wait = wait.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(CHUNKS).await.unwrap();
            wait.wait_for(|&go_on| go_on).await.unwrap();
            stream.write_all(b"zz\r\n").await.unwrap();
            let _ = read_head(&mut stream).await;
        }
    })
    .await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let mut client = bench.sends(GET).await;
    read_head(&mut client).await.unwrap();
    go_on.send(true).unwrap();
    assert_eq!(bench.outcome().await, "200 SD-- back/s1 T/T/T/T/T");
    // With the head, of which nobody has heard yet.
    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n";
    let server = server_saying(response, false).await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let mut client = bench.sends(GET).await;
    assert_eq!(bench.outcome().await, "502 PH-- back/s1 T/T/T/-1/T");
    let answer = read_head(&mut client).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    let status = bench.proxy.status();
    let backend = &status.backends[0];
    assert_eq!((backend.traffic.responses[5], backend.servers[0].traffic.response_errors), (1, 1));
}

#[tokio::test]
async fn client_that_leaves_during_the_response_is_cd_and_one_that_does_not_read_it_cd_in_small() {
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    response.resize(100_000_000, b'x');
    let server = server_saying(response.leak(), false).await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let mut client = bench.sends(GET).await;
    read_head(&mut client).await.unwrap();
    reset(client);
    assert_eq!(bench.outcome().await, "200 CD-- back/s1 T/T/T/T/T");
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.client = SHORT;
    })
    .await;
    let mut client = bench.sends(GET).await;
    read_head(&mut client).await.unwrap();
    assert_eq!(bench.outcome().await, "200 cD-- back/s1 T/T/T/T/T");
}

#[tokio::test]
async fn server_that_switches_and_does_not_take_what_was_sent_behind_the_handshake_is_sd() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let switch = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        stream.write_all(switch).await.unwrap();
        reset(stream);
    })
    .await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let handshake = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nearly";
    let mut client = bench.sends(handshake).await;
    assert_eq!(bench.outcome().await, "101 SD-- back/s1 T/T/T/T/T");
    assert_eq!(counter(&bench.proxy, "server_aborts_total"), 1);
    let end = read_all(&mut client).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn client_that_stalls_in_its_content_after_the_response_began_is_cd() {
    let server = server_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false).await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.frontends[0].timeout.client = SHORT;
    })
    .await;
    let _client = bench.sends("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").await;
    assert_eq!(bench.outcome().await, "200 cD-- back/s1 T/T/T/T/T");
}

#[tokio::test]
async fn request_that_a_rule_sends_elsewhere_tells_where_and_ordinary_ones_have_dashes() {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    let mut other = config.backends[0].clone();
    other.name = "other".to_owned();
    config.backends.push(other);
    let there =
        Rule { when: Condition::Method(vec!["PUT".to_owned()]), then: vec![Action::Backend(BackendId(1))] };
    let bench = Bench::start(config, |config| config.frontends[0].rules = vec![there]).await;
    let mut client = bench.sends("PUT / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(bench.outcome().await, "200 ---- other/s1 T/T/T/T/T");
    answer(&mut client).await;
    ask(&mut client, GET).await;
    assert_eq!(bench.outcome().await, "200 ---- back/s1 T/T/T/T/T");
}
