//! Host names: exact and with a wildcard, found by hashing and not by looking at one after the other.

use std::{collections::HashMap, fmt};

use super::{Action, Condition, Rule};
use crate::config::BackendId;

/// A name that a request is for: `www.example.com`, or `*.example.com` for every name below that (at any depth, not the
/// name itself), as in the Gateway API.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostPattern {
    /// In lower case, without the `*.`.
    name: String,
    wildcard: bool,
}

/// Bytes in a host name (RFC 1035 §2.3.4).
const LONGEST: usize = 253;

impl HostPattern {
    /// Reads a name, an address, or `*.` and a name. A dot at the end is ignored, as in a request.
    ///
    /// # Errors
    /// The end of a sentence that begins with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (rest, wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if rest.contains('*') {
            return Err(
                "has a `*` that is no `*.` at its beginning; write \"*.example.com\", or leave `host` out",
            );
        }
        let unbracketed = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(address) = unbracketed.or(rest.matches(':').nth(1).map(|_| rest)) {
            return match address.parse::<std::net::Ipv6Addr>() {
                Ok(address) if !wildcard => Ok(Self { name: address.to_string(), wildcard }),
                _ => Err("is no host name and no address"),
            };
        }
        if rest.contains("://") {
            return Err("is a URL; write the name of the host alone, as in \"www.example.com\"");
        }
        if rest.contains(':') {
            return Err(
                "has a port; ports don't count for `host`: leave it out, or write `port = 8080` beside it",
            );
        }
        let name = rest.strip_suffix('.').unwrap_or(rest).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.len() > LONGEST || !name.split('.').all(is_label) {
            return Err(
                "is no host name; names have letters, digits, `-` and dots, as in \"www.example.com\"",
            );
        }
        Ok(Self { name, wildcard })
    }

    /// Does it match whatever `other` matches?
    pub(crate) fn covers(&self, other: &Self) -> bool {
        if self.wildcard {
            let above = other.name.strip_suffix(&self.name);
            above.is_some_and(|above| above.ends_with('.') || (above.is_empty() && other.wildcard))
        } else {
            self == other
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcard {
            formatter.write_str("*.")?;
        }
        formatter.write_str(&self.name)
    }
}

/// Finds the first of many patterns that a host matches: one hash lookup for its name, and one for each domain above it
/// if there are wildcards that deep.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostIndex {
    exact: HashMap<Box<[u8]>, usize>,
    below: HashMap<Box<[u8]>, usize>,
    /// Dots in the longest and the shortest domain that has a wildcard.
    deepest: usize,
    shallowest: usize,
}

impl HostIndex {
    /// Adds a pattern at `position`; positions only grow.
    pub(crate) fn add(&mut self, pattern: &HostPattern, position: usize) {
        let dots = pattern.name.matches('.').count();
        if pattern.wildcard {
            self.shallowest = if self.below.is_empty() { dots } else { self.shallowest.min(dots) };
            self.deepest = self.deepest.max(dots);
        }
        let names = if pattern.wildcard { &mut self.below } else { &mut self.exact };
        names.entry(pattern.name.as_bytes().into()).or_insert(position);
    }

    /// The lowest position whose pattern `host` (a value of Host) matches.
    pub(crate) fn find(&self, host: &[u8]) -> Option<usize> {
        self.find_counting(host).0
    }

    /// The same, and how many lookups it took.
    fn find_counting(&self, host: &[u8]) -> (Option<usize>, usize) {
        if let Some(address) = ipv6(host) {
            return (self.exact.get(address.to_string().as_bytes()).copied(), 1);
        }
        // Some servers take a name that is longer than any: a wildcard only has to know how it ends. One more byte than
        // the longest pattern, so that a cut name is none of the exact ones.
        let mut room = [0; LONGEST + 1];
        let host = name_of(host);
        let host = &host[host.len().saturating_sub(room.len())..];
        let name = &mut room[..host.len()];
        name.copy_from_slice(host);
        name.make_ascii_lowercase();
        let mut lookups = 1;
        let mut found = self.exact.get(&*name).copied();
        if self.below.is_empty() {
            return (found, lookups);
        }
        let mut rest = &*name;
        let mut dots = memchr::memchr_iter(b'.', rest).count();
        while let Some(dot) = memchr::memchr(b'.', rest).filter(|_| dots > self.shallowest) {
            rest = &rest[dot + 1..];
            dots -= 1;
            if dots <= self.deepest {
                lookups += 1;
                let wild = self.below.get(rest).copied();
                found = match (found, wild) {
                    (Some(found), Some(wild)) => Some(found.min(wild)),
                    (found, wild) => found.or(wild),
                };
            }
        }
        (found, lookups)
    }
}

/// The name in a value of Host: without the port, without a dot at its end, without the brackets of an address.
pub(crate) fn name_of(host: &[u8]) -> &[u8] {
    if let [b'[', rest @ ..] = host {
        return rest.split(|&byte| byte == b']').next().unwrap_or_default();
    }
    let name = host.split(|&byte| byte == b':').next().unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name)
}

/// An address in brackets, of which there are many spellings.
fn ipv6(host: &[u8]) -> Option<std::net::Ipv6Addr> {
    host.starts_with(b"[").then(|| std::str::from_utf8(name_of(host)).ok()?.parse().ok())?
}

/// Some names, for a condition.
#[derive(Clone)]
pub struct HostSet {
    patterns: Vec<HostPattern>,
    index: HostIndex,
}

impl HostSet {
    /// Of these patterns.
    pub fn new(patterns: Vec<HostPattern>) -> Self {
        let mut index = HostIndex::default();
        for (position, pattern) in patterns.iter().enumerate() {
            index.add(pattern, position);
        }
        Self { patterns, index }
    }

    /// As they were given.
    pub fn patterns(&self) -> &[HostPattern] {
        &self.patterns
    }

    pub(crate) fn contains(&self, host: &[u8]) -> bool {
        self.index.find(host).is_some()
    }
}

impl fmt::Debug for HostSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(formatter)
    }
}

/// A rule that chooses a backend by nothing but the host, and does nothing else.
pub(super) fn chooses_by_host(rule: &Rule) -> Option<(&HostSet, BackendId)> {
    let [Action::Backend(backend)] = rule.then[..] else { return None };
    match &rule.when {
        Condition::Host(hosts) => Some((hosts, backend)),
        Condition::All(all) => match &all[..] {
            [Condition::Host(hosts)] => Some((hosts, backend)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &[&str]) -> HostSet {
        HostSet::new(patterns.iter().map(|text| HostPattern::parse(text).unwrap()).collect())
    }

    #[test]
    fn a_host_matches_whatever_its_case_its_port_and_a_dot_at_its_end() {
        let names = set(&["www.Example.com", "2001:DB8::1", "192.0.2.1", "localhost"]);
        for host in [
            "www.example.com",
            "WWW.EXAMPLE.COM",
            "www.example.com:8080",
            "www.example.com.",
            "www.example.com.:80",
            "[2001:db8::1]",
            "[2001:DB8::1]:443",
            "[2001:db8:0:0::0.0.0.1]",
            "192.0.2.1:80",
            "localhost",
        ] {
            assert!(names.contains(host.as_bytes()), "{host}");
        }
        let long = format!("{}www.example.com", "a.".repeat(200));
        for host in
            ["example.com", "www.example.com..", "www.example.co", "awww.example.com", "", ":80", &long]
        {
            assert!(!names.contains(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_wildcard_matches_every_name_below_and_not_the_domain_itself() {
        let names = set(&["*.example.com", "*.b.example.org"]);
        for host in ["a.example.com", "A.B.Example.com.:80", "x.b.example.org"] {
            assert!(names.contains(host.as_bytes()), "{host}");
        }
        let long = format!("{}.example.com", "a".repeat(400));
        let labels = format!("{}example.com", "a.".repeat(200));
        assert!(names.contains(labels.as_bytes()) && !names.contains(b"a".repeat(400).as_slice()));
        assert!(names.contains(long.as_bytes()), "whatever the length of what stands before");
        for host in ["example.com", "aexample.com", "b.example.org", "x.c.example.org", ".com", "com"] {
            assert!(!names.contains(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn the_first_pattern_wins_however_it_matches() {
        let mut index = HostIndex::default();
        for (position, text) in
            ["*.a.example.com", "x.a.example.com", "y.example.com", "*.example.com"].iter().enumerate()
        {
            index.add(&HostPattern::parse(text).unwrap(), position);
        }
        let find = |host: &str| index.find(host.as_bytes());
        assert_eq!(find("x.a.example.com"), Some(0));
        assert_eq!(find("y.example.com"), Some(2));
        assert_eq!(find("z.example.com"), Some(3));
        assert_eq!(find("example.com"), None);
    }

    #[test]
    fn a_thousand_hosts_cost_as_many_lookups_as_one() {
        let mut steps = Vec::new();
        for hosts in [1, 200, 1000] {
            let mut index = HostIndex::default();
            for number in 0..hosts {
                index.add(&HostPattern::parse(&format!("site{number}.example.com")).unwrap(), number);
            }
            let last = format!("site{}.example.com", hosts - 1);
            let (found, lookups) = index.find_counting(last.as_bytes());
            assert_eq!(found, Some(hosts - 1));
            steps.push(lookups);
            index.add(&HostPattern::parse("*.example.net").unwrap(), hosts);
            assert_eq!(index.find_counting(b"a.b.c.d.example.net"), (Some(hosts), 2));
            assert_eq!(index.find_counting(b"unknown.example.org"), (None, 2));
        }
        assert_eq!(steps, [1, 1, 1]);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in
            ["", "a b", "*", "a.*.com", "a..b", "www.example.com:80", "*.[::1]", "a/b", "ä.de", "[::1", ".a"]
        {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_always_matches() {
        let covers =
            |a: &str, b: &str| HostPattern::parse(a).unwrap().covers(&HostPattern::parse(b).unwrap());
        assert!(covers("*.example.com", "www.example.com"));
        assert!(covers("*.example.com", "*.a.example.com"));
        assert!(covers("*.example.com", "*.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "badexample.com"));
        assert!(!covers("www.example.com", "*.example.com"));
    }
}
