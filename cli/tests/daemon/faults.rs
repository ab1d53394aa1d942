//! Faults of the machine around a daemon: it goes on, or says exactly why it can't.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, PATIENCE, file, get, lbctl, unused_address, verb, web_server};

/// How often a daemon said so.
fn said(daemon: &Daemon, words: &str) -> usize {
    daemon.log().matches(words).count()
}

fn stderr_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `sh` runs `before` and becomes `command`.
fn after(before: &str, command: &Command) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    sh.stdin(Stdio::null());
    sh
}

const RESTORED: &str = "removed by somebody; it is there again";

#[test]
fn a_control_socket_that_somebody_removes_is_there_again() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    fs::remove_file(&daemon.socket).expect("removed");
    daemon.wait_until("it says so", |daemon| said(daemon, RESTORED) == 1);
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    daemon.assert_untouched();
    let second = lbctl()
        .args(["run", "lb.toml", "--runtime-dir", "run"])
        .current_dir(daemon.folder.path())
        .output()
        .expect("ran");
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr_of(&second).contains("another lbctl runs here"), "{}", stderr_of(&second));
    assert!(daemon.verb(&["stop"]).status.success());
    assert!(daemon.wait_for_exit().success());
    assert!(!daemon.socket.exists());
}

/// Its folder as well, unless Landlock keeps the daemon to the one that it had.
#[test]
fn a_runtime_folder_that_somebody_removes_is_there_again() {
    let (frontend, server) = (unused_address(), web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&file("http", frontend, server), frontend, None, |command| {
        command.arg("--unconfined");
    });
    fs::remove_dir_all(daemon.folder.path().join("run")).expect("removed");
    daemon.wait_until("it says so", |daemon| said(daemon, RESTORED) == 1);
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    daemon.assert_untouched();
}

#[test]
fn a_control_socket_that_cannot_be_made_again_is_said_once_and_clients_and_signals_are_served() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    let (run, away) = (daemon.folder.path().join("run"), daemon.folder.path().join("away"));
    fs::rename(&run, &away).expect("renamed");
    fs::write(&run, "").expect("a file in its place");
    let words = "no verb reaches this daemon: can't create ";
    daemon.wait_until("it says so", |daemon| said(daemon, words) == 1);
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_until("it reloads", |daemon| said(daemon, "reloaded hash=") == 1);
    fs::remove_file(&run).expect("removed");
    fs::rename(&away, &run).expect("renamed");
    daemon.wait_until("it answers again", |daemon| daemon.status_json().is_some());
    daemon.assert_untouched();
    assert_eq!(said(&daemon, words), 1, "{}", daemon.log());
    fs::rename(&run, &away).expect("renamed");
    daemon.signal(Signal::SIGUSR1);
    assert!(daemon.wait_for_exit().success());
}

/// `lbctl run` whose runtime folder is a tmpfs with these options; what it says when it ends.
fn run_on(options: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = file("http", unused_address(), ([127, 0, 0, 1], 1).into());
    fs::write(folder.path().join("lb.toml"), text).expect("written");
    fs::create_dir(folder.path().join("run")).expect("made");
    let mut run = lbctl();
    run.args(["run", "lb.toml", "--runtime-dir", "run"]);
    let mut alone = Command::new("unshare");
    let inside = after(&format!("mount -t tmpfs -o {options} tmpfs run || exit 99"), &run);
    alone.args(["--user", "--map-root-user", "--mount"]).arg(inside.get_program()).args(inside.get_args());
    let output = alone.current_dir(folder.path()).stdin(Stdio::null()).output().expect("ran");
    (output.status.code(), stderr_of(&output))
}

#[test]
fn a_runtime_folder_that_is_full_or_read_only_is_said_with_what_to_do() {
    let (code, said) = run_on("size=4k,nr_inodes=2");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("can't bind run/control.sock: No space left on device (os error 28); make room there"),
        "{said}"
    );
    let (code, said) = run_on("ro");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Read-only file system (os error 30); mount it for writing"), "{said}");
}

/// A verb whose output goes to a disk that is full.
fn on_a_full_disk(daemon: &Daemon, words: &[&str]) -> (Option<i32>, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = lbctl().args(words).arg("--control").arg(&daemon.socket).stdout(full).output().expect("ran");
    (output.status.code(), stderr_of(&output))
}

#[test]
fn verbs_on_a_full_disk_do_what_they_should_and_say_what_they_could_not() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    for words in [&["status"][..], &["status", "--watch", "1"], &["reload"], &["log", "reopen"], &["stop"]] {
        let (code, said) = on_a_full_disk(&daemon, words);
        assert_eq!(code, Some(1), "{words:?}: {said}");
        assert_eq!(
            said, "lbctl: can't write to stdout: No space left on device (os error 28)\n",
            "{words:?}"
        );
    }
    assert!(daemon.log().contains("reloaded hash="), "{}", daemon.log());
    assert!(daemon.wait_for_exit().success());
}

#[test]
fn a_verb_whose_reader_is_gone_does_what_it_should() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    for words in [&["log", "reopen"][..], &["stop"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output =
            lbctl().args(words).arg("--control").arg(&daemon.socket).stdout(writer).output().expect("ran");
        assert_eq!((output.status.code(), stderr_of(&output).as_str()), (Some(0), ""), "{words:?}");
    }
    assert!(daemon.wait_for_exit().success());
}

#[test]
fn a_daemon_whose_own_log_is_on_a_full_disk_serves_and_obeys() {
    let folder = tempfile::tempdir().expect("a folder");
    let frontend = unused_address();
    let path = folder.path().join("lb.toml");
    fs::write(&path, file("http", frontend, web_server(Duration::ZERO))).expect("written");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut run = lbctl();
    run.arg("run").arg(&path).arg("--runtime-dir").arg(folder.path().join("run"));
    let mut child = run.stderr(full).stdout(Stdio::null()).spawn().expect("started");
    let socket = folder.path().join("run/control.sock");
    let end = std::time::Instant::now() + PATIENCE;
    while get(frontend).as_deref() != Some("hello") {
        assert!(std::time::Instant::now() < end && child.try_wait().expect("a child").is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(verb(&["reload"], &socket).status.success());
    assert_eq!(get(frontend).as_deref(), Some("hello"));
    assert!(verb(&["stop"], &socket).status.success());
    assert!(child.wait().expect("a child").success());
}

/// Sends a request and keeps the connection.
fn ask(frontend: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(frontend).expect("the kernel takes it");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
    client
}

fn is_answered(client: &mut TcpStream) -> bool {
    let mut answer = [0; 256];
    client.read(&mut answer).is_ok_and(|length| answer[..length].ends_with(b"hello"))
}

/// Clients take all connections that the limit on open files allows, which is far less than `maxconn`.
#[test]
fn clients_that_take_every_descriptor_leave_enough_for_checks_verbs_and_the_next_process() {
    let (frontend, server) = (unused_address(), web_server(Duration::ZERO));
    let text = file("tcp", frontend, server).replace("[global]\n", "[global]\nmaxconn = 5000\n");
    let daemon =
        Daemon::spawn_with(&text, frontend, None, |command| *command = after("ulimit -n 160", command));
    let status = |daemon: &Daemon| daemon.status_json().expect("it answers");
    let usable = status(&daemon)["maxconn"].as_u64().expect("a number");
    assert!((5..30).contains(&usable), "{usable}");
    let mut clients: Vec<_> = (0..usable).map(|_| ask(frontend)).collect();
    assert!(clients.iter_mut().all(is_answered), "{}", daemon.log());
    let mut late = ask(frontend);
    daemon.wait_until("it is full, and says so", |daemon| {
        let problems = status(daemon)["problems"].to_string();
        problems.contains("the process is full")
            && problems.contains("open files are too few for maxconn 5000")
    });
    let checks = |daemon: &Daemon| status(daemon)["backends"][0]["servers"][0]["last_check"]["at"].clone();
    let before = checks(&daemon);
    daemon.wait_until("its server is checked", |daemon| checks(daemon) != before);
    assert_eq!(status(&daemon)["backends"][0]["servers"][0]["state"], "up");
    for words in [&["reload"][..], &["log", "reopen"], &["upgrade"]] {
        let output = daemon.verb(words);
        assert!(output.status.success(), "{words:?}: {}{}", stderr_of(&output), daemon.log());
    }
    // The next process has room, and found who waited.
    assert!(is_answered(&mut late), "{}", daemon.log());
    assert!(!daemon.log().contains("Too many open files"), "{}", daemon.log());
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn too_few_descriptors_to_start_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = file("tcp", unused_address(), ([127, 0, 0, 1], 1).into());
    fs::write(folder.path().join("lb.toml"), text).expect("written");
    let mut run = lbctl();
    run.arg("run").arg(folder.path().join("lb.toml")).arg("--runtime-dir").arg(folder.path().join("run"));
    let output = after("ulimit -n 12", &run).output().expect("ran");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr_of(&output).contains("Too many open files"), "{}", stderr_of(&output));
}
