//! What speakers say for the log, where they die one after the other: each one says anew what those before it have said, and that must not
//! fill a disk.

use std::collections::BTreeSet;

use lb_vrrp::Moment;

use super::streak::Streak;
use crate::speaker::protocol::LogLevel;

/// Different things that are said in a streak, at most.
const DIFFERENT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Remarks {
    streak: Streak,
    /// Without the numbers that are words of their own.
    said: BTreeSet<String>,
}

impl Remarks {
    /// A speaker was lost.
    pub(super) fn lose(&mut self, now: Moment) {
        if self.streak.take(now) {
            self.said.clear();
        }
    }

    /// How grave what a speaker says is for the log.
    pub(super) fn level(&mut self, now: Moment, level: LogLevel, text: &str) -> LogLevel {
        if level == LogLevel::Debug || self.streak.is_long(now).is_none() {
            return level;
        }
        if self.said.len() < DIFFERENT && self.said.insert(without_figures(text)) {
            level
        } else {
            LogLevel::Debug
        }
    }
}

/// How long and how often differs from speaker to speaker. Names and addresses, which have digits as well, are what it is about.
fn without_figures(text: &str) -> String {
    let is_figure = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    text.split(' ').filter(|word| !is_figure(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn what_each_of_many_speakers_says_is_told_once_and_again_when_they_have_stopped_dying() {
        let mut remarks = Remarks::default();
        let mut told = [0, 0];
        for second in 1..=600 {
            remarks.lose(at(second));
            let texts = [
                (LogLevel::Info, format!("goes on, last advertisement {second} ms ago")),
                (LogLevel::Warn, "a packet from 192.0.2.7 was dropped".to_owned()),
            ];
            for (told, (level, text)) in told.iter_mut().zip(&texts) {
                *told += u32::from(remarks.level(at(second), *level, text) == *level);
            }
        }
        assert_eq!(told, [4, 4]);
        let debug = remarks.level(at(600), LogLevel::Debug, "anything");
        assert_eq!((debug, remarks.said.len()), (LogLevel::Debug, 2));
        // Something else is told at once, also if it is no more than another interface.
        for text in ["no address on eth0", "no address on eth1", "a packet from 192.0.2.78 was dropped"] {
            assert_eq!(remarks.level(at(601), LogLevel::Warn, text), LogLevel::Warn);
        }
        // What has many faces fills nothing either.
        for letter in 'a'..='z' {
            for other in 'a'..='z' {
                remarks.level(at(602), LogLevel::Warn, &format!("{letter}{other}"));
            }
        }
        assert_eq!(remarks.said.len(), DIFFERENT);
        assert_eq!(
            remarks.level(at(900), LogLevel::Info, "goes on, last advertisement 3 ms ago"),
            LogLevel::Info
        );
        remarks.lose(at(900));
        assert_eq!((remarks.streak.count, remarks.said.len()), (1, 0), "another row");
    }
}
