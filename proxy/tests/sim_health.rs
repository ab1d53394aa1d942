//! Seeded simulation of the checker: random results, random durations, a clock that is driven by hand.
//!
//! Checked after every step: a state changes after exactly `fall` or `rise` equal results in a row (the first result
//! decides alone), two checks never overlap, and checks start an interval apart, give or take a twentieth, unless the
//! check before took longer. `SIM_SEED=n` replays one seed; `SIM_SEEDS=n` and `SIM_STEPS=n` widen the run.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use lb_proxy::health::{Checker, Verdict};

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

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn run(seed: u64, steps: u64) -> Result<(), String> {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let rise = u32::try_from(chance.below(5) + 1).unwrap();
    let fall = u32::try_from(chance.below(6) + 1).unwrap();
    let interval = Duration::from_millis(chance.below(5_000) + 10);
    let start = Duration::from_millis(chance.below(1_000_000));
    // Runs of luck of different lengths, so that both flips and near misses are common.
    let stay = chance.below(8) + 2;
    let mut checker = Checker::new(interval, rise, fall, seed, start);
    let (mut model, mut passed, mut before) = (Model::default(), true, None);
    let mut now = start;
    for step in 0..steps {
        let fail = |what: String| {
            Err(format!("step {step} (rise {rise}, fall {fall}, interval {interval:?}): {what}"))
        };
        let due = checker.poll_timeout().ok_or("nothing is due and no check is under way")?;
        let early = due.saturating_sub(Duration::from_nanos(1));
        if early >= now && due > now && checker.handle_timeout(early) {
            return fail(format!("checked at {early:?}, due at {due:?}"));
        }
        // A driver may be late, never early.
        now = due.max(now) + Duration::from_micros(chance.below(2_000));
        if !checker.handle_timeout(now) {
            return fail(format!("not checked at {now:?}, due at {due:?}"));
        }
        if checker.poll_timeout().is_some() || checker.handle_timeout(now + interval * 10) {
            return fail("two checks overlap".to_owned());
        }
        if let Some((started, ended)) = before.replace((now, now)) {
            let gap = due - started;
            let (least, most) = (interval * 19 / 20 - Duration::from_nanos(40), interval * 21 / 20);
            let took: Duration = ended - started;
            if gap < least || gap > most.max(took) {
                return fail(format!("{gap:?} between two checks, the first took {took:?}"));
            }
        }
        let took = if chance.below(10) == 0 { interval * 2 } else { interval / 100 };
        let started = now;
        now += took;
        before = Some((started, now));
        if chance.below(stay) == 0 {
            passed = !passed;
        }
        let (expected, verdict) = (model.expect(passed, rise, fall), checker.handle_result(now, passed));
        if verdict != expected
            || checker.is_up() != model.is_up.unwrap()
            || checker.in_a_row() != model.in_a_row
        {
            return fail(format!(
                "said {verdict:?} instead of {expected:?} after {} in a row",
                model.in_a_row
            ));
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
        let mut checker = Checker::new(Duration::from_secs(2), 2, 3, seed, Duration::ZERO);
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
