//! Messages with descriptors beside them: one JSON value per packet of a SOCK_SEQPACKET pair.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
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
    sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)?;
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
    let received = recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
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
    use std::io::{Read, Seek, Write};

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
        std::fs::File::from(descriptors.remove(9)).write_all(b"same").unwrap();
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
}
