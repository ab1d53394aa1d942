//! Simple text authentication of VRRPv2 (RFC 2338 §5.3.6, dropped by RFC 3768 because it protects nothing).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Octets of authentication data, present whatever the authentication type (RFC 3768 §5.3.10).
pub(crate) const LENGTH: usize = 8;

/// 1 to 8 octets of printable ASCII, sent in clear text in each advertisement. Not shown by `Debug`.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Password(String);

/// No [`Password`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoPassword {
    /// Nothing to compare.
    #[error("is empty")]
    Empty,
    /// More than VRRPv2 has room for; keepalived takes the first 8 of them.
    #[error("has {0} characters; VRRPv2 has room for 8, and keepalived sends the first 8 of more")]
    TooLong(usize),
    /// It could not be typed into another router's configuration.
    #[error("has a character that is not printable ASCII")]
    NotPrintable,
}

impl Password {
    /// # Errors
    /// See [`NoPassword`].
    pub fn new(text: &str) -> Result<Self, NoPassword> {
        if text.is_empty() {
            return Err(NoPassword::Empty);
        }
        if !text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ') {
            return Err(NoPassword::NotPrintable);
        }
        if text.len() > LENGTH {
            return Err(NoPassword::TooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// As the file has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is sent: zeroes behind it.
    pub(crate) fn data(&self) -> [u8; LENGTH] {
        let mut data = [0; LENGTH];
        for (octet, from) in data.iter_mut().zip(self.0.bytes()) {
            *octet = from;
        }
        data
    }
}

impl TryFrom<String> for Password {
    type Error = NoPassword;
    fn try_from(text: String) -> Result<Self, NoPassword> {
        Self::new(&text)
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::{NoPassword, Password};

    #[test]
    fn a_password_has_one_to_eight_printable_characters_and_is_not_shown() {
        let password = Password::new("secret").unwrap();
        assert_eq!(password.data(), *b"secret\0\0");
        assert_eq!(format!("{password:?}"), "Password(..)");
        assert!(Password::new("8 octets").is_ok());
        for (text, why) in [
            ("", NoPassword::Empty),
            ("9 octets.", NoPassword::TooLong(9)),
            ("caf\u{e9}", NoPassword::NotPrintable),
            ("a\tb", NoPassword::NotPrintable),
        ] {
            assert_eq!(Password::new(text), Err(why), "{text:?}");
        }
    }
}
