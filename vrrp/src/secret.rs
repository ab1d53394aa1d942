//! What the nodes of a cluster know and nobody else: by it they sign what they say to each other (HMAC-SHA256, RFC 2104).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Octets of a signature.
pub const SIGNATURE: usize = 32;

/// 16 to 255 characters of printable ASCII. Not shown by `Debug`.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

/// No [`Secret`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoSecret {
    /// Nothing that others would not know.
    #[error("is empty")]
    Empty,
    /// It could be guessed.
    #[error("has {0} characters; a secret has 16 to 255")]
    Length(usize),
    /// More than one line, or something that an editor can't show.
    #[error("has more than one line of printable ASCII")]
    NotPrintable,
}

impl Secret {
    /// The fewest and the most characters.
    const LENGTHS: std::ops::RangeInclusive<usize> = 16..=255;

    /// # Errors
    /// See [`NoSecret`].
    pub fn new(text: &str) -> Result<Self, NoSecret> {
        if text.is_empty() {
            return Err(NoSecret::Empty);
        }
        if !text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ') {
            return Err(NoSecret::NotPrintable);
        }
        if !Self::LENGTHS.contains(&text.len()) {
            return Err(NoSecret::Length(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Is it so short, or of so few characters, that somebody may have thought it up? Whoever has seen one signature can try
    /// out guesses as fast as machines are.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        const SHORT: usize = 32;
        const FEW: usize = 8;
        let characters: std::collections::BTreeSet<u8> = self.0.bytes().collect();
        self.0.len() < SHORT || characters.len() < FEW
    }

    /// The signature of `parts`. What is signed for one `purpose` is worth nothing for another one.
    pub fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; SIGNATURE] {
        self.digest(purpose, parts).finalize().into_bytes().into()
    }

    /// Whether `signature` is that of `parts`; takes as long if it is not.
    pub fn is_signed(&self, purpose: &str, parts: &[&[u8]], signature: &[u8]) -> bool {
        self.digest(purpose, parts).verify_slice(signature).is_ok()
    }

    /// Each part behind its length, so that no octet can go from one to the next.
    fn digest(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut digest =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("a key may have any length");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest
    }
}

impl TryFrom<String> for Secret {
    type Error = NoSecret;
    fn try_from(text: String) -> Result<Self, NoSecret> {
        Self::new(&text)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new("correct horse battery staple").unwrap()
    }

    #[test]
    fn a_secret_has_16_to_255_printable_characters_and_is_not_shown() {
        assert_eq!(format!("{:?}", secret()), "Secret(..)");
        for length in [16, 255] {
            assert!(Secret::new(&"x".repeat(length)).is_ok());
        }
        for (text, why) in [
            (String::new(), NoSecret::Empty),
            ("x".repeat(15), NoSecret::Length(15)),
            ("x".repeat(256), NoSecret::Length(256)),
            ("two lines of text\nare none".to_owned(), NoSecret::NotPrintable),
            ("caf\u{e9} caf\u{e9} caf\u{e9}".to_owned(), NoSecret::NotPrintable),
        ] {
            assert_eq!(Secret::new(&text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn what_somebody_thought_up_can_be_guessed_and_random_octets_can_not() {
        for (text, is_guessable) in [
            ("correct horse battery staple", true),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true),
            ("0123456701234567012345670123456", true),
            // `openssl rand -hex 16`, and `-base64 24`
            ("9f2c41d07be8a6533c90f1e47d2ab865", false),
            ("q3r1Zb0u8Wm5yT7kLx2Vd9Nc6HjA4sEf", false),
        ] {
            assert_eq!(Secret::new(text).unwrap().is_guessable(), is_guessable, "{text}");
        }
    }

    /// Against `printf '\0\0\0\0\0\0\0\5hello\0\0\0\0\0\0\0\3abc' | openssl dgst -sha256 -hmac 'correct horse battery staple'`.
    #[test]
    fn a_signature_is_that_of_openssl() {
        let hex: String =
            secret().sign("hello", &[b"abc"]).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "2da1d6c8203e003858255e691bd1b448b59ce8fa4394a4ba2d366824906ecb8c");
    }

    #[test]
    fn a_signature_is_for_one_secret_one_purpose_and_parts_as_they_are() {
        let signature = secret().sign("hello", &[b"abc", b"d"]);
        assert!(secret().is_signed("hello", &[b"abc", b"d"], &signature));
        let other = Secret::new("correct horse battery Staple").unwrap();
        assert!(!other.is_signed("hello", &[b"abc", b"d"], &signature));
        assert!(!secret().is_signed("goodbye", &[b"abc", b"d"], &signature));
        assert!(!secret().is_signed("hello", &[b"ab", b"cd"], &signature));
        assert!(!secret().is_signed("hello", &[b"abcd"], &signature));
        assert!(!secret().is_signed("hello", &[b"abc", b"d"], &signature[..31]));
    }
}
