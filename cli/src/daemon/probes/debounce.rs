//! How many looks, or how long a state, it takes until something counts. Pure.

use std::time::Duration;

use lb_vrrp::Moment;

use super::Outcome;
use crate::config::model::Subject;

/// See the module.
#[derive(Debug)]
pub(super) struct Debounce {
    rule: Rule,
    /// As it counts; `None` at first.
    passes: Option<bool>,
    /// Since when looks say the opposite, and how many have.
    other: Option<(Moment, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    /// In a row.
    Looks { rise: u32, fall: u32 },
    /// For so long.
    Time { up: Duration, down: Duration },
}

impl Debounce {
    pub(super) fn of(subject: &Subject) -> Self {
        Self::new(match subject {
            Subject::Interface { up_delay, down_delay, .. } => {
                Rule::Time { up: *up_delay, down: *down_delay }
            }
            Subject::Address { pace, .. } | Subject::Command { pace, .. } => {
                Rule::Looks { rise: pace.rise, fall: pace.fall }
            }
            Subject::File { .. } => Rule::Looks { rise: 1, fall: 1 },
        })
    }

    fn new(rule: Rule) -> Self {
        Self { rule, passes: None, other: None }
    }

    /// Whether it passes, as it counts after this look; `None` while that is not known. A look that says nothing changes nothing, and
    /// where nothing was ever said it passes: what can't be looked at must not keep a node from serving.
    pub(super) fn take(&mut self, now: Moment, outcome: &Outcome) -> Option<bool> {
        let found = match outcome {
            Outcome::Passed => true,
            Outcome::Failed(_) => false,
            Outcome::Unknown(_) => {
                self.other = None;
                return Some(*self.passes.get_or_insert(true));
            }
        };
        if self.passes == Some(found) || (self.passes.is_none() && found) {
            // The first good news is good enough: a node that starts waits for nothing else.
            (self.passes, self.other) = (Some(found), None);
            return self.passes;
        }
        let (since, looks) = self.other.map_or((now, 1), |(since, looks)| (since, looks + 1));
        self.other = Some((since, looks));
        let counts = match (self.rule, found) {
            (Rule::Looks { rise, .. }, true) => looks >= rise,
            (Rule::Looks { fall, .. }, false) => looks >= fall,
            (Rule::Time { up, .. }, true) => now.saturating_since(since) >= up,
            (Rule::Time { down, .. }, false) => now.saturating_since(since) >= down,
        };
        if counts {
            (self.passes, self.other) = (Some(found), None);
        }
        self.passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + milliseconds * 1_000_000)
    }

    /// `+`, `-` and `?` are looks, one each 100 ms; the answer has `.` for what is not known.
    fn story(rule: Rule, looks: &str) -> String {
        let mut debounce = Debounce::new(rule);
        let each = looks.chars().enumerate().map(|(index, look)| {
            let outcome = match look {
                '+' => Outcome::Passed,
                '-' => Outcome::Failed("no answer".to_owned()),
                _ => Outcome::Unknown("no right to it".to_owned()),
            };
            match debounce.take(at(100 * index as u64), &outcome) {
                Some(true) => '+',
                Some(false) => '-',
                None => '.',
            }
        });
        each.collect()
    }

    #[test]
    fn rise_and_fall_are_looks_in_a_row() {
        let rule = Rule::Looks { rise: 2, fall: 3 };
        assert_eq!(story(rule, "+--+---+-++-"), "++++++----++");
        assert_eq!(story(rule, "---+"), "..--", "the first failures are counted as well");
        assert_eq!(story(rule, "-+"), ".+", "and the first success is not");
    }

    #[test]
    fn delays_are_of_an_unbroken_state() {
        let rule = Rule::Time { up: Duration::from_millis(300), down: Duration::from_millis(200) };
        assert_eq!(story(rule, "+--+---++-++++"), "++++++-------+");
        let at_once = Rule::Time { up: Duration::ZERO, down: Duration::ZERO };
        assert_eq!(story(at_once, "-+-"), "-+-");
    }

    #[test]
    fn what_says_nothing_changes_nothing_and_fails_nobody() {
        let rule = Rule::Looks { rise: 2, fall: 3 };
        assert_eq!(story(rule, "???"), "+++");
        assert_eq!(story(rule, "+--?--?---"), "+++++++++-", "it breaks a row");
        assert_eq!(story(rule, "---??+?+++"), "..------++");
    }
}
