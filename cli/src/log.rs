//! The log: one line per event on stderr, or to syslog, filtered by `LBCTL_LOG` (`info` by default).
//!
//! Under systemd's journal each line carries its priority (`<4>`) and no time, because the journal has both; so it does for
//! syslog, with the name of the program. Lines are written by a thread of their own: a journal that hangs must not hold up the control thread, whose silence would cost
//! the node its address.

use std::{fmt, os::unix::fs::MetadataExt};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
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
        Ok(text) => match filter(&text) {
            Ok(filter) => (filter, None),
            Err(why) => (EnvFilter::new("info"), Some(format!("{FILTER}={text}: {why}; using `info`"))),
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

/// A word that is no level is the name of a crate to `EnvFilter`, which leaves out all others: a level with a typo would
/// be silence.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let crates = ["lbctl", "lb_proxy", "lb_vrrp"];
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains(['=', '[']));
    for word in words {
        let is_known = crates.iter().any(|name| word == *name || word.starts_with(&format!("{name}::")));
        if word.parse::<LevelFilter>().is_err() && !is_known {
            return Err(format!("`{word}` is no level; levels are error, warn, info, debug, trace and off"));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
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

    #[test]
    fn a_level_with_a_typo_is_no_silence() {
        for text in ["debug", "info,lb_proxy=debug", "warn, lb_vrrp::io", "off", "lbctl[run]=trace", ""] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for (text, word) in
            [("debgu", "debgu"), ("info,lb_prox", "lb_prox"), ("verbose,lb_proxy=debug", "verbose")]
        {
            let why = filter(text).expect_err(text);
            assert_eq!(
                why,
                format!("`{word}` is no level; levels are error, warn, info, debug, trace and off")
            );
        }
    }
}
