//! No speaker goes on with the addresses of one that is dead, and the daemon takes them away.

use std::net::IpAddr;

use nix::sys::signal::Signal;

use super::{ADDED_2, REMOVED_1, Recorder, VIP, in_namespace, net::run, pair, wait_for};

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

/// What a kernel shows of them that keeps no tags (before 5.18): the lease is what makes it ours. Whoever looks after its end, because
/// the machine is busy, tries again.
#[test]
fn addresses_of_a_speaker_are_found_without_their_tag_and_nobody_else_s_are_touched() {
    in_namespace(
        "guard::addresses_of_a_speaker_are_found_without_their_tag_and_nobody_else_s_are_touched",
        || {
            let ip = |words: &str| run("ip", &words.split(' ').collect::<Vec<_>>());
            ip("link add veth0 type veth peer name veth1");
            ip("link set veth0 up");
            let others = ["198.51.100.11", "198.51.100.12", "198.51.100.13"];
            ip(&format!("addr add {}/32 dev veth0", others[0]));
            ip(&format!(
                "addr add {}/32 dev veth0 valid_lft 3600 preferred_lft 3600 noprefixroute",
                others[1]
            ));
            ip(&format!("addr add {}/32 dev veth0 valid_lft 60 preferred_lft 60", others[2]));
            let addresses: Vec<IpAddr> =
                [VIP].iter().chain(&others).map(|address| address.parse().unwrap()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let removed = wait_for("one that is found within its lease", || {
                ip(&format!("addr replace {VIP}/32 dev veth0 valid_lft 2 preferred_lft 2 noprefixroute"));
                let removed = runtime.block_on(lb_vrrp::io::withdraw(&addresses)).unwrap();
                (!removed.is_empty()).then_some(removed)
            });
            assert_eq!(removed.iter().map(|one| one.address.to_string()).collect::<Vec<_>>(), [VIP]);
            assert_eq!(runtime.block_on(lb_vrrp::io::withdraw(&addresses)).unwrap(), []);
        },
    );
}
