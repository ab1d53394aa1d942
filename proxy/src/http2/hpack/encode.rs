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

/// `content-length`.
pub fn put_content_length(length: u64, out: &mut impl Sink) {
    const INDEX: u8 = 28;
    let digits = length.checked_ilog10().unwrap_or(0) as u8 + 1;
    out.put(&[LITERAL | PREFIX, INDEX - PREFIX, digits]);
    put_number(length, out);
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

/// Where a name may stand in [`STATIC`]: a hash of how long it is and of the letters at its ends, which no two of its names
/// have in common. Found at compile time, with the number that makes it so.
const PLACES: (u32, [u8; 256]) = {
    let mut factor: u32 = 1;
    'factors: loop {
        factor = factor.wrapping_mul(0x915f_77f5);
        let mut places = [0; 256];
        // What begins with a colon is in front.
        let mut place = 14;
        while place < STATIC.len() {
            let (name, _) = STATIC[place];
            let slot = slot(factor, name.len(), name[0], name[name.len() - 1]);
            if places[slot] != 0 {
                continue 'factors;
            }
            places[slot] = place as u8;
            place += 1;
        }
        break (factor, places);
    }
};

const fn slot(factor: u32, length: usize, first: u8, last: u8) -> usize {
    let key = length as u32 ^ (first as u32) << 8 ^ (last as u32) << 16;
    (key.wrapping_mul(factor) >> 24) as usize
}

/// The index of a field in the static table, whatever the case of its letters (RFC 7541 appendix A).
fn index_of(name: &[u8]) -> Option<usize> {
    // The bit of their case; whatever it makes of other bytes, the names are compared.
    let [first, last] = [name.first()?, name.last()?].map(|byte| byte | 0x20);
    let (factor, places) = &PLACES;
    let place = usize::from(places[slot(*factor, name.len(), first, last)]);
    let (known, _) = STATIC[place];
    (place != 0 && is_name(name, known)).then_some(place + 1)
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
        for byte in 0..=u8::MAX {
            for length in [0, 1, 2, 3, 4, 6, 27, 300] {
                assert_eq!(index_of(&vec![byte; length]), None);
            }
        }
        for (name, _) in &STATIC[..14] {
            assert_eq!(index_of(name), None);
        }
    }
}
