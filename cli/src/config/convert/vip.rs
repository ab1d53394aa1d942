//! `[vip.NAME]`: each family of it is a member of its group on every node.

use std::{net::IpAddr, time::Duration};

use lb_vrrp::{
    AdvertisementInterval, ChecksumForm, Family, Interface, MemberConfig, PeerKind, Transport, Version,
    VirtualAddress, Vrid, is_link_local,
};
use sha2::{Digest, Sha256};

use super::{by_node, transport};
use crate::config::{
    diagnostic::Report,
    model::{Cluster, Node},
    raw::{self, Named},
    reader::At,
    text,
};

/// The count of addresses is one octet (RFC 9568 §5.2.5).
const MOST_ADDRESSES: usize = 255;

/// The virtual routers of one vip on each node: one for each family, that of IPv4 first.
pub(super) type ByNode = Vec<Vec<MemberConfig>>;

/// By vip in the order of the file, then by node; `None` for a vip whose vrid could not be read.
pub(super) fn convert(
    vips: &[Named<raw::Vip>],
    cluster: &Cluster,
    report: &Report<'_>,
) -> Vec<Option<ByNode>> {
    if let (Some(first), true) = (vips.first(), cluster.nodes.is_empty() && !report.has_errors()) {
        let message = format!("[vip.{}] needs [cluster] with the nodes that share it", first.name.value);
        report.error(first.name.span, message);
    }
    check_addresses(vips, cluster, report);
    let members: Vec<_> = vips.iter().map(|vip| members(vip, cluster, report)).collect();
    check_vrids(vips, &members, cluster, report);
    members
}

fn members(vip: &Named<raw::Vip>, cluster: &Cluster, report: &Report<'_>) -> Option<ByNode> {
    let raw = &vip.value;
    let version = raw.version.as_ref().map_or(Version::V3, |version| version.value);
    let interval = interval(raw, version, report);
    if let (Some(checksum), Version::V2) = (&raw.checksum, version) {
        report.error(
            checksum.span,
            "checksum is for version 3 alone; VRRPv2 has only one form, remove the key",
        );
    }
    check_password(raw, version, cluster, report);
    let interfaces = interfaces(raw, cluster, report);
    let vrid = raw.vrid.as_ref().and_then(|vrid| Vrid::new(u8::try_from(vrid.value).ok()?).ok())?;
    let is_foreign = cluster.nodes.iter().any(|node| node.kind == PeerKind::Keepalived);
    let (ipv4, ipv6): (Vec<_>, Vec<_>) =
        raw.addresses.iter().partition(|at| Family::of(at.value.address) == Family::Ipv4);
    check_ipv6(&ipv6, (version, is_foreign), vrid, report);
    let families = [ipv4.iter().map(|at| at.value).collect(), link_local_first(&ipv6, vrid)];
    let unicast = transport::convert(raw, cluster, report);
    let default_form = if is_foreign { ChecksumForm::Rfc5798 } else { ChecksumForm::Rfc9568 };
    let member = |node, interface: &Interface, addresses: &Vec<VirtualAddress>| MemberConfig {
        vip: vip.name.value.clone(),
        interface: interface.clone(),
        vrid,
        version,
        interval,
        addresses: addresses.clone(),
        checksum: raw.checksum.as_ref().map_or(default_form, |form| form.value),
        password: raw.password.as_ref().map(|password| password.value.clone()),
        transport: addresses
            .first()
            .zip(unicast.as_ref())
            .map_or(Transport::Multicast, |(first, unicast)| unicast.of(node, Family::of(first.address))),
    };
    let on = |(node, interface)| {
        let families = families.iter().filter(|addresses: &&Vec<_>| !addresses.is_empty());
        families.map(|addresses| member(node, interface, addresses)).collect()
    };
    Some(interfaces.iter().enumerate().map(on).collect())
}

fn check_password(raw: &raw::Vip, version: Version, cluster: &Cluster, report: &Report<'_>) {
    let Some(password) = &raw.password else { return };
    if version == Version::V3 {
        let message =
            "password is for version = 2 alone, VRRPv3 has none; remove the key, or write that version too";
        report.error(password.span, message);
    } else if cluster.nodes.iter().all(|node| node.kind == PeerKind::Lbctl) {
        report.warning(
            password.span,
            "a password of VRRPv2 protects nothing: each advertisement says it in clear text to the whole network. It is there \
             for a peer that wants it, and no node of this file is foreign; remove the key",
        );
    }
}

/// RFC 9568 §5.2.9: an IPv6 list begins with a link-local address. Where the file has none, it is made from what both nodes
/// have in their file.
fn link_local_first(addresses: &[&At<VirtualAddress>], vrid: Vrid) -> Vec<VirtualAddress> {
    let (mut list, others): (Vec<_>, Vec<_>) =
        addresses.iter().map(|at| at.value).partition(|one| is_link_local(one.address));
    if let (Some(first), true) = (others.first(), list.is_empty()) {
        list.push(VirtualAddress { address: link_local(vrid, first.address), prefix: 128 });
    }
    list.extend(others);
    list
}

/// fe80::/64 and 64 bits of SHA-256 over the vrid and the first address.
fn link_local(vrid: Vrid, first: IpAddr) -> IpAddr {
    let mut hash = Sha256::new_with_prefix([vrid.get()]);
    if let IpAddr::V6(first) = first {
        hash.update(first.octets());
    }
    let hash = hash.finalize();
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&hash[..8]);
    IpAddr::from(octets)
}

fn check_ipv6(
    addresses: &[&At<VirtualAddress>],
    (version, is_foreign): (Version, bool),
    vrid: Vrid,
    report: &Report<'_>,
) {
    let Some(first) = addresses.first() else { return };
    if version == Version::V2 {
        report.error(
            first.span,
            "VRRPv2 knows IPv4 alone; write version = 3, or give the IPv6 addresses a [vip.*] of their own",
        );
    }
    let mut is_local = addresses.iter().map(|at| is_link_local(at.value.address));
    match (is_local.next().unwrap_or_default(), is_local.position(|local| local)) {
        (false, None) if is_foreign => {
            let message = format!(
                "keepalived takes advertisements with its own list of addresses alone, and an IPv6 list begins with a \
                 link-local one (RFC 9568 §5.2.9): write \"{}\" before this one, and first in its virtual_ipaddress",
                link_local(vrid, first.value.address)
            );
            report.error(first.span, message);
        }
        (false, Some(index)) => {
            if let Some(local) = addresses.get(index + 1) {
                let message = format!(
                    "{} is sent before the other IPv6 addresses, since it is link-local (RFC 9568 §5.2.9); write it first",
                    local.value.address
                );
                report.warning(local.span, message);
            }
        }
        (true, _) if addresses.iter().all(|at| is_link_local(at.value.address)) => {
            let message = format!(
                "{} is link-local, and clients reach it only if they name their interface; add an address to send them to",
                first.value.address
            );
            report.warning(first.span, message);
        }
        (true, _) | (false, None) => {}
    }
}

/// 100 ms; with VRRPv2, which counts in seconds, 1 s.
fn interval(raw: &raw::Vip, version: Version, report: &Report<'_>) -> AdvertisementInterval {
    let default = match version {
        Version::V3 => Duration::from_millis(100),
        Version::V2 => Duration::from_secs(1),
    };
    if let Some(given) = &raw.advertisement_interval {
        match AdvertisementInterval::new(version, given.value) {
            Ok(interval) => return interval,
            Err(error) => {
                let found = text::write_duration(given.value);
                report.error(given.span, format!("{} is {}, found {found}", error.what, error.range));
            }
        }
    }
    AdvertisementInterval::new(version, default).expect("the default is on the grid of its version")
}

/// By node.
fn interfaces(raw: &raw::Vip, cluster: &Cluster, report: &Report<'_>) -> Vec<Interface> {
    let named = raw.interface.as_ref().map_or_else(Vec::new, |interface| {
        by_node::resolve(interface, ("interface", "eth1"), cluster, report)
    });
    let interface = |(index, node): (usize, &Node)| {
        let name = named.get(index).copied().flatten();
        name.map_or(Interface::Holding(node.address), |name| Interface::Named(name.value.clone()))
    };
    cluster.nodes.iter().enumerate().map(interface).collect()
}

/// No address twice, and none that a node has as its own.
fn check_addresses(vips: &[Named<raw::Vip>], cluster: &Cluster, report: &Report<'_>) {
    let mut seen: Vec<(IpAddr, &str)> = Vec::new();
    for vip in vips {
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut own = vip.value.addresses.iter().filter(|at| Family::of(at.value.address) == family);
            let derived =
                usize::from(family == Family::Ipv6 && !own.clone().any(|at| is_link_local(at.value.address)));
            if let Some(extra) = own.nth(MOST_ADDRESSES - derived) {
                let message = format!(
                    "one address too many; a vip has at most {MOST_ADDRESSES} of a family, among them a link-local one of IPv6"
                );
                report.error(extra.span, message);
            }
        }
        for at in &vip.value.addresses {
            let address = at.value.address;
            if let Some((_, owner)) = seen.iter().find(|(other, _)| *other == address) {
                report.error(
                    at.span,
                    format!("{address} is in [vip.{owner}] already; an address belongs to one vip, once"),
                );
            }
            if let Some(node) = cluster.nodes.iter().find(|node| node.address == address) {
                let message = format!(
                    "{address} is the own address of node `{}`; a vip's address is nobody's own, it moves",
                    node.name
                );
                report.error(at.span, message);
            }
            if vips.iter().any(|vip| transport::ByUnicast::all(&vip.value).any(|own| own == address)) {
                let message =
                    format!("{address} is in unicast_addresses; a vip's address is nobody's own, it moves");
                report.error(at.span, message);
            }
            seen.push((address, &vip.name.value));
        }
    }
}

/// One vrid on one interface is one virtual router of each family.
fn check_vrids(vips: &[Named<raw::Vip>], members: &[Option<ByNode>], cluster: &Cluster, report: &Report<'_>) {
    for (second, vip) in vips.iter().enumerate() {
        for (first, earlier) in vips.iter().enumerate().take(second) {
            let (Some(Some(ours)), Some(Some(theirs))) = (members.get(second), members.get(first)) else {
                continue;
            };
            let Some(vrid) = &vip.value.vrid else { continue };
            let same = |a: &MemberConfig, b: &MemberConfig| a.vrid == b.vrid && a.family() == b.family();
            let pairs = || {
                ours.iter().zip(theirs).zip(&cluster.nodes).filter_map(|((ours, theirs), node)| {
                    let both = ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
                    both.into_iter().find(|(a, b)| same(a, b)).map(|pair| (pair, node))
                })
            };
            let clash = pairs().find(|((a, b), _)| a.interface == b.interface);
            let advice = format!("give [vip.{}] another", vip.name.value);
            if let Some(((member, _), node)) = clash {
                let place = match &member.interface {
                    Interface::Named(name) => format!("interface {name} of node `{}`", node.name),
                    Interface::Holding(address) => {
                        format!("the interface of {address} (node `{}`)", node.name)
                    }
                };
                let message = format!(
                    "vrid {} is taken on {place} by [vip.{}]; {advice}",
                    vrid.value, earlier.name.value
                );
                report.error(vrid.span, message);
                break;
            }
            if let Some(((_, _), node)) = pairs().find(|((a, b), _)| may_be_same(&a.interface, &b.interface))
            {
                let message = format!(
                    "vrid {} is also that of [vip.{}]; if both are on one interface of node `{}`, {advice}",
                    vrid.value, earlier.name.value, node.name
                );
                report.warning(vrid.span, message);
                break;
            }
        }
    }
}

/// A name and "the one that has this address" may be one interface.
fn may_be_same(a: &Interface, b: &Interface) -> bool {
    std::mem::discriminant(a) != std::mem::discriminant(b)
}
