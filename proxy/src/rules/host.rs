//! Host names: exact and with a wildcard, found by hashing and not by looking at one after the other.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
};

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

    /// Is `name`, without a port and a dot at its end, one of those that it is for?
    fn matches(&self, name: &[u8]) -> bool {
        let own = self.name.as_bytes();
        let Some((above, end)) = name.len().checked_sub(own.len()).and_then(|at| name.split_at_checked(at))
        else {
            return false;
        };
        end.eq_ignore_ascii_case(own) && if self.wildcard { above.ends_with(b".") } else { above.is_empty() }
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

/// What is kept for each of many patterns, and found by a host that matches them: one hash lookup for its name, and one for each domain
/// above it if there are wildcards that deep.
#[derive(Clone, Debug)]
pub(crate) struct HostIndex<T> {
    exact: HashMap<Box<[u8]>, T>,
    below: HashMap<Box<[u8]>, T>,
    /// Dots in the longest and the shortest domain that has a wildcard.
    deepest: usize,
    shallowest: usize,
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new(), deepest: 0, shallowest: 0 }
    }
}

impl<T> HostIndex<T> {
    /// The place of a pattern.
    fn entry(&mut self, pattern: &HostPattern) -> Entry<'_, Box<[u8]>, T> {
        if pattern.wildcard {
            (self.shallowest, self.deepest) = self.depths_with(pattern);
        }
        let names = if pattern.wildcard { &mut self.below } else { &mut self.exact };
        names.entry(pattern.name.as_bytes().into())
    }

    fn depths_with(&self, pattern: &HostPattern) -> (usize, usize) {
        let dots = pattern.name.matches('.').count();
        match (pattern.wildcard, self.below.is_empty()) {
            (false, _) => (self.shallowest, self.deepest),
            (true, true) => (dots, dots),
            (true, false) => (self.shallowest.min(dots), self.deepest.max(dots)),
        }
    }

    /// Shows what is kept for the patterns that `host` (a value of Host) matches. How many lookups it took.
    fn each<'i>(&'i self, host: &[u8], mut found: impl FnMut(&'i T)) -> usize {
        if let Some(address) = ipv6(host) {
            self.exact.get(address.to_string().as_bytes()).into_iter().for_each(found);
            return 1;
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
        self.exact.get(&*name).into_iter().for_each(&mut found);
        if self.below.is_empty() {
            return lookups;
        }
        let mut rest = &*name;
        let mut dots = memchr::memchr_iter(b'.', rest).count();
        while let Some(dot) = memchr::memchr(b'.', rest).filter(|_| dots > self.shallowest) {
            rest = &rest[dot + 1..];
            dots -= 1;
            if dots <= self.deepest {
                lookups += 1;
                self.below.get(rest).into_iter().for_each(&mut found);
            }
        }
        lookups
    }

    /// Shows what is kept for patterns that cover `pattern`, and maybe for others.
    fn each_covering<'i>(&'i self, pattern: &HostPattern, mut found: impl FnMut(&'i T)) {
        let name = pattern.name.as_bytes();
        let own = if pattern.wildcard { &self.below } else { &self.exact };
        own.get(name).into_iter().for_each(&mut found);
        for dot in memchr::memchr_iter(b'.', name) {
            self.below.get(&name[dot + 1..]).into_iter().for_each(&mut found);
        }
    }
}

impl HostIndex<usize> {
    /// Adds a pattern at `position`; positions only grow.
    pub(super) fn add(&mut self, pattern: &HostPattern, position: usize) {
        self.entry(pattern).or_insert(position);
    }

    /// The lowest position whose pattern `host` (a value of Host) matches.
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        self.find_counting(host).0
    }

    /// The same, and how many lookups it took.
    fn find_counting(&self, host: &[u8]) -> (Option<usize>, usize) {
        let mut first: Option<usize> = None;
        let lookups = self.each(host, |&found| first = Some(first.map_or(found, |first| first.min(found))));
        (first, lookups)
    }
}

/// Patterns that one host may match in an [`OfHosts`]: itself, and wildcards above it.
const MOST: usize = 8;

/// Of many things that are each about some hosts those that are about one, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct OfHosts(HostIndex<Vec<u32>>);

impl OfHosts {
    /// Adds one that is about `hosts`; places only grow. False, and nothing is added, if a host could then match more patterns than are
    /// looked at.
    pub(super) fn add(&mut self, hosts: &HostSet, place: u32) -> bool {
        let depths =
            hosts.patterns.iter().filter(|pattern| pattern.wildcard).map(|one| self.0.depths_with(one));
        let known = (!self.0.below.is_empty()).then_some((self.0.shallowest, self.0.deepest));
        let both = depths.chain(known).reduce(|one, two| (one.0.min(two.0), one.1.max(two.1)));
        if both.is_some_and(|(shallowest, deepest)| deepest - shallowest + 2 > MOST) {
            return false;
        }
        for pattern in &hosts.patterns {
            let places = self.0.entry(pattern).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
        true
    }

    /// Those that are about `host`, a value of Host.
    pub(super) fn of(&self, host: &[u8]) -> Merged<'_> {
        let (mut lists, mut number) = ([&[][..]; MOST], 0);
        self.0.each(host, |places| {
            debug_assert!(number < MOST, "there are no wildcards that deep");
            lists[number] = places;
            number += 1;
        });
        Merged(lists)
    }
}

/// What stands in several lists, each of which is in order: in order, and once.
#[derive(Debug)]
pub(super) struct Merged<'l>([&'l [u32]; MOST]);

impl Iterator for Merged<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = *self.0.iter().filter_map(|list| list.first()).min()?;
        for list in &mut self.0 {
            if let [first, rest @ ..] = list
                && *first == next
            {
                *list = rest;
            }
        }
        Some(next as usize)
    }
}

/// Of many conditions those that may [cover](Condition::covers) another one: what is for other hosts is passed over.
#[derive(Debug, Default)]
pub struct Coverers {
    of_hosts: HostIndex<Vec<usize>>,
    of_all: Vec<usize>,
    number: usize,
}

impl Coverers {
    /// Adds the condition at `place`; places only grow.
    pub fn add(&mut self, condition: &Condition, place: usize) {
        self.number = place + 1;
        match hosts_of(condition) {
            Some(hosts) => {
                hosts.patterns.iter().for_each(|one| self.of_hosts.entry(one).or_default().push(place))
            }
            None => self.of_all.push(place),
        }
    }

    /// Places in order of all that cover `condition`, and of some that do not.
    pub fn of(&self, condition: &Condition) -> Vec<usize> {
        let (mut places, mut is_anybodys) = (self.of_all.clone(), false);
        // Whoever asks for a host covers this only if all names of some of its conditions are among his.
        condition.each(&mut |part| {
            let Condition::Host(hosts) = part else { return };
            match hosts.patterns.first() {
                Some(first) => self.of_hosts.each_covering(first, |found| places.extend(found)),
                None => is_anybodys = true,
            }
        });
        if is_anybodys {
            return (0..self.number).collect();
        }
        places.sort_unstable();
        places.dedup();
        places
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

/// So many patterns are compared one after the other: an index of them would be larger, and no faster.
const FEW: usize = 4;

/// Some names, for a condition.
#[derive(Clone)]
pub struct HostSet {
    patterns: Box<[HostPattern]>,
    /// Of more than [`FEW`].
    index: Option<Box<HostIndex<()>>>,
}

impl HostSet {
    /// Of these patterns.
    pub fn new(patterns: Vec<HostPattern>) -> Self {
        let index = (patterns.len() > FEW).then(|| {
            let mut index = HostIndex::default();
            for pattern in &patterns {
                index.entry(pattern).or_insert(());
            }
            Box::new(index)
        });
        Self { patterns: patterns.into(), index }
    }

    /// As they were given.
    pub fn patterns(&self) -> &[HostPattern] {
        &self.patterns
    }

    pub(crate) fn contains(&self, host: &[u8]) -> bool {
        if let Some(index) = &self.index {
            let mut is_in = false;
            index.each(host, |()| is_in = true);
            return is_in;
        }
        match ipv6(host) {
            Some(address) => {
                // Nothing is below an address.
                let exact = self.patterns.iter().filter(|pattern| !pattern.wildcard);
                exact.into_iter().any(|pattern| pattern.matches(address.to_string().as_bytes()))
            }
            None => self.patterns.iter().any(|pattern| pattern.matches(name_of(host))),
        }
    }
}

impl fmt::Debug for HostSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(formatter)
    }
}

/// The hosts without one of which the condition does not hold, whatever else it asks for.
pub(super) fn hosts_of(condition: &Condition) -> Option<&HostSet> {
    match condition {
        Condition::Host(hosts) => Some(hosts),
        Condition::All(all) => all.iter().find_map(|one| match one {
            Condition::Host(hosts) => Some(hosts),
            _ => None,
        }),
        _ => None,
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
mod tests;
