//! The log: one line per event on stderr, or to syslog, filtered by `LBCTL_LOG` (`info` by default).
//!
//! Under systemd's journal each line carries its priority (`<4>`) and no time, because the journal has both; so it does for
//! syslog, with the name of the program. Lines are written by a thread of their own: a journal that hangs must not hold up the control thread, whose silence would cost
//! the node its address.

use std::{fmt, os::unix::fs::MetadataExt};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

mod syslog;
mod writer;

pub use syslog::listens as syslog_listens;
pub use writer::Flush;

/// The variable with the filter, in the syntax of `tracing_subscriber::EnvFilter`.
pub const FILTER: &str = "LBCTL_LOG";

/// Starts the log of a daemon. What is still queued is written when the returned value is dropped.
pub fn start(to_syslog: bool) -> Flush {
    let (filter, complaint) = match std::env::var(FILTER) {
        Ok(text) => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new("info"), Some(format!("{FILTER}={text}: {error}; using `info`"))),
        },
        Err(_) => (EnvFilter::new("info"), None),
    };
    let (writer, flush) = if to_syslog { writer::start_to(syslog::writer()) } else { writer::start() };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    let result = if to_syslog {
        builder
            .event_format(Prefixed { facility: syslog::DAEMON, tag: syslog::tag(), format: plain() })
            .try_init()
    } else if is_journal() {
        builder.event_format(Prefixed { facility: 0, tag: String::new(), format: plain() }).try_init()
    } else {
        builder.event_format(Format::default().with_target(false)).try_init()
    };
    if result.is_err() {
        tracing::debug!("the log was started before");
    }
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    flush
}

fn plain() -> Format<tracing_subscriber::fmt::format::Full, ()> {
    Format::default().without_time().with_level(false).with_target(false)
}

/// systemd sets JOURNAL_STREAM to device and inode of the stream; stderr may have been sent elsewhere since.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// A line as systemd's journal (sd-daemon(3)) and syslog want it.
struct Prefixed {
    facility: u8,
    tag: String,
    format: Format<tracing_subscriber::fmt::format::Full, ()>,
}

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>{}", self.facility | priority(*event.metadata().level()), self.tag)?;
        self.format.format_event(context, writer, event)
    }
}

/// Priorities of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_priorities_of_syslog() {
        assert_eq!(
            [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].map(priority),
            [3, 4, 6, 7, 7]
        );
    }
}
