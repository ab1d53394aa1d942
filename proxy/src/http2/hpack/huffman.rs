//! The Huffman code of RFC 7541 Appendix B. It is canonical: codes of a length are consecutive, in the order of their symbols,
//! so the lengths say all of it.

/// Bits of each symbol's code; the last is that of the end.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The longest code.
const LONGEST: usize = 30;

/// The end, which may not be in a string.
const END: u16 = 256;

/// Codes up to this length are found at once.
const SHORT: u32 = 8;

const TABLES: Tables = Tables::new();

struct Tables {
    /// By the next eight bits: the symbol and the length of its code; length 0 for a longer one.
    short: [(u16, u8); 1 << SHORT],
    /// By length: all codes up to this length, with zeros behind them, are below this.
    limits: [u64; LONGEST + 1],
    /// By length: what has to be added to a code to have its place among `symbols`.
    places: [i64; LONGEST + 1],
    /// In the order of their codes.
    symbols: [u16; 257],
}

impl Tables {
    const fn new() -> Self {
        let mut tables = Self {
            short: [(0, 0); 1 << SHORT],
            limits: [0; LONGEST + 1],
            places: [0; LONGEST + 1],
            symbols: [0; 257],
        };
        let (mut code, mut place, mut length) = (0_u64, 0_usize, 1_usize);
        while length <= LONGEST {
            code <<= 1;
            tables.places[length] = place as i64 - code as i64;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    tables.symbols[place] = symbol as u16;
                    if length <= SHORT as usize {
                        let free = SHORT as usize - length;
                        let mut low = 0;
                        while low < 1 << free {
                            tables.short[((code as usize) << free) + low] = (symbol as u16, length as u8);
                            low += 1;
                        }
                    }
                    place += 1;
                    code += 1;
                }
                symbol += 1;
            }
            tables.limits[length] = code << (32 - length);
            length += 1;
        }
        tables
    }

    /// The symbol whose code the next 32 bits begin with, and the length of that.
    fn find(&self, window: u32) -> (u16, u32) {
        let (symbol, length) = self.short[(window >> (32 - SHORT)) as usize];
        if length > 0 {
            return (symbol, length.into());
        }
        for length in SHORT + 1..=LONGEST as u32 {
            if u64::from(window) < self.limits[length as usize] {
                let place = i64::from(window >> (32 - length)) + self.places[length as usize];
                return (self.symbols[usize::try_from(place).unwrap_or(0)], length);
            }
        }
        (END, LONGEST as u32)
    }
}

/// Appends what `bytes` stand for; `None` if they are no code (RFC 7541 §5.2).
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes.iter();
    // The last `bits` of it are not looked at yet.
    let (mut held, mut bits) = (0_u64, 0_u32);
    loop {
        while bits <= 56 {
            let Some(byte) = rest.next() else { break };
            held = held << 8 | u64::from(*byte);
            bits += 8;
        }
        if bits == 0 {
            return Some(());
        }
        // Padding is ones, and so is what we put behind it.
        let window = match bits.checked_sub(32) {
            Some(behind) => (held >> behind) as u32,
            None => (held << (32 - bits)) as u32 | u32::MAX >> bits,
        };
        let (symbol, length) = TABLES.find(window);
        if length > bits {
            return (bits < 8 && window == u32::MAX).then_some(());
        }
        out.push(u8::try_from(symbol).ok()?);
        bits -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut held, mut bits, mut out) = (0_u64, 0_u32, Vec::new());
        for byte in text {
            let length = u32::from(LENGTHS[usize::from(*byte)]);
            let place = TABLES.symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let code = place as i64 - TABLES.places[length as usize];
            held = held << length | code as u64;
            bits += length;
            while bits >= 8 {
                bits -= 8;
                out.push((held >> bits) as u8);
            }
        }
        if bits > 0 {
            out.push((held << (8 - bits)) as u8 | 0xff >> bits);
        }
        out
    }

    #[test]
    fn every_symbol_is_decoded_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for before in 0..9 {
                let text = [b"a".repeat(before), vec![byte, b'0', byte]].concat();
                let mut decoded = Vec::new();
                assert_eq!(decode(&encode(&text), &mut decoded), Some(()), "{text:?}");
                assert_eq!(decoded, text);
            }
        }
    }

    #[test]
    fn codes_fill_the_space_of_codes() {
        let used: u64 = LENGTHS.iter().map(|length| 1 << (32 - length)).sum();
        assert_eq!(used, 1 << 32);
    }

    #[test]
    fn wrong_ends_are_refused() {
        // Of `a`: its code and padding of three ones.
        assert_eq!(encode(b"a"), [0b0001_1111]);
        for (bytes, why) in [
            (&[0b0001_1110][..], "padding that is not ones"),
            (&[0b0001_1111, 0xff], "eight bits and more of padding"),
            (&[0xff], "nothing but eight bits of padding"),
            (&[0xff, 0xff, 0xff, 0xff], "the end itself"),
            (&[0xff, 0xff, 0xff, 0xfc, 0x1f], "the end in a string"),
            (&[0b0000_0000, 0b0000_0000], "half a code of zeros"),
        ] {
            assert_eq!(decode(bytes, &mut Vec::new()), None, "{why}");
        }
        assert_eq!(decode(&[], &mut Vec::new()), Some(()));
    }
}
