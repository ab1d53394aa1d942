//! Commands of `[track.*]`, run by the process that is outside the jail.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::{sys::signal::Signal, unistd::Pid};

use super::{
    in_namespace, is_dead, net,
    privileges::{Jailed, as_root},
    started,
    tracked::{bridge, passes, ready, tracker},
    unicast::{hears, is},
    wait_for,
};

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// The processes that run commands for this daemon.
pub(crate) fn runners(daemon: Pid) -> Vec<Pid> {
    let is_one = |pid: &Pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"lbctl\0runner\0")
    };
    net::children(daemon).into_iter().filter(is_one).collect()
}

#[test]
fn a_command_that_fails_on_the_holder_moves_the_address_and_one_that_can_not_be_run_moves_nothing() {
    in_namespace(
        "commands::a_command_that_fails_on_the_holder_moves_the_address_and_one_that_can_not_be_run_moves_nothing",
        || {
            let bridge = bridge(
                "[track.fit]\ncommand = [\"@/fit\", \"198.51.100.11/\"]\ninterval = \"100ms\"\nfall = 2\nhold = \"200ms\"",
            );
            let folder = bridge.folder.path();
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            let file = folder.join("lb.toml");
            let text = fs::read_to_string(&file).unwrap().replace('@', folder.to_str().unwrap());
            fs::write(&file, text).unwrap();
            let broken = folder.join("broken");
            let program = folder.join("fit");
            script(
                &program,
                &format!(
                    "ip -4 addr show dev eth1 | grep -q \"$1\" || exit 0\n\
                     test -e {} || exit 0\necho 'the disk is full'; exit 2",
                    broken.display()
                ),
            );
            let (lb1, lb2) = started(&bridge);
            for node in [&lb1, &lb2] {
                passes(node, true);
            }
            wait_for("lb2 is ready", || ready(&lb2).contains("yes").then_some(()));
            fs::write(&broken, "").unwrap();
            is(&lb2, "Active");
            is(&lb1, "Backup");
            assert!(lb2.has_vip() && !lb1.has_vip());
            let why = "tracker fit fails: its command ended with 2: the disk is full";
            assert!(ready(&lb1).contains(why), "{}", ready(&lb1));
            fs::remove_file(&broken).unwrap();
            passes(&lb1, true);
            // On the holder alone nobody may run it: that is the operator's to know, and no reason to move.
            fs::set_permissions(&program, Permissions::from_mode(0o644)).unwrap();
            wait_for("a problem", || {
                let problems = lb2.status()["problems"].to_string();
                problems.contains("tracker fit can't look at command").then_some(())
            });
            assert_eq!(tracker(&lb2)["passes"], true);
            assert_eq!([lb1.state(), lb2.state()], ["Backup", "Active"]);
            assert!(lb2.status()["problems"].to_string().contains("is it executable?"));
        },
    );
}

/// On both nodes, so that nobody is better.
#[test]
fn commands_that_hang_fork_or_print_a_megabyte_are_counted_and_named_and_move_nothing() {
    in_namespace(
        "commands::commands_that_hang_fork_or_print_a_megabyte_are_counted_and_named_and_move_nothing",
        || {
            let one = |name: &str, more: &str| {
                format!("[track.{name}]\ncommand = [\"@/{name}\"]\ninterval = \"100ms\"\nfall = 1\n{more}")
            };
            let tracks = [one("hangs", "timeout = \"300ms\"\n"), one("forks", ""), one("prints", "")];
            let bridge = bridge(&tracks.concat());
            let folder = bridge.folder.path();
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            let file = folder.join("lb.toml");
            let text = fs::read_to_string(&file).unwrap().replace('@', folder.to_str().unwrap());
            fs::write(&file, text).unwrap();
            script(&folder.join("hangs"), "echo $$; exec sleep 1000");
            script(&folder.join("forks"), "setsid sleep 1000 & echo $!; exit 3");
            script(&folder.join("prints"), "head -c 1000000 /dev/zero | tr '\\0' a; exit 4");
            let (lb1, lb2) = started(&bridge);
            for node in [&lb1, &lb2] {
                let all = wait_for("each fails", || {
                    let all = node.status()["trackers"].as_array().cloned().unwrap_or_default();
                    (all.len() == 3 && all.iter().all(|one| one["passes"] == false)).then_some(all)
                });
                let said = |name: &str| {
                    let tracker = all.iter().find(|one| one["name"] == name).unwrap();
                    assert_eq!(tracker["failures_total"], 1, "{tracker}");
                    tracker["reason"].as_str().unwrap().to_owned()
                };
                let begins = |text: &str, begin: &str| {
                    text.strip_prefix(begin).unwrap_or_else(|| panic!("{text}")).to_owned()
                };
                let hung = begins(&said("hangs"), "its command ran for 300ms, and was ended: ");
                let forked = begins(&said("forks"), "its command ended with 3: ");
                for pid in [hung, forked] {
                    let pid = Pid::from_raw(pid.parse().unwrap());
                    wait_for("what it has started is ended with it", || is_dead(pid).then_some(()));
                }
                assert_eq!(begins(&said("prints"), "its command ended with 4: "), "a".repeat(200));
                for name in ["hangs", "forks", "prints"] {
                    let why = format!("tracker {name} fails");
                    wait_for(&why, || node.status()["problems"].to_string().contains(&why).then_some(()));
                }
            }
            wait_for("lb2 counts them", || ready(&lb2).contains("tracker prints fails").then_some(()));
            hears(&lb2);
            assert_eq!([lb1.state(), lb2.state()], ["Active", "Backup"]);
            assert!(lb1.has_vip() && !lb2.has_vip());
        },
    );
}

#[test]
fn what_a_reload_brings_is_run_outside_the_jail_and_by_the_next_process_as_well() {
    as_root("commands::what_a_reload_brings_is_run_outside_the_jail_and_by_the_next_process_as_well", || {
        let mut jailed = Jailed::start();
        let daemon = jailed.daemon();
        let runner = runners(daemon);
        assert_eq!(runner.len(), 1);
        // Neither was there when the daemon was locked in, and it can't read them.
        let elsewhere = tempfile::tempdir().unwrap();
        fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
        let (program, state) = (elsewhere.path().join("fit"), elsewhere.path().join("state"));
        let confined = "grep -E '^(Uid|NoNewPrivs|Seccomp|CapEff)' /proc/self/status | tr -d '\\n'";
        script(&program, &format!("{confined}; exit $(cat {})", state.display()));
        fs::write(&state, "1").unwrap();
        let track =
            format!("[track.fit]\ncommand = [\"{}\"]\ninterval = \"100ms\"\nfall = 1\n", program.display());
        jailed.edit("[vip.web]", &format!("{track}[vip.web]"));
        jailed.done(&["reload"]);
        passes(&jailed.node, false);
        let said = tracker(&jailed.node)["reason"].to_string();
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid.to_string();
        assert!(said.contains(&format!("Uid:?{}", [nobody.as_str(); 4].join("?"))), "{said}");
        assert!(said.contains("CapEff:?0000000000000000NoNewPrivs:?0Seccomp:?0"), "{said}");
        fs::write(&state, "0").unwrap();
        passes(&jailed.node, true);
        jailed.done(&["upgrade"]);
        let next = jailed.daemon();
        assert_ne!(next, daemon);
        fs::write(&state, "3").unwrap();
        passes(&jailed.node, false);
        assert!(tracker(&jailed.node)["reason"].to_string().contains("its command ended with 3"));
        assert!(!is_dead(runner[0]) && runners(next).is_empty(), "it is the same process");
        jailed.node.signal(next, Signal::SIGKILL);
        jailed.node.wait();
        wait_for("it ends with the last daemon", || is_dead(runner[0]).then_some(()));
    });
}
