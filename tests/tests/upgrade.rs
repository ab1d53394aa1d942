//! Another process takes over while clients are served: no client notices, and no address moves.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    cell::Cell,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    process::Command,
    time::Duration,
};

use lb_tests::{
    order::{self, other},
    plain::{Plain, Running, unused_address, wait_until},
    processes::{self, Process},
    program::{self, Installed},
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::{BALANCERS, How, LoadOptions, Options};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Returns the number of the process that is in charge.
#[track_caller]
fn upgrade(scene: &Scene, node: &str) -> u64 {
    let before = scene.status_of(node)["pid"].as_u64().unwrap();
    let (code, said, errors) = scene.verb(node, &["upgrade", "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let pid = report["pid"].as_u64().unwrap();
    assert_ne!(pid, before);
    assert_eq!(scene.status_of(node)["pid"], pid);
    pid
}

/// Process numbers of the speakers of a node, in its own terms.
fn speaker(scene: &Scene, node: &str) -> String {
    let command = "for p in $(pgrep -x lbctl-speaker); do [ /proc/$p/ns/net -ef /proc/self/ns/net ] && echo $p; done; true";
    scene.shell(node, command).trim().to_owned()
}

fn wait_until_another_resumes(scene: &Scene, node: &str, old: &str) {
    wait::until("another speaker", Duration::from_secs(30), || {
        let now = speaker(scene, node);
        (!now.is_empty() && now != old).then_some(())
    });
    wait::until("it resumes", Duration::from_secs(30), || {
        scene.log(node, "lbctl").unwrap().contains("resumed, last advertisement").then_some(())
    });
}

#[test]
fn election_and_clients_do_not_notice_and_the_next_process_is_as_good_a_holder() {
    // Slow enough that a busy machine starts a speaker within one and a half intervals.
    Scene::unless_starved(&Options::default().configuration(&slower("1s")), |scene| {
        let holder = scene.holder();
        let speakers = BALANCERS.map(|node| speaker(scene, node));
        let load = scene.load(&LoadOptions { patience: 10_000, ..LoadOptions::default() }).unwrap();
        wait::until("clients are served", Duration::from_secs(30), || {
            (load.report().ok() > 100).then_some(())
        });
        let moves = || scene.record_of_vip().unwrap().len();
        // Of UDP port 3112. While it is bound anew, any user of the machine could take the port.
        let hellos =
            || BALANCERS.map(|node| scene.shell(node, "awk '$2 ~ /:0C28$/ { print $10 }' /proc/net/udp"));
        let hello = hellos();
        assert!(hello.iter().all(|inode| !inode.trim().is_empty()), "{hello:?}");
        let before = moves();
        for node in BALANCERS {
            for _ in 0..3 {
                upgrade(scene, node);
            }
        }
        let answered = load.report().ok();
        wait::until("clients are served", Duration::from_secs(30), || {
            (load.report().ok() > answered + 200).then_some(())
        });
        assert_eq!(moves(), before, "the address was not added or removed");
        assert_eq!(BALANCERS.map(|node| speaker(scene, node)), speakers, "the speakers stay");
        assert_eq!(hellos(), hello, "the sockets of the hello stay");
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report:?}");
        wait::until("no problems", Duration::from_secs(30), || {
            (scene.status_of(&holder)["problems"] == serde_json::json!([])).then_some(())
        });
        assert_eq!(scene.status_of(&holder)["groups"][0]["holders"], serde_json::json!([holder]));

        // A speaker that dies is replaced by the daemon that took it over, and resumes.
        let old = speaker(scene, &holder);
        scene.shell(&holder, &format!("kill -9 {old}"));
        wait_until_another_resumes(scene, &holder, &old);
        assert_eq!(scene.holder(), holder);
        let losses = || scene.status_of(&holder)["speaker"]["restarts_total"].as_u64();
        wait::until("it is counted", Duration::from_secs(30), || (losses() == Some(1)).then_some(()));
        upgrade(scene, &holder);
        assert_eq!(losses(), Some(1), "it goes on");

        // The speaker knows the next process as it knew the first.
        let read = scene.record().unwrap().len();
        scene.fail(&holder, How::Kill).unwrap();
        scene.wait_until_held_by(other(&holder), Duration::from_secs(30)).unwrap();
        assert!(order::first_move(scene, &holder, read).in_order);
        scene.heal(&holder).unwrap();
    });
}

#[test]
fn speaker_of_another_program_is_replaced_and_nothing_moves() {
    let program = Installed::default();
    Scene::unless_starved(
        &Options::default().configuration(&slower("1s")).program(program.path()),
        |scene| {
            let holder = scene.holder();
            let old = speaker(scene, &holder);
            let said = || {
                let status = scene.status_of(&holder);
                let last = status["groups"][0]["transitions"].as_array().and_then(|all| all.last().cloned());
                (status["groups"][0]["why"].clone(), last.unwrap_or_default()["reason"].clone())
            };
            let why = said();
            let load = scene.load(&LoadOptions { patience: 10_000, ..LoadOptions::default() }).unwrap();
            wait::until("clients are served", Duration::from_secs(30), || {
                (load.report().ok() > 100).then_some(())
            });
            program.install();
            upgrade(scene, &holder);
            wait_until_another_resumes(scene, &holder, &old);
            assert_eq!(scene.holder(), holder);
            assert_eq!(said(), why, "nothing has changed");
            assert_eq!(scene.status_of(&holder)["speaker"]["restarts_total"], 0, "that is no loss");
            let report = load.stop().unwrap();
            assert_eq!(report.failed(), 0, "{report:?}");
            let log = scene.log(&holder, "lbctl").unwrap();
            assert!(log.contains("the speaker is of another program"), "{log}");
        },
    );
}

#[test]
fn program_that_was_started_by_a_link_is_where_the_link_leads_by_then() {
    let program = Installed::default();
    let (first, second, link) = (program.path(), program.beside("lbctl-2"), program.beside("current"));
    fs::hard_link(first, &second).unwrap();
    symlink(first, &link).unwrap();
    let address = unused_address(8000);
    let plain = Plain::start_program(
        &link,
        &format!("[frontend.web]\nbind = \"{address}\"\nrules = [{{ deny = 403 }}]\n"),
    );
    for leads_to in [&*second, first] {
        let fresh = program.beside("fresh");
        symlink(leads_to, &fresh).unwrap();
        fs::rename(fresh, &link).unwrap();
        let output = plain.upgrade();
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        let runs = fs::read_link(format!("/proc/{}/exe", report["pid"])).unwrap();
        assert_eq!(runs, leads_to);
    }
    fs::remove_file(&link).unwrap();
    let output = plain.upgrade();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("there is no {} any more", link.display())), "{}", said(&output));
}

/// A connection through a proxy alone.
struct Tunnel {
    client: TcpStream,
    server: TcpStream,
}

impl Tunnel {
    /// One whose proxy has been succeeded; and the number of the process that is in charge.
    #[track_caller]
    fn through_the_process_before() -> (Self, Plain, u32) {
        Self::through_one_that_ends_after("30m")
    }

    /// The same, with this limit for the process before.
    #[track_caller]
    fn through_one_that_ends_after(limit: &str) -> (Self, Plain, u32) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let frontend = unused_address(8000);
        let text = format!(
            "[global]\ndrain_timeout = \"60s\"\n[listen.web]\nmode = \"tcp\"\nbind = \"{frontend}\"\ncheck = false\n\
             servers = [\"{}\"]\n",
            server.local_addr().unwrap()
        );
        let plain = Plain::start(&text);
        let client = TcpStream::connect(frontend).unwrap();
        let (server, _) = server.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut tunnel = Self { client, server };
        tunnel.passes(1);
        let output = plain.upgrade_with(&["--limit", limit]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        if limit == "30m" {
            tunnel.passes(2);
        }
        (tunnel, plain, u32::try_from(report["pid"].as_u64().unwrap()).unwrap())
    }

    #[track_caller]
    fn passes(&mut self, byte: u8) {
        let mut read = [0];
        self.client.write_all(&[byte]).unwrap();
        self.server.read_exact(&mut read).unwrap();
        assert_eq!(read, [byte]);
    }
}

fn signal(process: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(process).unwrap()), signal).unwrap();
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn process_before_cuts_what_it_has_after_its_limit() {
    let (mut tunnel, plain, next) = Tunnel::through_one_that_ends_after("1s");
    wait_until("it ends", || plain.log(), || plain.log().contains("ended: another process serves cut=1"));
    let mut end = [0];
    assert!(
        tunnel.server.read(&mut end).is_ok_and(|read| read == 0) || tunnel.client.read(&mut end).is_err()
    );
    let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
    assert_eq!(status["pid"], next);
}

#[test]
fn connections_of_the_process_before_have_their_time_when_the_unit_is_stopped() {
    let (mut tunnel, plain, next) = Tunnel::through_the_process_before();
    // As systemd does to every process of the unit.
    for process in [plain.id(), next] {
        signal(process, Signal::SIGUSR1);
    }
    let both = ["told to end: connections that are open have 60s", "stopping: draining first"];
    wait_until("both have heard", || plain.log(), || both.iter().all(|line| plain.log().contains(line)));
    tunnel.passes(3);
    drop(tunnel);
    let both = ["ended: another process serves cut=0", "stopped cut=0"];
    wait_until("both have ended", || plain.log(), || both.iter().all(|line| plain.log().contains(line)));
}

#[test]
fn second_signal_is_at_once_for_the_process_before_as_well() {
    let (_tunnel, plain, _) = Tunnel::through_the_process_before();
    signal(plain.id(), Signal::SIGUSR1);
    wait_until("it has heard", || plain.log(), || plain.log().contains("connections that are open have 60s"));
    signal(plain.id(), Signal::SIGUSR1);
    wait_until("it ends", || plain.log(), || plain.log().contains("another process serves cut=1"));
}

#[test]
fn stop_waits_for_connections_of_the_process_before() {
    let (mut tunnel, plain, _) = Tunnel::through_the_process_before();
    let output = std::thread::scope(|scope| {
        let stop = scope.spawn(|| plain.verb(&["stop"]));
        wait_until("both drain", || plain.log(), || plain.log().contains("the process in charge drains"));
        tunnel.passes(3);
        drop(tunnel);
        stop.join().unwrap()
    });
    let said = said(&output);
    assert!(output.status.success() && said.contains("nothing was cut"), "{said}");
    assert!(plain.log().contains("another process serves cut=0"), "{}", plain.log());
}

#[test]
fn stop_counts_what_is_cut_in_the_process_before() {
    let (_tunnel, plain, _) = Tunnel::through_the_process_before();
    let output = plain.verb(&["stop", "--now"]);
    let said = said(&output);
    assert!(output.status.success() && said.contains("1 connection was cut"), "{said}{}", plain.log());
}

#[test]
fn another_one_starts_as_soon_as_stop_returns_whatever_the_process_before_had_left() {
    let (_tunnel, plain, _) = Tunnel::through_the_process_before();
    let output = plain.verb(&["stop", "--now"]);
    assert!(output.status.success(), "{}", said(&output));
    let mut command = Command::new(program::lbctl());
    command.arg("run").arg(plain.file()).arg("--runtime-dir").arg(plain.folder().join("run"));
    command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    let log = plain.folder().join("another");
    let another = Running::start(&mut command, &log);
    let read = || fs::read_to_string(&log).unwrap();
    wait_until("it answers", read, || {
        let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap_or_default();
        status["pid"] == another.id()
    });
}

/// The lab's file, for a machine that is busy.
fn with_drain_timeout(limit: &str) -> String {
    slower("1s").replacen("[global]\n", &format!("[global]\ndrain_timeout = \"{limit}\"\n"), 1)
}

#[test]
fn switchover_waits_for_an_exchange_in_the_process_before() {
    let file = with_drain_timeout("60s");
    Scene::unless_starved(&Options::default().configuration(&file), |scene| {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        let request = ["curl", "-sS", "--max-time", "60", "http://198.51.100.10/wait/3000"];
        let _waits = scene.spawn("client", "waits", request).unwrap();
        wait::until("it is served", Duration::from_secs(30), || {
            (scene.status_of(&holder)["frontends"][0]["connections"].as_u64() > Some(0)).then_some(())
        });
        upgrade(scene, &holder);
        let report = scene.done(&holder, &["switchover", "--json"]);
        assert_eq!(report["cut"], 0, "{report}");
        wait::until("it has its answer", Duration::from_secs(30), || {
            let said = scene.log("client", "waits").unwrap_or_default();
            assert!(!said.contains("curl:"), "{said}");
            said.starts_with("web").then_some(())
        });
    });
}

/// A client that holds a connection to the second address of a holder, whose next process is in charge by now; then that address is
/// taken out of the file. `before` is told the number of the process that has the connection, as the test knows it.
fn takes_an_address_away(before: impl Fn(i32), and_then: impl Fn(&Scene, &str, &Value)) {
    let one = with_drain_timeout("500ms");
    let both = one.replacen("[\"198.51.100.10\"]", "[\"198.51.100.10\", \"198.51.100.20\"]", 1);
    Scene::unless_starved(&Options::default().configuration(&both), |scene| {
        let holder = scene.holder();
        let hold =
            "exec 3<>/dev/tcp/198.51.100.20/80; printf 'GET / HTTP/1.1\\r\\nHost' >&3; cat <&3; echo over";
        let _held = scene.spawn("client", "held", ["bash", "-c", hold]).unwrap();
        wait::until("it is connected", Duration::from_secs(30), || {
            (scene.status_of(&holder)["frontends"][0]["connections"].as_u64() > Some(0)).then_some(())
        });
        let daemon = processes::of(scene, &holder).into_iter().find(Process::is_daemon).unwrap();
        upgrade(scene, &holder);
        wait::until("it says what it has", Duration::from_secs(30), || {
            (scene.status_of(&holder)["earlier"][0]["connections"] == 1).then_some(())
        });
        before(daemon.pid);
        scene.write_file(&holder, "/run/lab.toml", &one).unwrap();
        let report = scene.done(&holder, &["reload", "--json"]);
        and_then(scene, &holder, &report);
    });
}

#[test]
fn reload_that_takes_an_address_away_resets_what_the_process_before_has_there() {
    takes_an_address_away(
        |_| {},
        |scene, _, report| {
            assert_eq!((&report["cut"], &report["unanswered"]), (&1.into(), &0.into()), "{report}");
            wait::until("the client is told", Duration::from_secs(30), || {
                scene.log("client", "held").unwrap_or_default().contains("over").then_some(())
            });
        },
    );
}

#[test]
fn reload_that_takes_an_address_away_says_that_it_does_not_know_what_a_stopped_process_before_has_cut() {
    let stopped = Cell::new(0);
    takes_an_address_away(
        |process| {
            stopped.set(process);
            kill(Pid::from_raw(process), Signal::SIGSTOP).unwrap();
        },
        |scene, holder, report| {
            kill(Pid::from_raw(stopped.get()), Signal::SIGKILL).unwrap();
            assert_eq!((&report["cut"], &report["unanswered"]), (&0.into(), &1.into()), "{report}");
            assert!(scene.log(holder, "lbctl").unwrap().contains("cut=0 unanswered=1"));
        },
    );
}

#[test]
fn connection_of_the_process_before_is_reset_when_its_address_leaves() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        // Idle, so the process before waits for one more request of it.
        let hold = "exec 3<>/dev/tcp/198.51.100.10/80; printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; cat <&3; echo over";
        let _held = scene.spawn("client", "held", ["bash", "-c", hold]).unwrap();
        let said = || scene.log("client", "held").unwrap_or_default();
        wait::until("an answer", Duration::from_secs(30), || said().contains("HTTP/1.1 200").then_some(()));
        // It stays where it is, however many processes come after that.
        for _ in 0..3 {
            upgrade(scene, &holder);
        }
        wait::until("those between have ended", Duration::from_secs(30), || {
            (scene.log(&holder, "lbctl").unwrap().matches("another process serves cut=0").count() == 2)
                .then_some(())
        });
        assert!(!said().contains("over"));
        scene.fail(&holder, How::Stop).unwrap();
        // The process before the others ends as well, and not because the last one has: then its connection would be cut.
        wait::until("it is reset", Duration::from_secs(30), || {
            let log = scene.log(&holder, "lbctl").unwrap();
            (log.matches("another process serves cut=0").count() == 3).then_some(())
        });
    });
}
