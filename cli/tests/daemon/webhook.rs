//! `[notify.*]` with a URL: a web server is sent what happens, whatever it makes of it.

use std::{
    fs,
    io::{BufReader, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    harness::{Daemon, file, lbctl, unused_address},
    hook::{Hook, in_short, read},
    notify::{notifier, server_is},
};

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nlater";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n\r\nno \x1bsuch hook\n";
const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: https://new.example/hook\r\nContent-Length: 0\r\n\r\n";

/// One table for each name and URL.
pub(crate) fn tables(hooks: &[(&str, String)]) -> String {
    hooks.iter().map(|(name, keys)| format!("[notify.{name}]\n{keys}\n")).collect()
}

fn url(address: SocketAddr) -> String {
    format!("url = \"http://{address}/hook?a=b\"\n")
}

/// A daemon whose server goes down once it is up: three events.
pub(crate) fn start(notifies: &str, prepare: impl FnOnce(&Path)) -> Daemon {
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let frontend = unused_address();
    let text = format!("{}\n{notifies}", file("tcp", frontend, server.local_addr().expect("bound")));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).map(Path::new).expect("the file");
        prepare(path.parent().expect("a folder"));
    });
    daemon.wait_until("the server is up", |daemon| server_is(daemon, "up"));
    daemon
}

/// Its secrets, in files of a mode.
pub(crate) fn secret(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("written");
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).expect("changed");
}

pub(crate) fn problem(daemon: &Daemon, name: &str) -> String {
    notifier(daemon, name)["problem"]["what"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn each_event_is_posted_in_order_with_the_headers_of_the_file_and_again_after_503() {
    let hook = Hook::start(&[OK, BUSY, OK]);
    let keys = format!("{}headers_file = \"headers\"\n", url(hook.address));
    let daemon = start(&tables(&[("hook", keys)]), |folder| {
        secret(folder, "headers", "Authorization: Bearer 4b1d\n\nX-Team:  net \n");
    });
    daemon.wait_until("all is told", |_| hook.events().len() == 4);
    assert_eq!(hook.events(), ["node running", "server down", "server down", "backend down"]);
    let (head, event) = hook.got().swap_remove(0);
    for line in [
        "post /hook?a=b http/1.1",
        &format!("host: {}", hook.address),
        "content-type: application/json",
        "authorization: bearer 4b1d",
        "x-team: net",
        &format!("user-agent: lbctl/{}", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
    let text = event["text"].as_str().expect("a text");
    assert!(text.contains(": node ") && text.contains(" -> running"), "{text}");
    let told = |daemon: &Daemon, counts: [u64; 3]| {
        let one = notifier(daemon, "hook");
        ["told_total", "failed_total", "waiting"].map(|key| one[key].as_u64().unwrap_or(99)) == counts
    };
    daemon.wait_until("nothing is wrong any more", |daemon| {
        told(daemon, [3, 0, 0]) && problem(daemon, "hook").is_empty()
    });
    assert_eq!(notifier(&daemon, "hook")["means"], format!("webhook http://{}", hook.address));
    assert!(
        daemon
            .log()
            .contains("was not told what happened notify=\"hook\" event=2 reason=\"it answers 503: later\"")
    );
    // One that nobody can be told is tried again through an upgrade, and told by the process that is there then.
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    assert!(daemon.verb(&["stop"]).status.success(), "{}", daemon.log());
    daemon.wait_until("the end is told", |_| hook.events().len() == 5);
    assert_eq!(hook.events()[4], "node stopping");
    assert!(!daemon.log().to_lowercase().contains("4b1d"), "{}", daemon.log());
}

#[test]
fn what_a_server_says_of_its_secret_is_masked_wherever_it_is_told() {
    let told = "HTTP/1.1 403 Forbidden\r\nContent-Length: 60\r\n\r\nno team at /services/T0C4F3/xK9 for a b, token abc7 is not it\n";
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://new.example/v2/services/T0C4F3?key=s3cr3t\r\nContent-Length: 0\r\n\r\n";
    let hooks = [("told", Hook::start(&[told])), ("moved", Hook::start(&[moved]))];
    let keys = |hook: &Hook| {
        format!(
            "url = \"http://{}/services/T0C4F3/xK9?key=s3cr3t\"\nheaders_file = \"headers\"\n",
            hook.address
        )
    };
    let tables = tables(&hooks.iter().map(|(name, hook)| (*name, keys(hook))).collect::<Vec<_>>());
    let daemon = start(&tables, |folder| secret(folder, "headers", "Authorization: token abc7\n"));
    daemon.wait_until("both have answered", |daemon| {
        hooks.iter().all(|(name, _)| notifier(daemon, name)["failed_total"].as_u64() > Some(0))
    });
    let why = problem(&daemon, "told") + &notifier(&daemon, "told")["problem"].to_string();
    assert!(why.contains("it answers 403: no team at /***/***/xK9 for a b, *** is not i"), "{why}");
    let moved = notifier(&daemon, "moved")["problem"].to_string();
    assert!(
        moved.contains("it answers 307 and sends on to https://new.example/v2/***/***?key=***;"),
        "{moved}"
    );
    let shown = daemon.verb(&["status", "--json"]).stdout;
    for text in [daemon.log(), String::from_utf8_lossy(&shown).into_owned()] {
        for secret in ["T0C4F3", "s3cr3t", "abc7"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[test]
fn who_refuses_sends_on_or_says_nothing_is_named_and_not_asked_twice() {
    let answers = [("missing", MISSING), ("moved", MOVED), ("silent", "")];
    let hooks: Vec<_> = answers.iter().map(|(name, answer)| (*name, Hook::start(&[answer]))).collect();
    let keys = |hook: &Hook| url(hook.address) + "timeout = \"300ms\"\n";
    let daemon =
        start(&tables(&hooks.iter().map(|(name, hook)| (*name, keys(hook))).collect::<Vec<_>>()), |_| {});
    daemon.wait_until("all have had their turn", |daemon| {
        hooks.iter().all(|(name, _)| notifier(daemon, name)["failed_total"] == 3)
    });
    for (name, why) in [
        ("missing", "it answers 404: no ?such hook"),
        ("moved", "it answers 302 and sends on to https://new.example/hook; is that the url?"),
        ("silent", "no answer within 300ms"),
    ] {
        assert_eq!(problem(&daemon, name), why);
    }
    for (name, hook) in &hooks {
        assert_eq!(hook.events(), ["node running", "server down", "backend down"], "{name}");
    }
}

#[test]
fn who_is_not_there_is_told_all_of_it_once_he_is_or_once_the_file_says_where() {
    let (nowhere, later) = (unused_address(), unused_address());
    let daemon = start(&tables(&[("moves", url(nowhere)), ("comes", url(later))]), |_| {});
    daemon.wait_until("what is wrong is said", |daemon| {
        problem(daemon, "moves") == format!("{nowhere}: connection refused")
            && problem(daemon, "comes") == format!("{later}: connection refused")
    });
    daemon.wait_until("all has happened", |daemon| {
        server_is(daemon, "down") && notifier(daemon, "moves")["waiting"] == 3
    });
    assert_eq!(notifier(&daemon, "moves")["failed_total"], 0, "it is not over");
    let hook = Hook::start(&[OK]);
    let path = daemon.folder.path().join("lb.toml");
    let text =
        fs::read_to_string(&path).expect("read").replace(&nowhere.to_string(), &hook.address.to_string());
    fs::write(&path, text).expect("written");
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    let all = ["node running", "server down", "backend down"];
    daemon.wait_until("the new place is told", |_| hook.events() == all);
    let late = Hook::at(TcpListener::bind(later).expect("free"), &[OK]);
    // What waits for the next attempt does not wait at the end.
    assert!(daemon.verb(&["stop"]).status.success(), "{}", daemon.log());
    daemon.wait_until("the end is told, and all before it", |_| late.events().len() == 4);
    assert_eq!(late.events(), ["node running", "server down", "backend down", "node stopping"]);
}

#[test]
fn a_url_that_is_a_secret_stands_in_a_file_of_its_own_and_another_one_comes_with_a_reload() {
    let (first, second) = (Hook::start(&[OK]), Hook::start(&[OK]));
    let address = |hook: &Hook| format!("http://{}/4b1d?key=4b1d\n", hook.address);
    let daemon = start(&tables(&[("hook", "url_file = \"hook-url\"\n".to_owned())]), |folder| {
        secret(folder, "hook-url", &address(&first));
    });
    daemon.wait_until("all is told", |_| first.events().len() == 3);
    assert!(first.got()[0].0.starts_with("post /4b1d?key=4b1d http/1.1\r\n"), "{:?}", first.got());
    secret(daemon.folder.path(), "hook-url", &address(&second));
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    assert!(daemon.verb(&["stop"]).status.success(), "{}", daemon.log());
    daemon.wait_until("the end is told at the new place", |_| second.events() == ["node stopping"]);
    let file = daemon.folder.path().join("lb.toml");
    let effective = lbctl().args(["check", "--effective"]).arg(&file).output().expect("ran");
    let effective = String::from_utf8_lossy(&effective.stdout).into_owned();
    assert!(effective.contains("url_file = \"hook-url\""), "{effective}");
    assert!(!effective.contains("4b1d") && !daemon.log().contains("4b1d"), "{effective}{}", daemon.log());
    fs::set_permissions(daemon.folder.path().join("hook-url"), fs::Permissions::from_mode(0o644))
        .expect("changed");
    let refused = lbctl().arg("check").arg(&file).output().expect("ran");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("\"hook-url\" has the mode 0644, so everybody"), "{why}");
}

#[test]
fn more_than_can_wait_for_who_is_not_there_is_lost_counted_and_said() {
    let (later, servers, frontend) = (unused_address(), unused_address(), unused_address());
    // Nobody listens at any of them: as many events, while the first one of all waits to be told.
    let servers: Vec<_> = (1..=1_100).map(|port| format!("\"{}:{port}\"", servers.ip())).collect();
    let text = format!(
        "[listen.web]\nmode = \"tcp\"\nbind = \"{frontend}\"\nservers = [{}]\n\
         check = {{ interval = \"200ms\", timeout = \"1s\", rise = 1, fall = 1 }}\n\n\
         [notify.hook]\n{}events = [\"node\", \"backend\"]\n",
        servers.join(", "),
        url(later)
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    daemon.wait_until("all has happened", |daemon| daemon.log().contains("no usable server is left"));
    let hook = Hook::at(TcpListener::bind(later).expect("free"), &[OK]);
    daemon.wait_until("what is left is told", |_| hook.events().contains(&"backend down".to_owned()));
    assert_eq!(hook.events(), ["backend down"], "the first one is lost");
    let lost = notifier(&daemon, "hook")["lost_total"].as_u64().unwrap_or_default();
    assert!((1..=78).contains(&lost), "{lost} of 1,102, of which 1,024 wait");
    assert!(daemon.log().contains("events were lost: they came faster than they were told notify=\"hook\""));
}

/// OpenSSL's server on the way to a test: what a client says comes out of it, and it says what it is told.
struct Secured(Child);

impl Secured {
    /// With a certificate of an authority of its own, `ca.pem` in `folder`.
    fn start(folder: &Path, address: SocketAddr) -> Self {
        let run = |arguments: &[&str]| {
            let made = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        let key = ["-nodes", "-days", "30", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        run(&[&["req", "-x509", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"], &key[..]].concat());
        let san = format!("subjectAltName=IP:{}", address.ip());
        let of = ["req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=hook", "-addext", &san];
        let own =
            ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "hook.key", "-out", "hook.pem"];
        run(&[&of[..], &own, &key].concat());
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(["s_server", "-quiet", "-cert", "hook.pem", "-key", "hook.key"]);
        command.args(["-accept", &address.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().expect("openssl"))
    }

    /// The next request, which it answers.
    fn takes(&mut self) -> Value {
        let mut output = BufReader::with_capacity(1, self.0.stdout.as_mut().expect("piped"));
        let (_, event) = read(&mut output).expect("a request");
        self.0.stdin.as_mut().expect("piped").write_all(OK.as_bytes()).expect("sent");
        event
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn over_tls_a_certificate_has_to_lead_to_an_authority_of_the_file_or_of_the_machine() {
    let (address, made) = (unused_address(), tempfile::tempdir().expect("a folder"));
    let mut server = Secured::start(made.path(), address);
    let url = format!("url = \"https://{address}/\"\n");
    let keys = format!("{url}ca_file = \"ca.pem\"\nevents = [\"node\"]\n");
    let other = format!("{url}events = [\"backend\"]\n");
    let daemon = start(&tables(&[("known", keys), ("unknown", other)]), |folder| {
        fs::copy(made.path().join("ca.pem"), folder.join("ca.pem")).expect("copied");
    });
    assert_eq!(in_short(&server.takes()), "node running");
    daemon.wait_until("it is told", |daemon| notifier(daemon, "known")["told_total"] == 1);
    daemon.wait_until("who is not known is told nothing", |daemon| {
        problem(daemon, "unknown") == "its certificate leads to no authority that is trusted (`ca_file`)"
    });
    assert_eq!(notifier(&daemon, "known")["means"], format!("webhook https://{address}"));
}
