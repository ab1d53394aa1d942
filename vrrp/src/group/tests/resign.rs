//! Rules 1 and 8, and the lateness check: the ways out of Active.

use super::*;

#[test]
fn rule_1_a_fault_resets_exchanges_removes_and_then_resigns() {
    let mut node = Node::active(config(254));
    assert_eq!(
        node.readiness(fault()),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 0",
            "Active -> Initialize: fault: worker 1 stalled for 1.2 s",
        ]
    );
    assert_eq!(node.run(10_000_000), Vec::<String>::new());
    assert_eq!(node.hear(LOWER, 0), Vec::<String>::new());
}

#[test]
fn rule_1_exchanges_have_5_ms() {
    let mut node = Node::active(config(254));
    node.answers = false;
    assert_eq!(node.readiness(fault()), ["reset exchanges"]);
    assert_eq!(node.run(4_999), Vec::<String>::new());
    assert_eq!(node.run(1), ["1 us: remove 192.0.2.100"]);
}

#[test]
fn rule_1_priority_0_waits_for_the_removal_which_is_asked_for_again_until_the_lease_is_over() {
    let mut node = Node::active(config(254));
    node.answers = false;
    node.readiness(fault());
    node.group.handle_exchanges_reset(node.now);
    assert_eq!(node.drain(), ["remove 192.0.2.100"]);
    assert_eq!(node.run(100_000), ["50000 us: remove 192.0.2.100", "100000 us: remove 192.0.2.100"]);
    let lines = node.run(3_000_000);
    let end = &lines[lines.len() - 3..];
    assert_eq!(
        end,
        [
            "2300000 us: warning removal_unacknowledged",
            "2300000 us: advertise 0",
            "2300000 us: Active -> Initialize: fault: worker 1 stalled for 1.2 s",
        ]
    );
}

#[test]
fn rule_1_a_fault_that_ends_on_the_way_out_does_not_stop_the_resignation() {
    let mut node = Node::active(config(254));
    node.answers = false;
    node.readiness(fault());
    node.readiness(Readiness::Ready);
    node.group.handle_exchanges_reset(node.now);
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    assert_eq!(
        node.drain(),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 0",
            "Active -> Backup: fault: worker 1 stalled for 1.2 s",
        ][1..]
    );
}

/// The driver would refresh it into life again.
#[test]
fn an_address_that_vanishes_on_the_way_out_is_asked_to_be_removed_all_the_same() {
    let mut node = Node::active(config(254));
    node.answers = false;
    assert_eq!(node.readiness(fault()), ["reset exchanges"]);
    node.group.handle_address_stolen(node.now, MemberId(0), VIP);
    assert_eq!(node.drain(), Vec::<String>::new());
    node.group.handle_exchanges_reset(node.now);
    assert_eq!(node.drain(), ["remove 192.0.2.100"]);
}

#[test]
fn rule_1_a_backup_in_fault_says_nothing_and_takes_no_part() {
    let mut node = Node::backup(config(254));
    assert_eq!(node.readiness(fault()), ["Backup -> Initialize: fault: worker 1 stalled for 1.2 s"]);
    assert_eq!(node.hear(LOWER, 0), Vec::<String>::new());
    assert_eq!(node.run(10_000_000), Vec::<String>::new());
}

#[test]
fn v_43_priority_0_is_the_last_advertisement_of_a_stopped_active() {
    let mut node = Node::active(config(254));
    node.group.handle_shutdown(node.now, "stopped by root");
    assert_eq!(
        node.drain(),
        ["reset exchanges", "remove 192.0.2.100", "advertise 0", "Active -> Initialize: stopped by root"]
    );
    assert_eq!(node.hear(LOWER, 100), Vec::<String>::new());
    assert_eq!(node.readiness(Readiness::Ready), Vec::<String>::new());
    assert_eq!((node.run(10_000_000), node.group.poll_timeout()), (Vec::new(), None));
}

#[test]
fn v_44_a_stopped_backup_says_nothing() {
    let mut node = Node::backup(config(254));
    node.group.handle_shutdown(node.now, "stopped by root");
    assert_eq!(node.drain(), ["Backup -> Initialize: stopped by root"]);
    assert_eq!(node.run(10_000_000), Vec::<String>::new());
}

/// V-45: an answer or a timer of an earlier state has no effect.
#[test]
fn v_45_what_belongs_to_an_earlier_state_has_no_effect() {
    let mut node = Node::active(config(254));
    node.readiness(fault());
    node.readiness(Readiness::Ready);
    node.group.handle_address_added(node.now, MemberId(0), VIP);
    node.group.handle_address_failed(node.now, MemberId(0), VIP, "late");
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    node.group.handle_exchanges_reset(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    assert_eq!(node.state(), State::Backup);
    assert_eq!(node.run(300_000), Vec::<String>::new());
}

/// The Active advertises 1, hears the other's claim, and leaves by rule 1 without the priority 0.
#[test]
fn rule_8_a_leaving_active_resets_and_removes_when_it_hears_the_claim() {
    let mut node = Node::active(config(254));
    assert_eq!(node.readiness(leaving()), ["advertise 1"]);
    assert_eq!(
        node.hear(LOWER, 253),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 1",
            "Active -> Backup: 192.0.2.11 is better (priority 253, ours 1, leaving: stopping)",
        ]
    );
}

#[test]
fn rule_8_a_leaving_loser_waits_for_its_exchanges_and_a_ready_one_does_not() {
    let mut node = Node::active(config(200));
    node.answers = false;
    node.readiness(leaving());
    assert_eq!(node.hear(LOWER, 253), ["reset exchanges"]);
    let mut node = Node::active(config(200));
    node.answers = false;
    assert_eq!(node.hear(LOWER, 253), ["reset exchanges", "remove 192.0.2.100"]);
}

#[test]
fn a_winner_that_resigns_while_we_remove_is_succeeded_after_skew_time() {
    let mut node = Node::active(config(128));
    node.answers = false;
    node.hear(LOWER, 253);
    node.run(1_000);
    node.hear(LOWER, 0);
    node.answers = true;
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    node.drain();
    assert_eq!(node.run(50_000)[0], "50000 us: advertise 128");
}

/// 2.5 intervals of 100 ms.
#[test]
fn late_active_removes_before_anything_else_and_starts_over() {
    let mut node = Node::active(config(254));
    node.answers = false;
    node.pause(251_000);
    assert_eq!(node.hear(LOWER, 100), ["reset exchanges", "remove 192.0.2.100"]);
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    assert_eq!(node.drain(), ["advertise 0", "Active -> Backup: late: no advertisement sent for 251 ms"]);
    assert_eq!(node.run(300_781), Vec::<String>::new());
}

#[test]
fn every_call_compares_the_clock_first() {
    type Call = fn(&mut Group, Moment);
    let calls: [(&str, Call); 11] = [
        ("timeout", |group, now| group.handle_timeout(now)),
        ("readiness", |group, now| group.handle_readiness(now, degraded(1))),
        ("link", |group, now| group.handle_link(now, MemberId(0), Ok(()))),
        ("source", |group, now| group.handle_source(now, MemberId(0), Some(HIGHER))),
        ("added", |group, now| group.handle_address_added(now, MemberId(0), VIP)),
        ("failed", |group, now| group.handle_address_failed(now, MemberId(0), VIP, "refused")),
        ("stolen", |group, now| group.handle_address_stolen(now, MemberId(0), VIP)),
        ("foreign", |group, now| group.handle_address_foreign(now, MemberId(0), VIP, "static")),
        ("reset", |group, now| group.handle_exchanges_reset(now)),
        ("reappeared", |group, now| group.handle_peer_reappeared(now)),
        ("shutdown", |group, now| group.handle_shutdown(now, "stopped")),
    ];
    for (name, call) in calls {
        let mut node = Node::active(config(254));
        node.answers = false;
        node.pause(260_000);
        call(&mut node.group, node.now);
        assert_eq!(node.drain()[0..2], ["reset exchanges", "remove 192.0.2.100"], "{name}");
    }
}

#[test]
fn active_that_is_late_by_less_than_2_5_intervals_goes_on() {
    let mut node = Node::active(config(254));
    node.pause(249_000);
    node.group.handle_timeout(node.now);
    assert_eq!(node.drain()[0], "advertise 254");
    assert_eq!(node.state(), State::Active);
}

fn resumed(age: Duration) -> Node {
    let mut node = Node::new(config(254));
    let last = node.now - age;
    node.group.handle_startup(node.now, Start::ResumeActive { last });
    node
}

#[test]
fn a_replaced_speaker_goes_on_as_active() {
    let mut node = resumed(Duration::from_millis(249));
    assert_eq!(
        node.drain(),
        [
            "advertise 254",
            "add 192.0.2.100",
            "Initialize -> Active: resumed, last advertisement 249 ms ago",
            "announce 192.0.2.100",
        ]
    );
}

#[test]
fn a_replaced_speaker_that_comes_too_late_removes_and_resigns() {
    let mut node = resumed(Duration::from_millis(251));
    assert_eq!(
        node.drain(),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 0",
            "Active -> Backup: late: no advertisement sent for 251 ms",
        ]
    );
}

#[test]
fn a_replaced_speaker_is_not_late_by_the_interval_of_a_vip_that_is_down() {
    let mut config = config(254);
    config.members.push(member("slow", 52, Version::V3, 1000));
    let mut node = Node::new(config);
    node.group.handle_link(node.now, MemberId(0), Err("link of eth0 is down".to_owned()));
    node.group.handle_startup(node.now, Start::ResumeActive { last: node.now - Duration::from_millis(900) });
    // A node without one of its links gives the addresses to whoever is there.
    assert_eq!(node.drain()[0], "advertise 1 on 1");
    assert_eq!(node.state(), State::Active);
}

#[test]
fn a_replaced_speaker_counts_as_ready_until_it_is_told() {
    let mut group = Group::new(config(254), BEGIN);
    group.handle_link(BEGIN, MemberId(0), Ok(()));
    group.handle_source(BEGIN, MemberId(0), Some(OURS));
    group.handle_startup(BEGIN, Start::ResumeActive { last: BEGIN });
    let mut node = Node { group, now: BEGIN, answers: true };
    assert_eq!(node.drain()[0], "advertise 254");
    assert_eq!(node.readiness(degraded(1)), ["advertise 16"]);
}

#[test]
fn an_address_that_cannot_be_installed_is_a_fault_for_1_s_then_2_s() {
    let mut node = Node::backup(config(254));
    node.answers = false;
    node.run(301_000);
    node.group.handle_address_failed(node.now, MemberId(0), VIP, "Operation not permitted");
    node.answers = true;
    assert_eq!(
        node.drain(),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 0",
            "Active -> Initialize: fault: vip web: 192.0.2.100 can't be installed: Operation not permitted",
        ]
    );
    node.answers = false;
    let lines = node.run(1_310_000);
    assert_eq!(
        lines[0],
        "1000000 us: Initialize -> Backup: over: fault: vip web: 192.0.2.100 can't be installed: Operation not permitted"
    );
    assert_eq!(lines[1], "1300781 us: advertise 254");
    node.group.handle_address_failed(node.now, MemberId(0), VIP, "Operation not permitted");
    node.answers = true;
    node.drain();
    assert_eq!(node.run(1_999_999), Vec::<String>::new());
    assert_eq!(node.run(1).len(), 1);
}

#[test]
fn a_kernel_that_never_answers_is_a_fault_after_100_ms() {
    let mut node = Node::backup(config(254));
    node.answers = false;
    let lines = node.run(401_000);
    assert_eq!(lines.last().unwrap(), "400781 us: reset exchanges");
    let status = node.group.status();
    assert_eq!(
        status.readiness,
        Readiness::Fault {
            reason: "vip web: 192.0.2.100 can't be installed: the kernel does not answer".to_owned()
        }
    );
}
