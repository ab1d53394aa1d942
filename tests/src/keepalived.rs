//! A real keepalived as the peer.

use lbctl::lab::{Spawned, VIP, VIP_IPV6};

use crate::{program, scene::Scene};

/// Its priority: lower than that of our node in the tests.
pub const PRIORITY: u8 = 100;

/// Its own IPv6 addresses, beside the one that clients use: it takes advertisements with the same list alone.
pub const LINK_LOCAL: &str = "fe80::10";

/// How it speaks.
#[derive(Clone, Copy, Debug)]
pub struct Speaks {
    /// 2 or 3.
    pub version: u8,
    /// In milliseconds.
    pub interval: u32,
    /// Over both families, as two routers that move together: for [`LINK_LOCAL`] and the IPv6 address as well.
    pub ipv6: bool,
    /// Between the nodes' own addresses.
    pub unicast: bool,
    /// PASS of VRRPv2.
    pub password: Option<&'static str>,
}

/// Starts keepalived on lb2 as a router of vrid 51 for the address of the lab, without preemption.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn start(scene: &Scene, speaks: Speaks) -> Spawned<'_> {
    let Speaks { version, interval, ipv6, unicast, password } = speaks;
    let authentication = password.map_or_else(String::new, |password| {
        format!("  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}\n")
    });
    let seconds = f64::from(interval) / 1000.0;
    let instance = |name: &str, network: &str, addresses: &str| {
        let peers = if unicast {
            format!("  unicast_src_ip {network}12\n  unicast_peer {{\n    {network}11\n  }}\n")
        } else {
            String::new()
        };
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  nopreempt\n  interface eth0\n  virtual_router_id 51\n  \
             priority {PRIORITY}\n  advert_int {seconds}\n{authentication}{peers}  virtual_ipaddress {{\n{addresses}  }}\n}}\n"
        )
    };
    let mut instances = instance("web", "198.51.100.", &format!("    {VIP}/32\n"));
    if ipv6 {
        let addresses = format!("    {LINK_LOCAL}/128\n    {VIP_IPV6}/128\n");
        instances.push_str(&instance("web6", "2001:db8:f::", &addresses));
        instances.push_str("vrrp_sync_group both {\n  group {\n    web\n    web6\n  }\n}\n");
    }
    let global = format!("  router_id lab\n  vrrp_version {version}\n  vrrp_garp_master_delay 1\n");
    run(scene, "lb2", &format!("global_defs {{\n{global}}}\n{instances}"))
}

/// Starts keepalived on a node with a file of its own.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn run<'scene>(scene: &'scene Scene, node: &str, text: &str) -> Spawned<'scene> {
    let file = scene.write(&format!("keepalived-{node}.conf"), text);
    let [pid, vrrp] = ["keepalived", "vrrp"].map(|name| format!("/run/{name}-{node}.pid"));
    let keepalived = program::find("keepalived");
    let words = [
        "--dont-fork",
        "--log-console",
        "--log-detail",
        "--vrrp",
        "--pid",
        &pid,
        "--vrrp_pid",
        &vrrp,
        "--use-file",
        &file,
    ];
    let command = [keepalived.as_os_str()].into_iter().chain(words.iter().map(AsRef::as_ref));
    scene.spawn(node, "keepalived", command).unwrap_or_else(|error| panic!("{error:#}"))
}
