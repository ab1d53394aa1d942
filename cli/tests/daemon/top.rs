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
    /// Its process is started by a shell that knows no jobs: nobody could let it go on if it stopped.
    fn start(socket: &Path) -> Self {
        Self::with("/bin/sh", socket, |top| format!("{top}; code=$?; stty -g >after; exit $code"))
    }

    /// As `run` of the shell starts it, in a folder with the modes of the terminal before.
    fn with(shell: &str, socket: &Path, run: impl FnOnce(&str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let top = format!(
            "sh -c 'echo $$ >pid; exec {} top --interval 0.1 --control {}'",
            env!("CARGO_BIN_EXE_lbctl"),
            socket.display()
        );
        let text = format!("stty rows 24 cols 80; stty -g >before; {}", run(&top));
        fs::write(folder.path().join("run"), text).expect("written");
        let drawn = fs::File::create(folder.path().join("drawn")).expect("created");
        let script = Command::new("script")
            .args(["-qec", &format!("{shell} run"), "/dev/null"])
            .current_dir(folder.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(drawn)
            .spawn()
            .expect("script of bsdutils");
        Self { script, folder }
    }

    fn pid(&self) -> Pid {
        let pid = fs::read_to_string(self.folder.path().join("pid")).expect("written");
        Pid::from_raw(pid.trim().parse().expect("a number"))
    }

    /// Gives its terminal another size, as somebody does who pulls at a corner of the window.
    fn resize(&self, rows: u16, columns: u16) {
        let terminal = fs::read_link(format!("/proc/{}/fd/0", self.pid())).expect("a terminal");
        let size = ["rows", &rows.to_string(), "cols", &columns.to_string()].map(str::to_owned);
        let status = Command::new("stty").arg("-F").arg(terminal).args(size).status().expect("stty");
        assert!(status.success());
    }

    /// What has been drawn since `text` was there `count` times before.
    #[track_caller]
    fn wait_for_another(&self, text: &str, count: usize) {
        let end = std::time::Instant::now() + PATIENCE;
        while self.drawn().matches(text).count() <= count {
            assert!(std::time::Instant::now() < end, "{text:?} in {:?}", self.drawn());
            std::thread::sleep(Duration::from_millis(20));
        }
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
        self.wait_for_another(text, 0);
    }

    /// It has ended, well, and left the terminal as it was.
    #[track_caller]
    fn assert_ended(mut self) {
        let status = self.script.wait().expect("a child");
        let drawn = self.drawn();
        assert!(status.success(), "{status} {drawn:?}");
        let (_, after) = drawn.rsplit_once("\x1b[?1049l").expect("the other screen is left");
        assert!(!after.contains("1049h"), "{after:?}");
        let (shown, hidden) = (drawn.rfind("\x1b[?25h"), drawn.rfind("\x1b[?25l"));
        assert!(shown > hidden, "the cursor is shown again: {drawn:?}");
        let modes = |name| fs::read_to_string(self.folder.path().join(name)).expect("written");
        assert_eq!(modes("after"), modes("before"));
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
    for kind in [signal::Signal::SIGTERM, signal::Signal::SIGINT, signal::Signal::SIGHUP] {
        let screen = Screen::start(&daemon.socket);
        screen.wait_for("sorted by file");
        signal::kill(screen.pid(), kind).expect("signalled");
        screen.assert_ended();
    }
}

/// By a key, by the signal, and by one that nobody can catch; each time the shell has the terminal meanwhile.
#[test]
fn it_stops_as_a_job_of_the_shell_and_draws_all_of_it_anew_when_it_goes_on() {
    let daemon = daemon();
    let stopped = |number: u8| {
        format!(
            "stty -g >stopped{number}; echo job {number} stopped\n\
             until [ -e go{number} ]; do sleep 0.02; done; fg; code=$?; "
        )
    };
    let mut screen = Screen::with("bash", &daemon.socket, |top| {
        // No loop: a job that is stopped ends those of bash.
        format!("set -m; {top}; {}stty -g >after; exit $code", [1, 2, 3].map(stopped).concat())
    });
    screen.wait_for("sorted by file");
    for number in 1..=3 {
        match number {
            1 => screen.press("\x1a"),
            2 => signal::kill(screen.pid(), signal::Signal::SIGTSTP).expect("signalled"),
            _ => signal::kill(screen.pid(), signal::Signal::SIGSTOP).expect("signalled"),
        }
        screen.wait_for(&format!("job {number} stopped"));
        let drawn = screen.drawn();
        if number < 3 {
            let (_, after) = drawn.rsplit_once("\x1b[?1049l").expect("the other screen is left");
            assert!(!after.contains("\x1b[?1049h") && !after.contains("\x1b[?25l"), "{after:?}");
            let modes = |name: &str| fs::read_to_string(screen.folder.path().join(name)).expect("written");
            assert_eq!(modes(&format!("stopped{number}")), modes("before"));
        }
        let count = |text: &str| drawn.matches(text).count();
        let (screens, ends) = (count("\x1b[?1049h"), count("sorted by file"));
        fs::write(screen.folder.path().join(format!("go{number}")), "").expect("written");
        screen.wait_for_another("\x1b[?1049h", screens);
        screen.wait_for_another("sorted by file", ends);
    }
    screen.press("q");
    screen.assert_ended();
}

#[test]
fn it_goes_on_where_nobody_could_let_it_go_on() {
    let daemon = daemon();
    let mut screen = Screen::start(&daemon.socket);
    screen.wait_for("sorted by file");
    screen.press("\x1a");
    screen.wait_for_another("sorted by file", 1);
    screen.press("s");
    screen.wait_for("state");
    screen.press("q");
    screen.assert_ended();
}

#[test]
fn it_follows_the_size_of_its_terminal() {
    let daemon = daemon();
    let mut screen = Screen::start(&daemon.socket);
    // The last of 24 lines, and of 31; and a column that 80 have no room for.
    screen.wait_for("\x1b[24;1H");
    screen.resize(31, 100);
    screen.wait_for("\x1b[31;1H");
    let lines = screen.drawn().matches("\x1b[10;1H").count();
    screen.resize(10, 40);
    screen.wait_for_another("\x1b[10;1H", lines);
    screen.press("q");
    screen.assert_ended();
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
