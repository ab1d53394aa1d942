//! Which virtual routers move together: those of a sync group, and otherwise those that prefer the same node and take
//! addresses back alike.

use std::time::Duration;

use super::{
    instance::Instance,
    nodes::{Member, Router},
    source::Sources,
};
use crate::import::{clean, unique};

/// What the vips of a group have in common.
#[derive(Debug)]
pub(super) struct Group {
    /// `None` for the one that needs no name.
    pub(super) name: Option<String>,
    /// Indices of nodes, the most wanted first.
    pub(super) ranking: Vec<usize>,
    /// `None` without preemption by a ready node.
    pub(super) preempt: Option<Option<Duration>>,
    pub(super) garp_refresh: Option<Duration>,
    sync: Option<String>,
}

/// The groups, and which of them each router belongs to.
pub(super) fn groups(
    routers: &[Router<'_>],
    members: &[Member<'_>],
    sources: &Sources,
) -> (Vec<Group>, Vec<usize>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut of = Vec::new();
    for router in routers {
        let sync = sync_group(router, members);
        let ranking = router.ranking();
        let wanted = Group {
            name: None,
            preempt: preempt(router, &ranking, sources),
            ranking,
            garp_refresh: garp_refresh(router.first(), sources),
            sync,
        };
        let is_same = |group: &Group| match (&group.sync, &wanted.sync) {
            (Some(known), Some(own)) => known == own,
            (None, None) => {
                group.ranking == wanted.ranking
                    && group.preempt == wanted.preempt
                    && group.garp_refresh == wanted.garp_refresh
            }
            _ => false,
        };
        let at = groups.iter().position(is_same);
        if let Some(group) = at.map(|at| &groups[at]) {
            together(group, &wanted, router, sources);
        }
        of.push(at.unwrap_or(groups.len()));
        if at.is_none() {
            groups.push(wanted);
        }
    }
    let first = |at: usize| of.iter().position(|group| *group == at).unwrap_or(0);
    if groups.len() > 1 {
        let mut taken = Vec::new();
        for at in 0..groups.len() {
            let own = groups[at].sync.clone().unwrap_or_else(|| routers[first(at)].first().name.clone());
            let name = unique(clean(&own), |name| taken.iter().any(|other| other == name));
            taken.push(name.clone());
            groups[at].name = Some(name);
        }
    }
    (groups, of)
}

/// That of the first node that has it in one.
fn sync_group(router: &Router<'_>, members: &[Member<'_>]) -> Option<String> {
    members.iter().zip(&router.instances).find_map(|(member, instance)| {
        let name = &(*instance)?.name;
        let mut groups = member.node?.groups.iter();
        groups.find(|group| group.members.contains(name)).map(|group| group.name.clone())
    })
}

/// What is said of a router that joins others.
fn together(group: &Group, wanted: &Group, router: &Router<'_>, sources: &Sources) {
    let place = router.first().place;
    if group.sync.is_none() {
        let message = "it moves together with the instances before it: what fails for one fails for the node. `group = ..` in its [vip.*] \
                       splits it off";
        sources.advise(place, message);
    } else if group.ranking != wanted.ranking || group.preempt != wanted.preempt {
        let message = "in its sync group others have other priorities, or other words about preemption: those of the first one count";
        sources.differ(place, message);
    }
}

fn preempt(router: &Router<'_>, ranking: &[usize], sources: &Sources) -> Option<Option<Duration>> {
    // Who takes addresses back is the one that is preferred; where its file is not there, the other one says it.
    let decides = ranking.iter().find_map(|index| router.instances[*index]).unwrap_or(router.first());
    for instance in router.known() {
        if let (Some(place), Some(true)) = (instance.nopreempt, instance.is_master) {
            let message = "Keepalived does not heed it beside `state MASTER`, so this node took the addresses back; here it does not";
            sources.differ(place, message);
        }
        if let (Some((_, place)), true) = (instance.preempt_delay, decides.nopreempt.is_some()) {
            sources.advise(place, "`preempt_delay` is left out: nothing is taken back, so nothing waits");
        }
    }
    if decides.nopreempt.is_some() {
        return None;
    }
    const LONGEST: Duration = Duration::from_secs(3600);
    Some(decides.preempt_delay.map(|(delay, _)| delay.min(LONGEST)).filter(|delay| !delay.is_zero()))
}

fn garp_refresh(instance: &Instance, sources: &Sources) -> Option<Duration> {
    const RANGE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(86_400)];
    let (given, place) = instance.garp_refresh?;
    if given.is_zero() {
        sources.advise(
            place,
            "`garp_master_refresh 0`: addresses are announced again every 60 s all the same, which is two packets for each",
        );
        return None;
    }
    Some(given.clamp(RANGE[0], RANGE[1]))
}
