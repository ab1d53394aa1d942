//! `tls` of a `bind`.

use lb_proxy::config::TlsVersion;

use crate::config::reader::{At, Value};

/// See the module.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) min_version: Option<At<TlsVersion>>,
    pub(crate) max_version: Option<At<TlsVersion>>,
}

const EXPECTED: &str = "the path of a certificate with its key, as in \"site.pem\", or { certificate = \"site.crt\", key = \"site.key\" }";
const CERTIFICATE: &str = "the path of a file in PEM, as in \"site.pem\"";
const KEY: &str = "the path of a file in PEM, as in \"site.key\"";

impl Tls {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        if !value.is_table() {
            let certificate = Some(value.string(EXPECTED)?);
            return Some(Self { certificate, key: None, min_version: None, max_version: None });
        }
        let fields = value.fields("`tls`".into(), EXPECTED)?;
        fields.require("certificate", "certificate = \"site.pem\"");
        let versions = TlsVersion::ALL.map(|version| (version.name(), version));
        let tls = Self {
            certificate: fields.string("certificate", CERTIFICATE),
            key: fields.string("key", KEY),
            min_version: fields.choice("min_version", &versions),
            max_version: fields.choice("max_version", &versions),
        };
        fields.finish(|_| None);
        Some(tls)
    }
}
