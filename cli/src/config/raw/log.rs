//! `log`, of the process and of every kind of section, and what frontends say of their traffic.

mod capture;

use std::path::Path;

use lb_proxy::config::{Capture, Facility, LogDestination, LogSample, LogTarget, LogWire, Severity};

use crate::config::{
    diagnostic::Span,
    reader::{At, Fields, Value},
    text,
};

/// One entry of `log`.
#[derive(Clone, Debug)]
pub(crate) enum LogEntry {
    /// What `[global]` has.
    Global(Span),
    Target(LogTarget),
}

/// `log_format` and what else a frontend says of its log.
#[derive(Debug, Default)]
pub(crate) struct TrafficLog {
    pub(crate) format: Option<At<String>>,
    pub(crate) asap: Option<At<bool>>,
    pub(crate) dontlog_normal: Option<At<bool>>,
    pub(crate) separate_errors: Option<At<bool>>,
    pub(crate) capture: Option<At<Capture>>,
}

/// Keys of [`TrafficLog`].
pub(crate) const TRAFFIC_KEYS: [&str; 5] =
    ["log_format", "log_asap", "dontlog_normal", "log_separate_errors", "capture"];

/// Forms of the header, by the names that HAProxy has for them; `file` is ours.
pub(crate) const WIRES: [(&str, LogWire); 9] = [
    ("local", LogWire::Local),
    ("rfc3164", LogWire::Rfc3164),
    ("rfc5424", LogWire::Rfc5424),
    ("priority", LogWire::Priority),
    ("short", LogWire::Short),
    ("timed", LogWire::Timed),
    ("iso", LogWire::Iso),
    ("file", LogWire::File),
    ("raw", LogWire::Raw),
];

const LOG: &str =
    "a table, as in { syslog = \"127.0.0.1:514\", facility = \"local0\" }, \"stdout\", \"stderr\" or false";
const SECTION_LOG: &str = "a table, as in { syslog = \"127.0.0.1:514\", facility = \"local0\" }, \"global\", \"stdout\", \"stderr\" or false";
const SYSLOG: &str = "an address, as in \"127.0.0.1:514\", or a socket, as in \"/dev/log\"";
const FILE: &str = "a whole path, as in \"/var/log/lbctl/access.log\"";

/// Where a log goes: an empty list for `false`. `global` says that this is `[global]` itself.
pub(crate) fn log(fields: &Fields<'_>, global: bool) -> Option<At<Vec<LogEntry>>> {
    let value = fields.value("log")?;
    let span = value.span;
    if value.as_bool() == Some(false) {
        return Some(At::new(Vec::new(), span));
    }
    let expected = if global { LOG } else { SECTION_LOG };
    if value.is_empty_list() {
        value.mismatch(expected);
    }
    let entries = value.one_or_list();
    let entry = |value: &Value<'_>| match value.as_str() {
        Some("global") if !global => Some(LogEntry::Global(value.span)),
        Some("stdout") => Some(LogEntry::Target(LogTarget::new(LogDestination::Stdout))),
        Some("stderr") => Some(LogEntry::Target(LogTarget::new(LogDestination::Stderr))),
        Some(text) => {
            match place(text) {
                Some(table) => value.report_at(value.span, &format!("a log is a table: log = {table}")),
                None => value.mismatch(expected),
            }
            None
        }
        _ => target(value, expected).map(LogEntry::Target),
    };
    Some(At::new(entries.iter().filter_map(entry).collect(), span))
}

/// What somebody means who writes a place where a table is expected.
fn place(text: &str) -> Option<String> {
    let is_socket = matches!(text::syslog(text), Ok(LogDestination::Unix(_))) && text.starts_with("/dev/");
    let key = match text::syslog(text) {
        Ok(LogDestination::Udp(_) | LogDestination::UdpName { .. }) => "syslog",
        _ if is_socket => "syslog",
        _ if Path::new(text).is_absolute() => "file",
        _ => return None,
    };
    let is_plain = text.chars().all(|one| !one.is_control() && one != '"' && one != '\\');
    is_plain.then(|| format!("{{ {key} = \"{text}\" }}"))
}

fn target(value: &Value<'_>, expected: &str) -> Option<LogTarget> {
    let fields = value.fields("`log`".into(), expected)?;
    let mut places = Vec::new();
    if let Some(syslog) = fields.value("syslog") {
        places.push((syslog.span, syslog.parsed(SYSLOG, text::syslog).map(|at| at.value)));
    }
    if let Some(file) = fields.value("file") {
        let path = file.parsed(FILE, |text| match Path::new(text) {
            path if path.is_absolute() && !text.ends_with('/') => Ok(path.to_owned()),
            _ => Err(format!("is not {FILE}")),
        });
        places.push((file.span, path.map(|at| LogDestination::File(at.value))));
    }
    for (key, to) in [("stdout", LogDestination::Stdout), ("stderr", LogDestination::Stderr)] {
        if let Some(standard) = fields.value(key) {
            let wanted = standard.boolean();
            if wanted.is_some_and(|wanted| !wanted.value) {
                standard.report_at(standard.span, &format!("{key} = false says nothing; leave it out"));
            }
            places.push((standard.span, wanted.map(|_| to)));
        }
    }
    let to = match places.as_slice() {
        [] => {
            let message = "`log` names no place; write syslog = \"127.0.0.1:514\", file = \"/var/log/lbctl/access.log\" or stdout = true";
            fields.report.error(value.span, message);
            None
        }
        [(_, to)] => to.clone(),
        [_, (span, _), ..] => {
            fields.report.error(*span, "a log goes to one place; write a list of tables for several");
            None
        }
    };
    // What it is does not matter where it is not known: nothing is handed out then.
    let mut target = LogTarget::new(to.clone().unwrap_or(LogDestination::Stdout));
    let facilities: Vec<_> = Facility::all().collect();
    set(&mut target.wire, fields.choice("format", &WIRES));
    let (facility, min_level) =
        (fields.choice("facility", &facilities), fields.choice("min_level", &Severity::ALL));
    let tag = fields.value("tag").and_then(|value| value.parsed("a word, as in \"haproxy\"", tag));
    let hostname =
        fields.value("hostname").and_then(|value| value.parsed("a word, as in \"lb1\"", hostname_of));
    let shown = Shown::by(target.wire);
    let spans = [
        ("facility", shown.facility, facility.as_ref().map(|at| at.span)),
        ("min_level", shown.level, min_level.as_ref().map(|at| at.span)),
        ("tag", shown.tag, tag.as_ref().map(|at| at.span)),
        ("hostname", shown.hostname, hostname.as_ref().map(|at| at.span)),
    ];
    for (key, is_shown, span) in spans {
        if let Some(span) = span.filter(|_| !is_shown) {
            let (form, _) = WIRES.iter().find(|(_, wire)| *wire == target.wire).unwrap_or(&WIRES[0]);
            let message = format!("{key} has no effect: lines in the format \"{form}\" don't show it");
            fields.report.warning(span, message);
        }
    }
    set(&mut target.facility, facility);
    set(&mut target.level, fields.choice("level", &Severity::ALL));
    set(&mut target.min_level, min_level);
    set(&mut target.tag, tag);
    target.hostname = hostname.map(|at| at.value);
    let length = fields.measured("length", 80..=65_535, "bytes").and_then(|at| u16::try_from(at.value).ok());
    target.length = length.unwrap_or(target.length);
    let sample =
        fields.value("sample").and_then(|value| value.parsed("ranges and a size, as in \"1:10\"", sample));
    target.sample = sample.map(|at| at.value);
    fields.finish(|key| {
        (key == "address" || key == "to" || key == "target")
            .then(|| "write `syslog`, `file`, `stdout` or `stderr`".into())
    });
    to.map(|_| target)
}

/// What of a target stands before its messages.
struct Shown {
    facility: bool,
    level: bool,
    tag: bool,
    hostname: bool,
}

impl Shown {
    fn by(wire: LogWire) -> Self {
        let (facility, level, tag) = match wire {
            LogWire::Local | LogWire::Rfc3164 | LogWire::Rfc5424 => (true, true, true),
            LogWire::Priority => (true, true, false),
            LogWire::Short | LogWire::Timed => (false, true, false),
            LogWire::File => (false, false, true),
            LogWire::Iso | LogWire::Raw => (false, false, false),
        };
        let hostname = matches!(wire, LogWire::Rfc3164 | LogWire::Rfc5424 | LogWire::File);
        Self { facility, level, tag, hostname }
    }
}

fn set<T>(known: &mut T, written: Option<At<T>>) {
    if let Some(written) = written {
        *known = written.value;
    }
}

/// RFC 5424 §6.2.5, without what would end it in the older form.
fn tag(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !b"[]:".contains(&byte);
    if text.is_empty() || text.len() > 48 || !text.bytes().all(is_fine) {
        return Err("is no tag; write 1..48 printable characters without blanks, `[`, `]` and `:`".into());
    }
    Ok(text.to_owned())
}

/// RFC 5424 §6.2.4
fn hostname_of(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("is no name of a machine; write 1..255 printable characters without blanks".into());
    }
    Ok(text.to_owned())
}

/// `1,8-9:11`
fn sample(text: &str) -> Result<LogSample, String> {
    let wrong = || "is no sample; write ranges and a size, as in \"1:10\" or \"1,8-9:11\"".to_owned();
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
    let (ranges, of) = text.split_once(':').ok_or_else(wrong)?;
    let of = number(of).ok_or_else(wrong)?;
    let mut next = 1;
    let mut taken = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        if first < next || last < first || last > of {
            return Err(format!("has ranges that are not in order, or go beyond {of}"));
        }
        next = last + 1;
        taken.push(first..=last);
    }
    Ok(LogSample { ranges: taken.into(), of })
}

impl TrafficLog {
    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        Self {
            format: fields.string(
                "log_format",
                "\"httplog\", \"tcplog\", \"clf\", \"json\" or a text with placeholders",
            ),
            asap: fields.boolean("log_asap"),
            dontlog_normal: fields.boolean("dontlog_normal"),
            separate_errors: fields.boolean("log_separate_errors"),
            capture: capture::read(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_as_haproxy_reads_them() {
        let read = |text| sample(text).map(|sample| (sample.ranges.to_vec(), sample.of));
        assert_eq!(read("1:10"), Ok((vec![1..=1], 10)));
        assert_eq!(read("1,8-9:11"), Ok((vec![1..=1, 8..=9], 11)));
        for wrong in ["", "1", ":", "1:", "0:3", "1:0", "2-1:3", "1-4:3", "2,1:3", "1-2,2:3", "1-:3", "a:3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
