//! One virtual router of a group: what is known of its wire, and its intervals.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::advertisers::Advertisers;
use crate::{
    Family, MemberConfig, Moment, Priority, Version, VirtualAddress, advertisement::Advertisement,
    status::PeerHeard,
};

/// The longest interval that is adopted from a known peer, in intervals of our own. A file that is being changed on one
/// node after the other may change its interval by so much without two Actives.
pub(super) const LONGEST_ADOPTED: u32 = 10;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) config: MemberConfig,
    /// Source of our advertisements, once known.
    pub(super) source: Option<IpAddr>,
    /// `Err` says why the link can't be used.
    pub(super) link: Result<(), String>,
    /// The last advertisement of another node.
    pub(super) heard: Option<PeerHeard>,
    /// Who advertises here, each by its source.
    pub(super) advertisers: Advertisers,
    /// Active_Adver_Interval (RFC 9568 §6.1): the Active's own, adopted from its advertisements.
    pub(super) active_adver_interval: Duration,
    /// Acknowledged by the kernel.
    pub(super) installed: BTreeSet<VirtualAddress>,
    /// The alarm of rule 10 is raised.
    pub(super) missing: bool,
    /// The last advertisement of a known peer that did not resign with it.
    pub(super) peer_heard: Option<Moment>,
    /// The last address that somebody removed while it was ours.
    pub(super) stolen: Option<(VirtualAddress, Moment)>,
    /// Its part of what the group has counted.
    pub(super) counters: BTreeMap<&'static str, u64>,
}

impl Member {
    pub(super) fn new(config: MemberConfig) -> Self {
        Self {
            source: None,
            link: Err("the link is not known yet".to_owned()),
            heard: None,
            advertisers: Advertisers::default(),
            active_adver_interval: config.interval.get(),
            installed: BTreeSet::new(),
            missing: false,
            peer_heard: None,
            stolen: None,
            counters: BTreeMap::new(),
            config,
        }
    }

    /// Why it can't send or hear; `None` if it can.
    pub(super) fn trouble(&self) -> Option<String> {
        if let (Ok(()), None, Some(unicast)) = (&self.link, self.source, self.config.transport.unicast()) {
            return Some(format!(
                "vip {}: its interface does not have {}, the address to send from",
                self.config.name(),
                unicast.source
            ));
        }
        let what = match (&self.link, self.source, self.config.family()) {
            (Err(reason), _, _) => reason,
            (Ok(()), None, Family::Ipv4) => "its interface has no address to send from",
            (Ok(()), None, Family::Ipv6) => {
                "its interface has no link-local address to send from, or does not know yet whether it is the only one \
                 that has it"
            }
            (Ok(()), Some(_), _) => return None,
        };
        Some(format!("vip {}: {what}", self.config.name()))
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.is_ok() && self.source.is_some()
    }

    /// Skew_Time, always of the configured priority: a degraded pair fails over as fast as a healthy one. Divides last,
    /// so it is 78 us and not 0 for priority 254 at 10 ms.
    pub(super) fn skew_time(&self, priority: Priority) -> Duration {
        let base = match self.config.version {
            // RFC 3768 §6.1: of one second, whatever the interval.
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.active_adver_interval,
        };
        base * (256 - u32::from(priority.get())) / 256
    }

    /// Active_Down_Interval.
    pub(super) fn active_down_interval(&self, priority: Priority) -> Duration {
        3 * self.active_adver_interval + self.skew_time(priority)
    }

    /// RFC 9568 §6.4.2: a Backup takes over the interval of the Active. VRRPv2 dropped another one already.
    ///
    /// One advertisement with a forged interval would make us wait for up to two minutes after the Active died, or claim
    /// from one that lives. So that of a peer whose file we know (`bounded`) is held between our own and
    /// [`LONGEST_ADOPTED`] times as much.
    pub(super) fn adopt(&mut self, advertisement: &Advertisement, bounded: bool) {
        if self.config.version == Version::V3 {
            let (theirs, own) = (advertisement.interval, self.config.interval.get());
            self.active_adver_interval =
                if bounded { theirs.clamp(own, LONGEST_ADOPTED * own) } else { theirs };
        }
    }

    /// Whether an interval is adopted within bounds because of who is heard here: that of a known peer, which was heard just
    /// now then, and that of a stranger for as long as a known peer is heard as well.
    pub(super) fn is_bounded(&self, now: Moment, priority: Priority) -> bool {
        let limit = self.active_down_interval(priority);
        self.peer_heard.is_some_and(|at| now.saturating_since(at) <= limit)
    }

    /// Back to our own interval: nobody else's is known to hold.
    pub(super) fn forget_interval(&mut self) {
        self.active_adver_interval = self.config.interval.get();
    }

    /// Whether the sender wants any address of ours.
    pub(super) fn shares_address(&self, advertisement: &Advertisement) -> bool {
        self.config.addresses.iter().any(|own| advertisement.addresses.contains(&own.address))
    }

    pub(super) fn advertisement(&self, priority: u8) -> Advertisement {
        Advertisement {
            version: self.config.version,
            vrid: self.config.vrid,
            priority,
            interval: self.config.interval.get(),
            addresses: self.config.addresses.iter().map(|address| address.address).collect(),
        }
    }

    /// Whether an advertisement, last sent at `sent`, is so late at `now` that a peer may have taken over: more than 2.5
    /// of our intervals.
    pub(super) fn is_late(&self, now: Moment, sent: Moment) -> bool {
        2 * now.saturating_since(sent) > 5 * self.config.interval.get()
    }
}
