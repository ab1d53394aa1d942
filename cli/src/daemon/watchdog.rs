//! Tells systemd that the service is well (`WatchdogSec=`), and only while it is: from one time to the next every worker has
//! answered and the speaker's heart has beaten. The loop itself tells it, so one that hangs tells nothing. If systemd is told
//! nothing for so long, it kills the daemon and starts another one. By then the other node has had the addresses for long.

use std::time::Duration;

use lb_vrrp::Moment;

use super::{Daemon, speaker_link::SpeakerHandle, systemd};

/// How often it is told in the time that systemd waits.
const TIMES: u32 = 4;

/// What moves while all is well.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    /// In which all workers have answered.
    rounds: u64,
    /// The speaker's last one; `None`: there is to be no speaker.
    beat: Option<Moment>,
}

/// What to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Well,
    /// Nothing, because of that.
    Nothing(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Duration,
    next: Moment,
    seen: Signs,
}

impl Watchdog {
    /// The one that systemd wants. `succeeds`: this process takes the place of one that it wanted it of.
    pub(super) fn find(now: Moment, succeeds: bool) -> Option<Self> {
        Some(Self::new(now, systemd::watchdog_limit(succeeds)?))
    }

    fn new(now: Moment, limit: Duration) -> Self {
        let every = limit / TIMES;
        Self { every, next: now + every, seen: Signs::default() }
    }

    pub(super) fn poll_timeout(&self) -> Moment {
        self.next
    }

    fn handle_timeout(&mut self, now: Moment, signs: Signs) -> Option<Word> {
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        if signs.rounds <= self.seen.rounds {
            return Some(Word::Nothing("a worker has not answered"));
        }
        if signs.beat.is_some_and(|beat| Some(beat) <= self.seen.beat) {
            return Some(Word::Nothing("the speaker has not moved"));
        }
        self.seen = signs;
        Some(Word::Well)
    }
}

impl Daemon {
    pub(super) fn feed_watchdog(&mut self, now: Moment) {
        // A speaker that is to end, or that another process has, is none.
        let speaker = self.speaker.as_ref().filter(|_| self.stop.is_none());
        let signs = Signs { rounds: self.proxy.rounds(), beat: speaker.map(SpeakerHandle::last_beat) };
        match self.watchdog.as_mut().and_then(|watchdog| watchdog.handle_timeout(now, signs)) {
            Some(Word::Well) => systemd::notify("WATCHDOG=1"),
            Some(Word::Nothing(why)) => tracing::warn!("systemd is not told that all is well: {why}"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    fn signs(rounds: u64, beat: u64) -> Signs {
        Signs { rounds, beat: Some(at(beat)) }
    }

    fn watchdog() -> Watchdog {
        Watchdog::new(at(1_000), Duration::from_secs(2))
    }

    #[test]
    fn it_is_fed_four_times_in_its_time_while_everything_moves() {
        let mut watchdog = watchdog();
        assert_eq!(watchdog.poll_timeout(), at(1_500));
        assert_eq!(watchdog.handle_timeout(at(1_499), signs(2, 1_450)), None);
        assert_eq!(watchdog.handle_timeout(at(1_500), signs(2, 1_450)), Some(Word::Well));
        assert_eq!(watchdog.handle_timeout(at(1_501), signs(2, 1_450)), None);
        assert_eq!(watchdog.handle_timeout(at(2_100), signs(3, 2_050)), Some(Word::Well));
        assert_eq!(watchdog.poll_timeout(), at(2_600));
    }

    #[test]
    fn it_is_not_fed_while_a_worker_or_the_speaker_stands_still_and_fed_again_afterwards() {
        let mut watchdog = watchdog();
        assert_eq!(watchdog.handle_timeout(at(1_500), signs(2, 1_450)), Some(Word::Well));
        let worker = Some(Word::Nothing("a worker has not answered"));
        assert_eq!(watchdog.handle_timeout(at(2_000), signs(2, 1_950)), worker);
        assert_eq!(watchdog.handle_timeout(at(2_500), signs(2, 2_450)), worker);
        let speaker = Some(Word::Nothing("the speaker has not moved"));
        assert_eq!(watchdog.handle_timeout(at(3_000), signs(4, 1_450)), speaker);
        assert_eq!(watchdog.handle_timeout(at(3_500), signs(5, 3_450)), Some(Word::Well));
    }

    #[test]
    fn proxy_alone_needs_no_speaker_and_a_new_one_counts_from_its_first_heartbeat() {
        let mut watchdog = watchdog();
        assert_eq!(watchdog.handle_timeout(at(1_500), Signs { rounds: 1, beat: None }), Some(Word::Well));
        assert_eq!(watchdog.handle_timeout(at(2_000), signs(2, 1_990)), Some(Word::Well));
    }
}
