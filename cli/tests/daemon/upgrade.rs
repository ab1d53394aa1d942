//! `lbctl upgrade`: what a service manager hears, and the verb alone. Clients, addresses and what is refused are in tests/.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixDatagram, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::harness::{
    Daemon, PATIENCE, file, get, get_on, lbctl, processes_in, unused_address, verb, web_server,
    web_server_behind,
};

#[test]
fn process_before_is_seen_and_what_ends_there_is_counted() {
    let open = Arc::new(AtomicBool::new(false));
    let frontend = unused_address();
    let daemon = Daemon::spawn(&file("http", frontend, web_server_behind(&open)), frontend, None);
    let waits = thread::spawn(move || get(frontend));
    let frontend_of = |daemon: &Daemon| daemon.status_json().expect("a status")["frontends"][0].clone();
    daemon.wait_until("it is served", |daemon| frontend_of(daemon)["connections"] == 1);
    let first = daemon.child.id();
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    daemon.wait_until("it says what it has", |daemon| {
        let status = daemon.status_json().expect("a status");
        let earlier = &status["earlier"][0];
        (&earlier["pid"], &earlier["connections"], &earlier["exchanges"])
            == (&first.into(), &1.into(), &1.into())
    });
    let screen = String::from_utf8_lossy(&daemon.verb(&["status"]).stdout).replace("\n  ", " ");
    assert!(screen.contains(&format!("process {first}, in charge until ")), "{screen}");
    assert!(screen.contains("still has 1 connection (1 busy) for "), "{screen}");
    assert_eq!(frontend_of(&daemon)["connections"], 0);
    assert_eq!(frontend_of(&daemon)["responses"][2], 0);
    open.store(true, Ordering::SeqCst);
    assert_eq!(waits.join().expect("no panic").as_deref(), Some("hello"));
    daemon.wait_until("the process in charge has counted it", |daemon| {
        let frontend = frontend_of(daemon);
        frontend["responses"][2] == 1 && frontend["bytes_out"].as_u64() > Some(0)
    });
    daemon.wait_until("it is gone", |daemon| {
        daemon.status_json().expect("a status")["earlier"].as_array().is_some_and(Vec::is_empty)
    });
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

/// A test that fails, or does not stop what it has upgraded, leaves nothing on the machine.
#[test]
fn what_an_upgrade_has_started_ends_with_the_test() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let (first, folder) = (daemon.child.id(), daemon.folder.path().to_owned());
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    let next = daemon.status_json().expect("a status")["pid"].as_u64().expect("a number");
    assert_ne!(next, u64::from(first));
    let is_next = |one: &Pid| u64::from(one.as_raw().unsigned_abs()) == next;
    assert!(processes_in(&folder).iter().any(is_next));
    drop(daemon);
    assert_eq!(processes_in(&folder), []);
}

#[test]
fn rotation_of_logs_and_maintenance_reach_the_process_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let frontend = unused_address();
    let text = format!(
        "[global]\nthreads = 1\n\n[listen.web]\nmode = \"tcp\"\nbind = \"{frontend}\"\ncheck = false\n\
         log = {{ file = {log:?} }}\nlog_format = \"tcplog\"\non_marked_down = \"shutdown-sessions\"\n\
         servers = [\"{}\"]\n",
        server.local_addr().expect("bound")
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    let mut client = TcpStream::connect(frontend).expect("connected");
    let (mut served, _) = server.accept().expect("accepted");
    served.write_all(b"x").expect("sent");
    client.read_exact(&mut [0]).expect("it passes");
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    let rotated = folder.path().join("access.log.1");
    fs::rename(&log, &rotated).expect("moved away");
    let said = daemon.verb(&["log", "reopen"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let name = &daemon.status_json().expect("a status")["backends"][0]["servers"][0]["name"];
    let server = format!("web/{}", name.as_str().expect("a name"));
    let said = daemon.verb(&["server", &server, "maint"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("note: 1 more was in flight in processes before an upgrade"), "{said}");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    let end = client.read(&mut [0]);
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|end| end.kind() == std::io::ErrorKind::ConnectionReset));
    let read = || fs::read_to_string(&log).unwrap_or_default();
    daemon.wait_until("its line is in the new file", |_| read().contains(&format!("{server} ")));
    assert!(!fs::read_to_string(&rotated).unwrap_or_default().contains(&format!("{server} ")));
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn systemd_is_told_of_the_process_that_is_in_charge() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bound");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        // Nobody's watchdog but that of the processes that take the place of one.
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1");
    });
    let output = daemon.verb(&["upgrade"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pid =
        said.strip_prefix("process ").and_then(|rest| rest.split_once(' ')).expect("a number").0.to_owned();
    assert!(said.ends_with(&format!(": lbctl {} again\n", env!("CARGO_PKG_VERSION"))), "{said}");
    let mut heard = Vec::new();
    while ![&format!("MAINPID={pid}"), "WATCHDOG=1"]
        .iter()
        .all(|state| heard.iter().any(|heard| heard == state))
    {
        let mut state = [0; 200];
        let length = manager.recv(&mut state).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
        heard.push(String::from_utf8_lossy(&state[..length]).into_owned());
    }
    assert!(!heard.iter().any(|state| state.starts_with("STOPPING")), "{heard:?}");
    // For `systemctl status`; that of the process in charge comes when systemd knows that it is.
    let says = "STATUS=serves, without a virtual address";
    assert!(heard.iter().any(|state| state == says), "{heard:?}");
    assert_eq!(heard.iter().filter(|state| *state == "READY=1").count(), 1, "only the first one: {heard:?}");
    assert_eq!(daemon.status_json().expect("a status")["pid"].to_string(), pid);
    assert!(daemon.verb(&["stop", "--now"]).status.success());
    manager.set_nonblocking(true).expect("set");
    let mut heard = Vec::new();
    let mut state = [0; 200];
    while let Ok(length) = manager.recv(&mut state) {
        heard.push(String::from_utf8_lossy(&state[..length]).into_owned());
    }
    let at = |state: &str| heard.iter().position(|heard| heard.starts_with(state));
    assert!(at("STOPPING=1").is_some() && at("STOPPING=1") < at("STATUS=stopping: "), "{heard:?}");
}

#[test]
fn uptime_goes_on_and_a_process_before_that_is_stopped_is_told_of() {
    let open = Arc::new(AtomicBool::new(false));
    let frontend = unused_address();
    let daemon = Daemon::spawn(&file("http", frontend, web_server_behind(&open)), frontend, None);
    let status = || daemon.status_json().expect("a status");
    daemon.wait_until("the server is up", |_| status()["backends"][0]["servers"][0]["state"] == "up");
    let waits = thread::spawn(move || get(frontend));
    daemon.wait_until("it is served", |_| status()["frontends"][0]["connections"] == 1);
    let before = status();
    assert!(before["upgraded"].is_null(), "{before}");
    let first = Pid::from_raw(i32::try_from(daemon.child.id()).expect("a process number"));
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    daemon.wait_until("it says what it has", |_| status()["earlier"][0]["connections"] == 1);
    kill(first, Signal::SIGSTOP).expect("it is there");
    let after = status();
    let server = |status: &Value| status["backends"][0]["servers"][0]["since"].clone();
    assert_eq!((&after["started"], server(&after)), (&before["started"], server(&before)));
    assert!(after["upgraded"].as_str() > after["started"].as_str(), "{after}");
    daemon.wait_until("it is missed", |_| status()["earlier"][0]["silent_ms"].as_u64().is_some());
    let screen = String::from_utf8_lossy(&daemon.verb(&["status"]).stdout).replace("\n  ", " ");
    assert!(screen.contains(&format!("to end it: kill -9 {first}")), "{screen}");
    let said = daemon.verb(&["stop", "--now"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains(
            "nothing was cut here; a process before an upgrade does not answer, and what it cut is not known"
        ),
        "{said}"
    );
    kill(first, Signal::SIGKILL).expect("it is there");
    assert_eq!(waits.join().expect("no panic"), None);
}

#[test]
fn without_a_daemon_it_fails_and_a_limit_that_is_none_is_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = verb(&["upgrade"], &folder.path().join("control.sock"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("lbctl is not running here"), "{said}");
    let output = verb(&["upgrade", "--limit", "soon"], &folder.path().join("control.sock"));
    assert_eq!(output.status.code(), Some(64));
}

/// `check now` takes as long as the server lets it, and whatever else happens meanwhile is to go its way.
#[test]
fn an_order_in_flight_costs_no_connection_when_another_process_takes_over_or_all_is_stopped() {
    let (open, frontend) = (Arc::new(AtomicBool::new(false)), unused_address());
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("web.sock");
    let text = format!(
        "[frontend.web]\nbind = [\"{frontend}\", {{ unix = \"{}\" }}]\ndefault_backend = \"app\"\n\
         rules = [{{ when = {{ path = \"/silent\" }}, backend = \"silent\" }}]\n\
         [backend.app]\ncheck = false\nserver.web1 = {{ address = \"{}\" }}\n\
         [backend.silent]\ncheck = {{ http = {{ path = \"/\" }}, interval = \"1h\", timeout = \"1h\" }}\n\
         server.hung = {{ address = \"{}\" }}\n",
        socket.display(),
        web_server_behind(&open),
        silent.local_addr().expect("bound"),
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    // The first check of all.
    drop(silent.accept().expect("accepted"));
    let begin = || {
        let mut check = lbctl();
        check.args(["server", "silent/hung", "check", "now", "--control"]).arg(&daemon.socket);
        let check = check.spawn().expect("started");
        let client = thread::spawn(move || get(frontend));
        let asked = silent.accept().expect("accepted");
        daemon.wait_until("the request is in flight", |daemon| {
            daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["in_flight"] == 1)
        });
        (check, client, asked)
    };

    let (mut check, client, _asked) = begin();
    let upgraded = daemon.verb(&["upgrade"]);
    assert!(upgraded.status.success(), "{}", String::from_utf8_lossy(&upgraded.stderr));
    open.store(true, Ordering::SeqCst);
    assert_eq!(client.join().expect("ran").as_deref(), Some("hello"), "{}", daemon.log());
    daemon.wait_until("the process before ends", |daemon| {
        daemon.log().contains("another process serves cut=0")
    });
    assert!(check.wait().is_ok_and(|status| !status.success()), "its process has ended");
    let through = UnixStream::connect(&socket).expect("the next process has the socket, and its file");
    assert_eq!(get_on(through).as_deref(), Some("hello"));

    open.store(false, Ordering::SeqCst);
    let (mut check, client, _asked) = begin();
    let stopped = daemon.verb(&["stop", "--now"]);
    let said = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert!(said.contains("1 connection was cut"), "{said}{}", daemon.log());
    assert_eq!(client.join().expect("ran"), None);
    assert!(check.wait().is_ok_and(|status| !status.success()));
}

#[test]
fn who_keeps_a_connection_to_the_control_socket_open_comes_back_to_the_process_in_charge() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let mut kept = UnixStream::connect(&daemon.socket).expect("connected");
    kept.set_read_timeout(Some(PATIENCE)).expect("set");
    kept.write_all(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = [0; 4096];
    let length = kept.read(&mut answer).expect("answered");
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(daemon.verb(&["upgrade"]).status.success());
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).expect("closed, and not answered by a process that knows nothing any more");
    assert_eq!(String::from_utf8_lossy(&rest), "");
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

#[test]
fn a_map_that_is_gone_is_a_bad_file_as_it_is_for_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let map = folder.path().join("hosts.map");
    fs::write(&map, "a b\n").expect("written");
    let frontend = unused_address();
    let text = format!(
        "[map.hosts]\nfile = {map:?}\n[frontend.web]\nbind = \"{frontend}\"\n\
         rules = [{{ set_header = {{ \"X-Host\" = '{{request.host|map(\"hosts\")}}' }} }}, {{ respond = {{ status = 200, body = \"hello\" }} }}]\n"
    );
    let daemon = Daemon::spawn(&text, frontend, None);
    fs::remove_file(&map).expect("removed");
    let refused = |verb| {
        let output = daemon.verb(&[verb]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{verb}: {said}");
        assert!(said.contains("hosts.map"), "{verb}: {said}");
    };
    refused("reload");
    refused("upgrade");
    assert_eq!(get(frontend).as_deref(), Some("hello"));
}

/// systemd takes the end of the main process that it knows for that of the service.
#[test]
fn systemd_is_told_of_the_process_in_charge_as_soon_as_it_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("set");
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let others = UnixDatagram::unbound().expect("a socket");
    others.set_nonblocking(true).expect("set");
    while others.send_to(b"X=1", &path).is_ok() {}
    let output = daemon.verb(&["upgrade"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pid = daemon.status_json().expect("a status")["pid"].to_string();
    let mut state = [0; 200];
    loop {
        let length = manager.recv(&mut state).expect("told in the end");
        if state[..length] == *format!("MAINPID={pid}").as_bytes() {
            break;
        }
    }
    daemon.wait_until("the process before ends then", |daemon| {
        daemon.log().contains("ended: another process serves")
    });
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}

/// Its socket has room for a few, and others are quicker.
#[test]
fn systemd_is_told_what_it_waits_for_as_soon_as_it_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("set");
    let others = UnixDatagram::unbound().expect("a socket");
    others.set_nonblocking(true).expect("set");
    let fill = || while others.send_to(b"X=1", &path).is_ok() {};
    fill();
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let is_told = |wanted: &[&str]| {
        let (mut state, mut wanted) = ([0; 200], wanted.iter().peekable());
        while let Some(next) = wanted.peek() {
            let length = manager.recv(&mut state).unwrap_or_else(|error| panic!("{next}: {error}"));
            if String::from_utf8_lossy(&state[..length]).starts_with(**next) {
                wanted.next();
            }
        }
    };
    is_told(&["READY=1"]);
    fill();
    assert!(daemon.verb(&["reload"]).status.success(), "{}", daemon.log());
    is_told(&["RELOADING=1", "READY=1"]);
}

/// The process that takes the place of this one, as long as it is about to.
fn next_of(daemon: &Daemon) -> Option<Pid> {
    let folder = daemon.folder.path().to_str().expect("UTF-8");
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.into_iter().find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("--take-over") && words.contains(folder)
    });
    found.map(Pid::from_raw)
}

#[test]
fn reload_during_an_upgrade_waits_and_its_signal_reaches_the_process_in_charge() {
    let folder = tempfile::tempdir().expect("a folder");
    let map = folder.path().join("large.map");
    // The next process has something to read before it takes over, and is found meanwhile.
    let lines: String = (0..200_000).map(|n| format!("{n}.example web\n")).collect();
    fs::write(&map, lines).expect("written");
    let frontend = unused_address();
    let text = file("http", frontend, web_server(Duration::ZERO));
    let text = format!("{text}\n[map.large]\nfile = {map:?}\n");
    let daemon = Daemon::spawn(&text, frontend, None);
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| daemon.verb(&["upgrade"]));
        let mut next = None;
        daemon.wait_until("the next process", |daemon| {
            next = next_of(daemon);
            next.is_some()
        });
        let next = next.expect("found");
        kill(next, Signal::SIGSTOP).expect("it is there");
        fs::write(
            daemon.folder.path().join("lb.toml"),
            text.replace("threads = 2", "threads = 2\nmaxconn = 99"),
        )
        .expect("written");
        let verb = scope.spawn(|| daemon.verb(&["reload"]));
        daemon.signal(Signal::SIGHUP);
        daemon.wait_until("both wait", |daemon| daemon.log().matches("under way: it follows").count() == 2);
        kill(next, Signal::SIGCONT).expect("it is there");
        let upgrade = upgrade.join().expect("no panic");
        assert!(upgrade.status.success(), "{}", String::from_utf8_lossy(&upgrade.stderr));
        let refused = verb.join().expect("no panic");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&format!("process {next} has just taken over, and serves: again")), "{said}");
    });
    daemon.wait_until("the signal is passed on", |daemon| daemon.log().contains("reloading by=\"SIGHUP\""));
    daemon.wait_until("what is new is in force", |daemon| {
        daemon.status_json().is_some_and(|status| status["maxconn"] == 99)
    });
    assert!(daemon.verb(&["stop", "--now"]).status.success());
}
