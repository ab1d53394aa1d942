//! RFC 9568 §6.4.1 and §6.4.2: how a Backup becomes Active.

use super::*;

/// Priority 254 at 100 ms: Skew_Time 781.25 us, Active_Down_Interval 300.78125 ms.
#[test]
fn v_30_backup_is_silent_for_exactly_active_down_interval_then_advertises_adds_and_announces() {
    let mut node = Node::backup(config(254));
    assert_eq!(node.run(300_781), Vec::<String>::new());
    // 300.78125 ms: a quarter of a microsecond later.
    assert_eq!(
        node.run(1),
        [
            "0 us: advertise 254",
            "0 us: add 192.0.2.100",
            "0 us: Backup -> Active: nobody advertises, listened for 300 ms",
            "0 us: announce 192.0.2.100",
        ]
    );
}

/// RFC 9568 §6.1, to the nanosecond.
#[test]
fn skew_time_divides_last_and_is_not_truncated() {
    for (priority, version, interval, down) in [
        (254, Version::V3, 100, 300_781_250),
        (254, Version::V3, 10, 30_078_125),
        (100, Version::V3, 1_000, 3_609_375_000),
        (100, Version::V3, 100, 360_937_500),
        (100, Version::V3, 10, 36_093_750),
        // RFC 3768: (256 - priority) / 256 of a second, whatever the interval.
        (100, Version::V2, 1_000, 3_609_375_000),
        (100, Version::V2, 2_000, 6_609_375_000),
    ] {
        let mut config = config(priority);
        config.members = vec![member("web", 51, version, interval)];
        let (at, why) = Node::backup(config).group.poll_timeout().unwrap();
        assert_eq!(
            at.saturating_since(BEGIN),
            Duration::from_nanos(down),
            "{priority} {version:?} {interval}"
        );
        assert_eq!(why, TimeoutReason::ActiveDown);
    }
}

#[test]
fn v_32_priority_0_is_followed_by_a_claim_after_skew_time() {
    let mut node = Node::backup(config(254));
    assert_eq!(node.hear(LOWER, 253), Vec::<String>::new());
    node.run(50_000);
    assert_eq!(node.hear(LOWER, 0), Vec::<String>::new());
    assert_eq!(node.run(781), Vec::<String>::new());
    assert_eq!(node.run(1)[2], "0 us: Backup -> Active: 192.0.2.11 gave it up");
}

#[test]
fn v_33_second_priority_0_does_not_put_the_claim_off() {
    let mut node = Node::backup(config(128));
    node.hear(LOWER, 200);
    node.hear(LOWER, 0);
    // Skew_Time of 128 is 50 ms.
    node.run(40_000);
    node.hear(LOWER, 0);
    assert_eq!(node.run(9_999), Vec::<String>::new());
    assert_eq!(node.run(1)[0], "1 us: advertise 128");
}

#[test]
fn a_claim_of_another_after_priority_0_puts_the_backup_back_to_listening() {
    let mut node = Node::backup(config(128));
    node.hear(LOWER, 200);
    node.hear(LOWER, 0);
    node.run(10_000);
    node.hear(HIGHER, 201);
    assert_eq!(node.run(299_999), Vec::<String>::new());
    assert_eq!(node.state(), State::Backup);
}

/// The sender's address is not compared in Backup.
#[test]
fn v_34_equal_priority_from_a_lower_address_resets_the_timer() {
    let mut node = Node::backup(config(254));
    node.run(300_000);
    node.hear(LOWER, 254);
    assert_eq!(node.run(300_781), Vec::<String>::new());
    assert_eq!(node.run(1)[2], "0 us: Backup -> Active: 192.0.2.11 is silent for 300 ms");
}

#[test]
fn v_35_lower_priority_with_preemption_does_not_put_the_claim_off() {
    let mut config = config(254);
    config.preempt = Preempt::Always { delay: Duration::ZERO };
    let mut node = Node::backup(config);
    node.run(300_000);
    node.hear(LOWER, 100);
    let lines = node.run(782);
    assert_eq!(lines[0], "781 us: advertise 254");
}

#[test]
fn v_36_lower_priority_without_preemption_resets_the_timer() {
    for preempt in [Preempt::Degraded, Preempt::Never] {
        let mut config = config(254);
        config.preempt = preempt;
        let mut node = Node::backup(config);
        for _ in 0..100 {
            node.run(250_000);
            assert_eq!(node.hear(LOWER, 100), Vec::<String>::new());
        }
        assert_eq!(node.state(), State::Backup);
    }
}

fn every(interval: u64, priority: u8) -> Advertisement {
    Advertisement {
        version: Version::V3,
        vrid: Vrid::new(51).unwrap(),
        priority,
        interval: Duration::from_millis(interval),
        addresses: vec![VIP.address],
    }
}

/// V-13 and V-37: the Active's interval counts, for Skew_Time and for Active_Down_Interval.
#[test]
fn v_37_backup_adopts_the_interval_of_every_accepted_advertisement() {
    let mut node = Node::backup(config(128));
    assert_eq!(node.hear_exactly(0, LOWER, &every(5_000, 254)), ["warning interval_mismatch"]);
    let due = |node: &Node| node.group.poll_timeout().unwrap().0.saturating_since(node.now);
    // 3 x 5 s + 128/256 x 5 s.
    assert_eq!(due(&node), Duration::from_millis(17_500));
    node.hear_exactly(0, LOWER, &every(10, 254));
    assert_eq!(due(&node), Duration::from_millis(35));
    node.hear_exactly(0, LOWER, &every(5_000, 254));
    node.hear_exactly(0, LOWER, &every(5_000, 0));
    assert_eq!(due(&node), Duration::from_millis(2_500));
}

/// 5 s, heard every 2 s, keeps a Backup of 1 s quiet; and only a difference is worth a word.
#[test]
fn v_13_another_interval_is_a_warning_and_keeps_a_backup_quiet() {
    let mut slow = config(128);
    slow.members = vec![member("web", 51, Version::V3, 1_000)];
    let mut node = Node::backup(slow);
    assert_eq!(node.hear_exactly(0, LOWER, &every(1_000, 254)), Vec::<String>::new());
    for _ in 0..20 {
        assert_eq!(node.hear_exactly(0, LOWER, &every(5_000, 254)), ["warning interval_mismatch"]);
        assert_eq!(node.run(2_000_000), Vec::<String>::new());
    }
    assert_eq!((node.state(), node.counter("interval_mismatch")), (State::Backup, 20));
}

/// The codec drops another interval than the configured one (V-11); if one came through, it would not count.
#[test]
fn v_38_version_2_adopts_no_interval() {
    let mut config = config(128);
    config.members = vec![member("web", 51, Version::V2, 1_000)];
    let mut node = Node::backup(config);
    let advertisement = Advertisement { version: Version::V2, ..every(5_000, 254) };
    node.hear_exactly(0, LOWER, &advertisement);
    let due = node.group.poll_timeout().unwrap().0.saturating_since(node.now);
    assert_eq!(due, Duration::from_millis(3_500), "3 x 1 s and 128/256 s");
}

#[test]
fn v_25_active_advertises_at_its_own_interval_even_if_it_adopted_another() {
    let mut node = Node::backup(config(128));
    node.hear_exactly(0, LOWER, &every(200, 254));
    node.run(700_000);
    assert_eq!(node.state(), State::Active);
    let advertisements = node.run(1_000_000).iter().filter(|line| line.ends_with("advertise 128")).count();
    assert_eq!(advertisements, 10);
}

#[test]
fn v_26_a_hundred_advertisements_take_a_hundred_intervals_however_late_each_is() {
    let mut node = Node::active(config(254));
    let begin = node.group.poll_timeout().unwrap().0;
    let mut sent = 0;
    while sent < 100 {
        let (at, _) = node.group.poll_timeout().unwrap();
        node.now = at + Duration::from_millis(7);
        node.group.handle_timeout(node.now);
        sent += node.drain().iter().filter(|line| *line == "advertise 254").count();
    }
    assert_eq!(node.now.saturating_since(begin), Duration::from_millis(99 * 100 + 7));
}

#[test]
fn startup_listens_for_one_active_down_interval_whatever_is_left_of_an_earlier_life() {
    let mut node = Node::active(config(254));
    node.readiness(fault());
    assert_eq!(node.state(), State::Initialize);
    assert_eq!(
        node.readiness(Readiness::Ready),
        ["Initialize -> Backup: over: fault: worker 1 stalled for 1.2 s"]
    );
    assert_eq!(node.run(300_781), Vec::<String>::new());
    assert_eq!(node.run(1)[0], "0 us: advertise 254");
}

#[test]
fn v_46_packets_and_answers_in_initialize_are_ignored() {
    let mut node = Node::new(config(254));
    assert_eq!(node.hear(LOWER, 0), Vec::<String>::new());
    assert_eq!(node.hear(LOWER, 100), Vec::<String>::new());
    node.group.handle_address_added(node.now, MemberId(0), VIP);
    node.group.handle_address_stolen(node.now, MemberId(0), VIP);
    node.group.handle_exchanges_reset(node.now);
    node.group.handle_peer_reappeared(node.now);
    node.group.handle_timeout(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    assert_eq!((node.state(), node.group.poll_timeout()), (State::Initialize, None));
}

#[test]
fn v_48_order_of_a_claim_is_advertise_add_acknowledged_announce() {
    let mut node = Node::backup(config(254));
    node.answers = false;
    let lines = node.run(310_000);
    assert_eq!(
        lines,
        [
            "300781 us: advertise 254",
            "300781 us: add 192.0.2.100",
            "300781 us: Backup -> Active: nobody advertises, listened for 300 ms",
        ]
    );
    node.group.handle_address_added(node.now, MemberId(0), VIP);
    assert_eq!(node.drain(), ["announce 192.0.2.100"]);
}

/// A Backup that was not scheduled can't tell a silent Active from its own sleep.
#[test]
fn backup_that_wakes_late_waits_one_more_interval_before_it_claims() {
    let mut node = Node::backup(config(254));
    node.hear(LOWER, 253);
    node.pause(5_000_000);
    node.group.handle_timeout(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    node.run(50_000);
    node.hear(LOWER, 253);
    assert_eq!(node.run(300_000), Vec::<String>::new());

    node.pause(5_000_000);
    node.group.handle_timeout(node.now);
    assert_eq!(node.drain(), Vec::<String>::new());
    assert_eq!(node.run(100_000)[0], "100000 us: advertise 254");
}
