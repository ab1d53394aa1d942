//! The credentials of a request.

use crate::{http::message::Message, sample::base64};

/// Bytes of a user's name.
const LONGEST_NAME: usize = 255;

/// Bytes of a password, as in crypt(3). The time that a hash takes grows with it.
const LONGEST_PASSWORD: usize = 511;

/// A name and a password, decoded.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Credentials<'b> {
    pub(super) user: &'b [u8],
    pub(super) password: &'b [u8],
}

impl<'b> Credentials<'b> {
    /// Those of a request, decoded to the end of `room`. `None` if there are none, or none that anybody could have: more
    /// than one Authorization line, another scheme, what is no base64, no colon, control characters (RFC 7617 §2), a
    /// name or a password that is too long.
    pub(super) fn read(request: &Message<'_>, room: &'b mut Vec<u8>) -> Option<Self> {
        let mut lines = request.all(b"Authorization");
        let line = lines.next().filter(|_| lines.next().is_none())?;
        // RFC 9110 §11.4: the scheme counts no case, and spaces follow it.
        let (scheme, token) = line.split_at_checked(5)?;
        if !scheme.eq_ignore_ascii_case(b"basic") || token.first() != Some(&b' ') {
            return None;
        }
        let start = room.len();
        base64::decode(token.trim_ascii(), room)?;
        let decoded = &room[start..];
        let colon = memchr::memchr(b':', decoded)?;
        let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let is_fine = (1..=LONGEST_NAME).contains(&user.len())
            && password.len() <= LONGEST_PASSWORD
            && !decoded.iter().any(u8::is_ascii_control);
        is_fine.then_some(Self { user, password })
    }
}
