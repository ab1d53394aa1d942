//! `GET /v1/diff`: what runs, against the file.

use serde::{Deserialize, Serialize};

use super::{Change, InForce, Timestamp};

/// Answer of `GET /v1/diff`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DiffReport {
    /// When it was made.
    pub at: Timestamp,
    /// The file.
    pub path: String,
    /// SHA-256 of what is in force, hexadecimal.
    pub hash: String,
    /// Of the file as it is now.
    pub hash_of_file: String,
    /// What a reload would change.
    pub changes: Vec<Change>,
    /// Why a reload would be refused, as far as that is known before it is tried.
    pub refused: Option<String>,
    /// Orders that go before the file.
    pub orders: Vec<InForce>,
}

impl DiffReport {
    /// What runs is what the file says.
    pub fn is_none(&self) -> bool {
        self.changes.is_empty() && self.orders.is_empty()
    }
}
