//! Logs of a real process: to syslog, to files that are moved away, to its own output, and to places that aren't there.

use std::{
    net::{SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    harness::{Daemon, PATIENCE, file, get, unused_address, web_server},
    nameserver::nameserver,
};

/// A daemon that has `log` on its frontend, and another one in `[global]`.
fn start(log: &str, global: &str) -> Daemon {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO))
        .replace("[global]\n", &format!("[global]\n{global}\n"))
        .replace("[listen.web]\n", &format!("[listen.web]\n{log}\n"));
    let daemon = Daemon::spawn(&text, frontend, None);
    daemon.wait_until("it serves", |daemon| get(daemon.frontend).as_deref() == Some("hello"));
    daemon
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn problems(daemon: &Daemon) -> String {
    daemon.status_json().map(|status| status["problems"].to_string()).unwrap_or_default()
}

/// Messages of a socket until one has `wanted`.
fn until(socket: &UdpSocket, wanted: &str) -> String {
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut message = vec![0; 4096];
    loop {
        let length =
            socket.recv(&mut message).unwrap_or_else(|error| panic!("no line with {wanted}: {error}"));
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if text.contains(wanted) {
            return text;
        }
    }
}

fn udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

#[test]
fn syslog_gets_lines_of_the_process_that_was_started() {
    let (syslog, address) = udp();
    let mut daemon = start(
        "log = \"global\"\nlog_format = \"httplog\"",
        &format!("log = {{ syslog = \"{address}\", facility = \"local0\" }}"),
    );
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    let line = until(&syslog, "\"GET / HTTP/1.1\"");
    let tag = format!(" lbctl[{}]: 127.0.0.1:", daemon.child.id());
    assert!(
        line.starts_with("<134>") && line.contains(&tag) && line.contains(" web web/127.0.0.1:"),
        "{line}"
    );
    assert_eq!(daemon.verb(&["stop"]).status.code(), Some(0));
    daemon.wait_for_exit();
    let last = until(&syslog, "Proxy web stopped");
    assert!(last.contains("(cumulated conns: FE: "), "{last}");
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_by_the_verb_and_by_the_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let daemon = start(&format!("log = {{ file = {log:?} }}\nlog_format = \"httplog\""), "");
    daemon.wait_until("the first line", |_| read(&log).contains("\"GET / HTTP/1.1\"\n"));
    let mode = std::fs::metadata(&log).expect("there").permissions().mode();
    assert_eq!(mode & 0o007, 0, "nobody else reads who asked for what: {mode:o}");

    let first = folder.path().join("access.log.1");
    std::fs::rename(&log, &first).expect("moved");
    let said = daemon.verb(&["log", "reopen", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(report["files"][0], log.to_str().expect("UTF-8"));
    let said = daemon.verb(&["log", "reopen"]);
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("opened anew: {}\n", log.display()));
    daemon.wait_until("the file is there again", |_| log.exists());
    let moved = read(&first);
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    daemon.wait_until("a line in the new file", |_| read(&log).contains("\"GET / HTTP/1.1\"\n"));
    assert_eq!(read(&first), moved, "nothing more in the old one");

    std::fs::rename(&log, &first).expect("moved");
    daemon.signal(Signal::SIGUSR2);
    daemon.wait_until("the file is there again", |_| log.exists());
    daemon.assert_untouched();
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_named_and_the_verb_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).expect("made");
    let log = logs.join("access.log");
    let daemon = start(&format!("log = {{ file = {log:?} }}\nlog_format = \"httplog\""), "");
    daemon.wait_until("the first line", |_| read(&log).contains("\"GET / HTTP/1.1\"\n"));
    std::fs::rename(&logs, folder.path().join("moved")).expect("moved");
    let said = daemon.verb(&["log", "reopen"]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&said.stderr),
        format!(
            "lbctl: {} can't be opened: there is no such file or folder; its lines wait, and lbctl tries again\n",
            log.display()
        )
    );
    assert_eq!(said.stdout, b"");
}

#[test]
fn a_place_that_is_not_there_is_a_problem_until_it_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("later/access.log");
    let daemon = start(&format!("log = {{ file = {log:?} }}\nlog_format = \"httplog\""), "");
    let what = format!("the log to file {} gets nothing", log.display());
    daemon.wait_until("a problem", |daemon| problems(daemon).contains(&what));
    let told = problems(&daemon);
    assert!(told.contains("there is no such file or folder"), "{told}");
    daemon.assert_untouched();
    std::fs::create_dir(folder.path().join("later")).expect("made");
    daemon.wait_until("the lines that waited", |_| read(&log).contains("\"GET / HTTP/1.1\"\n"));
    daemon.wait_until("no problem", |daemon| !problems(daemon).contains(&what));
}

#[test]
fn a_name_that_never_resolves_is_told_of_at_once_and_its_lines_are_counted_at_the_end() {
    let mut daemon = start(
        "log = { syslog = \"log.lbctl.invalid\" }\nlog_format = \"httplog\"",
        &format!("nameservers = [\"{}\"]", nameserver(None)),
    );
    let target = "log.lbctl.invalid:514";
    let lines = |log: &str, what: &str| -> Vec<String> {
        let is_of_it = |line: &&str| line.contains(target) && line.contains(what);
        log.lines().filter(is_of_it).map(str::to_owned).collect()
    };
    daemon.wait_until("it is told", |daemon| !lines(&daemon.log(), "a log can't be written").is_empty());
    for _ in 0..3 {
        assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    }
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_exit();
    let log = daemon.log();
    let [told] = &lines(&log, "a log can't be written")[..] else { panic!("{log}") };
    assert!(told.contains("WARN") && told.contains("its name does not resolve: no such name"), "{told}");
    let [lost] = &lines(&log, "lines of a log are lost: the process ends")[..] else { panic!("{log}") };
    let (_, count) = lost.split_once(" lines=").expect("a number");
    let count: u32 = count.split(' ').next().expect("a number").parse().expect("a number");
    // With those of the start and of the end.
    assert!((5..20).contains(&count) && lost.contains(&format!("so_far={count} ")), "{lost}");
    assert!(lost.contains("its name does not resolve: no such name"), "{lost}");
}

#[test]
fn a_container_logs_to_its_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("stdout");
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO))
        .replace("[listen.web]\n", "[listen.web]\nlog = \"stdout\"\nlog_format = \"json\"\n");
    let stdout = std::fs::File::create(&output).expect("created");
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.stdout(stdout);
    });
    daemon.wait_until("it serves", |daemon| get(daemon.frontend).as_deref() == Some("hello"));
    daemon.wait_until("a line", |_| read(&output).contains('\n'));
    let text = read(&output);
    let line: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["method"], "GET", "{line}");
    assert_eq!(line["frontend"], "web");
}

/// All lines, each of which is an object with what every event has.
fn objects(text: &str) -> Vec<serde_json::Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let time =
        regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)$").expect("a pattern");
    let object = |line: &str| {
        let object: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(time.is_match(object["time"].as_str().expect("a time")), "{line}");
        let levels = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
        assert!(levels.contains(&object["level"].as_str().expect("a level")), "{line}");
        assert!(object["source"].is_string() && object["message"].is_string(), "{line}");
        object
    };
    whole.lines().map(object).collect()
}

#[test]
fn events_and_the_own_log_are_objects_wherever_they_go() {
    let (syslog, address) = udp();
    let folder = tempfile::tempdir().expect("a folder");
    let (log, output) = (folder.path().join("events.json"), folder.path().join("stdout"));
    let stdout = std::fs::File::create(&output).expect("created");
    let frontend = unused_address();
    let targets = format!(
        "[{{ syslog = \"{address}\", tag = \"lb\" }}, {{ file = {log:?}, format = \"raw\" }}, \"stdout\"]"
    );
    let text = file("http", frontend, web_server(Duration::ZERO))
        .replace("[global]\n", &format!("[global]\nlog = {targets}\nlog_event_format = \"json\"\n"))
        .replace("[listen.web]\n", "[listen.web]\nlog = \"global\"\nlog_format = \"json\"\n");
    let mut daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.stdout(stdout);
    });
    daemon.wait_until("it serves", |daemon| get(daemon.frontend).as_deref() == Some("hello"));
    let server = daemon.status_json().expect("answers")["backends"][0]["servers"][0]["name"].clone();
    let server = server.as_str().expect("a name");
    let name = format!("web/{server}");
    assert_eq!(daemon.verb(&["server", &name, "maint"]).status.code(), Some(0));
    let line = until(&syslog, "maintenance");
    let (header, object) = line.split_once("]: ").expect("a header");
    assert!(header.starts_with("<129>") && header.contains(" lb["), "{line}");
    let event = objects(object).remove(0);
    let node = event["node"].as_str().expect("a node").to_owned();
    for (member, value) in [
        ("level", "alert"),
        ("source", "health"),
        ("event", "server"),
        ("backend", "web"),
        ("server", server),
        ("from", "up"),
        ("to", "maintenance"),
    ] {
        assert_eq!(event[member], value, "{member} of {event}");
    }
    assert_eq!((&event["active"], &event["backup"]), (&0.into(), &false.into()));
    let words = format!(
        "Server {name} is going DOWN for maintenance. 0 active and 0 backup servers left. 0 sessions active, \
         0 requeued, 0 remaining in queue."
    );
    assert_eq!(event["message"], words);
    assert_eq!(daemon.verb(&["stop"]).status.code(), Some(0));
    daemon.wait_for_exit();
    for path in [&log, &output] {
        let text = read(path);
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let (traffic, events): (Vec<_>, Vec<_>) = lines.partition(|line| line["event"].is_null());
        assert!(!traffic.is_empty() && traffic.iter().all(|line| line["method"] == "GET"), "{text}");
        let kinds: Vec<_> = events.iter().map(|event| event["event"].clone()).collect();
        assert_eq!(kinds, ["server", "no_server", "stopped"], "{}", path.display());
    }
    let own = objects(&daemon.log());
    let find = |message: &str| own.iter().find(|line| line["message"] == message).expect(message);
    let change = find("server takes no new clients");
    for (member, value) in
        [("node", &*node), ("source", "health"), ("level", "info"), ("backend", "web"), ("to", "maintenance")]
    {
        assert_eq!(change[member], value, "{member} of {change}");
    }
    assert_eq!(find("lbctl runs")["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(find("stopped")["source"], "daemon");
}

#[test]
fn reload_makes_the_own_log_objects_and_texts_again() {
    let daemon = start("", "");
    let path = daemon.folder.path().join("lb.toml");
    let text = read(&path);
    let json = text.replacen("[global]\n", "[global]\nlog_event_format = \"json\"\n", 1);
    std::fs::write(&path, json).expect("written");
    assert_eq!(daemon.verb(&["reload"]).status.code(), Some(0));
    daemon.wait_until("an object", |daemon| daemon.log().contains("\n{"));
    let before = daemon.log();
    let (texts, own) = before.split_at(before.find("\n{").expect("an object") + 1);
    assert!(texts.contains(" INFO lbctl runs version="), "{texts}");
    assert!(objects(own).iter().any(|line| line["source"] == "reload" && line["took"].is_string()), "{own}");
    std::fs::write(&path, text).expect("written");
    assert_eq!(daemon.verb(&["reload"]).status.code(), Some(0));
    daemon.wait_until("a text", |daemon| daemon.log()[before.len()..].contains(" INFO "));
}

/// As logrotate runs it each night.
#[test]
fn rotation_reaches_a_daemon_and_is_silent_where_none_runs() {
    let file = include_str!("../../package/lbctl.logrotate");
    let (_, script) = file.split_once("postrotate\n").expect("a script");
    let (script, _) = script.split_once("endscript").expect("its end");
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    let socket = daemon.socket.display().to_string();
    // Where the package is not installed.
    let script = script
        .replace("/usr/lib/lbctl/control-sockets", "false")
        .replace("/run/lbctl/control.sock", &socket)
        .replace("/usr/bin/lbctl", env!("CARGO_BIN_EXE_lbctl"));
    assert!(script.contains("-S ") && script.contains("{ false ") && script.contains(&socket), "{script}");
    let run = || {
        let output = std::process::Command::new("sh").args(["-ec", &script]).output().expect("ran");
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    };
    run();
    assert!(daemon.log().contains("files of logs are opened anew"), "{}", daemon.log());
    assert!(daemon.verb(&["stop"]).status.success());
    daemon.wait_for_exit();
    run();
}

#[test]
fn reload_warns_of_a_log_whose_folder_is_not_there() {
    let daemon = start("", "");
    let log = daemon.folder.path().join("none/access.log");
    let path = daemon.folder.path().join("lb.toml");
    let text = read(&path).replace("[listen.web]\n", &format!("[listen.web]\nlog = {{ file = {log:?} }}\n"));
    std::fs::write(&path, text).expect("written");
    let output = daemon.verb(&["reload"]);
    assert!(output.status.success(), "{}", daemon.log());
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let wanted = format!("warning: the log to file {} would get nothing: there is no folder ", log.display());
    assert!(said.contains(&wanted), "{said}");
}
