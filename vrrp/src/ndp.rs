//! The unsolicited neighbour advertisement (RFC 4861 §7.2.6): how an Active tells the network who has an IPv6 address; and questions,
//! of those who want to know that.

use std::net::Ipv6Addr;

use etherparse::{Icmpv6Type, PacketBuilder, icmpv6::NeighborAdvertisementHeader};

/// Everyone on the link (RFC 4291 §2.7.1), and its Ethernet address (RFC 2464 §7).
const ALL_NODES: (Ipv6Addr, [u8; 6]) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), [0x33, 0x33, 0, 0, 0, 1]);

/// Whoever comes from another link has less, so everybody drops it (RFC 4861 §7.1.2).
const HOP_LIMIT: u8 = 255;

/// Target Link-layer Address, in units of 8 octets (RFC 4861 §4.6.1).
const OPTION: [u8; 2] = [2, 1];

/// An unsolicited neighbour advertisement with the override flag, without which no client would change its mind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnsolicitedAdvertisement {
    /// Hardware address that has the address now: source of the frame, and the option.
    pub mac: [u8; 6],
    /// The announced address: source of the packet, and target.
    pub address: Ipv6Addr,
    /// Whether this node forwards, as its kernel says in its own answers: a client that takes the address for its router
    /// would drop it if the two said different things.
    pub router: bool,
}

impl UnsolicitedAdvertisement {
    /// The Ethernet frame, to all nodes of the link.
    pub fn encode(&self) -> Vec<u8> {
        let flags = NeighborAdvertisementHeader { router: self.router, solicited: false, r#override: true };
        let (group, group_mac) = ALL_NODES;
        let builder = PacketBuilder::ethernet2(self.mac, group_mac)
            .ipv6(self.address.octets(), group.octets(), HOP_LIMIT)
            .icmpv6(Icmpv6Type::NeighborAdvertisement(flags));
        let payload = [self.address.octets().as_slice(), &OPTION, &self.mac].concat();
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        // A Vec takes everything, and the payload is no longer than an IPv6 packet may be.
        builder.write(&mut frame, &payload).expect("a short payload");
        frame
    }
}

/// The question who has an address (RFC 4861 §4.3): an ICMPv6 message, to be sent with a hop limit of 255.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Solicitation {
    /// Of the interface that asks.
    pub mac: [u8; 6],
    /// Who is asked for.
    pub target: Ipv6Addr,
}

impl Solicitation {
    /// Type, code, checksum (0: the kernel's to make), reserved, target; source link-layer address (RFC 4861 §4.6.1).
    pub fn encode(&self) -> Vec<u8> {
        [&[135, 0, 0, 0, 0, 0, 0, 0], self.target.octets().as_slice(), &[1, 1], &self.mac].concat()
    }

    /// The group of all who may have the address (RFC 4291 §2.7.1).
    pub fn destination(&self) -> Ipv6Addr {
        let [.., high, low] = self.target.segments();
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
    }
}

/// The answer (RFC 4861 §4.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Whose it is.
    pub address: Ipv6Addr,
    /// Hardware address that has it, if it says so.
    pub from: Option<[u8; 6]>,
}

impl Reply {
    /// Reads an ICMPv6 message; `None` if it is anything else than a neighbour advertisement.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
        let from = message.get(24..)?.chunks_exact(8).find(|option| option[..2] == OPTION);
        (message.first() == Some(&136)).then(|| Self {
            address: Ipv6Addr::from(target),
            from: from.and_then(|option| option[2..].try_into().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::{Reply, Solicitation, UnsolicitedAdvertisement};

    #[test]
    fn a_solicitation_is_as_rfc_4861_has_it() {
        let target = "2001:db8::1:2:3456".parse().unwrap();
        let solicitation = Solicitation { mac: [2, 0, 0, 0, 0, 0x0b], target };
        assert_eq!(solicitation.destination(), "ff02::1:ff02:3456".parse::<Ipv6Addr>().unwrap());
        #[rustfmt::skip]
        assert_eq!(solicitation.encode(), [
            135, 0, 0, 0, 0, 0, 0, 0,                                         // type, checksum, reserved
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0x34, 0x56, // target
            1, 1, 2, 0, 0, 0, 0, 0x0b,                                        // source link-layer address
        ]);
    }

    #[test]
    fn an_answer_is_read_with_the_hardware_address_if_that_is_in_it() {
        let address: Ipv6Addr = "2001:db8::10".parse().unwrap();
        let mut message = [&[136, 0, 0, 0, 0x60, 0, 0, 0], address.octets().as_slice()].concat();
        assert_eq!(Reply::decode(&message), Some(Reply { address, from: None }));
        message.extend([2, 1, 2, 0, 0, 0, 0, 0x0b]);
        assert_eq!(Reply::decode(&message), Some(Reply { address, from: Some([2, 0, 0, 0, 0, 0x0b]) }));
        assert_eq!(Reply::decode(&message[..30]), Some(Reply { address, from: None }), "half an option");
        assert_eq!(Reply::decode(&message[..23]), None);
        message[0] = 135;
        assert_eq!(Reply::decode(&message), None, "a question");
    }

    /// V-61: to all nodes, hop limit 255, from the address itself, not solicited, override, with the hardware address.
    #[test]
    fn v_61_neighbour_advertisement_is_unsolicited_and_overrides() {
        let of = |router| UnsolicitedAdvertisement {
            mac: [0x02, 0x00, 0x00, 0x00, 0x00, 0x0b],
            address: "2001:db8::100".parse().unwrap(),
            router,
        };
        #[rustfmt::skip]
        let expected = [
            0x33, 0x33, 0, 0, 0, 1,                                      // destination
            0x02, 0, 0, 0, 0, 0x0b,                                      // source
            0x86, 0xdd,                                                  // IPv6
            0x60, 0, 0, 0, 0, 32, 58, 255,                               // version, length, ICMPv6, hop limit
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,  // source
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,        // destination
            136, 0, 0xf7, 0x22,                                          // neighbour advertisement, checksum
            0x20, 0, 0, 0,                                               // override
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,  // target
            2, 1, 0x02, 0, 0, 0, 0, 0x0b,                                // target link-layer address
        ];
        assert_eq!(of(false).encode(), expected);
        assert_eq!(of(true).encode()[58], 0xa0, "a router says so");
    }
}
