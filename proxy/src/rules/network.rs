//! Networks: an address and how many of its bits count.

use std::{fmt, net::IpAddr};

/// A network, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `prefix` is 0..=32 or 0..=128; `None` if it is more, or if a bit behind it is set.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (bits, width) = bits(address);
        let is_clean = prefix <= width && (prefix == width || bits << prefix << (128 - width) == 0);
        is_clean.then_some(Self { address, prefix })
    }

    /// The network of that size that `address` is in.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let keep = |width: u8| u128::MAX.checked_shl(u32::from(width.saturating_sub(prefix))).unwrap_or(0);
        let address = match address {
            IpAddr::V4(address) => {
                let bits = u128::from(address.to_bits()) & keep(32);
                IpAddr::V4(u32::try_from(bits).unwrap_or(0).into())
            }
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & keep(128)).into()),
        };
        Self { address, prefix }
    }

    /// Is `address` in it? An IPv4 address is the same whether its socket is an IPv4 or an IPv6 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let ((own, width), (other, other_width)) = (bits(self.address), bits(address));
        width == other_width && (self.prefix == 0 || (own ^ other) >> (width - self.prefix) == 0)
    }

    /// Is every address of its family in it?
    pub fn is_all(&self) -> bool {
        self.prefix == 0
    }

    /// Is every address of `other` in it?
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.address).1 {
            return self.address.fmt(formatter);
        }
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

/// The address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/').unwrap();
        Network::new(address.parse().unwrap(), prefix.parse().unwrap())
    }

    #[test]
    fn a_network_contains_what_its_bits_say() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
        ] {
            let network = network(text).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_refused() {
        for text in ["192.0.2.1/24", "192.0.2.0/33", "2001:db8::1/64", "0.0.0.1/0", "::1/0", "::/129"] {
            assert_eq!(network(text), None, "{text}");
        }
        assert!(network("192.0.2.128/25").is_some());
    }

    #[test]
    fn the_network_around_an_address_has_no_bits_behind_its_prefix() {
        let around = |address: &str, prefix| Network::around(address.parse().unwrap(), prefix).to_string();
        assert_eq!(around("192.0.2.129", 25), "192.0.2.128/25");
        assert_eq!(around("192.0.2.1", 0), "0.0.0.0/0");
        assert_eq!(around("2001:db8::1", 64), "2001:db8::/64");
        assert_eq!(around("2001:db8::1", 128), "2001:db8::1");
    }

    #[test]
    fn a_network_covers_smaller_ones_of_its_own() {
        let covers = |a: &str, b: &str| network(a).unwrap().covers(&network(b).unwrap());
        assert!(covers("192.0.2.0/24", "192.0.2.128/25"));
        assert!(!covers("192.0.2.128/25", "192.0.2.0/24"));
        assert!(!covers("192.0.2.0/24", "192.0.3.0/25"));
        assert_eq!(network("192.0.2.0/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(network("::1/128").unwrap().to_string(), "::1");
    }
}
