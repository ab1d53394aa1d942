//! Writes to either side: at once if the socket takes it, else under a deadline.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use socket2::SockRef;
use tokio::io::Interest;

use crate::{
    buffer::BUFFER_SIZE,
    stream::Stream,
    wheel::Deadline,
    worker::turns::{self, BehindTheOthers},
};

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

/// Sends what the socket takes of `pieces`. The kernel may keep the end of it (MSG_MORE) for what is sent next, which has to be here
/// already: so its reader is woken once, and not twice. What is left stays in `pieces`, and so does all if it can't be had: whoever
/// sends the rest meets the error.
pub(super) fn ahead<S: Stream>(stream: &S, pieces: &mut &mut [IoSlice<'_>]) {
    IoSlice::advance_slices(pieces, 0);
    let Some(socket) = stream.plain().filter(|_| !pieces.is_empty()) else { return };
    let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let sent =
        socket.try_io(Interest::WRITABLE, || SockRef::from(socket).send_vectored_with_flags(pieces, flags));
    if let Ok(sent) = sent {
        IoSlice::advance_slices(pieces, sent);
    }
}

/// To be waited for before the first `length` bytes of a message are written to `stream`: they are sent with what others send in this turn
/// (decision 56). Not if they fill a buffer, which keeps its peer awake by itself, nor if somebody else gathers them, who has the socket.
/// What follows the first is written at once: a task that had itself woken for each piece would keep the kernel from being asked.
pub(super) fn with_others<S: Stream>(stream: &S, length: usize) -> BehindTheOthers {
    turns::behind_the_others_if(length < BUFFER_SIZE && stream.socket().is_some())
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
        runtime::{Builder, LocalOptions},
        task::spawn_local,
    };

    use super::*;
    use crate::wheel::Wheel;

    /// A stream and who reads from it.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (stream, listener.accept().await.unwrap().0)
    }

    /// Two tasks of one turn think and send `length` bytes each: in which order?
    fn order(length: usize) -> Vec<&'static str> {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let order = Rc::new(RefCell::new(Vec::new()));
            let pairs = [("a thinks", "a sends", pair().await), ("b thinks", "b sends", pair().await)];
            for (_, _, (stream, _)) in &pairs {
                stream.writable().await.unwrap();
            }
            let mut tasks = Vec::new();
            let mut peers = Vec::new();
            for (thinks, sends, (stream, peer)) in pairs {
                peers.push(peer);
                let order = Rc::clone(&order);
                tasks.push(spawn_local(async move {
                    order.borrow_mut().push(thinks);
                    let deadline = Wheel::new().deadline();
                    with_others(&stream, length).await;
                    all(&stream, &vec![b'x'; length], &deadline, Duration::from_secs(60)).await.unwrap();
                    order.borrow_mut().push(sends);
                }));
            }
            for (task, mut peer) in tasks.into_iter().zip(peers) {
                task.await.unwrap();
                assert_eq!(peer.read_to_end(&mut Vec::new()).await.unwrap(), length);
            }
            Rc::into_inner(order).unwrap().into_inner()
        })
    }

    #[test]
    fn what_is_small_is_sent_when_all_of_the_turn_have_thought_and_bulk_at_once() {
        assert_eq!(order(1), ["a thinks", "b thinks", "a sends", "b sends"]);
        assert_eq!(order(BUFFER_SIZE), ["a thinks", "a sends", "b thinks", "b sends"]);
    }

    /// What was sent ahead comes with what is sent behind it, in one packet. The kernel waits for that 200 ms at most, and a busy machine may need as long:
    /// so it is tried a few times.
    #[tokio::test]
    async fn what_is_sent_ahead_comes_with_what_follows_it() {
        let is_one_packet = async || {
            let (stream, peer) = pair().await;
            stream.writable().await.unwrap();
            let mut pieces = &mut [IoSlice::new(b"he"), IoSlice::new(b"ad ")][..];
            ahead(&stream, &mut pieces);
            assert!(pieces.is_empty());
            let deadline = Wheel::new().deadline();
            all(&stream, b"and the rest", &deadline, Duration::from_secs(60)).await.unwrap();
            peer.readable().await.unwrap();
            let mut bytes = [0; 64];
            let length = peer.try_read(&mut bytes).unwrap();
            assert!(b"head and the rest".starts_with(&bytes[..length]));
            length == 17
        };
        for attempt in 1.. {
            if is_one_packet().await {
                break;
            }
            assert!(attempt < 5, "it comes by itself");
        }
    }

    #[tokio::test]
    async fn what_a_full_socket_does_not_take_ahead_is_left_for_who_writes_the_rest() {
        let (stream, mut peer) = pair().await;
        stream.writable().await.unwrap();
        while stream.try_write(&[b'x'; 65_536]).is_ok() {}
        let mut pieces = &mut [IoSlice::new(b"head")][..];
        ahead(&stream, &mut pieces);
        let left: usize = pieces.iter().map(|piece| piece.len()).sum();
        let deadline = Wheel::new().deadline();
        let written = all_vectored(&stream, pieces, &deadline, Duration::from_secs(60));
        let read = async {
            let mut all = Vec::new();
            while !all.ends_with(b"head") {
                peer.read_buf(&mut all).await.unwrap();
            }
        };
        tokio::join!(async { written.await.unwrap() }, read);
        assert_eq!(left, 4);
    }
}
