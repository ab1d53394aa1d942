//! Where logs go, with `"global"` resolved, and what frontends say of their traffic.

use lb_proxy::{
    config::{AccessLog, Capture, EventFormat, LogFormat, LogTarget, Mode},
    sample::{Names, Place, Stage, Text},
};

use super::{backend::value, template};
use crate::config::{
    diagnostic::Report,
    raw::{self, LogEntry, Section},
    reader::At,
    text,
};

/// That of `[global]`.
pub(super) fn global(file: &raw::File) -> Vec<LogTarget> {
    let entries = file.global.log.iter().flat_map(|log| &log.value);
    entries
        .filter_map(|entry| match entry {
            LogEntry::Target(target) => Some(complete(target, file)),
            LogEntry::Global(_) => None,
        })
        .collect()
}

/// Of a frontend in this mode.
pub(super) fn frontend(
    section: &Section,
    file: &raw::File,
    mode: Mode,
    names: &Names,
    report: &Report<'_>,
) -> AccessLog {
    let defaults = &file.defaults;
    let targets = targets(section.log.as_ref().or(defaults.log.as_ref()), file);
    let (own, other) = (&section.traffic_log, &defaults.traffic_log);
    if targets.is_empty() {
        // One that could not be read is an error elsewhere.
        let written = [
            ("log_format", own.format.as_ref().map(|at| at.span)),
            ("log_asap", own.asap.map(|at| at.span)),
            ("dontlog_normal", own.dontlog_normal.map(|at| at.span)),
            ("log_separate_errors", own.separate_errors.map(|at| at.span)),
            ("capture", own.capture.as_ref().map(|at| at.span)),
        ];
        let written = written.into_iter().filter_map(|(key, span)| Some((key, span?)));
        for (key, span) in written.filter(|_| !report.has_errors()) {
            report.warning(span, format!("{key} has no effect without `log`; write log = \"global\""));
        }
        // What is wrong with it is wrong before anybody logs.
        let inherited = other.format.as_ref().filter(|_| mode == Mode::Http);
        format(own.format.as_ref(), inherited, &targets, mode, names, report);
        return AccessLog::default();
    }
    let format = format(own.format.as_ref(), other.format.as_ref(), &targets, mode, names, report);
    AccessLog {
        capture: capture(own.capture.as_ref(), other.capture.as_ref(), &format, mode, report),
        format,
        targets,
        asap: value(&own.asap, &other.asap).unwrap_or(false),
        dontlog_normal: value(&own.dontlog_normal, &other.dontlog_normal).unwrap_or(false),
        separate_errors: value(&own.separate_errors, &other.separate_errors).unwrap_or(false),
    }
}

/// Of a backend: that of the process, unless the file says otherwise.
pub(super) fn backend(section: &Section, file: &raw::File) -> Vec<LogTarget> {
    match section.log.as_ref().or(file.defaults.log.as_ref()) {
        Some(log) => targets(Some(log), file),
        None => global(file),
    }
}

/// `log = "global"` in a section, where `[global]` has none; each is reported once. So is a line too short for an object.
pub(super) fn check(file: &raw::File, report: &Report<'_>) {
    check_lengths(file, report);
    if file.global.log.as_ref().is_some_and(|log| !log.value.is_empty()) {
        return;
    }
    let sections = file.sections.iter().map(|section| &section.value);
    let logs = std::iter::once(&file.defaults).chain(sections).filter_map(|section| section.log.as_ref());
    for entry in logs.flat_map(|log| &log.value) {
        if let LogEntry::Global(span) = entry {
            report.error(
                *span,
                "[global] has no `log`; write one there, as in log = { syslog = \"127.0.0.1:514\" }",
            );
        }
    }
}

fn check_lengths(file: &raw::File, report: &Report<'_>) {
    let Some(format) = file.global.log_event_format.filter(|at| at.value == EventFormat::Json) else {
        return;
    };
    let sections = file.sections.iter().filter_map(|section| section.value.log.as_ref());
    let logs = file.global.log.iter().chain(&file.defaults.log).chain(sections);
    let is_short = |entry: &LogEntry| match entry {
        LogEntry::Target(target) => target.length < JSON_LENGTH,
        LogEntry::Global(_) => false,
    };
    if logs.flat_map(|log| &log.value).any(is_short) {
        report.error(format.span, too_short());
    }
}

fn too_short() -> String {
    format!("lines of json need a `length` of at least {JSON_LENGTH}, so that they are whole")
}

fn targets(log: Option<&At<Vec<LogEntry>>>, file: &raw::File) -> Vec<LogTarget> {
    let entries = log.iter().flat_map(|log| &log.value);
    entries
        .flat_map(|entry| match entry {
            LogEntry::Target(target) => vec![complete(target, file)],
            LogEntry::Global(_) => global(file),
        })
        .collect()
}

/// With what `[global]` says of all.
fn complete(target: &LogTarget, file: &raw::File) -> LogTarget {
    let events = file.global.log_event_format.map_or(target.events, |at| at.value);
    LogTarget { events, ..target.clone() }
}

/// Those that have a name.
const FORMATS: [&str; 4] = ["httplog", "tcplog", "clf", "json"];

/// An object without a text of a client's is shorter.
const JSON_LENGTH: u16 = 1024;

fn format(
    own: Option<&At<String>>,
    defaults: Option<&At<String>>,
    targets: &[LogTarget],
    mode: Mode,
    names: &Names,
    report: &Report<'_>,
) -> LogFormat {
    let ordinary = if mode == Mode::Tcp { LogFormat::Tcp } else { LogFormat::Http };
    let Some(written) = own.or(defaults) else { return ordinary };
    match written.value.as_str() {
        http @ ("httplog" | "clf") if mode == Mode::Tcp => {
            // In `[defaults]` it is meant for the others.
            if own.is_some() {
                report.error(written.span, format!("{http} needs mode = \"http\"; write \"tcplog\""));
            }
            ordinary
        }
        "httplog" => ordinary,
        "clf" => LogFormat::Clf,
        "tcplog" => LogFormat::Tcp,
        "json" => {
            if targets.iter().any(|target| target.length < JSON_LENGTH) {
                report.error(written.span, too_short());
            }
            LogFormat::Json
        }
        text if text.contains(['{', '}']) => {
            let stage = if mode == Mode::Tcp { Stage::Connection } else { Stage::Response };
            let place = Place { stage, backend: true, text: Text::Log, names };
            // In `[defaults]` it is looked at for each frontend that has no other.
            let template = template::parse(written, &place, report);
            template.map_or(ordinary, LogFormat::Template)
        }
        other => {
            report.error(written.span, no_format(other));
            ordinary
        }
    }
}

fn no_format(written: &str) -> String {
    let near = text::nearest(written, FORMATS).map(|near| format!("; did you mean \"{near}\"?"));
    let hint = near.unwrap_or_else(|| match written.contains('%') {
        true => "; docs/templates.md has the placeholder for each %-word of HAProxy's".to_owned(),
        false => String::new(),
    });
    format!(
        "log_format is \"httplog\", \"tcplog\", \"clf\", \"json\" or a text with placeholders, as in \
         \"{{client.ip}} {{log.status}}\", found \"{}\"{hint}",
        written.escape_debug()
    )
}

/// What is captured, if a line shows it.
fn capture(
    own: Option<&At<Capture>>,
    defaults: Option<&At<Capture>>,
    format: &LogFormat,
    mode: Mode,
    report: &Report<'_>,
) -> Capture {
    let is_shown = mode == Mode::Http && format.shows_captures();
    match own {
        Some(own) if mode == Mode::Tcp => {
            report.error(own.span, "capture needs mode = \"http\"; in mode tcp there are no headers");
        }
        Some(own) if !is_shown && !report.has_errors() => {
            let message =
                "capture has no effect with this log_format, which shows neither headers nor cookies";
            report.warning(own.span, message);
        }
        _ => {}
    }
    own.or(defaults).filter(|_| is_shown).map(|at| at.value.clone()).unwrap_or_default()
}
