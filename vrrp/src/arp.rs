//! Gratuitous ARP (RFC 826, RFC 5227 §3): how an Active tells the network who has an IPv4 address; and questions, of trackers.

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
        request(self.mac, self.address, BROADCAST, self.address)
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

/// The question who has an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// Of the interface that asks.
    pub mac: [u8; 6],
    /// An address of it; 0.0.0.0 for a node that has none there (RFC 5227 §1.1).
    pub source: Ipv4Addr,
    /// Who is asked for.
    pub target: Ipv4Addr,
}

impl Request {
    /// The Ethernet frame, broadcast.
    pub fn encode(&self) -> Vec<u8> {
        request(self.mac, self.source, [0; 6], self.target)
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Whose it is.
    pub address: Ipv4Addr,
    /// Hardware address that has it.
    pub from: [u8; 6],
    /// Hardware address of who has asked.
    pub to: [u8; 6],
}

impl Reply {
    /// Reads an Ethernet frame; `None` if it is anything else than an ARP reply for IPv4.
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let (header, rest) = frame.split_at_checked(Ethernet2Header::LEN)?;
        let ethernet = Ethernet2HeaderSlice::from_slice(header).ok()?;
        if ethernet.ether_type() != EtherType::ARP {
            return None;
        }
        let arp = ArpPacket::from_slice(rest).ok()?.try_eth_ipv4().ok()?;
        (arp.operation == ArpOperation::REPLY).then(|| Self {
            address: Ipv4Addr::from(arp.sender_ipv4),
            from: arp.sender_mac,
            to: arp.target_mac,
        })
    }
}

fn request(mac: [u8; 6], source: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let ethernet = Ethernet2Header { source: mac, destination: BROADCAST, ether_type: EtherType::ARP };
    let arp = ArpPacket::from(ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac,
        sender_ipv4: source.octets(),
        target_mac,
        target_ipv4: target.octets(),
    });
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend_from_slice(&ethernet.to_bytes());
    frame.extend_from_slice(&arp.to_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::{GratuitousArp, Reply, Request};

    #[test]
    fn a_question_is_an_ordinary_request_and_its_answer_is_told_from_others() {
        let (mac, theirs) = ([0x02, 0, 0, 0, 0, 0x0b], [0x02, 0, 0, 0, 0, 1]);
        let (source, target) = (Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 1));
        let question = Request { mac, source, target }.encode();
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x06,
            0, 1, 0x08, 0, 6, 4, 0, 1,                        // Ethernet, IPv4, request
            0x02, 0, 0, 0, 0, 0x0b, 192, 0, 2, 11,            // sender
            0, 0, 0, 0, 0, 0, 192, 0, 2, 1,                   // target
        ];
        assert_eq!(question, expected);
        assert_eq!(Reply::decode(&question), None);
        let mut answer = question;
        answer[0..6].copy_from_slice(&mac);
        answer[6..12].copy_from_slice(&theirs);
        answer[21] = 2;
        answer[22..28].copy_from_slice(&theirs);
        answer[28..32].copy_from_slice(&target.octets());
        answer[32..38].copy_from_slice(&mac);
        answer[38..42].copy_from_slice(&source.octets());
        assert_eq!(Reply::decode(&answer), Some(Reply { address: target, from: theirs, to: mac }));
        for cut in 0..answer.len() {
            assert_eq!(Reply::decode(&answer[..cut]), None, "{cut}");
        }
    }

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
