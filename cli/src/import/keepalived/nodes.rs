//! The nodes of the pair: how many they are, who is preferred, what they are called, and which address each has.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Options,
    instance::Instance,
    node::Node,
    source::{Place, Sources},
};
use crate::{
    config::text,
    import::{clean, unique},
};

/// A node of our file.
#[derive(Debug)]
pub(super) struct Member<'n> {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// Nobody said it: it stands for one.
    pub(super) is_placeholder: bool,
    /// `None` for one whose file is not there.
    pub(super) node: Option<&'n Node>,
}

/// A virtual router: what each node's file says of it.
#[derive(Debug)]
pub(super) struct Router<'n> {
    /// By node.
    pub(super) instances: Vec<Option<&'n Instance>>,
}

impl<'n> Router<'n> {
    /// Of the most preferred node that has one.
    pub(super) fn first(&self) -> &'n Instance {
        self.known().next().expect("a router is made of an instance")
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &'n Instance> {
        self.instances.iter().copied().flatten()
    }

    /// Nodes by their priority, the highest first.
    pub(super) fn ranking(&self) -> Vec<usize> {
        let mut ranking: Vec<usize> = (0..self.instances.len()).collect();
        let known: Vec<_> = self.known().collect();
        if let [only] = known.as_slice() {
            // Of the others nothing is known, but what this one says of itself.
            let own = self.instances.iter().position(Option::is_some).unwrap_or(0);
            ranking.retain(|index| *index != own);
            let is_first = prefers_itself(only).unwrap_or(own == 0);
            ranking.insert(if is_first { 0 } else { ranking.len() }, own);
            return ranking;
        }
        ranking.sort_by_key(|index| std::cmp::Reverse(self.instances[*index].map(|one| one.priority.0)));
        ranking
    }
}

/// What a node alone says of its place. With `nopreempt` both begin with `state BACKUP`.
fn prefers_itself(instance: &Instance) -> Option<bool> {
    match (instance.is_master, instance.nopreempt) {
        (Some(false), Some(_)) => None,
        (state, _) => state,
    }
}

/// Virtual routers by what is the same on the wire: the vrid and a family; of several, by the name.
pub(super) fn routers<'n>(nodes: &[&'n Node]) -> Vec<Router<'n>> {
    let mut routers: Vec<Router<'n>> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for instance in &node.instances {
            let is_same = |router: &Router<'n>| {
                let [has_ipv4, has_ipv6] = instance.families();
                let [other_ipv4, other_ipv6] = router.first().families();
                let shares = (has_ipv4 && other_ipv4) || (has_ipv6 && other_ipv6);
                router.instances[index].is_none() && router.first().vrid == instance.vrid && shares
            };
            let by_name = routers.iter().position(|router| router.first().name == instance.name);
            let same: Vec<usize> = (0..routers.len()).filter(|at| is_same(&routers[*at])).collect();
            let at = by_name.filter(|at| same.contains(at)).or(same.first().copied());
            match at {
                Some(at) => routers[at].instances[index] = Some(instance),
                None => {
                    let mut instances = vec![None; nodes.len()];
                    instances[index] = Some(instance);
                    routers.push(Router { instances });
                }
            }
        }
    }
    routers
}

/// The nodes in the order of our file, and the routers by these nodes.
pub(super) fn members<'n>(
    nodes: &'n [Node],
    options: &Options,
    sources: &Sources,
) -> Result<(Vec<Member<'n>>, Vec<Router<'n>>), String> {
    let all: Vec<&Node> = nodes.iter().collect();
    let mut routers = routers(&all);
    let order = order(&all, &routers, options, sources);
    let mut members: Vec<Member<'n>> = order
        .iter()
        .map(|index| Member {
            name: String::new(),
            address: Ipv4Addr::UNSPECIFIED,
            is_placeholder: true,
            node: index.map(|index| all[index]),
        })
        .collect();
    for router in &mut routers {
        router.instances = order.iter().map(|index| router.instances[(*index)?]).collect();
    }
    let given = given(&members, &routers, options)?;
    names(&mut members, &given, sources);
    addresses(&mut members, &routers, &given, sources);
    Ok((members, routers))
}

/// Indices of the files, `None` for a node without one.
fn order(
    nodes: &[&Node],
    routers: &[Router<'_>],
    options: &Options,
    sources: &Sources,
) -> Vec<Option<usize>> {
    let Some(decides) = routers.iter().find(|router| router.instances.iter().all(Option::is_some)) else {
        return (0..nodes.len()).map(Some).collect();
    };
    if nodes.len() == 1 {
        let peers: Vec<_> = routers.iter().map(|router| router.first().peers.len()).collect();
        let others =
            peers.into_iter().max().unwrap_or(0).max(options.nodes.len().saturating_sub(1)).clamp(1, 4);
        let mut order: Vec<Option<usize>> = vec![None; others];
        let first = routers.iter().find_map(|router| prefers_itself(router.first())).unwrap_or(true);
        order.insert(if first { 0 } else { others }, Some(0));
        return order;
    }
    let ranking = decides.ranking();
    let tie = ranking.windows(2).find(|pair| {
        let of = |index: usize| decides.instances[index].map(|one| one.priority.0);
        of(pair[0]) == of(pair[1])
    });
    if let Some(instance) = tie.and_then(|pair| decides.instances[pair[1]]) {
        let message =
            "the other node has the same priority: the one whose file is given first is preferred here";
        sources.advise(instance.priority.1, message);
    }
    ranking.into_iter().map(Some).collect()
}

/// What `--node` says, by node.
fn given(
    members: &[Member<'_>],
    routers: &[Router<'_>],
    options: &Options,
) -> Result<Vec<Option<(String, Ipv4Addr)>>, String> {
    let mut given: Vec<Option<(String, Ipv4Addr)>> = vec![None; members.len()];
    if options.nodes.is_empty() {
        return Ok(given);
    }
    if options.nodes.len() != members.len() {
        return Err(format!(
            "--node is given {} times, and the files are about {} nodes",
            options.nodes.len(),
            members.len()
        ));
    }
    let own = |index: usize| {
        let sources = routers.iter().filter_map(move |router| router.instances[index]?.source);
        sources.map(|(address, _)| address).collect::<Vec<_>>()
    };
    let mut left = options.nodes.clone();
    for (index, member) in members.iter().enumerate() {
        let name = member.node.and_then(|node| node.name.clone());
        let at = left.iter().position(|(other, address)| {
            name.as_ref() == Some(other) || own(index).contains(&IpAddr::V4(*address))
        });
        given[index] = at.map(|at| left.remove(at));
    }
    let mut left = left.into_iter();
    for one in &mut given {
        if one.is_none() {
            *one = left.next();
        }
    }
    Ok(given)
}

fn names(members: &mut [Member<'_>], given: &[Option<(String, Ipv4Addr)>], sources: &Sources) {
    let written: Vec<Option<String>> =
        members.iter().map(|member| member.node.and_then(|node| node.name.clone())).collect();
    let is_twice = |name: &String| written.iter().filter(|other| other.as_ref() == Some(name)).count() > 1;
    let mut taken: Vec<String> = given.iter().flatten().map(|(name, _)| name.clone()).collect();
    for (index, member) in members.iter_mut().enumerate() {
        if let Some((name, _)) = &given[index] {
            member.name.clone_from(name);
            continue;
        }
        let own = written[index].as_ref().filter(|name| !is_twice(name));
        let wanted = own.map_or_else(|| format!("lb{}", index + 1), |name| clean(name));
        member.name = unique(wanted, |name| {
            taken.iter().any(|other| other == name)
                || written.iter().enumerate().any(|(at, other)| at != index && other.as_deref() == Some(name))
        });
        taken.push(member.name.clone());
        let Some(node) = member.node else { continue };
        if own.is_none() {
            let why = match written[index] {
                Some(_) => "the other file has the same `router_id`",
                None => "the file has no `router_id`",
            };
            let message = format!(
                "{why}: this node is called {} in our file, which --node NAME=ADDRESS changes",
                member.name
            );
            sources.advise(node.instances.first().map_or(node.place, |one| one.place), message);
        }
    }
}

fn addresses(
    members: &mut [Member<'_>],
    routers: &[Router<'_>],
    given: &[Option<(String, Ipv4Addr)>],
    sources: &Sources,
) {
    let ipv4 = |address: IpAddr| match address {
        IpAddr::V4(address) => Some(address).filter(|one| text::host_address(&one.to_string()).is_ok()),
        IpAddr::V6(_) => None,
    };
    let moves = |address: Ipv4Addr| {
        let mut all = routers.iter().flat_map(|router| router.known().flat_map(|one| &one.addresses));
        all.any(|one| one.address == IpAddr::V4(address))
    };
    for index in 0..members.len() {
        let own = routers.iter().filter_map(|router| ipv4(router.instances[index]?.source?.0)).next();
        let found = given[index].as_ref().map(|(_, address)| *address).or(own);
        let taken = |address: &Ipv4Addr| members[..index].iter().any(|other| other.address == *address);
        if let Some(address) = found.filter(|address| !taken(address)) {
            members[index].address = address;
            members[index].is_placeholder = false;
        }
    }
    // What the others call them.
    for index in 0..members.len() {
        if !members[index].is_placeholder {
            continue;
        }
        let known: Vec<Ipv4Addr> =
            members.iter().filter(|one| !one.is_placeholder).map(|one| one.address).collect();
        let mut others = routers.iter().flat_map(|router| {
            let others = router.instances.iter().enumerate().filter(|(other, _)| *other != index);
            others.flat_map(|(_, one)| one.iter().flat_map(|one| &one.peers)).collect::<Vec<_>>()
        });
        let free = |address: &Ipv4Addr| !known.contains(address);
        if let Some(address) = others.find_map(|peer| ipv4(peer.address).filter(free)) {
            members[index].address = address;
            members[index].is_placeholder = false;
        }
    }
    placeholders(members, sources, moves);
}

/// Documentation addresses, which no machine has.
fn placeholders(members: &mut [Member<'_>], sources: &Sources, moves: impl Fn(Ipv4Addr) -> bool) {
    let mut last = 0;
    for index in 0..members.len() {
        if !members[index].is_placeholder {
            continue;
        }
        let address = loop {
            last += 1;
            let address = Ipv4Addr::new(203, 0, 113, last);
            if !moves(address) && members.iter().all(|other| other.address != address) {
                break address;
            }
        };
        members[index].address = address;
        let place = members[index].node.or_else(|| members.iter().find_map(|one| one.node)).map(at);
        let name = &members[index].name;
        let message = format!(
            "the own address of node {name} is nowhere in the file; {address} stands in its place. Write it, or give --node for each \
             node: --node {name}=192.0.2.{}",
            index + 11
        );
        if let Some(place) = place {
            sources.lost(place, message);
        }
    }
}

fn at(node: &Node) -> Place {
    node.instances.first().map_or(node.place, |one| one.place)
}
