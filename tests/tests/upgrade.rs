//! Another process takes over while clients are served: no client notices, and no address moves.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lb_tests::{
    order::{self, other},
    plain::{Plain, Running, unused_address, wait_until},
    program,
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::{BALANCERS, How, LoadOptions, Options};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

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
        wait::until("another speaker", Duration::from_secs(30), || {
            let now = speaker(scene, &holder);
            (!now.is_empty() && now != old).then_some(())
        });
        wait::until("it resumes", Duration::from_secs(30), || {
            scene.log(&holder, "lbctl").unwrap().contains("resumed, last advertisement").then_some(())
        });
        assert_eq!(scene.holder(), holder);

        // The speaker knows the next process as it knew the first.
        let read = scene.record().unwrap().len();
        scene.fail(&holder, How::Kill).unwrap();
        scene.wait_until_held_by(other(&holder), Duration::from_secs(30)).unwrap();
        assert!(order::first_move(scene, &holder, read).in_order);
        scene.heal(&holder).unwrap();
    });
}

/// A copy of the program in a folder of its own, which can be replaced while it runs.
fn copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lbctl");
    install(&program);
    (folder, program)
}

/// Puts a fresh file there, as a package manager does.
fn install(program: &Path) {
    let fresh = program.with_extension("new");
    fs::copy(program::lbctl(), &fresh).unwrap();
    fs::rename(fresh, program).unwrap();
}

fn install_script(program: &Path, text: &str) {
    let fresh = program.with_extension("new");
    fs::write(&fresh, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(fresh, program).unwrap();
}

#[test]
fn speaker_of_another_program_is_replaced_and_nothing_moves() {
    let (_folder, program) = copy();
    Scene::unless_starved(&Options::default().configuration(&slower("1s")).program(&program), |scene| {
        let holder = scene.holder();
        let old = speaker(scene, &holder);
        let load = scene.load(&LoadOptions { patience: 10_000, ..LoadOptions::default() }).unwrap();
        wait::until("clients are served", Duration::from_secs(30), || {
            (load.report().ok() > 100).then_some(())
        });
        install(&program);
        upgrade(scene, &holder);
        wait::until("another speaker", Duration::from_secs(30), || {
            let now = speaker(scene, &holder);
            (!now.is_empty() && now != old).then_some(())
        });
        wait::until("it resumes", Duration::from_secs(30), || {
            scene.log(&holder, "lbctl").unwrap().contains("resumed, last advertisement").then_some(())
        });
        assert_eq!(scene.holder(), holder);
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report:?}");
        let log = scene.log(&holder, "lbctl").unwrap();
        assert!(log.contains("the speaker is of another program"), "{log}");
    });
}

#[test]
fn what_cannot_take_over_leaves_the_old_one_in_charge() {
    let (_folder, program) = copy();
    let address = unused_address(8000);
    let text = format!(
        "[frontend.web]\nbind = \"{address}\"\nrules = [{{ respond = {{ status = 200, body = \"here\" }} }}]\n"
    );
    let plain = Plain::start_program(&program, &text);
    let refused = |code: i32, why: &str| {
        let output = plain.upgrade();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
        let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
        assert_eq!(status["pid"], plain.id());
        let answer = Command::new("curl").args(["-s", &format!("http://{address}/")]).output().unwrap();
        assert_eq!(answer.stdout, b"here");
    };
    install_script(&program, "exit 3");
    refused(1, "the new process ended (exit status: 3); see its output");
    install_script(&program, "exec sleep 100");
    refused(1, "the new process said nothing for 10 s");
    fs::remove_file(&program).unwrap();
    refused(1, "there is no ");
    install(&program);
    fs::write(plain.file(), text.replace("bind", "bund")).unwrap();
    refused(78, "unknown key `bund`");
    fs::write(plain.file(), text.replace("status = 200", "status = 203")).unwrap();
    let output = plain.upgrade();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = Command::new("curl").args(["-si", &format!("http://{address}/")]).output().unwrap();
    assert!(answer.stdout.starts_with(b"HTTP/1.1 203"), "the next process has read the file");
}

#[test]
fn program_that_was_started_by_a_link_is_where_the_link_leads_by_then() {
    let (folder, first) = copy();
    let (second, link) = (folder.path().join("lbctl-2"), folder.path().join("current"));
    fs::hard_link(&first, &second).unwrap();
    symlink(&first, &link).unwrap();
    let address = unused_address(8000);
    let plain = Plain::start_program(
        &link,
        &format!("[frontend.web]\nbind = \"{address}\"\nrules = [{{ deny = 403 }}]\n"),
    );
    for leads_to in [&second, &first] {
        let fresh = folder.path().join("fresh");
        symlink(leads_to, &fresh).unwrap();
        fs::rename(fresh, &link).unwrap();
        let output = plain.upgrade();
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        let runs = fs::read_link(format!("/proc/{}/exe", report["pid"])).unwrap();
        assert_eq!(&runs, leads_to);
    }
    fs::remove_file(&link).unwrap();
    let output = plain.upgrade();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("there is no {} any more", link.display())), "{}", said(&output));
}

/// A next process that says this after it was started, and that once it has everything; and then waits for the file `over`. In
/// the log it says when it is to be in charge.
fn install_impostor(program: &Path, first: &str, second: Option<&str>) {
    let (script, over) = (program.with_file_name("impostor"), program.with_file_name("over"));
    let _ = fs::remove_file(&over);
    let hear = |word: &str| {
        format!("while (1) {{ sysread $s, my $m, 1 << 18 or exit; last if $m =~ /^[{{\"]+{word}/ }}\n")
    };
    let mut text = format!("open my $s, q(+<&=0);\nsyswrite $s, q({first});\n{}", hear("Control"));
    if let Some(second) = second {
        text += &format!("syswrite $s, q({second});\n{}print STDERR qq({IN_CHARGE}\\n);\n", hear("Go"));
    }
    text += &format!("select undef, undef, undef, 0.01 until -e q({});\n", over.display());
    fs::write(&script, text).unwrap();
    install_script(program, &format!("exec perl {}", script.display()));
}

const IN_CHARGE: &str = "the impostor is to be in charge";
const HELLO: &str = r#"{"Hello":{"version":"9.9.9","protocol":2}}"#;
const READY: &str = r#"{"Ready":{"file":""}}"#;

#[test]
fn whatever_the_next_process_fails_at_the_old_one_serves_on_and_a_stop_is_not_lost() {
    let (_folder, program) = copy();
    let address = unused_address(8000);
    let text = format!(
        "[frontend.web]\nbind = \"{address}\"\nrules = [{{ respond = {{ status = 200, body = \"here\" }} }}]\n"
    );
    let plain = Plain::start_program(&program, &text);
    let over = program.with_file_name("over");
    let serves = |plain: &Plain| {
        let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
        assert_eq!(status["pid"], plain.id());
        assert!(lb_tests::plain::get(address, "/").ends_with("here"));
    };
    install_impostor(&program, r#"{"Hello":{"version":"9.9.9","protocol":99}}"#, None);
    let refused = said(&plain.upgrade());
    assert!(refused.contains("lbctl 9.9.9 can't take over from lbctl "), "{refused}");
    serves(&plain);

    // It ends once it has everything, and once it is to be in charge.
    for second in [None, Some(READY)] {
        install_impostor(&program, HELLO, second);
        fs::write(&over, "").unwrap();
        let refused = said(&plain.upgrade());
        assert!(refused.contains("the new process ended (exit status: 0)"), "{refused}");
        serves(&plain);
    }

    // It is to be in charge, and hangs: a stop that comes then is one.
    install_impostor(&program, HELLO, Some(READY));
    let (refused, stopped) = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| plain.upgrade());
        wait_until("it is to be in charge", || plain.log(), || plain.log().matches(IN_CHARGE).count() == 2);
        let stop = scope.spawn(|| plain.verb(&["stop"]));
        wait_until(
            "the stop waits",
            || plain.log(),
            || plain.log().contains("the stop waits for what comes"),
        );
        fs::write(&over, "").unwrap();
        (upgrade.join().unwrap(), stop.join().unwrap())
    });
    assert!(said(&refused).contains("the new process ended"), "{}", said(&refused));
    assert!(stopped.status.success() && said(&stopped).starts_with("stopped after"), "{}", said(&stopped));
    wait_until("it ends", || plain.log(), || plain.log().contains("stopped cut=0"));
}

#[test]
fn listener_that_cannot_be_bound_is_refused_as_a_reload_refuses_it_and_other_changes_are_told() {
    let (address, taken) = (unused_address(8000), unused_address(8001));
    let _other = TcpListener::bind(taken).unwrap();
    let bind = |text: &str, status: u16| {
        format!(
            "[frontend.web]\nbind = [{text}]\nrules = [{{ respond = {{ status = {status}, body = \"here\" }} }}]\n"
        )
    };
    let plain = Plain::start(&bind(&format!("\"{address}\""), 200));
    fs::write(plain.file(), bind(&format!("\"{address}\", \"{taken}\""), 200)).unwrap();
    let output = plain.upgrade();
    let why = said(&output);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains(&format!("frontend web: {taken}: port 8001 of ")), "{why}");
    let status: Value = serde_json::from_slice(&plain.status(&["--json"]).stdout).unwrap();
    assert_eq!(status["pid"], plain.id());
    // A process that could not bind it either is no worse.
    let plain = Plain::start(&bind(&format!("\"{taken}\""), 200));
    fs::write(plain.file(), bind(&format!("\"{taken}\""), 203)).unwrap();
    let output = plain.upgrade();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(report["changes"][0]["what"], "frontend web", "{report}");
    assert_ne!(report["hash"], report["hash_before"]);
}

#[test]
fn process_whose_end_would_be_taken_for_that_of_lbctl_is_not_succeeded() {
    let folder = tempfile::tempdir().unwrap();
    let lbctl = program::lbctl();
    for (name, script, why) in [
        (
            "container",
            format!("exec unshare -Urpf --kill-child --mount-proc {lbctl} \"$@\""),
            "it is process 1",
        ),
        ("unit", format!("SYSTEMD_EXEC_PID=$$ exec {lbctl} \"$@\""), "its unit is not of Type=notify"),
        ("runsv", format!("setpriv --pdeathsig KILL {lbctl} \"$@\" & wait"), "runsv watches this process"),
    ] {
        let program = folder.path().join(name);
        install_script(&program, &script);
        let text =
            format!("[frontend.web]\nbind = \"{}\"\nrules = [{{ deny = 403 }}]\n", unused_address(8000));
        let plain = Plain::start_program(&program, &text);
        let output = plain.upgrade();
        let refused = said(&output);
        assert_eq!(output.status.code(), Some(1), "{refused}");
        assert!(refused.contains(why), "{refused}");
        assert!(plain.status(&["--json"]).stdout.starts_with(b"{"), "{}", plain.log());
    }
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
        let output = plain.upgrade();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        tunnel.passes(2);
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

#[test]
fn reload_that_takes_an_address_away_resets_what_the_process_before_has_there() {
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
        upgrade(scene, &holder);
        scene.write_file(&holder, "/run/lab.toml", &one).unwrap();
        let report = scene.done(&holder, &["reload", "--json"]);
        assert_eq!(report["cut"], 1, "{report}");
        wait::until("the client is told", Duration::from_secs(30), || {
            scene.log("client", "held").unwrap_or_default().contains("over").then_some(())
        });
    });
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
