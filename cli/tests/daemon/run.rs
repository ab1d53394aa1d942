//! Starting, serving, signals, stopping.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
        process::CommandExt,
    },
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, file, get, lbctl, unused_address, web_server, web_server_behind};

#[test]
fn a_proxy_without_cluster_serves_and_stops_by_the_verb() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
    let stopped = daemon.verb(&["stop"]);
    assert_eq!(stopped.status.code(), Some(0));
    let text = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert!(text.starts_with("stopped after ") && text.contains("nothing was cut"), "{text}");
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
    assert!(!daemon.socket.exists(), "the socket is gone");
    assert!(get(daemon.frontend).is_none(), "nobody listens");
}

#[test]
fn a_bad_file_ends_with_78_and_the_report_of_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lb.toml");
    std::fs::write(&file, "[listen.web]\nbnd = \"127.0.0.1:1\"\n").expect("written");
    let ran = lbctl().arg("run").arg(&file).output().expect("ran");
    assert_eq!(ran.status.code(), Some(78));
    let checked = lbctl().arg("check").arg(&file).output().expect("ran");
    let report = String::from_utf8_lossy(&ran.stderr).into_owned();
    let check = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(report.contains("did you mean `bind`"), "{report}");
    assert_eq!(report.replace("Nothing was started.", ""), check.replace("Nothing was changed.", ""));
}

#[test]
fn a_node_that_is_not_in_the_file_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lb.toml");
    let text = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n[listen.web]\nbind = \"127.0.0.1:1\"\n\
                servers = [\"127.0.0.1:2\"]\n";
    std::fs::write(&file, text).expect("written");
    let ran = lbctl().arg("run").arg(&file).args(["--node", "lb9"]).output().expect("ran");
    assert_eq!(ran.status.code(), Some(64));
    let report = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(report.contains("lb9") && report.contains("lb1, lb2"), "{report}");
}

#[test]
fn a_filter_of_the_log_that_is_not_one_is_named_and_the_daemon_runs_with_info() {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.env("LBCTL_LOG", "info,lb_proxy=loud");
    });
    daemon.wait_until("the complaint", |daemon| daemon.log().contains("LBCTL_LOG=info,lb_proxy=loud: "));
    let log = daemon.log();
    assert!(log.contains("; using `info`") && log.contains(" INFO ") && !log.contains(" DEBUG "), "{log}");
    assert_eq!(get(daemon.frontend).as_deref(), Some("hello"));
}

/// Runs lbctl where the group `lbctl` exists with this number, until its socket answers.
fn with_group(wrapper: &[&str], number: u32) -> Daemon {
    let folder = tempfile::tempdir().expect("a folder");
    let groups = folder.path().join("group");
    std::fs::write(&groups, format!("root:x:0:\nlbctl:x:{number}:\n")).expect("written");
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    Daemon::spawn_with(&text, frontend, None, |command| {
        let script = "mount --bind \"$0\" /etc/group && exec \"$@\"";
        let mut wrapped = std::process::Command::new("unshare");
        wrapped.args(wrapper).args(["--mount", "sh", "-c", script]).arg(&groups);
        wrapped.arg(command.get_program()).args(command.get_args()).env_remove("LBCTL_LOG");
        *command = wrapped;
    })
}

/// In a user namespace with one group, so that it can't be given away: that must be said, and nothing else.
#[test]
fn a_control_socket_that_cant_be_given_to_the_group_is_said_once_and_stays_private() {
    let daemon = with_group(&["--user", "--map-root-user"], 4_711);
    let socket = std::fs::metadata(&daemon.socket).expect("there");
    assert_eq!(socket.permissions().mode() & 0o777, 0o660);
    let warning = "the control socket can't be given to group lbctl";
    assert_eq!(daemon.log().matches(warning).count(), 1, "{}", daemon.log());
    // A number that this namespace has can be given: root's own.
    let daemon = with_group(&["--user", "--map-root-user"], 0);
    assert!(!daemon.log().contains(warning), "{}", daemon.log());
}

/// Only root can give a file to any group: a plain user runs this one test by sudo, which `tests/run` needs anyway.
#[test]
fn the_control_socket_belongs_to_the_group_lbctl() {
    if !nix::unistd::geteuid().is_root() {
        let this = "run::the_control_socket_belongs_to_the_group_lbctl";
        let program = std::env::current_exe().expect("this test");
        let ran = std::process::Command::new("sudo").arg("-n").arg(program).args(["--exact", this]).output();
        let ran = ran.expect("sudo is here: tests/run asks for it where it is not root");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        return;
    }
    let daemon = with_group(&[], 4_711);
    let socket = std::fs::metadata(&daemon.socket).expect("there");
    assert_eq!((socket.gid(), socket.permissions().mode() & 0o777), (4_711, 0o660));
}

/// Another program's listener, alone on its port or ready to share it.
fn listener(address: SocketAddr, shared: bool) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(shared).expect("set");
    socket.bind(&address.into()).expect("bound");
    socket.listen(1).expect("listens");
    socket
}

#[test]
fn a_taken_port_is_a_problem_and_is_bound_as_soon_as_it_is_free() {
    for shared in [false, true] {
        let frontend = unused_address();
        let other = listener(frontend, shared);
        let daemon = Daemon::spawn(&file("http", frontend, web_server(Duration::ZERO)), frontend, None);
        let output = daemon.verb(&["status"]);
        let text = String::from_utf8_lossy(&output.stdout).replace("\n ", "");
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(&format!("! frontend web does not listen on {frontend}: ")), "{text}");
        assert!(text.matches("ss -ltnp 'sport = :8000'").count() == 1, "{text}");
        drop(other);
        daemon.wait_until("it serves", |daemon| get(daemon.frontend).as_deref() == Some("hello"));
        daemon.assert_untouched();
    }
}

#[test]
fn a_node_that_does_not_find_itself_waits_and_says_so() {
    let frontend = unused_address();
    let text = format!(
        "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n[listen.web]\nmode = \"tcp\"\n\
         bind = \"{frontend}\"\nservers = [\"{}\"]\n",
        web_server(Duration::ZERO)
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    let status = daemon.status_json().expect("answers");
    let reason = status["phase"]["waiting"]["reason"].as_str().expect("waits");
    assert!(reason.contains("192.0.2.11") && reason.contains("--node"), "{reason}");
    let shown = daemon.verb(&["status"]);
    assert_eq!(shown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("! this node holds no address"));
    daemon.wait_until("it serves on its own address", |daemon| {
        get(daemon.frontend).as_deref() == Some("hello")
    });
}

#[test]
fn a_second_daemon_is_refused_and_the_first_serves_on() {
    let daemon = Daemon::start("tcp", web_server(Duration::ZERO));
    let second = lbctl()
        .arg("run")
        .arg(daemon.folder.path().join("lb.toml"))
        .arg("--runtime-dir")
        .arg(daemon.folder.path().join("run"))
        .output()
        .expect("ran");
    assert_eq!(second.status.code(), Some(1));
    let report = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(report.contains("another lbctl runs here"), "{report}");
    daemon.assert_untouched();
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let frontend = unused_address();
    let text = format!("[listen.web]\nmode = \"tcp\"\nbind = \"{frontend}\"\nservers = [\"127.0.0.1:1\"]\n");
    let mut first = Daemon::spawn(&text, frontend, None);
    first.signal(Signal::SIGKILL);
    first.wait_for_exit();
    assert!(first.socket.exists(), "a killed daemon leaves it behind");
    let second = Daemon::spawn(&text, frontend, Some(&first.socket));
    let status = second.status_json().expect("answers");
    assert_eq!(status["pid"], second.child.id());
}

#[test]
fn a_file_in_place_of_the_socket_is_never_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lb.toml");
    std::fs::write(&file, "[listen.web]\nbind = \"127.0.0.1:1\"\nservers = [\"127.0.0.1:2\"]\n")
        .expect("written");
    let ran = lbctl().arg("run").arg(&file).arg("--control").arg(&file).output().expect("ran");
    assert_eq!(ran.status.code(), Some(1));
    assert!(file.exists());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("is no socket"));
}

#[test]
fn sigterm_lets_an_exchange_finish_and_exits_with_0() {
    let open = Arc::new(AtomicBool::new(false));
    let mut daemon = Daemon::start("http", web_server_behind(&open));
    let address = daemon.frontend;
    let client = thread::spawn(move || get(address));
    daemon.wait_until("the request is in flight", |daemon| {
        daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["in_flight"] == 1)
    });
    daemon.signal(Signal::SIGTERM);
    open.store(true, Ordering::SeqCst);
    assert_eq!(client.join().expect("ran").as_deref(), Some("hello"));
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
    assert!(daemon.log().contains("stopping: draining first"), "{}", daemon.log());
}

/// A daemon in front of a server that answers far too late, which may be drained for longer than any wait here.
fn start_with_a_long_drain(mode: &str) -> Daemon {
    let frontend = unused_address();
    let text = file(mode, frontend, web_server(Duration::from_secs(120)));
    Daemon::spawn(&text.replace("\"3s\"", "\"120s\""), frontend, None)
}

#[test]
fn a_signal_ends_a_stop_that_drains_at_once() {
    let mut daemon = start_with_a_long_drain("tcp");
    let mut client = TcpStream::connect(daemon.frontend).expect("connected");
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    daemon.wait_until("the connection is served", |daemon| {
        daemon.status_json().is_some_and(|status| status["frontends"][0]["connections"] == 1)
    });
    thread::scope(|scope| {
        let stop = scope.spawn(|| daemon.verb(&["stop"]));
        daemon.wait_until("it drains", |daemon| daemon.log().contains("draining first"));
        daemon.signal(Signal::SIGINT);
        assert_eq!(stop.join().expect("ran").status.code(), Some(0));
    });
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
    assert!(daemon.log().contains("stopping at once"), "{}", daemon.log());
    let _ = client.read(&mut [0; 1]);
}

/// The second wait of a stop: only connections are left, and the address is away.
#[test]
fn a_stop_that_waits_for_its_last_connections_answers_and_is_ended_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let frontend = unused_address();
    let text = file("tcp", frontend, server.local_addr().expect("bound")).replace("\"3s\"", "\"120s\"");
    let text = text.replace("check = {", "# check = {");
    let mut daemon = Daemon::spawn(&text.replace("servers", "check = false\nservers"), frontend, None);
    let connect = || {
        let client = TcpStream::connect(frontend).expect("connected");
        (client, server.accept().expect("accepted"))
    };
    let old = connect();
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_until("it drains", |daemon| daemon.log().contains("draining first"));
    // Connections are as old as ticks of 100 ms: one of the same tick would be older than the drain.
    thread::sleep(Duration::from_millis(200));
    let _young = connect();
    drop(old);
    daemon.wait_until("it is drained", |daemon| daemon.log().contains("drained left=0"));
    assert_eq!(daemon.status_json().expect("answers")["phase"]["stopping"]["reason"], "stop by SIGUSR1");
    let stopped = daemon.verb(&["stop", "--now"]);
    let said = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert!(said.contains("1 connection was cut"), "{said}{}", daemon.log());
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
    assert!(daemon.log().contains("asked again: stopping at once"), "{}", daemon.log());
}

/// A process that starts may take long, for its maps or names; so may the next one of an upgrade.
#[test]
fn signals_that_end_nothing_end_no_process_that_starts() {
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let folder = tempfile::tempdir().expect("a folder");
    let log = std::fs::File::create(folder.path().join("log")).expect("created");
    let mut command = lbctl();
    command.args(["run", "-", "--runtime-dir"]).arg(folder.path().join("run"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().expect("started");
    let mut file = child.stdin.take().expect("a pipe");
    let socket = folder.path().join("run/control.sock");
    let daemon = Daemon { child, folder, frontend, socket };
    // It waits for its file.
    daemon.wait_until("it is ready for signals", |daemon| {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
        let caught = caught.and_then(|caught| u64::from_str_radix(caught, 16).ok()).unwrap_or_default();
        caught & (1 << (Signal::SIGTTIN as u32 - 1)) != 0
    });
    for signal in [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTTOU] {
        daemon.signal(signal);
    }
    file.write_all(text.as_bytes()).expect("read");
    drop(file);
    daemon.wait_until("it has heard them all", |daemon| {
        let log = daemon.log();
        let is_paused =
            || daemon.status_json().is_some_and(|status| !status["frontends"][0]["paused"].is_null());
        log.contains("can't be read again") && log.contains("files of logs are opened anew") && is_paused()
    });
}

#[test]
fn stop_now_says_what_it_cut() {
    let mut daemon = Daemon::start("tcp", web_server(Duration::from_secs(30)));
    let mut client = TcpStream::connect(daemon.frontend).expect("connected");
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    daemon.wait_until("the connection is served", |daemon| {
        daemon.status_json().is_some_and(|status| status["frontends"][0]["connections"] == 1)
    });
    let stopped = daemon.verb(&["stop", "--now"]);
    assert_eq!(stopped.status.code(), Some(0));
    let text = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert!(text.contains("1 connection was cut"), "{text}");
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let file = folder.path().join("lb.toml");
    let text = format!(
        "[listen.web]\nmode = \"tcp\"\nbind = \"{}\"\nservers = [\"127.0.0.1:1\"]\n",
        unused_address()
    );
    std::fs::write(&file, text).expect("written");
    let mut child = lbctl()
        .arg("run")
        .arg(&file)
        .arg("--runtime-dir")
        .arg(folder.path().join("run"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000000")
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let told = || {
        let mut buffer = [0; 300];
        let length = socket.recv(&mut buffer).expect("told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let lines = std::cell::RefCell::new(Vec::new());
    // For `systemctl status`, between the others.
    let told = || {
        let others = std::iter::repeat_with(told);
        let mut others = others.inspect(|state| {
            lines.borrow_mut().extend(state.starts_with("STATUS=").then(|| state.clone()));
        });
        others.find(|state| !state.starts_with("STATUS=")).expect("told")
    };
    assert_eq!(told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1");
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("signalled");
    let last = std::iter::repeat_with(told).find(|state| state != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert_eq!(*lines.borrow(), ["STATUS=serves, without a virtual address"]);
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

#[test]
fn stop_returns_when_another_daemon_could_start() {
    let mut daemon = Daemon::start("http", web_server(Duration::ZERO));
    assert!(daemon.verb(&["stop"]).status.success());
    assert!(daemon.child.try_wait().expect("a child").is_some(), "its process has ended");
}

#[test]
fn without_the_right_to_hold_addresses_it_says_which_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("set");
    let program = folder.path().join("lbctl");
    std::fs::copy(env!("CARGO_BIN_EXE_lbctl"), &program).expect("copied");
    let file = folder.path().join("lb.toml");
    let text = format!(
        "[cluster]\nnode.lb1 = \"127.0.0.1\"\nnode.lb2 = \"192.0.2.12\"\n[vip.web]\nvrid = 51\ninterface = \"lo\"\n\
         addresses = [\"192.0.2.10\"]\n[listen.web]\nbind = [\"{}\", {{ vip = \"web\", port = 8080 }}]\n\
         servers = [\"127.0.0.1:1\"]\n",
        unused_address()
    );
    std::fs::write(&file, text).expect("written");
    let mut command = std::process::Command::new(&program);
    command.arg("run").arg(&file).args(["--node", "lb1", "--runtime-dir"]).arg(folder.path().join("run"));
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().expect("ran");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("CAP_NET_RAW") || text.contains("CAP_NET_ADMIN"), "{text}");
}

#[test]
fn under_the_journal_lines_have_a_priority_and_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lb.toml");
    std::fs::write(&file, "[listen.web]\nbind = \"127.0.0.1:1\"\nservers = [\"127.0.0.1:2\"]\n")
        .expect("written");
    let path = folder.path().join("log");
    let log = std::fs::File::create(&path).expect("created");
    let metadata = log.metadata().expect("there");
    // The file itself is no socket, so that the daemon ends with an error at once.
    let status = lbctl()
        .arg("run")
        .arg(&file)
        .arg("--control")
        .arg(&file)
        .env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()))
        .stderr(log)
        .status()
        .expect("ran");
    assert_eq!(status.code(), Some(1));
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(text.lines().all(|line| line.starts_with('<')), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>can't replace ")), "{text}");
}

#[test]
fn a_file_with_only_backends_starts_and_checks_them() {
    let text = format!(
        "[backend.app]\nservers = [\"{}\"]\ncheck = {{ interval = \"200ms\" }}\n",
        web_server(Duration::ZERO)
    );
    let daemon = Daemon::spawn(&text, unused_address(), None);
    daemon.wait_until("the server is up", |daemon| {
        daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["state"] == "up")
    });
}

#[test]
fn a_signal_to_a_proxy_alone_waits_for_nothing_longer_than_half_a_second() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = start_with_a_long_drain("http");
        let mut client = TcpStream::connect(daemon.frontend).expect("connected");
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        daemon.wait_until("it is in flight", |daemon| {
            daemon
                .status_json()
                .is_some_and(|status| status["backends"][0]["servers"][0]["in_flight"].as_u64() == Some(1))
        });
        daemon.signal(signal);
        assert_eq!(daemon.wait_for_exit().code(), Some(0));
        // For each of two waits: a second in all.
        let log = daemon.log();
        assert!(log.contains("draining first") && log.contains("limit=500ms"), "{signal}: {log}");
    }
}

#[test]
fn haproxys_soft_stop_lets_an_exchange_finish_for_as_long_as_the_file_says() {
    let open = Arc::new(AtomicBool::new(false));
    let frontend = unused_address();
    let text = file("http", frontend, web_server_behind(&open)).replace("\"3s\"", "\"120s\"");
    let mut daemon = Daemon::spawn(&text, frontend, None);
    let client = thread::spawn(move || get(frontend));
    daemon.wait_until("it is in flight", |daemon| {
        daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["in_flight"] == 1)
    });
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_until("it drains", |daemon| daemon.log().contains("draining first"));
    assert!(daemon.log().contains("limit=120s"), "{}", daemon.log());
    open.store(true, Ordering::SeqCst);
    assert_eq!(client.join().expect("ran").as_deref(), Some("hello"));
    assert_eq!(daemon.wait_for_exit().code(), Some(0));
}

#[test]
fn haproxys_signals_pause_and_resume_all_frontends() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    for _ in 0..2 {
        daemon.signal(Signal::SIGTTOU);
        daemon.wait_until("it is paused", |daemon| {
            daemon.status_json().is_some_and(|status| status["frontends"][0]["paused"]["by"] == "SIGTTOU")
        });
        daemon.wait_until("newcomers are refused", |daemon| get(daemon.frontend).is_none());
        daemon.signal(Signal::SIGTTIN);
        daemon.wait_until("it listens again", |daemon| get(daemon.frontend).is_some());
    }
    daemon.assert_untouched();
}

/// As a script does that thinks better of it: no time for the loop between the two.
#[test]
fn of_a_pause_and_a_resume_in_quick_succession_the_last_one_counts() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let is_paused = |daemon: &Daemon| {
        daemon.status_json().is_some_and(|status| !status["frontends"][0]["paused"].is_null())
    };
    for _ in 0..30 {
        daemon.signal(Signal::SIGTTOU);
        daemon.signal(Signal::SIGTTIN);
        daemon.wait_until("it goes on", |daemon| get(daemon.frontend).is_some() && !is_paused(daemon));
    }
    assert!(get(daemon.frontend).is_some(), "and stays so");
    daemon.signal(Signal::SIGTTOU);
    daemon.wait_until("a pause alone counts", is_paused);
    daemon.signal(Signal::SIGTTIN);
    daemon.wait_until("and so does a resume", |daemon| get(daemon.frontend).is_some());
    daemon.assert_untouched();
}

/// As whoever starts it would pass one: open, listening, with a number that the file names.
#[test]
fn a_passed_socket_is_adopted_by_all_workers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    // A duplicate without close-on-exec, so that the program inherits it.
    let passed = nix::unistd::dup(&listener).expect("duplicated");
    let text = format!(
        "[global]\nthreads = 2\n[listen.web]\nbind = {{ fd = {} }}\nservers = [\"{}\"]\ncheck = false\n",
        std::os::fd::AsRawFd::as_raw_fd(&passed),
        web_server(Duration::ZERO)
    );
    let daemon = Daemon::spawn(&text, address, None);
    for _ in 0..20 {
        assert_eq!(get(address).as_deref(), Some("hello"));
    }
    let status = daemon.status_json().expect("answers");
    assert_eq!(status["frontends"][0]["binds"][0]["address"], address.to_string());
    daemon.assert_untouched();
}

#[test]
fn signal_that_frees_memory_in_haproxy_ends_nothing() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_until("it is told", |daemon| daemon.log().contains("SIGQUIT: there is nothing to free"));
    daemon.assert_untouched();
}
