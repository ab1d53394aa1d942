//! The handshake of WebSocket (RFC 6455 §4), as far as whoever opens one in HTTP/1.1 for somebody else has to do with it.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand,
};

use super::headers::Sink;
use crate::sample::base64;

/// In it a server shows that it has understood the key.
pub(crate) const ACCEPT: &[u8] = b"sec-websocket-accept";

/// RFC 6455 §1.3
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The last fields of a request that asks for one, with a key of ours, and its end.
pub(crate) fn put_upgrade(out: &mut impl Sink) {
    let (mut nonce, mut key) = ([0; 16], Vec::new());
    // Without randomness it is the same key for all, which no server minds.
    let _ = rand::fill(&mut nonce);
    base64::encode(&nonce, &mut key);
    out.put(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ");
    out.put(&key);
    out.put(b"\r\n\r\n");
}

/// The same of a whole head of ours.
pub(crate) fn accept_of_request(head: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b"sec-websocket-key: ";
    let lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut keys = lines.filter_map(|line| {
        let (name, key) = line.split_at_checked(KEY.len())?;
        name.eq_ignore_ascii_case(KEY).then_some(key)
    });
    accept(keys.next().unwrap_or_default())
}

/// What a server that has understood a request with this key says (RFC 6455 §4.2.2).
fn accept(key: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    base64::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()).as_ref(), &mut answer);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_to_a_key_is_that_of_rfc_6455() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let put = || {
            let mut out = Vec::new();
            put_upgrade(&mut out);
            out
        };
        let (one, other) = (put(), put());
        assert_ne!(one, other);
        let key =
            one.strip_prefix(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ").unwrap();
        let mut nonce = Vec::new();
        base64::decode(key.strip_suffix(b"\r\n\r\n").unwrap(), &mut nonce).unwrap();
        assert_eq!(nonce.len(), 16);
    }
}
