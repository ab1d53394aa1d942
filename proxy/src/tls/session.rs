//! What the two sides of a connection have agreed on.

use rustls::CipherSuite;

use super::ClientCertificate;
use crate::config::Alpn;

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The name that the client asked for (RFC 6066 §3), in lower case.
    pub server_name: Option<Box<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// As OpenSSL calls it.
    pub cipher: &'static str,
    /// What was agreed on to be spoken (RFC 7301).
    pub alpn: Option<Alpn>,
    /// It went on from an earlier one.
    pub is_resumed: bool,
    /// What the client has shown, in this handshake or in the one that it goes on from.
    pub client: Option<Box<ClientCertificate>>,
}

/// Of TLS 1.3, by OpenSSL's name.
pub const CIPHERSUITES: [&str; 3] = [NAMES[0].1, NAMES[1].1, NAMES[2].1];

/// Of TLS 1.2, by OpenSSL's name.
pub const CIPHERS: [&str; 6] = [NAMES[3].1, NAMES[4].1, NAMES[5].1, NAMES[6].1, NAMES[7].1, NAMES[8].1];

/// Ours, with the names that OpenSSL and so HAProxy have for them.
const NAMES: [(CipherSuite, &str); 9] = [
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305"),
];

pub(super) fn cipher_name(suite: CipherSuite) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == suite).map_or("?", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    #[test]
    fn every_cipher_that_can_be_agreed_on_has_a_name() {
        let suites = &provider().cipher_suites;
        assert_eq!(suites.len(), NAMES.len());
        for suite in suites {
            let name = cipher_name(suite.suite());
            assert_eq!(
                (CIPHERSUITES.contains(&name), CIPHERS.contains(&name)),
                (suite.tls13().is_some(), suite.tls13().is_none()),
                "{suite:?}"
            );
        }
    }
}
