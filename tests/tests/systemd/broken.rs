//! What dies, hangs or is torn out, and is there again.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use lb_tests::{
    machine::{Beside, Machine, PATIENCE},
    order::other,
    program, wait,
};
use lbctl::lab::VIP;

use super::{pair::Pair, text};

pub(super) fn restarts(node: &Machine) -> u32 {
    node.property("lbctl", "NRestarts").parse().unwrap()
}

/// The process number of the speaker.
#[track_caller]
fn speaker(node: &Machine) -> String {
    wait::until("one speaker", PATIENCE, || {
        let found = text(&node.run("pgrep -x lbctl-speaker"));
        (found.lines().count() == 1).then(|| found.trim().to_owned())
    })
}

/// It is deaf to what ends others, and replaced when it dies. One that hangs is killed by the daemon; that may take as long as the other
/// node waits, which then takes the address once, and keeps it.
pub(super) fn speaker_that_dies_moves_nothing(pair: &Pair) {
    for signal in ["TERM", "KILL", "STOP"] {
        let holder = pair.holder();
        let node = pair.node(holder);
        let (old, before, claims) = (speaker(node), restarts(node), pair.claims());
        node.said(&format!("kill -{signal} {old}"));
        if signal != "TERM" {
            wait::until("another speaker", PATIENCE, || (speaker(node) != old).then_some(()));
        }
        pair.wait_until_well();
        assert_eq!(speaker(node) == old, signal == "TERM");
        assert_eq!(restarts(node), before);
        let moved = pair.claims() - claims;
        // One that hangs is found out after two and a half intervals, and the other node waits for three.
        let may_move = signal == "STOP" || node.journal("lbctl").contains("late: no advertisement sent for");
        assert!(moved <= usize::from(may_move), "{signal}: {moved} claims");
        assert_eq!(pair.holder(), if moved == 0 { holder } else { other(holder) }, "{signal}");
    }
}

/// The speaker's threads, the one that starts it and the one that stands by for it go before all others; its memory stays in memory.
pub(super) fn speaker_runs_before_others(node: &Machine) {
    let (daemon, speaker) = (node.property("lbctl", "MainPID"), speaker(node));
    // A container may not be allowed to carry these out; then the memory is not locked, and lbctl says so.
    assert_eq!(node.property("lbctl", "LimitRTPRIO"), "20");
    assert_eq!(node.property("lbctl", "LimitMEMLOCK"), "infinity");
    let limit = node.said(&format!("grep 'Max locked memory' /proc/{daemon}/limits"));
    let may_lock = limit.contains("unlimited");
    let locked = node.said(&format!("grep VmLck: /proc/{speaker}/status"));
    assert_eq!(!locked.ends_with(" 0 kB"), may_lock, "{locked} {limit}");
    let journal = node.journal("lbctl");
    assert_eq!(journal.contains("memory is not locked"), !may_lock, "{journal}");
    // Where the kernel lets not even root have it, for want of a share of this group of cgroups, lbctl says so.
    let is_there = node.run("chrt --rr 10 true").status.success();
    assert_eq!(journal.contains("no real-time priority"), !is_there, "{journal}");
    if !is_there {
        return;
    }
    let threads = |pid: &str| node.said(&format!("ps -L -o cls=,rtprio=,comm= -p {pid}"));
    let of_the_speaker = threads(&speaker);
    assert!(of_the_speaker.lines().count() > 1, "{of_the_speaker}");
    for thread in of_the_speaker.lines() {
        assert_eq!(thread.split_whitespace().take(2).collect::<Vec<_>>(), ["RR", "10"], "{of_the_speaker}");
    }
    for thread in threads(&daemon).lines() {
        let is_first = thread.trim_start().starts_with("RR");
        assert_eq!(is_first, thread.ends_with("guard") || thread.ends_with("launcher"), "{thread}");
    }
}

/// Killed; and stopped, which systemd finds out by its watchdog. Both times the other node has the address meanwhile.
pub(super) fn daemon_that_dies_or_hangs_is_replaced(pair: &Pair) {
    for signal in ["KILL", "STOP"] {
        let holder = pair.holder();
        let node = pair.node(holder);
        let (daemon, before) = (node.property("lbctl", "MainPID"), restarts(node));
        node.said(&format!("kill -{signal} {daemon}"));
        pair.wait_for_holder(other(holder));
        wait::until("systemd has started another one", PATIENCE, || {
            (restarts(node) == before + 1).then_some(())
        });
        pair.wait_until_well();
        assert_ne!(node.property("lbctl", "MainPID"), daemon);
        assert_eq!(pair.holder(), other(holder), "nobody takes it back");
        let journal = node.journal("lbctl");
        assert_eq!(journal.contains("Watchdog timeout"), signal == "STOP", "{journal}");
    }
}

/// How often systemd has missed a word of the daemon.
fn alarms(node: &Machine) -> usize {
    node.said("journalctl -u lbctl -o cat --no-pager").matches("Watchdog timeout").count()
}

/// One worker stands still, or there is no speaker and can't be one, while everything else goes on: a timer would not find that.
pub(super) fn part_that_does_not_move_is_found_by_the_watchdog(pair: &Pair) {
    for (part, why) in [("worker", "a worker has not answered"), ("speaker", "the speaker has not moved")] {
        let holder = pair.holder();
        let node = pair.node(holder);
        let (daemon, before) = (node.property("lbctl", "MainPID"), restarts(node));
        let before_it = alarms(node);
        let held = (part == "worker").then(|| {
            let thread = node.thread(&daemon, "lbctl-worker-0");
            Beside::start(Command::new(program::lbctl()).args([
                "lab",
                "hold",
                "--thread",
                &thread.to_string(),
            ]))
        });
        if part == "speaker" {
            // Its user may do that to it; root in a container may not be allowed to.
            node.said(&format!("runuser -u lbctl -- prlimit --pid {daemon} --nofile=3:"));
            node.said(&format!("kill -9 {}", speaker(node)));
        }
        pair.wait_for_holder(other(holder));
        wait::until("systemd has noticed", PATIENCE, || (alarms(node) > before_it).then_some(()));
        // Whoever holds a thread holds its remains as well.
        drop(held);
        wait::until("systemd has started another one", PATIENCE, || {
            (restarts(node) == before + 1).then_some(())
        });
        pair.wait_until_well();
        assert_eq!(pair.holder(), other(holder), "nobody takes it back");
        let journal = node.journal("lbctl");
        assert!(journal.contains(&format!("systemd is not told that all is well: {why}")), "{journal}");
    }
}

/// Neither has the time to see the other one's end: what is left is removed by the unit, before the lease of the address ends.
pub(super) fn both_that_die_leave_nothing(pair: &Pair) {
    for attempt in 1..=3 {
        let holder = pair.holder();
        let node = pair.node(holder);
        let both = format!("{} {}", node.property("lbctl", "MainPID"), speaker(node));
        let before = restarts(node);
        node.said(&format!("kill -STOP {both} && kill -KILL {both}"));
        pair.wait_for_holder(other(holder));
        wait::until("systemd has started another one", PATIENCE, || {
            (restarts(node) == before + 1).then_some(())
        });
        pair.wait_until_well();
        if node.journal("lbctl").contains(&format!("removed {VIP} from interface ")) {
            return;
        }
        eprintln!("attempt {attempt}: too late for the lease");
    }
    panic!("the lease was over each time: {}", pair.node(pair.holder()).journal("lbctl"));
}

pub(super) fn cable_that_is_pulled_moves_the_address(pair: &Pair) {
    let holder = pair.holder();
    pair.node(holder).set_cable(false);
    wait::until("the other node has the address", PATIENCE, || pair.has_address(other(holder)).then_some(()));
    wait::until("this one has it no more", PATIENCE, || (!pair.has_address(holder)).then_some(()));
    pair.node(holder).set_cable(true);
    pair.wait_until_well();
}

/// By its end: the pid file's folder is not there.
pub(super) fn error_that_lasts_is_not_tried_all_the_time(pair: &Pair) {
    let node = pair.node(other(pair.holder()));
    let drop_in = node.root().join("etc/systemd/system/lbctl.service.d/pid.conf");
    let run = "lbctl run --pidfile /nowhere/lbctl.pid /etc/lbctl/lb.toml";
    fs::write(&drop_in, format!("[Service]\nExecStart=\nExecStart=/usr/bin/{run}\n")).unwrap();
    node.said("systemctl daemon-reload && systemctl stop lbctl");
    let begun = Instant::now();
    assert!(!node.run("systemctl start lbctl").status.success());
    wait::until("systemd has tried again", PATIENCE, || (restarts(node) >= 2).then_some(()));
    assert!(begun.elapsed() >= Duration::from_secs(10), "{}", node.journal("lbctl"));
    fs::remove_file(drop_in).unwrap();
    node.said("systemctl daemon-reload && systemctl restart lbctl");
    pair.wait_until_well();
}
