//! Where logs go, with `"global"` resolved, and what frontends say of their traffic.

use lb_proxy::config::{AccessLog, LogFormat, LogTarget, Mode};

use super::backend::value;
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
            LogEntry::Target(target) => Some(target.clone()),
            LogEntry::Global(_) => None,
        })
        .collect()
}

/// Of a frontend in this mode.
pub(super) fn frontend(section: &Section, file: &raw::File, mode: Mode, report: &Report<'_>) -> AccessLog {
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
        ];
        let written = written.into_iter().filter_map(|(key, span)| Some((key, span?)));
        for (key, span) in written.filter(|_| !report.has_errors()) {
            report.warning(span, format!("{key} has no effect without `log`"));
        }
        return AccessLog::default();
    }
    AccessLog {
        format: format(own.format.as_ref(), other.format.as_ref(), &targets, mode, report),
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

/// `log = "global"` in a section, where `[global]` has none; each is reported once.
pub(super) fn check(file: &raw::File, report: &Report<'_>) {
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

fn targets(log: Option<&At<Vec<LogEntry>>>, file: &raw::File) -> Vec<LogTarget> {
    let entries = log.iter().flat_map(|log| &log.value);
    entries
        .flat_map(|entry| match entry {
            LogEntry::Target(target) => vec![target.clone()],
            LogEntry::Global(_) => global(file),
        })
        .collect()
}

const FORMATS: [&str; 3] = ["httplog", "tcplog", "json"];

/// An object without a text of a client's is shorter.
const JSON_LENGTH: u16 = 1024;

fn format(
    own: Option<&At<String>>,
    defaults: Option<&At<String>>,
    targets: &[LogTarget],
    mode: Mode,
    report: &Report<'_>,
) -> LogFormat {
    let ordinary = if mode == Mode::Tcp { LogFormat::Tcp } else { LogFormat::Http };
    let Some(written) = own.or(defaults) else { return ordinary };
    match written.value.as_str() {
        "httplog" if mode == Mode::Tcp && own.is_some() => {
            report.error(written.span, "httplog needs mode = \"http\"; write \"tcplog\"");
            ordinary
        }
        "httplog" => ordinary,
        "tcplog" => LogFormat::Tcp,
        "json" => {
            if targets.iter().any(|target| target.length < JSON_LENGTH) {
                let message = format!(
                    "lines of json need a `length` of at least {JSON_LENGTH}, so that they are whole"
                );
                report.error(written.span, message);
            }
            LogFormat::Json
        }
        other => {
            let hint = text::nearest(other, FORMATS).map(|near| format!("; did you mean \"{near}\"?"));
            let hint = hint.unwrap_or_default();
            report.error(
                written.span,
                format!(
                    "log_format is \"httplog\", \"tcplog\" or \"json\", found \"{}\"{hint}",
                    other.escape_debug()
                ),
            );
            ordinary
        }
    }
}
