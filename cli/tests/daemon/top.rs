//! `lbctl top` on a terminal of script(1), with a daemon that goes away and comes back.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{sys::signal, unistd::Pid};

use crate::harness::{Daemon, PATIENCE, unused_address, web_server};

/// The verb on a terminal of 24 lines of 80; what it draws goes into a file.
struct Screen {
    script: Child,
    folder: tempfile::TempDir,
}

impl Screen {
    fn start(socket: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid").display().to_string();
        let verb = format!(
            "stty rows 24 cols 80; echo $$ > {pid}; exec {} top --interval 0.1 --control {}",
            env!("CARGO_BIN_EXE_lbctl"),
            socket.display()
        );
        let drawn = fs::File::create(folder.path().join("drawn")).expect("created");
        let script = Command::new("script")
            .args(["-qec", &verb, "/dev/null"])
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(drawn)
            .spawn()
            .expect("script of bsdutils");
        Self { script, folder }
    }

    fn drawn(&self) -> String {
        let bytes = fs::read(self.folder.path().join("drawn")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn press(&mut self, keys: &str) {
        let terminal = self.script.stdin.as_mut().expect("piped");
        terminal.write_all(keys.as_bytes()).expect("it listens");
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let end = std::time::Instant::now() + PATIENCE;
        while !self.drawn().contains(text) {
            assert!(std::time::Instant::now() < end, "{text:?} in {:?}", self.drawn());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It has ended, well, and left the terminal as it was.
    #[track_caller]
    fn assert_ended(mut self) {
        let status = self.script.wait().expect("a child");
        let drawn = self.drawn();
        assert!(status.success(), "{status} {drawn:?}");
        let (_, after) = drawn.rsplit_once("\x1b[?1049l").expect("the other screen is left");
        assert!(!after.contains("1049h"), "{after:?}");
        assert!(drawn.contains("\x1b[?25h"), "the cursor is shown again: {drawn:?}");
    }
}

fn daemon() -> Daemon {
    daemon_with("web", None)
}

fn daemon_with(name: &str, control: Option<&Path>) -> Daemon {
    let frontend = unused_address();
    let server = web_server(Duration::ZERO);
    let file = format!(
        "[listen.{name}]\nbind = \"{frontend}\"\ncheck = {{ interval = \"100ms\" }}\nserver.web1 = \"{server}\"\n"
    );
    let daemon = Daemon::spawn(&file, frontend, control);
    daemon.wait_until("the server is up", |daemon| {
        daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["state"] == "up")
    });
    daemon
}

#[test]
fn it_shows_the_daemon_says_when_it_is_gone_goes_on_when_it_is_back_and_quits_by_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = folder.path().join("control.sock");
    let daemon = daemon_with("web", Some(&control));
    let mut screen = Screen::start(&daemon.socket);
    screen.wait_for("web1");
    screen.wait_for("sorted by file");
    screen.press("?");
    screen.wait_for("Home,");
    screen.press("x");
    drop(daemon);
    screen.wait_for("no answer for");
    let _again = daemon_with("returned", Some(&control));
    screen.wait_for("returned");
    screen.press("q");
    screen.assert_ended();
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let daemon = daemon();
    for kind in [signal::Signal::SIGTERM, signal::Signal::SIGHUP] {
        let screen = Screen::start(&daemon.socket);
        screen.wait_for("sorted by file");
        let pid = fs::read_to_string(screen.folder.path().join("pid")).expect("written");
        let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
        signal::kill(pid, kind).expect("signalled");
        screen.assert_ended();
    }
}

#[test]
fn without_a_terminal_or_a_daemon_it_says_so() {
    let daemon = daemon();
    let output = daemon.verb(&["top"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "lbctl: top needs a terminal; into a pipe or a file there is: lbctl status --watch\n"
    );
    let socket = daemon.folder.path().join("none.sock");
    let mut screen = Screen::start(&socket);
    assert_eq!(screen.script.wait().expect("a child").code(), Some(1));
    let drawn = screen.drawn();
    assert!(drawn.starts_with("lbctl: lbctl is not running here"), "{drawn:?}");
    assert!(!drawn.contains("1049h"), "{drawn:?}");
}
