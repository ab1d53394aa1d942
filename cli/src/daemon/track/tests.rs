//! Table tests of the tracker: faults, leaving, degradations, and rule 3.

use std::net::{Ipv4Addr, SocketAddr};

use lb_proxy::status::ListenerHealth;

use super::*;

const HOLD: Duration = Duration::from_secs(6);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000_000 + milliseconds * 1_000_000)
}

fn config(backends: &[&str]) -> TrackerConfig {
    TrackerConfig {
        frontends: vec!["web".to_owned()],
        addresses: vec![ADDRESS.into()],
        tracked: backends
            .iter()
            .map(|name| Tracked { name: (*name).to_owned(), hold: HOLD, what: What::Backend })
            .collect(),
        first_round_limit: Duration::from_secs(2),
    }
}

fn backend(name: &str, usable: usize) -> BackendHealth {
    BackendHealth {
        name: name.to_owned(),
        counts: true,
        usable,
        pending: false,
        total: 2,
        reason: (usable == 0).then(|| "connection refused".to_owned()),
    }
}

fn listener(label: &str, address: SocketAddr, bound: bool) -> ListenerHealth {
    ListenerHealth { frontend: "web".to_owned(), label: label.to_owned(), address: Some(address), bound }
}

fn healthy(backends: &[(&str, usize)]) -> Health {
    Health {
        first_round_done: true,
        backends: backends.iter().map(|(name, usable)| backend(name, *usable)).collect(),
        listeners: vec![listener("web:80", (ADDRESS, 80).into(), true)],
        stalled_workers: vec![None, None],
    }
}

/// A tracker of one backend that has been well for a long time, in `state`.
fn settled(state: State) -> Tracker {
    let mut tracker = Tracker::new(config(&["app"]), at(0));
    tracker.handle_state(at(0), state);
    tracker.handle_health(at(0), &healthy(&[("app", 2)]));
    tracker.handle_timeout(at(60_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    tracker
}

fn no_usable_server() -> Readiness {
    Readiness::Degraded { reasons: vec!["backend app has no usable server: connection refused".to_owned()] }
}

#[test]
fn rule_3_bad_news_counts_at_once_on_a_backup() {
    let mut tracker = settled(State::Backup);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    assert_eq!(tracker.readiness(), no_usable_server());
}

#[test]
fn a_backend_that_is_back_says_that_it_waits_for_its_hold() {
    let mut tracker = settled(State::Backup);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_health(at(100_500), &healthy(&[("app", 1)]));
    let Readiness::Degraded { reasons } = tracker.readiness() else { panic!("{:?}", tracker.readiness()) };
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].starts_with("backend app is usable again, which counts once it has lasted for "),
        "{reasons:?}"
    );
}

#[test]
fn rule_3_bad_news_counts_after_the_hold_on_the_active() {
    let mut tracker = settled(State::Active);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    assert_eq!(tracker.poll_timeout(), Some((at(106_000), "hold of a backend")));
    tracker.handle_timeout(at(105_999));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    tracker.handle_timeout(at(106_000));
    assert_eq!(tracker.readiness(), no_usable_server());
    assert_eq!(tracker.poll_timeout(), None);
}

#[test]
fn rule_3_good_news_counts_at_once_on_the_active() {
    let mut tracker = settled(State::Active);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_timeout(at(106_000));
    tracker.handle_health(at(110_000), &healthy(&[("app", 1)]));
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn rule_3_good_news_counts_after_the_hold_on_a_backup() {
    let mut tracker = settled(State::Backup);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_health(at(110_000), &healthy(&[("app", 1)]));
    assert!(matches!(tracker.readiness(), Readiness::Degraded { .. }));
    tracker.handle_timeout(at(115_999));
    assert!(matches!(tracker.readiness(), Readiness::Degraded { .. }));
    tracker.handle_timeout(at(116_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn rule_3_bad_news_that_waits_on_an_active_counts_when_it_becomes_a_backup() {
    let mut tracker = settled(State::Active);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_state(at(101_000), State::Backup);
    assert_eq!(tracker.readiness(), no_usable_server());
}

#[test]
fn rule_3_good_news_that_waits_on_a_backup_counts_when_it_becomes_the_active() {
    let mut tracker = settled(State::Backup);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_health(at(110_000), &healthy(&[("app", 2)]));
    tracker.handle_state(at(111_000), State::Active);
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn rule_3_an_outage_shorter_than_the_hold_never_counts_on_the_active() {
    let mut tracker = settled(State::Active);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_health(at(105_000), &healthy(&[("app", 2)]));
    assert_eq!(tracker.poll_timeout(), None);
    tracker.handle_timeout(at(120_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn rule_3_a_starting_backup_counts_as_the_worst_until_the_hold_is_over() {
    let mut tracker = Tracker::new(config(&["app"]), at(0));
    tracker.handle_health(at(500), &healthy(&[("app", 2)]));
    tracker.handle_state(at(600), State::Backup);
    assert!(
        matches!(tracker.readiness(), Readiness::Starting { degradations, .. } if degradations.is_empty())
    );
    tracker.handle_timeout(at(6_499));
    assert!(matches!(tracker.readiness(), Readiness::Starting { .. }));
    tracker.handle_timeout(at(6_500));
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn a_starting_node_says_what_it_would_be_as_the_active() {
    let mut tracker = Tracker::new(config(&["app", "mail"]), at(0));
    tracker.handle_health(at(500), &healthy(&[("app", 2), ("mail", 0)]));
    let Readiness::Starting { degradations, .. } = tracker.readiness() else {
        panic!("{:?}", tracker.readiness())
    };
    assert_eq!(degradations.len(), 1);
    tracker.handle_state(at(900), State::Active);
    assert_eq!(tracker.readiness(), Readiness::Degraded { reasons: degradations });
}

#[test]
fn rule_3_a_starting_node_that_becomes_the_active_is_ready_at_once() {
    let mut tracker = Tracker::new(config(&["app"]), at(0));
    tracker.handle_health(at(500), &healthy(&[("app", 2)]));
    tracker.handle_state(at(900), State::Active);
    assert_eq!(tracker.readiness(), Readiness::Ready);
    assert_eq!(tracker.poll_timeout(), None);
}

#[test]
fn rule_3_a_backend_that_was_never_usable_gets_no_hold_on_a_new_active() {
    let mut tracker = Tracker::new(config(&["app"]), at(0));
    tracker.handle_health(at(500), &healthy(&[("app", 0)]));
    tracker.handle_state(at(900), State::Active);
    assert_eq!(tracker.readiness(), no_usable_server());
}

#[test]
fn the_first_round_of_checks_is_a_fault_until_it_is_done() {
    let mut tracker = Tracker::new(config(&["app"]), at(0));
    let mut health = healthy(&[("app", 0)]);
    health.first_round_done = false;
    tracker.handle_health(at(100), &health);
    assert_eq!(
        tracker.readiness(),
        Readiness::Fault { reason: "the first round of checks is not done".to_owned() }
    );
    tracker.handle_health(at(200), &healthy(&[("app", 1)]));
    assert!(matches!(tracker.readiness(), Readiness::Starting { .. }));
}

#[test]
fn the_first_round_of_checks_is_not_awaited_for_longer_than_its_limit() {
    let mut tracker = Tracker::new(config(&["app"]), at(0));
    assert_eq!(tracker.poll_timeout(), Some((at(2_000), "first round of checks")));
    tracker.handle_timeout(at(1_999));
    assert!(matches!(tracker.readiness(), Readiness::Fault { .. }));
    tracker.handle_timeout(at(2_000));
    assert!(matches!(tracker.readiness(), Readiness::Starting { .. }));
}

#[test]
fn a_group_without_backends_is_ready_after_the_first_round() {
    let mut tracker = Tracker::new(config(&[]), at(0));
    tracker.handle_health(at(10), &healthy(&[]));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    assert_eq!(tracker.poll_timeout(), None);
}

#[test]
fn faults_and_reasons_to_leave_count_at_once_in_every_state() {
    let second: SocketAddr = (ADDRESS, 443).into();
    let elsewhere: SocketAddr = ([198, 51, 100, 99], 80).into();
    let owed = Duration::from_millis(1_234);
    let fault = |reason: &str| Readiness::Fault { reason: reason.to_owned() };
    let leaving = |reason: &str| Readiness::Leaving { reason: reason.to_owned() };
    let ok = healthy(&[("app", 2)]);
    let with = |listeners: Vec<ListenerHealth>, stalled: Vec<Option<Duration>>| Health {
        listeners,
        stalled_workers: stalled,
        ..ok.clone()
    };
    let bound = listener("web:80", (ADDRESS, 80).into(), true);
    let unbound = listener("web:443", second, false);
    let table = [
        (
            with(vec![bound.clone()], vec![Some(owed), Some(owed)]),
            fault("all 2 workers stalled, for up to 1.2 s"),
        ),
        (with(vec![bound.clone()], vec![Some(owed)]), fault("the only worker stalled for 1.2 s")),
        (with(vec![unbound.clone()], vec![None]), fault("no listener is bound (web:443)")),
        (with(vec![bound.clone()], vec![None, Some(owed)]), leaving("worker 1 stalled for 1.2 s")),
        (with(vec![bound.clone(), unbound], vec![None]), leaving("not bound: web:443")),
        (
            with(vec![bound.clone(), listener("*:81", ([0, 0, 0, 0], 81).into(), false)], vec![None]),
            leaving("not bound: *:81"),
        ),
        (with(vec![bound, listener("other:80", elsewhere, false)], vec![None]), Readiness::Ready),
    ];
    for state in [State::Backup, State::Active] {
        for (health, expected) in &table {
            let mut tracker = settled(state);
            tracker.handle_health(at(100_000), health);
            assert_eq!(tracker.readiness(), *expected, "in state {state}");
            tracker.handle_health(at(100_001), &ok);
            assert_eq!(tracker.readiness(), Readiness::Ready, "in state {state}, after {expected:?}");
        }
    }
}

#[test]
fn a_stop_is_a_reason_to_leave_and_can_be_called_off() {
    let mut tracker = settled(State::Active);
    tracker.handle_leaving(Some("stop by root".to_owned()));
    assert_eq!(tracker.readiness(), Readiness::Leaving { reason: "stop by root".to_owned() });
    tracker.handle_leaving(None);
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn a_backend_with_readiness_false_never_counts() {
    let mut tracker = settled(State::Backup);
    let mut health = healthy(&[("app", 0)]);
    health.backends[0].counts = false;
    tracker.handle_health(at(100_000), &health);
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn each_backend_without_a_usable_server_is_one_degradation() {
    let mut tracker = Tracker::new(config(&["app", "api", "static"]), at(0));
    tracker.handle_state(at(0), State::Backup);
    tracker.handle_health(at(0), &healthy(&[("app", 1), ("api", 1), ("static", 1)]));
    tracker.handle_timeout(at(60_000));
    tracker.handle_health(at(60_000), &healthy(&[("app", 0), ("api", 1), ("static", 0)]));
    assert_eq!(
        tracker.readiness(),
        Readiness::Degraded {
            reasons: vec![
                "backend app has no usable server: connection refused".to_owned(),
                "backend static has no usable server: connection refused".to_owned(),
            ]
        }
    );
}

#[test]
fn a_reload_awaits_no_first_round_and_forgets_nothing() {
    for state in [State::Backup, State::Active] {
        let mut tracker = settled(state);
        tracker.reconfigure(at(100_000), config(&["app"]));
        assert_eq!(tracker.readiness(), Readiness::Ready, "in state {state}");
        let mut tracker = settled(state);
        tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
        tracker.handle_timeout(at(106_000));
        tracker.reconfigure(at(106_000), config(&["app"]));
        assert_eq!(tracker.readiness(), no_usable_server(), "in state {state}");
    }
}

#[test]
fn a_new_backend_is_no_news_on_the_active_until_it_is_known_and_then_by_rule_3() {
    let mut tracker = settled(State::Active);
    tracker.reconfigure(at(100_000), config(&["app", "new"]));
    let mut health = healthy(&[("app", 1), ("new", 0)]);
    health.backends[1].pending = true;
    tracker.handle_health(at(100_001), &health);
    tracker.handle_timeout(at(190_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    tracker.handle_health(at(190_000), &healthy(&[("app", 1), ("new", 0)]));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    assert_eq!(tracker.poll_timeout(), Some((at(196_000), "hold of a backend")));
    tracker.handle_timeout(at(196_000));
    let reasons = vec!["backend new has no usable server: connection refused".to_owned()];
    assert_eq!(tracker.readiness(), Readiness::Degraded { reasons });
}

#[test]
fn a_new_backend_counts_on_a_backup_once_it_has_been_usable_for_its_hold() {
    let mut tracker = settled(State::Backup);
    tracker.reconfigure(at(100_000), config(&["app", "new"]));
    assert!(matches!(tracker.readiness(), Readiness::Degraded { .. }));
    tracker.handle_health(at(100_010), &healthy(&[("app", 1), ("new", 1)]));
    assert!(matches!(tracker.readiness(), Readiness::Degraded { .. }));
    tracker.handle_timeout(at(106_010));
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

#[test]
fn a_backup_gets_no_better_by_a_dead_backend_that_is_gone_from_its_file_before_the_hold() {
    let mut tracker = settled(State::Backup);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.reconfigure(at(101_000), config(&["other"]));
    tracker.handle_health(at(101_000), &healthy(&[("other", 1)]));
    tracker.handle_timeout(at(106_999));
    let Readiness::Degraded { reasons } = tracker.readiness() else { panic!("{:?}", tracker.readiness()) };
    assert_eq!(reasons.len(), 2);
    assert_eq!(reasons[1], "backend app is gone from the file, which counts once that has lasted for 6.0 s");
    tracker.handle_timeout(at(107_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    // On the Active it is good news at once; a file that has it again ends the matter.
    let mut tracker = settled(State::Active);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.handle_timeout(at(106_000));
    tracker.reconfigure(at(106_000), config(&[]));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    let mut tracker = settled(State::Backup);
    tracker.handle_health(at(100_000), &healthy(&[("app", 0)]));
    tracker.reconfigure(at(101_000), config(&[]));
    tracker.reconfigure(at(102_000), config(&["app"]));
    tracker.handle_health(at(102_000), &healthy(&[("app", 1)]));
    tracker.handle_timeout(at(108_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
}

/// One backend and one tracker, both called `app`, well for a long time.
fn tracked(what: What, state: State) -> Tracker {
    let mut config = config(&["app"]);
    config.tracked.push(Tracked { name: "app".to_owned(), hold: HOLD, what });
    let mut tracker = Tracker::new(config, at(0));
    tracker.handle_state(at(0), state);
    tracker.handle_health(at(0), &healthy(&[("app", 2)]));
    assert_ne!(tracker.readiness(), Readiness::Ready, "it was not looked at yet");
    tracker.handle_condition(at(100), "app", None);
    tracker.handle_timeout(at(60_000));
    assert_eq!(tracker.readiness(), Readiness::Ready);
    tracker
}

fn degraded(reason: &str) -> Readiness {
    Readiness::Degraded { reasons: vec![reason.to_owned()] }
}

#[test]
fn rule_3_a_tracker_that_fails_counts_like_a_backend_and_beside_one_of_its_name() {
    let fails = degraded("tracker app fails: no answer");
    let mut backup = tracked(What::Degradation, State::Backup);
    backup.handle_condition(at(100_000), "app", Some("no answer"));
    assert_eq!(backup.readiness(), fails);
    backup.handle_condition(at(101_000), "app", None);
    assert_eq!(
        backup.readiness(),
        degraded("tracker app passes again, which counts once it has lasted for 6.0 s")
    );
    backup.handle_timeout(at(107_000));
    assert_eq!(backup.readiness(), Readiness::Ready);
    let mut active = tracked(What::Degradation, State::Active);
    active.handle_condition(at(100_000), "app", Some("no answer"));
    assert_eq!(active.readiness(), Readiness::Ready);
    active.handle_timeout(at(106_000));
    assert_eq!(active.readiness(), fails);
    active.handle_condition(at(106_100), "app", None);
    assert_eq!(active.readiness(), Readiness::Ready);
}

#[test]
fn a_tracker_that_is_a_fault_waits_for_nothing() {
    for state in [State::Active, State::Backup] {
        let mut tracker = tracked(What::Fault, state);
        tracker.handle_condition(at(100_000), "app", Some("no carrier"));
        let reason = "tracker app fails: no carrier".to_owned();
        assert_eq!(tracker.readiness(), Readiness::Fault { reason });
        tracker.handle_condition(at(100_001), "app", None);
        assert_eq!(tracker.readiness(), Readiness::Ready, "{state}");
    }
}

/// Neither a reload nor the process before an upgrade, which knew no trackers, takes an address away.
#[test]
fn a_tracker_that_is_new_takes_no_address_away_before_it_was_looked_at() {
    for what in [What::Degradation, What::Fault] {
        let mut both = config(&["app"]);
        both.tracked.push(Tracked { name: "gateway".to_owned(), hold: HOLD, what });
        let mut reloaded = settled(State::Active);
        let mut next = Tracker::new(both.clone(), at(90_000));
        next.go_on(settled(State::Active).known());
        reloaded.reconfigure(at(90_000), both.clone());
        for tracker in [&mut reloaded, &mut next] {
            tracker.handle_timeout(at(90_000));
            assert_eq!(tracker.readiness(), Readiness::Ready, "{what:?}");
            tracker.handle_condition(at(90_100), "gateway", Some("no answer"));
            tracker.handle_timeout(at(100_000));
            assert_ne!(tracker.readiness(), Readiness::Ready, "{what:?}");
        }
        let mut backup = settled(State::Backup);
        backup.reconfigure(at(90_000), both);
        assert_ne!(backup.readiness(), Readiness::Ready, "{what:?}");
    }
}
