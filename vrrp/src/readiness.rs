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
        /// What is wrong even as Active, where good news counts at once: one clause each. So a node that claims is
        /// [`Self::Degraded`] by these, or ready, from its first advertisement on.
        #[serde(default)]
        degradations: Vec<String>,
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

impl Readiness {
    /// The same of an Active.
    pub(crate) fn when_active(self) -> Self {
        match self {
            Self::Starting { degradations, .. } if degradations.is_empty() => Self::Ready,
            Self::Starting { degradations: reasons, .. } => Self::Degraded { reasons },
            other @ (Self::Ready | Self::Degraded { .. } | Self::Leaving { .. } | Self::Fault { .. }) => {
                other
            }
        }
    }
}
