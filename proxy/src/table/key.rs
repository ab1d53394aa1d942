//! What entries are found by.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv6Addr},
};

/// What an entry is found by: an address, or the hash of some bytes. One table has keys of one kind.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key(u128);

impl Key {
    /// The address that it was made of, or its prefix.
    pub(crate) fn to_address(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self.0)).to_canonical()
    }

    /// A number that is spread like the key.
    pub(crate) fn number(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(0)
    }
}

/// Makes the keys of a table.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Bits of an IPv6 address that count, 1..=128.
    ipv6_prefix: u8,
    hashers: [RandomState; 2],
}

impl Keys {
    /// Of an IPv6 address the first `ipv6_prefix` bits count, 1..=128: who has a /64, as every household and every
    /// virtual machine has, would else be 2^64 sources.
    pub fn new(ipv6_prefix: u8) -> Self {
        Self { ipv6_prefix: ipv6_prefix.clamp(1, 128), hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Makes the same keys, but that of an IPv6 address other bits count.
    pub fn with_ipv6_prefix(&self, ipv6_prefix: u8) -> Self {
        Self { ipv6_prefix: ipv6_prefix.clamp(1, 128), hashers: self.hashers.clone() }
    }

    /// The key of an address. An IPv4 address is the same whether its socket is an IPv4 or an IPv6 one.
    pub fn address(&self, address: IpAddr) -> Key {
        match address.to_canonical() {
            // As an IPv4-mapped address: no IPv6 source has one.
            IpAddr::V4(address) => Key(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Key(address.to_bits() & (u128::MAX << (128 - self.ipv6_prefix))),
        }
    }

    /// The key of any bytes. Of a fixed size, whatever theirs is: two hashes with secret keys, 128 bits together.
    pub fn bytes(&self, bytes: &[u8]) -> Key {
        let [high, low] = self.hashers.each_ref().map(|state| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            u128::from(hasher.finish())
        });
        Key(high << 64 | low)
    }
}
