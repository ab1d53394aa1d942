//! What one check found.

use crate::status::CheckCode;

/// HAProxy keeps this many bytes of what there is to say about a check (`HCHK_DESC_LEN` without the end of a C string).
const LONGEST_INFO: usize = 127;

/// How a check ended, and what there is to say about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) code: CheckCode,
    pub(crate) what: String,
    /// What the server calls its answer: a status of HTTP, a reply code of SMTP, an error number of MySQL.
    pub(crate) status: Option<u16>,
    /// What HAProxy says of it; may be empty.
    pub(crate) info: String,
}

impl Outcome {
    pub(crate) fn new(code: CheckCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), status: None, info: String::new() }
    }

    pub(crate) fn with_status(code: CheckCode, status: u16, what: impl Into<String>) -> Self {
        Self { status: Some(status), ..Self::new(code, what) }
    }

    /// The same in HAProxy's words: up to the first zero byte, as C takes texts.
    pub(crate) fn saying(self, info: impl AsRef<[u8]>) -> Self {
        let text = info.as_ref().split(|&byte| byte == 0).next().unwrap_or_default();
        let text = &text[..text.len().min(LONGEST_INFO)];
        Self { info: String::from_utf8_lossy(text).into_owned(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_servers_end_where_haproxy_ends_them() {
        let said = |info: &[u8]| Outcome::new(CheckCode::L7Status, "").saying(info).info;
        assert_eq!(said(b"FATAL\0VFATAL"), "FATAL");
        assert_eq!(said(&[b'x'; 200]), "x".repeat(127));
    }
}
