//! The vips of a group, and their virtual routers.

use lb_vrrp::{
    Family, Interface, MemberConfig, PeerKind, State, VirtualAddress,
    status::{MemberStatus, PeerHeard},
};

use super::{Facts, heard_at, is_from};
use crate::{
    control::{Router, Transport, Vip},
    daemon::{
        group::Group,
        problems::{UNHEARD, strangers_at},
    },
};

/// One for each table: both families of a vip have one fate, and people think of it as one.
pub(super) fn vips(facts: &Facts<'_>, group: &Group, holders: &[String]) -> Vec<Vip> {
    let status = group.status.as_ref().map(|(_, status)| status);
    let mut vips: Vec<Vip> = Vec::new();
    for (index, config) in group.config.members.iter().enumerate() {
        let member = status.and_then(|status| status.members.get(index));
        let addresses = texts(&config.addresses);
        let installed = member.map(|member| texts(&member.installed)).unwrap_or_default();
        let heard = member.and_then(|member| of_holder(facts, config, member, holders));
        // Installed here, they are held after all: by another process than the one that was heard, or for a moment.
        let is_away = |one: &String| !installed.contains(one);
        let unheld = heard.iter().flat_map(|heard| &heard.lacks).map(ToString::to_string).filter(is_away);
        let unheld: Vec<String> = unheld.collect();
        let router = router(facts, status.map(|status| status.state), config, member);
        if let Some(vip) = vips.last_mut().filter(|vip| vip.name == config.vip) {
            vip.addresses.extend(addresses);
            vip.installed.extend(installed);
            vip.unheld.extend(unheld);
            vip.routers.push(router);
            continue;
        }
        vips.push(Vip {
            name: config.vip.clone(),
            addresses,
            installed,
            unheld,
            interface: member.and_then(|member| member.interface.clone()).or_else(|| {
                match &config.interface {
                    Interface::Named(name) => Some(name.clone()),
                    Interface::Holding(_) => None,
                }
            }),
            vrid: config.vrid.get(),
            interval_ms: u64::try_from(config.interval.get().as_millis()).unwrap_or(u64::MAX),
            routers: vec![router],
        });
    }
    vips
}

/// The last advertisement of the node that holds the vip, if that is another one, and goes by a file as this one does.
pub(in crate::daemon) fn of_holder<'a>(
    facts: &Facts<'_>,
    config: &MemberConfig,
    member: &'a MemberStatus,
    holders: &[String],
) -> Option<&'a PeerHeard> {
    let [holder] = holders else { return None };
    let nodes = &facts.config.cluster.nodes;
    // Keepalived holds addresses that it does not advertise, too.
    let is_ours = nodes.iter().any(|node| node.name == *holder && node.kind == PeerKind::Lbctl);
    if !is_ours || *holder == facts.identity.name() {
        return None;
    }
    let its = heard_at(member).filter(|heard| is_from(&facts.nodes(), config, heard.source, holder));
    // Of two that are the same the last one has all that was compared.
    let last = its.max_by_key(|heard| heard.at)?;
    (last.priority > 0 && facts.at.moment.saturating_since(last.at) < UNHEARD).then_some(last)
}

fn router(
    facts: &Facts<'_>,
    state: Option<State>,
    config: &MemberConfig,
    member: Option<&MemberStatus>,
) -> Router {
    let trouble = member.and_then(|member| member.trouble.clone());
    let state = state.filter(|_| trouble.is_none()).unwrap_or(State::Initialize);
    let nodes = facts.nodes();
    let foreign = member.and_then(|member| {
        let strangers = strangers_at(&nodes, facts.at.moment, config, member);
        strangers.min_by_key(|one| (one.since, one.said.source()))
    });
    Router {
        family: match config.family() {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
        .to_owned(),
        transport: match config.transport.unicast() {
            None => Transport::Multicast,
            Some(unicast) => Transport::Unicast {
                source: unicast.source.to_string(),
                peers: unicast.peers.iter().map(ToString::to_string).collect(),
            },
        },
        state: state.to_string(),
        trouble,
        foreign: foreign.map(|stranger| stranger.said.source().to_string()),
        counters: member.map(|member| member.counters.clone()).unwrap_or_default(),
    }
}

fn texts(addresses: &[VirtualAddress]) -> Vec<String> {
    addresses.iter().map(|one| one.address.to_string()).collect()
}
