//! When alarms go on and off, by a clock that is driven.

use super::*;

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000_000 + milliseconds * 1_000_000)
}

fn wall() -> Timestamp {
    Timestamp::parse("2026-09-21T14:02:00Z").expect("RFC 3339")
}

fn cause(is_settled: bool) -> Vec<Cause> {
    let (name, group) = (AlarmName::NoStandby, Some("default".to_owned()));
    vec![Cause { name, group, why: "lb2 is silent".to_owned(), is_settled }]
}

/// Each look at its moment: what goes on (true) or off then.
fn turns(looks: impl IntoIterator<Item = (u64, Vec<Cause>)>) -> Vec<(u64, bool)> {
    let mut alarms = Alarms::default();
    let look = |(now, causes)| {
        let turns = alarms.handle(at(now), wall(), causes);
        turns.into_iter().map(move |turn| (now, turn.is_on)).collect::<Vec<_>>()
    };
    looks.into_iter().flat_map(look).collect()
}

#[test]
fn cause_that_stays_is_an_alarm_after_a_second_and_for_three_after_its_end() {
    let looks = (0..20).map(|n| (n * 500, if n < 8 { cause(false) } else { Vec::new() }));
    // Last seen at 3.5 s.
    assert_eq!(turns(looks), [(1_000, true), (6_500, false)]);
}

#[test]
fn cause_that_took_its_time_is_an_alarm_at_once() {
    assert_eq!(turns([(0, cause(true)), (500, cause(true))]), [(0, true)]);
}

#[test]
fn cause_that_passes_is_none() {
    let looks = (0..20).map(|n| (n * 500, if n % 2 == 0 { cause(false) } else { Vec::new() }));
    assert_eq!(turns(looks), []);
}

#[test]
fn cause_that_comes_and_goes_is_one_alarm() {
    let looks = (0..40).map(|n| (n * 500, if n % 4 == 0 { cause(true) } else { Vec::new() }));
    assert_eq!(turns(looks), [(0, true)]);
}

/// Who sends one packet every seven seconds is told of less and less.
#[test]
fn alarm_that_comes_back_stays_longer_each_time() {
    let looks =
        (0..8_000).map(|n: u64| (n * 250, if n.is_multiple_of(28) { cause(true) } else { Vec::new() }));
    // 3 s, 6 s, and from then on it never ends, where it would be two events every seven seconds.
    assert_eq!(turns(looks), [(0, true), (3_000, false), (7_000, true), (13_000, false), (14_000, true)]);
    for (every, longest) in [(61, 60_000), (700, 3_000)] {
        let causes = |n: u64| if n.is_multiple_of(every * 4) { cause(true) } else { Vec::new() };
        let turns = turns((0..40_000).map(|n| (n * 250, causes(n))));
        let stayed = turns.chunks_exact(2).map(|turns| turns[1].0 - turns[0].0);
        assert_eq!(stayed.max(), Some(longest), "each {every} s: a minute at most, and forgotten after ten");
    }
}

#[test]
fn alarm_that_is_on_has_its_reason_of_now_and_its_beginning() {
    let mut alarms = Alarms::default();
    alarms.handle(at(0), wall(), cause(true));
    let later = Timestamp::parse("2026-09-21T14:09:00Z").expect("RFC 3339");
    let mut other = cause(true);
    other[0].why = "lb2 is stopped".to_owned();
    assert_eq!(alarms.handle(at(500), later, other), []);
    let on = alarms.on();
    assert_eq!((on.len(), on[0].since, &*on[0].why), (1, wall(), "lb2 is stopped"));
}

/// It is told by the process before, and not again; and that it is over is told though this one has never seen its cause.
#[test]
fn alarm_outlives_an_upgrade() {
    let later = Timestamp::parse("2026-09-21T15:00:00Z").expect("RFC 3339");
    let key = (AlarmName::NoStandby, Some("default".to_owned()));
    for seen in [true, false] {
        let mut next = Alarms::default();
        next.go_on(at(0), [(key.clone(), wall())]);
        let causes = if seen { cause(false) } else { Vec::new() };
        assert_eq!(next.handle(at(0), later, causes), []);
        assert_eq!(next.on()[0].since, wall());
        let gone = next.handle(at(4_000), later, Vec::new());
        assert_eq!(gone.iter().map(|turn| turn.is_on).collect::<Vec<_>>(), [false]);
        assert_eq!(next.on(), []);
    }
}

#[test]
fn who_rests_is_not_woken() {
    let mut alarms = Alarms::default();
    assert_eq!(alarms.poll_timeout(), None);
    alarms.handle(at(0), wall(), Vec::new());
    assert_eq!(alarms.poll_timeout(), Some(at(250)));
    alarms.rest();
    assert_eq!(alarms.poll_timeout(), None);
}
