//! The Castagnoli checksum (RFC 3720 appendix B.4).

/// Reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// Of `pieces`, one behind the other.
pub(super) fn crc32c<const N: usize>(pieces: [&[u8]; N]) -> u32 {
    let add = |sum: u32, &byte: &u8| {
        let [low, ..] = sum.to_le_bytes();
        sum >> 8 ^ TABLE[usize::from(low ^ byte)]
    };
    !pieces.into_iter().flatten().fold(!0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_rfc() {
        // RFC 3720 appendix B.4, and the check value of the algorithm.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, sum) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
            (b"", 0),
        ] {
            assert_eq!(crc32c([bytes]), sum, "{bytes:?}");
        }
        assert_eq!(crc32c([b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
