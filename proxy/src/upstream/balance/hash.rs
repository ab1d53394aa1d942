//! The hash of keys and names: the same on every node, in every version and on every machine.
//!
//! It guards against nothing: a client that wants one server can as well repeat one request.

use crate::splitmix;

/// FNV-1a over the bytes, then mixed, because its upper bits alone are poor.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    splitmix::mix(fnv)
}
