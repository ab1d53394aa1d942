//! What a peer gets: indexes of the static table and literals, nothing that either side has to keep.

use super::table::STATIC;
use crate::http::headers::{Sink, put_number};

/// Literal without indexing (RFC 7541 §6.2.2): four bits of prefix, none of them set.
const LITERAL: u8 = 0;

/// Says that nothing is kept (RFC 7541 §6.3): due after a client has made the table smaller than it is by default.
pub fn put_table_size(out: &mut impl Sink) {
    out.put(&[0x20]);
}

/// `:status`.
pub fn put_status(status: u16, out: &mut impl Sink) {
    let known: Option<u8> = match status {
        200 => Some(8),
        204 => Some(9),
        206 => Some(10),
        304 => Some(11),
        400 => Some(12),
        404 => Some(13),
        500 => Some(14),
        _ => None,
    };
    match known {
        Some(index) => out.put(&[0x80 | index]),
        None => {
            out.put(&[LITERAL | 8, 3]);
            put_number(status.into(), out);
        }
    }
}

/// `:method`, `:scheme` and `:path`.
pub fn put_request(method: &[u8], is_secure: bool, path: &[u8], out: &mut impl Sink) {
    match method {
        b"GET" => out.put(&[0x82]),
        b"POST" => out.put(&[0x83]),
        _ => {
            out.put(&[LITERAL | 2]);
            put_text(method, out);
        }
    }
    out.put(&[if is_secure { 0x87 } else { 0x86 }]);
    match path {
        b"/" => out.put(&[0x84]),
        _ => {
            out.put(&[LITERAL | 4]);
            put_text(path, out);
        }
    }
}

/// `:authority`.
pub fn put_authority(authority: &[u8], out: &mut impl Sink) {
    out.put(&[LITERAL | 1]);
    put_text(authority, out);
}

/// A field whose name may have letters of either case.
pub fn put_field(name: &[u8], value: &[u8], out: &mut impl Sink) {
    // What begins with a colon is in front.
    let known = STATIC[14..]
        .iter()
        .position(|(known, _)| known.len() == name.len() && known.eq_ignore_ascii_case(name));
    match known {
        Some(place) => put_integer(place + 15, 4, LITERAL, out),
        None => {
            out.put(&[LITERAL]);
            put_integer(name.len(), 7, 0, out);
            for part in name.chunks(64) {
                let mut lower = [0; 64];
                lower[..part.len()].copy_from_slice(part);
                lower.make_ascii_lowercase();
                out.put(&lower[..part.len()]);
            }
        }
    }
    put_text(value, out);
}

/// As it is (RFC 7541 §5.2).
fn put_text(text: &[u8], out: &mut impl Sink) {
    put_integer(text.len(), 7, 0, out);
    out.put(text);
}

/// RFC 7541 §5.1
fn put_integer(value: usize, prefix: u32, first: u8, out: &mut impl Sink) {
    let mask = u8::MAX >> (8 - prefix);
    match u8::try_from(value) {
        Ok(small) if small < mask => return out.put(&[first | small]),
        _ => out.put(&[first | mask]),
    }
    let mut rest = value - usize::from(mask);
    while rest >= 0x80 {
        out.put(&[0x80 | (rest & 0x7f) as u8]);
        rest >>= 7;
    }
    out.put(&[rest as u8]);
}
