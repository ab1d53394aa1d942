//! What an authority has said of a certificate (OCSP, RFC 6960 §4.2.1), out of a file, for clients that ask for it in their handshake
//! (stapling, RFC 6066 §8): whether it is of that certificate, and until when it is good. Its signature is the client's affair.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{self, Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, GeneralizedTime, Tag},
    prelude::X509Certificate,
};

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// Algorithms of which an authority may say names and keys, by their OIDs.
const HASHES: [(&[u8], &Algorithm); 4] = [
    (&[0x2b, 14, 3, 2, 26], &SHA1_FOR_LEGACY_USE_ONLY),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &SHA384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &SHA512),
];

/// The authority's clock may be ahead of ours by this.
const SKEW: Duration = Duration::from_secs(300);

/// A response that is good for a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ocsp {
    response: Vec<u8>,
    /// From then on it says nothing any more.
    pub next_update: SystemTime,
}

/// Why a response is not given to clients: the end of a sentence that begins with a file's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OcspError {
    /// As a tool leaves it that has failed.
    #[error("is empty")]
    Empty,
    /// Not its elements, in their order.
    #[error("is no OCSP response in DER, as `openssl ocsp -respout` writes it")]
    Malformed,
    /// The responder would not answer.
    #[error("has no answer in it: the responder has refused it (status {0})")]
    Refused(u8),
    /// Of another one, or of one by another authority.
    #[error("is of another certificate")]
    Other,
    /// Clients would refuse it if they knew.
    #[error("says that the certificate is revoked; get another one")]
    Revoked,
    /// It is of another authority, or was given lately.
    #[error("says that the authority does not know the certificate")]
    Unknown,
    /// Nobody could tell when it is too old.
    #[error("does not say until when it is good")]
    Endless,
    /// Its authority's clock, or ours.
    #[error("is not good before {}; is the clock right?", minute(*.0))]
    Early(SystemTime),
    /// Its time is over.
    #[error("was good until {}; get a newer one", minute(*.0))]
    Expired(SystemTime),
}

impl OcspError {
    /// Time has done it, and not a hand.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        matches!(self, Self::Early(_) | Self::Expired(_))
    }
}

impl Ocsp {
    /// In DER.
    #[must_use]
    pub fn response(&self) -> &[u8] {
        &self.response
    }

    /// Reads a response in DER for the first certificate of `chain`.
    ///
    /// # Errors
    /// It says nothing good of it at `now`.
    pub(super) fn read(
        response: &[u8],
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Self, OcspError> {
        if response.is_empty() {
            return Err(OcspError::Empty);
        }
        let single = single(response, chain)?;
        match single.status {
            0 => {}
            1 => return Err(OcspError::Revoked),
            _ => return Err(OcspError::Unknown),
        }
        let next_update = single.next_update.ok_or(OcspError::Endless)?;
        if single.this_update > now + SKEW {
            return Err(OcspError::Early(single.this_update));
        }
        if next_update <= now {
            return Err(OcspError::Expired(next_update));
        }
        Ok(Self { response: response.to_vec(), next_update })
    }
}

/// What is said of one certificate.
struct Single {
    /// good, revoked, unknown
    status: u32,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

/// That of the first certificate of `chain`.
fn single(response: &[u8], chain: &[CertificateDer<'_>]) -> Result<Single, OcspError> {
    let mut response = Elements::only(response)?;
    let status = response.universal(Tag::Enumerated)?;
    if status != [0] {
        return Err(OcspError::Refused(status.first().copied().unwrap_or_default()));
    }
    let mut bytes = Elements::only(response.context(0)?)?;
    if bytes.universal(Tag::Oid)? != BASIC {
        return Err(OcspError::Malformed);
    }
    let mut basic = Elements::only(bytes.universal(Tag::OctetString)?)?;
    let mut data = Elements(basic.universal(Tag::Sequence)?);
    let mut responder = data.next()?;
    if is_context(&responder, 0) {
        // The version, where it is not 1.
        responder = data.next()?;
    }
    if !is_context(&responder, 1) && !is_context(&responder, 2) {
        return Err(OcspError::Malformed);
    }
    data.universal(Tag::GeneralizedTime)?;
    let mut all = Elements(data.universal(Tag::Sequence)?);
    while !all.0.is_empty() {
        let mut one = Elements(all.universal(Tag::Sequence)?);
        if is_of(&mut Elements(one.universal(Tag::Sequence)?), chain)? {
            return said(&mut one);
        }
    }
    Err(OcspError::Other)
}

/// The CertID: hash algorithm, hash of the issuer's name, hash of its key, serial number.
fn is_of(id: &mut Elements<'_>, chain: &[CertificateDer<'_>]) -> Result<bool, OcspError> {
    let own = chain.first().and_then(|own| X509Certificate::from_der(own).ok()).ok_or(OcspError::Other)?.1;
    let issuer = chain.get(1).and_then(|issuer| X509Certificate::from_der(issuer).ok());
    let algorithm = Elements(id.universal(Tag::Sequence)?).universal(Tag::Oid)?;
    let (name, key) = (id.universal(Tag::OctetString)?, id.universal(Tag::OctetString)?);
    let serial = id.universal(Tag::Integer)?;
    let Some((_, hash)) = HASHES.iter().find(|(oid, _)| *oid == algorithm) else { return Ok(false) };
    let is_hash = |of: &[u8], expected: &[u8]| digest::digest(hash, of).as_ref() == expected;
    Ok(serial == own.raw_serial()
        && is_hash(own.issuer().as_raw(), name)
        && issuer.is_none_or(|(_, issuer)| is_hash(&issuer.public_key().subject_public_key.data, key)))
}

/// Status, thisUpdate, nextUpdate.
fn said(one: &mut Elements<'_>) -> Result<Single, OcspError> {
    let status = one.next()?;
    if status.class() != Class::ContextSpecific {
        return Err(OcspError::Malformed);
    }
    let this_update = moment(&one.next()?)?;
    let next = (!one.0.is_empty()).then(|| one.next()).transpose()?.filter(|next| is_context(next, 0));
    let next_update = next.map(|next| moment(&Elements(next.data).next()?)).transpose()?;
    Ok(Single { status: status.tag().0, this_update, next_update })
}

fn moment(at: &Any<'_>) -> Result<SystemTime, OcspError> {
    let at = GeneralizedTime::try_from(at).and_then(|at| at.utc_datetime());
    at.map(SystemTime::from).map_err(|_| OcspError::Malformed)
}

fn is_context(one: &Any<'_>, tag: u32) -> bool {
    one.class() == Class::ContextSpecific && one.tag() == Tag(tag)
}

/// What is left of a sequence.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// Of a sequence with nothing behind it.
    fn only(bytes: &'a [u8]) -> Result<Self, OcspError> {
        let mut outer = Self(bytes);
        let inner = outer.universal(Tag::Sequence)?;
        if outer.0.is_empty() { Ok(Self(inner)) } else { Err(OcspError::Malformed) }
    }

    fn next(&mut self) -> Result<Any<'a>, OcspError> {
        let (rest, next) = Any::from_der(self.0).map_err(|_| OcspError::Malformed)?;
        self.0 = rest;
        Ok(next)
    }

    fn universal(&mut self, tag: Tag) -> Result<&'a [u8], OcspError> {
        let next = self.next()?;
        let is_it = next.class() == Class::Universal && next.tag() == tag;
        if is_it { Ok(next.data) } else { Err(OcspError::Malformed) }
    }

    fn context(&mut self, tag: u32) -> Result<&'a [u8], OcspError> {
        let next = self.next()?;
        if is_context(&next, tag) { Ok(next.data) } else { Err(OcspError::Malformed) }
    }
}

/// `2026-12-01 08:30 UTC`
fn minute(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use super::*;
    use crate::tls::Certificate;

    /// An authority of OpenSSL's, and a certificate of its with its chain; a response for it comes of [`respond`].
    fn authority(folder: &Path) -> Certificate {
        run(
            folder,
            "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=authority -days 9 -keyout ca.key -out ca.crt && \
             openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=a.example -addext subjectAltName=DNS:a.example \
             -keyout site.key -out site.csr && \
             openssl x509 -req -in site.csr -CA ca.crt -CAkey ca.key -set_serial 0x8101 -days 9 -copy_extensions copy -out site.crt && \
             cat site.crt ca.crt site.key > site.pem",
        );
        Certificate::from_pem(&std::fs::read(folder.join("site.pem")).unwrap(), None).unwrap()
    }

    /// What the authority says, where its index has this line of the certificate with this number.
    fn respond(folder: &Path, index: &str, options: &str) -> Vec<u8> {
        std::fs::write(folder.join("index"), index).unwrap();
        run(
            folder,
            &format!(
                "openssl ocsp -index index -CA ca.crt -rsigner ca.crt -rkey ca.key -issuer ca.crt -cert site.crt -respout out.ocsp {options}"
            ),
        );
        std::fs::read(folder.join("out.ocsp")).unwrap()
    }

    fn run(folder: &Path, command: &str) {
        let output = Command::new("sh").args(["-c", command]).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    const GOOD: &str = "V\t350101000000Z\t\t8101\tunknown\t/CN=a.example\n";
    const REVOKED: &str = "R\t350101000000Z\t250101000000Z\t8101\tunknown\t/CN=a.example\n";

    #[test]
    fn response_is_taken_for_its_certificate_until_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = authority(folder.path());
        let chain = &certificate.key().cert;
        let now = SystemTime::now();
        let response = respond(folder.path(), GOOD, "-ndays 3");
        let day = Duration::from_secs(24 * 3600);
        let read = Ocsp::read(&response, chain, now).unwrap();
        assert_eq!(read.response, response);
        assert!(read.next_update > now + 2 * day && read.next_update < now + 4 * day, "{read:?}");
        // The chain may be without the authority.
        assert!(Ocsp::read(&response, &chain[..1], now).is_ok());
        let after = Ocsp::read(&response, chain, now + 4 * day).unwrap_err();
        assert_eq!(after, OcspError::Expired(read.next_update));
        assert!(after.is_of_time() && after.to_string().ends_with(" UTC; get a newer one"), "{after}");
        assert!(matches!(Ocsp::read(&response, chain, now - day), Err(OcspError::Early(_))));
        assert_eq!(Ocsp::read(&[], chain, now), Err(OcspError::Empty));
        assert_eq!(Ocsp::read(b"-----BEGIN", chain, now), Err(OcspError::Malformed));
        // 6: the responder wants to know who asks.
        assert_eq!(Ocsp::read(&[0x30, 3, 10, 1, 6], chain, now), Err(OcspError::Refused(6)));

        let read = |index, options| Ocsp::read(&respond(folder.path(), index, options), chain, now);
        assert_eq!(read(REVOKED, "-ndays 3").unwrap_err(), OcspError::Revoked);
        assert_eq!(read("", "-ndays 3").unwrap_err(), OcspError::Unknown);
        assert_eq!(read(GOOD, "").unwrap_err(), OcspError::Endless);

        for end in 0..response.len() {
            assert!(Ocsp::read(&response[..end], chain, now).is_err(), "{end}");
        }
        for at in 0..response.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = response.clone();
                broken[at] ^= flip;
                let _ = Ocsp::read(&broken, chain, now);
            }
        }
    }

    #[test]
    fn response_of_another_certificate_or_another_authority_is_refused() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let certificate = authority(folder.path());
        authority(other.path());
        let now = SystemTime::now();
        // The same number, and the same name of the authority, but another key.
        let response = respond(other.path(), GOOD, "-ndays 3");
        assert_eq!(Ocsp::read(&response, &certificate.key().cert, now), Err(OcspError::Other));
        let response = respond(folder.path(), GOOD, "-ndays 3");
        let mine = crate::tls::SelfSigned::make(&["a.example".to_owned()]).unwrap();
        let mine = Certificate::from_self_signed(mine.into()).unwrap();
        assert_eq!(Ocsp::read(&response, &mine.key().cert, now), Err(OcspError::Other));
    }
}
