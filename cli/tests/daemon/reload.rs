//! `lbctl reload` and SIGHUP: all of a file or nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, file, get, lbctl, unused_address, web_server};

impl Daemon {
    fn write(&self, text: &str) {
        std::fs::write(self.folder.path().join("lb.toml"), text).expect("written");
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("lb.toml")).expect("read")
    }

    fn check(&self) -> Output {
        lbctl().arg("check").arg(self.folder.path().join("lb.toml")).output().expect("ran")
    }

    #[track_caller]
    fn reload(&self) -> String {
        let output = self.verb(&["reload"]);
        assert_eq!(output.status.code(), Some(0), "{}{}", stderr(&output), self.log());
        stdout(&output)
    }

    /// `nothing` of the file is in force: what ran before serves, and the status says that a reload was refused.
    #[track_caller]
    fn assert_refused(&self, hash: &serde_json::Value, why: &str) {
        assert_eq!(get(self.frontend).as_deref(), Some("hello"), "{}", self.log());
        let status = self.status_json().expect("answers");
        assert_eq!((&status["file"]["hash"], &status["file"]["generation"]), (hash, &1.into()));
        let problem = &status["problems"][0];
        assert_eq!(problem["what"], "the last reload was refused", "{status}");
        assert!(problem["look_at"].as_str().expect("text").contains(why), "{problem}");
        self.wait_until("the refusal is in the log", |daemon| daemon.log().contains(why));
        assert_eq!(self.verb(&["status"]).status.code(), Some(2));
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn one_more(frontend: SocketAddr, server: SocketAddr) -> String {
    format!("\n[listen.more]\nbind = \"{frontend}\"\nservers = [\"{server}\"]\n")
}

fn start() -> (Daemon, SocketAddr, serde_json::Value) {
    let server = web_server(Duration::ZERO);
    let daemon = Daemon::start("http", server);
    let hash = daemon.status_json().expect("answers")["file"]["hash"].clone();
    (daemon, server, hash)
}

#[test]
fn changed_file_is_in_force_when_the_verb_returns_and_the_verb_says_what_changed() {
    let (daemon, server, before) = start();
    let more = unused_address();
    daemon.write(
        &(daemon.text().replace("drain_timeout = \"3s\"", "drain_timeout = \"4s\"")
            + &one_more(more, server)),
    );
    let said = daemon.reload();
    assert_eq!(get(more).as_deref(), Some("hello"), "{}", daemon.log());
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    let status = daemon.status_json().expect("answers");
    let hash = status["file"]["hash"].as_str().expect("a hash");
    let first = format!("file {}, was {}", &hash[..6], &before.as_str().expect("a hash")[..6]);
    assert_eq!(
        said.lines().map(str::trim).collect::<Vec<_>>()[1..],
        [
            "global changed (drain_timeout)".to_owned(),
            "frontend more added".to_owned(),
            "backend more added".to_owned(),
            format!("server more/{server} added"),
        ]
    );
    assert!(
        said.starts_with("reloaded in ") && said.lines().next().is_some_and(|line| line.ends_with(&first)),
        "{said}"
    );
    assert_eq!(status["file"]["generation"], 2);
    assert!(status["file"]["loaded"].as_str() > status["started"].as_str(), "{status}");
    assert!(stdout(&daemon.verb(&["status"])).contains(&format!("file {}, loaded ", &hash[..6])));
    daemon.wait_until("the log says so", |daemon| {
        let log = daemon.log();
        log.contains("reloaded") && log.contains(&format!("server more/{server} added"))
    });

    daemon.write(&daemon.text().replace(&one_more(more, server), ""));
    let output = daemon.verb(&["reload", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["generation"], &report["hash_before"]), (&3.into(), &hash.into()));
    assert_eq!(report["changes"].as_array().expect("a list").len(), 3, "{report}");
    assert_eq!(
        report["changes"][0],
        serde_json::json!({"what": "frontend more", "how": "removed", "keys": []})
    );
    // At once, where newcomers can be kept out by a filter; a kernel may keep that from an ordinary user.
    daemon.wait_until("nobody listens", |_| get(more).is_none());
    assert!(daemon.reload().ends_with(" as before, nothing is different\n"));
}

#[test]
fn warnings_of_the_file_are_shown_and_hinder_nothing() {
    let (daemon, server, _) = start();
    daemon.write(&format!("{}\n[backend.unused]\nservers = [\"{server}\"]\n", daemon.text()));
    let output = daemon.verb(&["reload"]);
    assert_eq!(output.status.code(), Some(0));
    let checked = stderr(&daemon.check());
    assert!(checked.contains("warning: "), "{checked}");
    assert_eq!(stderr(&output), checked);
}

#[test]
fn bad_file_ends_with_78_and_the_report_of_check_and_changes_nothing() {
    let (daemon, server, hash) = start();
    let good = daemon.text();
    let path = daemon.folder.path().join("lb.toml");
    let page = daemon.folder.path().join("503.http");
    let bad: [(&str, String, &str); 5] = [
        ("two errors", good.replace("bind", "bnd").replace("check", "chek"), "did you mean `bind`"),
        ("half written", good[..good.len() - 20].to_owned(), "lb.toml:"),
        ("nothing of it written: the disk is full", String::new(), "the file is empty"),
        ("no text", "\u{0}\u{1}".to_owned(), "lb.toml:"),
        ("a page that is not there", format!("{good}error_page.503 = \"{}\"\n", page.display()), "503.http"),
    ];
    let assert_78 = |name: &str, why: &str| {
        let output = daemon.verb(&["reload"]);
        assert_eq!(output.status.code(), Some(78), "{name}: {}", stderr(&output));
        let report = stderr(&output);
        assert_eq!(report, stderr(&daemon.check()), "{name}");
        assert!(report.contains(why) && report.ends_with(". Nothing was changed.\n"), "{name}: {report}");
        assert!(output.stdout.is_empty(), "{name}");
        daemon.assert_refused(&hash, why);
    };
    for (name, text, why) in bad {
        daemon.write(&text);
        assert_78(name, why);
    }
    std::fs::remove_file(&path).expect("there");
    assert_78("vanished", "does not exist");
    std::fs::create_dir(&path).expect("made");
    assert_78("a folder", "is a folder, not a file");
    std::fs::remove_dir(&path).expect("there");
    std::os::unix::fs::symlink("lb.toml", &path).expect("made");
    assert_78("unreadable, for root as well", "can't be read: ");
    std::fs::remove_file(&path).expect("there");

    daemon.write(&(good + &one_more(unused_address(), server)));
    daemon.reload();
    assert_eq!(daemon.verb(&["status"]).status.code(), Some(0), "the problem is over");
}

#[test]
fn map_is_read_again_and_one_that_is_gone_refuses_the_reload() {
    let (daemon, _, _) = start();
    let map = daemon.folder.path().join("hosts.map");
    std::fs::write(&map, "a one\n").expect("written");
    daemon.write(&format!("{}\n[map.hosts]\nfile = \"hosts.map\"\n", daemon.text()));
    daemon.reload();
    std::fs::write(&map, "a two\n").expect("written");
    let said = daemon.reload();
    assert!(said.ends_with(" as before\n  map hosts changed (the contents of a file)\n"), "{said}");
    std::fs::remove_file(&map).expect("there");
    let output = daemon.verb(&["reload"]);
    assert_eq!(output.status.code(), Some(78));
    let report = stderr(&output);
    let (place, said) = report.split_once(": ").expect("a place");
    let file = place.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
    assert_eq!(std::path::Path::new(file), daemon.folder.path().join("lb.toml"), "{report}");
    assert!(place.ends_with(":8"), "line and column: {report}");
    assert_eq!(
        said,
        format!("map `hosts`: {}: does not exist\n1 error. Nothing was changed.\n", map.display())
    );
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    assert_eq!(daemon.verb(&["status"]).status.code(), Some(2));
}

/// Whoever opens a pipe waits for somebody to write: one in the place of any file would hold every later reload up.
#[test]
fn pipe_in_the_place_of_a_file_is_refused_by_name_and_later_reloads_work() {
    let (daemon, server, hash) = start();
    let good = daemon.text();
    let pipe = daemon.folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let backend = format!("[backend.more]\nservers = [\"{server}\"]\n");
    let named = [
        ("map", "[map.hosts]\nfile = \"pipe\"\n".to_owned()),
        ("page", format!("{backend}error_page.503 = \"pipe\"\n")),
        ("users", "[users.staff]\nfile = \"pipe\"\n".to_owned()),
        ("content", format!("{backend}rules = [{{ respond = {{ status = 200, file = \"pipe\" }} }}]\n")),
    ];
    let refused = |name: &str, path: &str| {
        for verb in ["reload", "upgrade"] {
            let output = daemon.verb(&[verb]);
            let report = stderr(&output);
            let is_named =
                report.lines().any(|line| line.contains(path) && line.contains("is a pipe, not a file"));
            assert!(!output.status.success() && is_named, "{verb}, {name}: {report}");
            if verb == "reload" {
                assert_eq!(output.status.code(), Some(78), "{name}");
                daemon.assert_refused(&hash, "is a pipe, not a file");
            }
        }
    };
    for (name, section) in named {
        daemon.write(&format!("{good}\n{section}"));
        refused(name, "pipe");
    }
    let path = daemon.folder.path().join("lb.toml");
    std::fs::rename(&pipe, &path).expect("moved");
    refused("configuration", "lb.toml");

    std::fs::remove_file(&path).expect("there");
    daemon.write(&good);
    assert!(daemon.reload().ends_with(" as before, nothing is different\n"));
    daemon.assert_untouched();
}

#[test]
fn what_a_running_process_cannot_take_over_is_refused_by_name_with_1() {
    let (daemon, server, hash) = start();
    let more = unused_address();
    daemon.write(&(daemon.text().replace("threads = 2", "threads = 3") + &one_more(more, server)));
    let output = daemon.verb(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let why = "[global] threads: 2 run, and the file wants 3. That needs another process, which \
               loses no connection: lbctl upgrade";
    assert_eq!(stderr(&output), format!("lbctl: the daemon refuses: {why}\n"));
    daemon.assert_refused(&hash, why);
    assert!(get(more).is_none(), "nothing of the file is in force");
}

#[test]
fn address_that_this_machine_does_not_have_is_said_by_the_verb_and_in_the_log() {
    let (daemon, ..) = start();
    let warning = "warning: no interface has 192.0.2.77, where frontend web listens, and no [vip.*] brings it: nobody can \
                   come in there";
    daemon.write(&daemon.text().replace(&daemon.frontend.to_string(), "192.0.2.77:8000"));
    let output = daemon.verb(&["reload"]);
    assert_eq!(output.status.code(), Some(0));
    let file = daemon.folder.path().join("lb.toml");
    assert_eq!(stderr(&output), format!("{}: on this machine: {warning}\n", file.display()));
    let line = warning.trim_start_matches("warning: ");
    daemon.wait_until("it is in the log", |daemon| daemon.log().contains(line));
}

#[test]
fn port_that_is_taken_refuses_all_of_the_file() {
    let (daemon, server, hash) = start();
    let (free, taken) = (unused_address(), unused_address());
    let _other = TcpListener::bind(taken).expect("bound");
    let more = |name: &str, address| one_more(address, server).replace("more", name);
    daemon.write(&(daemon.text() + &more("free", free) + &more("taken", taken)));
    let output = daemon.verb(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let report = stderr(&output);
    assert!(report.contains(&format!("frontend taken: {taken}: ")), "{report}");
    daemon.assert_refused(&hash, &taken.to_string());
    assert!(get(free).is_none(), "nothing of the file is in force");
}

#[test]
fn sighup_is_a_reload_and_its_refusal_is_in_the_log() {
    let (daemon, server, hash) = start();
    let good = daemon.text();
    daemon.write(&good.replace("bind", "bnd"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_until("the refusal", |daemon| daemon.log().contains("reload refused"));
    daemon.assert_refused(&hash, "did you mean `bind`");
    let more = unused_address();
    daemon.write(&(good + &one_more(more, server)));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_until("it is in force", |_| get(more).is_some());
    daemon.wait_until("no problem", |daemon| daemon.verb(&["status"]).status.code() == Some(0));
}

#[test]
fn who_asks_during_a_reload_gets_what_the_file_has_by_then() {
    let (daemon, server, _) = start();
    let good = daemon.text();
    let more: Vec<_> = (0..8).map(|_| unused_address()).collect();
    thread::scope(|scope| {
        for address in &more {
            let (daemon, text) = (&daemon, good.clone() + &one_more(*address, server));
            scope.spawn(move || {
                // Whole files only, as every careful writer does it.
                let own = daemon.folder.path().join(format!("{}.new", address.ip()));
                std::fs::write(&own, text).expect("written");
                std::fs::rename(&own, daemon.folder.path().join("lb.toml")).expect("moved");
                daemon.reload();
            });
        }
    });
    let last = more.iter().find(|address| daemon.text().contains(&address.to_string())).expect("one of them");
    assert_eq!(get(*last).as_deref(), Some("hello"), "{}", daemon.log());
    daemon.wait_until("nobody listens elsewhere", |_| {
        !more.iter().any(|address| address != last && get(*address).is_some())
    });
}

#[test]
fn reload_during_a_stop_is_refused() {
    let frontend = unused_address();
    let text = file("tcp", frontend, web_server(Duration::from_secs(60)));
    let mut daemon = Daemon::spawn(&text.replace("\"3s\"", "\"60s\""), frontend, None);
    let mut client = TcpStream::connect(daemon.frontend).expect("connected");
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let status =
        |daemon: &Daemon, path: &str| daemon.status_json().and_then(|json| json.pointer(path).cloned());
    daemon.wait_until("the connection is served", |daemon| {
        status(daemon, "/frontends/0/connections") == Some(1.into())
    });
    thread::scope(|scope| {
        let stop = scope.spawn(|| daemon.verb(&["stop"]));
        daemon.wait_until("it stops", |daemon| status(daemon, "/phase") != Some("running".into()));
        let output = daemon.verb(&["reload"]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output), "lbctl: the daemon refuses: lbctl is about to stop\n");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(stop.join().expect("no panic").status.code(), Some(0));
    });
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
}

#[test]
fn file_of_standard_input_cant_be_reloaded() {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let path = command.get_args().nth(1).expect("the file").to_owned();
        let rest: Vec<_> = command.get_args().skip(2).map(ToOwned::to_owned).collect();
        *command = lbctl();
        command.args(["run", "-"]).args(rest).stdin(std::fs::File::open(path).expect("there"));
    });
    let output = daemon.verb(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("stdin, which can't be read again"), "{}", stderr(&output));
    daemon.assert_untouched();
    assert_eq!(daemon.status_json().expect("answers")["file"]["path"], "-");
}

#[test]
fn systemd_is_told_when_a_reload_begins_and_that_it_is_over_even_when_it_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let told = || {
        let mut buffer = [0; 300];
        let length = socket.recv(&mut buffer).expect("told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // Lines for `systemctl status` are between the others.
    let told = || std::iter::repeat_with(told).find(|state| !state.starts_with("STATUS=")).expect("told");
    assert_eq!(told(), "READY=1");
    for bad in [false, true] {
        if bad {
            daemon.write("nonsense");
        }
        daemon.signal(Signal::SIGHUP);
        let begun = told();
        let since_boot = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the time of it");
        assert!(since_boot.parse::<u64>().is_ok_and(|micros| micros > 0), "{begun}");
        assert_eq!(told(), "READY=1");
    }
}

#[test]
fn fifty_reloads_under_an_open_connection_leave_no_descriptor_thread_or_generation_behind() {
    let (daemon, server, _) = start();
    let good = daemon.text();
    let more = good.clone() + &one_more(unused_address(), server);
    let client = TcpStream::connect(daemon.frontend).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut reader = BufReader::new(&client);
    let mut exchange = || {
        (&client).write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).expect("an answer") > 0, "the connection is closed");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        assert_eq!(body, b"hello");
    };
    let count = |what: &str| {
        std::fs::read_dir(format!("/proc/{}/{what}", daemon.child.id())).expect("a process").count()
    };
    exchange();
    daemon.reload();
    let before = (count("fd"), count("task"));
    for round in 0..50 {
        daemon.write(if round % 2 == 0 { &more } else { &good });
        daemon.reload();
        exchange();
    }
    assert_eq!(daemon.status_json().expect("answers")["file"]["generation"], 52);
    // Checks and an upstream connection come and go; the blocking threads of tokio end by themselves.
    daemon.wait_until("descriptors as before", |_| count("fd") <= before.0 + 2);
    daemon.wait_until("threads as before", |_| count("task") <= before.1 + 2);
    daemon.wait_until("no old generation", |daemon| {
        daemon.status_json().is_some_and(|status| status["file"]["old_generations"] == 0)
    });
}

#[test]
fn file_that_was_named_from_its_folder_is_the_same_file_in_a_reload() {
    let (frontend, server) = (unused_address(), web_server(Duration::ZERO));
    let text = file("http", frontend, server) + "\n[map.hosts]\nfile = \"hosts.map\"\n";
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let file = std::path::Path::new(&arguments[1]);
        std::fs::write(file.with_file_name("hosts.map"), "a one\n").expect("written");
        let mut relative = lbctl();
        relative.stdin(Stdio::null()).stdout(Stdio::null()).arg("run").args(file.file_name());
        relative.args(&arguments[2..]).current_dir(file.parent().expect("a folder"));
        *command = relative;
    });
    let said = daemon.reload();
    assert!(!said.contains("hosts"), "{said}");
}

#[test]
fn what_a_reload_can_not_bring_into_force_ends_in_advice_that_does_not_lead_back_to_it() {
    let (daemon, _, hash) = start();
    daemon.write(&daemon.text().replace("threads = 2", "threads = 3"));
    let output = daemon.verb(&["reload"]);
    assert!(stderr(&output).contains("lbctl upgrade"), "{}", stderr(&output));
    daemon.assert_refused(&hash, "threads: 2 run, and the file wants 3");
    let screen = String::from_utf8_lossy(&daemon.verb(&["status"]).stdout).replace("\n  ", " ");
    assert!(screen.contains("What ran before runs on. Or, with "), "{screen}");
    assert!(!screen.contains("check --here"), "{screen}");
}
