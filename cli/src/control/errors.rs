//! Messages that were refused because they are not valid.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Answer of `GET /v1/errors`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorsReport {
    /// When it was made.
    pub at: Timestamp,
    /// The last ones that each worker has kept, oldest first.
    #[serde(default)]
    pub messages: Vec<InvalidMessage>,
    /// Workers that did not answer in time: what they keep is not among these.
    #[serde(default)]
    pub silent_workers: usize,
    /// Names of the frontends of the file.
    #[serde(default)]
    pub frontends: Vec<String>,
    /// Names of the backends of the file.
    #[serde(default)]
    pub backends: Vec<String>,
}

/// A message that was refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InvalidMessage {
    /// When.
    pub at: Timestamp,
    /// `request`, `request_content`, `response` or `response_content`.
    pub kind: String,
    /// Where the client came in.
    pub frontend: String,
    /// Of an exchange that got a server.
    #[serde(default)]
    pub backend: Option<String>,
    /// The server that it got.
    #[serde(default)]
    pub server: Option<String>,
    /// Address and port.
    pub client: String,
    /// What is wrong.
    pub reason: String,
    /// The byte that is wrong, counted from 0: of the message, or of a piece of its content.
    pub position: usize,
    /// Bytes that had come.
    pub length: usize,
    /// Bytes that are left out before `bytes`.
    pub skipped: usize,
    /// Those around the fault: printable ASCII as it is, `\\`, `\r`, `\n` and `\t`, any other byte as `\x0f`.
    pub bytes: String,
}
