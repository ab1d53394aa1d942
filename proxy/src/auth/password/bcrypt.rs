//! bcrypt: Niels Provos and David Mazières, "A Future-Adaptable Password Scheme" (1999), in OpenBSD's text form.

use blowfish::Blowfish;

/// Bytes of a password that count, with the zero behind it.
const LONGEST: usize = 72;

/// `OrpheanBeholderScryDoubt`
const TEXT: [u32; 6] = [0x4f72_7068, 0x6561_6e42, 0x6568_6f6c, 0x6465_7253, 0x6372_7944, 0x6f75_6274];

const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What follows the cost in a hash.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Bcrypt {
    /// Binary logarithm of the number of rounds.
    pub(super) cost: u32,
    salt: [u8; 16],
    hash: [u8; 23],
}

impl Bcrypt {
    /// `text` is 22 characters of salt and 31 of hash.
    pub(super) fn new(cost: u32, text: &[u8]) -> Option<Self> {
        let (salt, hash) = text.split_at_checked(22)?;
        Some(Self { cost, salt: decode(salt)?, hash: decode(hash)? })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let found = hash(self.cost, &self.salt, password);
        // All bytes, so that the time says nothing of how many are right.
        self.hash.iter().zip(found).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

fn hash(cost: u32, salt: &[u8; 16], password: &[u8]) -> [u8; 24] {
    let mut key = password.to_vec();
    key.push(0);
    key.truncate(LONGEST);
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1_u64 << cost {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let mut out = [0; 24];
    for (pair, bytes) in TEXT.chunks_exact(2).zip(out.chunks_exact_mut(8)) {
        let [high, low] = (0..64).fold([pair[0], pair[1]], |pair, _| state.bc_encrypt(pair));
        bytes[..4].copy_from_slice(&high.to_be_bytes());
        bytes[4..].copy_from_slice(&low.to_be_bytes());
    }
    out
}

/// `N` bytes; bits that are left over count for nothing.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut room = out.iter_mut();
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text {
        let value = ALPHABET.iter().position(|known| known == byte)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            *room.next()? = u8::try_from(bits >> held & 0xff).ok()?;
        }
    }
    room.next().is_none().then_some(out)
}
