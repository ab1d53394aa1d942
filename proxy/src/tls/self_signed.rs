//! A certificate that nobody has to get: made here and signed by itself, for a lab. A client can verify it only where somebody has
//! told it which one it is.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Longer than any process with it runs.
const LIFETIME: Duration = DAY.saturating_mul(3650);

/// A clock that is behind ours by less takes it for valid.
const EARLIER: Duration = DAY;

/// What it was made for, and what came of it, so that another process can go on with it. `Debug` does not show the key.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct SelfSigned {
    names: Vec<String>,
    /// In DER.
    certificate: Vec<u8>,
    /// PKCS #8, in DER.
    key: Vec<u8>,
}

impl SelfSigned {
    /// For names of hosts and IP addresses, with a new key (ECDSA P-256). Good for ten years from now on.
    ///
    /// # Errors
    /// A name is none, or the system has no random numbers: the end of a sentence about the certificate.
    pub fn make(names: &[String]) -> Result<Self, String> {
        let told = |error: rcgen::Error| format!("can't be made: {error}");
        let key = KeyPair::generate().map_err(told)?;
        let mut params = CertificateParams::new(names).map_err(told)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "lbctl auto-selfsigned");
        let now = SystemTime::now();
        params.not_before = (now - EARLIER).into();
        params.not_after = (now + LIFETIME).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let signed = params.self_signed(&key).map_err(told)?;
        Ok(Self { names: names.to_vec(), certificate: signed.der().to_vec(), key: key.serialize_der() })
    }

    /// What it was made for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// In DER.
    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// PKCS #8, in DER.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Drop for SelfSigned {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SelfSigned").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tls::Certificate;

    #[test]
    fn certificate_is_for_its_names_and_comes_back_from_another_process() {
        let names = ["a.example", "*.b.example", "192.0.2.10", "2001:db8::10"].map(str::to_owned);
        let made = SelfSigned::make(&names).unwrap();
        let passed: SelfSigned = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
        assert_eq!((&passed, passed.names()), (&made, &names[..]));
        let certificate = Certificate::from_self_signed(Arc::new(made)).unwrap();
        // Addresses are none of the names that clients ask for.
        assert_eq!(certificate.facts().names, ["a.example", "*.b.example"]);
        assert_eq!(Certificate::from_self_signed(Arc::new(passed)).unwrap(), certificate);
        let facts = certificate.facts();
        let now = SystemTime::now();
        assert!(facts.not_before < now && facts.remaining(now + DAY * 3649).is_some(), "{facts:?}");
    }

    #[test]
    fn key_is_not_shown_and_no_two_are_the_same() {
        let one = SelfSigned::make(&["localhost".to_owned()]).unwrap();
        assert_eq!(format!("{one:?}"), r#"SelfSigned { names: ["localhost"], .. }"#);
        let other = SelfSigned::make(&["localhost".to_owned()]).unwrap();
        assert_ne!(one.key, other.key);
    }

    #[test]
    fn name_that_is_none_is_said() {
        let why = SelfSigned::make(&["ä.example".to_owned()]).unwrap_err();
        assert!(why.starts_with("can't be made: "), "{why}");
    }
}
