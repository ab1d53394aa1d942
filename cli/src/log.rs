//! The log: one line per event on stderr, or to syslog, filtered by `LBCTL_LOG` (`info` by default). A line is a text, or with
//! `log_event_format = "json"` an object (`json.rs`).
//!
//! Under systemd's journal each line carries its priority (`<4>`) and no time, because the journal has both; so it does for
//! syslog, with the name of the program. Lines are written by a thread of their own: a journal that hangs must not hold up the control thread, whose silence would cost
//! the node its address.

use std::{
    fmt,
    os::unix::fs::MetadataExt,
    sync::{PoisonError, RwLock},
};

use lb_proxy::config::EventFormat;

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
        time::FormatTime,
    },
    registry::LookupSpan,
};

mod json;
mod places;
mod syslog;
mod writer;

pub(crate) use places::unwritable;
pub use syslog::listens as syslog_listens;
pub use writer::Flush;

/// The variable with the filter, in the syntax of `tracing_subscriber::EnvFilter`.
pub const FILTER: &str = "LBCTL_LOG";

/// What may change while it runs.
#[derive(Debug)]
struct Settings {
    format: EventFormat,
    /// How this node is called; empty while nobody knows.
    node: String,
}

static SETTINGS: RwLock<Settings> = RwLock::new(Settings { format: EventFormat::Text, node: String::new() });

/// How lines look from now on, and how the node is called that they are of.
pub fn set(format: EventFormat, node: &str) {
    *SETTINGS.write().unwrap_or_else(PoisonError::into_inner) = Settings { format, node: node.to_owned() };
}

/// With the name of the node, if lines are objects.
fn wants_json() -> Option<String> {
    let settings = SETTINGS.read().unwrap_or_else(PoisonError::into_inner);
    (settings.format == EventFormat::Json).then(|| settings.node.clone())
}

/// A line that is written past the log's queue, without its end.
pub fn last_words(message: &str) -> String {
    match wants_json() {
        Some(node) => json::line("crit", "daemon", message, &node, Vec::new()),
        None => format!("lbctl: {message}"),
    }
}

/// About lines that nobody read.
fn lost(lines: u64) -> String {
    let message = format!("{lines} lines of the log are lost: nobody read it");
    match wants_json() {
        Some(node) => json::line("warning", "log", &message, &node, vec![("lines", lines.into())]),
        None => message,
    }
}

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
        let prefix = Some(Prefix { facility: syslog::DAEMON, tag: syslog::tag() });
        builder.event_format(Shape { prefix, format: plain() }).try_init()
    } else if is_journal() {
        let prefix = Some(Prefix { facility: 0, tag: String::new() });
        builder.event_format(Shape { prefix, format: plain() }).try_init()
    } else {
        builder.event_format(Shape { prefix: None, format: Format::default().with_target(false) }).try_init()
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

/// A line.
struct Shape<T> {
    prefix: Option<Prefix>,
    /// Of a text.
    format: Format<tracing_subscriber::fmt::format::Full, T>,
}

/// What systemd's journal (sd-daemon(3)) and syslog want before it.
struct Prefix {
    facility: u8,
    tag: String,
}

impl<S, N, T> FormatEvent<S, N> for Shape<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(Prefix { facility, tag }) = &self.prefix {
            write!(writer, "<{}>{tag}", facility | priority(*event.metadata().level()))?;
        }
        match wants_json() {
            Some(node) => writeln!(writer, "{}", json::event(event, &node)),
            None => self.format.format_event(context, writer, event),
        }
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
