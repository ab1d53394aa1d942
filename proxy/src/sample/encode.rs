//! Text in the forms of others: percent-encoding, hexadecimal, HTML, JSON.

use crate::{
    hex,
    hidden::{is_hidden, put_json_escape},
    http::headers::Sink,
};

/// `%2F` becomes `/`; what is no escape stays. `+` stays as well, for a path; it is a space only in forms.
pub(super) fn url_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex::value(*high), hex::value(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*byte),
        }
    }
}

/// RFC 3986 §2.3: all but unreserved characters.
pub(super) fn url_encode(byte: u8, out: &mut impl Sink) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        out.put(&[byte]);
    } else {
        percent(byte, out);
    }
}

/// `%2F`
pub(super) fn percent(byte: u8, out: &mut impl Sink) {
    out.put(b"%");
    out.put(&hex::upper(byte));
}

pub(super) fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|&byte| hex::lower(byte)));
}

pub(super) fn html(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'&' => out.put(b"&amp;"),
        b'<' => out.put(b"&lt;"),
        b'>' => out.put(b"&gt;"),
        b'"' => out.put(b"&quot;"),
        b'\'' => out.put(b"&#39;"),
        byte => out.push(byte),
    }
}

/// For between the quotes of a JSON string (RFC 8259 §7), as HAProxy writes it into a line.
pub(super) fn json_of_log(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let replacement = (!chunk.invalid().is_empty()).then_some('\u{fffd}');
        for character in chunk.valid().chars().chain(replacement) {
            match character {
                '"' | '\\' | '/' => out.extend([b'\\', character as u8]),
                '\u{8}' => out.put(b"\\b"),
                '\u{c}' => out.put(b"\\f"),
                '\n' => out.put(b"\\n"),
                '\r' => out.put(b"\\r"),
                '\t' => out.put(b"\\t"),
                ' '..='~' => out.push(character as u8),
                _ => put_json_escape(character, out),
            }
        }
    }
}

/// For between the quotes of a JSON string (RFC 8259 §7); also of one within `<script>`. What is no UTF-8 becomes
/// U+FFFD: JSON has no bytes.
pub(super) fn json(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend([b'\\', character as u8]),
                '<' | '>' | '&' => put_json_escape(character, out),
                hidden if is_hidden(hidden) => put_json_escape(hidden, out),
                _ => out.put(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.put("\u{fffd}".as_bytes());
        }
    }
}
