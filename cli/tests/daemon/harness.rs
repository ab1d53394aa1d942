//! A daemon in a folder of its own, a web server of a few lines, and the verbs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Nothing here takes longer on a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `lbctl run`, killed when it is dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
    pub(crate) frontend: SocketAddr,
    pub(crate) socket: PathBuf,
}

/// The program under test.
pub(crate) fn lbctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    command
        .stdin(Stdio::null())
        .env_remove("LBCTL_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM");
    command
}

/// What `command` runs, as the last arguments of `starter`.
pub(crate) fn started_by(mut starter: Command, command: &Command) -> Command {
    starter.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => starter.env(name, value),
            None => starter.env_remove(name),
        };
    }
    starter
}

/// An address that nobody else uses: of this process, and another one at each call.
pub(crate) fn unused_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.0.x.x is where others are.
    ([127, 1 + high % 200, low, NEXT.fetch_add(1, Ordering::Relaxed)], 8000).into()
}

/// Answers every request with `200 hello` after `delay`; as long as the test runs.
pub(crate) fn web_server(delay: Duration) -> SocketAddr {
    web_server_that(move || thread::sleep(delay))
}

/// Answers every request with `200 hello`, once `open` is set.
pub(crate) fn web_server_behind(open: &Arc<AtomicBool>) -> SocketAddr {
    let open = Arc::clone(open);
    web_server_that(move || {
        while !open.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(2));
        }
    })
}

fn web_server_that(waits: impl Fn() + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let waits = waits.clone();
            thread::spawn(move || answer(&stream, waits));
        }
    });
    address
}

fn answer(stream: &TcpStream, waits: impl Fn()) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        if line == "\r\n" {
            waits();
            let mut writer = stream;
            if writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_err() {
                return;
            }
        }
        line.clear();
    }
}

/// What a daemon of these tests runs: one frontend in front of one server.
pub(crate) fn file(mode: &str, frontend: SocketAddr, server: SocketAddr) -> String {
    format!(
        "[global]\nthreads = 2\ndrain_timeout = \"3s\"\n\n[listen.web]\nmode = \"{mode}\"\nbind = \"{frontend}\"\n\
         servers = [\"{server}\"]\ncheck = {{ interval = \"200ms\", timeout = \"1s\", rise = 1, fall = 2 }}\n"
    )
}

impl Daemon {
    /// Starts it in front of `server` and waits until it answers and the server is up.
    pub(crate) fn start(mode: &str, server: SocketAddr) -> Self {
        let frontend = unused_address();
        let text = file(mode, frontend, server);
        let daemon = Self::spawn(&text, frontend, None);
        daemon.wait_until("the server is up", |daemon| {
            daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["state"] == "up")
        });
        daemon
    }

    /// Starts it with a file of `text` and waits until its control socket answers, at `control` or in its own folder.
    pub(crate) fn spawn(text: &str, frontend: SocketAddr, control: Option<&Path>) -> Self {
        Self::spawn_with(text, frontend, control, |_| {})
    }

    /// As `spawn`, with a command that `change` has changed.
    pub(crate) fn spawn_with(
        text: &str,
        frontend: SocketAddr,
        control: Option<&Path>,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lb.toml");
        std::fs::write(&file, text).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("created");
        let mut command = lbctl();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .arg("run")
            .arg(&file)
            .arg("--runtime-dir")
            .arg(folder.path().join("run"))
            .args(control.iter().flat_map(|path| [Path::new("--control"), path]));
        change(&mut command);
        let child = command.stderr(log).spawn().expect("started");
        let socket = control.map_or_else(|| folder.path().join("run/control.sock"), Path::to_owned);
        let daemon = Self { child, folder, frontend, socket };
        daemon.wait_until("the control socket answers", |daemon| daemon.status_json().is_some());
        daemon
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn verb(&self, arguments: &[&str]) -> Output {
        verb(arguments, &self.socket)
    }

    pub(crate) fn status_json(&self) -> Option<serde_json::Value> {
        let output = self.verb(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// One of the counters of its status.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.status_json().and_then(|status| status["counters"][name].as_u64()).expect("a counter")
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < end, "still running\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// It serves, and its status says so.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(get(self.frontend).as_deref(), Some("hello"), "{}", self.log());
        let status = self.status_json().expect("answers");
        assert_eq!(status["phase"], "running");
        assert_eq!(status["pid"], self.child.id());
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("signalled");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        kill_all_in(self.folder.path());
    }
}

/// Ends what an upgrade has started in the place of a child, by the folder that the command line names and nobody else has. The next
/// process is nobody's child, and may start one after it meanwhile.
pub(crate) fn kill_all_in(folder: &Path) {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = processes_in(folder);
        for process in &all {
            let _ = nix::sys::signal::kill(*process, nix::sys::signal::Signal::SIGKILL);
        }
        if all.is_empty() || Instant::now() >= end {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Those whose command line names `folder`, or whose folder it is, but for what has ended and was not waited for: that has neither.
pub(crate) fn processes_in(folder: &Path) -> Vec<nix::unistd::Pid> {
    let name = folder.as_os_str().as_encoded_bytes();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let names_it = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let place = std::fs::read_link(format!("/proc/{pid}/cwd"));
        line.windows(name.len()).any(|part| part == name) || place.is_ok_and(|place| place == folder)
    };
    pids.filter(names_it).map(nix::unistd::Pid::from_raw).collect()
}

pub(crate) fn verb(arguments: &[&str], socket: &Path) -> Output {
    lbctl().args(arguments).arg("--control").arg(socket).output().expect("ran")
}

/// The body of `GET /` through `address`.
pub(crate) fn get(address: SocketAddr) -> Option<String> {
    get_on(TcpStream::connect(address).ok()?)
}

/// The body of `GET /` on a connection.
pub(crate) fn get_on(stream: impl Into<OwnedFd>) -> Option<String> {
    // Whatever its family: it is read and written through its descriptor.
    let mut stream = TcpStream::from(stream.into());
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Status line and head, then the body, of one raw exchange on the control socket.
pub(crate) fn exchange(socket: &Path, request: &[u8]) -> (String, String) {
    let mut stream = UnixStream::connect(socket).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // A refusal may come before all is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_ascii_lowercase(), body.to_owned())
}
