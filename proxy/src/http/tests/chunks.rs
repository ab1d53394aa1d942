//! The chunked coding.

use crate::http::body::{
    BodyError, Decoder, Encoder, Frame, Framing, Step,
    chunked::{self, ChunkError},
};

/// Payload, kept trailers and what follows.
fn decode(bytes: &[u8], trailers: bool) -> Result<(String, String, usize, bool), ChunkError> {
    let mut bytes = bytes.to_vec();
    let step = chunked::Decoder::new(trailers).decode(&mut bytes)?;
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&bytes[range]).into_owned();
    let trailers = text(step.payload..step.payload + step.trailers);
    Ok((text(0..step.payload), trailers, step.consumed, step.done))
}

#[test]
fn refused_chunks() {
    use ChunkError as E;
    let long = |count: usize| "x".repeat(count);
    let table: &[(&str, String, E)] = &[
        ("H10", "5\nhello\r\n0\r\n\r\n".into(), E::Size),
        ("H10", "5\r\nhello\n0\r\n\r\n".into(), E::LineEnd),
        ("H10", "0\r\n\n".into(), E::LineEnd),
        ("H10", "0\r\nA: b\n\r\n".into(), E::LineEnd),
        ("H11", "5\rhello".into(), E::LineEnd),
        ("H26", "\r\nhello\r\n".into(), E::Size),
        ("H26", ";x\r\nhello\r\n".into(), E::Size),
        ("H26", "5 \r\nhello\r\n".into(), E::Size),
        ("H26", " 5\r\nhello\r\n".into(), E::Size),
        ("H26", "5\t\r\nhello\r\n".into(), E::Size),
        ("H26", "0x5\r\nhello\r\n".into(), E::Size),
        ("H26", "-5\r\nhello\r\n".into(), E::Size),
        ("H26", "+5\r\nhello\r\n".into(), E::Size),
        ("H26", "g\r\n".into(), E::Size),
        ("H26", "00000000000000005\r\nhello\r\n".into(), E::Size),
        ("H26", "10000000000000000\r\n".into(), E::Size),
        ("H27", format!("5;{}\r\nhello\r\n", long(257)), E::Extension),
        ("H27", "5;a\nb\r\nhello\r\n".into(), E::Extension),
        ("H27", "5;a\0\r\nhello\r\n".into(), E::Extension),
        ("H27", "5;a=\"\rb\"\r\nhello\r\n".into(), E::LineEnd),
        ("H27", format!("1;{}\r\nx\r\n", long(256)).repeat(65), E::Extension),
        ("H28", "5\r\nhelloX\r\n".into(), E::LineEnd),
        ("H28", "5\r\nhello\rX".into(), E::LineEnd),
        ("H28", "5\r\nhello0\r\n\r\n".into(), E::LineEnd),
        ("H29", "0\r\nno colon\r\n\r\n".into(), E::Trailer),
        ("H29", "0\r\n folded: x\r\n\r\n".into(), E::Trailer),
        ("H29", "0\r\nA : x\r\n\r\n".into(), E::Trailer),
        ("H29", format!("0\r\nA: {}\r\n\r\n", long(8192)), E::Trailer),
        ("H29", format!("0\r\n{}\r\n", "A: b\r\n".repeat(1366)), E::Trailer),
    ];
    for (row, bytes, expected) in table {
        assert_eq!(decode(bytes.as_bytes(), true), Err(*expected), "{row}: {bytes:?}");
    }
}

#[test]
fn accepted_chunks() {
    let table: &[(&str, &str, &str, &str)] = &[
        ("H26", "5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("H26", "A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", "0123456789x", ""),
        ("H26", "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("H27", "5;a=\"b;c\";d\r\nhello\r\n0;last\r\n\r\n", "hello", ""),
        (
            "H29",
            "1\r\nx\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\nSet-Cookie: b\r\n\
             Authorization: c\r\nX-Forwarded-For: d\r\nContent-Type: e\r\nY: 2\r\n\r\n",
            "x",
            "X-Sum: 1\r\nY: 2\r\n",
        ),
    ];
    for (row, bytes, payload, trailers) in table {
        let expected = |trailers: &str| Ok(((*payload).into(), trailers.into(), bytes.len(), true));
        assert_eq!(decode(bytes.as_bytes(), true), expected(trailers), "{row}: {bytes:?}");
        assert_eq!(decode(bytes.as_bytes(), false), expected(""), "{row}: {bytes:?}");
        let mut more = bytes.to_string();
        more.push_str("GET / HTTP/1.1\r\n");
        assert_eq!(decode(more.as_bytes(), true), expected(trailers), "{row}: what follows stays");
    }
}

#[test]
fn h26_largest_size_is_understood() {
    let (_, _, consumed, done) = decode(b"ffffffffffffffff\r\nx", false).unwrap();
    assert_eq!((consumed, done), (19, false));
}

#[test]
fn chunks_split_at_every_byte_give_the_same() {
    let bytes = b"5;ext\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\nHost: z\r\n\r\nrest";
    for size in 1..bytes.len() {
        let mut decoder = chunked::Decoder::new(true);
        let (mut payload, mut trailers, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        let mut done = false;
        for portion in bytes.chunks(size) {
            buffer.extend_from_slice(portion);
            if done {
                continue;
            }
            let step = decoder.decode(&mut buffer).unwrap();
            payload.extend_from_slice(&buffer[..step.payload]);
            trailers.extend_from_slice(&buffer[step.payload..step.payload + step.trailers]);
            buffer.drain(..step.consumed);
            done = step.done;
        }
        let got = (&payload[..], &trailers[..], &buffer[..], done);
        assert_eq!(got, (&b"hello world"[..], &b"X: y\r\n"[..], &b"rest"[..], true), "portions of {size}");
    }
}

fn encode(encoder: &mut Encoder, bytes: &[u8], step: &Step) -> String {
    let frame = encoder.frame(step);
    frame.pieces(b"", bytes, step).iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

#[test]
fn payload_is_framed_anew() {
    let step = |payload, trailers, done| Step { payload, trailers, consumed: payload + trailers, done };
    let mut chunked = Encoder::new(Framing::Chunked);
    assert_eq!(encode(&mut chunked, b"hello world", &step(11, 0, false)), "b\r\nhello world\r\n");
    assert_eq!(encode(&mut chunked, b"", &step(0, 0, false)), "");
    assert_eq!(encode(&mut chunked, b"abX: y\r\n", &step(2, 6, false)), "2\r\nab\r\n0\r\nX: y\r\n");
    assert_eq!(encode(&mut chunked, b"Z: a\r\n", &step(0, 6, true)), "Z: a\r\n\r\n");

    let mut chunked = Encoder::new(Framing::Chunked);
    assert_eq!(encode(&mut chunked, b"ab", &step(2, 0, true)), "2\r\nab\r\n0\r\n\r\n");
    let mut chunked = Encoder::new(Framing::Chunked);
    assert_eq!(encode(&mut chunked, b"", &step(0, 0, true)), "0\r\n\r\n");
    assert_eq!(encode(&mut Encoder::new(Framing::Length(2)), b"ab", &step(2, 0, true)), "ab");
    assert_eq!(encode(&mut Encoder::new(Framing::UntilClose), b"ab", &step(2, 0, true)), "ab");
    assert!(
        encode(&mut Encoder::new(Framing::Chunked), &[7; 70_000], &step(70_000, 0, false))
            .starts_with("11170\r\n")
    );
}

#[test]
fn chunk_whose_rest_goes_another_way_is_ended_by_what_comes_next() {
    let step = |payload, trailers, done| Step { payload, trailers, consumed: payload + trailers, done };
    let text = |frame: Frame, bytes: &[u8], step: &Step| -> String {
        frame
            .pieces(b"", bytes, step)
            .iter()
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
            .collect()
    };
    let opened = |payload, more| {
        let mut encoder = Encoder::new(Framing::Chunked);
        let step = step(payload, 0, false);
        (text(encoder.frame_with(&step, Some(more)), &[b'x'; 9][..payload], &step), encoder)
    };
    assert_eq!(opened(2, 0x1_0000_0000).0, "100000002\r\nxx");
    assert_eq!(opened(0, 16).0, "10\r\n");
    assert_eq!(opened(2, 0).0, "2\r\nxx", "its end alone is to come");
    let (_, mut encoder) = opened(2, 3);
    assert_eq!(encode(&mut encoder, b"", &step(0, 0, false)), "");
    assert_eq!(encode(&mut encoder, b"ab", &step(2, 0, false)), "\r\n2\r\nab\r\n");
    assert_eq!(encode(&mut encoder, b"ab", &step(2, 0, false)), "2\r\nab\r\n", "it ends once");
    let (_, mut encoder) = opened(2, 3);
    let again = step(1, 0, false);
    assert_eq!(text(encoder.frame_with(&again, Some(4)), b"a", &again), "\r\n5\r\na");
    assert_eq!(encode(&mut encoder, b"", &step(0, 0, true)), "\r\n0\r\n\r\n");
    let (_, mut encoder) = opened(2, 3);
    assert_eq!(encode(&mut encoder, b"X: y\r\n", &step(0, 6, false)), "\r\n0\r\nX: y\r\n");
    assert_eq!(encode(&mut encoder, b"", &step(0, 0, true)), "\r\n");
}

#[test]
fn rest_of_a_chunk_may_be_passed_over() {
    let decoder_after = |bytes: &str| {
        let mut decoder = chunked::Decoder::new(false);
        decoder.decode(&mut bytes.as_bytes().to_vec()).unwrap();
        decoder
    };
    for (bytes, left) in [
        ("10\r\nab", Some(14)),
        ("2\r\nab", Some(0)),
        ("10\r\n", Some(16)),
        ("10\r", None),
        ("2\r\nab\r", None),
        ("2\r\nab\r\n", None),
        ("0\r\n", None),
    ] {
        assert_eq!(decoder_after(bytes).left(), left, "{bytes:?}");
    }
    let mut decoder = decoder_after("10\r\nab");
    decoder.skip();
    let mut rest = *b"\r\n1\r\nz\r\n0\r\n\r\n";
    let step = decoder.decode(&mut rest).unwrap();
    assert_eq!((step.payload, step.done, rest[0]), (1, true, b'z'));
    let mut decoder = decoder_after("10\r\nab");
    decoder.skip();
    assert_eq!(decoder.decode(&mut b"x".to_vec()), Err(ChunkError::LineEnd));
}

#[test]
fn content_that_ends_too_early_is_truncated_unless_closing_ends_it() {
    let mut bytes = *b"abc";
    for (framing, end) in [
        (Framing::Length(4), Err(BodyError::Truncated)),
        (Framing::Length(3), Ok(())),
        (Framing::Chunked, Err(BodyError::Truncated)),
        (Framing::UntilClose, Ok(())),
        (Framing::None, Ok(())),
    ] {
        let mut decoder = Decoder::new(framing, false);
        if framing != Framing::Chunked {
            decoder.decode(&mut bytes).unwrap();
        }
        assert_eq!(decoder.end(), end, "{framing:?}");
    }
}
