//! How a speaker was lost, in words.

use std::{fmt, io, os::unix::process::ExitStatusExt, process::ExitStatus, sync::Arc};

use lb_vrrp::Moment;
use nix::sys::signal::Signal;

/// As the task that keeps it sees it, which does not wait for more before it starts another one.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// It has ended by itself: how that was seen.
    Ended(&'static str),
    /// It was killed here, because it was or did that.
    Killed(String),
    /// There was none.
    NotStarted(Arc<io::Error>),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(how) => f.write_str(how),
            Self::Killed(why) => write!(f, "{why} and was killed"),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
        }
    }
}

/// A speaker that another one was started for, or could not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    /// When that was seen.
    pub at: Moment,
    /// In words, with the speaker for a subject: `was ended by signal 9 (SIGKILL)`.
    pub how: String,
    /// None was there: it could not be started.
    pub is_missing: bool,
}

impl Loss {
    /// `ended` is what the kernel says of the process, where this one may know.
    pub(super) fn new(at: Moment, lost: &Lost, ended: Option<ExitStatus>) -> Self {
        let how = match (lost, ended) {
            (Lost::Ended(_), Some(status)) => in_words(status),
            (lost, _) => lost.to_string(),
        };
        Self { at, how, is_missing: matches!(lost, Lost::NotStarted(_)) }
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("was ended by signal {signal} ({name})"),
            Err(_) => format!("was ended by signal {signal}"),
        },
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_says_what_the_kernel_knows_and_what_was_seen_else() {
        let how = |lost: Lost, status: Option<i32>| {
            Loss::new(Moment::from_nanos(0), &lost, status.map(ExitStatus::from_raw)).how
        };
        assert_eq!(how(Lost::Ended("died"), Some(9)), "was ended by signal 9 (SIGKILL)");
        assert_eq!(how(Lost::Ended("died"), Some(40)), "was ended by signal 40");
        assert_eq!(how(Lost::Ended("closed its end"), Some(1 << 8)), "ended with 1");
        // Another process's child.
        assert_eq!(how(Lost::Ended("died"), None), "died");
        let frozen = Lost::Killed("was frozen (last heartbeat 312 ms ago)".to_owned());
        assert_eq!(how(frozen, Some(9)), "was frozen (last heartbeat 312 ms ago) and was killed");
    }
}
