//! The keys of our file that a section of HAProxy's comes down to, each with its value and its reason.

use crate::{config::diagnostic::Span, import::document::Value};

/// One key: where it has a meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// `timeout.client`
    pub(super) name: &'static str,
    pub(super) side: Side,
    /// It means nothing in mode tcp.
    pub(super) http: bool,
    /// `[defaults]` takes it.
    pub(super) default: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Frontend,
    Backend,
    Both,
}

const fn key(name: &'static str, side: Side) -> Key {
    Key { name, side, http: false, default: true }
}

const fn http(name: &'static str, side: Side) -> Key {
    Key { name, side, http: true, default: true }
}

/// One that belongs to a single section.
const fn own(key: Key) -> Key {
    Key { default: false, ..key }
}

/// In the order in which they are written.
pub(super) const KEYS: &[Key] = &[
    key("mode", Side::Both),
    key("maxconn", Side::Frontend),
    key("timeout.client", Side::Frontend),
    key("timeout.client_handshake", Side::Frontend),
    own(key("timeout.inspect", Side::Frontend)),
    key("timeout.connect", Side::Backend),
    key("timeout.server", Side::Backend),
    key("timeout.queue", Side::Backend),
    key("timeout.tunnel", Side::Backend),
    http("timeout.tarpit", Side::Frontend),
    http("timeout.http_request", Side::Frontend),
    http("timeout.http_keep_alive", Side::Frontend),
    key("timeout.client_fin", Side::Frontend),
    key("timeout.server_fin", Side::Backend),
    http("forwardfor", Side::Frontend),
    http("forwarded", Side::Both),
    own(http("unique_id", Side::Frontend)),
    own(http("monitor_uri", Side::Frontend)),
    http("statistics", Side::Frontend),
    http("compression", Side::Both),
    http("http_connection", Side::Both),
    key("tcp_keepalive", Side::Both),
    key("splice", Side::Both),
    key("log", Side::Both),
    key("log_format", Side::Frontend),
    key("log_asap", Side::Frontend),
    own(http("capture", Side::Frontend)),
    key("dontlog_normal", Side::Frontend),
    key("log_separate_errors", Side::Frontend),
    key("log_health_checks", Side::Backend),
    key("dontlognull", Side::Frontend),
    http("http_ignore_probes", Side::Frontend),
    http("min_body_rate", Side::Frontend),
    http("wait_for_body", Side::Frontend),
    http("restrict_header_names", Side::Frontend),
    own(key("per_source", Side::Frontend)),
    own(http("ambiguous_path", Side::Frontend)),
    own(key("default_backend", Side::Frontend)),
    key("balance", Side::Backend),
    own(key("hash_type", Side::Backend)),
    key("allbackups", Side::Backend),
    key("source", Side::Backend),
    key("retries", Side::Backend),
    key("redispatch", Side::Backend),
    own(key("retry_on", Side::Backend)),
    own(http("retry_any_method", Side::Backend)),
    key("retry_budget", Side::Backend),
    key("fullconn", Side::Backend),
    key("abortonclose", Side::Backend),
    http("http_reuse", Side::Backend),
    http("server_name_header", Side::Backend),
    own(http("pool.max_requests", Side::Backend)),
    own(http("cookie", Side::Backend)),
    own(key("stick", Side::Backend)),
    key("persist", Side::Backend),
    own(key("slowstart", Side::Backend)),
    own(key("check", Side::Backend)),
    own(key("agent_check", Side::Backend)),
    own(key("observe", Side::Backend)),
    own(key("on_marked_down", Side::Backend)),
];

/// A key that has a value.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) value: Value,
    /// What the reader of our file should know about it.
    pub(super) note: Option<String>,
    /// Where the value comes from; `None` for HAProxy's default.
    pub(super) span: Option<Span>,
}

/// The keys of a section.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    settings: Vec<Setting>,
}

impl Keys {
    /// As a line of the file says.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>, span: Span) {
        self.put(name, value.into(), None, Some(span));
    }

    /// As nothing in the file says.
    pub(super) fn assume(&mut self, name: &'static str, value: impl Into<Value>, note: &str) {
        self.put(name, value.into(), (!note.is_empty()).then(|| note.to_owned()), None);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key.name == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.get(name).map(|setting| &setting.value)
    }

    /// Is it there, and is it this text?
    pub(super) fn is_text(&self, name: &str, text: &str) -> bool {
        matches!(self.value(name), Some(Value::Text(found)) if found == text)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Setting> {
        let at = self.settings.iter().position(|setting| setting.key.name == name)?;
        Some(self.settings.remove(at))
    }

    /// In the order of [`KEYS`].
    pub(super) fn iter(&self) -> impl Iterator<Item = &Setting> {
        KEYS.iter().filter_map(|key| self.get(key.name))
    }

    /// Those on which all of `many` agree.
    pub(super) fn common<'k>(mut many: impl Iterator<Item = &'k Self>) -> Self {
        let Some(first) = many.next() else { return Self::default() };
        let mut settings = first.settings.clone();
        for other in many {
            settings.retain(|setting| other.value(setting.key.name) == Some(&setting.value));
        }
        Self { settings }
    }

    /// Drops what `keep` says no to.
    pub(super) fn retain(&mut self, keep: impl Fn(&Setting) -> bool) {
        self.settings.retain(keep);
    }

    fn put(&mut self, name: &'static str, value: Value, note: Option<String>, span: Option<Span>) {
        let Some(key) = KEYS.iter().find(|key| key.name == name).copied() else {
            debug_assert!(false, "{name} is not in KEYS");
            return;
        };
        let setting = Setting { key, value, note, span };
        match self.settings.iter_mut().find(|setting| setting.key.name == name) {
            Some(old) => *old = setting,
            None => self.settings.push(setting),
        }
    }
}
