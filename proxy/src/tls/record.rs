//! The record layer behind a handshake (RFC 8446 §5, RFC 5246 §6.2, RFC 5288, RFC 7905): bytes in, bytes out.
//!
//! rustls negotiates the keys and gives them away. Its own records live in memory that is allocated for each of them; these
//! are opened and sealed where they are, in buffers that are borrowed.

use std::{io::IoSlice, ops::Range};

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedCipherSuite};

/// Type, version, length.
pub(super) const HEADER: usize = 5;

/// Bytes of content in one record.
pub(super) const FRAGMENT: usize = 1 << 14;

/// A record with its header never has more, sealed or not (RFC 5246 §6.2.3).
pub(crate) const LONGEST: usize = HEADER + FRAGMENT + 2048;

/// The part of the nonce that a record of AES-GCM in TLS 1.2 carries.
const EXPLICIT_NONCE: usize = 8;

const TAG: usize = 16;

/// Both have it in the header (RFC 8446 §5.1).
const VERSION: [u8; 2] = [3, 3];

/// What is in a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Alert,
    Handshake,
    Data,
}

/// Why a record is refused, as the alert that says so (RFC 8446 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    #[error("a record of TLS was of a kind that has no place here")]
    Unexpected,
    #[error("a record of TLS was not what the other side had sealed")]
    BadMac,
    #[error("a record of TLS was too long")]
    Overflow,
    #[error("a message of TLS could not be read")]
    Decode,
    #[error("the keys of a connection are used up")]
    Exhausted,
}

impl Refused {
    /// The number of the alert.
    pub(super) fn alert(self) -> u8 {
        match self {
            Self::Unexpected => 10,
            Self::BadMac => 20,
            Self::Overflow => 22,
            Self::Decode => 50,
            Self::Exhausted => 80,
        }
    }
}

/// The bytes of the first record in `bytes` with its header, if they are all there.
pub(super) fn whole(bytes: &[u8]) -> Result<Option<usize>, Refused> {
    let [_, _, _, high, low, ..] = bytes else { return Ok(None) };
    let length = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
    match length {
        ..=LONGEST => Ok(Some(length).filter(|length| *length <= bytes.len())),
        _ => Err(Refused::Overflow),
    }
}

/// How keys, nonces and what is authenticated beside the content are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Tls13,
    /// TLS 1.2 with a nonce that is partly in the record.
    Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305.
    Implicit,
}

/// The keys of one direction.
#[derive(Debug)]
struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    form: Form,
}

impl Keys {
    fn new(version: ProtocolVersion, (sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            ProtocolVersion::TLSv1_2 if *algorithm == CHACHA20_POLY1305 => Form::Implicit,
            ProtocolVersion::TLSv1_2 => Form::Explicit,
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, sequence, form })
    }

    /// Of the next record.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        nonce
    }

    /// What TLS 1.2 authenticates beside the content (RFC 5246 §6.2.3.3).
    fn beside(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut beside = [0; 13];
        beside[..8].copy_from_slice(&self.sequence.to_be_bytes());
        beside[8] = kind;
        beside[9..11].copy_from_slice(&VERSION);
        beside[11..].copy_from_slice(&length_of(length));
        beside
    }

    fn explicit(&self) -> usize {
        if self.form == Form::Explicit { EXPLICIT_NONCE } else { 0 }
    }
}

/// Seals what we send.
#[derive(Debug)]
pub(super) struct Sealer {
    keys: Keys,
    /// Records that these keys may seal.
    limit: u64,
}

impl Sealer {
    /// `None` for keys that are none of this version's.
    pub(super) fn new(suite: SupportedCipherSuite, secrets: (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        let (version, common) = match suite {
            SupportedCipherSuite::Tls12(suite) => (ProtocolVersion::TLSv1_2, &suite.common),
            SupportedCipherSuite::Tls13(suite) => (ProtocolVersion::TLSv1_3, &suite.common),
        };
        Some(Self { keys: Keys::new(version, secrets)?, limit: common.confidentiality_limit })
    }

    /// Other keys are needed soon (RFC 8446 §5.5).
    pub(super) fn is_tired(&self) -> bool {
        self.keys.sequence >= self.limit.saturating_sub(64)
    }

    /// Writes a record with as much of `pieces` as fits into one; returns how much of them, and of `out`, that is. `out` has
    /// [`LONGEST`] bytes.
    pub(super) fn seal(
        &mut self,
        content: Content,
        pieces: &[IoSlice<'_>],
        out: &mut [u8],
    ) -> Result<(usize, usize), Refused> {
        let Self { keys, limit } = self;
        if keys.sequence >= *limit {
            return Err(Refused::Exhausted);
        }
        let begin = HEADER + keys.explicit();
        let mut end = begin;
        for piece in pieces {
            let room = begin + FRAGMENT - end;
            let taken = &piece[..piece.len().min(room)];
            out[end..end + taken.len()].copy_from_slice(taken);
            end += taken.len();
        }
        let (taken, nonce, kind) = (end - begin, keys.nonce(), content.code());
        let outer = if keys.form == Form::Tls13 {
            out[end] = kind;
            end += 1;
            Content::Data.code()
        } else {
            kind
        };
        out[HEADER..begin].copy_from_slice(&nonce[NONCE_LEN - keys.explicit()..]);
        let [high, low] = length_of(end - HEADER + TAG);
        let header = [outer, VERSION[0], VERSION[1], high, low];
        out[..HEADER].copy_from_slice(&header);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = match keys.form {
            Form::Tls13 => {
                keys.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[begin..end])
            }
            Form::Explicit | Form::Implicit => {
                let beside = Aad::from(keys.beside(kind, taken));
                keys.key.seal_in_place_separate_tag(nonce, beside, &mut out[begin..end])
            }
        };
        let tag = sealed.map_err(|_| Refused::Exhausted)?;
        out[end..end + TAG].copy_from_slice(tag.as_ref());
        keys.sequence += 1;
        Ok((taken, end + TAG))
    }
}

/// Opens what the other side sent.
#[derive(Debug)]
pub(super) struct Opener {
    keys: Keys,
}

impl Opener {
    /// `None` for keys that are none of this version's.
    pub(super) fn new(version: ProtocolVersion, secrets: (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        Some(Self { keys: Keys::new(version, secrets)? })
    }

    /// Opens a whole record in place; returns what is in it, and where.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(Content, Range<usize>), Refused> {
        let keys = &mut self.keys;
        let Some((&header, _)) = record.split_first_chunk::<HEADER>() else { return Err(Refused::Decode) };
        let begin = HEADER + keys.explicit();
        let Some(length) = record.len().checked_sub(begin + TAG) else { return Err(Refused::BadMac) };
        let mut nonce = keys.nonce();
        if keys.form == Form::Explicit {
            nonce[NONCE_LEN - EXPLICIT_NONCE..].copy_from_slice(&record[HEADER..begin]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut record[begin..];
        let opened = match keys.form {
            Form::Tls13 if header[0] != Content::Data.code() => return Err(Refused::Unexpected),
            Form::Tls13 => keys.key.open_in_place(nonce, Aad::from(header), sealed),
            Form::Explicit | Form::Implicit => {
                keys.key.open_in_place(nonce, Aad::from(keys.beside(header[0], length)), sealed)
            }
        };
        let opened = opened.map_err(|_| Refused::BadMac)?;
        keys.sequence = keys.sequence.checked_add(1).ok_or(Refused::Exhausted)?;
        let (kind, length) = if keys.form == Form::Tls13 {
            // RFC 8446 §5.4: padding of zeros stands behind the kind.
            let Some(at) = opened.iter().rposition(|byte| *byte != 0) else {
                return Err(Refused::Unexpected);
            };
            (opened[at], at)
        } else {
            (header[0], opened.len())
        };
        if length > FRAGMENT {
            return Err(Refused::Overflow);
        }
        Ok((Content::of(kind).ok_or(Refused::Unexpected)?, begin..begin + length))
    }
}

impl Content {
    fn code(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::Data => 23,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Alert, Self::Handshake, Self::Data].into_iter().find(|content| content.code() == code)
    }
}

fn length_of(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use rustls::crypto::{
        aws_lc_rs::ALL_CIPHER_SUITES,
        cipher::{AeadKey, Iv},
    };

    use super::*;

    fn secrets(suite: SupportedCipherSuite) -> ConnectionTrafficSecrets {
        let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
        let name = format!("{:?}", suite.suite());
        if name.contains("CHACHA") {
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }
        } else {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        }
    }

    fn pair(suite: SupportedCipherSuite) -> (Sealer, Opener) {
        let version = suite.version().version;
        (Sealer::new(suite, (3, secrets(suite))).unwrap(), Opener::new(version, (3, secrets(suite))).unwrap())
    }

    /// Those whose keys have 32 bytes, as the ones of the test.
    fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
        let has_long_key = |suite: &SupportedCipherSuite| !format!("{:?}", suite.suite()).contains("AES_128");
        ALL_CIPHER_SUITES.iter().copied().filter(has_long_key)
    }

    #[test]
    fn what_is_sealed_is_opened_and_pieces_are_cut_at_the_longest_record() {
        for suite in suites() {
            let (mut sealer, mut opener) = pair(suite);
            let mut out = vec![0; LONGEST];
            let long = vec![b'x'; 20_000];
            for (pieces, expected) in [
                (vec![&b"ab"[..], b"", b"c"], b"abc".to_vec()),
                (vec![&b"q"[..], &long], [b"q", &long[..FRAGMENT - 1]].concat()),
                (vec![], Vec::new()),
            ] {
                let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                let (taken, length) = sealer.seal(Content::Data, &slices, &mut out).unwrap();
                assert_eq!(taken, expected.len());
                assert_eq!(whole(&out[..length]), Ok(Some(length)));
                assert_eq!(whole(&out[..length - 1]), Ok(None));
                let (content, range) = opener.open(&mut out[..length]).unwrap();
                assert_eq!((content, &out[range]), (Content::Data, &expected[..]), "{suite:?}");
            }
        }
    }

    #[test]
    fn record_that_was_changed_anywhere_or_comes_twice_is_refused() {
        for suite in suites() {
            let sealed = |sealer: &mut Sealer| {
                let mut out = vec![0; LONGEST];
                let (_, length) = sealer.seal(Content::Data, &[IoSlice::new(b"hello")], &mut out).unwrap();
                out.truncate(length);
                out
            };
            let good = sealed(&mut pair(suite).0);
            for at in 0..good.len() {
                // TLS 1.2 has no length of its own in what it authenticates but that of the content, which follows from it.
                if (1..HEADER).contains(&at) && suite.tls13().is_none() {
                    continue;
                }
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert!(pair(suite).1.open(&mut bad).is_err(), "{suite:?} {at}");
            }
            let mut opener = pair(suite).1;
            assert!(opener.open(&mut good.clone()).is_ok());
            let again = opener.open(&mut good.clone());
            // With a nonce in the record the number of the record is still in what is authenticated.
            assert_eq!(again, Err(Refused::BadMac), "{suite:?}");
        }
    }

    #[test]
    fn padding_is_taken_off_and_nothing_but_padding_is_refused() {
        let suite = suites().find(|suite| suite.tls13().is_some()).unwrap();
        let padded = |content: &[u8]| {
            let (mut sealer, mut opener) = pair(suite);
            let mut out = vec![0; LONGEST];
            let keys = &mut sealer.keys;
            let end = HEADER + content.len();
            out[HEADER..end].copy_from_slice(content);
            let [high, low] = length_of(content.len() + TAG);
            let header = [23, 3, 3, high, low];
            out[..HEADER].copy_from_slice(&header);
            let nonce = Nonce::assume_unique_for_key(keys.nonce());
            let tag =
                keys.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[HEADER..end]).unwrap();
            out[end..end + TAG].copy_from_slice(tag.as_ref());
            out.truncate(end + TAG);
            opener.open(&mut out).map(|(content, range)| (content, out[range].to_vec()))
        };
        assert_eq!(padded(b"hi\x17\0\0\0"), Ok((Content::Data, b"hi".to_vec())));
        assert_eq!(padded(b"\x01\x00\x15"), Ok((Content::Alert, b"\x01\x00".to_vec())));
        assert_eq!(padded(b"\0\0\0"), Err(Refused::Unexpected));
        assert_eq!(padded(b"hi\x99"), Err(Refused::Unexpected));
    }

    #[test]
    fn record_that_says_it_is_too_long_is_refused_before_it_is_here() {
        assert_eq!(whole(&[23, 3, 3, 0x48, 0x00]), Ok(None));
        assert_eq!(whole(&[23, 3, 3, 0x48, 0x01]), Err(Refused::Overflow));
        assert_eq!(whole(b"GET "), Ok(None));
    }

    #[test]
    fn keys_seal_only_so_many_records() {
        let suite = suites().find(|suite| format!("{:?}", suite.suite()).contains("AES_256")).unwrap();
        let limit = match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        let mut sealer = Sealer::new(suite, (limit - 65, secrets(suite))).unwrap();
        let mut out = vec![0; LONGEST];
        assert!(!sealer.is_tired());
        sealer.seal(Content::Data, &[], &mut out).unwrap();
        assert!(sealer.is_tired());
        for _ in 0..64 {
            sealer.seal(Content::Data, &[], &mut out).unwrap();
        }
        assert_eq!(sealer.seal(Content::Data, &[], &mut out), Err(Refused::Exhausted));
    }
}
