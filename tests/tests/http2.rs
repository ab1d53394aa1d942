//! HTTP/2 as clients of others speak it: curl, h2load and Chromium against the program, over TLS.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use lb_tests::{
    browser::Browser,
    certificate,
    plain::{PATIENCE, Plain, Running, unused_address, wait_until, web_server},
    program, wait,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Requests of a client that is there while something is reloaded or upgraded: seconds of work.
const MANY: u32 = 10_000;

/// A proxy with a TLS listener before two servers.
struct Site {
    lb: Plain,
    text: String,
    front: SocketAddr,
    folder: TempDir,
    _servers: [Running; 2],
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = certificate::self_signed(folder.path());
        let (first, first_runs) = web_server(folder.path(), "web1");
        let (second, second_runs) = web_server(folder.path(), "web2");
        let front = unused_address(8443);
        let text = format!(
            "[global]\nthreads = 2\n[frontend.web]\ndefault_backend = \"app\"\n\
             bind = {{ address = \"{front}\", tls = \"{certificate}\" }}\n\
             [backend.app]\nserver.web1 = \"{first}\"\nserver.web2 = \"{second}\"\n"
        );
        let lb = Plain::start(&text);
        Self { lb, text, front, folder, _servers: [first_runs, second_runs] }
    }

    /// Requests that were served. A daemon that is short of the processor may not say so in time, and is asked again.
    #[track_caller]
    fn served(&self) -> u64 {
        wait::until("the status", PATIENCE, || {
            let status: Value = serde_json::from_slice(&self.lb.status(&["--json"]).stdout).ok()?;
            status["frontends"][0]["requests_total"].as_u64()
        })
    }

    /// Waits until 200 requests more are served, or a client is through; false in that case.
    #[track_caller]
    fn wait_for_more_unless(&self, is_through: impl Fn() -> bool) -> bool {
        let before = self.served();
        let mut ended = false;
        wait_until(
            "clients are served",
            || self.lb.log(),
            || {
                ended = is_through();
                ended || self.served() > before + 200
            },
        );
        !ended
    }

    #[track_caller]
    fn upgrade(&self) {
        let output = self.lb.upgrade();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// No process of those before cut anything off.
    fn assert_that_upgrades_cut_nothing(&self, upgrades: usize) {
        let ended = || self.lb.log().matches("another process serves cut=0").count();
        wait_until("the processes before have ended", || self.lb.log(), || ended() == upgrades);
    }

    fn h2load(&self, requests: u32) -> Load {
        let out = self.folder.path().join("h2load");
        let mut command = Command::new(program::find("h2load"));
        command.arg(format!("-n{requests}")).args(["-c4", "-m20", &format!("https://{}/", self.front)]);
        Load { _running: Running::start(&mut command, &out), out }
    }
}

/// h2load at work, on four connections with 20 streams each.
struct Load {
    _running: Running,
    out: PathBuf,
}

impl Load {
    fn is_done(&self) -> bool {
        fs::read_to_string(&self.out).is_ok_and(|text| text.contains("time for request"))
    }

    /// Its summary, once it is through: `requests: 9 total, 9 started, ...` and `status codes: 9 2xx, ...`.
    fn report(&self) -> String {
        wait::until("h2load's report", PATIENCE, || self.is_done().then_some(()));
        fs::read_to_string(&self.out).unwrap()
    }
}

/// All requests were answered with 200, and none failed.
#[track_caller]
fn assert_all_served(report: &str, requests: u32) {
    let all = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout\nstatus codes: {requests} 2xx,");
    assert!(report.contains(&all), "{report}");
    assert!(report.contains("Application protocol: h2\n"), "{report}");
}

#[test]
fn curl_speaks_the_version_that_it_asks_for() {
    let site = Site::start();
    for (asked, expected) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let output = Command::new(program::find("curl"))
            .args([
                "-skS",
                asked,
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
                "--max-time",
                "30",
            ])
            .arg(format!("https://{}/", site.front))
            .output()
            .unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, expected, "{errors}");
    }
}

/// The same page a hundred times at once, on one connection.
#[test]
fn nghttp_is_served_in_full() {
    let site = Site::start();
    let output = Command::new(program::find("nghttp"))
        .args(["-ns", "--multiply=100", "--no-verify-peer", "--timeout=30"])
        .arg(format!("https://{}/", site.front))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // Number, times, status, size and path of each.
    let answered = said.lines().filter(|line| line.split_whitespace().nth(4) == Some("200")).count();
    assert_eq!(answered, 100, "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.served(), 100);
}

#[test]
fn h2load_is_served_in_full() {
    let site = Site::start();
    assert_all_served(&site.h2load(2_000).report(), 2_000);
    assert_eq!(site.served(), 2_000);
}

#[test]
fn h2load_sees_no_error_through_reloads() {
    let site = Site::start();
    let load = site.h2load(MANY);
    let mut reloads = 0;
    while site.wait_for_more_unless(|| load.is_done()) {
        reloads += 1;
        site.lb.reload(&format!("{}check = {{ interval = \"{}s\" }}\n", site.text, 2 + reloads % 2));
    }
    assert_all_served(&load.report(), MANY);
    assert_eq!(site.served(), u64::from(MANY));
    assert!(reloads >= 2, "{reloads} while it was at work");
}

/// What h2load asks for once it knows that a connection ends, its own library sends nowhere, and h2load counts it as errored.
#[test]
fn h2load_gets_an_answer_to_each_request_that_was_sent_through_an_upgrade() {
    let site = Site::start();
    let load = site.h2load(MANY);
    assert!(site.wait_for_more_unless(|| load.is_done()), "too fast");
    site.upgrade();
    let report = load.report();
    let succeeded = report.split(" succeeded").next().and_then(|text| text.rsplit(' ').next()).unwrap();
    assert!(report.contains(&format!("\nstatus codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx\n")), "{report}");
    site.assert_that_upgrades_cut_nothing(1);
    let succeeded: u64 = succeeded.parse().unwrap();
    wait_until(
        "all are counted",
        || format!("{} served\n{report}", site.served()),
        || site.served() == succeeded,
    );
}

/// Fetches every page over one connection with 20 streams, and over another where the first ends.
fn curl(site: &Site, out: &Path) -> Running {
    let mut command = Command::new(program::find("curl"));
    command.args(["-sk", "--http2", "--parallel", "--parallel-max", "20", "-o", "/dev/null"]);
    command.args(["-w", "%{http_version} %{http_code} %{exitcode} %{num_connects};\n", "--max-time", "60"]);
    // Its progress meter is told to nobody.
    command.args(["--stderr", "/dev/null"]).arg(format!("https://{}/[1-{MANY}]", site.front));
    Running::start(&mut command, out)
}

#[test]
fn curl_sees_no_error_through_upgrades() {
    let site = Site::start();
    let out = site.folder.path().join("curl");
    let _curl = curl(&site, &out);
    let answers = || fs::read_to_string(&out).unwrap().lines().filter(|line| line.ends_with(";")).count();
    let is_through = || answers() >= MANY as usize;
    let mut upgrades = 0;
    while upgrades < 3 && site.wait_for_more_unless(is_through) {
        site.upgrade();
        upgrades += 1;
    }
    wait_until("curl is through", || site.lb.log(), is_through);
    let text = fs::read_to_string(&out).unwrap();
    let opened = text.lines().filter(|line| *line == "2 200 0 1;").count();
    let others: Vec<&str> = text.lines().filter(|line| !line.starts_with("2 200 0 ")).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(upgrades > 0 && opened > 1, "{upgrades} while it was at work, {opened} connections");
    site.assert_that_upgrades_cut_nothing(upgrades);
}

/// 20 fetches at a time until they are told to stop; how many answers there were, and what went wrong.
const FETCHES: &str = "window.run = { served: 0, wrong: [], stop: false, ended: false };
    async function fetches() {
        while (!run.stop) {
            try {
                const answer = await fetch('/?' + Math.random(), { cache: 'no-store' });
                if (answer.status === 200 && (await answer.text()).startsWith('web')) run.served++;
                else run.wrong.push(answer.status);
            } catch (error) { run.wrong.push(String(error)); }
        }
    }
    Promise.all(Array.from({ length: 20 }, fetches)).then(() => { run.ended = true; });
    0";

/// A fetch that has chosen its connection just before GOAWAY comes is failed by Chromium itself (ERR_FAILED), so none is in flight
/// through the upgrade.
#[test]
fn page_in_a_browser_sees_no_error_through_reloads_and_is_there_after_an_upgrade() {
    let site = Site::start();
    let mut browser = Browser::start();
    browser.call("Security.setIgnoreCertificateErrors", &json!({ "ignore": true }));
    browser.go(&format!("https://{}/", site.front));
    browser.evaluate(FETCHES);
    for seconds in [3, 4] {
        let before = browser.evaluate("run.served").as_u64().unwrap();
        wait::until("fetches are served", PATIENCE, || {
            (browser.evaluate("run.served").as_u64().unwrap() > before + 100).then_some(())
        });
        site.lb.reload(&format!("{}check = {{ interval = \"{seconds}s\" }}\n", site.text));
    }
    browser.evaluate("run.stop = true");
    wait::until("no fetch is in flight", PATIENCE, || (browser.evaluate("run.ended") == true).then_some(()));
    let protocols = "performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)";
    assert_eq!(browser.evaluate(&format!("[...new Set({protocols})].join()")), "h2");
    assert_eq!(browser.evaluate("run.wrong.join()"), "", "{:?}\n{}", browser.complaints(), site.lb.log());
    site.upgrade();
    browser.reload();
    assert!(browser.text().starts_with("web"), "{}", browser.text());
    assert_eq!(browser.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol"), "h2");
    site.assert_that_upgrades_cut_nothing(1);
}

/// What a WebSocket was told, and what it says at its end.
const TALK: &str = "window.talk = { heard: [], closed: null };
    const socket = new WebSocket('wss://' + location.host + '/chat');
    socket.onopen = () => { for (let n = 0; n < 50; n++) socket.send('x'.repeat(1000) + n); };
    socket.onmessage = event => { talk.heard.push(event.data.slice(1000)); if (talk.heard.length === 50) socket.close(1000, 'done'); };
    socket.onclose = event => { talk.closed = [event.code, event.wasClean].join(); };
    0";

/// RFC 8441. With HTTP/1.1 names of fields are as Chromium writes them there.
#[test]
fn page_in_a_browser_has_its_websocket_on_the_connection_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate::self_signed(folder.path());
    let said = folder.path().join("server");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http2/websocket.py");
    let _server = Running::start(Command::new("/usr/bin/python3").arg(script), &said);
    let port: u16 = wait::until("the server's port", PATIENCE, || {
        fs::read_to_string(&said).unwrap().lines().next()?.parse().ok()
    });
    let front = unused_address(8443);
    let lb = Plain::start(&format!(
        "[listen.web]\nbind = {{ address = \"{front}\", tls = \"{certificate}\" }}\nserver.one = \"127.0.0.1:{port}\"\n"
    ));
    let mut browser = Browser::start();
    browser.call("Security.setIgnoreCertificateErrors", &json!({ "ignore": true }));
    browser.go(&format!("https://{front}/"));
    assert_eq!(browser.text(), "page");
    browser.evaluate(TALK);
    wait::until("all is said", PATIENCE, || (browser.evaluate("talk.closed") != Value::Null).then_some(()));
    assert_eq!(browser.evaluate("talk.closed"), "1000,true", "{:?}\n{}", browser.complaints(), lb.log());
    let numbers: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(browser.evaluate("talk.heard.join()"), numbers.join(","));
    let heads = fs::read_to_string(&said).unwrap();
    assert!(
        heads.contains("GET /chat HTTP/1.1\\r\\nhost: ") && heads.contains("\\r\\nsec-websocket-key: "),
        "{heads}"
    );
}
