//! The verbs where there is no daemon, no right to it, another version of it, or a stuck one.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, file, get, lbctl, unused_address, verb, web_server};

const VERBS: [&[&str]; 6] =
    [&["status"], &["status", "--json"], &["reload"], &["stop"], &["errors"], &["trace"]];

#[test]
fn without_a_daemon_every_verb_says_how_to_start_it() {
    for arguments in VERBS {
        let output = verb(arguments, Path::new("/nonexistent/lbctl/control.sock"));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let way = said.strip_prefix(
            "lbctl: lbctl is not running here (no /nonexistent/lbctl/control.sock); start it: ",
        );
        // What works on the machine that the test runs on.
        let ways = ["systemctl start lbctl\n", "/etc/init.d/lbctl start\n", "lbctl run /etc/lbctl/lb.toml\n"];
        assert!(way.is_some_and(|way| ways.contains(&way)), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn daemon_whose_runtime_folder_was_removed_is_said_to_run() {
    let frontend = unused_address();
    let daemon = Daemon::spawn(&file("http", frontend, web_server(Duration::ZERO)), frontend, None);
    daemon.wait_until("it serves", |daemon| get(daemon.frontend).as_deref() == Some("hello"));
    let socket = daemon.socket.clone();
    std::fs::remove_dir_all(socket.parent().expect("a folder")).expect("removed");
    let output = verb(&["status"], &socket);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted =
        format!("lbctl runs here, but {} is gone: somebody has removed it or its folder", socket.display());
    assert!(said.contains(&wanted), "{said}");
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
}

#[test]
fn the_socket_of_a_dead_daemon_is_no_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    drop(UnixListener::bind(&path).expect("bound"));
    for arguments in VERBS {
        let output = verb(arguments, &path);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("lbctl is not running here (nobody listens on "), "{text}");
    }
}

#[test]
fn without_the_right_every_verb_names_the_way_in() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let path = folder.path().join("control.sock");
    let _listener = UnixListener::bind(&path).expect("bound");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("set");
    // Root has every right; it drops to nobody, whom the binary's folder has to let in.
    let program = folder.path().join("lbctl");
    std::fs::copy(env!("CARGO_BIN_EXE_lbctl"), &program).expect("copied");
    let is_root = nix::unistd::geteuid().is_root();
    for arguments in VERBS {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).arg("--control").arg(&path);
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output().expect("ran");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            text.contains("no right to ") && text.contains("mode 0000): only ") && text.contains("use sudo"),
            "{text}"
        );
    }
}

/// Answers every request with `answer`, as a daemon of another time would.
fn fake_daemon(path: &Path, answer: String) {
    let listener = UnixListener::bind(path).expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

#[test]
fn a_daemon_of_another_version_is_understood_and_named() {
    let daemon = Daemon::start("tcp", web_server(Duration::ZERO));
    let mut status = daemon.status_json().expect("answers");
    status["version"] = "99.1.0".into();
    status["a_field_of_later"] = serde_json::json!({ "x": 1 });
    status.as_object_mut().expect("an object").remove("counters");
    let body = status.to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nlbctl-version: 99.1.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    fake_daemon(&path, answer);
    let output = verb(&["status"], &path);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the daemon is version 99.1.0"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("lbctl 99.1.0"));
}

#[test]
fn stop_understands_a_daemon_of_another_version_and_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let gone = path.clone();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the verb comes");
        let mut request = [0; 4096];
        let length = stream.read(&mut request).expect("a request");
        let body = r#"{"milliseconds":7,"cut":0,"groups":[],"a_field_of_later":1}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nlbctl-version: 99.1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("answered");
        std::fs::remove_file(gone).expect("the daemon ends");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let output = verb(&["stop"], &path);
    let request = daemon.join().expect("no panic");
    assert!(request.starts_with("POST /v1/stop HTTP/1.1\r\n"), "{request}");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("lbctl: the daemon is version 99.1.0, this is {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "stopped after 7 ms, nothing was cut\n");
}

#[test]
fn an_answer_that_can_not_be_read_names_the_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    fake_daemon(
        &path,
        "HTTP/1.1 200 OK\r\nlbctl-version: 99.1.0\r\nContent-Length: 7\r\n\r\n{\"x\":1}".to_owned(),
    );
    let output = verb(&["status"], &path);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("can't read the answer of lbctl 99.1.0"), "{text}");
}

#[test]
fn a_verb_that_an_older_daemon_does_not_know_names_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let body = r#"{"status":404,"title":"Not Found","detail":"there is nothing here"}"#;
    let length = body.len();
    fake_daemon(
        &path,
        format!("HTTP/1.1 404 Not Found\r\nlbctl-version: 0.0.9\r\nContent-Length: {length}\r\n\r\n{body}"),
    );
    let expected =
        format!("there is nothing here (the daemon is version 0.0.9, this is {})", env!("CARGO_PKG_VERSION"));
    for words in [&["status"][..], &["reload"], &["errors"], &["trace"], &["upgrade"], &["log", "reopen"]] {
        let output = verb(words, &path);
        assert_ne!(output.status.code(), Some(0), "{words:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(&expected), "{words:?}: {text}");
    }
}

#[test]
fn a_stuck_daemon_is_named_after_a_deadline() {
    let daemon = Daemon::start("tcp", web_server(Duration::ZERO));
    daemon.signal(Signal::SIGSTOP);
    let output = daemon.verb(&["status"]);
    daemon.signal(Signal::SIGCONT);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("does not answer"), "{text}");
    daemon.assert_untouched();
}

#[test]
fn status_is_the_same_facts_as_text_and_as_json() {
    let daemon = Daemon::start("tcp", web_server(Duration::ZERO));
    let shown = daemon.verb(&["status"]);
    assert_eq!(shown.status.code(), Some(0));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let json = daemon.status_json().expect("answers");
    let node = json["node"].as_str().expect("a name");
    let hash = &json["file"]["hash"].as_str().expect("a hash")[..6];
    assert!(text.starts_with(&format!("{node} · lbctl ")), "{text}");
    assert!(text.contains(&format!("file {hash}")) && text.contains("no problems"), "{text}");
    assert!(!text.contains('\x1b'), "no colour into a pipe");
}

#[test]
fn a_server_that_goes_down_is_a_problem_and_exit_2() {
    let daemon = Daemon::start("tcp", web_server(Duration::ZERO));
    let text = std::fs::read_to_string(daemon.folder.path().join("lb.toml")).expect("read");
    drop(daemon);
    let closed = unused_address();
    let frontend = unused_address();
    let servers = text.lines().find(|line| line.starts_with("servers")).expect("a line");
    let bind = text.lines().find(|line| line.starts_with("bind")).expect("a line");
    let text = text
        .replace(servers, &servers.replace(']', &format!(", \"{closed}\"]")))
        .replace(bind, &format!("bind = \"{frontend}\""));
    let daemon = Daemon::spawn(&text, frontend, None);
    daemon.wait_until("it is seen", |daemon| daemon.verb(&["status"]).status.code() == Some(2));
    let shown = daemon.verb(&["status"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let last: String = text.split("\n\n").last().unwrap_or_default().replace("\n ", "");
    assert!(last.starts_with(&format!("! web/{closed} is down for ")), "{text}");
    assert!(
        last.contains("connection refused. Does the service run there? The other server carries all."),
        "{text}"
    );
    daemon.wait_until("the log says why", |daemon| daemon.log().contains("connection refused"));
}

#[test]
fn watch_prints_again_and_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = folder.path().join("control.sock");
    let frontend = unused_address();
    let text = file("tcp", frontend, web_server(Duration::ZERO));
    let start = || Daemon::spawn(&text, frontend, Some(&control));
    let daemon = start();
    let mut child = lbctl()
        .args(["status", "--watch", "0.1", "--control"])
        .arg(&control)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdout = child.stdout.take().expect("piped");
    let mut wait_for = |what: &str, times: usize| {
        let (mut seen, mut buffer) = (String::new(), [0; 4096]);
        while seen.matches(what).count() < times {
            let length = stdout.read(&mut buffer).expect("read");
            assert!(length > 0, "ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    wait_for("FRONTEND", 3);
    drop(daemon);
    wait_for("is not running here", 1);
    let _daemon = start();
    wait_for("FRONTEND", 3);
    child.kill().expect("killed");
    child.wait().expect("a child");
}

#[test]
fn nothing_that_a_daemon_says_is_obeyed_by_the_terminal() {
    const EVIL: &str = "x\\u001b[31mE\\u009b2J\\u0007\\u202e\\rY";
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = |name: &str, status: &str, body: String| {
        let path = folder.path().join(name);
        let length = body.len();
        fake_daemon(
            &path,
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"),
        );
        path
    };
    let check = |arguments: &[&str], path: &Path, code: i32| {
        let output = verb(arguments, path);
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
        let hidden = said.chars().find(|one| *one != '\n' && lb_proxy::is_hidden(*one));
        assert_eq!((hidden, output.status.code()), (None, Some(code)), "{arguments:?}: {said:?}");
        assert!(
            said.contains("x?[31mE?2J???Y") || said.contains("x\\u001b[31mE\\u009b2J"),
            "{arguments:?}: {said}"
        );
    };

    let problem = |status: u16| format!(r#"{{"status":{status},"title":"no","detail":"{EVIL}"}}"#);
    let refusing = daemon("refusing", "409 Conflict", problem(409));
    let bad_file = daemon("bad-file", "422 Unprocessable Content", problem(422));
    let orders: [&[&str]; 12] = [
        &["status"],
        &["errors"],
        &["trace"],
        &["reload"],
        &["upgrade"],
        &["switchover"],
        &["drain"],
        &["resume"],
        &["stop"],
        &["server", "app/web1", "ready"],
        &["frontend", "web", "pause"],
        &["log", "reopen"],
    ];
    for arguments in orders {
        check(arguments, &refusing, 1);
    }
    check(&["reload"], &bad_file, 78);
    check(&["diff"], &bad_file, 78);

    let moved = format!(
        r#"{{"node":"a","milliseconds":1,"cut":0,"dry_run":false,"groups":[{{"group":"{EVIL}","to":"b"}}]}}"#
    );
    let moving = daemon("moving", "200 OK", moved);
    check(&["switchover"], &moving, 0);
    check(&["switchover", "--json"], &moving, 0);
    let report = format!(r#"{{"milliseconds":1,"pid":1,"version":"{EVIL}","version_before":"0"}}"#);
    check(&["upgrade"], &daemon("upgrading", "200 OK", report), 0);
    let failed = format!(r#"{{"files":["a"],"failed":[{{"file":"{EVIL}","why":"so"}}]}}"#);
    check(&["log", "reopen"], &daemon("reopening", "200 OK", failed), 1);
}

#[test]
fn stop_from_outside_a_container_waits_for_the_process_in_it() {
    let frontend = unused_address();
    let text = file("tcp", frontend, web_server(Duration::ZERO));
    let mut daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        let mut outer = std::process::Command::new("unshare");
        outer
            .args(["-Urpf", "--kill-child", "--mount-proc"])
            .arg(command.get_program())
            .args(command.get_args());
        outer.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        outer.stdin(Stdio::null()).stdout(Stdio::null());
        *command = outer;
    });
    assert_eq!(daemon.status_json().expect("a status")["pid"], 1);
    let output = daemon.verb(&["stop", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "process 1 of this machine has not ended: {said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["pid"], &report["cut"]), (&1.into(), &0.into()));
    assert!(daemon.wait_for_exit().success());
}

#[test]
fn json_of_orders_and_of_refusals_is_what_the_daemon_has_answered() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    let said = |words: &[&str]| {
        let output = daemon.verb(&[words, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = serde_json::from_str::<serde_json::Value>(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        (output.status.code(), json, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, json, _) = said(&["log", "reopen"]);
    assert_eq!(
        (code, &json["files"], &json["failed"]),
        (Some(0), &serde_json::json!([]), &serde_json::json!([]))
    );
    let (code, json, errors) = said(&["server", "web/none", "drain"]);
    assert_eq!((code, &json["status"]), (Some(2), &serde_json::json!(404)));
    assert_eq!(errors, format!("lbctl: {}\n", json["detail"].as_str().expect("a sentence")));
    let (code, json, errors) = said(&["switchover"]);
    assert_eq!((code, &json["status"]), (Some(1), &serde_json::json!(409)), "{json}");
    assert!(errors.ends_with(&format!("{}\n", json["detail"].as_str().expect("a sentence"))), "{errors}");
    std::fs::write(daemon.folder.path().join("lb.toml"), "[listen.web]\nbnd = 1\n").expect("written");
    for verb in ["reload", "diff"] {
        let (code, json, errors) = said(&[verb]);
        assert_eq!((code, &json["status"]), (Some(78), &serde_json::json!(422)), "{json}");
        assert!(json["detail"].as_str().is_some_and(|detail| errors.contains(detail)), "{json} {errors}");
    }
    let (code, json, _) = said(&["stop"]);
    assert_eq!(
        (code, &json["cut"], &json["pid"]),
        (Some(0), &serde_json::json!(0), &daemon.child.id().into())
    );
    assert!(daemon.wait_for_exit().success());
}
