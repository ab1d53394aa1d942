//! Lines for the log, at a bounded rate: a forger or a broken neighbour must not fill a disk. No I/O.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::Moment;

/// Equal remarks are said once in so long.
const QUIET: Duration = Duration::from_secs(60);

/// How many different remarks are remembered; sources can be forged.
const KEYS: usize = 256;

/// How many remarks about sources are made in [`QUIET`], whatever they say: a forger has a new source for each.
const LINES: u32 = 64;

/// What equal remarks have in common.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Key {
    /// A kind of event of one group.
    Group { group: usize, kind: &'static str },
    /// A kind of event that one source causes.
    Source { group: usize, kind: &'static str, source: IpAddr },
}

/// Remembers what was said.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    said: BTreeMap<Key, Said>,
    /// When the current [`QUIET`] began, and what was said and withheld in it.
    window: Option<Moment>,
    lines: u32,
    withheld: u64,
}

#[derive(Debug)]
struct Said {
    at: Moment,
    withheld: u64,
}

impl Remarks {
    /// Whether to say it now; then with the number of equal remarks withheld since the last one.
    pub(super) fn permit(&mut self, now: Moment, key: Key) -> Option<u64> {
        if let Some(said) = self.said.get_mut(&key)
            && now.saturating_since(said.at) < QUIET
        {
            said.withheld += 1;
            return None;
        }
        if !self.has_line(now, &key) {
            self.withheld += 1;
            return None;
        }
        if let Some(said) = self.said.get_mut(&key) {
            said.at = now;
            return Some(std::mem::take(&mut said.withheld));
        }
        self.make_room();
        let withheld = match key {
            Key::Group { .. } => 0,
            Key::Source { .. } => std::mem::take(&mut self.withheld),
        };
        self.said.insert(key, Said { at: now, withheld: 0 });
        Some(withheld)
    }

    /// Whether it is said for the first time; never again as long as it is remembered.
    pub(super) fn first(&mut self, now: Moment, key: Key) -> bool {
        if let Some(said) = self.said.get_mut(&key) {
            said.at = now;
            return false;
        }
        if !self.has_line(now, &key) {
            self.withheld += 1;
            return false;
        }
        self.make_room();
        self.said.insert(key, Said { at: now, withheld: 0 });
        true
    }

    /// Takes one of the lines of this minute.
    fn has_line(&mut self, now: Moment, key: &Key) -> bool {
        if let Key::Group { .. } = key {
            return true;
        }
        if self.window.is_none_or(|began| now.saturating_since(began) >= QUIET) {
            self.window = Some(now);
            self.lines = 0;
        }
        self.lines += 1;
        self.lines <= LINES
    }

    fn make_room(&mut self) {
        if self.said.len() < KEYS {
            return;
        }
        let oldest = self.said.iter().min_by_key(|(_, said)| said.at).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.said.remove(&oldest);
        }
    }
}

/// Appends the number of withheld remarks.
pub(super) fn with_count(text: String, withheld: u64) -> String {
    if withheld == 0 { text } else { format!("{text} ({withheld} more like it)") }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::{KEYS, Key, Remarks};
    use crate::Moment;

    fn source(last: u8) -> Key {
        Key::Source { group: 0, kind: "reject_ttl", source: Ipv4Addr::new(192, 0, 2, last).into() }
    }

    #[test]
    fn a_remark_is_made_once_a_minute_and_counts_what_it_withheld() {
        let mut remarks = Remarks::default();
        let start = Moment::from_nanos(7);
        assert_eq!(remarks.permit(start, source(1)), Some(0));
        for second in 1..60 {
            assert_eq!(remarks.permit(start + Duration::from_secs(second), source(1)), None);
        }
        assert_eq!(remarks.permit(start + Duration::from_secs(60), source(1)), Some(59));
        assert_eq!(remarks.permit(start + Duration::from_secs(60), source(2)), Some(0));
    }

    #[test]
    fn forged_sources_take_bounded_memory() {
        let mut remarks = Remarks::default();
        for n in 0..1000_u32 {
            let source = Ipv4Addr::from(n).into();
            let key = Key::Source { group: 0, kind: "reject_ttl", source };
            remarks.permit(Moment::from_nanos(1 + 60_000_000_000 * u64::from(n)), key);
        }
        assert_eq!(remarks.said.len(), KEYS);
    }

    #[test]
    fn forged_sources_get_a_bounded_number_of_lines() {
        let mut remarks = Remarks::default();
        let start = Moment::from_nanos(7);
        let forge = |n: u32| Key::Source { group: 0, kind: "reject_ttl", source: Ipv4Addr::from(n).into() };
        let said = (0..10_000).filter(|n| remarks.permit(start, forge(*n)).is_some()).count();
        assert_eq!(said, 64);
        assert!(!remarks.first(start, forge(77_777)));
        assert_eq!(
            remarks.permit(start, Key::Group { group: 0, kind: "transmit" }),
            Some(0),
            "trouble of our own"
        );
        assert_eq!(
            remarks.permit(start + Duration::from_secs(60), source(1)),
            Some(9_937),
            "and says how many not"
        );
    }
}
