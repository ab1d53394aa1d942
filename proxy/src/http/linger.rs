//! The end of a client's connection, in stages (RFC 9112 §9.6): our side ends behind the response, and what the client
//! still sends is read and thrown away until it ends its own.
//!
//! A close at once makes the kernel answer the next byte that comes with a reset, and a reset takes from the client
//! what it has not read of the response yet.

use std::time::Duration;

use super::session::Session;
use crate::stream::Stream;

/// Read and thrown away at most: what fast lines hold while the response is on its way to a client that uploads.
const BYTES: usize = 16 * 1024 * 1024;

/// A client that sends nothing for so long has read the response, or never will.
const SILENCE: Duration = Duration::from_secs(2);

/// All in all, for one that trickles.
const TIME: Duration = Duration::from_secs(10);

/// All in all, while the node waits for its connections to end.
const DRAINING: Duration = Duration::from_millis(200);

impl<S: Stream> Session<'_, S> {
    /// Ends the connection. It holds its place among the frontend's connections, a buffer only while it reads, and up no
    /// drain.
    pub(super) async fn linger(&mut self) {
        let connection = self.connection;
        self.inbound.inbox = None;
        self.release();
        connection.set_over();
        if self.inbound.ended || connection.stream().shutdown().await.is_err() {
            return;
        }
        self.deadline.arm(if connection.is_draining() { DRAINING } else { TIME });
        let mut left = BYTES;
        loop {
            self.inbound.deadline.arm(SILENCE);
            let readable = self.inbound.deadline.guard(connection.stream().readable());
            match self.deadline.guard(readable).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(_)) | Err(_)) | Err(_) => return,
            }
            match self.inbound.read() {
                Ok(Some(n)) if n > 0 && n < left => left -= n,
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return,
            }
            self.inbound.inbox = None;
        }
    }
}
