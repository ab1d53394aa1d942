//! Who advertises for a virtual router, each by its source: nodes of the file, and strangers.
//!
//! Sources can be forged, so there is room for a few strangers only, and whoever is heard again and again keeps his place: a flood of
//! sources that are new each time takes none from him. No clock, no I/O.

use std::time::Duration;

use crate::{
    Moment,
    status::{Advertiser, Said},
};

/// How many are kept that are no node of the file. Each is said to the daemon once a second.
const STRANGERS: usize = 8;

/// Who was heard once counts as heard for so long at least, and at most.
const LEAST: Duration = Duration::from_secs(3);
const MOST: Duration = Duration::from_secs(60);

/// A stranger who was heard once in so long makes room for another one.
const ONCE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Advertisers {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    /// If it is of the file, it makes room for nobody.
    advertiser: Advertiser,
    was_heard_again: bool,
}

impl Known {
    fn may_go(&self, now: Moment) -> bool {
        let is_over = self.advertiser.until <= now;
        let was_single = !self.was_heard_again && now.saturating_since(self.advertiser.said.at()) >= ONCE;
        !self.advertiser.is_node && (is_over || was_single)
    }
}

impl Advertisers {
    /// Takes down what came `now`. `interval` is what its sender says, where that can be read. False: there is no room for it.
    pub(super) fn note(
        &mut self,
        now: Moment,
        said: Said,
        interval: Option<Duration>,
        is_node: bool,
    ) -> bool {
        let until = |gap: Duration| now + (3 * interval.unwrap_or_default().max(gap)).clamp(LEAST, MOST);
        let is_it = |known: &&mut Known| {
            // What somebody sends in a node's name and is dropped does not take the place of what the node says.
            known.advertiser.said.source() == said.source()
                && known.advertiser.said.is_rejected() == said.is_rejected()
        };
        if let Some(known) = self.known.iter_mut().find(is_it) {
            let gap = now.saturating_since(known.advertiser.said.at());
            if known.advertiser.until <= now {
                known.advertiser.since = now;
            }
            known.was_heard_again = gap <= MOST;
            known.advertiser.is_node = is_node;
            known.advertiser.until = until(if known.was_heard_again { gap } else { Duration::ZERO });
            known.advertiser.said = said;
            return true;
        }
        // There may be more: nodes that have left the file.
        while !is_node && self.known.iter().filter(|known| !known.advertiser.is_node).count() >= STRANGERS {
            let all = self.known.iter().enumerate().filter(|(_, known)| known.may_go(now));
            let Some((oldest, _)) = all.min_by_key(|(_, known)| known.advertiser.said.at()) else {
                return false;
            };
            self.known.remove(oldest);
        }
        let advertiser = Advertiser { said, since: now, until: until(Duration::ZERO), is_node };
        self.known.push(Known { advertiser, was_heard_again: false });
        true
    }

    /// The file has other nodes now.
    pub(super) fn nodes_changed(&mut self, is_node: impl Fn(&Advertiser) -> bool) {
        for known in &mut self.known {
            known.advertiser.is_node = is_node(&known.advertiser);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Advertiser> {
        self.known.iter().map(|known| &known.advertiser)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::status::{PeerHeard, Rejected};

    const TRUTH: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000 * millis)
    }

    fn forged(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn ours(source: IpAddr, now: u64) -> Said {
        Said::Ours(PeerHeard::new(source, 100, at(now)))
    }

    fn rejected(source: IpAddr, now: u64) -> Said {
        Said::Rejected(Rejected { source, why: "the password is not ours".to_owned(), at: at(now) })
    }

    /// One second between two of it.
    const SECOND: Option<Duration> = Some(Duration::from_secs(1));

    /// Who counts as heard.
    fn heard(advertisers: &Advertisers, now: u64) -> Vec<IpAddr> {
        advertisers.all().filter(|one| one.is_heard(at(now))).map(|one| one.said.source()).collect()
    }

    #[test]
    fn each_source_is_kept_with_its_last_word_since_its_first() {
        let mut advertisers = Advertisers::default();
        for tenth in 0..50 {
            advertisers.note(at(100 * tenth), ours(forged(1), 100 * tenth), SECOND, true);
            if tenth % 10 == 5 {
                advertisers.note(at(100 * tenth), ours(TRUTH, 100 * tenth), SECOND, false);
            }
        }
        let all: Vec<_> =
            advertisers.all().map(|one| (one.said.source(), one.since, one.said.at())).collect();
        assert_eq!(all, [(forged(1), at(0), at(4_900)), (TRUTH, at(500), at(4_500))]);
    }

    #[test]
    fn whoever_stops_is_heard_for_three_intervals_more_as_said_or_seen() {
        for (interval, every, until) in [
            (SECOND, 1_000, 3_000),
            (Some(Duration::from_millis(10)), 10, 3_000),
            (Some(Duration::from_secs(10)), 10_000, 30_000),
            (Some(Duration::from_millis(40_950)), 10_000, 60_000),
            // Of another version nobody knows what it says.
            (None, 10_000, 30_000),
            (None, 50_000, 60_000),
        ] {
            let mut advertisers = Advertisers::default();
            for packet in 0..3 {
                advertisers.note(at(every * packet), rejected(TRUTH, every * packet), interval, false);
            }
            let last = 2 * every;
            assert_eq!(heard(&advertisers, last + until - 1), [TRUTH], "{interval:?} {every}");
            assert!(heard(&advertisers, last + until).is_empty(), "{interval:?} {every}");
        }
    }

    #[test]
    fn one_that_comes_back_after_a_while_begins_anew() {
        let mut advertisers = Advertisers::default();
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, false);
        advertisers.note(at(1_000_000), ours(TRUTH, 1_000_000), SECOND, false);
        let one = advertisers.all().next().unwrap();
        assert_eq!((one.since, one.until), (at(1_000_000), at(1_003_000)));
    }

    /// Ten thousand a second, each from another source: the one that speaks all the time stays, and memory does not grow.
    #[test]
    fn a_flood_of_forged_sources_takes_no_place_from_whoever_is_heard_again_and_again() {
        let mut advertisers = Advertisers::default();
        let (node, mut number, mut refused) = (forged(0), 0, 0);
        advertisers.note(at(0), ours(node, 0), SECOND, true);
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, false);
        for millis in 1..30_000 {
            if millis % 1_000 == 0 {
                assert!(advertisers.note(at(millis), ours(TRUTH, millis), SECOND, false));
            }
            // With the longest interval there is.
            let longest = Some(Duration::from_millis(40_950));
            for _ in 0..10 {
                number += 1;
                let is_kept = advertisers.note(at(millis), ours(forged(number), millis), longest, false);
                refused += u64::from(!is_kept);
            }
            assert!(advertisers.known.len() <= 1 + STRANGERS);
            if millis > 1_000 {
                assert!(heard(&advertisers, millis).contains(&TRUTH), "after {millis} ms");
            }
        }
        assert!(refused > 299_000, "{refused}");
        assert!(advertisers.all().any(|one| one.said.source() == node), "a node of the file stays");
        // One that begins to speak when the flood is over is there at once, as soon as the last of it is old.
        let late = IpAddr::from([192, 0, 2, 78]);
        assert!(advertisers.note(at(33_000), ours(late, 33_000), SECOND, false));
    }

    /// A flood that began before it keeps a stranger out, and not after its end; nor does one whose sources are heard again.
    #[test]
    fn after_a_flood_there_is_room_again() {
        let mut advertisers = Advertisers::default();
        for number in 0..100 {
            for packet in 0..2 {
                advertisers.note(at(packet), ours(forged(number), packet), SECOND, false);
            }
        }
        assert!(!advertisers.note(at(1_000), ours(TRUTH, 1_000), SECOND, false));
        assert!(advertisers.note(at(3_001), ours(TRUTH, 3_001), SECOND, false));
        assert_eq!(heard(&advertisers, 3_001), [TRUTH]);
    }

    #[test]
    fn what_is_dropped_in_a_node_s_name_hides_nothing_of_the_node() {
        let mut advertisers = Advertisers::default();
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, true);
        advertisers.note(at(10), rejected(TRUTH, 10), None, true);
        let kinds: Vec<_> = advertisers.all().map(|one| (one.said.is_rejected(), one.said.at())).collect();
        assert_eq!(kinds, [(false, at(0)), (true, at(10))]);
    }

    #[test]
    fn a_node_that_left_the_file_makes_room() {
        let mut advertisers = Advertisers::default();
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, true);
        advertisers.nodes_changed(|_| false);
        for number in 0..8 {
            advertisers.note(at(60_000), ours(forged(number), 60_000), SECOND, false);
        }
        assert!(!heard(&advertisers, 60_000).contains(&TRUTH));
        assert_eq!(advertisers.known.len(), STRANGERS);
        // Two of them at once, and there are as many strangers already.
        for node in [TRUTH, IpAddr::from([192, 0, 2, 78])] {
            advertisers.note(at(60_000), ours(node, 60_000), SECOND, true);
        }
        advertisers.nodes_changed(|_| false);
        advertisers.note(at(120_000), ours(forged(9), 120_000), SECOND, false);
        assert_eq!(advertisers.known.len(), STRANGERS);
    }
}
