//! Chunks that a socket holds: found without being read, so that the kernel moves many of them at once, with what frames them.
//!
//! ```text
//! known: data of the chunk in hand | \r\n 4000 \r\n data | \r\n 4000 \r\n data | \r\n ...
//! looked at:                         ^^^^^^^^^^^^          ^^^^^^^^^^^^          ^^ nothing there yet
//! ```
//! What is moved is seen by nobody but the peer, so each of its bytes that frames others was looked at, and is as we would write it
//! ourselves, but for the case of its digits. Everything else is left where it is: an extension, zeros before a size, the last chunk, trailers. Whoever reads on
//! there judges it as always.

use std::{cell::Cell, io, os::fd::AsRawFd as _};

use nix::{
    getsockopt_impl, setsockopt_impl,
    sys::socket::{
        MsgFlags, getsockopt, recv, setsockopt,
        sockopt::{GetStruct, OobInline, SetStruct},
    },
};
use tokio::net::TcpStream;

/// Bytes of what is between the data of two chunks: CRLF, at most [`DIGITS`], CRLF.
const FRAME: usize = 2 + DIGITS + 2;

/// Digits of a size: whoever reads chunks has 32 bits for one, and maybe a sign in them.
const DIGITS: usize = 7;

/// Bytes of the longest chunk of which something is moved.
pub(in crate::http) const LONGEST: u64 = (1 << (4 * DIGITS)) - 1;

/// What a look at a chunk costs, in bytes that could be copied instead.
const LOOK: u64 = 4 * 1024;

/// So far what large chunks have saved pays for looks at small ones among them.
const SAVED: u64 = 16 * LOOK;

/// So many bytes are moved before chunks are looked for again.
const ENOUGH: u64 = 1024 * 1024;

#[derive(Clone, Copy, Debug)]
struct PeekOffset;

// Where a look (MSG_PEEK) at a socket begins, or -1: at its first byte. Of TCP since Linux 6.9, and somewhat later over IPv6.
setsockopt_impl!(PeekOffset, libc::SOL_SOCKET, libc::SO_PEEK_OFF, i32, SetStruct<'_, i32>);
getsockopt_impl!(PeekOffset, libc::SOL_SOCKET, libc::SO_PEEK_OFF, i32, GetStruct<i32>);

/// See the module.
pub(in crate::http) struct Chunks<'s> {
    socket: &'s TcpStream,
    /// Nothing may be moved behind what is known.
    is_over: Cell<bool>,
    /// Bytes that were found and no look has been paid with.
    saved: Cell<u64>,
    /// The socket has an offset of ours.
    is_set: Cell<bool>,
}

impl<'s> Chunks<'s> {
    /// Those behind `known` bytes, which end with the data of one.
    pub(in crate::http) fn behind(socket: &'s TcpStream, known: u64) -> Self {
        let saved = Cell::new(known.min(SAVED));
        Self { socket, is_over: Cell::new(false), saved, is_set: Cell::new(false) }
    }

    /// The first `known` bytes of the socket may be moved, and end with the data of a chunk: adds the whole chunks that are found
    /// behind it, each without its end. Are there none of another kind behind those, nor many small ones?
    pub(in crate::http) fn extend(&self, known: &Cell<u64>) -> bool {
        while !self.is_over.get() && known.get() < ENOUGH {
            let mut bytes = [0; FRAME];
            let Ok(seen) = self.look(known.get(), &mut bytes) else {
                self.is_over.set(true);
                break;
            };
            match Found::in_bytes(&bytes[..seen]) {
                Found::Chunk(length) => match (self.saved.get() + length).checked_sub(LOOK) {
                    Some(saved) => {
                        self.saved.set(saved.min(SAVED));
                        known.set(known.get() + length);
                    }
                    None => self.is_over.set(true),
                },
                Found::Part => break,
                Found::Other => self.is_over.set(true),
            }
        }
        !self.is_over.get()
    }

    /// How many bytes there are behind the first `at`, as far as there is room for them.
    fn look(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let at = i32::try_from(at).map_err(io::Error::other)?;
        setsockopt(self.socket, PeekOffset, &at)?;
        if !self.is_set.replace(true) {
            // Some that are no Linux take any option and do nothing: their looks would be at data.
            if getsockopt(self.socket, PeekOffset)? != at {
                return Err(io::ErrorKind::Unsupported.into());
            }
            // An urgent byte is looked at as one of the others, and left out when they are moved.
            setsockopt(self.socket, OobInline, &true)?;
        }
        match recv(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(seen) => Ok(seen),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Chunks<'_> {
    fn drop(&mut self) {
        if self.is_set.get() {
            // It was set before, so it can be. Others look at the first byte, to see if there is one.
            let _ = setsockopt(self.socket, PeekOffset, &-1);
        }
    }
}

/// What follows the data of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// Another one, which takes so many bytes with what is before its data.
    Chunk(u64),
    /// Nothing, or the beginning of something.
    Part,
    /// What is not to be moved unseen.
    Other,
}

impl Found {
    fn in_bytes(bytes: &[u8]) -> Self {
        let Some(line) = bytes.strip_prefix(b"\r\n") else {
            return if b"\r\n".starts_with(bytes) { Self::Part } else { Self::Other };
        };
        let mut size = 0;
        for (index, &byte) in line.iter().enumerate() {
            match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if index < DIGITS && (index > 0 || digit > 0) => {
                    size = size << 4 | u64::from(digit)
                }
                (None, b'\r') if size > 0 => {
                    let frame = 2 + index as u64 + 2;
                    return match line.get(index + 1) {
                        Some(b'\n') => Self::Chunk(frame + size),
                        Some(_) => Self::Other,
                        None => Self::Part,
                    };
                }
                _ => return Self::Other,
            }
        }
        Self::Part
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use crate::stream::Stream as _;

    use super::*;

    #[test]
    fn only_what_we_would_write_ourselves_is_moved_unseen() {
        let table: &[(&[u8], Found)] = &[
            (b"\r\n1000\r\nxxx", Found::Chunk(8 + 4096)),
            (b"\r\nfFfFfFf\r\n", Found::Chunk(11 + 0xfff_ffff)),
            (b"\r\n4000\r\n\r\n4", Found::Chunk(8 + 16_384)),
            (b"\r\n10000000\r", Found::Other),
            (b"\r\n1\r\nx\r\n0\r\n", Found::Chunk(5 + 1)),
            (b"\r\n0\r\n\r\n", Found::Other),
            (b"\r\n04000\r\nx", Found::Other),
            (b"\r\n4000;a\r\n", Found::Other),
            (b"\r\n4000 \r\n", Found::Other),
            (b"\r\n 4000\r\n", Found::Other),
            (b"\r\n4000\n", Found::Other),
            (b"\r\n4000\rx", Found::Other),
            (b"\r\n4000\r\r\n", Found::Other),
            (b"\r\n\r\n", Found::Other),
            (b"\r\n+4000\r\n", Found::Other),
            (b"\r\n0x4000\r\n", Found::Other),
            (b"\n4000\r\nxxx", Found::Other),
            (b"x\r\n4000\r\n", Found::Other),
            (b"\rx4000\r\n", Found::Other),
        ];
        for (bytes, expected) in table {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(Found::in_bytes(bytes), *expected, "{text:?}");
            if let Found::Chunk(_) = expected {
                let frame = 2 + text[2..].find("\r\n").unwrap() + 2;
                for end in 0..bytes.len() {
                    let found = Found::in_bytes(&bytes[..end]);
                    assert_eq!(
                        found,
                        if end < frame { Found::Part } else { *expected },
                        "{:?}",
                        &text[..end]
                    );
                }
            }
        }
    }

    /// A socket with these bytes, and its peer.
    async fn socket_with(bytes: &[u8]) -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(bytes).unwrap();
        let mut room = vec![0; bytes.len()];
        while socket.peek(&mut room).await.unwrap() < bytes.len() {
            tokio::task::yield_now().await;
        }
        (socket, peer)
    }

    #[tokio::test]
    async fn chunks_are_found_where_they_are_and_whoever_looks_later_sees_the_first_byte() {
        let chunk = |size: usize| [format!("\r\n{size:x}\r\n").as_bytes(), &vec![b'x'; size]].concat();
        let known = [b"abc", &chunk(5000)[..], &chunk(40_000)].concat();
        for behind in [&b""[..], b"\r", b"\r\n13", b"\r\n0\r\n\r\n", b"\r\n1388;x\r\n", b"\r\n05\r\n12345"] {
            let (socket, _peer) = socket_with(&[&known, behind].concat()).await;
            let chunks = Chunks::behind(&socket, 3);
            let found = Cell::new(3);
            // A kernel that can't be asked for more than the first bytes knows of no more.
            let can_look = setsockopt(&socket, PeekOffset, &0).is_ok();
            let may_go_on = chunks.extend(&found);
            assert_eq!(found.get(), if can_look { known.len() as u64 } else { 3 }, "{behind:?}");
            assert_eq!(may_go_on, can_look && behind.len() < 6, "{behind:?}");
            drop(chunks);
            let mut first = [0; 3];
            assert_eq!(socket.peek(&mut first).await.unwrap(), 3);
            assert_eq!(&first, b"abc");
            assert!(!socket.is_quiet());
        }
    }

    #[tokio::test]
    async fn large_chunks_pay_for_the_looks_at_so_many_small_ones_behind_them() {
        let chunk = |size: usize| [format!("\r\n{size:x}\r\n").as_bytes(), &vec![b'x'; size]].concat();
        let [small, large] = [chunk(10), chunk(10_000)];
        for (known, behind, expected) in [
            // 5 bytes and 10: a look is not paid.
            (3, small.repeat(4), 0),
            // 10 kB pay for one more than their own.
            (3, [&large[..], &small.repeat(4)].concat(), large.len() + small.len()),
            // What is kept of very large ones is as much as 16 looks cost.
            (3, [&chunk(70_000)[..], &small.repeat(40)].concat(), 70_009 + 16 * small.len()),
            (1 << 20, small.repeat(40), 16 * small.len()),
        ] {
            let (socket, _peer) = socket_with(&[&b"abc"[..], &behind].concat()).await;
            let can_look = setsockopt(&socket, PeekOffset, &0).is_ok();
            let (chunks, found) = (Chunks::behind(&socket, known), Cell::new(3));
            assert!(!chunks.extend(&found));
            assert_eq!(found.get(), if can_look { 3 + expected as u64 } else { 3 });
        }
    }

    #[tokio::test]
    async fn chunk_of_which_only_the_beginning_is_here_is_known_whole() {
        let (socket, mut peer) = socket_with(b"abc\r\n2000\r\nx").await;
        let (chunks, known) = (Chunks::behind(&socket, 3), Cell::new(3));
        let may_go_on = chunks.extend(&known);
        // As above.
        let whole = if may_go_on { 3 + 8 + 0x2000 } else { 3 };
        assert_eq!(known.get(), whole);
        peer.write_all(&[b'x'; 0x1fff]).unwrap();
        assert_eq!((chunks.extend(&known), known.get()), (may_go_on, whole));
    }
}
