//! The configuration files of both pairs.

use std::fmt;

use lbctl::lab::{BALANCERS, VIP};
use serde::{Deserialize, Serialize};

/// What the pair is made of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Two nodes with `lbctl run`
    Lbctl,
    /// HAProxy, Keepalived and a check script, with the priorities 150 and 100 of tutorials
    Keepalived,
    /// The same with the priorities 254 and 253
    KeepalivedTuned,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lbctl => "lbctl",
            Self::Keepalived => "HAProxy + Keepalived",
            Self::KeepalivedTuned => "HAProxy + Keepalived, 254/253",
        })
    }
}

/// Between two checks of a server, and the longest that one takes, in milliseconds.
pub(crate) const CHECK: u64 = 200;
/// Checks that have to fail.
pub(crate) const FALL: u64 = 2;
/// The hold of the backend, in milliseconds.
pub(crate) const HOLD: u64 = 800;
/// How often a file is looked at, in milliseconds.
pub(crate) const LOOK: u64 = 100;
/// While it is there, a node has a fault.
pub(crate) const FAULT_FILE: &str = "/run/fault";
/// While it is there, a node is degraded.
pub(crate) const DEGRADED_FILE: &str = "/run/degraded";
/// The address that one node has more.
pub(crate) const MORE: &str = "198.51.100.20";

/// The file of both nodes of lbctl.
pub(crate) fn lbctl(interval: u32, threads: u32, more: bool) -> String {
    let more = if more { format!(", \"{MORE}\"") } else { String::new() };
    format!(
        r#"[cluster]
node.lb1 = {{ address = "198.51.100.11" }}
node.lb2 = {{ address = "198.51.100.12" }}

[vip.web]
vrid      = 51
addresses = ["{VIP}"{more}]
advertisement_interval = "{interval}ms"

[global]
maxconn = 2000
threads = {threads}

[listen.web]
bind    = {{ vip = "web", port = 80 }}
mode    = "http"
check   = {{ http = {{ method = "HEAD", path = "/check.txt" }}, interval = "{CHECK}ms", timeout = "{CHECK}ms", rise = 2, fall = {FALL} }}
hold    = "{HOLD}ms"
servers = ["198.51.100.141:80", "198.51.100.142:80"]

[track.fault]
file     = "{FAULT_FILE}"
interval = "{LOOK}ms"
failure  = "fault"

[track.degraded]
file     = "{DEGRADED_FILE}"
interval = "{LOOK}ms"
hold     = "0s"
"#
    )
}

/// HAProxy's file, of both nodes.
pub(crate) fn haproxy() -> String {
    format!(
        "global\n  maxconn 2000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n\
         listen web\n  bind *:80\n  option httpchk HEAD /check.txt\n  \
         default-server check inter {CHECK}ms rise 2 fall {FALL}\n  \
         server web1 198.51.100.141:80\n  server web2 198.51.100.142:80\n"
    )
}

/// Keepalived's file of one node, without preemption. The script is that of tutorials, with a request instead of `kill -0`,
/// which would never find a process that hangs.
pub(crate) fn keepalived(pair: System, node: &str, interval: u32, more: bool) -> String {
    let is_first = node == BALANCERS[0];
    let priority = match (pair, is_first) {
        (System::KeepalivedTuned, true) => 254,
        (System::KeepalivedTuned, false) => 253,
        (System::Keepalived | System::Lbctl, true) => 150,
        (System::Keepalived | System::Lbctl, false) => 100,
    };
    let seconds = f64::from(interval) / 1000.0;
    let more = if more { format!("    {MORE}/32\n") } else { String::new() };
    format!(
        "global_defs {{\n  router_id {node}\n  vrrp_version 3\n  script_user root\n}}\n\
         vrrp_script proxy {{\n  script \"/usr/bin/curl -s -o /dev/null --max-time 1 http://127.0.0.1/\"\n  \
         interval 2\n  timeout 2\n  fall 2\n  rise 1\n}}\n\
         vrrp_instance web {{\n  state BACKUP\n  nopreempt\n  interface eth0\n  virtual_router_id 51\n  \
         priority {priority}\n  advert_int {seconds}\n  virtual_ipaddress {{\n    {VIP}/32\n{more}  }}\n  \
         track_script {{\n    proxy\n  }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_file_has_no_error_and_no_warning() {
        for interval in [10, 100, 1000] {
            lbctl::config::parse(&lbctl(interval, 2, true), "lb.toml").unwrap();
        }
    }
}
