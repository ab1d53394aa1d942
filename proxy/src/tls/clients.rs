//! Which certificates clients may show (RFC 8446 §4.4.2), judged as RFC 5280 §6 has it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::{pem, provider};
use crate::node::Published;

/// What is wrong with a file of authorities or of what they have revoked: the end of a sentence that begins with its name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorityError {
    /// Not PEM, or cut off.
    #[error("is broken: it is no PEM from its beginning to its end")]
    Pem,
    /// Not a certificate in it.
    #[error("has no certificate of an authority in it: one begins with the line -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// One that nothing can be traced back to.
    #[error("has a certificate that is none of an authority: {0}")]
    Certificate(String),
    /// Not a list in it.
    #[error("has no list of what is revoked in it: one begins with the line -----BEGIN X509 CRL-----")]
    NoList,
    /// A list that can't be read.
    #[error("has a list of what is revoked that can't be used: {0}")]
    List(String),
}

/// A certificate, as it is sent.
pub type Der = CertificateDer<'static>;

/// Certificates of authorities, out of PEM.
///
/// # Errors
/// There is none, or one is no such thing.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let all = pem::contents(pem, b"CERTIFICATE").map_err(|_| AuthorityError::Pem)?;
    let all: Vec<_> = all.into_iter().map(CertificateDer::from).collect();
    if all.is_empty() {
        return Err(AuthorityError::NoCertificate);
    }
    for one in &all {
        let added = RootCertStore::empty().add(one.clone());
        added.map_err(|error| AuthorityError::Certificate(error.to_string()))?;
    }
    Ok(all)
}

/// A list of what an authority has revoked (RFC 5280 §5).
#[derive(Clone, Debug)]
pub struct Revoked {
    der: CertificateRevocationListDer<'static>,
    /// After that nobody is taken by it; `None` if it does not say.
    pub next_update: Option<SystemTime>,
}

impl Revoked {
    pub(super) fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }
}

/// Lists out of PEM.
///
/// # Errors
/// There is none, or one is no such thing.
pub fn revoked(pem: &[u8]) -> Result<Vec<Revoked>, AuthorityError> {
    let all = pem::contents(pem, b"X509 CRL").map_err(|_| AuthorityError::Pem)?;
    if all.is_empty() {
        return Err(AuthorityError::NoList);
    }
    let read = |der: CertificateRevocationListDer<'static>| {
        let (_, list) = CertificateRevocationList::from_der(&der)
            .map_err(|_| AuthorityError::List("it is none of X.509".to_owned()))?;
        let next_update = list.next_update().map(|at| SystemTime::from(at.to_datetime()));
        Ok(Revoked { der, next_update })
    };
    all.into_iter().map(|der| read(der.into())).collect()
}

/// What certificates have to lead to.
pub(super) fn roots(authorities: &[CertificateDer<'static>]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    Arc::new(roots)
}

/// Of all that decides who is taken: authorities, lists, and what `other` says.
pub(super) fn fingerprint(
    other: &[u8],
    authorities: &[CertificateDer<'static>],
    revoked: &[Revoked],
) -> [u8; 32] {
    let mut all = digest::Context::new(&digest::SHA256);
    all.update(other);
    let lists = revoked.iter().map(|list| list.der.as_ref());
    for der in authorities.iter().map(AsRef::as_ref).chain(lists) {
        all.update(digest::digest(&digest::SHA256, der).as_ref());
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(all.finish().as_ref());
    fingerprint
}

/// What clients of a listener are asked for. All configurations and handshakes that have one of these see other authorities as
/// soon as it has them.
#[derive(Debug)]
pub struct Clients(Published<Authorities>);

/// Whose certificates are taken, and which of them are not.
pub struct Authorities {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Of all that decides.
    fingerprint: [u8; 32],
}

impl Authorities {
    /// Nobody's, for a configuration that is looked at and never used: all are refused.
    #[must_use]
    pub fn none(is_required: bool) -> Self {
        let mut fingerprint = [0; 32];
        fingerprint[0] = is_required.into();
        Self { verifier: WebPkiClientVerifier::no_client_auth(), fingerprint }
    }

    /// Certificates have to lead to one of `authorities`. With `revoked` each but the last of that way has to be in the power
    /// of one of the lists, and not on it. With `is_required` nobody is served without one.
    ///
    /// # Errors
    /// A list that can't be used.
    pub fn new(
        authorities: &[CertificateDer<'static>],
        revoked: &[Revoked],
        is_required: bool,
    ) -> Result<Self, AuthorityError> {
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(roots(authorities), Arc::clone(provider()));
        if !revoked.is_empty() {
            // As OpenSSL: what can't be known is refused.
            builder = builder
                .with_crls(revoked.iter().map(|list| list.der.clone()))
                .enforce_revocation_expiration();
        }
        if !is_required {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| AuthorityError::List(error.to_string()))?;
        Ok(Self { verifier, fingerprint: fingerprint(&[u8::from(is_required)], authorities, revoked) })
    }
}

/// What it is made from says it all.
impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authorities").finish_non_exhaustive()
    }
}

impl Clients {
    /// Those of a listener.
    #[must_use]
    pub fn new(authorities: Authorities) -> Self {
        Self(Published::new(authorities))
    }

    /// Handshakes that begin from now on are judged by these, and tickets of those before are none any more. Which names
    /// clients are told that may have issued theirs stays as it was. Says whether anything is another now.
    pub fn replace(&self, authorities: Authorities) -> bool {
        let is_other = self.0.load().fingerprint != authorities.fingerprint;
        if is_other {
            self.0.store(authorities);
        }
        is_other
    }

    /// What a ticket is bound to: one that was sealed under other authorities is of no use.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.0.load().fingerprint
    }

    /// Is what a client has shown in an earlier handshake still good?
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let Some((own, between)) = chain.split_first() else { return Ok(()) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.0.load().verifier.verify_client_cert(own, between, UnixTime::since_unix_epoch(now)).map(|_| ())
    }
}

/// The authorities of a listener, as rustls asks them.
#[derive(Debug)]
pub(super) struct Verifier {
    clients: Arc<Clients>,
    /// As they were when the configuration was read: names that are told can't change behind rustls' back.
    told: Arc<Authorities>,
}

impl Verifier {
    pub(super) fn new(clients: &Arc<Clients>) -> Self {
        Self { clients: Arc::clone(clients), told: clients.0.load() }
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.told.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.told.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.clients.0.load().verifier.verify_client_cert(own, between, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.told.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.told.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.told.verifier.supported_verify_schemes()
    }
}
