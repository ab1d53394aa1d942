//! `tls` of servers.

use lb_proxy::{
    config::{ServerVerify, Sni},
    tls::PeerName,
};

use super::tls::{Spoken, files_in};
use crate::config::reader::{At, Fields, Value};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerTls {
    pub(crate) verify: Option<At<ServerVerify>>,
    pub(crate) ca_files: Vec<At<String>>,
    pub(crate) crl_files: Vec<At<String>>,
    pub(crate) sni: Option<At<Sni>>,
    pub(crate) verify_name: Option<At<PeerName>>,
    pub(crate) alpn: Option<At<Vec<Box<str>>>>,
    pub(crate) certificate: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) spoken: Spoken,
}

/// What a server is told that a request asks for.
pub(crate) const OF_HOST: &str = "{request.host}";

const EXPECTED: &str = "true, false or a table, as in { ca_file = \"ca.pem\" }";
const VERIFY: &str = "true, false or \"chain\"";
const SNI: &str = "a name, as in \"app.example.com\", \"{request.host}\" or false";
const NAME: &str = "a name that the certificate has, as in \"app.example.com\"";
const ALPN: &str = "names of protocols, as in [\"http/1.1\"]";
const CERTIFICATE: &str = "the path of a file in PEM, as in \"client.pem\"";

/// `None` inside is `false`.
pub(super) fn read(fields: &Fields<'_>, key: &'static str) -> Option<At<Option<ServerTls>>> {
    let value = fields.value(key)?;
    let tls = match value.as_bool() {
        Some(true) => Some(ServerTls::default()),
        Some(false) => None,
        None => Some(ServerTls::read(&value, key)?),
    };
    Some(At::new(tls, value.span))
}

impl ServerTls {
    /// Is it `true`, or an empty table?
    pub(crate) fn is_empty(&self) -> bool {
        let Self { verify, ca_files, crl_files, sni, verify_name, alpn, certificate, key, spoken } = self;
        verify.is_none()
            && ca_files.is_empty()
            && crl_files.is_empty()
            && sni.is_none()
            && verify_name.is_none()
            && alpn.is_none()
            && certificate.is_none()
            && key.is_none()
            && spoken.is_empty()
    }

    fn read(value: &Value<'_>, key: &str) -> Option<Self> {
        let fields = value.fields(format!("`{key}`"), EXPECTED)?;
        let tls = Self {
            verify: fields.value("verify").and_then(|value| verify(&value)),
            ca_files: files_in(&fields, "ca_file"),
            crl_files: files_in(&fields, "crl_file"),
            sni: fields.value("sni").and_then(|value| sni(&value)),
            verify_name: fields.value("verify_name").and_then(|value| value.parsed(NAME, name)),
            alpn: fields.value("alpn").and_then(alpn),
            certificate: fields.string("certificate", CERTIFICATE),
            key: fields.string("key", CERTIFICATE),
            spoken: Spoken::read(&fields),
        };
        if let (Some(key), None) = (&tls.key, &tls.certificate) {
            fields.report.error(
                key.span,
                "`key` is that of a certificate; write certificate = \"client.pem\" as well",
            );
        }
        fields.finish(|key| match key {
            "verifyhost" | "name" => Some("write verify_name = \"app.example.com\"".into()),
            "crt" => Some("write certificate = \"client.pem\"".into()),
            _ => None,
        });
        Some(tls)
    }
}

fn verify(value: &Value<'_>) -> Option<At<ServerVerify>> {
    let verify = match (value.as_bool(), value.as_str()) {
        (Some(true), _) => ServerVerify::All,
        (Some(false), _) => ServerVerify::Nothing,
        (None, Some("chain")) => ServerVerify::Chain,
        (None, _) => {
            value.mismatch(VERIFY);
            return None;
        }
    };
    Some(At::new(verify, value.span))
}

fn sni(value: &Value<'_>) -> Option<At<Sni>> {
    match (value.as_bool(), value.as_str()) {
        (Some(false), _) => Some(At::new(Sni::Nothing, value.span)),
        (None, Some(OF_HOST)) => Some(At::new(Sni::OfHost, value.span)),
        (None, Some(_)) => value.parsed(SNI, |text| name(text).map(Sni::Name)),
        (Some(true) | None, _) => {
            value.mismatch(SNI);
            None
        }
    }
}

/// `check_sni` of a server.
pub(super) fn check_sni(fields: &Fields<'_>) -> Option<At<PeerName>> {
    fields.value("check_sni")?.parsed(NAME, name)
}

fn name(text: &str) -> Result<PeerName, String> {
    PeerName::new(text).ok_or_else(|| "is no name of a host".to_owned())
}

fn alpn(value: Value<'_>) -> Option<At<Vec<Box<str>>>> {
    let span = value.span;
    let mut names: Vec<Box<str>> = Vec::new();
    for value in value.one_or_list() {
        let is_name = |text: &str| match text.len() {
            1..=255 => Ok(text.into()),
            _ => Err("is no name of a protocol: it has 1 to 255 bytes".to_owned()),
        };
        names.extend(value.parsed(ALPN, is_name).map(|name| name.value));
    }
    Some(At::new(names, span))
}
