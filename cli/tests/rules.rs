//! Rules from the file to the wire: what a client is answered, and what a server is sent, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

#[path = "rules/answers.rs"]
mod answers;
#[path = "rules/attacks.rs"]
mod attacks;
#[path = "rules/auth.rs"]
mod auth;
#[path = "rules/beside_haproxy.rs"]
mod beside_haproxy;
#[path = "rules/limits.rs"]
mod limits;
#[path = "rules/requests.rs"]
mod requests;
#[path = "rules/responses.rs"]
mod responses;
#[path = "rules/rewrites.rs"]
mod rewrites;
#[path = "rules/rig.rs"]
mod rig;
