use proptest::prelude::*;
use zlib_rs::{Inflate, InflateFlush};

use super::*;
use Algorithm::{Deflate, Gzip};

/// Codes pieces of content, each with its flush, into buffers of `room` bytes.
fn coded(coder: &mut Coder, pieces: &[(&[u8], Flush)], room: usize) -> Vec<u8> {
    let (mut all, mut out) = (Vec::new(), vec![0; room]);
    for &(mut piece, flush) in pieces {
        loop {
            let done = coder.code(piece, flush, &mut out);
            piece = &piece[done.taken..];
            all.extend_from_slice(&out[..done.put]);
            if done.is_all {
                break;
            }
        }
        assert!(piece.is_empty());
    }
    all
}

/// What a reader has of `bytes`, and whether that was the end, with a right sum.
fn decoded(algorithm: Algorithm, bytes: &[u8]) -> (Vec<u8>, bool) {
    // 16 is for the wrapping of gzip.
    let bits = if algorithm == Gzip { 16 + 15 } else { 15 };
    let mut inflate = Inflate::new(true, bits);
    let (mut content, mut block, mut read) = (Vec::new(), vec![0; 4096], 0);
    loop {
        let (taken, put) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(&bytes[read..], &mut block, InflateFlush::NoFlush);
        read += usize::try_from(inflate.total_in() - taken).unwrap();
        content.extend_from_slice(&block[..usize::try_from(inflate.total_out() - put).unwrap()]);
        match status {
            Ok(Status::StreamEnd) => return (content, read == bytes.len()),
            Ok(_) if inflate.total_out() > put || inflate.total_in() > taken => {}
            Ok(_) | Err(_) => return (content, false),
        }
    }
}

fn coder(algorithm: Algorithm) -> Coder {
    Coder::new(&Rc::default(), algorithm, 1)
}

#[test]
fn nothing_and_little_have_their_known_forms() {
    let gzip = coded(&mut coder(Gzip), &[(b"", Flush::End)], 64);
    assert_eq!(gzip, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let deflate = coded(&mut coder(Deflate), &[(b"", Flush::End)], 64);
    assert_eq!(deflate, [0x78, 1, 3, 0, 0, 0, 0, 1]);
    // The sums of "123456789" are known: CRC-32 0xcbf43926, Adler-32 0x091e01de.
    let gzip = coded(&mut coder(Gzip), &[(b"123456789", Flush::End)], 64);
    assert!(gzip.ends_with(&[0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0]), "{gzip:x?}");
    let deflate = coded(&mut coder(Deflate), &[(b"123456789", Flush::End)], 64);
    assert!(deflate.ends_with(&[0x09, 0x1e, 0x01, 0xde]), "{deflate:x?}");
}

#[test]
fn what_was_flushed_can_be_read_and_its_compressor_is_given_back() {
    let mut coder = coder(Gzip);
    let mut all = coded(&mut coder, &[(b"event: 1\n\n", Flush::No), (b"", Flush::All)], 64);
    assert!(coder.compressor.is_none());
    assert_eq!(decoded(Gzip, &all), (b"event: 1\n\n".to_vec(), false));
    // Nothing new, nothing to say.
    assert_eq!(coded(&mut coder, &[(b"", Flush::All)], 64), b"");
    all.extend(coded(&mut coder, &[(b"event: 2\n\n", Flush::No), (b"", Flush::All)], 64));
    assert_eq!(decoded(Gzip, &all), (b"event: 1\n\nevent: 2\n\n".to_vec(), false));
    all.extend(coded(&mut coder, &[(b"", Flush::End)], 64));
    assert_eq!(decoded(Gzip, &all), (b"event: 1\n\nevent: 2\n\n".to_vec(), true));
}

#[test]
fn content_is_stored_where_there_is_no_compressor_and_compressed_when_there_is_one_again() {
    let pool = Rc::default();
    let lent: Vec<_> = std::iter::from_fn(|| Compressors::take(&pool, 1)).collect();
    let content = vec![b'a'; 100_000];
    let mut coder = Coder::new(&pool, Gzip, 1);
    let mut out = vec![0; 16 * 1024];
    let done = coder.code(&content[..1000], Flush::No, &mut out);
    assert_eq!(done, Coded { taken: 1000, put: 10 + 5 + 1000, stored: 1000, is_all: true });
    let mut all = out[..done.put].to_vec();
    all.extend(coded(&mut coder, &[(&content[1000..50_000], Flush::All)], 1024));
    drop(lent);
    let compressed = coded(&mut coder, &[(&content[50_000..], Flush::End)], 1024);
    assert!(compressed.len() < 1000, "{}", compressed.len());
    all.extend(compressed);
    assert_eq!(decoded(Gzip, &all), (content, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_content_is_read_back_however_it_is_split_flushed_and_fits(
        content in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..5000),
            prop::collection::vec(prop::sample::select(b"aab<div>".to_vec()), 0..50_000),
        ],
        cuts in prop::collection::vec((0_usize..20_000, 0_u8..3), 0..8),
        room in 32_usize..3000,
        algorithm in prop_oneof![Just(Gzip), Just(Deflate)],
        level in 1_u8..=9,
        without in prop::collection::vec(any::<bool>(), 8),
    ) {
        let pool: Rc<Compressors> = Rc::default();
        let mut coder = Coder::new(&pool, algorithm, level);
        let (mut all, mut rest) = (Vec::new(), &content[..]);
        for ((length, flush), is_without) in cuts.into_iter().zip(without) {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            let flush = if flush == 0 { Flush::All } else { Flush::No };
            let lent: Vec<_> =
                std::iter::from_fn(|| pool.take(level)).take(if is_without { 1000 } else { 0 }).collect();
            all.extend(coded(&mut coder, &[(piece, flush)], room));
            drop(lent);
            if flush == Flush::All {
                // All that was given to it can be read.
                prop_assert_eq!(decoded(algorithm, &all).0, &content[..content.len() - rest.len()]);
            }
        }
        all.extend(coded(&mut coder, &[(rest, Flush::End)], room));
        prop_assert!(decoded(algorithm, &all) == (content, true));
    }
}
