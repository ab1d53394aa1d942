use super::*;

/// What the clients of OpenSSL 3.0 have sent, byte for byte.
const TLS13: &[u8] = include_bytes!("../../tests/fuzz/corpus/client_hello/tls13");
const TLS12: &[u8] = include_bytes!("../../tests/fuzz/corpus/client_hello/tls12");
const NAMELESS: &[u8] = include_bytes!("../../tests/fuzz/corpus/client_hello/nameless");

fn hello(sni: &str, alpn: &str, version: u16) -> Found {
    Found::Whole(ClientHello { sni: sni.as_bytes().into(), alpn: alpn.as_bytes().into(), version })
}

/// A ClientHello with these extensions, in one record.
fn with(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, value)| {
            let length = u16::try_from(value.len()).unwrap();
            [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
        })
        .collect();
    let length = u16::try_from(list.len()).unwrap().to_be_bytes();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &length, &list].concat();
    let body_length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let record = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &record, &[1, 0], &body_length, &body].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    [&length(name.len() + 3)[..], &[0], &length(name.len()), name].concat()
}

#[test]
fn hellos_of_real_clients_are_read() {
    assert_eq!(ClientHello::find(TLS13), hello("www.example.com", "h2,http/1.1", 0x0304));
    assert_eq!(ClientHello::find(TLS12), hello("mail.example.org", "", 0x0303));
    assert_eq!(ClientHello::find(NAMELESS), hello("", "", 0x0304));
    for part in 0..TLS13.len() {
        assert_eq!(ClientHello::find(&TLS13[..part]), Found::Part, "{part}");
    }
    let names = |version| ClientHello { version, ..ClientHello::default() }.version_name();
    assert_eq!(
        [0x0300, 0x0301, 0x0302, 0x0303, 0x0304].map(names),
        ["ssl3", "1.0", "1.1", "1.2", "1.3"].map(Some)
    );
    assert_eq!(names(0x0305), None);
}

#[test]
fn what_is_no_client_hello_is_told_early() {
    for bytes in [
        &b"GET / HTTP/1.1"[..],
        b"S",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        // A ServerHello, and one that is longer than any.
        b"\x16\x03\x03\x00\x04\x02",
        b"\x16\x03\x01\x40\x00\x01\x00\x40\x01",
        // An alert in the middle of one.
        b"\x16\x03\x01\x00\x01\x01\x15",
    ] {
        assert_eq!(ClientHello::find(bytes), Found::Nothing, "{bytes:?}");
    }
    assert_eq!(ClientHello::find(b""), Found::Part);
    // As long as one may be, and still not whole.
    let mut long = vec![22, 3, 1, 0x3f, 0xfa, 1, 0, 0x3f, 0xff];
    long.resize(LONGEST - 1, 0);
    assert_eq!(ClientHello::find(&long), Found::Part);
    long.push(0);
    assert_eq!(ClientHello::find(&long), Found::Nothing);
}

#[test]
fn names_that_servers_might_read_otherwise_are_none() {
    let good = with(&[(0, &sni(b"a.example"))]);
    assert_eq!(ClientHello::find(&good), hello("a.example", "", 0x0303));
    let two_names = [&[0, 10, 0, 0, 2][..], b"a.", &[0, 0, 2], b"b."].concat();
    for (what, extensions) in [
        ("twice", vec![(0, sni(b"a.example")), (0, sni(b"b.example"))]),
        ("two names in one", vec![(0, two_names)]),
        ("empty", vec![(0, sni(b""))]),
        ("no list", vec![(0, Vec::new())]),
        ("a NUL", vec![(0, sni(b"a.example\0.b"))]),
        ("a blank", vec![(0, sni(b"a example"))]),
        ("longer than its extension", vec![(0, vec![0, 9, 0, 0, 6, b'a'])]),
        ("more behind it", vec![(0, [sni(b"a"), vec![0]].concat())]),
        ("of another kind", vec![(0, vec![0, 4, 1, 0, 1, b'a'])]),
        ("empty protocol", vec![(16, vec![0, 1, 0])]),
        ("no version", vec![(43, vec![0])]),
        ("half a version", vec![(43, vec![1, 3])]),
    ] {
        let extensions: Vec<_> = extensions.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
        assert_eq!(ClientHello::find(&with(&extensions)), Found::Nothing, "{what}");
    }
    let greased = with(&[(0x1a1a, b""), (43, &[6, 0x2a, 0x2a, 3, 4, 3, 3]), (0, &sni(b"A.Example"))]);
    assert_eq!(ClientHello::find(&greased), hello("a.example", "", 0x0304));
    let mut open = good;
    let at = open.len() - 1;
    open.truncate(at);
    assert_eq!(ClientHello::find(&open), Found::Part);
}
