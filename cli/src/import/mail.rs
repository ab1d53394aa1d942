//! `[notify.NAME]` with `smtp`, whatever it comes from.

use std::time::Duration;

use super::{
    document::{Table, Value, key, pair},
    is_taken,
};
use crate::config::text::write_duration;

/// What others say of mail.
#[derive(Debug)]
pub(super) struct Mail {
    /// Of the table.
    pub(super) name: String,
    /// With its port.
    pub(super) server: String,
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    /// For one mail.
    pub(super) timeout: Option<Duration>,
    /// Of these kinds.
    pub(super) events: Vec<&'static str>,
    /// To these states; all without one.
    pub(super) to: Vec<&'static str>,
    /// Of these alone; all without one.
    pub(super) names: Vec<String>,
    /// Why it goes without TLS.
    pub(super) note: &'static str,
}

impl Mail {
    /// Or what our file does not take of it.
    pub(super) fn table(self) -> Result<Table, String> {
        let list = |list: &[&str]| Value::List(list.iter().map(|one| Value::text(*one)).collect());
        let mut pairs = vec![
            ("smtp", Value::text(self.server)),
            ("security", Value::text("none")),
            ("sender", Value::text(self.sender)),
            ("recipients", Value::List(self.recipients.iter().map(Value::text).collect())),
        ];
        pairs.extend(self.timeout.map(|timeout| ("timeout", Value::text(write_duration(timeout)))));
        pairs.push(("events", list(&self.events)));
        if !self.to.is_empty() {
            pairs.push(("to", list(&self.to)));
        }
        let text: String = pairs.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        is_taken(&format!("[notify.mail]\n{text}"))?;
        if !self.names.is_empty() {
            pairs.push(("names", Value::List(self.names.iter().map(Value::text).collect())));
        }
        let note = |key: &str| (key == "security").then_some(self.note);
        let entries = pairs.into_iter().map(|(key, value)| pair(key, value, note(key)));
        let heading = format!("notify.{}", key(&self.name));
        Ok(Table { heading, comments: Vec::new(), entries: entries.collect() })
    }
}
