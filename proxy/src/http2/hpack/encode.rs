//! What a peer gets: indexes of the static table and literals, nothing that either side has to keep.

use super::table::STATIC;
use crate::http::{
    head::name::is_name,
    headers::{Sink, put_number},
};

/// Literal without indexing (RFC 7541 §6.2.2): four bits of prefix, none of them set.
const LITERAL: u8 = 0;

/// The four bits.
const PREFIX: u8 = 15;

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
    match (index_of(name), u8::try_from(value.len())) {
        // All of them are longer than their prefix (RFC 7541 §5.1), and most values are shorter than theirs: in one piece.
        (Some(index), Ok(length)) if length < 0x7f => {
            out.put(&[LITERAL | PREFIX, (index as u8) - PREFIX, length]);
            return out.put(value);
        }
        (Some(index), _) => put_integer(index, 4, LITERAL, out),
        (None, _) => {
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

/// Names of the static table are shorter.
const LONGEST_NAME: usize = 28;

/// The places of the names in [`STATIC`], by how long they are, and where those of each length begin among them.
const BY_LENGTH: ([u8; STATIC.len()], [u8; LONGEST_NAME + 1]) = {
    let (mut places, mut starts) = ([0; STATIC.len()], [0; LONGEST_NAME + 1]);
    let (mut length, mut count) = (0, 0);
    while length < LONGEST_NAME {
        starts[length] = count;
        // What begins with a colon is in front.
        let mut place = 14;
        while place < STATIC.len() {
            if STATIC[place].0.len() == length {
                places[count as usize] = place as u8;
                count += 1;
            }
            place += 1;
        }
        length += 1;
    }
    assert!(count as usize + 14 == STATIC.len());
    starts[LONGEST_NAME] = count;
    (places, starts)
};

/// The index of a field in the static table, whatever the case of its letters (RFC 7541 appendix A).
fn index_of(name: &[u8]) -> Option<usize> {
    let (places, starts) = &BY_LENGTH;
    let start = *starts.get(name.len())?;
    let end = *starts.get(name.len() + 1)?;
    let last = name.last()?.to_ascii_lowercase();
    // Most names of a length end differently.
    let place = places[start.into()..end.into()].iter().map(|place| usize::from(*place)).find(|place| {
        let (known, _) = STATIC[*place];
        known.last() == Some(&last) && is_name(name, known)
    });
    place.map(|place| place + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_static_table_has_its_index_and_no_other_name_has_one() {
        for (place, (name, _)) in STATIC.iter().enumerate().skip(14) {
            let index = index_of(&name.to_ascii_uppercase()).unwrap();
            assert_eq!(STATIC[index - 1].0, *name, "{place}");
            let mut longer = name.to_vec();
            longer.push(b'x');
            assert_eq!(index_of(&longer), None);
            longer.remove(0);
            assert_eq!(index_of(&longer), None);
        }
        for name in [&b""[..], b":path", &[b'x'; LONGEST_NAME - 1], &[b'x'; LONGEST_NAME], &[b'x'; 300]] {
            assert_eq!(index_of(name), None);
        }
    }
}
