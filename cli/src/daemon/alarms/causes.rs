//! What is wrong with the pair now, from what this node knows.

use std::time::Duration;

use lb_vrrp::{Level, Moment, PeerKind, State};

use crate::{
    control::{AlarmName, Ready},
    daemon::{
        draining::unready,
        group::Group,
        hello, problems,
        report::{self, Nodes},
    },
};

/// A node that says hello and that it holds the addresses is unheard for so long, and three intervals. What the speaker says is up to a
/// second old, and a look comes four times in one: so an alarm is on within 3 s.
const UNHEARD: Duration = Duration::from_millis(1_500);

/// By so much its hello outlives its advertisements: that is an interval of the hello, and less than [`UNHEARD`].
const OUTLIVED: Duration = Duration::from_secs(1);

/// A node that starts knows nobody yet.
const BEGINNING: Duration = Duration::from_secs(5);

/// Of a pair that starts, as after a power cut, nobody could take over at first: checks and what has to last have their time.
const START_OF_PAIR: Duration = Duration::from_secs(20);

/// Something is wrong.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::daemon) struct Cause {
    pub(in crate::daemon) name: AlarmName,
    /// `None`: of the whole node.
    pub(in crate::daemon) group: Option<String>,
    pub(in crate::daemon) why: String,
    /// It has taken its time already.
    pub(in crate::daemon) is_settled: bool,
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(in crate::daemon) struct Scene<'a> {
    pub(in crate::daemon) now: Moment,
    pub(in crate::daemon) started: Moment,
    /// This process took the place of no other one.
    pub(in crate::daemon) is_new: bool,
    pub(in crate::daemon) nodes: Nodes<'a>,
    pub(in crate::daemon) groups: &'a [Group],
}

/// `no_heir`: why nobody could take a group over from this node, if so.
pub(in crate::daemon) fn find(scene: &Scene<'_>, no_heir: impl Fn(&str) -> Option<String>) -> Vec<Cause> {
    let mut causes = Vec::new();
    causes.extend(scene.files_differ());
    for group in scene.groups {
        let named = |name, why: String, is_settled| Cause {
            name,
            group: Some(group.config.name.clone()),
            why,
            is_settled,
        };
        if let Some(why) = scene.both_hold(group) {
            causes.push(named(AlarmName::TwoHolders, why, true));
        }
        if let Some((why, is_settled)) = scene.advertisements_missing(group) {
            causes.push(named(AlarmName::AdvertisementsMissing, why, is_settled));
        }
        if let Some(why) = problems::stranger(&scene.nodes, scene.now, group) {
            causes.push(named(AlarmName::ForeignCluster, why, true));
        }
        if let Some((why, is_settled)) = scene.no_standby(group, &no_heir) {
            causes.push(named(AlarmName::NoStandby, why, is_settled));
        }
    }
    causes
}

impl Scene<'_> {
    fn peers(&self) -> &[hello::Peer] {
        self.nodes.session.map_or(&[], hello::Session::peers)
    }

    fn files_differ(&self) -> Option<Cause> {
        let heard = self.peers().iter().filter(|peer| !peer.silent);
        let said = heard.filter_map(|peer| Some((&peer.name, &peer.last.as_ref()?.1.file)));
        let others: Vec<_> = said
            .filter(|(_, file)| **file != self.nodes.config.hash)
            .map(|(name, file)| format!("{} on {name}", digits(file)))
            .collect();
        (!others.is_empty()).then(|| Cause {
            name: AlarmName::FilesDiffer,
            group: None,
            why: format!("{} here, {}", digits(&self.nodes.config.hash), others.join(", ")),
            is_settled: false,
        })
    }

    fn both_hold(&self, group: &Group) -> Option<String> {
        let since = group.dual_active_since?;
        if self.now.saturating_since(since) < problems::DUAL_ACTIVE {
            return None;
        }
        let (_, status) = group.status.as_ref()?;
        let others = self.peers().iter().filter(|peer| peer.claims(&group.config.name, status.since));
        let holders: Vec<_> =
            [self.nodes.own].into_iter().chain(others.map(|peer| peer.name.as_str())).collect();
        let addresses: Vec<_> = group.addresses().iter().map(|address| address.to_string()).collect();
        Some(format!("{} both hold {}", holders.join(" and "), addresses.join(", ")))
    }

    /// A peer lives, says that it advertises, and none of its advertisements comes.
    fn advertisements_missing(&self, group: &Group) -> Option<(String, bool)> {
        let (taken, _) = group.status.as_ref()?;
        let intervals = group.config.members.iter().map(|member| member.interval.get() * 3);
        let limit = intervals.max().unwrap_or_default().max(UNHEARD);
        if group.silent_since(self.now).is_some() || self.now.saturating_since(self.started) < limit {
            return None;
        }
        self.peers().iter().find_map(|peer| {
            let (said, hello) = peer.said_of(&group.config.name)?;
            let is_active = hello.state == State::Active;
            let for_long = Duration::from_millis(hello.age_ms) + self.now.saturating_since(said) >= limit;
            let heard = report::advertisement_of(&self.nodes, group, &peer.name).map(|heard| heard.at);
            // What the speaker says is as old as its last word. And a node that has died said hello as long as it advertised.
            let is_missed = heard.is_none_or(|at| {
                taken.saturating_since(at) >= limit && said.saturating_since(at) >= OUTLIVED
            });
            let why = format!("{} lives, but its advertisements do not arrive", peer.name);
            let why = match rejected(&self.nodes, self.now, group, &peer.name) {
                Some(reason) => format!("{why}: {reason}"),
                None => why,
            };
            // Another speaker has heard nothing yet.
            (is_active && for_long && is_missed).then_some((why, heard.is_some()))
        })
    }

    /// Somebody holds the group, and nobody could take it over.
    fn no_standby(&self, group: &Group, no_heir: impl Fn(&str) -> Option<String>) -> Option<(String, bool)> {
        let nodes = &self.nodes.config.cluster.nodes;
        // Keepalived does not say whether it could.
        if nodes.len() < 2 || nodes.iter().any(|node| node.kind != PeerKind::Lbctl) {
            return None;
        }
        if self.is_new && self.now.saturating_since(self.started) < BEGINNING {
            return None;
        }
        let name = &group.config.name;
        let is_starting = |ready: &Ready| matches!(ready, Ready::Starting { .. });
        let is_start_of_pair = self.is_new && self.now.saturating_since(self.started) < START_OF_PAIR;
        if group.state() == State::Active {
            let lives = || self.peers().iter().filter(|peer| !peer.silent);
            // One that has more to say than a hello holds says nothing of this group.
            let says_no_more = |peer: &hello::Peer| {
                peer.group(name).is_none() && peer.last.as_ref().is_some_and(|(_, hello)| hello.shortened)
            };
            let starts = |peer: &hello::Peer| peer.group(name).is_some_and(|said| is_starting(&said.ready));
            if lives().any(says_no_more) || (is_start_of_pair && lives().any(starts)) {
                return None;
            }
            // Silence takes its time.
            let is_settled = self.peers().iter().all(|peer| peer.silent);
            return no_heir(name).map(|why| (why, is_settled));
        }
        let mut said = self.peers().iter().filter_map(|peer| Some((&peer.name, peer.group(name)?)));
        let (_, holder) = said.clone().find(|(_, hello)| hello.state == State::Active)?;
        // A ready one is better than any that is degraded.
        let level = Level::of(holder.priority, PeerKind::Lbctl).filter(|level| *level < Level::READY);
        let holder = level.map(|level| (level, "the holder"));
        let could = |hello: &hello::GroupHello| unready(&hello.ready, hello.priority, holder).is_none();
        if said.any(|(_, hello)| hello.state != State::Active && could(hello)) {
            return None;
        }
        let own = group.local(self.now, self.started);
        if is_start_of_pair && is_starting(&own.ready) {
            return None;
        }
        let why = unready(&own.ready, own.priority, holder)?;
        Some((format!("{} {why}", self.nodes.own), false))
    }
}

/// Why what comes from that node is dropped, if something does.
fn rejected(nodes: &Nodes<'_>, now: Moment, group: &Group, name: &str) -> Option<String> {
    let (member, found) = problems::rejected(now, group)
        .find(|(member, found)| report::is_from(nodes, member, found.source, name))?;
    Some(format!("those for {} are dropped: {}", member.vip, found.why))
}

fn digits(hash: &str) -> &str {
    hash.get(..6).unwrap_or(hash)
}
