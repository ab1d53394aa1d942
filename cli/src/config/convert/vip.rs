//! `[vip.NAME]`: each one a member of its group on every node.

use std::{net::IpAddr, time::Duration};

use lb_vrrp::{
    AdvertisementInterval, ChecksumForm, Interface, MemberConfig, PeerKind, Version, VirtualAddress, Vrid,
};

use super::by_node;
use crate::config::{
    diagnostic::Report,
    model::{Cluster, Node},
    raw::{self, Named},
    text,
};

/// The count of addresses is one octet (RFC 9568 §5.2.5).
const MOST_ADDRESSES: usize = 255;

/// By vip in the order of the file, then by node; `None` for a vip whose vrid could not be read.
pub(super) fn convert(
    vips: &[Named<raw::Vip>],
    cluster: &Cluster,
    report: &Report<'_>,
) -> Vec<Option<Vec<MemberConfig>>> {
    if let (Some(first), true) = (vips.first(), cluster.nodes.is_empty() && !report.has_errors()) {
        let message = format!("[vip.{}] needs [cluster] with the nodes that share it", first.name.value);
        report.error(first.name.span, message);
    }
    check_addresses(vips, cluster, report);
    let members: Vec<_> = vips.iter().map(|vip| members(vip, cluster, report)).collect();
    check_vrids(vips, &members, cluster, report);
    members
}

fn members(vip: &Named<raw::Vip>, cluster: &Cluster, report: &Report<'_>) -> Option<Vec<MemberConfig>> {
    let raw = &vip.value;
    let version = raw.version.as_ref().map_or(Version::V3, |version| version.value);
    let interval = interval(raw, version, report);
    if let (Some(checksum), Version::V2) = (&raw.checksum, version) {
        report.error(
            checksum.span,
            "checksum is for version 3 alone; VRRPv2 has only one form, remove the key",
        );
    }
    let interfaces = interfaces(raw, cluster, report);
    let vrid = raw.vrid.as_ref().and_then(|vrid| Vrid::new(u8::try_from(vrid.value).ok()?).ok())?;
    let addresses = raw
        .addresses
        .iter()
        .map(|address| VirtualAddress { address: IpAddr::V4(address.value.0), prefix: address.value.1 });
    let addresses: Vec<_> = addresses.collect();
    let foreign = cluster.nodes.iter().any(|node| node.kind == PeerKind::Keepalived);
    let default_form = if foreign { ChecksumForm::Rfc5798 } else { ChecksumForm::Rfc9568 };
    let member = |interface| MemberConfig {
        vip: vip.name.value.clone(),
        interface,
        vrid,
        version,
        interval,
        addresses: addresses.clone(),
        checksum: raw.checksum.as_ref().map_or(default_form, |form| form.value),
    };
    Some(interfaces.into_iter().map(member).collect())
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
    let mut seen: Vec<(std::net::Ipv4Addr, &str)> = Vec::new();
    for vip in vips {
        if let Some(extra) = vip.value.addresses.get(MOST_ADDRESSES) {
            report.error(extra.span, format!("one address too many; a vip has at most {MOST_ADDRESSES}"));
        }
        for at in &vip.value.addresses {
            let (address, _) = at.value;
            if let Some((_, owner)) = seen.iter().find(|(other, _)| *other == address) {
                report.error(
                    at.span,
                    format!("{address} is in [vip.{owner}] already; an address belongs to one vip, once"),
                );
            }
            if let Some(node) = cluster.nodes.iter().find(|node| node.address == IpAddr::V4(address)) {
                let message = format!(
                    "{address} is the own address of node `{}`; a vip's address is nobody's own, it moves",
                    node.name
                );
                report.error(at.span, message);
            }
            seen.push((address, &vip.name.value));
        }
    }
}

/// One vrid on one interface is one virtual router.
fn check_vrids(
    vips: &[Named<raw::Vip>],
    members: &[Option<Vec<MemberConfig>>],
    cluster: &Cluster,
    report: &Report<'_>,
) {
    for (second, vip) in vips.iter().enumerate() {
        for (first, earlier) in vips.iter().enumerate().take(second) {
            let (Some(Some(ours)), Some(Some(theirs))) = (members.get(second), members.get(first)) else {
                continue;
            };
            let Some(vrid) = &vip.value.vrid else { continue };
            let pairs = || ours.iter().zip(theirs).zip(&cluster.nodes).filter(|((a, b), _)| a.vrid == b.vrid);
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
