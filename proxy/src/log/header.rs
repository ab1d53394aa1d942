//! What stands before a message: its importance, the time, and who says it.

use std::time::SystemTime;

use super::clock::Clock;
use crate::{
    config::{LogTarget, LogWire, Severity},
    http::headers::put_number,
};

/// The header of one target's lines, as far as it is the same for all of them.
#[derive(Clone, Debug)]
pub(super) struct Header {
    wire: LogWire,
    facility: u8,
    /// Behind the time.
    rest: Box<[u8]>,
}

impl Header {
    /// `hostname` is this machine's, `pid` the process that was started.
    pub(super) fn new(target: &LogTarget, hostname: &str, pid: u32) -> Self {
        let (tag, hostname) = (&target.tag, target.hostname.as_deref().unwrap_or(hostname));
        let rest = match target.wire {
            LogWire::Local => format!(" {tag}[{pid}]: "),
            LogWire::Rfc3164 | LogWire::File => format!(" {hostname} {tag}[{pid}]: "),
            LogWire::Rfc5424 => format!(" {hostname} {tag} {pid} - - "),
            LogWire::Timed | LogWire::Iso => " ".to_owned(),
            LogWire::Priority | LogWire::Short | LogWire::Raw => String::new(),
        };
        Self { wire: target.wire, facility: target.facility.code(), rest: rest.into_bytes().into() }
    }

    /// Writes it.
    pub(super) fn put(&self, level: Severity, clock: &Clock, now: SystemTime, out: &mut Vec<u8>) {
        let level = level.code();
        let importance = match self.wire {
            LogWire::Local | LogWire::Rfc3164 | LogWire::Rfc5424 | LogWire::Priority => {
                Some(self.facility * 8 + level)
            }
            LogWire::Short | LogWire::Timed => Some(level),
            LogWire::Iso | LogWire::File | LogWire::Raw => None,
        };
        if let Some(importance) = importance {
            out.push(b'<');
            put_number(importance.into(), out);
            out.push(b'>');
        }
        match self.wire {
            LogWire::Local | LogWire::Rfc3164 | LogWire::File => clock.put_syslog(now, out),
            LogWire::Rfc5424 => {
                out.extend_from_slice(b"1 ");
                clock.put_iso(now, out);
            }
            LogWire::Timed | LogWire::Iso => clock.put_iso(now, out),
            LogWire::Priority | LogWire::Short | LogWire::Raw => {}
        }
        out.extend_from_slice(&self.rest);
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;
    use crate::config::{Facility, LogDestination};

    #[test]
    fn each_form_has_its_header() {
        let local3 = Facility::all().find(|(name, _)| *name == "local3").unwrap().1;
        let header = |wire| {
            let target = LogTarget {
                wire,
                facility: local3,
                tag: "haproxy".to_owned(),
                ..LogTarget::new(LogDestination::File(PathBuf::from("x")))
            };
            let mut out = Vec::new();
            let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_793_660_926_974_005);
            let clock = Clock::default();
            clock.pretend(now, 3_600);
            Header::new(&target, "lb1", 21_202).put(Severity::Alert, &clock, now, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(header(LogWire::Local), "<153>Nov  3 00:08:46 haproxy[21202]: ");
        assert_eq!(header(LogWire::Rfc3164), "<153>Nov  3 00:08:46 lb1 haproxy[21202]: ");
        let iso = "2026-11-03T00:08:46.974005+01:00";
        assert_eq!(header(LogWire::Rfc5424), format!("<153>1 {iso} lb1 haproxy 21202 - - "));
        assert_eq!(header(LogWire::Priority), "<153>");
        assert_eq!(header(LogWire::Short), "<1>");
        assert_eq!(header(LogWire::Timed), format!("<1>{iso} "));
        assert_eq!(header(LogWire::Iso), format!("{iso} "));
        assert_eq!(header(LogWire::File), "Nov  3 00:08:46 lb1 haproxy[21202]: ");
        assert_eq!(header(LogWire::Raw), "");
    }
}
