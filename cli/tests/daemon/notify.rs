//! `[notify.*]` with a command: who is told, in which order, and what is said of one who can't be.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::harness::{Daemon, file, unused_address};

/// A script that anybody may run.
fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    path.display().to_string()
}

/// A folder that anybody may write to: commands run as `nobody` where root runs the test.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("changed");
    folder
}

fn start(frontend: SocketAddr, server: SocketAddr, notifies: &str) -> Daemon {
    let text = format!("{}\n{notifies}", file("tcp", frontend, server));
    let daemon = Daemon::spawn(&text, frontend, None);
    daemon.wait_until("the server is up", |daemon| server_is(daemon, "up"));
    daemon
}

pub(crate) fn server_is(daemon: &Daemon, state: &str) -> bool {
    daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["state"] == state)
}

pub(crate) fn notifier(daemon: &Daemon, name: &str) -> Value {
    // A machine under load may not answer in time.
    let status = daemon.status_json().unwrap_or_default();
    let all = status["notifiers"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["name"] == name).unwrap_or_default()
}

/// Kinds and states in the order in which they were told.
fn told(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let one = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let of = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", of("kind"), of("to"))
    };
    text.lines().map(one).collect()
}

#[test]
fn a_command_reads_each_event_in_order_once_through_reload_upgrade_and_stop() {
    let folder = open_folder();
    let (all, down) = (folder.path().join("all"), folder.path().join("down"));
    // The first event takes longest: those behind it wait.
    let slow = script(
        folder.path(),
        "slow",
        &format!("read line\ncase $line in *running*) sleep 0.5;; esac\necho \"$line\" >> {}", all.display()),
    );
    let other = script(folder.path(), "other", &format!("cat >> {}", down.display()));
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (address, frontend) = (server.local_addr().expect("bound"), unused_address());
    let notifies = format!(
        "[notify.all]\ncommand = [\"{slow}\"]\n\n[notify.down]\ncommand = [\"{other}\"]\nevents = [\"server\"]\nto = [\"down\"]\n"
    );
    let daemon = start(frontend, address, &notifies);
    drop(server);
    daemon.wait_until("all is told", |_| told(&all).len() == 3);
    assert_eq!(told(&all), ["node running", "server down", "backend down"]);
    assert_eq!(told(&down), ["server down"]);
    // The new file's hooks; what was told before is not told again.
    let text = format!(
        "{}\n[notify.all]\ncommand = [\"{slow}\"]\nevents = [\"server\", \"node\"]\n",
        file("tcp", frontend, address)
    );
    fs::write(daemon.folder.path().join("lb.toml"), text).expect("written");
    let reloaded = daemon.verb(&["reload"]);
    assert!(reloaded.status.success(), "{}", daemon.log());
    assert!(daemon.verb(&["upgrade"]).status.success(), "{}", daemon.log());
    let server = TcpListener::bind(address).expect("free again");
    daemon.wait_until("it is told that the server is up", |_| told(&all).len() == 4);
    assert!(daemon.verb(&["stop"]).status.success(), "{}", daemon.log());
    daemon.wait_until("the end is told", |_| told(&all).len() == 5);
    assert_eq!(told(&all)[3..], ["server up", "node stopping"]);
    assert_eq!(told(&down), ["server down"], "it is not in the new file");
    drop(server);
}

#[test]
fn one_that_fails_or_hangs_is_named_and_holds_up_nobody_else() {
    let folder = open_folder();
    let all = folder.path().join("all");
    let fails = script(folder.path(), "fails", "echo no route to the pager; exit 3");
    let hangs = script(folder.path(), "hangs", "sleep 1000");
    let tells = script(folder.path(), "tells", &format!("cat >> {}", all.display()));
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (address, frontend) = (server.local_addr().expect("bound"), unused_address());
    let notifies = format!(
        "[notify.fails]\ncommand = [\"{fails}\"]\n\n[notify.hangs]\ncommand = [\"{hangs}\"]\ntimeout = \"300ms\"\n\n\
         [notify.tells]\ncommand = [\"{tells}\"]\n"
    );
    let daemon = start(frontend, address, &notifies);
    drop(server);
    daemon.wait_until("all have had their turn", |daemon| {
        ["fails", "hangs", "tells"].iter().all(|name| {
            let one = notifier(daemon, name);
            one["waiting"] == 0
                && one["told_total"].as_u64().unwrap_or(0) + one["failed_total"].as_u64().unwrap_or(0) == 3
        })
    });
    assert_eq!(told(&all).len(), 3);
    let problem = |daemon: &Daemon, name| notifier(daemon, name)["problem"]["what"].clone();
    daemon.wait_until("what is wrong is said", |daemon| {
        problem(daemon, "fails") == "it ended with 3: no route to the pager"
            && problem(daemon, "hangs") == "it ran for 300ms, and was ended"
    });
    assert_eq!(problem(&daemon, "tells"), Value::Null);
    daemon.wait_until("it is on the screen", |daemon| {
        let screen = String::from_utf8_lossy(&daemon.verb(&["status"]).stdout).into_owned();
        screen
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains("[notify.fails] is not told what happens")
    });
    let log = daemon.log();
    assert_eq!(
        log.matches("was not told what happened notify=\"fails\"").count(),
        1,
        "once for one reason: {log}"
    );
}

/// Numbers of processes, one a line.
fn pids(path: &Path) -> Vec<u32> {
    fs::read_to_string(path).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn one_that_prints_without_an_end_leaves_children_or_is_not_there_harms_nobody() {
    let folder = open_folder();
    let left = folder.path().join("left");
    let prints = script(folder.path(), "prints", "yes all is well | head -c 1000000");
    let cries = script(folder.path(), "cries", "yes no route to the pager | head -c 1000000; exit 4");
    // One in the group of the command and one that has gone from there; both keep its output open.
    let forks = script(
        folder.path(),
        "forks",
        &format!(
            "sleep 1000 & echo $! >> {0}\nsetsid sh -c 'echo $$ >> {0}; exec sleep 1000' &\nuntil [ $(wc -l < {0}) -ge 2 ]; do sleep 0.02; done",
            left.display()
        ),
    );
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let missing = folder.path().join("missing").display().to_string();
    let notifies: String = [("prints", &prints), ("cries", &cries), ("forks", &forks), ("missing", &missing)]
        .map(|(name, command)| format!("[notify.{name}]\ncommand = [\"{command}\"]\nevents = [\"node\"]\n\n"))
        .concat();
    let daemon = start(unused_address(), server.local_addr().expect("bound"), &notifies);
    let counts = |name: &str| {
        let one = notifier(&daemon, name);
        [one["told_total"].as_u64(), one["failed_total"].as_u64()]
    };
    for (name, expected) in [("prints", [1, 0]), ("cries", [0, 1]), ("forks", [1, 0]), ("missing", [0, 1])] {
        daemon.wait_until(&format!("{name} has had its turn"), |_| counts(name) == expected.map(Some));
    }
    let problem = |name: &str| notifier(&daemon, name)["problem"]["what"].clone();
    assert_eq!(problem("cries"), "it ended with 4: no route to the pager");
    assert_eq!(problem("missing"), format!("there is no {missing}, or not what its first line names"));
    let pids = pids(&left);
    assert_eq!(pids.len(), 2);
    daemon.wait_until("what was left is ended", |_| {
        pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
}

#[test]
fn what_the_unit_sends_to_all_at_a_stop_ends_no_command_that_is_under_way() {
    let folder = open_folder();
    let (begun, go_on, all) =
        (folder.path().join("begun"), folder.path().join("on"), folder.path().join("all"));
    let text = format!(
        "read line\ncase $line in *stopping*) echo $$ > {begun}; until [ -e {on} ]; do sleep 0.02; done;; esac\necho \"$line\" >> {all}",
        begun = begun.display(),
        on = go_on.display(),
        all = all.display()
    );
    let waits = script(folder.path(), "waits", &text);
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let notifies = format!("[notify.all]\ncommand = [\"{waits}\"]\nevents = [\"node\"]\n");
    let daemon = start(unused_address(), server.local_addr().expect("bound"), &notifies);
    daemon.wait_until("the start is told", |_| told(&all) == ["node running"]);
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_until("the end is being told", |_| pids(&begun).len() == 1);
    // As KillMode=control-group does, a moment later: whoever is there then, the sleep of the script as well.
    let everybody = descendants(daemon.child.id());
    assert!(everybody.contains(&pids(&begun)[0]), "{everybody:?}");
    for pid in everybody {
        // A sleep may be over.
        let _ = kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGUSR1);
    }
    fs::write(&go_on, "").expect("written");
    daemon.wait_until("the end is told", |_| told(&all) == ["node running", "node stopping"]);
    assert!(!daemon.log().contains("was not told"), "{}", daemon.log());
}

/// Of a process: those that it has started, and those that they have.
fn descendants(of: u32) -> Vec<u32> {
    let own = children(of);
    let theirs = own.iter().copied().flat_map(descendants);
    own.iter().copied().chain(theirs).collect()
}

/// Children of a process.
fn children(of: u32) -> Vec<u32> {
    let all = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[test]
fn the_process_that_runs_commands_is_replaced_when_it_is_killed_and_what_had_not_begun_is_told() {
    let folder = open_folder();
    let all = folder.path().join("all");
    let text =
        format!("read line\ncase $line in *running*) sleep 1000;; esac\necho \"$line\" >> {}", all.display());
    let hangs = script(folder.path(), "hangs", &text);
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let notifies = format!("[notify.all]\ncommand = [\"{hangs}\"]\ntimeout = \"5m\"\n");
    let daemon = start(unused_address(), server.local_addr().expect("bound"), &notifies);
    drop(server);
    daemon.wait_until("all has happened, and the first is under way", |daemon| {
        server_is(daemon, "down") && notifier(daemon, "all")["waiting"] == 3
    });
    let is_starter = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().starts_with(b"lbctl\0runner\0")
    };
    let starters: Vec<u32> = children(daemon.child.id()).into_iter().filter(is_starter).collect();
    let [worker] = children(starters[0])[..] else { panic!("one runs them") };
    let worker = Pid::from_raw(i32::try_from(worker).expect("a pid"));
    kill(worker, Signal::SIGKILL).expect("killed");
    daemon.wait_until("what had not begun is told", |_| told(&all).len() == 2);
    assert_eq!(told(&all), ["server down", "backend down"]);
    let one = notifier(&daemon, "all");
    assert_eq!([&one["told_total"], &one["failed_total"], &one["lost_total"]], [2, 1, 0], "{one}");
    assert_eq!(daemon.status_json().expect("answers")["runner_restarts_total"], 1);
    for said in [
        "the process that runs commands has died: another one is started",
        "event=1 reason=\"the process that runs commands has died, and nobody knows how far the command has come\"",
    ] {
        assert!(daemon.log().contains(said), "{said} is not in {}", daemon.log());
    }
}
