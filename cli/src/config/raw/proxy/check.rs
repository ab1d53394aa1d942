//! `check`: how servers are probed.

use std::time::Duration;

use super::super::POSITIVE;
use crate::config::reader::{At, Fields, Value};

/// `check`.
#[derive(Debug)]
pub(crate) enum Check {
    /// `check = false`.
    Off,
    /// `check = true` or a table.
    On(Box<CheckSettings>),
}

/// The keys of the table.
#[derive(Debug, Default)]
pub(crate) struct CheckSettings {
    /// `tcp = true`: a connection is enough, whatever `[defaults]` says.
    pub(crate) tcp: bool,
    pub(crate) http: Option<HttpCheck>,
    pub(crate) interval: Option<At<Duration>>,
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) rise: Option<At<u32>>,
    pub(crate) fall: Option<At<u32>>,
}

/// `check.http`.
#[derive(Debug)]
pub(crate) struct HttpCheck {
    pub(crate) method: Option<At<&'static str>>,
    pub(crate) path: Option<At<String>>,
    pub(crate) host: Option<At<String>>,
}

const EXPECTED: &str = "false, true or a table, as in check = { interval = \"2s\" }";
const METHODS: [(&str, &str); 3] = [("GET", "GET"), ("HEAD", "HEAD"), ("OPTIONS", "OPTIONS")];

impl Check {
    pub(super) fn read(value: &Value<'_>, section: &str) -> Option<At<Self>> {
        let check = match value.as_bool() {
            Some(false) => Self::Off,
            Some(true) => Self::On(Box::default()),
            None => Self::On(Box::new(CheckSettings::read(
                value.fields(format!("`check` of {section}"), EXPECTED)?,
            ))),
        };
        Some(At::new(check, value.span))
    }
}

impl CheckSettings {
    fn read(fields: Fields<'_>) -> Self {
        let tcp = fields.boolean("tcp");
        let http = fields.fields("http", "a table, as in http = { path = \"/health\" }");
        if let Some(tcp) = &tcp {
            if !tcp.value {
                fields
                    .report
                    .error(tcp.span, "tcp is true or left out; for no check at all write check = false");
            } else if http.is_some() {
                fields.report.error(tcp.span, "a check is `tcp` or `http`, not both; remove one");
            }
        }
        let settings = Self {
            tcp: tcp.is_some(),
            http: http.map(HttpCheck::read),
            interval: fields.duration("interval", Duration::from_millis(50)..=Duration::from_secs(86_400)),
            timeout: fields.duration("timeout", POSITIVE),
            rise: fields.integer("rise", 1..=1000),
            fall: fields.integer("fall", 1..=1000),
        };
        fields.finish(|key| match key {
            "inter" => Some("write interval = \"2s\"".into()),
            "method" | "path" | "host" => Some(format!("write http = {{ {key} = .. }}")),
            _ => None,
        });
        settings
    }
}

impl HttpCheck {
    fn read(fields: Fields<'_>) -> Self {
        let check = Self {
            method: fields.choice("method", &METHODS),
            path: fields.value("path").and_then(|value| value.parsed("a path, as in \"/health\"", path)),
            host: fields
                .value("host")
                .and_then(|value| value.parsed("the value of Host, as in \"example.com\"", host)),
        };
        fields.finish(|_| None);
        check
    }
}

/// Origin-form (RFC 9112 §3.2.1).
fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("does not begin with `/`; write \"/{}\"", text.escape_debug()));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(bad) => Err(format!("has the character `{}`; encode it as %XX", bad.escape_debug())),
        None if text.len() > 2048 => Err("is longer than 2048 bytes".into()),
        None => Ok(text.to_owned()),
    }
}

/// uri-host [ ":" port ] (RFC 9110 §7.2).
fn host(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]%".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        return Err("is no value of Host; write a name, as in \"example.com\"".into());
    }
    Ok(text.to_owned())
}
