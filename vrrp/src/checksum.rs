//! The Internet checksum (RFC 1071) over a VRRP message, with and without a pseudo-header.

use std::net::IpAddr;

/// IP protocol (IPv4) and next header (IPv6) number of VRRP.
pub const VRRP_PROTOCOL: u8 = 112;

/// Sum in one's complement, not yet folded. Words may be added in any order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes as big-endian words; an odd last byte counts as the high half of a word.
    pub(crate) fn add(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.chunks(2) {
            let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
            self.0 += u64::from(u16::from_be_bytes(word));
        }
        self
    }

    /// Adds the pseudo-header of the family of `source`: for IPv4 source, destination, zero, protocol, 16-bit length
    /// (RFC 5798 §5.2.8 as it was widely read); for IPv6 source, destination, 32-bit length, next header (RFC 8200
    /// §8.1). Addresses of two families never share a packet; only the octets count here.
    pub(crate) fn add_pseudo_header(self, source: IpAddr, destination: IpAddr, length: usize) -> Self {
        // Both layouts add up to the same words: the length and the protocol, each in the low half of a word.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.add_address(source).add_address(destination).add(&length.to_be_bytes()).add(&[0, VRRP_PROTOCOL])
    }

    /// The value of the checksum field: the complement of the folded sum. Over a message that carries its checksum the
    /// result is 0 if the message is intact.
    pub(crate) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }

    fn add_address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn sum_of_the_example_of_rfc_1071_section_3() {
        // 0001 + f203 + f4f5 + f6f7 = 2ddf0, folded ddf2.
        assert_eq!(Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).finish(), !0xddf2);
    }

    #[test]
    fn an_odd_last_byte_is_the_high_half_of_a_word() {
        assert_eq!(Sum::default().add(&[0x12]).finish(), !0x1200);
    }
}
