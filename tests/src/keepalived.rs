//! A real keepalived as the peer.

use lbctl::lab::{Spawned, VIP, VIP_IPV6};

use crate::{program, scene::Scene};

/// Its priority: lower than that of our node in the tests.
pub const PRIORITY: u8 = 100;

/// Its own IPv6 addresses, beside the one that clients use: it takes advertisements with the same list alone.
pub const LINK_LOCAL: &str = "fe80::10";

/// Starts keepalived on `node` as a router of vrid 51 for the address of the lab, without preemption; with `ipv6` as two that
/// move together, for [`LINK_LOCAL`] and the IPv6 address as well.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn start<'scene>(
    scene: &'scene Scene,
    node: &str,
    version: u8,
    interval: &str,
    ipv6: bool,
) -> Spawned<'scene> {
    let instance = |name: &str, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  nopreempt\n  interface eth0\n  virtual_router_id 51\n  \
             priority {PRIORITY}\n  advert_int {interval}\n  virtual_ipaddress {{\n{addresses}  }}\n}}\n"
        )
    };
    let mut instances = instance("web", &format!("    {VIP}/32\n"));
    if ipv6 {
        instances.push_str(&instance("web6", &format!("    {LINK_LOCAL}/128\n    {VIP_IPV6}/128\n")));
        instances.push_str("vrrp_sync_group both {\n  group {\n    web\n    web6\n  }\n}\n");
    }
    let file = scene.write(
        "keepalived.conf",
        &format!(
            "global_defs {{\n  router_id lab\n  vrrp_version {version}\n  vrrp_garp_master_delay 1\n}}\n{instances}"
        ),
    );
    let keepalived = program::find("keepalived");
    let words = [
        "--dont-fork",
        "--log-console",
        "--log-detail",
        "--vrrp",
        "--pid",
        "/run/keepalived.pid",
        "--vrrp_pid",
        "/run/vrrp.pid",
        "--use-file",
        &file,
    ];
    let command = [keepalived.as_os_str()].into_iter().chain(words.iter().map(AsRef::as_ref));
    scene.spawn(node, "keepalived", command).unwrap_or_else(|error| panic!("{error:#}"))
}
