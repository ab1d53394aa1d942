//! Chunked content: the same however it is split, and what is written anew is what a second reader reads.

use lb_proxy::http::body::{Decoder, Encoder, Framing};

use crate::{mutate, oracle};

/// Payload, and how many bytes were used, of content that comes in portions of `size`.
fn decode(bytes: &[u8], size: usize) -> Result<(Vec<u8>, usize, bool), ()> {
    let mut decoder = Decoder::new(Framing::Chunked, false);
    let (mut payload, mut buffer, mut used) = (Vec::new(), Vec::new(), 0);
    for portion in bytes.chunks(size) {
        buffer.extend_from_slice(portion);
        let step = decoder.decode(&mut buffer).map_err(|_| ())?;
        payload.extend_from_slice(&buffer[..step.payload]);
        buffer.drain(..step.consumed);
        used += step.consumed;
    }
    Ok((payload, used, decoder.is_done()))
}

pub(crate) fn chunked(bytes: &[u8]) {
    let whole = decode(bytes, bytes.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(decode(bytes, size), whole, "in portions of {size}");
    }
    let Ok((payload, used, true)) = whole else { return };
    // What comes behind the end belongs to the next message, and says nothing about this one.
    assert_eq!(decode(&bytes[..used], used.max(1)), Ok((payload.clone(), used, true)));
    let mut wire = Vec::new();
    let (mut decoder, mut encoder) = (Decoder::new(Framing::Chunked, false), Encoder::new(Framing::Chunked));
    let mut copy = bytes[..used].to_vec();
    let step = decoder.decode(&mut copy).unwrap();
    let frame = encoder.frame(&step);
    wire.extend(frame.pieces(b"", &copy, &step).iter().flat_map(|piece| piece.to_vec()));
    assert_eq!(oracle::chunks(&wire), Ok(Some((payload, wire.len()))));
}

#[test]
fn chunked_content_is_the_same_however_it_is_split() {
    mutate::search("chunked", chunked);
}
