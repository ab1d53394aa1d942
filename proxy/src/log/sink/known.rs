//! What a process knows of a place, for the one that takes its place.

use std::{sync::atomic::Ordering, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{Message, Sink};
use crate::status::LogProblem;

/// What was written to it, and since when it is broken.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct KnownLog {
    written_total: u64,
    lost_total: u64,
    #[serde(default)]
    place: Option<Broken>,
    /// Its name does not resolve.
    #[serde(default)]
    name: Option<Broken>,
    /// Nobody took the last line.
    #[serde(default)]
    is_refused: bool,
    /// How many lost lines the log itself tells of.
    #[serde(default)]
    told: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Broken {
    what: String,
    since: SystemTime,
}

impl From<LogProblem> for Broken {
    fn from(LogProblem { what, since }: LogProblem) -> Self {
        Self { what, since }
    }
}

impl From<&Broken> for LogProblem {
    fn from(Broken { what, since }: &Broken) -> Self {
        Self { what: what.clone(), since: *since }
    }
}

impl Sink {
    /// For the next process.
    pub(in crate::log) fn known(&self) -> KnownLog {
        let shared = &self.link.shared;
        let stuck = shared.stuck();
        let known = shared.known();
        KnownLog {
            written_total: shared.written.load(Ordering::Relaxed),
            lost_total: shared.lost.load(Ordering::Relaxed),
            place: known.problem.clone().or(stuck).map(Broken::from),
            name: known.name_problem.clone().map(Broken::from),
            is_refused: known.is_refused,
            told: known.told,
        }
    }

    /// Begins with what the process before knew. Before the first line.
    pub(in crate::log) fn restore(&self, before: &KnownLog) {
        let shared = &self.link.shared;
        shared.written.store(before.written_total, Ordering::Relaxed);
        shared.lost.store(before.lost_total, Ordering::Relaxed);
        let mut known = shared.known();
        known.problem = before.place.as_ref().map(LogProblem::from);
        known.name_problem = before.name.as_ref().map(LogProblem::from);
        (known.is_refused, known.told) = (before.is_refused, before.told);
        // The queue is empty.
        let _ = self.link.queue.try_send(Message::Restored { is_broken: before.place.is_some() });
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        config::{LogDestination, LogTarget},
        log::{
            header::Header,
            sink::{Shared, Writer},
        },
    };

    fn long_ago(what: &str) -> LogProblem {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        LogProblem { what: what.to_owned(), since }
    }

    /// The thread's half for a place that was broken in this way in the process before.
    fn broken(to: &LogDestination, problem: &LogProblem) -> Writer {
        let shared = Arc::new(Shared::new());
        shared.known().problem = Some(problem.clone());
        let header = Header::new(&LogTarget::new(to.clone()), "lb1", 1);
        let mut writer = Writer::new(to, header, shared);
        writer.restore(true);
        writer
    }

    #[test]
    fn full_disk_is_full_since_the_process_before_until_a_line_is_written() {
        let before = long_ago("the disk is full");
        let mut writer = broken(&LogDestination::File("/dev/full".into()), &before);
        let problem = |writer: &Writer| writer.shared.known().problem.clone();
        // It can be opened, as it could all the time.
        writer.look();
        assert_eq!(problem(&writer), Some(before.clone()));
        assert_eq!(writer.write_once(b"a line\n"), 0);
        assert_eq!(problem(&writer), Some(before));
        let mut writer = broken(&LogDestination::File("/dev/null".into()), &long_ago("the disk is full"));
        writer.look();
        assert!(problem(&writer).is_some());
        writer.write_once(b"a line\n");
        assert_eq!(problem(&writer), None);
    }

    #[test]
    fn folder_that_was_missing_for_the_process_before_is_well_once_it_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("logs/access.log");
        let before = long_ago("there is no such file or folder");
        let mut writer = broken(&LogDestination::File(file), &before);
        writer.look();
        assert_eq!(writer.shared.known().problem, Some(before));
        std::fs::create_dir(folder.path().join("logs")).expect("made");
        writer.look();
        assert_eq!(writer.shared.known().problem, None);
    }
}
