//! Settings of the kernel by which an address would be there and not be reached.

use std::fs;

use lb_vrrp::Family;

use super::{Findings, Scene};
use crate::interfaces::outside_networks;

const CHECK: &str = "kernel settings";

/// The longest hello, with headers of IPv4 and UDP; IPv6 needs less (RFC 8200 §5: 1280).
const SMALLEST: u32 = 1428;

pub(super) fn look(scene: &Scene<'_>, findings: &mut Findings) {
    for (family, of) in [(Family::Ipv4, "ipv4"), (Family::Ipv6, "ipv6")] {
        let speaks = scene.members().any(|(_, member, ..)| member.family() == family);
        if speaks && number(&format!("/proc/sys/net/{of}/ip_nonlocal_bind")) == Some(1) {
            findings.note(format!(
                "net.{of}.ip_nonlocal_bind is 1: lbctl does not need it, it listens on addresses of the other node by itself (IP_FREEBIND); \
                 where nothing else needs it, take it out of /etc/sysctl.d"
            ));
        }
    }
    for (interface, _) in scene.interfaces() {
        // The larger one of all and the interface counts.
        let of = |name: &str| {
            let read = |of: &str| number(&format!("/proc/sys/net/ipv4/conf/{of}/{name}")).unwrap_or(0);
            read("all").max(read(interface))
        };
        if of("arp_ignore") == 8 {
            findings.fatal(
                CHECK,
                format!(
                    "{interface}: arp_ignore is 8, so this machine answers for no address and clients find none: sysctl -w \
                     net.ipv4.conf.{interface}.arp_ignore=0 (and net.ipv4.conf.all.arp_ignore)"
                ),
            );
        }
        if let Some(mtu) = scene.mtu_by_interface.get(interface).filter(|mtu| **mtu < SMALLEST) {
            findings.harm(
                CHECK,
                format!(
                    "{interface}: its MTU is {mtu}, and the nodes' hello needs {SMALLEST}: ip link set {interface} mtu 1500, on both \
                     nodes and whatever is between them"
                ),
            );
        }
    }
    for (_, member, interface, _) in scene.members() {
        if member.family() == Family::Ipv4 {
            let strict = ["all", interface]
                .map(|of| number(&format!("/proc/sys/net/ipv4/conf/{of}/rp_filter")).unwrap_or(0));
            let outside = outside_networks(member, interface, scene.local);
            // 1 drops what would be answered by another interface; the larger one counts, and 2 is loose.
            if strict.iter().max() == Some(&1) && !outside.is_empty() {
                findings.harm(
                    CHECK,
                    format!(
                        "{interface}: rp_filter is 1, and {} of [vip.{}] is in none of its networks: what comes from clients that are reached by \
                         another interface is dropped: sysctl -w net.ipv4.conf.{interface}.rp_filter=2",
                        outside[0], member.vip
                    ),
                );
            }
        }
    }
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
