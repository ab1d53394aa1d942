//! `lbctl run` without a cluster, on addresses of 127.0.0.0/8 that are this test's own, and other programs beside it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{program, wait};

/// Nothing here takes longer on a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with this value: asked to, then killed.
#[derive(Debug)]
pub struct Running(Child);

/// `lbctl run` in a folder of its own.
#[derive(Debug)]
pub struct Plain {
    folder: TempDir,
    running: Running,
    /// Another process has taken the place of the one that was started.
    succeeded: AtomicBool,
}

/// An address that nobody else uses: of this process, and another one at each call.
#[must_use]
pub fn unused_address(port: u16) -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.0.x.x is where others are; 127.201 to 127.250 is where these tests are.
    ([127, 201 + high % 50, low, NEXT.fetch_add(1, Ordering::Relaxed)], port).into()
}

/// The lab's web server, beside the program under test; what it says goes into `folder`.
///
/// # Panics
/// It does not start.
#[track_caller]
#[must_use]
pub fn web_server(folder: &Path, name: &str) -> (SocketAddr, Running) {
    let address = unused_address(8000);
    let mut command = Command::new(program::lbctl());
    command.args(["lab", "web", "--name", name, "--listen", &address.to_string()]);
    (address, Running::start(&mut command, &folder.join(name)))
}

/// The whole answer to `GET target`, or why there is none.
#[must_use]
pub fn get(address: SocketAddr, target: &str) -> String {
    let mut answer = String::new();
    let exchange = TcpStream::connect(address).and_then(|mut stream| {
        stream
            .write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    exchange.map_or_else(|error| error.to_string(), |_| answer)
}

/// Waits for `holds`; `context` is told if it never does.
///
/// # Panics
/// It took longer than [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, context: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}\n{}", context());
        thread::sleep(Duration::from_millis(20));
    }
}

impl Running {
    /// Starts `command`; what it says goes into the file `log`.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let out = fs::File::create(log).expect("a folder that can be written");
        let errors = out.try_clone().expect("a descriptor");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits until it has; how it did.
    ///
    /// # Panics
    /// It has not within [`PATIENCE`]; it is killed then.
    #[must_use]
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.id()).expect("a pid"));
        // It may have ended already.
        let _ = kill(pid, Signal::SIGTERM);
        let what = format!("process {pid} has ended after SIGTERM");
        wait::until(&what, PATIENCE, || self.0.try_wait().expect("it is ours"))
    }

    /// Ends it at once, without a farewell.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if self.succeeded.load(Ordering::Relaxed) {
            let _ = self.verb(&["stop", "--now"]);
        }
    }
}

impl Plain {
    /// Starts it with a file of `text` and waits until it answers.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    #[must_use]
    pub fn start(text: &str) -> Self {
        Self::start_program(Path::new(&program::lbctl()), text)
    }

    /// The same with a copy of the program.
    ///
    /// # Panics
    /// It does not answer.
    #[track_caller]
    #[must_use]
    pub fn start_program(program: &Path, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lb.toml");
        fs::write(&file, text).expect("written");
        let mut command = Command::new(program);
        command.arg("run").arg(&file).arg("--runtime-dir").arg(folder.path().join("run"));
        command.env_remove("LBCTL_LOG").env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        let running = Running::start(&mut command, &folder.path().join("log"));
        let plain = Self { folder, running, succeeded: AtomicBool::new(false) };
        wait_until(
            "the control socket answers",
            || plain.log(),
            || plain.status(&["--json"]).stdout.starts_with(b"{"),
        );
        plain
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs a verb of `lbctl` for it.
    ///
    /// # Panics
    /// It can't be run.
    #[must_use]
    pub fn verb(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program::lbctl());
        command.args(arguments).arg("--control").arg(self.socket());
        command.output().expect("the program is there")
    }

    /// `lbctl upgrade`.
    #[must_use]
    pub fn upgrade(&self) -> Output {
        self.upgrade_with(&[])
    }

    /// The same, with arguments.
    #[must_use]
    pub fn upgrade_with(&self, arguments: &[&str]) -> Output {
        let output = self.verb(&[&["upgrade", "--json"], arguments].concat());
        self.succeeded.fetch_or(output.status.success(), Ordering::Relaxed);
        output
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/control.sock")
    }

    /// Where its file is.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("lb.toml")
    }

    /// `lbctl status`.
    #[must_use]
    pub fn status(&self, arguments: &[&str]) -> Output {
        self.verb(&[&["status"], arguments].concat())
    }

    /// Writes another file and has it reloaded.
    ///
    /// # Panics
    /// It is refused.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        fs::write(self.folder.path().join("lb.toml"), text).expect("written");
        let output = self.verb(&["reload"]);
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), self.log());
    }

    /// The screen of `lbctl status`, its lines joined: wrapping depends on the width of names.
    #[must_use]
    pub fn screen(&self) -> String {
        let output = self.status(&[]);
        let text = String::from_utf8_lossy(&output.stdout);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until the screen has `text`.
    #[track_caller]
    pub fn wait_for_screen(&self, text: &str) {
        wait_until(text, || format!("{}\n{}", self.screen(), self.log()), || self.screen().contains(text));
    }

    /// A folder for other files of the test.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}
