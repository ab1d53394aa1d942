//! A speaker that has got up is replaced at once, each time.

use std::{fs, time::Duration};

use lbctl::control::Timestamp;
use nix::sys::signal::Signal;

use super::{
    ADDED_2, REMOVED_1, RESIGNED_1, Recorder,
    net::{Bridge, in_namespace, run, wait_for},
    record::Seen,
    started,
};

/// Each has lived for more than two seconds, so the daemon waits before none of them and believes all of them. A second between
/// advertisements is long enough for a busy machine to start a process in time.
#[test]
fn a_speaker_that_is_killed_every_few_seconds_is_replaced_at_once_and_nothing_moves() {
    in_namespace(
        "replaced::a_speaker_that_is_killed_every_few_seconds_is_replaced_at_once_and_nothing_moves",
        || {
            let bridge = Bridge::new("advertisement_interval = \"1s\"");
            let (lb1, lb2) = started(&bridge);
            let record = Recorder::start(&lb1, Some(&lb2));
            for _ in 0..6 {
                record.clear();
                let three = || (record.count(&Seen::Advertised(11, 254)) >= 3).then_some(());
                wait_for("three advertisements", three);
                let killed = lb1.speaker();
                lb1.signal(killed, Signal::SIGKILL);
                wait_for("another speaker", || lb1.speaker_now().filter(|pid| *pid != killed));
                for moved in [REMOVED_1, RESIGNED_1, ADDED_2] {
                    assert_eq!(record.count(&moved), 0, "{moved:?}");
                }
            }
            record.clear();
            wait_for("the last one goes on", || {
                (record.count(&Seen::Advertised(11, 254)) >= 3).then_some(())
            });
            let log = lb1.log();
            assert_eq!(log.matches("resumed, last advertisement").count(), 6, "{log}");
            assert_eq!(log.matches("another one is started").count(), 6, "{log}");
            assert_eq!(log.matches("another one is started pause_ms=0").count(), 6, "{log}");
            assert!(lb1.has_vip() && !lb2.has_vip());
            assert_eq!(record.count(&ADDED_2), 0);
            let problem = |why: &str| {
                wait_for(why, || {
                    let problems = lb1.status()["problems"].as_array().cloned().unwrap_or_default();
                    let found =
                        problems.into_iter().find(|one| one["what"] == "the speaker dies again and again")?;
                    found["look_at"].as_str()?.starts_with("6 times in a row, ").then_some(found)
                })
            };
            let before = problem("it is a problem");
            // The next process knows of all six.
            let (daemon, control) = (lb1.status()["pid"].clone(), lb1.folder().join("control.sock"));
            run(env!("CARGO_BIN_EXE_lbctl"), &["upgrade", "--control", control.to_str().unwrap()]);
            assert_ne!(lb1.status()["pid"], daemon);
            let after = problem("it is one of the next process");
            // Told by two clocks, which are not read in the same instant.
            let [before, after] =
                [&before, &after].map(|one| Timestamp::parse(one["since"].as_str().unwrap()).unwrap());
            let apart = after.saturating_since(before).max(before.saturating_since(after));
            assert!(apart < Duration::from_secs(1), "{before} {after}");
        },
    );
}

/// What a dying process has open goes by number, the highest one first, and the kernel waits at each packet socket: the next speaker waits
/// for the locks.
#[test]
fn a_speaker_that_dies_lets_go_of_its_locks_before_its_sockets() {
    in_namespace("replaced::a_speaker_that_dies_lets_go_of_its_locks_before_its_sockets", || {
        // Two virtual routers: the sockets of the second are opened after the locks of the first.
        let bridge = Bridge::new("\n[vip.other]\nvrid = 52\naddresses = [\"198.51.100.20\"]\n");
        let (lb1, _lb2) = started(&bridge);
        let folder = format!("/proc/{}/fd", lb1.speaker());
        let open = fs::read_dir(folder).unwrap().flatten().filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse::<u32>().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        });
        let open: Vec<_> = open.collect();
        let names = lb1.inside(|| fs::read_to_string("/proc/thread-self/net/unix").unwrap());
        let names = names.lines().filter(|line| line.contains("@lbctl/speaker/"));
        // The seventh field is the number of the inode.
        let names: Vec<_> =
            names.map(|line| format!("socket:[{}]", line.split_whitespace().nth(6).unwrap())).collect();
        let is_lock = |target: &str| target.contains("/speaker-") || names.iter().any(|name| name == target);
        let (locks, others): (Vec<_>, Vec<_>) = open.iter().partition(|(_, target)| is_lock(target));
        assert_eq!(locks.len(), 4, "a file and a name each: {open:?} {names:?}");
        assert!(
            locks.iter().map(|(number, _)| number).min() > others.iter().map(|(number, _)| number).max(),
            "{open:?}"
        );
    });
}
