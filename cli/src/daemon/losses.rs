//! Speakers that were lost: in the log, among the events, in the status.

use std::time::Duration;

use lb_vrrp::Moment;
use serde::{Deserialize, Serialize};

use super::{
    Daemon,
    clock::Instants,
    journal::{News, Subject},
    problems,
    speaker_link::{Loss, MANY, Streak},
};
use crate::{
    control::{EventKind, Problem, Speaker, SpeakerRestart, Timestamp},
    output::age::age,
    service,
};

/// For so long a loss is told beside what is wrong now.
const NOTED: Duration = Duration::from_secs(3600);

/// Between two notices of many.
const GATHERED: Duration = Duration::from_secs(60);

/// Speakers that are lost one after the other: who is told of each of them, for as long as that lasts, is flooded. It goes on in the next
/// process of an upgrade.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(super) struct Row {
    #[serde(flatten)]
    streak: Streak,
    /// When somebody was told last, and how many have come since.
    told: Option<Moment>,
    untold: u64,
}

impl Row {
    fn take(&mut self, at: Moment) {
        self.streak.take(at);
        self.untold += 1;
    }

    /// Of how many is to be told now, and in how long a time they came if they are more than one.
    fn news(&mut self, now: Moment) -> Option<(u64, Duration)> {
        let passed = self.told.map_or(Duration::ZERO, |told| now.saturating_since(told));
        if self.untold == 0 || (self.streak.count > MANY && passed < GATHERED) {
            return None;
        }
        self.told = Some(now);
        Some((std::mem::take(&mut self.untold), passed))
    }
}

impl Daemon {
    pub(super) fn take_loss(&mut self, loss: &Loss) {
        self.losses.restarts_total += 1;
        let at = Instants::now().wall_of(loss.at);
        // How one has ended is known a moment after it, when the next one may have failed to start already.
        if self.losses.last_restart.as_ref().is_none_or(|last| last.at <= at) {
            let (how, is_missing) = (loss.how.clone(), loss.is_missing);
            self.losses.last_restart = Some(SpeakerRestart { at, how, is_missing });
        }
        self.row_of_losses.take(loss.at);
        self.tell_losses(loss.at);
    }

    /// Those that are to be told by now.
    pub(super) fn tell_losses(&mut self, now: Moment) {
        let Some((count, within)) = self.row_of_losses.news(now) else { return };
        let Some(SpeakerRestart { at, how, is_missing }) = self.losses.last_restart.clone() else { return };
        let how = words(count, within, &how);
        tracing::warn!(restarts = self.losses.restarts_total, how, "a speaker was lost");
        let node = self.identity.name();
        let subject = Subject { kind: EventKind::Speaker, name: node.to_owned(), group: None };
        let (from, to) = ("lost".to_owned(), if is_missing { "not running" } else { "running" }.to_owned());
        let news = News { at: Some(at), from, to, reason: how, addresses: Vec::new() };
        self.journal.tell(node, subject, news);
    }

    /// Do speakers die again and again?
    pub(super) fn problem_of_losses(&self) -> Option<Problem> {
        let now = Instants::now();
        let (first, count) = self.row_of_losses.streak.is_long(now.moment)?;
        let last = self.losses.last_restart.as_ref()?;
        Some(again_and_again(count, now.wall_of(first), last, now.wall))
    }

    pub(super) fn take_unguarded(&mut self, why: &str) {
        tracing::warn!("nobody takes the addresses of a dead speaker away before its lease ends: {why}");
        self.own_problems.push(unguarded(why, Timestamp::now()));
    }
}

fn unguarded(why: &str, now: Timestamp) -> Problem {
    let look_at = format!(
        "its guard could not be started: {why}. Where a speaker dies and the next one is late, both nodes have its addresses for up to 2.4 s; \
         then: {}",
        service::restart()
    );
    problems::new("nobody takes the addresses of a dead speaker away", now, look_at)
}

/// Of one, or of so many in so long a time.
fn words(count: u64, within: Duration, how: &str) -> String {
    match count {
        1 => format!("it {how}"),
        many => format!("{many} of them in {}, the last one {how}", age(within)),
    }
}

fn again_and_again(count: u64, since: Timestamp, last: &SpeakerRestart, now: Timestamp) -> Problem {
    Problem {
        what: "the speaker dies again and again".to_owned(),
        since: Some(since),
        look_at: format!(
            "{count} times in a row, the last time {} ago: it {}. Another one goes on in its place as soon as it can be started, and one that \
             comes late loses the addresses. After signal 9: who kills it, or is memory short (journalctl -k)? Else look at {}. Until that is mended the \
             other node had better hold the addresses: lbctl drain",
            age(now.saturating_since(last.at)),
            last.how,
            service::log()
        ),
    }
}

/// What has to be known of that for a while.
pub(super) fn note(speaker: &Speaker, now: Timestamp) -> Option<String> {
    let SpeakerRestart { at, how, is_missing } = speaker.last_restart.as_ref()?;
    let ago = now.saturating_since(*at);
    (ago < NOTED).then(|| {
        let times = match (speaker.restarts_total, is_missing) {
            (1, false) => "was restarted".to_owned(),
            (many, false) => format!("was restarted {many} times, the last time"),
            (many, true) => format!("was to be started {many} times, the last time"),
        };
        format!("the speaker {times} {} ago: it {how}; look at {}", age(ago), service::log())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_could_not_be_started_is_a_problem_that_says_what_follows() {
        let at = Timestamp::parse("2026-11-28T03:00:00Z").expect("a timestamp");
        let problem = unguarded("Operation not permitted (os error 1)", at);
        assert_eq!(problem.what, "nobody takes the addresses of a dead speaker away");
        let why = "its guard could not be started: Operation not permitted (os error 1). Where ";
        assert!(problem.look_at.starts_with(why), "{}", problem.look_at);
        assert!(problem.look_at.ends_with(&service::restart()), "{}", problem.look_at);
    }

    #[test]
    fn loss_of_a_speaker_is_told_for_an_hour() {
        let at = |text| Timestamp::parse(text).expect("a timestamp");
        let of = |restarts_total| Speaker {
            restarts_total,
            last_restart: Some(SpeakerRestart {
                at: at("2026-11-28T03:00:00Z"),
                how: "was ended by signal 9 (SIGKILL)".to_owned(),
                is_missing: false,
            }),
            unreadable_total: 0,
        };
        let said = |speaker: &Speaker, now| note(speaker, at(now)).unwrap_or_default();
        let once = said(&of(1), "2026-11-28T03:00:12Z");
        let begin = "the speaker was restarted 12 s ago: it was ended by signal 9 (SIGKILL); look at ";
        assert!(once.starts_with(begin), "{once}");
        let often = said(&of(3), "2026-11-28T03:59:59Z");
        let begin = "the speaker was restarted 3 times, the last time 59 m 59 s ago: it was ended by";
        assert!(often.starts_with(begin), "{often}");
        assert_eq!(said(&of(3), "2026-11-28T04:00:00Z"), "");
        let mut missing = of(3);
        missing.last_restart.as_mut().expect("one").is_missing = true;
        let begin = "the speaker was to be started 3 times, the last time 12 s ago: it ";
        assert!(said(&missing, "2026-11-28T03:00:12Z").starts_with(begin));
        assert_eq!(note(&Speaker::default(), at("2026-11-28T03:00:00Z")), None);
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// How many are told when; the loop looks each second.
    fn told(deaths: impl IntoIterator<Item = u64>, until: u64) -> Vec<(u64, u64)> {
        let (mut row, mut told) = (Row::default(), Vec::new());
        let mut deaths = deaths.into_iter().peekable();
        for now in (0..=until).step_by(100) {
            if deaths.next_if_eq(&now).is_some() {
                row.take(at(now));
            } else if now % 1_000 != 0 {
                continue;
            }
            told.extend(row.news(at(now)).map(|(count, _)| (now, count)));
        }
        told
    }

    #[test]
    fn speakers_that_die_every_second_are_told_one_by_one_at_first_and_gathered_then() {
        // Every 1.1 s for five minutes.
        let told = told((1..=272).map(|number| number * 1_100), 600_000);
        let one_by_one = [(1_100, 1), (2_200, 1), (3_300, 1), (4_400, 1)];
        assert_eq!(told[..4], one_by_one);
        assert_eq!(told.len(), 4 + 5, "{told:?}");
        assert!(told[4..].windows(2).all(|two| two[1].0 - two[0].0 >= 60_000), "{told:?}");
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 272, "each is in a notice");
    }

    #[test]
    fn each_speaker_that_dies_now_and_then_is_told_at_once() {
        let deaths = || (1..=10).map(|number| number * 61_000);
        assert_eq!(told(deaths(), 700_000), deaths().map(|at| (at, 1)).collect::<Vec<_>>());
    }

    #[test]
    fn four_in_a_row_are_a_problem_until_there_is_none_for_five_minutes() {
        let mut row = Row::default();
        for death in [10, 20, 30] {
            row.take(at(death * 1_000));
            assert_eq!(row.streak.is_long(at(death * 1_000)), None);
        }
        row.take(at(40_000));
        assert_eq!(row.streak.is_long(at(40_000)), Some((at(10_000), 4)));
        assert_eq!(row.streak.is_long(at(339_999)), Some((at(10_000), 4)));
        assert_eq!(row.streak.is_long(at(340_000)), None);
        row.take(at(340_000));
        assert_eq!(row.streak.is_long(at(340_000)), None, "another row");
    }

    #[test]
    fn a_row_goes_on_in_the_next_process() {
        let mut row = Row::default();
        for death in 1..=5 {
            row.take(at(death * 1_000));
            let _ = row.news(at(death * 1_000));
        }
        let said = serde_json::to_string(&row).expect("JSON");
        let mut next: Row = serde_json::from_str(&said).expect("a row");
        assert_eq!(next, row);
        assert_eq!(next.streak.is_long(at(6_000)), Some((at(1_000), 5)));
        next.take(at(7_000));
        assert_eq!(next.news(at(7_000)), None, "one of the row is gathered");
        assert_eq!(next.news(at(64_000)), Some((2, Duration::from_secs(60))));
        assert_eq!(serde_json::from_str::<Row>("{}").expect("a program of before"), Row::default());
    }

    #[test]
    fn that_a_speaker_dies_again_and_again_says_how_often_how_and_what_to_do() {
        let at = |text| Timestamp::parse(text).expect("a timestamp");
        let last = SpeakerRestart {
            is_missing: false,
            at: at("2026-11-28T03:05:00Z"),
            how: "was ended by signal 9 (SIGKILL)".to_owned(),
        };
        let problem = again_and_again(54, at("2026-11-28T03:00:00Z"), &last, at("2026-11-28T03:05:02Z"));
        assert_eq!(problem.what, "the speaker dies again and again");
        assert_eq!(problem.since, Some(at("2026-11-28T03:00:00Z")));
        let begin = "54 times in a row, the last time 2 s ago: it was ended by signal 9 (SIGKILL). Another one goes on";
        assert!(problem.look_at.starts_with(begin), "{}", problem.look_at);
        assert!(problem.look_at.ends_with("lbctl drain"), "{}", problem.look_at);
        let gathered = words(54, Duration::from_secs(60), &last.how);
        assert_eq!(gathered, "54 of them in 1 m, the last one was ended by signal 9 (SIGKILL)");
    }
}
