//! What is answered without a server: pages of the operator's own, and a monitor's question.

use super::BackendId;

/// A page of the operator's own for one status (HAProxy `errorfile`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorPage {
    /// 400..=599, one that lbctl answers itself.
    pub status: u16,
    /// As the configuration has it.
    pub file: String,
    /// Field lines, each with its CRLF; none that frames the message or speaks of the connection.
    pub fields: Vec<u8>,
    /// The content, at most 64 kB.
    pub content: Vec<u8>,
}

/// Answers a question about this node here (HAProxy `monitor-uri`): 200, or 503 while it should not get traffic. Never
/// logged, and not counted among the requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Monitor {
    /// The whole target of the request.
    pub uri: String,
    /// Any of them makes it 503.
    pub fail_if: Vec<TooFew>,
}

/// A backend has fewer usable servers than that (HAProxy `monitor fail if { nbsrv(backend) lt 1 }`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooFew {
    /// Which.
    pub backend: BackendId,
    /// At least 1.
    pub usable_below: u32,
}
