//! What a rule says, as our file has it.

use super::Rule;
use crate::import::document::Value;

impl Rule {
    pub(in crate::import::haproxy) fn leads_to_https(&self) -> bool {
        let to = self.does.iter().find(|(key, _)| key == "redirect").map(|(_, value)| value);
        matches!(to, Some(Value::Table(entries)) if entries.contains(&("scheme".to_owned(), Value::text("https"))))
    }

    /// What it names under this key.
    pub(in crate::import::haproxy) fn names(&self, wanted: &str) -> Option<&str> {
        self.does.iter().find_map(|(key, value)| match value {
            Value::Text(name) if key == wanted => Some(name.as_str()),
            _ => None,
        })
    }

    /// Does it keep requests from a server, or responses from a client?
    pub(in crate::import::haproxy) fn stops(&self) -> bool {
        const STOP: [&str; 6] = ["deny", "tarpit", "rate_limit", "require_auth", "redirect", "respond"];
        self.does.iter().any(|(key, _)| STOP.contains(&key.as_str())) && !self.asks_who()
    }

    /// Does it find out who sends a request, and nothing else?
    pub(in crate::import::haproxy) fn asks_who(&self) -> bool {
        self.does.iter().all(|(key, value)| key == "require_auth" && value.get("set_var").is_some())
    }

    /// As our file has it.
    pub(in crate::import::haproxy) fn value(&self) -> Value {
        let mut entries = Vec::new();
        if let Some(when) = self.cond.when() {
            entries.push(("when".to_owned(), when));
        }
        entries.extend(self.does.iter().cloned());
        Value::Table(entries)
    }
}
