//! Speakers that were lost: in the log, among the events, in the status.

use std::time::Duration;

use super::{
    Daemon,
    clock::Instants,
    journal::{News, Subject},
    problems,
    speaker_link::Loss,
};
use crate::{
    control::{EventKind, Problem, Speaker, SpeakerRestart, Timestamp},
    output::age::age,
    service,
};

/// For so long a loss is told beside what is wrong now.
const NOTED: Duration = Duration::from_secs(3600);

impl Daemon {
    pub(super) fn take_loss(&mut self, loss: &Loss) {
        let at = Instants::now().wall_of(loss.at);
        self.losses.restarts_total += 1;
        let how = format!("it {}", loss.how);
        tracing::warn!(restarts = self.losses.restarts_total, how, "a speaker was lost");
        let node = self.identity.name();
        let subject = Subject { kind: EventKind::Speaker, name: node.to_owned(), group: None };
        let (from, to) = ("lost".to_owned(), "running".to_owned());
        let news = News { at: Some(at), from, to, reason: how, addresses: Vec::new() };
        self.journal.tell(node, subject, news);
        self.losses.last_restart = Some(SpeakerRestart { at, how: loss.how.clone() });
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

/// What has to be known of that for a while.
pub(super) fn note(speaker: &Speaker, now: Timestamp) -> Option<String> {
    let SpeakerRestart { at, how } = speaker.last_restart.as_ref()?;
    let ago = now.saturating_since(*at);
    (ago < NOTED).then(|| {
        let times = match speaker.restarts_total {
            1 => "was restarted".to_owned(),
            many => format!("was restarted {many} times, the last time"),
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
            }),
        };
        let said = |speaker: &Speaker, now| note(speaker, at(now)).unwrap_or_default();
        let once = said(&of(1), "2026-11-28T03:00:12Z");
        let begin = "the speaker was restarted 12 s ago: it was ended by signal 9 (SIGKILL); look at ";
        assert!(once.starts_with(begin), "{once}");
        let often = said(&of(3), "2026-11-28T03:59:59Z");
        let begin = "the speaker was restarted 3 times, the last time 59 m 59 s ago: it was ended by";
        assert!(often.starts_with(begin), "{often}");
        assert_eq!(said(&of(3), "2026-11-28T04:00:00Z"), "");
        assert_eq!(note(&Speaker::default(), at("2026-11-28T03:00:00Z")), None);
    }
}
