//! Where a log goes, and what a line of it says.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf};

use crate::sample::{LogFact, Template};

/// One place that lines are sent to (HAProxy `log`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogTarget {
    /// Where.
    pub to: LogDestination,
    /// What stands before the message.
    pub wire: LogWire,
    /// Of syslog.
    pub facility: Facility,
    /// Less important messages are left out.
    pub level: Severity,
    /// More important messages are sent as this one (HAProxy `minlevel`).
    pub min_level: Severity,
    /// Bytes of a line with its header; what is longer is cut off. 80..=65535.
    pub length: u16,
    /// How the program is called; printable ASCII without blanks, brackets and colons.
    pub tag: String,
    /// This machine's name in headers that have one; `None` for its own.
    pub hostname: Option<String>,
    /// Some of many lines; `None` takes all.
    pub sample: Option<LogSample>,
    /// What a line says that is not about traffic.
    pub events: EventFormat,
}

/// How servers, proxies and addresses are told of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EventFormat {
    /// In HAProxy's words.
    #[default]
    Text,
    /// One JSON object. Its target has a length of 1024 and more.
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum LogDestination {
    /// A syslog server over UDP.
    Udp(SocketAddr),
    /// The same by name.
    UdpName {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A datagram socket of this machine, as `/dev/log`.
    Unix(PathBuf),
    /// Lines are appended; made if it is not there, opened anew when told to.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What stands before a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogWire {
    /// `<134>Nov 22 08:08:47 lbctl[21202]: `, what HAProxy sends if nothing else is said.
    Local,
    /// RFC 3164: the same with this machine's name.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// `<134>`
    Priority,
    /// `<6>`: the level alone, as systemd's journal wants it.
    Short,
    /// `<6>2026-11-22T08:08:47.974000+01:00 `
    Timed,
    /// `2026-11-22T08:08:47.974000+01:00 `
    Iso,
    /// `Nov 22 08:08:47 lb1 lbctl[21202]: `, what syslog daemons write to their files.
    File,
    /// Nothing.
    Raw,
}

/// A facility of syslog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facility(u8);

/// How important a message is (RFC 5424 section 6.2.1), the most important first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The system is unusable.
    Emergency,
    /// Somebody has to act at once.
    Alert,
    /// Critical.
    Critical,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Ordinary and worth to be known.
    Notice,
    /// Traffic.
    Info,
    /// For who looks for a fault.
    Debug,
}

/// Which lines of how many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogSample {
    /// In order, apart from each other, within 1..=`of`.
    pub ranges: Box<[RangeInclusive<u32>]>,
    /// They are counted up to this, then from 1 again.
    pub of: u32,
}

/// What a frontend logs of its traffic.
#[derive(Clone, Debug, Default)]
pub struct AccessLog {
    /// None logs nothing.
    pub targets: Vec<LogTarget>,
    /// What a line says.
    pub format: LogFormat,
    /// The line is written when the head of the response is here (tcp: when the server is connected), with a `+` before
    /// what is not known yet (HAProxy `option logasap`).
    pub asap: bool,
    /// Only what went wrong, was tried again or ended with 5xx (HAProxy `option dontlog-normal`).
    pub dontlog_normal: bool,
    /// What went wrong is sent with level err (HAProxy `option log-separate-errors`).
    pub separate_errors: bool,
    /// What its lines have of headers and cookies.
    pub capture: Capture,
}

/// Headers and a cookie that are kept for the log, as they come (HAProxy `capture`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Capture {
    /// Of requests.
    pub request_headers: Vec<CapturedHeader>,
    /// Of responses of servers.
    pub response_headers: Vec<CapturedHeader>,
    /// Of requests and responses.
    pub cookie: Option<CapturedCookie>,
}

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CapturedHeader {
    /// Its name.
    pub name: String,
    /// Bytes of the value; the rest is cut off.
    pub length: u16,
}

/// Which cookie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CapturedCookie {
    /// Its name.
    pub name: String,
    /// The name only begins so.
    pub is_prefix: bool,
    /// Bytes of `NAME=value`; the rest is cut off.
    pub length: u16,
}

/// What a line about traffic says.
#[derive(Clone, Debug, Default)]
pub enum LogFormat {
    /// HAProxy's `option httplog`.
    #[default]
    Http,
    /// HAProxy's `option tcplog`.
    Tcp,
    /// One JSON object. Its targets have a length of 1024 and more.
    Json,
    /// HAProxy's `option httplog clf`.
    Clf,
    /// A text of the file's own, with placeholders.
    Template(Template),
}

impl LogFormat {
    /// Does a line have what is captured of headers or cookies?
    pub fn shows_captures(&self) -> bool {
        match self {
            Self::Http | Self::Clf | Self::Json => true,
            Self::Tcp => false,
            Self::Template(template) => template.says(&[
                LogFact::HeadersRequest,
                LogFact::HeadersResponse,
                LogFact::CookieRequest,
                LogFact::CookieResponse,
            ]),
        }
    }
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp",
    "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

impl Facility {
    /// That of this process itself, unless the file says otherwise.
    pub const LOCAL0: Self = Self(16);

    /// All of them, by the names that HAProxy has for them.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        FACILITIES.iter().copied().zip((0..).map(Self))
    }

    /// 0..=23
    pub fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FACILITIES.get(usize::from(self.0)).copied().unwrap_or_default())
    }
}

impl Severity {
    /// All of them, by the names that HAProxy has for them.
    pub const ALL: [(&'static str, Self); 8] = [
        ("emerg", Self::Emergency),
        ("alert", Self::Alert),
        ("crit", Self::Critical),
        ("err", Self::Error),
        ("warning", Self::Warning),
        ("notice", Self::Notice),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    /// 0..=7
    pub fn code(self) -> u8 {
        self as u8
    }

    /// `alert`
    pub fn name(self) -> &'static str {
        Self::ALL[usize::from(self.code())].0
    }
}

impl LogTarget {
    /// One with every default of the configuration file.
    pub fn new(to: LogDestination) -> Self {
        let (wire, length) = match to {
            LogDestination::Udp(_) | LogDestination::UdpName { .. } | LogDestination::Unix(_) => {
                (LogWire::Local, 1024)
            }
            // Nobody limits lines there.
            LogDestination::File(_) => (LogWire::File, u16::MAX),
            LogDestination::Stdout | LogDestination::Stderr => (LogWire::Raw, u16::MAX),
        };
        Self {
            to,
            wire,
            facility: Facility::LOCAL0,
            level: Severity::Debug,
            min_level: Severity::Emergency,
            length,
            tag: "lbctl".to_owned(),
            hostname: None,
            sample: None,
            events: EventFormat::Text,
        }
    }
}

impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp {address}"),
            Self::UdpName { host, port } => write!(f, "udp {host}:{port}"),
            Self::Unix(path) => write!(f, "socket {}", path.display()),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
        }
    }
}

impl LogSample {
    /// Is the line with this number, counted from 0, one of those?
    pub(crate) fn takes(&self, number: u64) -> bool {
        let number = u32::try_from(number % u64::from(self.of.max(1))).unwrap_or(0) + 1;
        self.ranges.iter().any(|range| range.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_and_levels_have_the_numbers_of_syslog() {
        let code = |name: &str| Facility::all().find(|(known, _)| *known == name).unwrap().1.code();
        assert_eq!(["kern", "daemon", "local0", "local3", "local7"].map(code), [0, 3, 16, 19, 23]);
        assert!(Facility::all().all(|(name, facility)| facility.to_string() == name));
        assert_eq!(Severity::ALL.map(|(_, level)| level.code()), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn samples_take_the_numbers_of_their_ranges_round_by_round() {
        let sample = LogSample { ranges: [1..=1, 3..=4].into(), of: 5 };
        let taken: Vec<u64> = (0..12).filter(|&number| sample.takes(number)).collect();
        assert_eq!(taken, [0, 2, 3, 5, 7, 8, 10]);
    }
}
