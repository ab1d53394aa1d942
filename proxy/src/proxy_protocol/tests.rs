use std::net::SocketAddr;

use super::{
    introduction::{Introduction, Secured, encode, encode_own},
    *,
};
use crate::{
    Endpoint,
    config::{Alpn, ProxyExtension, ProxyVersion, SendProxy},
};

const SIGNATURE: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn client(source: &str, destination: &str) -> Origin {
    Origin::Client { source: at(source), destination: at(destination) }
}

/// A header of version 2 with this command, family, and rest.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// 192.0.2.7:56324 to 198.51.100.1:443.
const INET: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

/// What HAProxy 2.6 has sent for `send-proxy-v2` with `proxy-v2-options crc32c,unique-id`, byte for byte, from a client at
/// 127.0.0.1:40000 to 127.0.0.1:18080 with the id `abc`.
fn everything() -> Vec<u8> {
    let addresses = [127, 0, 0, 1, 127, 0, 0, 1, 0x9c, 0x40, 0x46, 0xa0];
    let extensions = b"\x03\x00\x04\x43\x6d\xb1\x39\x05\x00\x03abc";
    binary(0x21, 0x11, &[&addresses[..], extensions].concat())
}

#[test]
fn valid_headers_say_whose_the_connection_is() {
    let longest_unknown = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(longest_unknown.len(), 107);
    let v6: Vec<u8> = {
        let (from, to) = (at("[2001:db8::7]:1"), at("[2001:db8::1]:65535"));
        let octets = |address: SocketAddr| match address.ip() {
            std::net::IpAddr::V6(ip) => ip.octets(),
            std::net::IpAddr::V4(_) => unreachable!(),
        };
        [&octets(from)[..], &octets(to), &[0, 1, 0xff, 0xff]].concat()
    };
    let with_tlvs = [INET, &[0x04, 0, 2, 0, 0], &[0xe7, 0, 0], b"\x02\x00\x0bexample.org"].concat();
    for (bytes, origin) in [
        // The lines of sections 2.1 and 2.3 of the specification.
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
            client("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(),
            client("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                .to_vec(),
            client(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Sender),
        (
            b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(),
            Origin::Sender,
        ),
        (longest_unknown.into_bytes(), Origin::Sender),
        (b"PROXY TCP6 ::1 ::ffff:192.0.2.1 0 1\r\n".to_vec(), client("[::1]:0", "[::ffff:192.0.2.1]:1")),
        (binary(0x21, 0x11, INET), client("192.0.2.7:56324", "198.51.100.1:443")),
        (binary(0x21, 0x21, &v6), client("[2001:db8::7]:1", "[2001:db8::1]:65535")),
        (binary(0x21, 0x11, &with_tlvs), client("192.0.2.7:56324", "198.51.100.1:443")),
        (everything(), client("127.0.0.1:40000", "127.0.0.1:18080")),
        // LOCAL: nothing of the rest counts, whatever its family.
        (binary(0x20, 0x00, b""), Origin::Sender),
        (binary(0x20, 0x11, INET), Origin::Sender),
        (binary(0x20, 0x11, b"\x03"), Origin::Sender),
        // UNSPEC, UDP and Unix-domain sockets: as if nothing were known.
        (binary(0x21, 0x00, b""), Origin::Sender),
        (binary(0x21, 0x00, b"\x04\x00\x01x"), Origin::Sender),
        (binary(0x21, 0x12, INET), Origin::Sender),
        (binary(0x21, 0x31, &[7; 216]), Origin::Sender),
        (binary(0x21, 0x11, &[INET, b"\x04", &4065_u16.to_be_bytes(), &[0; 4065]].concat()), client("192.0.2.7:56324", "198.51.100.1:443")),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let length = bytes.len();
        let read = |bytes: &[u8]| {
            let header = Header::decode(bytes).unwrap().unwrap();
            (header.length, header.origin)
        };
        assert_eq!(read(&bytes), (length, origin), "{shown}");
        // Whatever comes behind is the client's.
        let behind = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&behind), (length, origin), "{shown}");
        for part in 0..length {
            assert_eq!(Header::decode(&bytes[..part]), Ok(None), "{shown} to {part}");
        }
    }
}

#[test]
fn what_is_no_header_is_told_apart() {
    const FAMILY: Fault = Fault::Family;
    const ADDRESSES: Fault = Fault::Line("has no two addresses of its family");
    const PORTS: Fault = Fault::Line("has no two ports");
    const OPEN: Fault = Fault::Binary("ends in the middle of an extension");
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 93]].concat();
    let mut other_sum = everything();
    *other_sum.last_mut().unwrap() ^= 1;
    let mut other_address = everything();
    other_address[16] ^= 1;
    for (bytes, fault) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), Fault::Missing),
        (b"PRI".to_vec(), Fault::Missing),
        (b"proxy TCP4".to_vec(), Fault::Missing),
        (b"PROXY\t".to_vec(), Fault::Missing),
        (b"PROXY\r\n".to_vec(), Fault::Missing),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), Fault::Missing),
        (b"\r\n\r\nx".to_vec(), Fault::Missing),
        (b"PROXY \r\n".to_vec(), FAMILY),
        (b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), FAMILY),
        (b"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), FAMILY),
        (b"PROXY TCP4\r\n".to_vec(), ADDRESSES),
        (b"PROXY TCP4 1.1.1.1\r\n".to_vec(), ADDRESSES),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(), ADDRESSES),
        (b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), ADDRESSES),
        (b"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n".to_vec(), ADDRESSES),
        (b"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n".to_vec(), ADDRESSES),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n".to_vec(), PORTS),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".to_vec(), PORTS),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n".to_vec(), PORTS),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n".to_vec(), PORTS),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n".to_vec(), Fault::Line("goes on after its ports")),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(), Fault::Line("ends without CR")),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n".to_vec(), PORTS),
        (b"PROXY UNKNOWN \xff\r\n".to_vec(), Fault::Line("is no text")),
        (long, Fault::Line("has no end within 107 bytes")),
        (binary(0x11, 0x11, INET), Fault::Binary("has another version or command than 2 and LOCAL or PROXY")),
        (binary(0x22, 0x11, INET), Fault::Binary("has another version or command than 2 and LOCAL or PROXY")),
        (binary(0x21, 0x41, INET), Fault::Binary("has a family or a transport that there is not")),
        (binary(0x21, 0x13, INET), Fault::Binary("has a family or a transport that there is not")),
        (binary(0x21, 0x11, &INET[..11]), Fault::Binary("is shorter than its addresses")),
        (binary(0x21, 0x21, INET), Fault::Binary("is shorter than its addresses")),
        (binary(0x21, 0x31, &[0; 215]), Fault::Binary("is shorter than its addresses")),
        (binary(0x21, 0x11, &[INET, b"\x04"].concat()), OPEN),
        (binary(0x21, 0x11, &[INET, b"\x04\x00"].concat()), OPEN),
        (binary(0x21, 0x11, &[INET, b"\x04\x00\x02x"].concat()), OPEN),
        (binary(0x21, 0x00, b"\x04\xff\xffx"), OPEN),
        (
            binary(0x21, 0x11, &[INET, b"\x03\x00\x03xyz"].concat()),
            Fault::Binary("has a CRC32C that has no 4 bytes"),
        ),
        (other_sum, Fault::Checksum),
        (other_address, Fault::Checksum),
        (binary(0x21, 0x11, &[0; 4081]), Fault::TooLong(4097)),
        // Said before any of it is there.
        (binary(0x20, 0x00, &[0; 65535])[..16].to_vec(), Fault::TooLong(65551)),
    ] {
        assert_eq!(Header::decode(&bytes), Err(fault), "{}", String::from_utf8_lossy(&bytes));
    }
}

fn v2(extensions: &[ProxyExtension]) -> SendProxy {
    SendProxy { version: ProxyVersion::V2, extensions: extensions.to_vec() }
}

fn introduction(source: &str, destination: &str, unique_id: &str) -> Introduction {
    Introduction {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        unique_id: unique_id.into(),
        authority: None,
        alpn: None,
        tls: None,
    }
}

#[test]
fn clients_are_introduced_in_both_versions() {
    let v1 = SendProxy { version: ProxyVersion::V1, extensions: Vec::new() };
    for (source, destination, line) in [
        ("192.0.2.7:56324", "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"),
        ("[2001:db8::7]:1", "[2001:db8::1]:2", "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"),
        // A listener for both families sees IPv4 so.
        ("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.1]:2", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n"),
        ("192.0.2.7:1", "[2001:db8::1]:2", "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n"),
        ("unix", "unix", "PROXY UNKNOWN\r\n"),
        ("192.0.2.7:1", "unix", "PROXY UNKNOWN\r\n"),
    ] {
        let client = introduction(source, destination, "id");
        assert_eq!(String::from_utf8(encode(&v1, &client)).unwrap(), line);
        let binary = encode(&v2(&[]), &client);
        let read = |bytes: &[u8]| Header::decode(bytes).unwrap().unwrap();
        assert_eq!(read(&binary).origin, read(line.as_bytes()).origin, "{source}");
        assert_eq!(read(&binary).length, binary.len());
    }
    let client = introduction("192.0.2.7:56324", "198.51.100.1:443", "id");
    assert_eq!(encode(&v2(&[]), &client), binary(0x21, 0x11, INET));
}

#[test]
fn extensions_are_those_of_haproxy() {
    use ProxyExtension::{Crc32c, UniqueId};
    let client = introduction("127.0.0.1:40000", "127.0.0.1:18080", "abc");
    assert_eq!(encode(&v2(&[Crc32c, UniqueId]), &client), everything());
    // No id, nothing of it.
    let nameless = Introduction { unique_id: Vec::new(), ..client.clone() };
    assert_eq!(encode(&v2(&[UniqueId]), &nameless), encode(&v2(&[]), &nameless));
    let long = Introduction { unique_id: vec![b'x'; 500], ..client };
    let header = encode(&v2(&[UniqueId]), &long);
    assert_eq!(header[28..31], [0x05, 0, 128]);
    assert_eq!(header.len(), 31 + 128);
}

#[test]
fn name_and_protocol_of_a_handshake_are_told_where_there_was_one() {
    use ProxyExtension::{Alpn as Protocol, Authority, UniqueId};
    let plain = introduction("192.0.2.7:56324", "198.51.100.1:443", "id");
    let all = v2(&[UniqueId, Authority, Protocol]);
    assert_eq!(encode(&all, &plain), encode(&v2(&[UniqueId]), &plain));
    let client = Introduction { authority: Some("a.example".into()), alpn: Some(Alpn::H2), ..plain };
    // In the order of HAProxy, whatever that of the list is.
    let extensions = b"\x01\0\x02h2\x02\0\x09a.example\x05\0\x02id";
    assert_eq!(encode(&all, &client), binary(0x21, 0x11, &[INET, extensions].concat()));
    assert_eq!(encode(&v2(&[]), &client), binary(0x21, 0x11, INET), "what is not asked for");
    let own = encode(&v2(&[Authority]), &client);
    assert_eq!(own, binary(0x21, 0x11, &[INET, b"\x02\0\x09a.example"].concat()));
}

#[test]
fn servers_are_told_how_a_client_speaks_tls_and_whose_certificate_it_has() {
    use ProxyExtension::{CertCn, Ssl, SslCipher, UniqueId};
    let plain = introduction("192.0.2.7:56324", "198.51.100.1:443", "id");
    let secured = |certificate: Option<Option<&str>>, is_resumed| {
        let certificate = certificate.map(|name| name.map(Box::from));
        let tls = Secured { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", is_resumed, certificate };
        Introduction { tls: Some(tls), ..plain.clone() }
    };
    let all: &[_] = &[CertCn, SslCipher, Ssl];
    for (extensions, client, expected) in [
        // Who has shown no certificate has none that is good.
        (all, plain.clone(), &b"\x20\0\x05\0\0\0\0\x01"[..]),
        (&[Ssl], secured(None, false), b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3"),
        (&[Ssl], secured(Some(Some("anna")), false), b"\x20\0\x0f\x07\0\0\0\0\x21\0\x07TLSv1.3"),
        (
            &[CertCn],
            secured(Some(Some("anna")), true),
            b"\x20\0\x16\x05\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x04anna",
        ),
        (&[CertCn], secured(Some(None), false), b"\x20\0\x0f\x07\0\0\0\0\x21\0\x07TLSv1.3"),
        (
            all,
            secured(Some(Some("anna")), false),
            b"\x20\0\x2f\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x04anna\x23\0\x16TLS_AES_256_GCM_SHA384",
        ),
    ] {
        let header = encode(&v2(extensions), &client);
        assert_eq!(header, binary(0x21, 0x11, &[INET, expected].concat()), "{extensions:?}");
    }
    // Behind the id, as in HAProxy.
    let header = encode(&v2(&[Ssl, UniqueId]), &plain);
    assert_eq!(header, binary(0x21, 0x11, &[INET, b"\x05\0\x02id\x20\0\x05\0\0\0\0\x01"].concat()));
}

#[test]
fn extensions_of_a_header_are_read() {
    let of = |extensions: &[u8]| {
        Header::decode(&binary(0x21, 0x11, &[INET, extensions].concat()))
            .map(|header| header.unwrap().extensions)
    };
    assert_eq!(of(b""), Ok(None));
    assert_eq!(of(b"\x04\0\0\xe7\0\x02ab"), Ok(None), "what nobody knows");
    let ssl = b"\x20\0\x2f\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x04anna\x23\0\x16TLS_AES_256_GCM_SHA384";
    let read = of(&[&b"\x01\0\x02h2\x02\0\x09a.example\x05\0\x02id"[..], ssl].concat()).unwrap().unwrap();
    let bytes = |text: &str| Some(Box::from(text.as_bytes()));
    let tls = ClientTls {
        is_spoken: true,
        is_verified: true,
        version: bytes("TLSv1.3"),
        cipher: bytes("TLS_AES_256_GCM_SHA384"),
        name: bytes("anna"),
    };
    let expected = Extensions {
        alpn: bytes("h2"),
        authority: bytes("a.example"),
        unique_id: bytes("id"),
        tls: Some(tls),
    };
    assert_eq!(*read, expected);
    // Good is what was shown and is good: HAProxy has zero there also of who has shown nothing.
    for (value, is_spoken, is_verified) in [
        (b"\0\0\0\0\0", false, false),
        (b"\x01\0\0\0\0", true, false),
        (b"\x01\0\0\0\x01", true, false),
        (b"\x03\0\0\0\0", true, true),
        (b"\x05\0\0\0\0", true, true),
        (b"\x07\0\0\0\x0a", true, false),
    ] {
        let tls = of(&[b"\x20\0\x05", &value[..]].concat()).unwrap().unwrap().tls.unwrap();
        assert_eq!((tls.is_spoken, tls.is_verified), (is_spoken, is_verified), "{value:?}");
    }
    for (extensions, why) in [
        (&[&b"\x02\x01\0"[..], &[b'a'; 256]].concat()[..], "has a name of a host of more than 255 bytes"),
        (&[&b"\x05\0\x81"[..], &[b'a'; 129]].concat(), "has a unique id of more than 128 bytes"),
        (b"\x20\0\x04\0\0\0\0", "has an extension about TLS that is too short"),
        (b"\x20\0\x07\0\0\0\0\0\x21\0", "ends in the middle of an extension about TLS"),
        (b"\x20\0\x08\0\0\0\0\0\x21\0\x01", "ends in the middle of an extension about TLS"),
    ] {
        assert_eq!(of(extensions), Err(Fault::Binary(why)));
    }
    // Nothing of a LOCAL header counts.
    let local = binary(0x20, 0x11, &[INET, b"\x05\0\x02id"].concat());
    assert_eq!(Header::decode(&local).unwrap().unwrap().extensions, None);
}

#[test]
fn connection_of_our_own_is_no_clients() {
    let (source, destination) = (Endpoint::Ip(at("192.0.2.1:5")), Endpoint::Ip(at("192.0.2.2:80")));
    assert_eq!(encode_own(ProxyVersion::V2, source, destination), binary(0x20, 0x00, b""));
    assert_eq!(encode_own(ProxyVersion::V1, source, destination), b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n");
}
