//! Seeded simulation of the checker: random results, random durations, errors of traffic, a clock that is driven by hand.
//!
//! Checked after every step: a state changes after exactly `fall` or `rise` equal results in a row (the first result
//! decides alone); errors of traffic count in what requests go by and never in what readiness is computed from; two
//! checks never overlap; and checks start the interval of the state apart, give or take a twentieth, unless the check
//! before took longer or errors brought the next one forward. `SIM_SEED=n` replays one seed; `SIM_SEEDS=n` and
//! `SIM_STEPS=n` widen the run.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use lb_proxy::{
    config::{OnError, Pace},
    health::{Checker, Verdict},
};

/// xorshift64*: the simulation's own source of chance, apart from the checker's.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// What the last results say, told without the checker's counter.
#[derive(Default)]
struct Model {
    is_up: Option<bool>,
    last: Option<bool>,
    in_a_row: u32,
}

impl Model {
    fn expect(&mut self, passed: bool, rise: u32, fall: u32) -> Option<Verdict> {
        self.in_a_row = if self.last == Some(passed) { self.in_a_row + 1 } else { 1 };
        self.last = Some(passed);
        let flips = match (self.is_up, passed) {
            (None, _) => true,
            (Some(true), false) => self.in_a_row >= fall,
            (Some(false), true) => self.in_a_row >= rise,
            (Some(true), true) | (Some(false), false) => false,
        };
        flips.then(|| {
            self.is_up = Some(passed);
            if passed { Verdict::Up } else { Verdict::Down }
        })
    }
}

impl Model {
    /// What too many errors of traffic do to a server whose checks are known.
    fn errors(&mut self, then: OnError, rise: u32, fall: u32) -> Option<Verdict> {
        let up = self.is_up == Some(true);
        let failures = if self.last == Some(false) { self.in_a_row } else { 0 };
        match then {
            OnError::FastInter => return None,
            OnError::FailCheck => {}
            OnError::SuddenDeath if up => self.failed(failures.max(fall.saturating_sub(2))),
            OnError::MarkDown if up => self.failed(failures.max(fall - 1)),
            OnError::SuddenDeath | OnError::MarkDown => {}
        }
        self.expect(false, rise, fall)
    }

    fn failed(&mut self, times: u32) {
        if times > 0 {
            (self.last, self.in_a_row) = (Some(false), times);
        }
    }

    fn interval(&self, pace: Pace) -> Duration {
        match (self.is_up, self.last) {
            (Some(true), Some(true)) => pace.interval,
            (Some(false), Some(false)) => pace.down,
            _ => pace.fast,
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn run(seed: u64, steps: u64) -> Result<(), String> {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let rise = u32::try_from(chance.below(5) + 1).unwrap();
    let fall = u32::try_from(chance.below(6) + 1).unwrap();
    let mut interval = || Duration::from_millis(chance.below(5_000) + 10);
    let pace = Pace { interval: interval(), fast: interval(), down: interval() };
    let start = Duration::from_millis(chance.below(1_000_000));
    // Runs of luck of different lengths, so that both flips and near misses are common.
    let stay = chance.below(8) + 2;
    let mut checker = Checker::new(pace, rise, fall, seed, start);
    // What checks alone say, and what they say together with errors of traffic.
    let (mut checks, mut all, mut passed) = (Model::default(), Model::default(), true);
    let (mut now, mut before) = (start, None::<(Duration, Duration, Duration)>);
    for step in 0..steps {
        let fail = |what: String| Err(format!("step {step} (rise {rise}, fall {fall}, {pace:?}): {what}"));
        let mut due = checker.poll_timeout().ok_or("nothing is due and no check is under way")?;
        if let Some((started, took, interval)) = before {
            let gap: Duration = due - started;
            let slack = Duration::from_nanos(40);
            let least = if step == 1 { interval / 20 } else { interval * 19 / 20 } - slack;
            let most = (if step == 1 { interval } else { interval * 21 / 20 }).max(took);
            if gap < least || gap > most {
                return fail(format!("{gap:?} between two checks in a state of {interval:?}"));
            }
        }
        if step > 0 && due > now && chance.below(4) == 0 {
            let then = [OnError::FastInter, OnError::FailCheck, OnError::SuddenDeath, OnError::MarkDown];
            let then = then[usize::try_from(chance.below(4)).unwrap()];
            now += Duration::from_nanos(chance.below(u64::try_from((due - now).as_nanos()).unwrap()));
            let (expected, verdict) = (all.errors(then, rise, fall), checker.handle_errors(now, then));
            if verdict != expected {
                return fail(format!("{then:?}: said {verdict:?} instead of {expected:?}"));
            }
            let forward = due.min(now + pace.fast);
            due = checker.poll_timeout().ok_or("nothing is due after errors")?;
            if due != forward {
                return fail(format!("due at {due:?} after errors, not at {forward:?}"));
            }
        }
        let early = due.saturating_sub(Duration::from_nanos(1));
        if early >= now && due > now && checker.handle_timeout(early) {
            return fail(format!("checked at {early:?}, due at {due:?}"));
        }
        // A driver may be late, never early.
        now = due.max(now) + Duration::from_micros(chance.below(2_000));
        if !checker.handle_timeout(now) {
            return fail(format!("not checked at {now:?}, due at {due:?}"));
        }
        if checker.poll_timeout().is_some() || checker.handle_timeout(now + pace.longest() * 10) {
            return fail("two checks overlap".to_owned());
        }
        let started = now;
        now += if chance.below(10) == 0 { pace.longest() * 2 } else { pace.fast / 100 };
        if chance.below(stay) == 0 {
            passed = !passed;
        }
        checks.expect(passed, rise, fall);
        let (expected, verdict) = (all.expect(passed, rise, fall), checker.handle_result(now, passed));
        before = Some((started, now - started, all.interval(pace)));
        if verdict != expected
            || checker.is_up() != all.is_up.unwrap()
            || checker.is_up_by_checks() != checks.is_up.unwrap()
            || checker.in_a_row() != checks.in_a_row
        {
            return fail(format!("said {verdict:?} instead of {expected:?} after {} in a row", all.in_a_row));
        }
    }
    Ok(())
}

#[test]
fn checker_flips_exactly_at_rise_and_fall_and_keeps_its_pace() {
    let steps = variable("SIM_STEPS").unwrap_or(500);
    let seeds = match variable("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SIM_SEEDS").unwrap_or(256),
    };
    for seed in seeds {
        if let Err(what) = run(seed, steps) {
            panic!("seed {seed}, {what}\nreplay: SIM_SEED={seed} cargo test -p lb-proxy --test sim_health");
        }
    }
}

#[test]
fn same_seed_gives_the_same_moments() {
    let moments = |seed| {
        let mut checker = Checker::new(Pace::steady(Duration::from_secs(2)), 2, 3, seed, Duration::ZERO);
        let mut moments = Vec::new();
        for _ in 0..20 {
            let due = checker.poll_timeout().unwrap();
            assert!(checker.handle_timeout(due));
            checker.handle_result(due, true);
            moments.push(due);
        }
        moments
    };
    assert_eq!(moments(7), moments(7));
    assert_ne!(moments(7), moments(8));
}
