//! Notices that a client leaves while it waits for a server. Nothing of what it sent is read.

use std::{future::pending, io, mem::MaybeUninit, time::Duration};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, task::yield_now, time::sleep};

use crate::wheel::TICK;

/// For a client that ends its side at once and still wants to be greeted, by a server that is quickly found.
const GRACE: Duration = Duration::from_millis(200);

/// Returns when the client has left: its connection broke, or it has ended its side without a byte that a server could
/// answer, which it is given a moment for. With `abortonclose` the end of its side is enough; else one that has sent something may still read, as many
/// protocols have it.
pub(super) async fn departure(client: &TcpStream, abortonclose: bool) {
    tokio::select! {
        // A reset shows at once, whatever lies unread.
        _ = client.ready(Interest::ERROR) => {}
        () = end(client, abortonclose) => {}
    }
}

async fn end(client: &TcpStream, abortonclose: bool) {
    // A server that is near is found by the next turn, and the client need not be looked at.
    yield_now().await;
    loop {
        let Ok(ready) = client.ready(Interest::READABLE).await else { return };
        if ready.is_read_closed() && abortonclose {
            return;
        }
        let peek = || SockRef::from(client).peek(&mut [MaybeUninit::uninit()]);
        match client.try_io(Interest::READABLE, peek) {
            Ok(0) if abortonclose => return,
            Ok(0) => return sleep(GRACE).await,
            // The end comes behind these bytes, without an event that could be waited for.
            Ok(_) if abortonclose => sleep(TICK).await,
            Ok(_) => pending().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
