//! What holds for any bytes.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{forward, respond};
use crate::http::{
    body::{Decoder, Encoder, Framing, chunked},
    head::{Fields, Malformed, Progress, request, response},
};

/// Bytes that look like a head often enough to get past the first line.
fn headlike() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"POST http://a:80/ HTTP/1.1\r\n".to_vec()),
        Just(b"OPTIONS * HTTP/1.0\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: x, close\r\n".to_vec()),
        Just(b"X: y\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b" ".to_vec()),
        Just(b":".to_vec()),
        Just(b",".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

type Outcome = Result<Option<Result<request::Request, Malformed>>, Malformed>;

/// What becomes of a request that comes in portions that end at `ends`.
fn in_portions(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Outcome {
    let mut progress = Progress::default();
    for end in ends {
        let mut fields = Fields::default();
        if let Some(head) = request::Head::parse(&bytes[..end.min(bytes.len())], &mut progress, &mut fields)?
        {
            return Ok(Some(head.check()));
        }
    }
    Ok(None)
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused_the_same_however_they_are_split(bytes in headlike(), size in 1_usize..9) {
        let whole = in_portions(&bytes, [bytes.len()]);
        let last = std::iter::once(bytes.len());
        prop_assert_eq!(&in_portions(&bytes, (0..bytes.len()).step_by(size).chain(last)), &whole);
    }

    #[test]
    fn any_bytes_are_a_response_or_not_without_a_panic(bytes in headlike()) {
        let mut fields = Fields::default();
        if let Ok(Some(head)) = response::Head::parse(&bytes, &mut Progress::default(), &mut fields)
            && let Ok(response) = head.check(request::Method::Get, true)
        {
            let mut out = Vec::new();
            head.encode(&response, &response::Hop { framing: response.framing, close: true }, &mut out);
            prop_assert!(respond(&out, request::Method::Get).is_ok() || response.status == 101);
        }
    }

    #[test]
    fn request_that_was_accepted_and_written_anew_means_the_same(
        method in "[A-Z]{1,8}",
        path in "/[!-\"$-~]{0,20}",
        fields in proptest::collection::vec(("[A-Za-z-]{1,12}", "[ -~]{0,12}"), 0..8),
        length in proptest::option::of(any::<u64>()),
        absolute in any::<bool>(),
    ) {
        let mut head = format!("{method} {}{path} HTTP/1.1\r\nHost: a\r\n", if absolute { "http://a" } else { "" });
        for (name, value) in &fields {
            write!(head, "{name}:{value}\r\n").unwrap();
        }
        if let Some(length) = length {
            write!(head, "Content-Length: {length}\r\n").unwrap();
        }
        head.push_str("\r\n");
        if let Ok((request, out)) = forward(head.as_bytes()) {
            let (again, out_again) = forward(out.as_bytes()).unwrap();
            prop_assert_eq!(&out_again, &out);
            // What is said of the connection is about one hop.
            let model = |request: request::Request| request::Request { length: 0, persistent: true, ..request };
            prop_assert_eq!(model(again), model(request));
        }
    }

    #[test]
    fn any_bytes_are_chunks_or_not_however_they_are_split(
        bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'2'), Just(b';'),
                                                       Just(b':'), Just(b'x'), any::<u8>()], 0..60),
        size in 1_usize..9,
    ) {
        let run = |size: usize| {
            let mut decoder = chunked::Decoder::new(true);
            let (mut out, mut buffer) = (Vec::new(), Vec::new());
            for portion in bytes.chunks(size) {
                buffer.extend_from_slice(portion);
                let step = match decoder.decode(&mut buffer) {
                    Ok(step) => step,
                    Err(error) => return Err(error),
                };
                out.extend_from_slice(&buffer[..step.payload + step.trailers]);
                buffer.drain(..step.consumed);
            }
            Ok((out, buffer))
        };
        prop_assert_eq!(run(size), run(bytes.len().max(1)));
    }

    #[test]
    fn encoded_payload_decodes_to_itself(
        portions in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
        size in 1_usize..50,
    ) {
        let mut encoder = Encoder::new(Framing::Chunked);
        let mut plain = Decoder::new(Framing::UntilClose, false);
        let mut wire = Vec::new();
        for portion in &portions {
            let mut bytes = portion.clone();
            let step = plain.decode(&mut bytes).unwrap();
            let frame = encoder.frame(&step);
            wire.extend(frame.pieces(b"", &bytes, &step).iter().flat_map(|piece| piece.to_vec()));
        }
        let end = crate::http::body::Step { done: true, ..Default::default() };
        wire.extend(encoder.frame(&end).pieces(b"", b"", &end).iter().flat_map(|piece| piece.to_vec()));

        let mut decoder = Decoder::new(Framing::Chunked, true);
        let (mut payload, mut buffer) = (Vec::new(), Vec::new());
        for portion in wire.chunks(size) {
            buffer.extend_from_slice(portion);
            let step = decoder.decode(&mut buffer).unwrap();
            payload.extend_from_slice(&buffer[..step.payload]);
            buffer.drain(..step.consumed);
        }
        prop_assert!(decoder.is_done() && buffer.is_empty());
        prop_assert_eq!(payload, portions.concat());
    }
}
