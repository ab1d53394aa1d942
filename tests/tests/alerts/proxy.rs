//! What a proxy alone can be in.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use lb_tests::{
    certificate,
    plain::{Plain, get, unused_address, wait_until, web_server},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Scraped, States, alerts_of, pair};

const NODE: &str = "lb1";

/// lbctl with its metrics on a listener of their own.
struct Proxy {
    lb: Plain,
    metrics: SocketAddr,
}

impl Proxy {
    fn start(text: &str) -> Self {
        let metrics = unused_address(8404);
        let text = format!("[statistics]\nbind = \"{metrics}\"\npublic = true\n{text}");
        Self { lb: Plain::start(&text), metrics }
    }

    fn page(&self) -> String {
        get(self.metrics, "/metrics")
            .split_once("\r\n\r\n")
            .map_or_else(String::new, |(_, page)| page.to_owned())
    }

    /// Its metrics once they have all of these samples.
    #[track_caller]
    fn page_with(&self, samples: &[&str]) -> String {
        let mut page = String::new();
        wait_until(
            &samples.join(" "),
            || self.page() + &self.lb.log(),
            || {
                page = self.page();
                samples.iter().all(|sample| page.lines().any(|line| line == *sample))
            },
        );
        page
    }

    #[track_caller]
    fn done(&self, words: &[&str]) {
        let output = self.lb.verb(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.lb.id()).unwrap()), signal).unwrap();
    }
}

/// Nobody listens there.
fn closed() -> SocketAddr {
    unused_address(9)
}

/// Takes connections, as its kernel does, and never answers.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn connections(to: SocketAddr, count: usize, request: &str) -> Vec<TcpStream> {
    let connect = || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    (0..count).map(|_| connect()).collect()
}

#[test]
fn each_alert_fires_in_the_state_that_it_is_for_and_no_other_does() {
    let mut states = States::default();
    let folder = tempfile::tempdir().unwrap();
    let (web, _server) = web_server(folder.path(), "web1");
    one_that_serves(&mut states, web);
    servers_that_are_gone(&mut states, web);
    what_its_machine_keeps_from_it(&mut states, web, folder.path());
    limits_that_are_reached(&mut states);
    assert_eq!(states.fire(), alerts_of(&pair::ALERTS));
}

fn one_that_serves(states: &mut States, web: SocketAddr) {
    let frontend = unused_address(8000);
    let proxy = Proxy::start(&format!("[listen.web]\nbind = \"{frontend}\"\nservers = [\"{web}\"]\n"));
    let up = format!("lbctl_server_up{{backend=\"web\",server=\"{web}\"}} 1");
    assert!(get(frontend, "/").starts_with("HTTP/1.1 200 "));
    states.add(&[Scraped::once(NODE, &proxy.page_with(&[&up, "lbctl_problems 0"]))], &[]);

    proxy.done(&["frontend", "web", "pause"]);
    let page = proxy.page_with(&["lbctl_frontend_paused{frontend=\"web\"} 1", "lbctl_problems 1"]);
    states.add(&[Scraped::once(NODE, &page)], &["LbctlFrontendPaused", "LbctlProblem"]);
    proxy.done(&["frontend", "web", "resume"]);

    // It does not run for a while, now and then.
    let before = proxy.page_with(&["lbctl_problems 0"]);
    for _ in 0..3 {
        proxy.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(300));
        proxy.signal(Signal::SIGCONT);
    }
    let late = |page: &str| {
        let bucket = |le: &str| -> f64 {
            let sample = format!("lbctl_worker_loop_delay_seconds_bucket{{worker=\"0\",le=\"{le}\"}} ");
            page.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().parse().unwrap()
        };
        bucket("+Inf") - bucket("0.1")
    };
    let mut now = String::new();
    wait_until(
        "it was late",
        || proxy.page(),
        || {
            now = proxy.page();
            late(&now) > late(&before) + 0.5
        },
    );
    states.add_with(&[Scraped::twice(NODE, &before, &now)], &["LbctlWorkerLate"], "LbctlProblem");

    // Somebody lowers the limit to little more than what is open.
    let open = super::samples(&proxy.page())["process_open_fds"] + 1.0;
    let lowered = Command::new("prlimit")
        .args(["--pid", &proxy.lb.id().to_string(), &format!("--nofile={open}:")])
        .status()
        .unwrap();
    assert!(lowered.success());
    let page = proxy.page_with(&[&format!("process_max_fds {open}")]);
    states.add_with(&[Scraped::once(NODE, &page)], &["LbctlFilesNearLimit"], "LbctlWorkerLate|LbctlProblem");

    proxy.signal(Signal::SIGKILL);
    wait_until("it is gone", String::new, || !get(proxy.metrics, "/metrics").starts_with("HTTP/"));
    states.add(&[Scraped::dead(NODE)], &["LbctlUnreachable"]);
}

fn servers_that_are_gone(states: &mut States, web: SocketAddr) {
    let (frontend, gone) = (unused_address(8000), closed());
    let checks = "check = { interval = \"100ms\", fall = 1, rise = 1 }";
    let down = format!("lbctl_server_up{{backend=\"web\",server=\"{gone}\"}} 0");
    let proxy = Proxy::start(&format!(
        "[listen.web]\nbind = \"{frontend}\"\nservers = [\"{web}\", \"{gone}\"]\n{checks}\n"
    ));
    let page = proxy.page_with(&[&down, "lbctl_backend_up{backend=\"web\"} 1", "lbctl_problems 1"]);
    states.add(&[Scraped::once(NODE, &page)], &["LbctlServerDown", "LbctlProblem"]);
    drop(proxy);

    // No server is left, and nobody can be told.
    let frontend = unused_address(8000);
    let proxy = Proxy::start(&format!(
        "[listen.web]\nbind = \"{frontend}\"\nservers = [\"{gone}\"]\n{checks}\n[notify.chat]\nurl = \"http://{}/\"\n",
        closed()
    ));
    let samples = [&down, "lbctl_backend_up{backend=\"web\"} 0", "lbctl_notify_up{notify=\"chat\"} 0"];
    let before = proxy.page_with(&samples);
    for _ in 0..20 {
        assert!(get(frontend, "/").starts_with("HTTP/1.1 503 "));
    }
    let now = proxy.page_with(&["lbctl_frontend_responses_total{frontend=\"web\",code=\"5xx\"} 20"]);
    states.add(
        &[Scraped::twice(NODE, &before, &now)],
        &["LbctlBackendDown", "LbctlNotTold", "LbctlProblem", "LbctlServerDown", "LbctlServerErrors"],
    );
}

/// A port that another program has, a certificate that nobody has renewed, a log that nobody takes.
fn what_its_machine_keeps_from_it(states: &mut States, web: SocketAddr, folder: &Path) {
    let taken = TcpListener::bind(unused_address(8000)).unwrap();
    let (frontend, secured) = (unused_address(8000), unused_address(8443));
    let certificate = certificate::self_signed_for(folder, 3);
    let syslog = unused_address(514);
    let proxy = Proxy::start(&format!(
        "[backend.app]\nservers = [\"{web}\"]\n[frontend.taken]\nbind = \"{}\"\ndefault_backend = \"app\"\n\
         [frontend.secured]\nbind = {{ address = \"{secured}\", tls = \"{certificate}\" }}\ndefault_backend = \"app\"\n\
         [frontend.logged]\nbind = \"{frontend}\"\ndefault_backend = \"app\"\nlog = {{ syslog = \"{syslog}\" }}\n",
        taken.local_addr().unwrap()
    ));
    let log = format!("lbctl_log_up{{target=\"udp {syslog}\"}} 0");
    wait_until(
        "the log is refused",
        || proxy.page() + &proxy.lb.log(),
        || {
            let _ = get(frontend, "/");
            proxy.page().lines().any(|line| line == log)
        },
    );
    let page =
        proxy.page_with(&["lbctl_frontend_up{frontend=\"taken\"} 0", "lbctl_backend_up{backend=\"app\"} 1"]);
    states.add(
        &[Scraped::once(NODE, &page)],
        &["LbctlCertificateExpires", "LbctlFrontendNotListening", "LbctlLogBroken", "LbctlProblem"],
    );
}

fn limits_that_are_reached(states: &mut States) {
    let server = silent();
    let address = server.local_addr().unwrap();
    let [full, near, line] = [(); 3].map(|()| unused_address(8000));
    let listen = |name: &str, bind: SocketAddr, maxconn: u32, rest: &str| {
        format!("[listen.{name}]\nbind = \"{bind}\"\nmaxconn = {maxconn}\ncheck = false\n{rest}\n")
    };
    let tcp = format!("mode = \"tcp\"\nservers = [\"{address}\"]");
    let waits = format!("timeout.queue = \"60s\"\nserver.s1 = {{ address = \"{address}\", maxconn = 1 }}");
    let proxy = Proxy::start(&[listen("near", near, 10, &tcp), listen("line", line, 100, &waits)].concat());
    let _held = connections(near, 9, "");
    let _waiting = connections(line, 2, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let page = proxy.page_with(&[
        "lbctl_frontend_connections{frontend=\"near\"} 9",
        "lbctl_backend_queued{backend=\"line\"} 1",
    ]);
    states.add(&[Scraped::once(NODE, &page)], &["LbctlConnectionsNearLimit", "LbctlRequestsQueue"]);
    drop(proxy);
    let proxy = Proxy::start(&listen("full", full, 2, &tcp));
    let _held = connections(full, 3, "");
    let page = proxy.page_with(&["lbctl_frontend_full{frontend=\"full\"} 1", "lbctl_problems 1"]);
    states.add(&[Scraped::once(NODE, &page)], &["LbctlConnectionsNearLimit", "LbctlFull", "LbctlProblem"]);
}
