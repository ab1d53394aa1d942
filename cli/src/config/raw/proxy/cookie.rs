//! `cookie`: clients stay with the server that their cookie names.

use std::{ops::RangeInclusive, time::Duration};

use lb_proxy::config::{CookieMode, SameSite};

use crate::config::{
    diagnostic::Span,
    reader::{At, Fields, Value},
};

#[derive(Clone, Debug)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) mode: CookieMode,
    pub(crate) indirect: bool,
    pub(crate) nocache: bool,
    pub(crate) postonly: bool,
    pub(crate) preserve: bool,
    pub(crate) httponly: bool,
    pub(crate) secure: bool,
    pub(crate) samesite: Option<SameSite>,
    pub(crate) domain: Option<String>,
    pub(crate) maxidle: Option<Duration>,
    pub(crate) maxlife: Option<Duration>,
}

const EXPECTED: &str = "a table, as in cookie = { name = \"SRV\", indirect = true }";
const MODES: [(&str, CookieMode); 4] = [
    ("insert", CookieMode::Insert),
    ("rewrite", CookieMode::Rewrite),
    ("prefix", CookieMode::Prefix),
    ("passive", CookieMode::Passive),
];
const SAME_SITES: [(&str, SameSite); 3] =
    [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];

/// A cookie keeps moments in steps of 4 s.
const AGE: RangeInclusive<Duration> = Duration::from_secs(4)..=Duration::from_secs(10 * 365 * 86_400);

/// Options of a cookie that we make ourselves.
const OF_INSERT: [&str; 8] =
    ["nocache", "postonly", "httponly", "secure", "samesite", "domain", "maxidle", "maxlife"];

impl Cookie {
    pub(super) fn read(value: &Value<'_>) -> Option<At<Self>> {
        let mut fields = value.fields("`cookie`".into(), EXPECTED)?;
        fields.span = value.span;
        fields.require("name", "name = \"SRV\"");
        let name =
            fields.value("name").and_then(|name| name.parsed("the name of a cookie, as in \"SRV\"", name_of));
        let mode = fields.choice("mode", &MODES).map_or(CookieMode::Insert, |mode| mode.value);
        let flag = |key| fields.boolean(key).is_some_and(|flag| flag.value);
        let age = |key| fields.duration(key, AGE).map(|age| age.value);
        let cookie = Self {
            name: name.map(|name| name.value).unwrap_or_default(),
            mode,
            indirect: flag("indirect"),
            nocache: flag("nocache"),
            postonly: flag("postonly"),
            preserve: flag("preserve"),
            httponly: flag("httponly"),
            secure: flag("secure"),
            samesite: fields.choice("samesite", &SAME_SITES).map(|at| at.value),
            domain: fields
                .value("domain")
                .and_then(|value| value.parsed("a domain, as in \"example.com\"", domain))
                .map(|at| at.value),
            maxidle: age("maxidle"),
            maxlife: age("maxlife"),
        };
        cookie.check(&fields);
        fields.finish(|key| match key {
            "same_site" | "SameSite" => Some("write samesite = \"lax\"".into()),
            "dynamic" | "attr" => Some("there is no such option here".into()),
            "path" => Some("it is always /".into()),
            _ => None,
        });
        Some(At::new(cookie, value.span))
    }

    fn check(&self, fields: &Fields<'_>) {
        let span = |key: &'static str| -> Option<Span> { fields.value(key).map(|value| value.span) };
        if self.mode != CookieMode::Insert {
            for key in OF_INSERT {
                if let Some(span) = span(key) {
                    let message =
                        format!("{key} is of a cookie that is made here; it needs mode = \"insert\"");
                    fields.report.error(span, message);
                }
            }
        }
        if let Some(at) = span("indirect").filter(|_| self.indirect && self.mode == CookieMode::Rewrite) {
            let message = "a cookie that is rewritten comes from the server; indirect would remove it";
            fields.report.error(at, message);
        }
        let alone = self.preserve && !self.indirect && self.mode != CookieMode::Insert;
        if let Some(at) = span("preserve").filter(|_| alone) {
            fields.report.error(at, "preserve needs mode = \"insert\" or indirect = true");
        }
        if let Some(at) = span("samesite").filter(|_| self.samesite == Some(SameSite::None) && !self.secure) {
            fields.report.warning(at, "browsers refuse samesite = \"none\" without secure = true");
        }
    }
}

/// The value of a server's cookie.
pub(super) fn value(value: &Value<'_>) -> Option<At<String>> {
    value.parsed("the value of a cookie, as in \"web1\"", |text| {
        // RFC 6265 §4.1.1: cookie-octet, without what separates our own parts.
        let is_octet = |c: char| c.is_ascii_graphic() && !"\",;\\|~".contains(c);
        match text.chars().find(|&c| !is_octet(c)) {
            _ if text.is_empty() => Err("is empty; write a value, as in \"web1\"".into()),
            Some(bad) => Err(format!("has the character `{}`, which no value may have", bad.escape_debug())),
            None if text.len() > 64 => Err("is longer than 64 characters".into()),
            None => Ok(text.to_owned()),
        }
    })
}

/// A token (RFC 6265 §4.1.1). One that begins with `$` would be an attribute.
pub(crate) fn name_of(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#%&'*+-.^_`|~$".contains(c);
    match text.chars().find(|&c| !is_token(c)) {
        _ if text.is_empty() => Err("is empty; write a name, as in \"SRV\"".into()),
        _ if text.starts_with('$') => Err("begins with `$`, as no cookie may".into()),
        Some(bad) => Err(format!("has the character `{}`, which no name may have", bad.escape_debug())),
        None if text.len() > 64 => Err("is longer than 64 characters".into()),
        None => Ok(text.to_owned()),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if text.len() > 255 || !name.split('.').all(is_label) {
        return Err("is no domain; write a name, as in \"example.com\"".into());
    }
    Ok(text.to_owned())
}
