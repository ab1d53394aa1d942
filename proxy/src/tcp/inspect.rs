//! Waits for the first bytes of a client, where rules ask what is in them. They stay where they are: whoever gets the
//! connection reads them.

use std::{io, os::fd::AsRawFd, pin::pin};

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use crate::{
    buffer::Buffer,
    client_hello::{ClientHello, Found, LONGEST},
    connection::Connection,
    stream::{self, Stream},
};

/// The ClientHello of a connection; `None` if it begins with something else, or with nothing within `timeout.inspect`.
pub(super) async fn client_hello<S: Stream>(connection: &Connection<S>) -> Option<ClientHello> {
    let client = connection.stream().plain()?;
    let worker = connection.worker();
    let deadline = worker.wheel().deadline();
    let limit = connection.frontend().timeout.inspect;
    deadline.limit(limit, pin!(wait(client, worker.buffers().take()))).await.ok().flatten()
}

async fn wait(client: &TcpStream, mut buffer: Buffer) -> Option<ClientHello> {
    let room = &mut buffer.unfilled()[..LONGEST];
    loop {
        let ready = client.ready(Interest::READABLE).await.ok()?;
        match client.try_io(Interest::READABLE, || peek(client, room)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return None,
            Ok(seen) => match ClientHello::find(&room[..seen]) {
                Found::Whole(hello) => return Some(hello),
                Found::Nothing => return None,
                Found::Part if ready.is_read_closed() => return None,
                Found::Part => return wait_for_more(client, room, seen).await,
            },
        }
    }
}

/// What is in the queue has been seen, and is to be seen by the session, for whose runtime the socket has to stay readable. So
/// another handle on it waits for what comes behind.
async fn wait_for_more(client: &TcpStream, room: &mut [u8], mut seen: usize) -> Option<ClientHello> {
    let watch = stream::from_socket(SockRef::from(client).try_clone().ok()?).ok()?;
    loop {
        let ready = watch.ready(Interest::READABLE).await.ok()?;
        let _ = watch.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        let now = peek(client, room).ok()?;
        if now > seen {
            match ClientHello::find(&room[..now]) {
                Found::Whole(hello) => return Some(hello),
                Found::Nothing => return None,
                Found::Part => seen = now,
            }
        }
        if ready.is_read_closed() {
            return None;
        }
    }
}

fn peek(client: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    Ok(recv(client.as_raw_fd(), room, MsgFlags::MSG_PEEK)?)
}
