//! The daemon's loop stands still, and nothing else of its node: workers, speaker and guard run on.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};

use super::{ADDED_2, Bridge, Node, REMOVED_1, RESIGNED_1, Recorder, Seen, in_namespace, started, wait_for};

/// A thread that is held still until this is dropped.
struct Held(Child);

impl Held {
    /// That with the number of its process, in which the daemon's loop runs.
    fn first_thread_of(node: &Node, process: Pid) -> Self {
        let mut holder = Command::new(env!("CARGO_BIN_EXE_lbctl"));
        holder.args(["lab", "hold", "--thread", &process.to_string()]).stdin(Stdio::null());
        let held = Self(holder.spawn().unwrap());
        let path = format!("/proc/{process}/task/{process}/stat");
        wait_for("the loop is held", || fs::read_to_string(&path).ok()?.contains(") t ").then_some(()));
        assert!(node.has_vip());
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_hung_control_thread_loses_the_address_once_the_stall_timeout_of_the_file_is_over() {
    in_namespace(
        "hung::a_hung_control_thread_loses_the_address_once_the_stall_timeout_of_the_file_is_over",
        || {
            let bridge = Bridge::new("");
            let file = bridge.folder.path().join("lb.toml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replacen("[global]\n", "[global]\nstall_timeout = \"5s\"\n", 1)).unwrap();
            let (lb1, lb2) = started(&bridge);
            let record = Recorder::start(&lb1, Some(&lb2));
            let held = Held::first_thread_of(&lb1, lb1.daemon());
            // One each 100 ms: by now it would be over if it were the default of 1 s.
            let before = record.count(&Seen::Advertised(11, 254));
            wait_for("two seconds", || {
                (record.count(&Seen::Advertised(11, 254)) >= before + 20).then_some(())
            });
            assert_eq!([record.count(&REMOVED_1), record.count(&ADDED_2)], [0, 0]);
            record.wait_for(&ADDED_2);
            record.wait_for(&RESIGNED_1);
            assert!(record.position(&REMOVED_1) < record.position(&RESIGNED_1));
            assert!(record.position(&RESIGNED_1) < record.position(&ADDED_2));
            assert!(!lb1.has_vip() && lb2.has_vip());
            drop(held);
            wait_for("it says why", || lb1.log().contains("the daemon does not answer").then_some(()));
            wait_for("lb1 is a Backup again", || (lb1.state() == "Backup").then_some(()));
        },
    );
}

/// The 1 s that the daemon may be silent is over when its words are read.
#[test]
fn words_that_a_speaker_reads_late_are_as_old_as_they_are() {
    in_namespace("hung::words_that_a_speaker_reads_late_are_as_old_as_they_are", || {
        let bridge = Bridge::new("advertisement_interval = \"700ms\"");
        let mut lb1 = Node::new(&bridge, 1, true);
        let record = Recorder::start(&lb1, None);
        lb1.start();
        wait_for("lb1 holds the address", || lb1.has_vip().then_some(()));
        let (daemon, speaker) = (lb1.daemon(), lb1.speaker());
        let until = |begun: Instant, milliseconds| {
            wait_for("time", || (begun.elapsed() >= Duration::from_millis(milliseconds)).then_some(()));
        };
        record.clear();
        record.wait_for(&Seen::Advertised(11, 254));
        lb1.signal(speaker, Signal::SIGSTOP);
        let begun = Instant::now();
        record.clear();
        until(begun, 300);
        lb1.signal(daemon, Signal::SIGSTOP);
        until(begun, 1350);
        lb1.signal(speaker, Signal::SIGCONT);
        record.wait_for(&RESIGNED_1);
        // The one that was due meanwhile. A second more of being Active has another one.
        assert!(record.count(&Seen::Advertised(11, 254)) <= 1);
        lb1.signal(daemon, Signal::SIGCONT);
        wait_for("it says why", || lb1.log().contains("the daemon does not answer").then_some(()));
    });
}
