//! Passwords as they are kept: hashed, in the text forms of crypt(5).

use std::fmt;

use sha_crypt::{PasswordHasher, PasswordVerifier, ShaCrypt};
use yescrypt::Yescrypt;

use self::bcrypt::Bcrypt;

mod bcrypt;

/// The hash of a password: SHA-512-crypt (`$6$`), SHA-256-crypt (`$5$`), bcrypt (`$2b$`, `$2y$`, `$2a$`) or yescrypt
/// (`$y$`).
#[derive(Clone, Eq, PartialEq)]
pub struct PasswordHash {
    text: Box<str>,
    form: Form,
}

#[derive(Clone, Eq, PartialEq)]
enum Form {
    Sha,
    Bcrypt(Box<Bcrypt>),
    Yescrypt,
}

/// Rounds of SHA-crypt; the default is 5,000. More would be a login that takes seconds.
const ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;

/// bcrypt's cost: 2^14 rounds take about a second.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// Memory of yescrypt in bytes; its default takes 16 MiB.
const MEMORY: u64 = 64 << 20;

/// What to write instead.
const HINT: &str = "write what `openssl passwd -6` or `mkpasswd` prints";

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// The end of a sentence that begins with what is wrong. It says nothing of the text, which may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = form(text)?;
        Ok(Self { text: text.into(), form })
    }

    /// Hashes a password with SHA-512-crypt, which takes milliseconds. The salt has to be another one for each password; it
    /// is no secret. `None` if the hash can't be made, which a salt of this length never brings about.
    pub fn of(password: &[u8], salt: [u8; 12]) -> Option<Self> {
        let hash = ShaCrypt::SHA512.hash_password_with_salt(password, &salt).ok()?;
        Some(Self { text: hash.as_str().into(), form: Form::Sha })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Is it the hash of this password? Takes milliseconds to a second.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match &self.form {
            Form::Sha => ShaCrypt::default().verify_password(password, &*self.text).is_ok(),
            Form::Bcrypt(bcrypt) => bcrypt.verify(password),
            Form::Yescrypt => Yescrypt::default().verify_password(password, &*self.text).is_ok(),
        }
    }
}

/// Not what it is.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

fn form(text: &str) -> Result<Form, String> {
    let cut = || Err(format!("is a hash that is cut off or damaged; {HINT}"));
    let Some((name, rest)) = text.strip_prefix('$').and_then(|text| text.split_once('$')) else {
        let what = if is_sha1_or_des(text) { "a hash that is broken" } else { "no hash of a password" };
        return Err(format!("is {what}; a password itself never stands here: {HINT}"));
    };
    match name {
        "5" | "6" => {
            let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
                Some((rounds, rest)) => (rounds.parse().unwrap_or(0), rest),
                None => (5_000, rest),
            };
            if !ROUNDS.contains(&rounds) {
                let (low, high) = (ROUNDS.start(), ROUNDS.end());
                return Err(format!("has rounds that are not {low}..{high}; {HINT}"));
            }
            let length = if name == "5" { 43 } else { 86 };
            match rest.split_once('$') {
                Some((salt, hash)) if is_salt(salt, 16) && is_text(hash, length) => Ok(Form::Sha),
                _ => cut(),
            }
        }
        "2a" | "2b" | "2y" => {
            let (cost, rest) = rest.split_once('$').unwrap_or_default();
            let Some(cost) = cost.parse().ok().filter(|_| cost.len() == 2) else { return cut() };
            if !COSTS.contains(&cost) {
                let (low, high) = (COSTS.start(), COSTS.end());
                return Err(format!("has a cost that is not {low}..{high}; {HINT}"));
            }
            match Bcrypt::new(cost, rest.as_bytes()) {
                Some(bcrypt) => Ok(Form::Bcrypt(Box::new(bcrypt))),
                None => cut(),
            }
        }
        "y" => {
            let (params, rest) = rest.split_once('$').unwrap_or_default();
            let Some(cost) = yescrypt_memory(params) else { return cut() };
            if cost > MEMORY {
                return Err(format!("takes more than {} MiB of memory; {HINT}", MEMORY >> 20));
            }
            match rest.split_once('$') {
                Some((salt, hash)) if is_salt(salt, 64) && is_text(hash, 43) => Ok(Form::Yescrypt),
                _ => cut(),
            }
        }
        "1" | "apr1" => Err(format!("is hashed with MD5, which is broken; {HINT}")),
        _ => Err(format!("is of a form that is not known; {HINT}")),
    }
}

/// Of parameters as mkpasswd writes them, without those that make a hash take longer still.
fn yescrypt_memory(params: &str) -> Option<u64> {
    let params = params.parse::<yescrypt::Params>().ok().filter(|_| params.len() == 3)?;
    params.n().checked_mul(u64::from(params.r()) * 128)
}

/// htpasswd's old forms.
fn is_sha1_or_des(text: &str) -> bool {
    text.starts_with("{SHA}") || is_text(text, 13)
}

fn is_text(text: &str, length: usize) -> bool {
    text.len() == length
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

fn is_salt(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && is_text(text, text.len())
}

#[cfg(test)]
mod tests;
