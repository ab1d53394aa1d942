//! HTTP/1: heads and bodies in, the same meaning in our own bytes out.
//!
//! The codec ([`head`], [`body`], [`headers`], [`target`]) is pure: bytes in, values out, no I/O, no clock. Nothing is
//! forwarded as it came: each head is parsed to a model and written anew, each body decoded and framed anew.

pub mod body;
mod budget;
mod bulk;
mod carried;
mod compression;
mod cookie;
mod download;
mod exchange;
pub mod head;
pub mod headers;
mod inbound;
mod incoming;
mod inquire;
mod linger;
mod memory;
pub mod message;
mod outcome;
mod pace;
mod proof;
pub(crate) mod query;
pub(crate) mod reason;
pub mod reply;
mod session;
pub mod target;
mod upload;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    budget::RetryBudget, carried::Carried, compression::Compressors, cookie::CookiePolicy,
    outcome::Termination,
};

use std::time::Duration;

use self::session::{End, Session};
use crate::{connection::Connection, stream::Stream};

/// Answers a connection that may not stay with 429, whatever it wants.
pub(crate) async fn turn_away<S: Stream>(connection: &Connection<S>, retry_after: Duration) {
    Session::new(connection).turn_away(retry_after).await;
}

/// Serves a connection of a frontend with [`crate::config::Mode::Http`]; `carried` is what a session before has left. Ends
/// with what is left for the next one if that is to go on under another generation of the configuration.
pub(crate) async fn serve<S: Stream>(
    connection: &Connection<S>,
    carried: Option<Box<Carried>>,
) -> Option<Box<Carried>> {
    let mut session = match carried {
        None => Session::new(connection),
        Some(carried) => carried.resume(connection),
    };
    match session.run().await {
        End::Closed => None,
        End::Outdated => Some(Carried::new(session)),
    }
}
