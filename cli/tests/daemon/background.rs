//! Without a service manager: `--daemon` and `--pidfile`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getsid},
};
use tempfile::TempDir;

use crate::harness::{Daemon, PATIENCE, file, get, kill_all_in, lbctl, unused_address, verb, web_server};

fn number_in(path: &Path) -> Option<i32> {
    let text = fs::read_to_string(path).ok()?;
    assert!(text.ends_with('\n'), "whole: {text:?}");
    Some(text.trim().parse().expect("a number"))
}

fn with_pid_file(path: &Path, frontend: SocketAddr, server: SocketAddr) -> Daemon {
    let text = file("http", frontend, server);
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.arg("--pidfile").arg(path);
    });
    daemon.wait_until("the file is there", |_| path.exists());
    daemon
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn pid_file_names_whoever_serves_and_no_second_daemon_takes_it() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), web_server(Duration::ZERO));
    let path = folder.path().join("lbctl.pid");
    // Of a daemon that was killed; another program has the number by now.
    fs::write(&path, format!("{}\n", std::process::id())).expect("written");
    let mut first = with_pid_file(&path, unused_address(), server);
    let own = i32::try_from(first.child.id()).expect("a number");
    first.wait_until("the file names it", |_| number_in(&path) == Some(own));

    let other = folder.path().join("lb.toml");
    fs::write(&other, file("http", unused_address(), server)).expect("written");
    let mut second = lbctl();
    second.arg("run").arg(&other).args(["-p".as_ref(), path.as_os_str()]);
    let refused = second.arg("--runtime-dir").arg(folder.path().join("second")).output().expect("ran");
    assert_eq!(refused.status.code(), Some(1));
    let why = errors(&refused);
    assert!(
        why.contains(&format!("lbctl.pid names process {own}, an lbctl that runs: stop it first")),
        "{why}"
    );
    assert_eq!(number_in(&path), Some(own));

    assert!(first.verb(&["upgrade"]).status.success(), "{}", first.log());
    let next = first.status_json().expect("a status")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    assert_eq!(number_in(&path), next);
    assert_ne!(next, Some(own));
    // The one before removes nothing when it ends.
    assert_eq!(first.wait_for_exit().code(), Some(0));
    assert_eq!(number_in(&path), next);
    assert!(first.verb(&["stop", "--now"]).status.success());
    first.wait_until("the file is gone", |_| !path.exists());
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("read").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "lb.toml" || name == "second"), "{left:?}");
}

#[test]
fn pid_file_of_a_daemon_that_was_killed_is_replaced() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), web_server(Duration::ZERO));
    let path = folder.path().join("lbctl.pid");
    let mut killed = with_pid_file(&path, unused_address(), server);
    killed.signal(Signal::SIGKILL);
    killed.wait_for_exit();
    let next = with_pid_file(&path, unused_address(), server);
    let own = i32::try_from(next.child.id()).expect("a number");
    next.wait_until("the file names it", |_| number_in(&path) == Some(own));
}

#[test]
fn pid_file_that_cant_be_written_is_said_before_anything_is_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let (frontend, lb) = (unused_address(), folder.path().join("lb.toml"));
    fs::write(&lb, file("http", frontend, "127.0.0.1:1".parse().expect("an address"))).expect("written");
    for (place, says) in [("none/lbctl.pid", "No such file or directory"), ("run", "it is there and no file")]
    {
        let mut command = lbctl();
        command.arg("run").arg(&lb).arg("--runtime-dir").arg(folder.path().join("run"));
        let refused = command.arg("--pidfile").arg(folder.path().join(place)).output().expect("ran");
        assert_eq!(refused.status.code(), Some(1));
        let why = errors(&refused);
        assert!(why.contains(&format!("can't write {}", folder.path().join(place).display())), "{why}");
        assert!(why.contains(says), "{why}");
        assert!(!folder.path().join("run/control.sock").exists());
    }
}

/// A daemon in the background, ended when it is dropped.
struct Background {
    folder: TempDir,
    frontend: SocketAddr,
    socket: PathBuf,
    pid_file: PathBuf,
}

impl Background {
    fn new(extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let frontend = unused_address();
        let text = file("http", frontend, web_server(Duration::ZERO));
        fs::write(folder.path().join("lb.toml"), text + extra).expect("written");
        let (socket, pid_file) = (folder.path().join("run/control.sock"), folder.path().join("lbctl.pid"));
        Self { folder, frontend, socket, pid_file }
    }

    /// By names that mean nothing elsewhere.
    fn command(&self, pid_file: &str) -> Command {
        let mut command = lbctl();
        command.current_dir(self.folder.path()).args(["run", "--daemon", "lb.toml", "--runtime-dir", "run"]);
        command.args(["-p", pid_file]);
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(number_in(&self.pid_file).expect("a number"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = number_in(&self.pid_file) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        kill_all_in(self.folder.path());
    }
}

#[test]
fn daemon_serves_once_the_command_returns_and_logs_to_the_file_that_stderr_was() {
    let background = Background::new("");
    let log = File::create(background.folder.path().join("log")).expect("created");
    let status = background.command("lbctl.pid").stderr(log).status().expect("ran");
    assert_eq!(status.code(), Some(0), "{}", background.log());
    assert_eq!(get(background.frontend).as_deref(), Some("hello"), "{}", background.log());
    let pid = background.pid();
    assert_eq!(getsid(Some(pid)), Ok(pid), "a session of its own");
    let descriptor = |number: u8| fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("open");
    let log = background.folder.path().join("log");
    assert_eq!([0, 1, 2].map(descriptor), [PathBuf::from("/dev/null"), "/dev/null".into(), log]);
    assert!(background.log().contains("lbctl runs"), "{}", background.log());

    assert!(verb(&["reload"], &background.socket).status.success(), "{}", background.log());
    assert!(verb(&["upgrade"], &background.socket).status.success(), "{}", background.log());
    assert_ne!(background.pid(), pid);
    assert_eq!(get(background.frontend).as_deref(), Some("hello"), "{}", background.log());
    assert!(verb(&["stop", "--now"], &background.socket).status.success());
    let end = Instant::now() + PATIENCE;
    while background.pid_file.exists() {
        assert!(Instant::now() < end, "the file is still there\n{}", background.log());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn daemon_lets_go_of_the_terminal_and_says_there_what_went_wrong_before() {
    let background = Background::new("");
    // Ends only once nobody has stdout and stderr any more.
    let started = background.command("lbctl.pid").output().expect("ran");
    assert_eq!(started.status.code(), Some(0), "{}", errors(&started));
    assert_eq!(get(background.frontend).as_deref(), Some("hello"));
    let descriptor = |number: u8| fs::read_link(format!("/proc/{}/fd/{number}", background.pid()));
    assert_eq!(
        [0, 1, 2].map(|number| descriptor(number).expect("open")),
        ["/dev/null"; 3].map(PathBuf::from)
    );

    // The same again: its control socket is taken.
    let refused = background.command("other.pid").output().expect("ran");
    assert_eq!(refused.status.code(), Some(1));
    let why = errors(&refused);
    assert!(why.contains("lbctl: another lbctl runs here: it holds"), "{why}");
    assert!(!background.folder.path().join("other.pid").exists());

    // A log that the daemon would not have.
    let path = background.folder.path().join("lb.toml");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("[global]\n", "[global]\nlog = \"stdout\"\n")).expect("written");
    let refused = verb(&["reload"], &background.socket);
    assert_eq!(refused.status.code(), Some(1));
    let why = errors(&refused);
    assert!(why.contains("a log goes to stdout, and with --daemon there is none"), "{why}");
    assert_eq!(get(background.frontend).as_deref(), Some("hello"));
}

#[test]
fn daemon_that_cant_start_ends_as_in_the_foreground() {
    let cases = [
        ("[listen.other]\nbnd = \"127.0.0.1:1\"\n", "did you mean `bind`"),
        (
            "[listen.other]\nbind = \"127.0.0.1:1\"\nservers = [\"127.0.0.1:2\"]\nlog = \"stdout\"\n",
            "a log goes to stdout",
        ),
        (
            "[listen.other]\nbind = \"127.0.0.1:1\"\nservers = [\"127.0.0.1:2\"]\nlog = \"stderr\"\n",
            "a log goes to stderr",
        ),
    ];
    for (extra, says) in cases {
        let background = Background::new(extra);
        let refused = background.command("lbctl.pid").output().expect("ran");
        assert_eq!(refused.status.code(), Some(78), "{}", errors(&refused));
        assert!(errors(&refused).contains(says), "{}", errors(&refused));
        assert!(!background.pid_file.exists());
    }
    let refused = lbctl().args(["run", "-D", "-"]).output().expect("ran");
    assert_eq!(refused.status.code(), Some(64));
    assert!(errors(&refused).contains("--daemon needs a file"), "{}", errors(&refused));
}

#[test]
fn daemon_says_on_the_terminal_what_it_does_not_listen_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file_path, run) = (folder.path().join("lb.toml"), folder.path().join("run"));
    let taken = std::net::TcpListener::bind(unused_address()).expect("bound");
    let address = taken.local_addr().expect("bound");
    fs::write(&file_path, file("http", address, web_server(Duration::ZERO))).expect("written");
    let started = lbctl().args(["run", "--daemon"]).arg(&file_path).arg("--runtime-dir").arg(&run).output();
    let started = started.expect("ran");
    let why = errors(&started);
    assert_eq!(started.status.code(), Some(0), "{why}");
    assert!(why.contains(&format!("frontend web does not listen on {address}: ")), "{why}");
    assert!(why.contains("; lbctl runs, and tries again each second"), "{why}");
    assert!(verb(&["stop", "--now"], &run.join("control.sock")).status.success());
}

#[test]
fn upgrade_in_the_background_says_what_the_next_program_died_of() {
    let background = Background::new("");
    let program = background.folder.path().join("lbctl");
    std::os::unix::fs::symlink(lbctl().get_program(), &program).expect("linked");
    let mut start = Command::new(&program);
    start.current_dir(background.folder.path()).args([
        "run",
        "-D",
        "lb.toml",
        "--runtime-dir",
        "run",
        "-p",
        "lbctl.pid",
    ]);
    let started = start.output().expect("ran");
    assert_eq!(started.status.code(), Some(0), "{}", errors(&started));
    let install = |ends: &str| {
        fs::remove_file(&program).expect("removed");
        fs::write(&program, format!("#!/bin/sh\n{ends}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    };
    let refused = || {
        let refused = verb(&["upgrade"], &background.socket);
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(get(background.frontend).as_deref(), Some("hello"));
        errors(&refused)
    };
    install("echo 'lbctl: error while loading shared libraries: libnone.so.7' >&2\nexit 127");
    assert_eq!(
        refused(),
        "lbctl: the daemon refuses: the new process ended (exit status: 127); it said: lbctl: error while loading shared libraries: \
         libnone.so.7. Nothing was changed\n"
    );
    // It says hello, and ends before it has read a word.
    install(
        r#"exec perl -e 'open my $s, q(+<&=0); syswrite $s, q({"Hello":{"version":"9.9.9","protocol":2}}); print STDERR "one\ntwo\n"; exit 4'"#,
    );
    assert_eq!(
        refused(),
        "lbctl: the daemon refuses: the new process ended (exit status: 4); it said: one / two. Nothing was changed\n"
    );
    fs::remove_file(&program).expect("removed");
    std::os::unix::fs::symlink(lbctl().get_program(), &program).expect("linked");
    let upgraded = verb(&["upgrade"], &background.socket);
    assert!(upgraded.status.success(), "{}", errors(&upgraded));
    let descriptor = fs::read_link(format!("/proc/{}/fd/2", background.pid())).expect("open");
    assert_eq!(descriptor, PathBuf::from("/dev/null"), "nobody reads it any more");
    assert!(verb(&["stop", "--now"], &background.socket).status.success());
}
