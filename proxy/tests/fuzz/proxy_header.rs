//! PROXY headers: the same however they come, none of what follows is taken, and what says the same is read the same.

use lb_proxy::{
    Endpoint,
    config::{Alpn, ProxyExtension, ProxyVersion, SendProxy},
    proxy_protocol::{
        Header, LONGEST, Origin,
        introduction::{Introduction, encode},
    },
};

use crate::mutate;

pub(crate) fn proxy_header(bytes: &[u8]) {
    let whole = Header::decode(bytes);
    let Ok(Some(Header { length, origin, .. })) = whole else {
        // Nothing that comes later makes a header of what is none, nor is there one before all of it is here.
        for part in 0..bytes.len() {
            let decoded = Header::decode(&bytes[..part]);
            assert!(decoded == Ok(None) || (decoded.is_err() && decoded == whole), "{part}: {decoded:?}");
        }
        return;
    };
    assert!((15..=LONGEST).contains(&length) && length <= bytes.len());
    for part in 0..length {
        assert_eq!(Header::decode(&bytes[..part]), Ok(None), "to {part}");
    }
    assert_eq!(Header::decode(&bytes[..length]), whole);
    let Origin::Client { source, destination } = origin else { return };
    let client = Introduction {
        source: Endpoint::Ip(source),
        destination: Endpoint::Ip(destination),
        unique_id: bytes[length..].to_vec(),
        authority: Some("a.example".into()),
        alpn: Some(Alpn::H2),
        tls: None,
    };
    let canonical = |address: std::net::SocketAddr| (address.ip().to_canonical(), address.port());
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        use ProxyExtension::{Alpn, Authority, Crc32c, Ssl, UniqueId};
        for extensions in [vec![], vec![Crc32c, UniqueId, Authority, Alpn, Ssl]] {
            let again = encode(&SendProxy { version, extensions }, &client);
            let Ok(Some(Header { length, origin: Origin::Client { source: from, destination: to }, .. })) =
                Header::decode(&again)
            else {
                panic!("{again:?}")
            };
            assert_eq!(length, again.len());
            assert_eq!((canonical(from), canonical(to)), (canonical(source), canonical(destination)));
        }
    }
}

#[test]
fn proxy_headers_are_the_same_however_they_come() {
    mutate::search("proxy_header", proxy_header);
}
