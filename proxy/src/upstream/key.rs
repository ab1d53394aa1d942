//! The hash that balancing by key goes by, from what is known of a request or connection.

use std::net::IpAddr;

use super::balance::hash::hash;
use crate::{
    config::{Balance, HashKey, UriPart},
    http::{query::pairs, target::split_absolute},
};

/// The key of a connection (mode tcp); `None` if the backend does not go by one that a connection has.
pub(crate) fn of_connection(balance: &Balance, source: IpAddr) -> Option<u64> {
    match balance {
        Balance::Hash { key: HashKey::Source, .. } => Some(of_address(source)),
        Balance::Hash { key: HashKey::Uri(_) | HashKey::Header(_) | HashKey::Query(_), .. }
        | Balance::RoundRobin
        | Balance::LeastConn
        | Balance::Random
        | Balance::First => None,
    }
}

/// The key of a request; `None` if the backend goes by none, or the request has none. `target` is its target, `field`
/// finds the first value of a field by its name in lower case.
pub(crate) fn of_request<'h>(
    balance: &Balance,
    source: Option<IpAddr>,
    target: &[u8],
    field: impl FnOnce(&str) -> Option<&'h [u8]>,
) -> Option<u64> {
    let Balance::Hash { key, .. } = balance else { return None };
    match key {
        HashKey::Source => source.map(of_address),
        HashKey::Uri(part) => Some(hash(of_target(part, target))),
        HashKey::Header(name) => {
            // As HAProxy does: the first of a list, which is the client in X-Forwarded-For.
            let value = field(name)?.split(|&byte| byte == b',').next()?.trim_ascii();
            (!value.is_empty()).then(|| hash(value))
        }
        HashKey::Query(name) => {
            let query = target.splitn(2, |&byte| byte == b'?').nth(1)?;
            pairs(query).find_map(|(key, value)| value.filter(|_| key == name.as_bytes())).map(hash)
        }
    }
}

fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// As HAProxy's `balance uri` reads its options: first `length`, then the query, then `depth`.
fn of_target<'t>(part: &UriPart, target: &'t [u8]) -> &'t [u8] {
    let target = match split_absolute(target) {
        Some((_, _, path)) if part.path_only => path,
        _ => target,
    };
    let target = &target[..part.length.map_or(target.len(), |length| target.len().min(length.get()))];
    let mut slashes = 0;
    let end = target.iter().position(|&byte| match byte {
        b'/' => {
            slashes += 1;
            part.depth.is_some_and(|depth| slashes > depth.get())
        }
        b'?' => !part.whole,
        _ => false,
    });
    &target[..end.unwrap_or(target.len())]
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::config::HashKind;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn by(key: HashKey) -> Balance {
        Balance::Hash { key, kind: HashKind::Consistent }
    }

    #[test]
    fn part_of_a_target_is_what_haproxy_hashes() {
        let whole = UriPart { whole: true, ..UriPart::default() };
        let length = |n| UriPart { length: NonZeroUsize::new(n), ..UriPart::default() };
        let depth = |n| UriPart { depth: NonZeroUsize::new(n), ..UriPart::default() };
        let path = UriPart { path_only: true, ..UriPart::default() };
        for (part, target, expected) in [
            (UriPart::default(), "/a/b?q=1", "/a/b"),
            (UriPart::default(), "http://h/a?q", "http://h/a"),
            (whole, "/a/b?q=1/2", "/a/b?q=1/2"),
            (length(3), "/a/b?q=1", "/a/"),
            (length(30), "/a/b?q=1", "/a/b"),
            (depth(1), "/a/b/c?q", "/a"),
            (depth(2), "/a/b/c?q", "/a/b"),
            (depth(9), "/a/b/c?q", "/a/b/c"),
            (depth(1), "/a", "/a"),
            (path, "http://h/a/b?q=/x", "/a/b"),
            (path, "/a/b?u=http://h/", "/a/b"),
            (path, "http://h", ""),
            (path, "http://h?u=/b", ""),
            (UriPart::default(), "*", "*"),
        ] {
            let found = of_target(&part, target.as_bytes());
            assert_eq!(found, expected.as_bytes(), "{part:?} of {target}");
        }
    }

    #[test]
    fn request_without_the_key_has_no_hash() {
        let header = by(HashKey::Header("x-user".into()));
        let of = |value: Option<&'static [u8]>| of_request(&header, Some(CLIENT), b"/", |_| value);
        assert_eq!(of(None), None);
        assert_eq!(of(Some(b"")), None);
        assert_eq!(of(Some(b" , b")), None);
        assert_eq!(of(Some(b"a")), Some(hash(b"a")));
        assert_eq!(of(Some(b"a, b")), Some(hash(b"a")));
        let query = by(HashKey::Query("user".into()));
        let of = |target: &str| of_request(&query, Some(CLIENT), target.as_bytes(), |_| None);
        assert_eq!(of("/?user=a"), Some(hash(b"a")));
        assert_eq!(of("/?x=1&user=a&user=b"), Some(hash(b"a")));
        assert_eq!(of("/?xuser=a"), None);
        assert_eq!(of("/user=a"), None);
        assert_eq!(of_request(&Balance::RoundRobin, Some(CLIENT), b"/", |_| None), None);
    }

    #[test]
    fn source_is_the_same_address_in_both_families() {
        let source = by(HashKey::Source);
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(of_connection(&source, CLIENT), of_connection(&source, mapped));
        assert_eq!(of_connection(&source, CLIENT), of_request(&source, Some(mapped), b"/", |_| None));
        assert_eq!(of_connection(&by(HashKey::Uri(UriPart::default())), CLIENT), None);
    }
}
