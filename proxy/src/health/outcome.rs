//! What one check found.

use crate::status::CheckCode;

/// How a check ended, and what there is to say about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) code: CheckCode,
    pub(crate) what: String,
    /// The status of an HTTP answer.
    pub(crate) status: Option<u16>,
    /// Its reason phrase.
    pub(crate) phrase: String,
}

impl Outcome {
    pub(crate) fn new(code: CheckCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), status: None, phrase: String::new() }
    }

    pub(crate) fn with_status(code: CheckCode, status: u16, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), status: Some(status), phrase: String::new() }
    }
}
