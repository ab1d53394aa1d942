//! Which certificates servers may show, judged as RFC 5280 §6 has it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{
    AuthorityError, Certificate, PeerName, Revoked, X509,
    clients::{fingerprint, roots},
    provider,
};
use crate::{config::ServerVerify, node::Published};

/// What the files of a server's `tls` have. All configurations that have one of these go by another content as soon as it has it.
#[derive(Debug)]
pub struct ServerFiles(Published<ServerContent>);

/// See [`ServerFiles`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerContent {
    /// Whose certificates the server may show; `None` where nothing is verified.
    pub trusted: Option<Arc<Trusted>>,
    /// What it is shown if it asks.
    pub certificate: Option<Certificate>,
}

impl ServerFiles {
    /// Those of a server, or of several that have the same.
    #[must_use]
    pub fn new(content: ServerContent) -> Self {
        Self(Published::new(content))
    }

    /// As they are now.
    #[must_use]
    pub fn load(&self) -> Arc<ServerContent> {
        self.0.load()
    }

    /// Handshakes that begin from now on go by this, and no session of before goes on. Connections that are open stay. Says whether anything
    /// is another now.
    pub fn replace(&self, content: ServerContent) -> bool {
        let is_other = *self.0.load() != content;
        if is_other {
            self.0.store(content);
        }
        is_other
    }
}

impl Default for ServerFiles {
    fn default() -> Self {
        Self::new(ServerContent::default())
    }
}

/// By what they have now.
impl PartialEq for ServerFiles {
    fn eq(&self, other: &Self) -> bool {
        *self.load() == *other.load()
    }
}

/// Whose certificates servers may show.
pub struct Trusted {
    verifier: Arc<WebPkiServerVerifier>,
    /// A server may also show one of these itself: many sign their own.
    authorities: Vec<CertificateDer<'static>>,
    /// Of all that decides.
    fingerprint: [u8; 32],
}

impl Trusted {
    /// Certificates have to lead to one of `authorities`. With `revoked` each but the last of that way has to be in the power
    /// of one of the lists, and not on it.
    ///
    /// # Errors
    /// A list that can't be used, or no authority at all.
    pub fn new(
        authorities: Vec<CertificateDer<'static>>,
        revoked: &[Revoked],
    ) -> Result<Self, AuthorityError> {
        let mut builder =
            WebPkiServerVerifier::builder_with_provider(roots(&authorities), Arc::clone(provider()));
        if !revoked.is_empty() {
            builder = builder
                .with_crls(revoked.iter().map(|list| list.der().clone()))
                .enforce_revocation_expiration();
        }
        let verifier = builder.build().map_err(|error| AuthorityError::List(error.to_string()))?;
        let fingerprint = fingerprint(&[], &authorities, revoked);
        Ok(Self { verifier, authorities, fingerprint })
    }

    /// Of all that decides.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    fn judge(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        match self.verifier.verify_server_cert(own, between, name, &[], now) {
            Err(Error::InvalidCertificate(error)) if self.is_own(own, &error) => {
                let facts =
                    X509::read(own).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
                judge_dates(&facts, now)?;
                verify_server_name(&ParsedCertificate::try_from(own)?, name)
            }
            outcome => outcome.map(|_| ()),
        }
    }

    /// One that is an authority itself is no server's to those who read RFC 5280 by the letter. Who put it into the file of
    /// authorities meant this one.
    fn is_own(&self, own: &CertificateDer<'_>, error: &CertificateError) -> bool {
        let is_of_kind = matches!(error, CertificateError::UnknownIssuer | CertificateError::Other(_));
        is_of_kind && self.authorities.iter().any(|authority| authority.as_ref() == own.as_ref())
    }
}

/// Is it in force?
fn judge_dates(facts: &X509, now: UnixTime) -> Result<(), Error> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
    let error = if now > facts.not_after {
        CertificateError::Expired
    } else if now < facts.not_before {
        CertificateError::NotValidYet
    } else {
        return Ok(());
    };
    Err(Error::InvalidCertificate(error))
}

impl PartialEq for Trusted {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

/// What it is made from says it all.
impl fmt::Debug for Trusted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trusted").finish_non_exhaustive()
    }
}

/// Judges what a server shows, as rustls asks.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) verify: ServerVerify,
    /// `None` where nothing is judged.
    pub(super) trusted: Option<Arc<Trusted>>,
    /// The name that a certificate has to have, where that is not the one that the server was told.
    pub(super) name: Option<PeerName>,
    /// An address is no name that a certificate has to have: requests say the name, and this is a check.
    pub(super) passes_addresses: bool,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name: &ServerName<'_> = match &self.name {
            Some(own) => own.for_handshake(),
            None => name,
        };
        let verify = match (self.verify, name) {
            (ServerVerify::All, ServerName::IpAddress(_)) if self.passes_addresses => ServerVerify::Chain,
            (verify, _) => verify,
        };
        let outcome = match (&self.trusted, verify) {
            (_, ServerVerify::Nothing) => Ok(()),
            (Some(trusted), ServerVerify::All) => trusted.judge(own, between, name, now),
            // The name is what is looked at last.
            (Some(trusted), ServerVerify::Chain) => match trusted.judge(own, between, name, now) {
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(()),
                outcome => outcome,
            },
            (None, ServerVerify::All | ServerVerify::Chain) => {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
        };
        outcome.map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
