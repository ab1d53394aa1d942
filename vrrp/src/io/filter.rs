//! What the kernel lets through to an advertisement socket: a classic BPF program, run for each packet of protocol 112
//! before anybody is woken.

use std::net::IpAddr;

use socket2::SockFilter;

use crate::{Family, MemberConfig, Version, Vrid};

/// Ordinarily everything of this vrid, so that each wrong packet is counted and named.
///
/// ```text
/// x = 4 * (packet[0] & 15)            length of the IPv4 header; 0 over IPv6, where a packet begins with the message
/// if packet[x + 1] != vrid: drop      a packet without that octet is dropped as well
/// ```
pub(super) fn by_vrid(router: (Vrid, Family)) -> Vec<SockFilter> {
    let mut program = vrid_or(router, 1);
    program.push(accept());
    program.push(drop());
    program
}

/// So many sources are told apart: a jump goes over 255 instructions at most, and 16 sources of IPv6 take 128. A cluster has five
/// nodes; with more than this the source would be looked at behind the filter alone.
const MOST_PEERS: usize = 16;

/// One of so many wrong packets comes through [`strict`].
pub(super) const SAMPLE: u32 = 64;

/// In a flood: in addition the TTL, by unicast the source, version and type, a count that is not 0, and the shortest length
/// there is (one address). One of [`SAMPLE`] wrong packets comes through, which says what they are and that they go on.
pub(super) fn strict(config: &MemberConfig) -> Vec<SockFilter> {
    let router = (config.vrid, config.family());
    // Where TTL (hop limit) and source are.
    let (ttl, source, address) = match router.1 {
        Family::Ipv4 => (8, 12, 4),
        Family::Ipv6 => (NETWORK_HEADER + 7, NETWORK_HEADER + 8, 16),
    };
    let (first, shortest) = match config.version {
        Version::V2 => (0x21, 8 + address + 8),
        Version::V3 => (0x31, 8 + address),
    };
    let peers = config.transport.unicast().map_or(&[][..], |unicast| &unicast.peers);
    let sources = if peers.len() <= MOST_PEERS { sources(peers, source) } else { Vec::new() };
    let to_wrong = short(sources.len() + 9);
    let mut program = vrid_or(router, to_wrong + 4);
    program.extend([
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, ttl),
        jump(libc::BPF_JGE, u32::from(config.transport.minimum_ttl()), 0, to_wrong - 2),
    ]);
    program.extend(sources);
    program.extend([
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0),
        jump(libc::BPF_JEQ, first, 0, 5),
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 3),
        // A count of 0.
        jump(libc::BPF_JEQ, 0, 3, 0),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0),
        statement(libc::BPF_ALU | libc::BPF_SUB | libc::BPF_X, 0),
        jump(libc::BPF_JGE, shortest, 3, 0),
        // Wrong; by chance.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, RANDOM),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, SAMPLE - 1),
        jump(libc::BPF_JEQ, 0, 0, 1),
        accept(),
        drop(),
    ]);
    program
}

/// What lets packets from these addresses on, and sends others to [`strict`]'s "wrong", seven instructions further.
fn sources(peers: &[IpAddr], at: u32) -> Vec<SockFilter> {
    let words = |peer: &IpAddr| match peer {
        IpAddr::V4(peer) => vec![u32::from(*peer)],
        IpAddr::V6(peer) => {
            let octets = peer.octets();
            let (words, _) = octets.as_chunks::<4>();
            words.iter().map(|word| u32::from_be_bytes(*word)).collect()
        }
    };
    let mut left: usize = peers.iter().map(|peer| 2 * words(peer).len()).sum();
    let mut program = Vec::new();
    for (index, peer) in peers.iter().enumerate() {
        let words = words(peer);
        let mut of_peer = 2 * words.len();
        let is_last_peer = index + 1 == peers.len();
        for (word, offset) in words.iter().zip((at..).step_by(4)) {
            program.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset));
            (left, of_peer) = (left - 2, of_peer - 2);
            let found = if of_peer == 0 { left } else { 0 };
            let other = if is_last_peer { of_peer + 7 } else { of_peer };
            program.push(jump(libc::BPF_JEQ, *word, short(found), short(other)));
        }
    }
    program
}

/// A jump; see [`MOST_PEERS`].
fn short(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// A random number, as a load from this offset gives it.
#[expect(clippy::cast_sign_loss, reason = "the kernel's offsets of what is no packet are negative numbers")]
const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;

/// The IPv6 header, which is before what an IPv6 socket gets.
#[expect(clippy::cast_sign_loss, reason = "the kernel's offsets of what is no packet are negative numbers")]
const NETWORK_HEADER: u32 = libc::SKF_NET_OFF as u32;

/// Loads the length of the IP header into X; on with the next instruction for this vrid, else over `rest` more of them.
fn vrid_or((vrid, family): (Vrid, Family), rest: u8) -> Vec<SockFilter> {
    let header = match family {
        Family::Ipv4 => statement(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0),
        Family::Ipv6 => statement(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0),
    };
    vec![
        header,
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 1),
        jump(libc::BPF_JEQ, u32::from(vrid.get()), 0, rest),
    ]
}

fn statement(code: u32, operand: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or_default(), 0, 0, operand)
}

fn jump(condition: u32, operand: u32, then: u8, otherwise: u8) -> SockFilter {
    let code = libc::BPF_JMP | condition | libc::BPF_K;
    SockFilter::new(u16::try_from(code).unwrap_or_default(), then, otherwise, operand)
}

fn accept() -> SockFilter {
    statement(libc::BPF_RET | libc::BPF_K, u32::MAX)
}

fn drop() -> SockFilter {
    statement(libc::BPF_RET | libc::BPF_K, 0)
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, os::unix::net::UnixDatagram, time::Duration};

    use socket2::{SockFilter, SockRef};

    use super::{by_vrid, strict};
    use crate::{
        AdvertisementInterval, Family, Interface, MemberConfig, Transport, Unicast, Version, VirtualAddress,
        Vrid,
    };

    /// Of vrid 51 over IPv4.
    fn member(version: Version) -> MemberConfig {
        MemberConfig {
            vip: "web".to_owned(),
            interface: Interface::Named("eth0".to_owned()),
            vrid: vrid(51),
            version,
            interval: AdvertisementInterval::new(version, Duration::from_secs(1)).unwrap(),
            addresses: vec![VirtualAddress { address: IpAddr::from([192, 0, 2, 100]), prefix: 32 }],
            checksum: Default::default(),
            transport: Transport::Multicast,
            password: None,
        }
    }

    /// How many of `count` packets get through, as the kernel runs the program.
    fn through(program: &[SockFilter], packet: &[u8], count: usize) -> usize {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver).attach_filter(program).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let got = |_| {
            sender.send(packet).unwrap();
            usize::from(receiver.recv(&mut [0; 100]).is_ok())
        };
        (0..count).map(got).sum()
    }

    /// An IPv4 header with `options` octets more than the shortest, and a VRRP message.
    fn packet(ttl: u8, options: usize, message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x40 | u8::try_from((20 + options) / 4).unwrap();
        packet[8] = ttl;
        packet.extend_from_slice(message);
        packet
    }

    const V3: [u8; 12] = [0x31, 51, 254, 1, 0, 10, 0, 0, 192, 0, 2, 100];
    const V2: [u8; 20] = [0x21, 51, 254, 1, 0, 1, 0, 0, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0];

    fn vrid(number: u8) -> Vrid {
        Vrid::new(number).unwrap()
    }

    #[test]
    fn right_packets_get_through_both_filters() {
        for options in [0, 4, 40] {
            for (version, message) in [(Version::V2, V2.as_slice()), (Version::V3, V3.as_slice())] {
                let packet = packet(255, options, message);
                assert_eq!(through(&by_vrid((vrid(51), Family::Ipv4)), &packet, 10), 10);
                assert_eq!(through(&strict(&member(version)), &packet, 10), 10);
            }
        }
    }

    fn sampled(program: &[SockFilter], wrong: &[u8]) {
        let sampled = through(program, wrong, 6_400);
        assert!((40..=160).contains(&sampled), "{sampled} of 6400 {wrong:?}");
    }

    #[test]
    fn by_unicast_the_strict_filter_knows_peers_and_their_ttl() {
        let peers = [[192, 0, 2, 12], [192, 0, 2, 13], [198, 51, 100, 14]];
        let mut member = member(Version::V3);
        member.transport = Transport::Unicast(Unicast {
            source: IpAddr::from([192, 0, 2, 11]),
            peers: peers.map(IpAddr::from).to_vec(),
            minimum_ttl: 64,
        });
        let program = strict(&member);
        let from = |source: [u8; 4], ttl, message: &[u8]| {
            let mut packet = packet(ttl, 0, message);
            packet[12..16].copy_from_slice(&source);
            packet
        };
        for peer in peers {
            assert_eq!(through(&program, &from(peer, 64, &V3), 10), 10, "{peer:?}");
            sampled(&program, &from(peer, 63, &V3));
            sampled(&program, &from(peer, 255, &V2));
        }
        for stranger in [[192, 0, 2, 11], [198, 51, 100, 13], [192, 0, 3, 12]] {
            sampled(&program, &from(stranger, 255, &V3));
        }
        assert_eq!(through(&program, &from(peers[2], 255, &[0x31, 52, 254, 1]), 300), 0, "another vrid");
    }

    /// The addresses are put where a pair of sockets has them. What is no peer goes seven instructions further.
    #[test]
    fn sources_of_ipv6_are_compared_word_by_word() {
        let peers: Vec<IpAddr> =
            ["2001:db8::12", "fe80::13", "2001:db8:1::12"].map(|text| text.parse().unwrap()).to_vec();
        let mut program = super::sources(&peers, 0);
        program.extend((0..7).map(|_| super::accept()));
        program.push(super::drop());
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        for peer in &peers {
            assert_eq!(through(&program, &octets(*peer), 10), 10, "{peer}");
        }
        for stranger in ["2001:db8::13", "fe80::12", "2001:db8:1::13", "2001:db9::12", "2001:db8:0:1::12"] {
            assert_eq!(through(&program, &octets(stranger.parse().unwrap()), 10), 0, "{stranger}");
        }
    }

    #[test]
    fn other_vrids_and_packets_without_one_never_get_through() {
        for wrong in
            [packet(255, 0, &[0x31, 52, 254, 1, 0, 10, 0, 0, 192, 0, 2, 100]), packet(255, 0, &[0x31])]
        {
            assert_eq!(through(&by_vrid((vrid(51), Family::Ipv4)), &wrong, 300), 0);
            assert_eq!(through(&strict(&member(Version::V3)), &wrong, 300), 0);
        }
    }

    /// A packet of IPv6 begins with the message.
    #[test]
    fn over_ipv6_the_vrid_is_the_second_octet() {
        let program = by_vrid((vrid(51), Family::Ipv6));
        assert_eq!(through(&program, &V3, 10), 10);
        for wrong in [&[0x31, 52, 254, 1][..], &[0x31], &[]] {
            assert_eq!(through(&program, wrong, 10), 0, "{wrong:?}");
        }
    }

    /// 6400 wrong packets: 100 on average, 10 as the standard deviation.
    #[test]
    fn of_wrong_packets_one_of_64_gets_through_the_strict_filter_and_all_through_the_other() {
        let mut no_address = V3;
        no_address[3] = 0;
        for wrong in
            [packet(254, 0, &V3), packet(255, 0, &V2), packet(255, 4, &no_address), packet(255, 0, &V3[..11])]
        {
            assert_eq!(through(&by_vrid((vrid(51), Family::Ipv4)), &wrong, 10), 10);
            sampled(&strict(&member(Version::V3)), &wrong);
        }
    }
}
