//! Gratuitous ARP (RFC 826, RFC 5227 §3): how an Active tells the network who has an IPv4 address.

use std::net::Ipv4Addr;

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Ethernet2HeaderSlice,
};

/// Length of the Ethernet frame: 14 bytes of header, 28 of ARP. The driver or the card pads it.
pub const FRAME: usize = 42;

/// Everyone on the link.
const BROADCAST: [u8; 6] = [0xff; 6];

/// A gratuitous ARP request: sender and target address are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GratuitousArp {
    /// Hardware address that has the address now: source of the frame and sender of the ARP.
    pub mac: [u8; 6],
    /// The announced address.
    pub address: Ipv4Addr,
}

impl GratuitousArp {
    /// The Ethernet frame, broadcast. A request and not a reply: Linux clients update an entry of any age by it, while a
    /// unicast reply is ignored during the first second of an entry.
    pub fn encode(&self) -> Vec<u8> {
        let ethernet =
            Ethernet2Header { source: self.mac, destination: BROADCAST, ether_type: EtherType::ARP };
        let arp = ArpPacket::from(ArpEthIpv4Packet {
            operation: ArpOperation::REQUEST,
            sender_mac: self.mac,
            sender_ipv4: self.address.octets(),
            target_mac: BROADCAST,
            target_ipv4: self.address.octets(),
        });
        let mut frame = Vec::with_capacity(FRAME);
        frame.extend_from_slice(&ethernet.to_bytes());
        frame.extend_from_slice(&arp.to_bytes());
        frame
    }

    /// Reads an Ethernet frame; `None` if it is anything else than a broadcast gratuitous ARP request for IPv4.
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let (header, rest) = frame.split_at_checked(Ethernet2Header::LEN)?;
        let ethernet = Ethernet2HeaderSlice::from_slice(header).ok()?;
        if ethernet.ether_type() != EtherType::ARP || ethernet.destination() != BROADCAST {
            return None;
        }
        let arp = ArpPacket::from_slice(rest).ok()?.try_eth_ipv4().ok()?;
        let gratuitous = arp.operation == ArpOperation::REQUEST && arp.sender_ipv4 == arp.target_ipv4;
        (gratuitous && arp.sender_mac == ethernet.source())
            .then(|| Self { mac: arp.sender_mac, address: Ipv4Addr::from(arp.sender_ipv4) })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::GratuitousArp;

    /// V-60: broadcast, operation 1, sender address = target address, sender MAC = MAC of the address.
    #[test]
    fn v_60_gratuitous_arp_is_a_broadcast_request_for_its_own_address() {
        let frame = GratuitousArp {
            mac: [0x02, 0x00, 0x00, 0x00, 0x00, 0x0b],
            address: Ipv4Addr::new(192, 0, 2, 100),
        }
        .encode();
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // destination
            0x02, 0x00, 0x00, 0x00, 0x00, 0x0b, // source
            0x08, 0x06,                         // ARP
            0x00, 0x01, 0x08, 0x00, 6, 4,       // Ethernet, IPv4, their lengths
            0x00, 0x01,                         // request
            0x02, 0x00, 0x00, 0x00, 0x00, 0x0b, 192, 0, 2, 100, // sender
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 100, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_ordinary_arp_request_is_no_announcement() {
        let mut frame =
            GratuitousArp { mac: [2, 0, 0, 0, 0, 1], address: Ipv4Addr::new(192, 0, 2, 100) }.encode();
        frame[41] = 101;
        assert_eq!(GratuitousArp::decode(&frame), None);
    }

    proptest! {
        #[test]
        fn decode_of_encode_is_the_same(mac: [u8; 6], address: [u8; 4]) {
            let arp = GratuitousArp { mac, address: Ipv4Addr::from(address) };
            prop_assert_eq!(GratuitousArp::decode(&arp.encode()), Some(arp));
        }

        #[test]
        fn decode_never_panics(frame in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = GratuitousArp::decode(&frame);
        }

        #[test]
        fn a_cut_frame_is_refused(mac: [u8; 6], address: [u8; 4], length in 0..42_usize) {
            let frame = GratuitousArp { mac, address: Ipv4Addr::from(address) }.encode();
            prop_assert_eq!(GratuitousArp::decode(&frame[..length]), None);
        }
    }
}
