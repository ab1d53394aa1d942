//! Certificates for tests, and configurations with them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use lb_proxy::{
    Config,
    config::{Alpn, Mode, Tls, TlsFiles, TlsVersion},
    sample::base64,
    tls::{Certificate, Certificates, Shown},
};
use rcgen::{CertificateParams, KeyPair};

use crate::rig;

/// Of `name`, signed by itself.
pub(crate) fn certificate(name: &str) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let text = pem("CERTIFICATE", signed.der()) + &pem("PRIVATE KEY", &key.serialize_der());
    Certificate::from_pem(text.as_bytes(), None).unwrap()
}

/// In lines of 64 characters, as RFC 7468 §2 wants them.
pub(crate) fn pem(kind: &str, der: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode(der, &mut text);
    let lines: Vec<u8> = text.chunks(64).flat_map(|line| [line, b"\n"].concat()).collect();
    format!("-----BEGIN {kind}-----\n{}-----END {kind}-----\n", String::from_utf8(lines).unwrap())
}

/// With this certificate and every version.
pub(crate) fn tls(certificate: Certificate) -> Tls {
    several(vec![certificate])
}

/// With these.
pub(crate) fn several(certificates: Vec<Certificate>) -> Tls {
    Tls {
        files: vec![TlsFiles { certificate: "site.pem".into(), key: None, names: None }],
        certificates: Arc::new(Certificates::new(certificates.into_iter().map(shown).collect())),
        strict_sni: false,
        curves: Vec::new(),
        prefers_client: false,
        tickets: true,
        clients: None,
        alpn: vec![Alpn::Http11, Alpn::Http10],
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
        ciphers: Vec::new(),
        ciphersuites: Vec::new(),
    }
}

pub(crate) fn shown(certificate: Certificate) -> Shown {
    Shown { file: "site.pem".into(), certificate, names: None }
}

/// [`rig::config`] with TLS for a.example.
pub(crate) fn config(mode: Mode, servers: &[SocketAddr]) -> Config {
    let mut config = rig::config(mode, servers);
    set(&mut config, tls(certificate("a.example")));
    config
}

/// The first frontend speaks TLS like this.
pub(crate) fn set(config: &mut Config, tls: Tls) {
    config.frontends[0].tls = BTreeMap::from([(0, Arc::new(tls))]);
}
