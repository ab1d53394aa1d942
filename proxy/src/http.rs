//! HTTP/1: heads and bodies in, the same meaning in our own bytes out.
//!
//! The codec ([`head`], [`body`], [`headers`], [`target`]) is pure: bytes in, values out, no I/O, no clock. Nothing is
//! forwarded as it came: each head is parsed to a model and written anew, each body decoded and framed anew.

pub mod body;
mod budget;
mod bulk;
mod compression;
pub(crate) mod cookie;
mod download;
mod exchange;
mod forwarded;
pub mod head;
pub mod headers;
mod idle;
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
mod room;
mod server_name;
mod session;
pub mod target;
mod upload;
pub(crate) mod values;
pub(crate) mod websocket;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    budget::RetryBudget, compression::Compressors, cookie::CookiePolicy, download::MAX_INTERIM, idle::Idle,
    outcome::Termination, room::Rooms,
};

use std::{rc::Rc, time::Duration};

use self::session::{Left, Session};
use crate::{connection::Connection, stream::Stream};

/// Why a connection is not served any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It is to be closed.
    Closed,
    /// It is to be served under another generation of the configuration.
    Outdated,
}

/// Answers a connection that may not stay with `status`, whatever it wants.
pub(crate) async fn turn_away<S: Stream>(connection: &Connection<S>, status: u16, retry_after: Duration) {
    let deadline = connection.worker().wheel().deadline();
    Session::new(connection, Idle::new(connection), &deadline, None).turn_away(status, retry_after).await;
}

/// Serves a connection of a frontend with [`crate::config::Mode::Http`]. `idle` is there while no request is.
pub(crate) async fn serve<S: Stream>(
    connection: &Rc<Connection<S>>,
    idle: &mut Option<Idle>,
    rooms: &Rooms<S>,
) -> End {
    while let Some(waiting) = idle {
        let Some(waited) = waiting.wait(connection).await else { return End::Outdated };
        match rooms.serve(connection, idle, waited).await {
            Left::Idle => {}
            Left::Closed => break,
            Left::Outdated => return End::Outdated,
        }
    }
    End::Closed
}
