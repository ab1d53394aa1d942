//! What reports and the choice of a certificate by name know of one (RFC 5280 §4.1): when it is valid, and for which names.
//!
//! Nobody is trusted by this: the other side of a connection judges a certificate, and rustls does it where we are that
//! side.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

/// What is known of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct X509 {
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last moment.
    pub not_after: SystemTime,
    /// DNS names in lower case, in its order; wildcards begin with `*.`. Without a subjectAltName that has names, the
    /// common name of the subject.
    pub names: Vec<String>,
    /// SHA-256 of all of it, by which a client can be told which one it is.
    pub sha256: [u8; 32],
}

/// It is no certificate as RFC 5280 has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum X509Error {
    /// Not its elements, in their order.
    #[error("it is none of X.509")]
    Malformed,
    /// It can't say whom it is for.
    #[error("it is one of X.509 version 1, which says nothing of names; make one of version 3")]
    OldVersion,
}

impl X509 {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It is none.
    pub fn read(der: &[u8]) -> Result<Self, X509Error> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| X509Error::Malformed)?;
        if !rest.is_empty() {
            return Err(X509Error::Malformed);
        }
        if certificate.version() != X509Version::V3 {
            return Err(X509Error::OldVersion);
        }
        let alternatives = certificate.subject_alternative_name().map_err(|_| X509Error::Malformed)?;
        let general = alternatives.into_iter().flat_map(|extension| &extension.value.general_names);
        let dns = general.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let mut names: Vec<String> = dns.collect();
        if names.is_empty() {
            // The last one is the most specific.
            let common = certificate.subject().iter_common_name().last();
            names.extend(common.and_then(|name| name.as_str().ok()).map(str::to_ascii_lowercase));
        }
        let validity = certificate.validity();
        let moment = |at: x509_parser::time::ASN1Time| SystemTime::from(at.to_datetime());
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, der).as_ref());
        let (not_before, not_after) = (moment(validity.not_before), moment(validity.not_after));
        Ok(Self { not_before, not_after, names, sha256 })
    }

    /// In hexadecimal, as sha256sum(1) prints it of the certificate in DER.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How long it is still valid at `now`; `None` if it is not any more.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    fn der(params: &CertificateParams) -> Vec<u8> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_dates_are_those_of_the_certificate() {
        let mut params =
            CertificateParams::new(vec!["WWW.example.com".into(), "*.example.org".into()]).unwrap();
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2051, 2, 1);
        let found = X509::read(&der(&params)).unwrap();
        assert_eq!(found.names, ["www.example.com", "*.example.org"]);
        let seconds = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!((seconds(found.not_before), seconds(found.not_after)), (946_598_400, 2_558_822_400));
    }

    #[test]
    fn fingerprint_is_of_the_whole_certificate() {
        // `openssl x509 -outform der -in site.crt | sha256sum`
        let pem = include_bytes!("../../../cli/tests/good/site.crt");
        let der = CertificateDer::from_pem_slice(pem).unwrap();
        let expected = "f3d475c59da334cd2b522811d47fe858c83370ce3128a74b112e47ac3467f522";
        assert_eq!(X509::read(&der).unwrap().fingerprint(), expected);
    }

    #[test]
    fn common_name_stands_in_for_absent_alternative_names() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, "Old.example.com");
        assert_eq!(X509::read(&der(&params)).unwrap().names, ["old.example.com"]);
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_refused_or_read_and_never_a_panic() {
        let whole = der(&CertificateParams::new(vec!["a.example".into()]).unwrap());
        for end in 0..whole.len() {
            assert!(X509::read(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] ^= flip;
                let _ = X509::read(&broken);
            }
        }
    }

    #[test]
    fn time_that_is_remaining_ends_with_the_certificate() {
        let found = X509::read(&der(&CertificateParams::new(Vec::new()).unwrap())).unwrap();
        let before = found.not_after - Duration::from_secs(5);
        assert_eq!(found.remaining(before), Some(Duration::from_secs(5)));
        assert_eq!(found.remaining(found.not_after + Duration::from_secs(1)), None);
    }
}
