//! `[vip.NAME]` of each virtual router: its addresses by interface, and how the nodes speak of it.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use lb_vrrp::{AdvertisementInterval, Password, Version, is_link_local};

use super::{
    groups::Group,
    instance::Address,
    nodes::{Member, Router},
    source::{Place, Sources},
};
use crate::{
    config::text::write_duration,
    import::{
        Vip, clean,
        document::{Entry, Table, Value, key, pair},
        unique,
    },
};

/// What tables are made with.
pub(super) struct Context<'c> {
    pub(super) members: &'c [Member<'c>],
    pub(super) groups: &'c [Group],
    /// The node that still runs Keepalived.
    pub(super) foreign: Option<usize>,
    pub(super) sources: &'c Sources,
}

/// A vip of our file.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) table: Table,
    pub(super) vips: Vec<Vip>,
}

/// Addresses of one vip, and the interface that they are on, by node.
struct Part {
    interfaces: Vec<Option<String>>,
    addresses: Vec<Address>,
}

/// The tables of a router: one, or one for each interface that its addresses are on.
pub(super) fn made(
    router: &Router<'_>,
    group: &Group,
    names: &mut BTreeSet<String>,
    context: &Context<'_>,
) -> Vec<Made> {
    let parts = parts(router, context);
    let known = context.members.iter().filter(|member| member.node.is_some()).count();
    if router.known().count() < known {
        let message = "no instance in the other node's file has this virtual_router_id: here both nodes can have its addresses";
        context.sources.differ(router.first().place, message);
    }
    let mut made = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        let beside = part.interfaces.iter().flatten().next().filter(|_| index > 0);
        let own = &router.first().name;
        let wanted = beside.map_or_else(|| own.clone(), |interface| format!("{own}-{interface}"));
        let name = unique(clean(&wanted), |name| names.contains(name));
        let families = [true, false].map(|is_ipv4| {
            part.addresses.iter().filter(|one| one.address.is_ipv4() == is_ipv4).cloned().collect::<Vec<_>>()
        });
        for (addresses, transport) in transports(router, families, context) {
            let name = unique(name.clone(), |name| names.contains(name));
            names.insert(name.clone());
            let vips = addresses
                .iter()
                .map(|one| Vip { text: one.address.to_string(), address: one.address, table: name.clone() })
                .collect();
            let part = Part { interfaces: part.interfaces.clone(), addresses };
            made.push(Made { table: table(&name, router, group, &part, transport, context), vips });
        }
    }
    made
}

/// By the interfaces that the addresses are on; that of the instance comes first.
fn parts(router: &Router<'_>, context: &Context<'_>) -> Vec<Part> {
    let own: Vec<Option<String>> = router
        .instances
        .iter()
        .map(|instance| (*instance)?.interface.as_ref().map(|(name, _)| name.clone()))
        .collect();
    let mut parts: Vec<Part> = Vec::new();
    let mut known: Vec<Address> = Vec::new();
    for instance in router.known() {
        for address in &instance.addresses {
            if known.iter().any(|one| one.address == address.address) {
                continue;
            }
            if !known.is_empty() && !std::ptr::eq(instance, router.first()) {
                let message = "the other node's file has not this address, and two lists make two owners in Keepalived; here both \
                               nodes have both";
                context.sources.advise(address.place, message);
            }
            known.push(address.clone());
        }
    }
    known.retain(|one| is_usable(one, context));
    for address in known {
        let interfaces: Vec<Option<String>> = router
            .instances
            .iter()
            .zip(&own)
            .map(|(instance, own)| {
                let mut addresses = instance.iter().flat_map(|one| &one.addresses);
                let device = addresses.find(|one| one.address == address.address)?.device.clone();
                device.or_else(|| own.clone())
            })
            .collect();
        // What a file does not say is as in the others.
        let any = interfaces.iter().flatten().next().cloned();
        let interfaces: Vec<_> = interfaces.into_iter().map(|one| one.or_else(|| any.clone())).collect();
        match parts.iter_mut().find(|part| part.interfaces == interfaces) {
            Some(part) => part.addresses.push(address),
            None => parts.push(Part { interfaces, addresses: vec![address] }),
        }
    }
    let is_own = |part: &Part| part.interfaces.iter().zip(&own).all(|(one, own)| own.is_none() || one == own);
    parts.sort_by_key(|part| !is_own(part));
    let is_unicast = router.known().any(|one| !one.peers.is_empty());
    for part in parts.iter().filter(|part| !is_own(part)) {
        let Some(first) = part.addresses.first() else { continue };
        let device = part.interfaces.iter().flatten().next().map_or("", |name| name);
        if !is_unicast {
            let message = format!(
                "the nodes advertise it on {device}, where the address is, and in Keepalived on the interface of the instance: nodes \
                 have to hear each other there"
            );
            context.sources.differ(first.place, message);
        }
    }
    if is_unicast {
        for part in parts.iter().skip(1) {
            for address in &part.addresses {
                let message = "with unicast the addresses of an instance are on one interface; give this one a vrrp_instance of its own";
                context.sources.lost(address.place, message);
            }
        }
        parts.truncate(1);
    }
    parts
}

/// An address that can move, and that both nodes agree on.
fn is_usable(address: &Address, context: &Context<'_>) -> bool {
    let own = context.members.iter().find(|member| IpAddr::V4(member.address) == address.address);
    let peers = context.members.iter().filter_map(|member| member.node).flat_map(|node| &node.instances);
    let is_own = own.is_some()
        || peers
            .flat_map(|one| {
                one.source.iter().map(|(source, _)| *source).chain(one.peers.iter().map(|peer| peer.address))
            })
            .any(|source| source == address.address);
    if is_own {
        let message = "it is a node's own address, which does not move; give the pair another one";
        context.sources.lost(address.place, message);
        return false;
    }
    if context.foreign.is_some() && address.is_excluded {
        let message = "Keepalived takes advertisements with its own list alone, and this address is not in its advertisements: move it \
                       to virtual_ipaddress, or change both nodes at once";
        context.sources.lost(address.place, message);
        return false;
    }
    true
}

/// How a vip's advertisements travel.
#[derive(Clone)]
enum Transport {
    Multicast,
    /// With `unicast_addresses`, by node, where they are needed.
    Unicast(Option<Vec<Vec<IpAddr>>>),
}

/// Addresses with what they travel by. IPv6 addresses of nodes that are not known make a vip of their own.
fn transports(
    router: &Router<'_>,
    [ipv4, ipv6]: [Vec<Address>; 2],
    context: &Context<'_>,
) -> Vec<(Vec<Address>, Transport)> {
    let ipv6 = foreign_ipv6(ipv6, context);
    let join = |mut first: Vec<Address>, second: Vec<Address>| {
        first.extend(second);
        first
    };
    if router.known().all(|one| one.peers.is_empty()) {
        let all = join(ipv4, ipv6);
        return if all.is_empty() { Vec::new() } else { vec![(all, Transport::Multicast)] };
    }
    let of = |is_ipv4: bool| own_addresses(router, is_ipv4, context);
    let of_ipv4: Option<Vec<IpAddr>> = of(true).into_iter().collect();
    let of_ipv6: Option<Vec<IpAddr>> = of(false).into_iter().collect();
    let is_by_cluster = of_ipv4.as_ref().is_none_or(|all| {
        all.iter().zip(context.members).all(|(address, member)| *address == IpAddr::V4(member.address))
    });
    let list = |with_ipv4: bool, with_ipv6: bool| -> Vec<Vec<IpAddr>> {
        let at = |all: &Option<Vec<IpAddr>>, index: usize, wanted: bool| {
            all.as_ref().filter(|_| wanted).map(|all| all[index])
        };
        (0..context.members.len())
            .map(|index| {
                at(&of_ipv4, index, with_ipv4).into_iter().chain(at(&of_ipv6, index, with_ipv6)).collect()
            })
            .collect()
    };
    let (has_ipv4, has_ipv6) = (!ipv4.is_empty(), !ipv6.is_empty());
    match (has_ipv4, has_ipv6) {
        (false, false) => Vec::new(),
        (true, false) => {
            vec![(ipv4, Transport::Unicast((!is_by_cluster).then(|| list(true, false))))]
        }
        (_, true) if of_ipv6.is_some() => {
            vec![(join(ipv4, ipv6), Transport::Unicast(Some(list(has_ipv4 && !is_by_cluster, true))))]
        }
        _ => {
            let message = "advertisements of IPv6 are multicast here, because no IPv6 addresses of the nodes are in the file; \
                           transport = \"unicast\" with unicast_addresses = { .. } of both nodes sends them as the others";
            context.sources.differ(ipv6[0].place, message);
            let mut parts = vec![(ipv6, Transport::Multicast)];
            if has_ipv4 {
                parts.insert(0, (ipv4, Transport::Unicast((!is_by_cluster).then(|| list(true, false)))));
            }
            parts
        }
    }
}

/// Keepalived takes IPv6 lists that are its own alone, and ours begin with a link-local one.
fn foreign_ipv6(addresses: Vec<Address>, context: &Context<'_>) -> Vec<Address> {
    let begins = addresses.first().is_some_and(|first| is_link_local(first.address));
    if context.foreign.is_none() || addresses.is_empty() || begins {
        return addresses;
    }
    let message = "beside a node with Keepalived an IPv6 list begins with a link-local address (RFC 9568 §5.2.9): write one as the first \
                   of virtual_ipaddress on both nodes, as fe80::51, and import again";
    context.sources.lost(addresses[0].place, message);
    Vec::new()
}

/// What each node sends from; no two nodes the same.
fn own_addresses(router: &Router<'_>, is_ipv4: bool, context: &Context<'_>) -> Vec<Option<IpAddr>> {
    let mut own: Vec<Option<IpAddr>> = vec![None; context.members.len()];
    let is_free = |own: &[Option<IpAddr>], index: usize, address: IpAddr| {
        let mut others = context.members.iter().enumerate().filter(|(other, _)| *other != index);
        let is_theirs = others.any(|(_, other)| IpAddr::V4(other.address) == address);
        address.is_ipv4() == is_ipv4 && !is_theirs && !own.contains(&Some(address))
    };
    for (index, instance) in router.instances.iter().enumerate() {
        let source = instance.and_then(|one| one.source).map(|(address, _)| address);
        own[index] = source.filter(|address| is_free(&own, index, *address));
    }
    for (index, member) in context.members.iter().enumerate() {
        if own[index].is_some() {
            continue;
        }
        let others = router.instances.iter().enumerate().filter(|(other, _)| *other != index);
        let mut peers = others.flat_map(|(_, one)| one.iter().flat_map(|one| &one.peers));
        let found = peers.find(|peer| is_free(&own, index, peer.address));
        let by_cluster = Some(IpAddr::V4(member.address)).filter(|_| is_ipv4);
        own[index] = found.map(|peer| peer.address).or(by_cluster);
    }
    own
}

fn table(
    name: &str,
    router: &Router<'_>,
    group: &Group,
    part: &Part,
    transport: Transport,
    context: &Context<'_>,
) -> Table {
    let first = router.first();
    let mut entries = Vec::new();
    if let Some(interface) = by_node(&part.interfaces, context.members) {
        entries.push(pair("interface", interface, None));
    }
    entries.push(pair("vrid", Value::Integer(first.vrid.into()), None));
    let addresses = part.addresses.iter().map(|one| Value::text(one.address.to_string())).collect();
    entries.push(pair("addresses", Value::List(addresses), None));
    let has_ipv6 = part.addresses.iter().any(|one| one.address.is_ipv6());
    let is_version_2 = context.foreign.is_some() && first.version != Some(3) && !has_ipv6;
    let version = if is_version_2 { Version::V2 } else { Version::V3 };
    if is_version_2 {
        entries.push(pair("version", Value::Integer(2), None));
    }
    entries.push(interval(router, version, context));
    password(router, is_version_2, &mut entries, context);
    match &group.preempt {
        None => entries.push(pair("preempt", Value::text("degraded"), Some("`nopreempt`; our default"))),
        Some(delay) => {
            let note =
                "as without `nopreempt`; with ours, \"degraded\", a node that returns interrupts nobody";
            entries.push(pair("preempt", Value::text("always"), Some(note)));
            if let Some(delay) = delay {
                entries.push(pair("preempt_delay", Value::Text(write_duration(*delay)), None));
            }
        }
    }
    entries
        .extend(group.garp_refresh.map(|time| pair("garp_refresh", Value::Text(write_duration(time)), None)));
    if !group.ranking.iter().enumerate().all(|(at, index)| at == *index) {
        let names = group.ranking.iter().map(|index| Value::text(&context.members[*index].name));
        entries.push(pair("prefer", Value::one_or_list(names.take(1).collect()), None));
    }
    entries.extend(group.name.iter().map(|name| pair("group", Value::text(name), None)));
    if let Transport::Unicast(given) = transport {
        entries.push(pair("transport", Value::text("unicast"), None));
        if let Some(given) = given {
            let value = |addresses: &Vec<IpAddr>| {
                Value::one_or_list(addresses.iter().map(|one| Value::text(one.to_string())).collect())
            };
            let given =
                context.members.iter().zip(&given).map(|(member, own)| (member.name.clone(), value(own)));
            entries.push(pair("unicast_addresses", Value::Table(given.collect()), None));
        }
        let least = router
            .known()
            .flat_map(|one| &one.peers)
            .filter_map(|peer| peer.minimum_ttl)
            .min_by_key(|(ttl, _)| *ttl);
        if let Some((ttl, _)) = least {
            entries.push(pair("minimum_ttl", Value::Integer(ttl.into()), None));
        }
    }
    let places: Vec<_> = router.known().map(|one| context.sources.line(one.place)).collect();
    let comments = vec![format!("vrrp_instance {}: {}", first.name, places.join(", "))];
    Table { heading: format!("vip.{}", key(name)), comments, entries }
}

/// One value if all nodes have it, or a table; nothing where nobody said it.
pub(super) fn by_node(values: &[Option<String>], members: &[Member<'_>]) -> Option<Value> {
    let first = values.iter().flatten().next()?;
    let of = |value: &Option<String>| value.clone().unwrap_or_else(|| first.clone());
    if values.iter().all(|value| of(value) == *first) {
        return Some(Value::text(first));
    }
    let entries =
        members.iter().zip(values).map(|(member, value)| (member.name.clone(), Value::Text(of(value))));
    Some(Value::Table(entries.collect()))
}

fn interval(router: &Router<'_>, version: Version, context: &Context<'_>) -> Entry {
    const DEFAULT: Duration = Duration::from_secs(1);
    let first = router.first();
    let (given, place) = first.interval.unwrap_or((DEFAULT, first.place));
    for other in router.known() {
        if let Some((theirs, place)) = other.interval.filter(|(theirs, _)| *theirs != given) {
            let message = format!(
                "the other node has {}, which counts, and not {}",
                write_duration(given),
                write_duration(theirs)
            );
            context.sources.differ(place, message);
        }
    }
    let (unit, most): (u128, u128) = match version {
        Version::V2 => (1000, 255_000),
        Version::V3 => (10, 40_950),
    };
    let millis = given.as_millis().div_ceil(unit).saturating_mul(unit).clamp(unit, most);
    let used = Duration::from_millis(u64::try_from(millis).unwrap_or(1000));
    debug_assert!(AdvertisementInterval::new(version, used).is_ok());
    if used != given {
        let message = format!(
            "the nearest that VRRP version {} can say is {}",
            if unit == 10 { 3 } else { 2 },
            write_duration(used)
        );
        context.sources.differ(place, message);
    }
    let note = match (context.foreign, used) {
        (None, DEFAULT) => Some("ours is 100ms, so that a dead node is noticed after 0.3 s instead of 3.6 s"),
        _ => None,
    };
    pair("advertisement_interval", Value::Text(write_duration(used)), note)
}

fn password(router: &Router<'_>, is_version_2: bool, entries: &mut Vec<Entry>, context: &Context<'_>) {
    let all: Vec<&(String, Place)> = router.known().filter_map(|one| one.password.as_ref()).collect();
    let Some((text, place)) = all.first() else { return };
    if !is_version_2 {
        for (_, place) in &all {
            let message = "`auth_pass` is left out: each advertisement says it in clear text to the whole network, so it protects \
                           nothing; `secret_file` and `sign_advertisements` of [cluster] do (docs/configuration.md)";
            context.sources.advise(*place, message);
        }
        return;
    }
    // Keepalived goes by the first eight bytes.
    let cut: String = text.chars().take(8).collect();
    match Password::new(&cut) {
        Ok(_) => entries.push(pair("password", Value::Text(cut), None)),
        Err(why) => context.sources.lost(*place, format!("the password {why}")),
    }
}
