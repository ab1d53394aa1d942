//! What the proxy's side says of itself: how good a holder of the address this node would be.

use serde::{Deserialize, Serialize};

/// How good a holder of the address this node is, with the reasons in words.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Readiness {
    /// Everything is well: the configured priority.
    Ready,
    /// `reasons.len()` degradations: the band 2..=17.
    Degraded {
        /// One clause each; their number is the n of the level. Not empty.
        reasons: Vec<String>,
    },
    /// Nothing bad is known, but what is good is too young to count: eight degradations, the bottom of the band.
    Starting {
        /// Since when, until when.
        reason: String,
    },
    /// Serves, but anyone better should take over: priority 1.
    Leaving {
        /// Why.
        reason: String,
    },
    /// Holding the address would serve nobody: no part in elections.
    Fault {
        /// Why.
        reason: String,
    },
}
