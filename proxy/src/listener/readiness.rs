//! A listening socket that is watched without being accepted from.
#![allow(unsafe_code, reason = "tokio can't see that a socket keeps its descriptor")]

use std::io;

use socket2::Socket;
use tokio::io::{Interest, unix::AsyncFd};

use super::Watched;

/// Tells when a connection can be accepted, without accepting it (`tokio::net::TcpListener` can't).
pub(crate) fn watch(socket: Socket) -> io::Result<Watched> {
    // SAFETY: a `Socket` owns its descriptor, returns the same one from `as_raw_fd` for as long as it lives, and closes
    // it only when dropped; `AsyncFd` drops it after taking it out of the reactor.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(registered?)
}
