//! Messages with descriptors beside them: one JSON value per packet of a SOCK_SEQPACKET pair.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::retry_on_intr,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// Descriptors in one packet. The kernel takes 253.
pub const DESCRIPTORS_MAX: usize = 64;

/// Both ends; closed in whatever this process starts.
///
/// # Errors
/// No descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends `message` with at most [`DESCRIPTORS_MAX`] descriptors, which the other side gets as its own.
///
/// # Errors
/// The other side is gone, does not read (`WouldBlock`, if the socket is non-blocking), or the message is too long.
pub fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let packet = serde_json::to_vec(message).map_err(io::Error::other)?;
    send_packet(socket, &packet, descriptors)
}

/// The same with a message that is written already.
///
/// # Errors
/// As [`send`].
pub fn send_packet(socket: impl AsFd, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let socket = socket.as_fd();
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The next message; `None` at the end. `room` bounds its length.
///
/// # Errors
/// Nothing is there (`WouldBlock`), or it can't be read as a message (`InvalidData`).
pub fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
    room: &mut [u8],
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let socket = socket.as_fd();
    // A wait with a limit ends also when the process is stopped and goes on, whatever its signals do (signal(7)).
    let received = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let descriptors: Vec<_> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    let packet = room.get(..received.bytes).unwrap_or_default();
    let message =
        serde_json::from_slice(packet).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read, Seek, Write},
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::gettid,
    };
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use tokio::signal::unix::SignalKind;

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_message_and_the_end_is_seen() {
        let (one, other) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        send(&one, &"first", &[]).unwrap();
        send(&one, &"second", &[file.as_fd(); DESCRIPTORS_MAX]).unwrap();
        drop(one);
        let mut room = [0; 100];
        let (message, descriptors) = receive::<String>(&other, &mut room).unwrap().unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("first", 0));
        let (message, mut descriptors) = receive::<String>(&other, &mut room).unwrap().unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("second", DESCRIPTORS_MAX));
        fs::File::from(descriptors.remove(9)).write_all(b"same").unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "same");
        assert!(receive::<String>(&other, &mut room).unwrap().is_none());
        assert!(send(&other, &"nobody", &[]).is_err());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (one, other) = pair().unwrap();
        send(&one, &7, &[]).unwrap();
        let error = receive::<String>(&other, &mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_signal_ends_no_wait_that_has_a_limit() {
        // One whose handler does nothing.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handler = async { tokio::signal::unix::signal(SignalKind::user_defined1()) };
        let _handler = runtime.block_on(handler).unwrap();
        let (one, other) = pair().unwrap();
        set_socket_timeout(&other, Timeout::Recv, Some(Duration::from_secs(60))).unwrap();
        let (tell, told) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(gettid()).unwrap();
            receive::<String>(&other, &mut [0; 100])
        });
        let thread = told.recv().unwrap();
        // How often it has slept, if it sleeps where it receives; `None` if it has ended.
        let sleeps = || -> Option<Option<u64>> {
            let of = |file| fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).ok();
            let (call, status) = (of("syscall")?, of("status")?);
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            let receives = call.starts_with(&format!("{} ", libc::SYS_recvmsg));
            Some(receives.then(|| count.trim().parse().unwrap()))
        };
        let end = Instant::now() + Duration::from_secs(60);
        let wait = |is_so: &dyn Fn(Option<u64>) -> bool| loop {
            match sleeps() {
                Some(count) if !is_so(count) => assert!(Instant::now() < end),
                found => break found.flatten(),
            }
            thread::yield_now();
        };
        let before = wait(&|count| count.is_some());
        // By the number of a thread: Linux gives it to that one.
        kill(thread, Signal::SIGUSR1).unwrap();
        wait(&|count| count > before);
        send(&one, &"word", &[]).unwrap_or_default();
        let (message, _) = waiting.join().unwrap().unwrap().unwrap();
        assert_eq!(message, "word");
    }
}
