use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use proptest::prelude::*;

use super::{Advertisement, DecodeError, Decoded, Envelope, Expected, decode, unwrap_ipv4};
use crate::{AdvertisementInterval, ChecksumForm, Password, Transport, Unicast, Version, Vrid};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const SOURCE_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11));
const GROUP_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

/// Checked on the wire against keepalived 2.2.7: VRID 51, priority 150, 1 s, 192.0.2.100 from 192.0.2.11.
const V2: &str = "2133960100018665c00002640000000000000000";
const V2_PASSWORD: &str = "2133960101014919c00002647365637265740000";
const V3_RFC_5798: &str = "313396010064d367c0000264";
const V3_RFC_9568: &str = "3133960100647602c0000264";
const V3_PRIORITY_0: &str = "3133000100640c03c0000264";
const V3_IPV6: &str = "3133960200640bedfe80000000000000000000000000010020010db8000000000000000000000100";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn expected(version: Version) -> Expected<'static> {
    Expected {
        password: None,
        transport: &Transport::Multicast,
        vrid: Vrid::new(51).unwrap(),
        version,
        interval: AdvertisementInterval::new(version, Duration::from_secs(1)).unwrap(),
    }
}

fn envelope() -> Envelope {
    Envelope { source: SOURCE, destination: GROUP, ttl: 255 }
}

fn advertisement(version: Version, priority: u8) -> Advertisement {
    Advertisement {
        version,
        vrid: Vrid::new(51).unwrap(),
        priority,
        interval: Duration::from_secs(1),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100))],
    }
}

fn decode_v3(message: &[u8]) -> Result<Decoded, DecodeError> {
    decode(message, &envelope(), &[expected(Version::V3)])
}

fn decode_v2(message: &[u8]) -> Result<Decoded, DecodeError> {
    decode(message, &envelope(), &[expected(Version::V2)])
}

/// The golden messages pass whole: what a test changes in one is what gets it dropped.
fn assert_golden_messages_pass() {
    for (hex, decoded) in [(V3_RFC_9568, decode_v3(&bytes(V3_RFC_9568))), (V2, decode_v2(&bytes(V2)))] {
        assert!(decoded.is_ok(), "{hex}: {decoded:?}");
    }
}

/// The message with some octets replaced and its RFC 9568 sum right again.
fn changed(hex: &str, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut message = bytes(hex);
    for &(at, value) in changes {
        message[at] = value;
    }
    message[6..8].fill(0);
    let sum: u64 = message.chunks(2).map(|pair| u64::from(pair[0]) * 256 + u64::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let value = !(((folded & 0xffff) + (folded >> 16)) as u16);
    message[6..8].copy_from_slice(&value.to_be_bytes());
    message
}

#[test]
fn golden_vectors_are_encoded_octet_for_octet() {
    let rfc9568 = ChecksumForm::Rfc9568;
    assert_eq!(advertisement(Version::V2, 150).encode(rfc9568, SOURCE, GROUP), bytes(V2));
    assert_eq!(advertisement(Version::V3, 150).encode(rfc9568, SOURCE, GROUP), bytes(V3_RFC_9568));
    assert_eq!(advertisement(Version::V3, 0).encode(rfc9568, SOURCE, GROUP), bytes(V3_PRIORITY_0));
    let rfc5798 = ChecksumForm::Rfc5798;
    assert_eq!(advertisement(Version::V3, 150).encode(rfc5798, SOURCE, GROUP), bytes(V3_RFC_5798));
}

#[test]
fn golden_vectors_are_decoded_with_the_form_of_their_sum() {
    for (hex, version, priority, checksum) in [
        (V2, Version::V2, 150, ChecksumForm::Rfc9568),
        (V3_RFC_5798, Version::V3, 150, ChecksumForm::Rfc5798),
        (V3_RFC_9568, Version::V3, 150, ChecksumForm::Rfc9568),
        (V3_PRIORITY_0, Version::V3, 0, ChecksumForm::Rfc9568),
    ] {
        let decoded = decode(&bytes(hex), &envelope(), &[expected(version)]);
        let wanted = Decoded { advertisement: advertisement(version, priority), checksum, router: 0 };
        assert_eq!(decoded, Ok(wanted), "{hex}");
    }
}

#[test]
fn golden_vector_of_ipv6_goes_both_ways() {
    let advertisement = Advertisement {
        version: Version::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: 150,
        interval: Duration::from_secs(1),
        addresses: vec!["fe80::100".parse().unwrap(), "2001:db8::100".parse().unwrap()],
    };
    assert_eq!(advertisement.encode(ChecksumForm::Rfc9568, SOURCE_6, GROUP_6), bytes(V3_IPV6));
    let envelope = Envelope { source: SOURCE_6, destination: GROUP_6, ttl: 255 };
    let decoded = decode(&bytes(V3_IPV6), &envelope, &[expected(Version::V3)]);
    let wanted = Decoded { advertisement, checksum: ChecksumForm::Rfc9568, router: 0 };
    assert_eq!(decoded, Ok(wanted));
}

#[test]
fn v_1_ttl_below_255_is_discarded() {
    assert_golden_messages_pass();
    for ttl in [254, 64, 0] {
        let far = Envelope { ttl, ..envelope() };
        let decoded = decode(&bytes(V3_RFC_9568), &far, &[expected(Version::V3)]);
        assert_eq!(decoded, Err(DecodeError::Ttl { got: ttl, least: 255 }));
        let far = Envelope { source: SOURCE_6, destination: GROUP_6, ttl };
        let decoded = decode(&bytes(V3_IPV6), &far, &[expected(Version::V3)]);
        assert_eq!(decoded, Err(DecodeError::Ttl { got: ttl, least: 255 }), "hop limit");
    }
}

#[test]
fn v_2_version_other_than_configured_is_discarded() {
    assert_golden_messages_pass();
    assert_eq!(decode_v3(&bytes(V2)), Err(DecodeError::Version { got: 2 }));
    assert_eq!(decode_v2(&bytes(V3_RFC_9568)), Err(DecodeError::Version { got: 3 }));
    assert_eq!(decode_v3(&changed(V3_RFC_9568, &[(0, 0x41)])), Err(DecodeError::Version { got: 4 }));
    // Another virtual router of the interface speaks version 2, but not this one.
    let other = Expected { vrid: Vrid::new(52).unwrap(), ..expected(Version::V2) };
    let decoded = decode(&bytes(V2), &envelope(), &[expected(Version::V3), other]);
    assert_eq!(decoded, Err(DecodeError::Version { got: 2 }));
}

#[test]
fn v_3_type_other_than_1_is_discarded() {
    assert_golden_messages_pass();
    assert_eq!(decode_v3(&changed(V3_RFC_9568, &[(0, 0x32)])), Err(DecodeError::Type { got: 2 }));
}

#[test]
fn v_4_message_shorter_than_its_count_is_discarded_at_every_length() {
    assert_golden_messages_pass();
    let message = bytes(V3_RFC_9568);
    for length in 0..8 {
        assert_eq!(decode_v3(&message[..length]), Err(DecodeError::TooShort { length, needed: 8 }));
    }
    for length in 8..12 {
        assert_eq!(decode_v3(&message[..length]), Err(DecodeError::TooShort { length, needed: 12 }));
    }
    for length in 8..20 {
        assert_eq!(decode_v2(&bytes(V2)[..length]), Err(DecodeError::TooShort { length, needed: 20 }));
    }
    let envelope = Envelope { source: SOURCE_6, destination: GROUP_6, ttl: 255 };
    for length in 8..40 {
        let decoded = decode(&bytes(V3_IPV6)[..length], &envelope, &[expected(Version::V3)]);
        assert_eq!(decoded, Err(DecodeError::TooShort { length, needed: 40 }));
    }
}

#[test]
fn v_5_trailing_bytes_are_discarded_but_ethernet_padding_is_not_part_of_the_packet() {
    assert_golden_messages_pass();
    let mut long = bytes(V3_RFC_9568);
    long.extend_from_slice(&[0, 0]);
    assert_eq!(decode_v3(&long), Err(DecodeError::TrailingBytes { length: 14, needed: 12 }));
    let mut long = bytes(V2);
    long.push(0);
    assert_eq!(decode_v2(&long), Err(DecodeError::TrailingBytes { length: 21, needed: 20 }));

    // 20 bytes of IPv4 header (total length 32, TTL 255, protocol 112), the message, 14 bytes of padding.
    let mut packet = bytes("45c0002000000000ff7018eac000020be0000012");
    packet.extend_from_slice(&bytes(V3_RFC_9568));
    packet.extend_from_slice(&[0; 14]);
    assert_eq!(unwrap_ipv4(&packet), Ok((envelope(), bytes(V3_RFC_9568).as_slice())));
}

#[test]
fn packet_that_is_cut_a_fragment_or_of_another_protocol_is_discarded() {
    let mut packet = bytes("45c0002000000000ff7018eac000020be0000012");
    packet.extend_from_slice(&bytes(V3_RFC_9568));
    for length in 0..packet.len() {
        assert_eq!(unwrap_ipv4(&packet[..length]), Err(DecodeError::Packet));
    }
    let mut other = packet.clone();
    other[9] = 6;
    assert_eq!(unwrap_ipv4(&other), Err(DecodeError::Packet));
    let mut fragment = packet.clone();
    fragment[6] = 0x20;
    assert_eq!(unwrap_ipv4(&fragment), Err(DecodeError::Packet));
}

#[test]
fn v_6_wrong_checksum_is_discarded() {
    assert_golden_messages_pass();
    for at in [1, 2, 6, 7, 11] {
        let mut message = bytes(V3_RFC_9568);
        message[at] ^= 0x10;
        assert_eq!(decode_v3(&message), Err(DecodeError::Checksum), "octet {at}");
    }
    let mut message = bytes(V2);
    message[19] ^= 1;
    assert_eq!(decode_v2(&message), Err(DecodeError::Checksum));
    let envelope = Envelope { source: SOURCE_6, destination: SOURCE_6, ttl: 255 };
    let decoded = decode(&bytes(V3_IPV6), &envelope, &[expected(Version::V3)]);
    assert_eq!(decoded, Err(DecodeError::Checksum));
}

#[test]
fn v_7_vrid_that_is_not_configured_is_discarded() {
    assert_golden_messages_pass();
    assert_eq!(decode_v3(&changed(V3_RFC_9568, &[(1, 52)])), Err(DecodeError::Vrid { got: 52 }));
    assert_eq!(decode(&bytes(V3_RFC_9568), &envelope(), &[]), Err(DecodeError::Vrid { got: 51 }));
}

#[test]
fn the_right_one_of_several_virtual_routers_is_found() {
    let other = Expected { vrid: Vrid::new(50).unwrap(), ..expected(Version::V3) };
    let decoded = decode(&bytes(V3_RFC_9568), &envelope(), &[other, expected(Version::V3)]);
    assert_eq!(decoded.map(|decoded| decoded.router), Ok(1));
}

#[test]
fn v_8_count_0_is_discarded() {
    assert_golden_messages_pass();
    assert_eq!(decode_v3(&changed("3133960000640000", &[])), Err(DecodeError::CountZero));
    assert_eq!(decode_v2(&changed("21339600000100000000000000000000", &[])), Err(DecodeError::CountZero));
}

#[test]
fn v_9_interval_0_is_discarded() {
    assert_eq!(decode_v3(&changed(V3_RFC_9568, &[(5, 0)])), Err(DecodeError::IntervalZero));
    assert_eq!(decode_v2(&changed(V2, &[(5, 0)])), Err(DecodeError::IntervalZero));
    let interval =
        |changes: &[(usize, u8)]| decode_v3(&changed(V3_RFC_9568, changes)).unwrap().advertisement.interval;
    assert_eq!(interval(&[(5, 1)]), Duration::from_millis(10), "the shortest there is");
    assert_eq!(interval(&[(4, 0x0f), (5, 0xff)]), Duration::from_millis(40_950), "the longest");
}

#[test]
fn v_10_reserved_bits_are_ignored_on_receipt_and_v_22_zero_when_sent() {
    let decoded = decode_v3(&changed(V3_RFC_9568, &[(4, 0x50)]));
    assert_eq!(decoded.map(|decoded| decoded.advertisement), Ok(advertisement(Version::V3, 150)));
    let longest = Advertisement { interval: Duration::from_secs(41), ..advertisement(Version::V3, 150) };
    assert_eq!(longest.encode(ChecksumForm::Rfc9568, SOURCE, GROUP)[4..6], [0x0f, 0xff]);
}

#[test]
fn v_11_interval_of_version_2_has_to_be_the_configured_one() {
    let mismatch =
        DecodeError::IntervalMismatch { got: Duration::from_secs(2), want: Duration::from_secs(1) };
    assert_eq!(decode_v2(&changed(V2, &[(5, 2)])), Err(mismatch));
    assert_eq!(decode_v2(&changed(V2, &[(5, 1)])).map(|decoded| decoded.router), Ok(0));
}

#[test]
fn v_12_authentication_type_other_than_none_is_discarded() {
    assert_golden_messages_pass();
    assert_eq!(decode_v2(&bytes(V2_PASSWORD)), Err(DecodeError::AuthenticationType { got: 1, want: 0 }));
}

/// RFC 2338 §5.3.6: the golden message of keepalived, sent and heard; the sum covers the password.
#[test]
fn v_12_a_password_of_version_2_is_sent_and_wanted() {
    let own = Password::new("secret").unwrap();
    let heard = |message: &[u8], password: &Password| {
        let expected = Expected { password: Some(password), ..expected(Version::V2) };
        decode(message, &envelope(), &[expected]).map(|decoded| decoded.advertisement)
    };
    let sent = advertisement(Version::V2, 150);
    let encoded = sent.encode_with(Some(&own), ChecksumForm::Rfc9568, SOURCE, GROUP);
    assert_eq!(encoded, bytes(V2_PASSWORD));
    assert_eq!(heard(&encoded, &own), Ok(sent));
    let none = Err(DecodeError::AuthenticationType { got: 0, want: 1 });
    assert_eq!(heard(&bytes(V2), &own), none);
    for other in ["secre", "secret1", "Secret", "x"] {
        let other = Password::new(other).unwrap();
        assert_eq!(heard(&encoded, &other), Err(DecodeError::Password), "{other:?}");
    }
    let mut longer = encoded.clone();
    longer[18] = b'7';
    assert_eq!(heard(&longer, &own), Err(DecodeError::Checksum));
    let version_3 = advertisement(Version::V3, 150);
    let without = version_3.encode(ChecksumForm::Rfc9568, SOURCE, GROUP);
    assert_eq!(version_3.encode_with(Some(&own), ChecksumForm::Rfc9568, SOURCE, GROUP), without);
}

#[test]
fn v_13_interval_of_version_3_may_differ_from_the_configured_one() {
    let decoded = decode_v3(&changed(V3_RFC_9568, &[(4, 0x01), (5, 0xf4)])).unwrap();
    assert_eq!(decoded.advertisement.interval, Duration::from_secs(5));
}

#[test]
fn v_15_ipv6_list_has_to_begin_with_a_link_local_address() {
    let advertisement = Advertisement {
        addresses: vec!["2001:db8::100".parse().unwrap(), "fe80::100".parse().unwrap()],
        ..advertisement(Version::V3, 150)
    };
    let message = advertisement.encode(ChecksumForm::Rfc9568, SOURCE_6, GROUP_6);
    let envelope = Envelope { source: SOURCE_6, destination: GROUP_6, ttl: 255 };
    let decoded = decode(&message, &envelope, &[expected(Version::V3)]);
    assert_eq!(decoded, Err(DecodeError::FirstAddressNotLinkLocal));
    let decoded = decode(&bytes(V3_IPV6), &envelope, &[expected(Version::V3)]);
    assert!(decoded.is_ok(), "{decoded:?}");
}

#[test]
fn v_16_ipv6_source_has_to_be_link_local() {
    let source = "2001:db8::11".parse().unwrap();
    let advertisement =
        Advertisement { addresses: vec!["fe80::100".parse().unwrap()], ..advertisement(Version::V3, 150) };
    let message = advertisement.encode(ChecksumForm::Rfc9568, source, GROUP_6);
    let envelope = Envelope { source, destination: GROUP_6, ttl: 255 };
    let decoded = decode(&message, &envelope, &[expected(Version::V3)]);
    assert_eq!(decoded, Err(DecodeError::SourceNotLinkLocal));
}

fn by_unicast(peers: &[&str], minimum_ttl: u8) -> Transport {
    let peers: Vec<IpAddr> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    let source = if peers[0].is_ipv4() { "192.0.2.12" } else { "2001:db8::12" };
    Transport::Unicast(Unicast { source: source.parse().unwrap(), peers, minimum_ttl })
}

#[test]
fn v_17_by_unicast_only_peers_are_heard_with_the_ttl_that_the_file_wants() {
    let destination = "192.0.2.12".parse().unwrap();
    let heard = |source: &str, ttl, transport: &Transport| {
        let envelope = Envelope { source: source.parse().unwrap(), destination, ttl };
        let expected = Expected { transport, ..expected(Version::V3) };
        decode(&bytes(V3_RFC_9568), &envelope, &[expected]).map(|decoded| decoded.checksum)
    };
    let (near, far) = (by_unicast(&["192.0.2.11", "192.0.2.13"], 255), by_unicast(&["192.0.2.11"], 62));
    for source in ["192.0.2.11", "192.0.2.13"] {
        assert_eq!(heard(source, 255, &near), Ok(ChecksumForm::Rfc9568));
        assert_eq!(heard(source, 254, &near), Err(DecodeError::Ttl { got: 254, least: 255 }));
    }
    for stranger in ["192.0.2.12", "192.0.2.14", "198.51.100.11"] {
        assert_eq!(heard(stranger, 255, &near), Err(DecodeError::NotAPeer));
    }
    assert_eq!(heard("192.0.2.11", 62, &far), Ok(ChecksumForm::Rfc9568));
    let too_far = heard("192.0.2.11", 61, &far).unwrap_err();
    assert_eq!(too_far.to_string(), "ttl is 61, not 62 or more");
    assert_eq!(heard("192.0.2.13", 255, &far), Err(DecodeError::NotAPeer));
}

/// What a peer still sends to the group is heard, from the link alone: the nodes change over one after the other.
#[test]
fn v_17_a_node_by_unicast_hears_what_its_peers_send_to_the_group() {
    let transport = by_unicast(&["192.0.2.11"], 10);
    let heard = |ttl| {
        let envelope = Envelope { ttl, ..envelope() };
        let expected = Expected { transport: &transport, ..expected(Version::V3) };
        decode(&bytes(V3_RFC_9568), &envelope, &[expected]).map(|decoded| decoded.router)
    };
    assert_eq!(heard(255), Ok(0));
    assert_eq!(heard(254), Err(DecodeError::Ttl { got: 254, least: 255 }));
}

/// The sum is over the addresses of the packet itself, and the source is that of the file instead of a link-local one.
#[test]
fn v_17_over_ipv6_by_unicast_the_source_is_the_one_of_the_file() {
    let [source, destination] = ["2001:db8::11", "2001:db8::12"].map(|text| text.parse().unwrap());
    let advertisement =
        Advertisement { addresses: vec!["fe80::100".parse().unwrap()], ..advertisement(Version::V3, 150) };
    let message = advertisement.encode(ChecksumForm::Rfc9568, source, destination);
    let transport = by_unicast(&["2001:db8::11"], 255);
    let heard = |transport, destination| {
        let envelope = Envelope { source, destination, ttl: 255 };
        decode(&message, &envelope, &[Expected { transport, ..expected(Version::V3) }])
            .map(|found| found.router)
    };
    assert_eq!(heard(&transport, destination), Ok(0));
    assert_eq!(heard(&transport, GROUP_6), Err(DecodeError::Checksum));
    assert_eq!(heard(&Transport::Multicast, destination), Err(DecodeError::SourceNotLinkLocal));
}

#[test]
fn v_19_every_reason_has_a_counter_of_its_own() {
    let second = Duration::from_secs(1);
    let all = [
        DecodeError::Packet,
        DecodeError::Ttl { got: 1, least: 255 },
        DecodeError::NotAPeer,
        DecodeError::Version { got: 1 },
        DecodeError::Type { got: 2 },
        DecodeError::TooShort { length: 0, needed: 8 },
        DecodeError::TrailingBytes { length: 9, needed: 8 },
        DecodeError::Checksum,
        DecodeError::Vrid { got: 1 },
        DecodeError::CountZero,
        DecodeError::IntervalZero,
        DecodeError::IntervalMismatch { got: second, want: second },
        DecodeError::AuthenticationType { got: 1, want: 0 },
        DecodeError::Password,
        DecodeError::Unsigned,
        DecodeError::Signature,
        DecodeError::Replayed,
        DecodeError::SourceNotLinkLocal,
        DecodeError::FirstAddressNotLinkLocal,
    ];
    let names: Vec<_> = all.iter().map(DecodeError::counter).collect();
    assert_eq!(names, DecodeError::COUNTERS);
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), 19);
}

#[test]
fn v_21_addresses_go_out_in_the_order_of_the_file() {
    let advertisement = Advertisement {
        addresses: vec!["192.0.2.101".parse().unwrap(), "192.0.2.100".parse().unwrap()],
        ..advertisement(Version::V3, 150)
    };
    let message = advertisement.encode(ChecksumForm::Rfc9568, SOURCE, GROUP);
    assert_eq!((message[3], &message[8..]), (2, &[192, 0, 2, 101, 192, 0, 2, 100][..]));
}

#[test]
fn v_23_version_2_goes_out_with_authentication_type_0_and_eight_zero_octets() {
    let message = advertisement(Version::V2, 150).encode(ChecksumForm::Rfc5798, SOURCE, GROUP);
    assert_eq!((message[4], &message[12..]), (0, &[0; 8][..]));
}

fn any_advertisement() -> impl Strategy<Value = (Advertisement, ChecksumForm, Envelope)> {
    let v4 = (any::<bool>(), 1..=255_u64, 1..=4095_u64).prop_flat_map(|(v2, seconds, centiseconds)| {
        let (version, interval) = if v2 {
            (Version::V2, Duration::from_secs(seconds))
        } else {
            (Version::V3, Duration::from_millis(centiseconds * 10))
        };
        let addresses = proptest::collection::vec(any::<[u8; 4]>().prop_map(IpAddr::from), 1..=255);
        (Just(version), Just(interval), addresses, Just(SOURCE), Just(GROUP))
    });
    let v6 = (1..=4095_u64, proptest::collection::vec(any::<[u8; 16]>(), 1..=255)).prop_map(
        |(centiseconds, list)| {
            let mut addresses: Vec<_> = list.into_iter().map(IpAddr::from).collect();
            addresses[0] = "fe80::1".parse().unwrap();
            (Version::V3, Duration::from_millis(centiseconds * 10), addresses, SOURCE_6, GROUP_6)
        },
    );
    let form = prop_oneof![Just(ChecksumForm::Rfc9568), Just(ChecksumForm::Rfc5798)];
    (prop_oneof![v4, v6], 1..=255_u8, any::<u8>(), form).prop_map(
        |((version, interval, addresses, source, destination), vrid, priority, form)| {
            let vrid = Vrid::new(vrid).unwrap();
            let advertisement = Advertisement { version, vrid, priority, interval, addresses };
            (advertisement, form, Envelope { source, destination, ttl: 255 })
        },
    )
}

proptest! {
    #[test]
    fn decode_of_encode_is_the_same((advertisement, form, envelope) in any_advertisement()) {
        let message = advertisement.encode(form, envelope.source, envelope.destination);
        let expected = Expected {
            transport: &Transport::Multicast,
            password: None,
            vrid: advertisement.vrid,
            version: advertisement.version,
            interval: AdvertisementInterval::new(advertisement.version, advertisement.interval).unwrap(),
        };
        let decoded = decode(&message, &envelope, &[expected]).map(|decoded| decoded.advertisement);
        prop_assert_eq!(decoded, Ok(advertisement));
    }

    #[test]
    fn decode_never_panics(
        message in proptest::collection::vec(any::<u8>(), 0..64),
        first in prop_oneof![Just(0x21_u8), Just(0x31_u8), any::<u8>()],
        ipv6: bool,
    ) {
        let mut message = message;
        if let Some(octet) = message.first_mut() {
            *octet = first;
        }
        let envelope = if ipv6 {
            Envelope { source: SOURCE_6, destination: GROUP_6, ttl: 255 }
        } else {
            envelope()
        };
        let _ = decode(&message, &envelope, &[expected(Version::V2), expected(Version::V3)]);
        let _ = unwrap_ipv4(&message);
    }

    #[test]
    fn one_flipped_bit_never_passes(
        (advertisement, form, envelope) in any_advertisement(),
        at: proptest::sample::Index,
        bit in 0..8_u32,
    ) {
        let mut message = advertisement.encode(form, envelope.source, envelope.destination);
        let at = at.index(message.len());
        message[at] ^= 1 << bit;
        let expected = Expected {
            transport: &Transport::Multicast,
            password: None,
            vrid: advertisement.vrid,
            version: advertisement.version,
            interval: AdvertisementInterval::new(advertisement.version, advertisement.interval).unwrap(),
        };
        // SOURCE and GROUP are fixed so that the pseudo-header never adds up to a power of two: then one bit would turn
        // one form of the sum into the other.
        prop_assert!(decode(&message, &envelope, &[expected]).is_err());
    }
}
