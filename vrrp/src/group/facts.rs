//! What a group knows beside its state: how good its node is, and who was heard.

use std::{net::IpAddr, time::Duration};

use super::{Event, Group, Heard, advertisers::Whose, history, level, member::Member};
use crate::{
    GroupConfig, MemberId, Moment, PeerKind, Readiness, State,
    advertisement::Advertisement,
    is_link_local,
    status::{PeerHeard, Said},
};

/// Whose an advertisement is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Of {
    /// It counts in the election.
    Somebody,
    /// It is for other addresses; a warning has said so.
    OtherCluster,
    /// Our own packet, or of an unknown member: not to be looked at.
    Nobody,
}

/// The file goes before what hellos say.
fn whose(config: &GroupConfig, named: &[IpAddr], source: IpAddr) -> Whose {
    if config.peers.contains(&source) {
        Whose::Node
    } else if named.contains(&source) {
        Whose::Named
    } else {
        Whose::Stranger
    }
}

impl Group {
    /// Readiness, a link, a source or a fault may have changed.
    pub(super) fn facts_changed(&mut self, now: Moment) {
        self.check_clock(now);
        self.weigh_readiness(now);
        self.step(now, Event::Facts);
    }

    /// What was told, worsened by what the machine itself sees.
    pub(super) fn weigh_readiness(&mut self, now: Moment) {
        let troubles: Vec<_> = self.members.iter().filter_map(Member::trouble).collect();
        let told = match &self.told {
            Some(told) => told.clone(),
            None if self.resumed => Readiness::Ready,
            None => Readiness::Fault { reason: "readiness is not told yet".to_owned() },
        };
        let readiness = match (told, self.faults.reason(), troubles.first()) {
            (Readiness::Fault { reason }, _, _) => Readiness::Fault { reason },
            (_, Some(reason), _) => Readiness::Fault { reason },
            (_, None, Some(trouble)) if troubles.len() == self.members.len() => {
                Readiness::Fault { reason: trouble.clone() }
            }
            // Some virtual routers can be served: better than nobody, worse than anyone who can serve all.
            (_, None, Some(trouble)) => Readiness::Leaving { reason: trouble.clone() },
            // It is told again and again until the daemon knows of the claim.
            (told, None, None) if self.state() == State::Active => told.when_active(),
            (told, None, None) => told,
        };
        self.take_readiness(now, readiness);
    }

    /// Good news counts at once on an Active: it says so with its first advertisement. Else a node that is told so a moment later would
    /// take the address from one that is not yet.
    pub(super) fn weigh_as_active(&mut self, now: Moment) {
        let readiness = self.readiness.clone().when_active();
        self.take_readiness(now, readiness);
    }

    fn take_readiness(&mut self, now: Moment, readiness: Readiness) {
        self.ready_since = match readiness {
            Readiness::Ready => self.ready_since.or(Some(now)),
            Readiness::Degraded { .. }
            | Readiness::Starting { .. }
            | Readiness::Leaving { .. }
            | Readiness::Fault { .. } => None,
        };
        self.readiness = readiness;
    }

    /// Takes down who was heard.
    pub(super) fn note_heard(
        &mut self,
        now: Moment,
        id: MemberId,
        source: IpAddr,
        advertisement: &Advertisement,
    ) -> Of {
        // A link-local address is one of its link: another link may have it too.
        let is_of_link = is_link_local(source);
        let mut sources = self.members.iter().enumerate().filter(|(index, _)| !is_of_link || *index == id.0);
        let own = sources.any(|(_, member)| member.source == Some(source));
        let Some(member) = self.members.get_mut(id.0) else { return Of::Nobody };
        if own {
            let vip = member.config.name();
            self.history.count("duplicate_source");
            self.warn(
                "duplicate_source",
                format!(
                    "vip {vip}: an advertisement came from our own address {source}: a loop, or a duplicate"
                ),
            );
            return Of::Nobody;
        }
        // Lists are made for one that differs alone: ordinary ones come a hundred times a second.
        let own = || member.config.addresses.iter().map(|own| own.address);
        let differs = !own().eq(advertisement.addresses.iter().copied());
        let mut heard = PeerHeard::new(source, advertisement.priority, now);
        if differs {
            heard.compare(&own().collect::<Vec<_>>(), &advertisement.addresses);
        }
        let is_known = self.config.peers.contains(&source)
            || member.heard.as_ref().is_some_and(|heard| heard.source == source);
        if !is_known && !member.shares_address(advertisement) {
            // Somebody who wants none of our addresses must not keep us from serving them.
            let vip = member.config.name();
            self.note_advertiser(now, id, Said::Others(heard), Some(advertisement.interval));
            self.history.count("foreign_cluster");
            self.warn(
                "foreign_cluster",
                format!(
                    "vip {vip}: {source} uses vrid {} for other addresses, with priority {}; one of the two clusters needs \
                     another vrid",
                    advertisement.vrid, advertisement.priority
                ),
            );
            return Of::OtherCluster;
        }
        member.heard = Some(heard.clone());
        if self.config.peer == PeerKind::Lbctl && self.config.peers.contains(&source) {
            member.peer_heard = (advertisement.priority > 0).then_some(now);
        }
        member.missing = false;
        let own_interval = member.config.interval.get();
        self.note_advertiser(now, id, Said::Ours(heard), Some(advertisement.interval));
        self.count_on(id, "advertisements_received");
        if advertisement.priority == 0 {
            self.count_on(id, "priority_zero_received");
        }
        if advertisement.interval != own_interval {
            // RFC 9568 §7.1: logged, never dropped.
            let vip = self.name_of(id);
            self.history.count("interval_mismatch");
            self.warn(
                "interval_mismatch",
                format!(
                    "vip {vip}: {source} advertises every {}, we every {}",
                    history::spell(advertisement.interval),
                    history::spell(own_interval)
                ),
            );
        }
        if differs {
            // RFC 9568 §7.1: dropping it would make two Actives while one node's file is ahead of the other's.
            let vip = self.name_of(id);
            self.history.count("address_list_mismatch");
            self.warn(
                "address_list_mismatch",
                format!("vip {vip}: {source} advertises other addresses than ours"),
            );
        }
        Of::Somebody
    }

    fn name_of(&self, id: MemberId) -> String {
        self.members.get(id.0).map_or_else(String::new, |member| member.config.name())
    }

    /// Remembers who sends here.
    pub(super) fn note_advertiser(
        &mut self,
        now: Moment,
        id: MemberId,
        mut said: Said,
        interval: Option<Duration>,
    ) {
        let whose = whose(&self.config, &self.named, said.source());
        if let (Said::Ours(heard) | Said::Others(heard), Whose::Stranger) = (&mut said, whose) {
            // A stranger chooses how long these are.
            (heard.lacks, heard.adds) = (Vec::new(), Vec::new());
        }
        let Some(member) = self.members.get_mut(id.0) else { return };
        if !member.advertisers.note(now, said, interval, whose) {
            self.history.count("advertisers_not_kept");
        }
    }

    /// Who is known as a node may have changed.
    pub(super) fn nodes_changed(&mut self) {
        for member in &mut self.members {
            member.advertisers.nodes_changed(|source| whose(&self.config, &self.named, source));
        }
    }

    /// Takes over the interval of the Active that was heard.
    pub(super) fn adopt_interval(&mut self, now: Moment, heard: Heard<'_>) {
        let priority = self.config.priority;
        // Hearing any member of a known peer is hearing it: the source of its IPv6 advertisements is in no file.
        let bounded = self.members.iter().any(|member| member.is_bounded(now, priority));
        if let Some(member) = self.members.get_mut(heard.member.0) {
            member.adopt(heard.advertisement, bounded);
        }
    }

    pub(super) fn wire_priority(&self) -> u8 {
        level::wire_priority(&self.config, &self.readiness)
    }

    pub(super) fn fault(&self) -> Option<String> {
        match &self.readiness {
            Readiness::Fault { reason } => Some(format!("fault: {reason}")),
            Readiness::Ready
            | Readiness::Degraded { .. }
            | Readiness::Starting { .. }
            | Readiness::Leaving { .. } => None,
        }
    }

    /// Why it is in its state.
    pub(super) fn reason(&self) -> String {
        let transition = || self.history.last().map(|last| last.reason.clone());
        match self.state() {
            State::Initialize if self.started => self.fault().or_else(transition),
            State::Initialize | State::Backup | State::Active => transition(),
        }
        .unwrap_or_else(|| "not started".to_owned())
    }
}
