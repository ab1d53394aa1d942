//! Which responses are compressed, and what becomes of their heads.

use crate::{
    config::{Algorithm, Compression, MediaRange},
    http::{
        body::Framing,
        head::{
            Version,
            request::{Method, Request},
            response::Response,
        },
        headers::has_token,
        message::{Message, TooLarge},
    },
};

/// Fields that are true of the content as the server sent it and of no other, and the offer of parts of it.
const OF_THE_CONTENT: [&[u8]; 5] =
    [b"accept-ranges", b"content-digest", b"content-md5", b"digest", b"repr-digest"];

/// What the content of a response is coded with, if it is (or would be, for HEAD); its head says so then. Every response that could have been
/// compressed says that it depends on what the client takes. `accepted` is what that is.
///
/// # Errors
/// No room in the head.
pub(crate) fn of_response(
    policy: &Compression,
    accepted: Option<Algorithm>,
    request: &Request,
    response: &Response,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<Option<Algorithm>, TooLarge> {
    if !is_compressible(policy, request, response, message) {
        return Ok(None);
    }
    let varies = |value| has_token(value, b"accept-encoding") || has_token(value, b"*");
    if !message.all(b"vary").any(varies) {
        message.add(b"Vary", b"Accept-Encoding")?;
    }
    // HTTP/1.0 has no chunks, and the length of what is coded is not known in advance.
    let can_be = request.version >= Version::Http11;
    let Some(algorithm) = accepted.filter(|_| can_be) else { return Ok(None) };
    message.remove_if(|field| OF_THE_CONTENT.iter().any(|name| field.name.eq_ignore_ascii_case(name)));
    // RFC 9110 §8.8.1: another representation, of the same meaning.
    message.rewrite(b"ETag", work, |tag, weak| {
        let is_strong = tag.first() == Some(&b'"');
        if is_strong {
            weak.extend_from_slice(b"W/");
            weak.extend_from_slice(tag);
        }
        is_strong
    })?;
    message.add(b"Content-Encoding", algorithm.name().as_bytes())?;
    Ok(Some(algorithm))
}

fn is_compressible(
    policy: &Compression,
    request: &Request,
    response: &Response,
    message: &Message<'_>,
) -> bool {
    let is_large_enough = match (response.framing, response.announced) {
        (Framing::None, length) if request.method == Method::Head => {
            length.unwrap_or(u64::MAX) >= policy.minimum_size
        }
        (Framing::None | Framing::Length(0), _) => false,
        (Framing::Length(length), _) => length >= policy.minimum_size,
        (Framing::Chunked | Framing::UntilClose, _) => true,
    };
    let is_of_type = |range: &MediaRange| match message.first(b"content-type") {
        Some(content_type) => range.has(content_type),
        None => *range == MediaRange::Any,
    };
    (200..=203).contains(&response.status)
        && is_large_enough
        && policy.types.iter().any(is_of_type)
        && message.first(b"content-encoding").is_none()
        // A part, whatever the status says: its bytes are counted in the content as the server has it.
        && message.first(b"content-range").is_none()
        // RFC 9111 §5.2.2.6
        && !message.all(b"cache-control").any(|value| has_token(value, b"no-transform"))
        && has_usable_tag(message)
}

/// At most one ETag, in its form: what is none can't be weakened.
fn has_usable_tag(message: &Message<'_>) -> bool {
    let mut tags = message.all(b"etag");
    let is_tag = |tag: &[u8]| match tag.strip_prefix(b"W/").unwrap_or(tag) {
        [b'"', opaque @ .., b'"'] => !opaque.contains(&b'"'),
        _ => false,
    };
    match (tags.next(), tags.next()) {
        (None, _) => true,
        (Some(tag), None) => is_tag(tag),
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests;
