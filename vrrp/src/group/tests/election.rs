//! Rules 2 to 5 and 11, and RFC 9568 §6.4.3: who holds the address.

use super::*;

/// The bands: 18-254 ready, 2-17 degraded, 1 leaving.
#[test]
fn levels_are_advertised_as_the_table_says() {
    for (readiness, second, first) in [
        (Readiness::Ready, 200, 200),
        (degraded(1), 16, 17),
        (degraded(2), 14, 15),
        (degraded(7), 4, 5),
        (degraded(8), 2, 3),
        (degraded(40), 2, 3),
        (leaving(), 1, 1),
    ] {
        for (is_first, priority) in [(false, second), (true, first)] {
            let mut config = config(200);
            config.first = is_first;
            let mut node = Node::active(config);
            node.readiness(readiness.clone());
            assert_eq!(node.group.status().priority, priority, "{readiness:?}");
            assert_eq!(node.state(), State::Active, "a node alone keeps the address at any level");
        }
    }
}

/// Good news counts at once on an Active (rule 3). Two nodes that start together claim together: one that said that it is ready a moment
/// after it has lost would take the address from one that had not said so yet.
#[test]
fn a_node_that_starts_says_what_it_is_with_the_first_advertisement_of_its_claim() {
    let starting = |count: usize| {
        let Readiness::Degraded { reasons: degradations } = degraded(count) else { panic!("{count}") };
        Readiness::Starting { reason: "just started".to_owned(), degradations }
    };
    for (is_first, degradations, waits, claims) in
        [(false, 0, 2, 200), (true, 0, 3, 200), (false, 2, 2, 14), (true, 2, 3, 15)]
    {
        let mut config = config(200);
        config.first = is_first;
        let mut node = Node::backup(config);
        node.readiness(starting(degradations));
        assert_eq!(node.group.status().priority, waits);
        // A degraded Active is better, or as good.
        node.hear(LOWER, 4);
        node.run(100_000);
        assert_eq!(node.state(), State::Backup);
        let lines = node.run(500_000);
        let first = lines.iter().find(|line| line.contains("advertise")).expect("it claims");
        assert!(first.ends_with(&format!("advertise {claims}")), "{first}");
        // The daemon says it again until it knows of the claim.
        assert_eq!(node.readiness(starting(degradations)), [""; 0]);
        assert_eq!(node.group.status().priority, claims);
    }
}

#[test]
fn v_47_a_changed_priority_is_advertised_at_once() {
    let mut node = Node::active(config(254));
    node.run(30_000);
    assert_eq!(node.readiness(degraded(1)), ["advertise 16"]);
    assert_eq!(node.run(99_999), Vec::<String>::new());
    assert_eq!(node.run(1), ["1 us: advertise 16"]);
    assert_eq!(node.readiness(Readiness::Ready), ["advertise 254"]);
    assert_eq!(node.readiness(Readiness::Ready), Vec::<String>::new());
}

/// What a Backup does that hears an Active of each priority, in each of its own readinesses.
#[test]
fn rule_2_a_better_level_takes_over_after_skew_time() {
    let claims = |preempt: Preempt, ours: Readiness, theirs: u8| {
        let mut config = config(254);
        config.preempt = preempt;
        let mut node = Node::backup(config);
        node.readiness(ours);
        node.hear(LOWER, theirs);
        node.run(781);
        assert_eq!(node.state(), State::Backup, "not before Skew_Time");
        node.run(1);
        node.state() == State::Active
    };
    let (on, never) = (Preempt::Degraded, Preempt::Never);
    for (preempt, ours, theirs, claim) in [
        (on, Readiness::Ready, 1, true),
        (on, Readiness::Ready, 16, true),
        (on, Readiness::Ready, 2, true),
        (on, Readiness::Ready, 18, false),
        (on, degraded(1), 1, true),
        (on, degraded(1), 15, true),
        (on, degraded(1), 16, false),
        (on, degraded(1), 17, false),
        (on, degraded(2), 16, false),
        (on, degraded(1), 253, false),
        (on, degraded(9), 1, true),
        (on, degraded(9), 4, false),
        (on, leaving(), 1, false),
        (on, leaving(), 2, false),
        (never, Readiness::Ready, 1, true),
        (never, Readiness::Ready, 2, false),
        (never, Readiness::Ready, 253, false),
        (never, degraded(3), 1, true),
    ] {
        assert_eq!(claims(preempt, ours.clone(), theirs), claim, "{preempt:?}, {ours:?} against {theirs}");
    }
}

#[test]
fn rule_2_equal_level_never_moves() {
    for (ours, theirs) in [
        (Readiness::Ready, 18),
        (Readiness::Ready, 253),
        (degraded(1), 16),
        (degraded(1), 17),
        (degraded(8), 2),
        (degraded(8), 3),
        (leaving(), 1),
    ] {
        for first in [false, true] {
            let mut config = config(254);
            config.first = first;
            let mut node = Node::backup(config);
            node.readiness(ours.clone());
            for _ in 0..100 {
                node.hear(LOWER, theirs);
                assert_eq!(node.run(100_000), Vec::<String>::new(), "{ours:?} against {theirs}");
            }
        }
    }
}

#[test]
fn rule_2_a_takeover_is_not_put_off_by_further_advertisements() {
    let mut node = Node::backup(config(128));
    node.hear(LOWER, 1);
    node.run(30_000);
    node.hear(LOWER, 1);
    node.run(19_999);
    assert_eq!(node.state(), State::Backup);
    assert_eq!(
        node.run(1),
        ["1 us: advertise 128", "1 us: Backup -> Active: 192.0.2.11 is leaving (priority 1, ours 128)"]
    );
}

#[test]
fn rule_2_a_takeover_is_called_off_when_the_active_recovers() {
    let mut node = Node::backup(config(128));
    node.hear(LOWER, 16);
    node.run(10_000);
    node.hear(LOWER, 254);
    assert_eq!(node.run(300_000), Vec::<String>::new());
}

#[test]
fn rule_2_a_takeover_is_called_off_when_the_backup_degrades_as_well() {
    let mut node = Node::backup(config(128));
    node.hear(LOWER, 16);
    node.run(10_000);
    node.readiness(degraded(1));
    assert_eq!(node.run(300_000), Vec::<String>::new());
}

#[test]
fn rule_2_a_backup_that_recovers_takes_over_without_waiting_for_an_advertisement() {
    let mut node = Node::backup(config(254));
    node.readiness(degraded(1));
    node.hear(LOWER, 16);
    node.run(10_000);
    node.readiness(Readiness::Ready);
    assert_eq!(node.run(782)[0], "781 us: advertise 254");
}

#[test]
fn rule_2_skew_time_is_of_the_configured_priority_for_a_degraded_node() {
    let mut node = Node::backup(config(254));
    node.readiness(degraded(5));
    assert_eq!(node.run(300_781), Vec::<String>::new());
    assert_eq!(node.run(1)[0], "0 us: advertise 8");
}

/// The claim waits for the last word of a living Active, so that no address is on two nodes.
#[test]
fn rule_5_a_claim_from_a_living_active_adds_after_its_last_word() {
    let mut node = Node::backup(config(254));
    node.hear(LOWER, 16);
    assert_eq!(
        node.run(1_000),
        ["781 us: advertise 254", "781 us: Backup -> Active: 192.0.2.11 is degraded (priority 16, ours 254)"]
    );
    assert_eq!(node.hear(LOWER, 16), ["advertise 254", "add 192.0.2.100", "announce 192.0.2.100"]);
}

#[test]
fn rule_5_a_claim_waits_for_a_last_word_for_at_most_60_ms() {
    let mut node = Node::backup(config(254));
    node.hear(LOWER, 16);
    node.run(782);
    assert_eq!(
        node.run(60_000),
        ["59999 us: advertise 254", "59999 us: add 192.0.2.100", "59999 us: announce 192.0.2.100"]
    );
}

/// A priority 0 is as good a last word: who is told to end while it removes says no other.
#[test]
fn rule_5_a_priority_0_is_a_last_word_too() {
    let mut node = Node::backup(config(254));
    node.hear(LOWER, 1);
    node.run(1_000);
    assert_eq!(node.hear(LOWER, 0), ["advertise 254", "add 192.0.2.100", "announce 192.0.2.100"]);
}

#[test]
fn rule_5_a_claim_after_a_resignation_or_silence_adds_at_once() {
    let mut node = Node::backup(config(254));
    node.hear(LOWER, 16);
    node.hear(LOWER, 0);
    let lines = node.run(782);
    assert_eq!(lines[0..2], ["781 us: advertise 254", "781 us: add 192.0.2.100"]);
}

#[test]
fn v_39_active_that_hears_a_higher_priority_removes_before_it_listens() {
    let mut node = Node::active(config(200));
    node.answers = false;
    assert_eq!(node.hear(LOWER, 201), ["reset exchanges", "remove 192.0.2.100"]);
    assert_eq!(node.state(), State::Active);
    node.run(3_000);
    node.group.handle_address_removed(node.now, MemberId(0), VIP);
    assert_eq!(
        node.drain(),
        ["advertise 200", "Active -> Backup: 192.0.2.11 is better (priority 201, ours 200)"]
    );
    // Skew_Time of 200 is 21.875 ms: the timer starts after the removal.
    assert_eq!(node.run(321_874), Vec::<String>::new());
    assert_eq!(node.run(1)[0], "1 us: advertise 200");
}

#[test]
fn v_40_of_two_equal_priorities_the_higher_address_wins() {
    let mut node = Node::active(config(200));
    assert_eq!(node.hear(LOWER, 200)[0], "advertise 200");
    assert_eq!(node.state(), State::Active);
    node.hear(HIGHER, 200);
    assert_eq!(node.state(), State::Backup);
}

#[test]
fn v_40_an_advertisement_from_our_own_address_changes_nothing() {
    for mut node in [Node::active(config(200)), Node::backup(config(200))] {
        let before = node.state();
        assert_eq!(node.hear(OURS, 254), ["warning duplicate_source"]);
        assert_eq!(node.hear(OURS, 0), ["warning duplicate_source"]);
        assert_eq!((node.state(), node.counter("duplicate_source")), (before, 2));
    }
}

/// RFC 9568 §6.4.3; Adver_Timer is not reset.
#[test]
fn v_41_active_answers_a_losing_advertisement_at_once_and_announces() {
    let mut node = Node::active(config(200));
    node.run(40_000);
    let (due, _) = node.group.poll_timeout().unwrap();
    assert_eq!(node.hear(LOWER, 199), ["advertise 200", "announce 192.0.2.100"]);
    assert_eq!(node.group.poll_timeout().unwrap().0, due);
    assert_eq!(node.hear(LOWER, 199), ["advertise 200"]);
}

#[test]
fn v_42_active_answers_priority_0_and_rearms_its_timer() {
    let mut node = Node::active(config(200));
    node.run(40_000);
    assert_eq!(node.hear(LOWER, 0), ["advertise 200", "announce 192.0.2.100"]);
    assert_eq!(node.run(99_999), Vec::<String>::new());
    assert_eq!(node.run(1), ["1 us: advertise 200"]);
}

#[test]
fn v_14_another_address_list_is_a_warning_and_changes_no_election() {
    let mut node = Node::backup(config(200));
    let advertisement = Advertisement {
        version: Version::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: 254,
        interval: Duration::from_millis(100),
        addresses: vec![VIP.address, "192.0.2.99".parse().unwrap()],
    };
    node.run(300_000);
    assert_eq!(node.hear_exactly(0, LOWER, &advertisement), ["warning address_list_mismatch"]);
    let heard = node.group.status().members[0].heard.clone().unwrap();
    assert_eq!((heard.lacks, heard.adds), (vec![], vec!["192.0.2.99".parse().unwrap()]));
    let instead = Advertisement { addresses: vec!["192.0.2.99".parse().unwrap()], ..advertisement };
    node.hear_exactly(0, LOWER, &instead);
    assert_eq!(node.group.status().members[0].heard.clone().unwrap().lacks, [VIP.address]);
    assert_eq!(node.run(300_000), Vec::<String>::new());
    assert_eq!(node.hear(LOWER, 254), Vec::<String>::new(), "the same list is worth no word");
    assert_eq!(node.group.status().members[0].heard.clone().unwrap().lacks, Vec::<IpAddr>::new());
    assert_eq!(node.counter("address_list_mismatch"), 2);
}

/// Not our case, but a foreign peer may be configured as the owner of the addresses.
#[test]
fn v_18_priority_255_wins() {
    let mut node = Node::active(config(254));
    node.hear(LOWER, 255);
    assert_eq!(node.state(), State::Backup);
    assert_eq!(node.run(250_000), Vec::<String>::new());
}

#[test]
fn rule_4_a_ready_active_of_lower_priority_is_preempted_only_by_always_after_the_delay() {
    let mut config = config(254);
    config.preempt = Preempt::Always { delay: Duration::from_secs(5) };
    let mut node = Node::backup(config);
    let mut lines = Vec::new();
    for _ in 0..60 {
        node.hear(LOWER, 253);
        lines.extend(node.run(100_000));
        if !lines.is_empty() {
            break;
        }
    }
    assert_eq!(
        lines[1],
        "100000 us: Backup -> Active: 192.0.2.11 has the lower priority (priority 253, ours 254)"
    );
    // The readiness is as old as the machine.
    let claimed = node.group.status().since;
    assert_eq!(claimed.saturating_since(BEGIN), Duration::from_secs(5));
}

#[test]
fn rule_4_the_delay_counts_from_unbroken_readiness() {
    let mut config = config(254);
    config.preempt = Preempt::Always { delay: Duration::from_secs(5) };
    let mut node = Node::backup(config);
    let listen = |node: &mut Node, seconds: u32| {
        for _ in 0..10 * seconds {
            node.hear(LOWER, 253);
            node.run(100_000);
        }
    };
    listen(&mut node, 4);
    node.readiness(degraded(1));
    node.readiness(Readiness::Ready);
    listen(&mut node, 4);
    assert_eq!(node.state(), State::Backup);
    listen(&mut node, 2);
    assert_eq!(node.group.status().since.saturating_since(BEGIN), Duration::from_secs(9));
}

/// 5 s, then doubled by each further move within ten minutes, up to ten minutes.
#[test]
fn rule_4_the_delay_doubles_with_each_further_move() {
    let mut config = config(254);
    config.preempt = Preempt::Always { delay: Duration::from_secs(5) };
    let mut node = Node::backup(config);
    let mut delays = Vec::new();
    for _ in 0..3 {
        let since = node.now;
        while node.state() != State::Active {
            node.hear(LOWER, 253);
            node.run(100_000);
        }
        delays.push(node.group.status().since.saturating_since(since).as_secs());
        // It fails, and is ready again: two moves each time.
        node.readiness(fault());
        node.readiness(Readiness::Ready);
    }
    // After 0, 2 and 4 moves: 5 s x 1, x 2, x 8.
    assert_eq!(delays, [5, 10, 40]);
}

#[test]
fn rule_11_towards_keepalived_a_degradation_is_a_resignation_once_per_event() {
    let mut config = config(254);
    config.peer = PeerKind::Keepalived;
    let mut node = Node::active(config);
    assert_eq!(
        node.readiness(degraded(1)),
        [
            "reset exchanges",
            "remove 192.0.2.100",
            "advertise 0",
            "Active -> Backup: degraded: backend b0 has no usable server",
        ]
    );
    // Nobody takes it: it comes back at its level, and stays.
    assert_eq!(node.run(310_000)[0], "300781 us: advertise 16");
    assert_eq!(node.readiness(degraded(1)), Vec::<String>::new());
    assert_eq!(node.readiness(Readiness::Ready), ["advertise 254"]);
    assert_eq!(node.readiness(leaving())[3], "Active -> Backup: leaving: stopping");
}

/// It knows priorities only: 1 or 16 are those of a ready node.
#[test]
fn rule_11_priorities_of_keepalived_are_not_levels() {
    let mut config = config(254);
    config.peer = PeerKind::Keepalived;
    let mut node = Node::backup(config);
    for priority in [1, 16, 100] {
        node.hear(LOWER, priority);
        assert_eq!(node.run(250_000), Vec::<String>::new());
    }
}

#[test]
fn rule_11_a_claim_from_keepalived_adds_at_once() {
    let mut config = config(254);
    config.peer = PeerKind::Keepalived;
    config.preempt = Preempt::Always { delay: Duration::ZERO };
    let mut node = Node::backup(config);
    node.hear(LOWER, 100);
    assert_eq!(node.run(782)[0..2], ["781 us: advertise 254", "781 us: add 192.0.2.100"]);
}

/// A worker that was stalled answers again, and nobody has claimed: the Active stays, and says so at once.
#[test]
fn rule_8_an_active_that_was_leaving_and_stays_is_ready_at_once_and_the_other_node_lets_it_be() {
    let mut active = Node::active(config(253));
    assert_eq!(active.readiness(leaving()), ["advertise 1"]);
    active.run(100_000);
    assert_eq!(active.readiness(Readiness::Ready), ["advertise 253"]);
    assert_eq!(active.state(), State::Active);
    let mut backup = Node::backup(config(254));
    backup.hear(LOWER, 1);
    backup.run(700);
    backup.hear(LOWER, 253);
    assert_eq!(backup.run(200_000), Vec::<String>::new(), "the takeover is called off");
}
