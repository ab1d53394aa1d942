//! The links: from each station to each other, one condition per direction. Station `nodes` is the client.

use std::time::Duration;

use super::random::Random;

/// One direction of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Link {
    pub(crate) cut: bool,
    pub(crate) loss_per_mille: u64,
    pub(crate) duplicate_per_mille: u64,
    /// A wide range reorders.
    pub(crate) delay: (Duration, Duration),
}

impl Link {
    /// No loss, 50 to 300 us.
    pub(crate) const CLEAN: Self = Self {
        cut: false,
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        delay: (Duration::from_micros(50), Duration::from_micros(300)),
    };

    pub(crate) const CUT: Self = Self { cut: true, ..Self::CLEAN };
}

#[derive(Clone, Debug)]
pub(crate) struct Lan {
    stations: usize,
    links: Vec<Link>,
    /// A switch with broken MLD snooping drops advertisements over IPv6.
    pub(crate) drops_ipv6: bool,
}

impl Lan {
    pub(crate) fn new(stations: usize) -> Self {
        Self { stations, links: vec![Link::CLEAN; stations * stations], drops_ipv6: false }
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> Link {
        self.links[from * self.stations + to]
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, link: Link) {
        self.links[from * self.stations + to] = link;
    }

    pub(crate) fn set_both(&mut self, one: usize, other: usize, link: Link) {
        self.set(one, other, link);
        self.set(other, one, link);
    }

    pub(crate) fn heal(&mut self) {
        self.links.fill(Link::CLEAN);
        self.drops_ipv6 = false;
    }

    /// Both directions lose nothing and have a bounded delay.
    pub(crate) fn is_clean(&self, one: usize, other: usize) -> bool {
        self.link(one, other) == Link::CLEAN && self.link(other, one) == Link::CLEAN
    }

    pub(crate) fn all_clean(&self) -> bool {
        self.links.iter().all(|link| *link == Link::CLEAN)
    }

    /// When the copies of one packet arrive, as delays; empty if it is lost.
    pub(crate) fn deliveries(&self, random: &mut Random, from: usize, to: usize) -> Vec<Duration> {
        let link = self.link(from, to);
        if link.cut || random.per_mille(link.loss_per_mille) {
            return Vec::new();
        }
        let mut copies = vec![random.between(link.delay.0, link.delay.1)];
        if random.per_mille(link.duplicate_per_mille) {
            copies.push(random.between(link.delay.0, link.delay.1));
        }
        copies
    }
}
