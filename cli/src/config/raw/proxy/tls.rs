//! `tls` of a `bind`.

use lb_proxy::{
    config::{Alpn, TlsVersion},
    tls::{CIPHERS, CIPHERSUITES, CURVES},
};

use crate::config::{
    reader::{At, Fields, Value},
    self_signed,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) certificates: Vec<TlsCertificate>,
    pub(crate) strict_sni: bool,
    pub(crate) prefers_client: bool,
    pub(crate) tickets: bool,
    pub(crate) clients: Option<TlsClients>,
    pub(crate) alpn: Option<At<Vec<Alpn>>>,
    pub(crate) spoken: Spoken,
}

/// Versions, ciphers and groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) min_version: Option<At<TlsVersion>>,
    pub(crate) max_version: Option<At<TlsVersion>>,
    pub(crate) ciphers: Option<At<Vec<&'static str>>>,
    pub(crate) ciphersuites: Option<At<Vec<&'static str>>>,
    pub(crate) curves: Option<At<Vec<&'static str>>>,
}

/// What clients are to show.
#[derive(Debug)]
pub(crate) struct TlsClients {
    pub(crate) is_required: bool,
    pub(crate) ca_files: Vec<At<String>>,
    pub(crate) crl_files: Vec<At<String>>,
}

/// A file, or a folder with such files.
#[derive(Debug)]
pub(crate) struct TlsCertificate {
    pub(crate) file: At<String>,
    pub(crate) key: Option<At<String>>,
    /// Names for which it is shown instead of its own.
    pub(crate) sni: Option<Vec<String>>,
}

const EXPECTED: &str = "the path of a certificate with its key, as in \"site.pem\", or { certificate = \"site.crt\", key = \"site.key\" }";
const CERTIFICATE: &str = "the path of a file in PEM, as in \"site.pem\"";
const KEY: &str = "the path of a file in PEM, as in \"site.key\"";
const AUTHORITIES: &str = "the path of a file in PEM, as in \"clients.pem\"";
const NAME: &str = "a name that clients ask for, as in \"www.example.com\" or \"*.example.com\"";

impl Tls {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        if !value.is_table() {
            let certificates = TlsCertificate::read_all(value)?;
            are_of_files_or_made(&certificates, value)?;
            return Some(Self {
                certificates,
                strict_sni: false,
                prefers_client: false,
                tickets: true,
                clients: None,
                alpn: None,
                spoken: Spoken::default(),
            });
        }
        let fields = value.fields("`tls`".into(), EXPECTED)?;
        fields.require("certificate", "certificate = \"site.pem\"");
        let mut certificates: Vec<TlsCertificate> = fields
            .value("certificate")
            .and_then(|value| TlsCertificate::read_all(&value))
            .unwrap_or_default();
        if let Some(key) = fields.string("key", KEY) {
            match &mut *certificates {
                [only @ TlsCertificate { key: None, .. }] => only.key = Some(key),
                [] => {}
                _ => fields.report.error(
                    key.span,
                    "`key` is of one certificate; in a list each has its own: { certificate = \"site.crt\", key = \"site.key\" }",
                ),
            }
        }
        are_of_files_or_made(&certificates, value)?;
        let tls = Self {
            certificates,
            strict_sni: fields.boolean("strict_sni").is_some_and(|strict| strict.value),
            prefers_client: fields.boolean("prefer_client_ciphers").is_some_and(|client| client.value),
            tickets: fields.boolean("tickets").is_none_or(|tickets| tickets.value),
            clients: TlsClients::read(&fields),
            alpn: names(&fields, "alpn", &Alpn::ALL.map(|protocol| (protocol.name(), protocol))),
            spoken: Spoken::read(&fields),
        };
        fields.finish(|_| None);
        Some(tls)
    }
}

impl Spoken {
    pub(super) fn is_empty(&self) -> bool {
        self.min_version.is_none()
            && self.max_version.is_none()
            && self.ciphers.is_none()
            && self.ciphersuites.is_none()
            && self.curves.is_none()
    }

    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let versions = TlsVersion::ALL.map(|version| (version.name(), version));
        Self {
            min_version: fields.choice("min_version", &versions),
            max_version: fields.choice("max_version", &versions),
            ciphers: names(fields, "ciphers", &CIPHERS.map(|name| (name, name))),
            ciphersuites: names(fields, "ciphersuites", &CIPHERSUITES.map(|name| (name, name))),
            curves: names(fields, "curves", &CURVES.map(|name| (name, name))),
        }
    }
}

/// Files of authorities, or of what they have revoked.
pub(crate) fn files_in(fields: &Fields<'_>, key: &'static str) -> Vec<At<String>> {
    let Some(value) = fields.value(key) else { return Vec::new() };
    if value.is_empty_list() {
        value.mismatch(AUTHORITIES);
    }
    value.one_or_list().iter().filter_map(|value| value.string(AUTHORITIES)).collect()
}

impl TlsClients {
    /// `None` where nobody is asked.
    fn read(fields: &Fields<'_>) -> Option<Self> {
        let choices = [("none", None), ("optional", Some(false)), ("required", Some(true))];
        let verify = fields.choice("verify", &choices);
        let (ca_files, crl_files) = (files_in(fields, "ca_file"), files_in(fields, "crl_file"));
        let ca = fields.value("ca_file");
        match (verify, ca) {
            (Some(At { value: Some(_), span }), None) => {
                let message =
                    "verify needs the authorities whose certificates are taken: ca_file = \"clients.pem\"";
                fields.report.error(span, message);
                None
            }
            (Some(At { value: Some(is_required), .. }), Some(_)) => {
                Some(Self { is_required, ca_files, crl_files })
            }
            (None, Some(_)) => Some(Self { is_required: true, ca_files, crl_files }),
            (Some(At { value: None, .. }) | None, ca) => {
                for value in ca.into_iter().chain(fields.value("crl_file")) {
                    let message = "has no effect: clients are asked for certificates by verify = \"required\" or \"optional\" and a ca_file";
                    fields.report.warning(value.span, message);
                }
                None
            }
        }
    }
}

impl TlsCertificate {
    fn read_all(value: &Value<'_>) -> Option<Vec<Self>> {
        if value.is_empty_list() {
            value.mismatch("at least one certificate, as in [\"site.pem\"]");
            return None;
        }
        if !value.is_list() {
            return Some(vec![Self::read(value, EXPECTED)?]);
        }
        let all = value.list(EXPECTED)?;
        Some(all.iter().filter_map(|value| Self::read(value, CERTIFICATE)).collect())
    }

    fn read(value: &Value<'_>, expected: &str) -> Option<Self> {
        if !value.is_table() {
            return Some(Self { file: value.string(expected)?, key: None, sni: None });
        }
        let fields = value.fields("`certificate`".into(), EXPECTED)?;
        fields.require("certificate", "certificate = \"site.pem\"");
        let file = fields.string("certificate", CERTIFICATE);
        let key = fields.string("key", KEY);
        let sni = fields.value("sni").map(|value| {
            let names = value.one_or_list();
            names.iter().filter_map(|name| name.parsed(NAME, server_name)).map(|name| name.value).collect()
        });
        fields.finish(|_| None);
        Some(Self { file: file?, key, sni })
    }
}

/// What lbctl makes itself stands alone, with its key. `None` if it does not, which is told.
fn are_of_files_or_made(all: &[TlsCertificate], value: &Value<'_>) -> Option<()> {
    let Some(made) = all.iter().find(|one| one.file.value == self_signed::WORD) else { return Some(()) };
    let message = match (all, &made.key) {
        (_, Some(_)) => "is made with its key; leave `key` out",
        ([_], None) => return Some(()),
        (_, None) => "is for a listener that has no other certificate; leave it out",
    };
    value.report().error(made.file.span, format!("\"{}\" {message}", self_signed::WORD));
    None
}

/// A list without doubles, in an order that matters.
fn names<T: Copy + PartialEq>(
    fields: &Fields<'_>,
    key: &'static str,
    known: &[(&'static str, T)],
) -> Option<At<Vec<T>>> {
    let value = fields.value(key)?;
    let span = value.span;
    if value.is_empty_list() {
        value.mismatch(&format!("a list, as in [\"{}\"]", known[0].0));
        return None;
    }
    let mut names: Vec<T> = Vec::new();
    for value in value.one_or_list() {
        let Some(name) = value.choice(known) else { continue };
        if names.contains(&name.value) {
            value.wrong("is in the list already; remove one");
        }
        names.push(name.value);
    }
    Some(At::new(names, span))
}

/// In lower case.
fn server_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        !label.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if !labels.split('.').all(is_label) {
        return Err("is no name of a host; a wildcard is its first part, as in \"*.example.com\"".to_owned());
    }
    Ok(name)
}
