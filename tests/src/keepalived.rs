//! A real keepalived as the peer.

use lbctl::lab::{Spawned, VIP};

use crate::{program, scene::Scene};

/// Its priority: lower than that of our node in the tests.
pub const PRIORITY: u8 = 100;

/// Starts keepalived on `node` as a router of vrid 51 for the address of the lab, without preemption.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn start<'scene>(scene: &'scene Scene, node: &str, version: u8, interval: &str) -> Spawned<'scene> {
    let file = scene.write(
        "keepalived.conf",
        &format!(
            "global_defs {{\n  router_id lab\n  vrrp_version {version}\n  vrrp_garp_master_delay 1\n}}\n\
             vrrp_instance web {{\n  state BACKUP\n  nopreempt\n  interface eth0\n  virtual_router_id 51\n  \
             priority {PRIORITY}\n  advert_int {interval}\n  virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
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
