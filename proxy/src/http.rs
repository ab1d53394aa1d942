//! HTTP/1: heads and bodies in, the same meaning in our own bytes out.
//!
//! The codec ([`head`], [`body`], [`headers`], [`target`]) is pure: bytes in, values out, no I/O, no clock. Nothing is
//! forwarded as it came: each head is parsed to a model and written anew, each body decoded and framed anew.

pub mod body;
mod budget;
mod bulk;
mod compression;
mod cookie;
mod download;
mod exchange;
pub mod head;
pub mod headers;
mod inbound;
mod incoming;
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
    budget::RetryBudget, compression::Compressors, cookie::CookiePolicy, outcome::Termination,
};

use std::time::Duration;

use self::session::Session;
use crate::{connection::Connection, stream::Stream};

/// Answers a connection that may not stay with 429, whatever it wants.
pub(crate) async fn turn_away<S: Stream>(connection: &Connection<S>, retry_after: Duration) {
    Session::new(connection).turn_away(retry_after).await;
}

/// Serves a connection of a frontend with [`crate::config::Mode::Http`].
pub(crate) async fn serve<S: Stream>(connection: &Connection<S>) {
    Session::new(connection).run().await;
}
