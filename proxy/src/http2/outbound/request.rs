//! A request as it is written in HTTP/1.1, taken apart: what its head says as a field section, where its content is.
//!
//! Whatever writes it is this program ([`crate::http::head::request`], rules), in one form, as with [`crate::http2::response`].

use memchr::{memchr, memrchr};

use crate::{
    http::{
        head::name::Name,
        headers::{Sink, has_token},
    },
    http2::{
        hpack,
        response::{Chunks, Content, Head, length_of, length_of_head, lines},
    },
};

/// The head at the start of `bytes`, whose fields are appended to `section`; `None` if it is not whole.
pub(in crate::http2) fn read(bytes: &[u8], is_secure: bool, section: &mut impl Sink) -> Option<Head> {
    let length = length_of_head(bytes)?;
    let (line, fields) = bytes[..length - 2].split_at(memchr(b'\n', bytes)? + 1);
    let method = memchr(b' ', line)?;
    let target = line.get(method + 1..memrchr(b' ', line)?)?;
    let host = lines(fields).find(|(name, _)| Name::of(name) == Name::Host).map(|(_, value)| value);
    hpack::put_request(&line[..method], is_secure, target, section);
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        hpack::put_authority(host, section);
    }
    let mut content = Content::Length(0);
    for (name, value) in lines(fields) {
        match Name::of(name) {
            Name::Host => {}
            Name::TransferEncoding => content = Content::Chunked(Chunks::Size(0)),
            Name::ContentLength => {
                content = Content::Length(length_of(value));
                hpack::put_field(name, value, section);
            }
            // RFC 9113 §8.2.2
            Name::Te if has_token(value, b"trailers") => hpack::put_field(name, b"trailers", section),
            id if id.is_hop_by_hop() => {}
            _ => hpack::put_field(name, value, section),
        }
    }
    Some(Head { length, is_interim: false, is_switch: false, content })
}
