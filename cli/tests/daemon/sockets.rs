//! Sockets that the process is given, as systemd does it, and sockets that are files.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, get, get_on, lbctl, unused_address, web_server};

/// Starts `lbctl run` with `first` and `second` as descriptors 3 and 4, as systemd starts a service with two sockets. A
/// shell moves them there, whose process becomes lbctl: so LISTEN_PID is right.
fn start_with(first: &TcpListener, second: impl Into<OwnedFd>, text: &str) -> Daemon {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=first:second; \
                  exec \"$@\" 3<&0 4<&1 </dev/null >/dev/null";
    let first_fd: OwnedFd = first.try_clone().expect("shared").into();
    let frontend = first.local_addr().expect("bound");
    Daemon::spawn_with(text, frontend, None, |command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(first_fd).stdout(second.into());
        *command = shell;
    })
}

/// One backend in front of `server`, frontends `a` and `b` with these `bind`.
fn file(a: &str, b: &str, server: SocketAddr) -> String {
    format!(
        "[global]\nthreads = 4\n[frontend.a]\nbind = {a}\ndefault_backend = \"app\"\n\
         [frontend.b]\nbind = {b}\ndefault_backend = \"app\"\n\
         [backend.app]\ncheck = false\nservers = [\"{server}\"]\n"
    )
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback")
}

#[test]
fn passed_sockets_are_adopted_by_number_and_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("passed.sock");
    let (first, second) = (listener(), UnixListener::bind(&path).expect("bound"));
    let daemon = start_with(
        &first,
        second,
        &file("{ fd = 3 }", "{ socket = \"second\" }", web_server(Duration::ZERO)),
    );
    // More than there are workers, so that each has its turn.
    for _ in 0..20 {
        assert_eq!(get(daemon.frontend).as_deref(), Some("hello"), "{}", daemon.log());
        let stream = UnixStream::connect(&path).expect("connected");
        assert_eq!(get_on(stream).as_deref(), Some("hello"), "{}", daemon.log());
    }
    let status = daemon.status_json().expect("answers");
    let bind = |frontend: usize| &status["frontends"][frontend]["binds"][0];
    assert_eq!(bind(0)["label"], "fd 3");
    assert_eq!(bind(0)["address"], daemon.frontend.to_string());
    assert_eq!(bind(1)["label"], "socket second");
    assert_eq!(bind(1)["address"], serde_json::Value::Null);
    assert_eq!(bind(1)["error"], serde_json::Value::Null);
    assert_eq!(status["frontends"][1]["requests_total"], 20);
}

#[test]
fn name_that_was_not_passed_is_a_problem_that_names_the_unit() {
    let daemon = start_with(
        &listener(),
        listener(),
        &file("{ socket = \"first\" }", "{ socket = \"third\" }", web_server(Duration::ZERO)),
    );
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    let status = daemon.verb(&["status"]);
    assert_eq!(status.status.code(), Some(2));
    let text = String::from_utf8_lossy(&status.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("frontend b does not listen on socket third"), "{text}");
    assert!(
        text.contains("FileDescriptorName=third in the .socket unit? It has to be there when lbctl starts."),
        "{text}"
    );
}

/// The number under which the daemon listens on its control socket.
fn control_descriptor(daemon: &Daemon) -> i32 {
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("listed");
    let path = daemon.socket.display().to_string();
    // Flags 00010000: it listens. Accepted connections have the path as well.
    let listening = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut inode = listening
        .filter(|fields| fields.last() == Some(&&*path) && fields[3] == "00010000")
        .map(|fields| fields[6]);
    let link = format!("socket:[{}]", inode.next_back().expect("it listens"));
    let folder = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).expect("its descriptors");
    let entry = folder
        .flatten()
        .find(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == &*link));
    entry.and_then(|entry| entry.file_name().to_str()?.parse().ok()).expect("its own")
}

#[test]
fn socket_that_was_not_passed_is_not_adopted_whoever_has_opened_one_with_its_number() {
    let text = file("{ fd = 3 }", "{ fd = 4 }", web_server(Duration::ZERO));
    let daemon = start_with(&listener(), listener(), &text);
    let own = control_descriptor(&daemon);
    std::fs::write(daemon.folder.path().join("lb.toml"), text.replace("fd = 4", &format!("fd = {own}")))
        .expect("written");
    let reload = daemon.verb(&["reload"]);
    let report = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert_eq!(reload.status.code(), Some(1), "{report}");
    let why = format!("frontend b: fd {own}: no socket was passed as descriptor {own}; whoever starts lbctl");
    assert!(report.contains(&why), "{report}");
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    assert!(daemon.status_json().is_some(), "its socket is its own");
}

#[test]
fn what_whoever_starts_the_daemon_has_open_is_not_left_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "for root alone").expect("written");
    let listener = listener();
    let address = listener.local_addr().expect("bound");
    let first: OwnedFd = listener.into();
    let stray = self::listener();
    let unwanted = stray.local_addr().expect("bound");
    let text = file("{ fd = 9 }", &format!("\"{}\"", unused_address()), web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, address, None, |command| {
        // 7 is a file, 8 a socket that nobody wants; 9 is named.
        let script = format!("exec \"$@\" 7<{} 8<&1 9<&0 </dev/null >/dev/null", secret.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(first).stdout(OwnedFd::from(stray));
        *command = shell;
    });
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"), "{}", daemon.log());
    let pid = daemon.child.id();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").flatten();
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    assert!(!open.contains(&secret), "{open:?}");
    // The socket that nobody wants is gone with the last one who had it.
    let refused = TcpStream::connect(unwanted).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Requests of one client after the other, as fast as they are answered.
struct Clients {
    answered: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Clients {
    fn start(address: SocketAddr) -> Self {
        let (answered, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&answered), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut failures = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                let outcome = TcpStream::connect(address).map(get_on);
                match outcome.map(|answer| answer.is_some_and(|answer| answer == "hello")) {
                    Ok(true) => {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(false) => failures.push("no answer".to_owned()),
                    Err(error) => failures.push(error.to_string()),
                }
            }
            failures
        });
        Self { answered, end, thread }
    }

    /// Waits for so many more answers.
    fn go_on(&self, daemon: &Daemon, more: usize) {
        let until = self.answered.load(Ordering::SeqCst) + more;
        daemon.wait_until("more answers", |_| self.answered.load(Ordering::SeqCst) >= until);
    }

    fn failures(self) -> Vec<String> {
        self.end.store(true, Ordering::SeqCst);
        self.thread.join().expect("ended")
    }
}

#[test]
fn restart_with_a_passed_socket_refuses_and_loses_nobody() {
    let (passed, other) = (listener(), listener());
    let text = file("{ fd = 3 }", "{ fd = 4 }", web_server(Duration::ZERO));
    let start = || start_with(&passed, other.try_clone().expect("shared"), &text);
    let mut daemon = start();
    let clients = Clients::start(daemon.frontend);
    for _ in 0..3 {
        clients.go_on(&daemon, 20);
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait_for_exit().code(), Some(0), "{}", daemon.log());
        // Who comes now waits in the queue of the socket, which this process holds.
        daemon = start();
    }
    clients.go_on(&daemon, 20);
    assert_eq!(clients.failures(), [""; 0]);
}

/// A frontend on a Unix-domain socket in this folder, before a server on another.
fn unix_file(folder: &Path, server: &Path) -> String {
    format!(
        "[listen.app]\nbind = {{ unix = \"{}\", mode = \"0600\" }}\ncheck = {{ interval = \"100ms\" }}\n\
         server.php = \"unix:{}\"\n",
        folder.join("front.sock").display(),
        server.display()
    )
}

#[test]
fn socket_that_a_killed_process_left_is_replaced_and_the_file_goes_with_its_own_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (front, back) = (folder.path().join("front.sock"), folder.path().join("back.sock"));
    let server = web_server(Duration::ZERO);
    // In front of the web server, so that there is a server on a Unix socket.
    let text = format!(
        "[listen.back]\nmode = \"tcp\"\nbind = \"unix:{}\"\nservers = [\"{server}\"]\n",
        back.display()
    );
    let _back = Daemon::spawn(&text, server, None);
    let start = || {
        let daemon = Daemon::spawn(&unix_file(folder.path(), &back), server, None);
        daemon.wait_until("the server is up", |daemon| {
            daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["state"] == "up")
        });
        daemon
    };
    let ask = || get_on(UnixStream::connect(&front).ok()?);
    let mut daemon = start();
    assert_eq!(ask().as_deref(), Some("hello"), "{}", daemon.log());
    daemon.signal(Signal::SIGKILL);
    daemon.wait_for_exit();
    assert!(front.exists() && ask().is_none(), "a file that nobody listens on");
    let mut daemon = start();
    assert_eq!(ask().as_deref(), Some("hello"), "{}", daemon.log());
    let status = daemon.status_json().expect("answers");
    assert_eq!(status["backends"][0]["servers"][0]["address"], format!("unix:{}", back.display()));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
    assert!(!front.exists());
}

#[test]
fn check_here_looks_at_the_file_system() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lb.toml");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let _other = UnixListener::bind(path("taken.sock")).expect("bound");
    std::fs::write(path("file"), "").expect("written");
    let text = format!(
        "[listen.a]\nbind = [\"unix:{}\", \"unix:{}\", \"unix:{}\", {{ unix = \"{}\", user = \"no-such-user\" }}]\n\
         servers = [\"192.0.2.21:80\"]\n",
        path("taken.sock"),
        path("file"),
        path("none/a.sock"),
        path("fine.sock")
    );
    std::fs::write(&file, text).expect("written");
    let checked = lbctl().args(["check", "--here"]).arg(&file).output().expect("ran");
    assert_eq!(checked.status.code(), Some(78));
    let report = String::from_utf8_lossy(&checked.stderr).into_owned();
    for expected in [
        format!("unix:{} of frontend a is taken by ", path("taken.sock")),
        format!("unix:{0} of frontend a can't be made: {0} exists and is no socket", path("file")),
        format!(
            "unix:{} of frontend a can't be made: there is no folder {}",
            path("none/a.sock"),
            path("none")
        ),
        format!("unix:{} of frontend a: no user is called `no-such-user` on this machine", path("fine.sock")),
    ] {
        assert!(report.contains(&expected), "{expected}\n{report}");
    }
    assert!(lbctl().arg("check").arg(&file).output().expect("ran").status.success(), "pure without --here");
}
