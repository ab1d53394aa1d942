//! Writes to either side: at once if the socket takes it, else under a deadline.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use crate::{stream::Stream, wheel::Deadline};

/// A write that did not work.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The peer took nothing for too long.
    Elapsed,
    /// The connection broke.
    Broken,
}

/// Writes all of `bytes`; nothing may stand still for longer than `timeout`.
pub(super) async fn all<S: Stream>(
    stream: &S,
    bytes: &[u8],
    deadline: &Deadline,
    timeout: Duration,
) -> Result<(), WriteError> {
    all_vectored(stream, &mut [IoSlice::new(bytes)], deadline, timeout).await
}

/// The same for several pieces.
pub(super) async fn all_vectored<S: Stream>(
    stream: &S,
    mut pieces: &mut [IoSlice<'_>],
    deadline: &Deadline,
    timeout: Duration,
) -> Result<(), WriteError> {
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        let written = match &*pieces {
            [bytes] => stream.try_write(bytes),
            pieces => stream.try_write_vectored(pieces),
        };
        match written {
            Ok(0) => return Err(WriteError::Broken),
            Ok(n) => IoSlice::advance_slices(&mut pieces, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                writable(stream, deadline, timeout).await?;
            }
            Err(_) => return Err(WriteError::Broken),
        }
    }
    Ok(())
}

/// Waits until the peer takes more.
pub(super) async fn writable<S: Stream>(
    stream: &S,
    deadline: &Deadline,
    timeout: Duration,
) -> Result<(), WriteError> {
    deadline.arm(timeout);
    let ready = deadline.guard(stream.writable()).await;
    deadline.disarm();
    match ready {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(WriteError::Broken),
        Err(_) => Err(WriteError::Elapsed),
    }
}
