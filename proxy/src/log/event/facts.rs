//! What happened, as a sentence and as facts.

use std::{borrow::Cow, time::SystemTime};

use crate::{
    config::Severity,
    log::{clock::Clock, object::Object},
    status::CheckReport,
};

/// Something that a log says besides traffic.
#[derive(Clone, Debug)]
pub struct LogEvent<'a> {
    /// How important it is.
    pub level: Severity,
    /// Of which part of the program it is: `health`, `proxy`, `vrrp`.
    pub source: &'static str,
    /// What it is; programs know it by this.
    pub kind: &'static str,
    /// The line for people.
    pub message: Cow<'a, str>,
    /// The same for programs: other names than those of the members that every event has.
    pub facts: Vec<(&'static str, Fact<'a>)>,
}

/// A value of one.
#[derive(Clone, Debug)]
pub enum Fact<'a> {
    /// Words.
    Text(Cow<'a, str>),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// What belongs together.
    Object(Vec<(&'static str, Fact<'a>)>),
}

impl<'a> Fact<'a> {
    /// Words.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// How a check ended.
    pub(super) fn check(report: &CheckReport) -> Self {
        let mut facts = vec![("code", Self::text(report.code.word()))];
        facts.extend(report.status.map(|status| ("status", Self::Number(status.into()))));
        facts.push(("info", Self::text(report.info.clone())));
        let milliseconds = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX);
        facts.push(("ms", Self::Number(milliseconds)));
        Self::Object(facts)
    }
}

/// No text is longer.
const UNBOUNDED: usize = usize::MAX / 2;

impl LogEvent<'_> {
    /// One object, without header and end, of at most `room` bytes where names and facts leave so much: the message is cut
    /// off first. `level` is what it has at its place.
    pub(in crate::log) fn put_json(
        &self,
        level: Severity,
        node: &str,
        room: usize,
        (clock, now): (&Clock, SystemTime),
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let write = |texts, reserved, out: &mut Vec<u8>| {
            let mut object = Object::new(out, texts, reserved);
            object.begin();
            object.text_with("time", |out| clock.put_iso(now, out));
            object.word_text("level", level.name());
            object.word_text("source", self.source);
            let before = object.room();
            object.text("message", self.message.as_bytes());
            let message = before - object.room();
            object.release(reserved);
            object.word_text("event", self.kind);
            object.text("node", node.as_bytes());
            put_facts(&self.facts, &mut object);
            object.end();
            let texts = texts - object.room();
            (texts, texts - message)
        };
        let (texts, others) = write(UNBOUNDED, 0, out);
        let frame = out.len() - start - texts;
        if frame + texts > room {
            out.truncate(start);
            let texts = room.saturating_sub(frame);
            write(texts, others.min(texts), out);
        }
    }
}

fn put_facts(facts: &[(&'static str, Fact<'_>)], object: &mut Object<'_>) {
    for (name, fact) in facts {
        match fact {
            Fact::Text(text) => object.text(name, text.as_bytes()),
            Fact::Number(number) => object.number(name, *number),
            Fact::Flag(flag) => object.flag(name, *flag),
            Fact::Object(facts) => {
                object.key(name);
                object.begin();
                put_facts(facts, object);
                object.end();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_stays_an_object_whatever_its_room_and_its_message_is_cut_off_first() {
        let event = LogEvent {
            level: Severity::Alert,
            source: "health",
            kind: "server",
            message: "Server \"app\"/web1 is DOWN\u{202e}".into(),
            facts: vec![
                ("backend", Fact::text("app")),
                ("backup", Fact::Flag(false)),
                ("check", Fact::Object(vec![("info", Fact::text("a\nb")), ("ms", Fact::Number(3))])),
                ("active", Fact::Number(1)),
            ],
        };
        let clock = Clock::default();
        let now = SystemTime::UNIX_EPOCH;
        clock.pretend(now, 3_600);
        let line = |room| {
            let mut out = b"header ".to_vec();
            event.put_json(Severity::Warning, "lb1", room, (&clock, now), &mut out);
            String::from_utf8(out.split_off("header ".len())).unwrap()
        };
        let whole = r#"{"time":"1970-01-01T01:00:00.000000+01:00","level":"warning","source":"health","message":"Server \"app\"/web1 is DOWN\u202e","event":"server","node":"lb1","backend":"app","backup":false,"check":{"info":"a\u000ab","ms":3},"active":1}"#;
        assert_eq!(line(500), whole);
        assert_eq!(line(whole.len()), whole);
        for room in 0..whole.len() {
            let line = line(room);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let message = value["message"].as_str().unwrap();
            assert!(line.len() <= room || message.is_empty(), "{room}: {line}");
            assert!(value["check"]["info"] == "a\nb" || message.is_empty(), "{room}: {line}");
        }
    }
}
