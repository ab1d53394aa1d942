use super::{OnError::*, Verdict::*, *};

const SECOND: Duration = Duration::from_secs(1);

fn checker(rise: u32, fall: u32) -> Checker {
    Checker::new(Pace::steady(SECOND), rise, fall, 1, Duration::ZERO)
}

fn results(rise: u32, fall: u32, passed: &[bool]) -> Vec<Option<Verdict>> {
    let mut checker = checker(rise, fall);
    passed.iter().map(|&passed| checker.handle_result(Duration::ZERO, passed)).collect()
}

/// Makes the check that is due next and returns the time until the one after it.
fn gap_after(checker: &mut Checker, passed: bool) -> Duration {
    let start = checker.poll_timeout().unwrap();
    assert!(checker.handle_timeout(start));
    checker.handle_result(start, passed);
    checker.poll_timeout().unwrap() - start
}

fn is_about(gap: Duration, interval: Duration) -> bool {
    gap >= interval * 19 / 20 && gap <= interval * 21 / 20
}

#[test]
fn first_result_alone_decides() {
    assert_eq!(results(3, 5, &[true]), [Some(Up)]);
    assert_eq!(results(3, 5, &[false]), [Some(Down)]);
}

#[test]
fn server_goes_down_after_fall_failures_in_a_row_and_not_before() {
    assert_eq!(
        results(2, 3, &[true, false, false, true, false, false, false, false]),
        [Some(Up), None, None, None, None, None, Some(Down), None]
    );
}

#[test]
fn server_comes_up_after_rise_successes_in_a_row_and_not_before() {
    assert_eq!(
        results(2, 3, &[false, true, false, true, true, true]),
        [Some(Down), None, None, None, Some(Up), None]
    );
}

#[test]
fn first_check_is_due_at_once_and_later_ones_an_interval_apart() {
    let mut checker = Checker::new(Pace::steady(20 * SECOND), 2, 3, 7, 5 * SECOND);
    assert_eq!(checker.poll_timeout(), Some(5 * SECOND));
    gap_after(&mut checker, true);
    for _ in 0..20 {
        assert!(is_about(gap_after(&mut checker, true), 20 * SECOND));
    }
}

#[test]
fn second_checks_of_many_servers_spread_over_the_whole_interval() {
    let gap = |seed| {
        let mut checker = Checker::new(Pace::steady(10 * SECOND), 2, 3, seed, Duration::ZERO);
        gap_after(&mut checker, true)
    };
    let mut tenths = [0; 10];
    for seed in 0..1_000 {
        let gap = gap(seed);
        assert!(gap >= SECOND / 2 && gap <= 10 * SECOND, "{gap:?}");
        tenths[usize::try_from(gap.as_secs()).unwrap().min(9)] += 1;
    }
    assert!(tenths.iter().all(|&servers| (20..200).contains(&servers)), "{tenths:?}");
}

#[test]
fn a_server_on_its_way_is_checked_fast_and_one_that_is_down_slowly() {
    let pace = Pace { interval: 10 * SECOND, fast: SECOND, down: 100 * SECOND };
    let mut checker = Checker::new(pace, 3, 2, 7, Duration::ZERO);
    gap_after(&mut checker, true);
    let steps = [
        (true, pace.interval),
        (false, pace.fast),
        (true, pace.interval),
        (false, pace.fast),
        (false, pace.down),
        (false, pace.down),
        (true, pace.fast),
        (true, pace.fast),
        (true, pace.interval),
    ];
    for (index, (passed, interval)) in steps.into_iter().enumerate() {
        let gap = gap_after(&mut checker, passed);
        assert!(is_about(gap, interval), "step {index}: {gap:?}, expected about {interval:?}");
    }
}

#[test]
fn a_check_that_takes_longer_than_its_interval_is_followed_at_once() {
    let mut checker = checker(2, 3);
    assert!(checker.handle_timeout(Duration::ZERO));
    assert_eq!(checker.poll_timeout(), None);
    assert!(!checker.handle_timeout(10 * SECOND));
    checker.handle_result(10 * SECOND, false);
    assert_eq!(checker.poll_timeout(), Some(10 * SECOND));
}

#[test]
fn results_in_a_row_are_counted() {
    let mut checker = checker(2, 3);
    let counts: Vec<_> = [true, true, false, false, false, true]
        .map(|passed| {
            checker.handle_result(Duration::ZERO, passed);
            checker.in_a_row()
        })
        .to_vec();
    assert_eq!(counts, [1, 2, 1, 2, 3, 1]);
}

#[test]
fn errors_of_traffic_do_what_the_file_says_and_never_move_what_checks_alone_say() {
    let after = |then, times: u32| {
        let mut checker = checker(2, 3);
        checker.handle_result(Duration::ZERO, true);
        let verdict = (0..times).fold(None, |_, _| checker.handle_errors(Duration::ZERO, then));
        assert!(checker.is_up_by_checks());
        verdict
    };
    assert_eq!(after(FastInter, 100), None);
    assert_eq!(after(FailCheck, 2), None);
    assert_eq!(after(FailCheck, 3), Some(Down));
    assert_eq!(after(SuddenDeath, 1), None);
    assert_eq!(after(SuddenDeath, 2), Some(Down));
    assert_eq!(after(MarkDown, 1), Some(Down));
    assert_eq!(after(MarkDown, 2), None);
}

#[test]
fn a_server_that_errors_took_down_comes_back_after_rise_good_checks() {
    let mut checker = checker(2, 3);
    checker.handle_result(Duration::ZERO, true);
    checker.handle_errors(Duration::ZERO, MarkDown);
    assert_eq!(checker.handle_result(Duration::ZERO, true), None);
    assert_eq!(checker.handle_result(Duration::ZERO, true), Some(Up));
}

#[test]
fn errors_of_traffic_bring_the_next_check_forward() {
    let pace = Pace { interval: 100 * SECOND, fast: SECOND, down: 100 * SECOND };
    let mut checker = Checker::new(pace, 2, 3, 7, Duration::ZERO);
    assert!(checker.handle_timeout(Duration::ZERO));
    checker.handle_result(Duration::ZERO, true);
    gap_after(&mut checker, true);
    let due = checker.poll_timeout().unwrap();
    let now = due - 50 * SECOND;
    checker.handle_errors(now, FastInter);
    assert_eq!(checker.poll_timeout(), Some(now + SECOND));
    checker.handle_errors(now + 2 * SECOND, FastInter);
    assert_eq!(checker.poll_timeout(), Some(now + SECOND));
}

#[test]
fn errors_before_the_first_check_count_nothing() {
    let mut checker = checker(2, 3);
    assert_eq!(checker.handle_errors(Duration::ZERO, MarkDown), None);
    assert_eq!(checker.handle_result(Duration::ZERO, true), Some(Up));
}

#[test]
fn other_settings_change_no_state_and_results_go_on_counting() {
    let adapt = |checker: &mut Checker, rise, fall| {
        checker.adapt(Pace::steady(SECOND), rise, fall, Duration::ZERO);
    };
    let mut up = checker(2, 5);
    for passed in [true, false, false] {
        up.handle_result(Duration::ZERO, passed);
    }
    adapt(&mut up, 3, 3);
    assert!(up.is_up() && up.is_up_by_checks());
    assert_eq!(up.handle_result(Duration::ZERO, false), Some(Down), "the third failure of three");
    assert_eq!(up.handle_result(Duration::ZERO, true), None);
    adapt(&mut up, 2, 3);
    assert!(!up.is_up());
    assert_eq!(up.handle_result(Duration::ZERO, true), Some(Up), "the second success of two");
    let mut lenient = checker(2, 5);
    for passed in [true, false, false, false, false] {
        lenient.handle_result(Duration::ZERO, passed);
    }
    adapt(&mut lenient, 2, 2);
    assert!(lenient.is_up(), "more failures than are allowed now, but no verdict without a check");
    assert_eq!(lenient.handle_result(Duration::ZERO, false), Some(Down));
    let mut unknown = checker(1, 1);
    adapt(&mut unknown, 4, 4);
    assert_eq!(unknown.handle_result(Duration::ZERO, true), Some(Up), "the first result alone decides");
}

#[test]
fn server_that_was_used_without_checks_is_up_until_its_first_check_decides() {
    let new = || Checker::presuming_up(Pace::steady(SECOND), 3, 5, 1, Duration::ZERO);
    assert!(new().is_up() && new().is_up_by_checks());
    assert_eq!(new().poll_timeout(), Some(Duration::ZERO));
    assert_eq!(new().handle_result(Duration::ZERO, false), Some(Down));
    let mut passes = new();
    assert_eq!(passes.handle_result(Duration::ZERO, true), None);
    assert_eq!((0..4).filter_map(|_| passes.handle_result(Duration::ZERO, false)).count(), 0);
}

#[test]
fn another_pace_counts_from_the_last_check() {
    let mut checker = Checker::new(Pace::steady(60 * SECOND), 2, 3, 1, Duration::ZERO);
    gap_after(&mut checker, true);
    let last = checker.poll_timeout().unwrap();
    gap_after(&mut checker, true);
    let now = last + SECOND;
    checker.adapt(Pace::steady(5 * SECOND), 2, 3, now);
    assert!(is_about(checker.poll_timeout().unwrap() - last, 5 * SECOND));
    // One that is overdue by the new pace is due now.
    checker.adapt(Pace::steady(SECOND / 10), 2, 3, now);
    assert_eq!(checker.poll_timeout(), Some(now));
}

#[test]
fn check_that_could_not_be_made_counts_for_nothing_but_where_nothing_is_known() {
    let mut checker = Checker::new(Pace::steady(SECOND), 2, 2, 1, Duration::ZERO);
    assert!(checker.handle_timeout(Duration::ZERO));
    assert!(!checker.handle_nothing(Duration::ZERO), "it has to be something");
    assert_eq!(checker.handle_result(Duration::ZERO, false), Some(Down));
    let mut checker = Checker::presuming_up(Pace::steady(SECOND), 2, 2, 1, Duration::ZERO);
    checker.handle_result(Duration::ZERO, true);
    checker.handle_result(Duration::ZERO, false);
    let level = checker.level();
    for _ in 0..5 {
        let due = checker.poll_timeout().unwrap();
        assert!(checker.handle_timeout(due));
        assert!(checker.handle_nothing(due + SECOND / 2));
        assert!(is_about(checker.poll_timeout().unwrap() - due, SECOND));
        assert_eq!((checker.level(), checker.is_up()), (level, true));
    }
    checker.handle_result(Duration::ZERO, false);
    assert!(!checker.is_up(), "the one before them still counts");
}
