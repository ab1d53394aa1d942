//! A certificate with its chain and its key, out of PEM (RFC 7468).

use std::{sync::Arc, time::SystemTime};

use rustls::{
    Error, InconsistentKeys,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer},
    sign::CertifiedKey,
};

use super::{
    ChainEnd, ChainFault, Ocsp, OcspError, SelfSigned, X509,
    chain::Chain,
    pem::{self, Broken, Section},
};

/// What is shown to the other side of a connection, with the key that proves it.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    facts: X509,
    made: Option<Arc<SelfSigned>>,
    ocsp: Option<Ocsp>,
    chain: Chain,
}

/// What is wrong with a certificate or its key: the end of a sentence that begins with a file's name. None of them shows
/// anything of a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate in it.
    #[error("has no certificate in it: one begins with the line -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is a certificate request, or the like.
    #[error("has no certificate but a request for one; take what the authority made of it")]
    Request,
    /// Not a key in it.
    #[error("has no private key; add it to the file, or name its own: key = \"site.key\"")]
    NoKey,
    /// Not a key in the file that is to have one.
    #[error("has no private key in it: one begins with the line -----BEGIN PRIVATE KEY-----")]
    NoKeyAlone,
    /// Nobody is asked for a password.
    #[error("has a key that is protected by a password; take that off with `openssl pkey -in KEY -out NEW`")]
    Encrypted,
    /// A section that does not end, or is no base64.
    #[error("is broken: {0}")]
    Pem(String),
    /// The same of the file that has the key alone.
    #[error("is broken: {0}")]
    KeyPem(String),
    /// Not what rustls can read.
    #[error("has a certificate that can't be used: {0}")]
    Certificate(String),
    /// Not a key that can sign here.
    #[error(
        "has a private key that can't be used; RSA of 2048 bits or more, ECDSA P-256, P-384, P-521 and Ed25519 can"
    )]
    Key,
    /// It is that of another certificate of the file, which stands at this place, from 1.
    #[error(
        "has the certificate of its key as number {0}, and it has to be the first: put it there, and those of authorities behind it"
    )]
    Order(usize),
    /// Another certificate's key.
    #[error("does not belong to the certificate: its key is another one")]
    Mismatch,
}

impl Certificate {
    /// The first certificate of `certificates` is that of the key; what follows is its chain. Without `key` the key is
    /// among them (HAProxy's habit); one that is there as well is left alone.
    ///
    /// # Errors
    /// One of them is no such thing, or the two don't belong together.
    pub fn from_pem(certificates: &[u8], key: Option<&[u8]>) -> Result<Self, CertificateError> {
        let chain = pem::contents(certificates, b"CERTIFICATE").map_err(broken)?;
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let Some(own) = chain.first() else {
            return Err(match has(certificates, b"CERTIFICATE REQUEST-----") {
                true => CertificateError::Request,
                false => CertificateError::NoCertificate,
            });
        };
        let facts = X509::read(own).map_err(|error| CertificateError::Certificate(error.to_string()))?;
        let text = key.unwrap_or(certificates);
        let broken = |error: Broken| match key {
            Some(_) => CertificateError::KeyPem(error.to_string()),
            None => broken(error),
        };
        let section = first_key(text).map_err(broken)?.ok_or_else(|| {
            match has(text, b"ENCRYPTED PRIVATE KEY-----") {
                true => CertificateError::Encrypted,
                false if key.is_some() => CertificateError::NoKeyAlone,
                false => CertificateError::NoKey,
            }
        })?;
        let secret = section.content().map_err(|error| match has(text, b"Proc-Type: 4,ENCRYPTED") {
            // OpenSSL's own form: the cipher stands in the section.
            true => CertificateError::Encrypted,
            false => broken(error),
        })?;
        let secret = match section.label {
            RSA => PrivatePkcs1KeyDer::from(&secret[..]).into(),
            EC => PrivateSec1KeyDer::from(&secret[..]).into(),
            _ => PrivatePkcs8KeyDer::from(&secret[..]).into(),
        };
        let key = certified(chain, &secret)?;
        let chain = Chain::of(&key.cert);
        Ok(Self { key: Arc::new(key), facts, made: None, ocsp: None, chain })
    }

    /// One that lbctl has made itself.
    ///
    /// # Errors
    /// It is none: what another process has passed on may be anything.
    pub fn from_self_signed(made: Arc<SelfSigned>) -> Result<Self, CertificateError> {
        let own = CertificateDer::from(made.certificate().to_vec());
        let facts = X509::read(&own).map_err(|error| CertificateError::Certificate(error.to_string()))?;
        let secret = PrivatePkcs8KeyDer::from(made.key()).into();
        let key = certified(vec![own], &secret).map_err(|_| CertificateError::Key)?;
        Ok(Self { key: Arc::new(key), facts, made: Some(made), ocsp: None, chain: Chain::default() })
    }

    /// Clients that ask are shown beside it what its authority has said of it.
    ///
    /// # Errors
    /// That is nothing good, or not of this certificate; it is left as it was.
    pub fn staple(&mut self, response: &[u8], now: SystemTime) -> Result<(), OcspError> {
        let ocsp = Ocsp::read(response, &self.key.cert, now)?;
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = Some(ocsp.response().to_vec());
        (self.key, self.ocsp) = (Arc::new(key), Some(ocsp));
        Ok(())
    }

    /// What is stapled to it.
    #[must_use]
    pub fn ocsp(&self) -> Option<&Ocsp> {
        self.ocsp.as_ref()
    }

    /// What clients lack of its chain, if anything is seen.
    #[must_use]
    pub fn chain_fault(&self) -> Option<&ChainFault> {
        self.chain.fault.as_ref()
    }

    /// Which of the authorities behind it is over first, of those that clients have of nobody else; after that most refuse it, like one
    /// that is over itself (RFC 5280 §6.1.3). Roots are left out: clients have their own.
    #[must_use]
    pub fn chain_end(&self) -> Option<&ChainEnd> {
        self.chain.end.as_ref()
    }

    /// What it is made from, if lbctl has made it itself.
    #[must_use]
    pub fn made(&self) -> Option<&Arc<SelfSigned>> {
        self.made.as_ref()
    }

    /// When it is valid, and for whom.
    pub fn facts(&self) -> &X509 {
        &self.facts
    }

    /// For handshakes.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// The same certificate with the same chain, and the same said of it.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.ocsp == other.ocsp
    }
}

impl CertificateError {
    /// Is it about the key, which may have a file of its own?
    #[must_use]
    pub fn is_of_key(&self) -> bool {
        matches!(
            self,
            Self::NoKey | Self::NoKeyAlone | Self::Encrypted | Self::KeyPem(_) | Self::Key | Self::Mismatch
        )
    }
}

fn has(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

fn broken(error: Broken) -> CertificateError {
    CertificateError::Pem(error.to_string())
}

/// PKCS #1
const RSA: &[u8] = b"RSA PRIVATE KEY";

/// RFC 5915
const EC: &[u8] = b"EC PRIVATE KEY";

fn first_key(text: &[u8]) -> Result<Option<Section<'_>>, Broken> {
    let is_key = |section: &Section<'_>| matches!(section.label, RSA | EC | b"PRIVATE KEY");
    pem::sections(text).find(|section| section.as_ref().map_or(true, is_key)).transpose()
}

/// What signs with a key lends it, and keeps its own in memory that AWS-LC overwrites.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    secret: &PrivateKeyDer<'_>,
) -> Result<CertifiedKey, CertificateError> {
    let mut key = CertifiedKey::new(chain, any_supported_type(secret).map_err(|_| CertificateError::Key)?);
    match key.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(key),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let own = (1..key.cert.len()).find(|place| {
                key.cert[0] = key.cert[*place].clone();
                key.keys_match().is_ok()
            });
            Err(own.map_or(CertificateError::Mismatch, |place| CertificateError::Order(place + 1)))
        }
        Err(Error::InvalidCertificate(error)) => Err(CertificateError::Certificate(format!("{error:?}"))),
        Err(_) => Err(CertificateError::Key),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn signed(key: &KeyPair) -> String {
        let pem = CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(key).unwrap();
        pem_of("CERTIFICATE", pem.der())
    }

    fn pem_of(kind: &str, der: &[u8]) -> String {
        let mut base64 = Vec::new();
        crate::sample::base64::encode(der, &mut base64);
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", String::from_utf8(base64).unwrap())
    }

    fn key() -> (KeyPair, String) {
        let key = KeyPair::generate().unwrap();
        let pem = pem_of("PRIVATE KEY", &key.serialize_der());
        (key, pem)
    }

    #[test]
    fn certificate_and_key_are_found_in_one_file_or_two() {
        let (pair, key) = key();
        let certificate = signed(&pair);
        for (first, second) in
            [(certificate.clone() + &key, None), (key.clone() + &certificate, None), (certificate, Some(key))]
        {
            let found =
                Certificate::from_pem(first.as_bytes(), second.as_deref().map(str::as_bytes)).unwrap();
            assert_eq!(found.facts().names, ["a.example"]);
            assert_eq!(found.key().cert.len(), 1);
        }
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said() {
        let ((pair, own), (_, other)) = (key(), key());
        let certificate = signed(&pair);
        let told = |first: &str, second: Option<&str>| {
            Certificate::from_pem(first.as_bytes(), second.map(str::as_bytes)).unwrap_err()
        };
        assert_eq!(told("", None), CertificateError::NoCertificate);
        assert_eq!(told(&own, None), CertificateError::NoCertificate);
        let request = pem_of("CERTIFICATE REQUEST", b"x");
        assert_eq!(told(&request, None), CertificateError::Request);
        assert_eq!(told(&certificate, None), CertificateError::NoKey);
        assert_eq!(told(&certificate, Some(&certificate)), CertificateError::NoKeyAlone);
        assert_eq!(told(&certificate, Some(&other)), CertificateError::Mismatch);
        let authority = signed(&KeyPair::generate().unwrap());
        assert_eq!(
            told(&(authority.clone() + &authority + &certificate + &own), None),
            CertificateError::Order(3)
        );
        assert_eq!(told(&(authority.clone() + &authority), Some(&own)), CertificateError::Mismatch);
        let encrypted = pem_of("ENCRYPTED PRIVATE KEY", b"x");
        assert_eq!(told(&certificate, Some(&encrypted)), CertificateError::Encrypted);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(told(&certificate, Some(old)), CertificateError::Encrypted);
        assert_eq!(told(&certificate, Some(&pem_of("PRIVATE KEY", b"nonsense"))), CertificateError::Key);
        let broken_key = told(&certificate, Some(&own[..own.len() - 10]));
        assert!(broken_key.is_of_key() && broken_key.to_string().starts_with("is broken: "), "{broken_key}");
        assert!(!told(&(certificate.clone() + &own[..own.len() - 10]), None).is_of_key());
        let cut = &certificate[..certificate.len() - 10];
        assert_eq!(told(cut, Some(&own)).to_string(), "is broken: a section has no line -----END ...-----");
        let cut = certificate.replacen('M', "!", 1);
        assert_eq!(told(&cut, Some(&own)).to_string(), "is broken: a section is not base64");
    }
}
