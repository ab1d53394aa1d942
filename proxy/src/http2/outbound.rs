//! HTTP/2 towards servers: the mirror image of what clients have.
//!
//! ```text
//! exchange ── Lane (speaks HTTP/1.1) ──┐
//! exchange ── Lane ────────────────────┼── Trunk: Machine ── drive ── server
//! exchange ── Lane ────────────────────┘
//! ```
//! An exchange writes a request and reads a response as it does with a server of HTTP/1.1. Each of its lanes is such a connection,
//! and all lanes of a [`Trunk`] share the one that is there.

mod asking;
mod lane;
mod request;
pub(super) mod response;
mod trunk;

pub(super) use self::request::read as read_request;
pub(crate) use self::{
    asking::Asking,
    lane::{Blame, Lane as ServerLane},
    trunk::{LONELY, Trunk},
};
