//! Heads: the same however they are split, and written anew in a form that a second reader takes.

use std::net::SocketAddr;

use lb_proxy::http::{
    body::Framing,
    head::{
        Fields, MAX_FIELDS, MAX_LINE, Malformed, Progress,
        request::{self, Method},
        response,
    },
};

use crate::{mutate, oracle};

fn ends(length: usize) -> impl Iterator<Item = usize> {
    // Every byte of a short one; the first and last of a long one.
    (0..=length).filter(move |end| length <= 600 || *end < 200 || *end + 200 > length)
}

fn parse_request(
    bytes: &[u8],
    ends: impl Iterator<Item = usize>,
) -> Result<Option<request::Request>, Malformed> {
    let mut progress = Progress::default();
    for end in ends {
        let mut fields = Fields::default();
        if let Some(head) = request::Head::parse(&bytes[..end], &mut progress, &mut fields)? {
            return head.check().map(Some);
        }
    }
    Ok(None)
}

/// The head for a server, if the request is taken.
pub(crate) fn forwarded(bytes: &[u8]) -> Option<(request::Request, Vec<u8>)> {
    forwarded_by(bytes, "192.0.2.10:80".parse().unwrap())
}

/// The same by a proxy at this address.
pub(crate) fn forwarded_by(bytes: &[u8], local: SocketAddr) -> Option<(request::Request, Vec<u8>)> {
    let mut fields = Fields::default();
    let head = request::Head::parse(bytes, &mut Progress::default(), &mut fields).ok()??;
    let request = head.check().ok()?;
    let hop = request::Hop { forwarded_for: None, local: local.into(), close: false };
    let mut out = Vec::new();
    head.encode(&request, &hop, &mut out);
    Some((request, out))
}

pub(crate) fn request(bytes: &[u8]) {
    let whole = parse_request(bytes, std::iter::once(bytes.len()));
    assert_eq!(parse_request(bytes, ends(bytes.len())), whole, "split at every byte");
    let Some((request, out)) = forwarded(bytes) else {
        assert!(!matches!(whole, Ok(Some(_))));
        return;
    };
    let (lines, length) = oracle::head(&out).unwrap().expect("whole");
    assert_eq!(length, out.len(), "one head and nothing behind it");
    let fields: Vec<_> = lines[1..].iter().map(|line| oracle::field(line).unwrap()).collect();
    let values = |name: &[u8]| -> Vec<&[u8]> {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect()
    };
    let framing = match (values(b"content-length")[..].len(), values(b"transfer-encoding")[..].len()) {
        (0, 0) => Framing::None,
        (1, 0) => {
            let text = std::str::from_utf8(values(b"content-length")[0]).unwrap().to_owned();
            Framing::Length(text.parse().unwrap())
        }
        (0, 1) => {
            assert_eq!(values(b"transfer-encoding"), [b"chunked"]);
            Framing::Chunked
        }
        other => panic!("framed twice: {other:?}"),
    };
    assert_eq!(framing, request.framing, "as it was decided");
    assert_eq!(values(b"host").len(), 1);
    // What we add may take it beyond our own limits.
    let is_at_a_limit = lines.len() > MAX_FIELDS || out.len() > MAX_LINE;
    let Some((again, out_again)) = forwarded(&out) else { return assert!(is_at_a_limit, "taken again") };
    assert_eq!((again.framing, again.method, out_again), (request.framing, request.method, out));
}

fn respond(bytes: &[u8], method: Method) -> Option<(response::Response, Vec<u8>)> {
    let mut fields = Fields::default();
    let head = response::Head::parse(bytes, &mut Progress::default(), &mut fields).ok()??;
    let response = head.check(method, false).ok()?;
    let mut out = Vec::new();
    head.encode(&response, &response::Hop { framing: response.framing, close: false }, &mut out);
    Some((response, out))
}

pub(crate) fn response(bytes: &[u8]) {
    let parse = |ends: &mut dyn Iterator<Item = usize>| {
        let mut progress = Progress::default();
        for end in ends {
            let mut fields = Fields::default();
            match response::Head::parse(&bytes[..end], &mut progress, &mut fields) {
                Ok(Some(head)) => return Ok(Some(head.check(Method::Get, false))),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = parse(&mut std::iter::once(bytes.len()));
    assert_eq!(parse(&mut ends(bytes.len())), whole, "split at every byte");
    for method in [Method::Get, Method::Head] {
        let Some((response, out)) = respond(bytes, method) else { continue };
        let (lines, length) = oracle::head(&out).unwrap().expect("whole");
        assert_eq!(length, out.len(), "one head and nothing behind it");
        let framed =
            |name: &[u8]| lines[1..].iter().filter(|line| oracle::field(line).unwrap().0 == name).count();
        let (lengths, codings) = (framed(b"content-length"), framed(b"transfer-encoding"));
        assert!(lengths + codings <= 1, "framed twice");
        match response.framing {
            Framing::Length(_) => assert_eq!((lengths, codings), (1, 0)),
            Framing::Chunked => assert_eq!((lengths, codings), (0, 1)),
            Framing::None => assert_eq!(codings, 0),
            Framing::UntilClose => assert_eq!((lengths, codings), (0, 0)),
        }
    }
}

#[test]
fn request_heads_are_taken_or_refused_and_never_framed_otherwise() {
    mutate::search("request", request);
}

#[test]
fn response_heads_are_taken_or_refused_and_never_framed_otherwise() {
    mutate::search("response", response);
}
