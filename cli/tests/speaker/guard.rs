//! No speaker goes on with the addresses of one that is dead, and the daemon takes them away.

use nix::sys::signal::Signal;

use super::{ADDED_2, REMOVED_1, Recorder, in_namespace, pair, wait_for};

/// The third one in a row comes after a pause of 0.5 s, and the other node claims after 0.3 s.
#[test]
fn a_speaker_that_is_not_replaced_in_time_has_lost_its_address_before_the_other_node_has_it() {
    in_namespace(
        "guard::a_speaker_that_is_not_replaced_in_time_has_lost_its_address_before_the_other_node_has_it",
        || {
            let (_bridge, lb1, lb2) = pair();
            let record = Recorder::start(&lb1, Some(&lb2));
            let mut killed = lb1.speaker();
            for _ in 0..2 {
                lb1.signal(killed, Signal::SIGKILL);
                killed = wait_for("another speaker", || lb1.speaker_now().filter(|pid| *pid != killed));
            }
            lb1.signal(killed, Signal::SIGKILL);
            record.wait_for(&ADDED_2);
            assert!(record.position(&REMOVED_1) < record.position(&ADDED_2), "{:?}", record.all());
            wait_for("the log says it", || lb1.log().contains("no speaker has advertised for").then_some(()));
            wait_for("lb1 is a Backup", || (lb1.state() == "Backup").then_some(()));
            assert!(!lb1.has_vip() && lb2.has_vip());
        },
    );
}
