//! Users who prove who they are with a password (Basic authentication, RFC 7617), without a worker that waits.
//!
//! ```text
//! rules: RequireAuth ── Gate::check ──> known to this worker ──> granted, or a challenge
//!                          └ unknown ──> the rules end with a Question; the session waits
//!                                          │ Verifier: a bounded line, in turn by source
//!                                          └─> thread lbctl-password-N: hash, compare ──> the rules run anew, and now it is known
//! ```
//! To hash a password takes milliseconds, on purpose: it never happens on a worker, and only once for the same
//! credentials as long as a configuration is in force. What is kept of credentials is a keyed hash.

mod credentials;
mod gate;
mod known;
mod password;
mod verifier;

#[cfg(test)]
mod tests;

pub use self::password::PasswordHash;
pub(crate) use self::{
    gate::{Gate, Pass},
    known::{Known, Outcome, Proof},
    verifier::{Busy, Question, Verifier},
};
