//! Vips, and each virtual router of theirs: one for each family, on the wire with its own advertisements.

use std::net::IpAddr;

use lb_vrrp::advertisement::DecodeError;

use super::{
    flag, number,
    vrrp::{REJECT, STATES},
};
use crate::{
    control::{Group, Router, Status, Vip},
    metrics::text::{Kind, Text},
};

pub(super) fn write(text: &mut Text, status: &Status) {
    let groups = status.groups.as_slice();
    vips(text, groups);
    let routers = groups.iter().flat_map(|group| group.vips.iter().map(move |vip| (group, vip)));
    let routers = routers.flat_map(|(group, vip)| {
        vip.routers.iter().map(move |router| OnTheWire { group: &group.name, vip, router })
    });
    let routers: Vec<_> = routers.collect();
    states(text, &routers);
    advertisements(text, &routers);
}

fn vips(text: &mut Text, groups: &[Group]) {
    let vips = || groups.iter().flat_map(|group| group.vips.iter().map(move |vip| (group, vip)));
    let help = "Always 1; the interface and the number of the virtual router.";
    let mut metric = text.metric("lbctl_vip_info", Kind::Gauge, help);
    for (group, vip) in vips() {
        let (vrid, interface) = (vip.vrid.to_string(), vip.interface.as_deref().unwrap_or_default());
        metric.sample(
            &[("group", &group.name), ("vip", &vip.name), ("vrid", &vrid), ("interface", interface)],
            1.0,
        );
    }
    let help = "1 while all addresses are on the interface of this node.";
    let mut metric = text.metric("lbctl_vip_held", Kind::Gauge, help);
    for (group, vip) in vips() {
        let is_whole = vip.addresses.iter().all(|address| vip.installed.contains(address));
        metric.sample(&[("group", &group.name), ("vip", &vip.name)], flag(is_whole));
    }
    let help = "1 for each address of it that is on the interface of this node: the sum over the nodes is 1 when all is well.";
    let mut metric = text.metric("lbctl_vip_address_held", Kind::Gauge, help);
    for (group, vip) in vips() {
        for address in &vip.addresses {
            metric.sample(
                &[("group", &group.name), ("vip", &vip.name), ("address", address)],
                flag(vip.installed.contains(address)),
            );
        }
    }
    let help = "Addresses of it.";
    let mut metric = text.metric("lbctl_vip_addresses", Kind::Gauge, help);
    for (group, vip) in vips() {
        metric.sample(&[("group", &group.name), ("vip", &vip.name)], number(vip.addresses.len() as u64));
    }
    let help = "Addresses of it that are on the interface of this node.";
    let mut metric = text.metric("lbctl_vip_addresses_installed", Kind::Gauge, help);
    for (group, vip) in vips() {
        metric.sample(&[("group", &group.name), ("vip", &vip.name)], number(vip.installed.len() as u64));
    }
}

/// Which frontends serve which vips: what is wrong with another one keeps no client of an address that this node holds.
pub(super) fn frontends(text: &mut Text, status: &Status) {
    let help =
        "Always 1, for each vip at an address of which it listens; all addresses of a family are such.";
    let mut metric = text.metric("lbctl_frontend_vip_info", Kind::Gauge, help);
    for frontend in &status.frontends {
        for (group, vip) in
            status.groups.iter().flat_map(|group| group.vips.iter().map(move |vip| (group, vip)))
        {
            if frontend.binds.iter().filter_map(|bind| bind.address).any(|bound| listens_at(bound.ip(), vip))
            {
                let labels = [("frontend", &*frontend.name), ("group", &*group.name), ("vip", &*vip.name)];
                metric.sample(&labels, 1.0);
            }
        }
    }
}

fn listens_at(bound: IpAddr, vip: &Vip) -> bool {
    let addresses = vip.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
    addresses
        .into_iter()
        .any(|address| bound == address || bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4())
}

/// A virtual router with the names of what it belongs to.
struct OnTheWire<'a> {
    group: &'a str,
    vip: &'a Vip,
    router: &'a Router,
}

impl OnTheWire<'_> {
    fn labels(&self) -> [(&str, &str); 3] {
        [("group", self.group), ("vip", &self.vip.name), ("family", &self.router.family)]
    }

    fn labels_and<'a>(&'a self, name: &'a str, value: &'a str) -> [(&'a str, &'a str); 4] {
        let [group, vip, family] = self.labels();
        [group, vip, family, (name, value)]
    }

    fn count(&self, name: &str) -> f64 {
        number(self.router.counters.get(name).copied().unwrap_or(0))
    }
}

fn states(text: &mut Text, routers: &[OnTheWire<'_>]) {
    let help = "1 for the state of this node on the wire: that of the group, and Initialize while it can neither send nor hear there.";
    let mut metric = text.metric("lbctl_vip_state", Kind::Gauge, help);
    for one in routers {
        metric.states(&one.labels(), &STATES, Some(&one.router.state));
    }
    let help = "1 while somebody who is no node of the file uses the vrid there.";
    let mut metric = text.metric("lbctl_vip_foreign_cluster", Kind::Gauge, help);
    for one in routers {
        metric.sample(&one.labels(), flag(one.router.foreign.is_some()));
    }
}

/// Those of a speaker before an upgrade that does not count them are left out.
fn advertisements(text: &mut Text, routers: &[OnTheWire<'_>]) {
    let counted = || routers.iter().filter(|one| !one.router.counters.is_empty());
    let ways = [
        (
            "lbctl_vip_advertisements_sent_total",
            "Advertisements that this node sent there.",
            ["advertisements_sent", "priority_zero_sent"],
        ),
        (
            "lbctl_vip_advertisements_received_total",
            "Advertisements of others there that were valid.",
            ["advertisements_received", "priority_zero_received"],
        ),
    ];
    for (name, help, [all, resignations]) in ways {
        let mut metric = text.metric(name, Kind::Counter, help);
        for one in counted() {
            let resignations = one.count(resignations);
            let ordinary = (one.count(all) - resignations).max(0.0);
            metric.sample(&one.labels_and("kind", "ordinary"), ordinary);
            metric.sample(&one.labels_and("kind", "resignation"), resignations);
        }
    }
    let help = "Advertisements there that were not valid, by reason.";
    let mut metric = text.metric("lbctl_vip_advertisements_rejected_total", Kind::Counter, help);
    for one in counted() {
        for counter in DecodeError::COUNTERS {
            let reason = counter.strip_prefix(REJECT).unwrap_or(counter);
            metric.sample(&one.labels_and("reason", reason), one.count(counter));
        }
    }
    let help = "Gratuitous ARP and neighbour advertisements that this node sent there.";
    let mut metric = text.metric("lbctl_vip_announcements_total", Kind::Counter, help);
    for one in counted() {
        metric.sample(&one.labels(), one.count("announcements"));
    }
}
