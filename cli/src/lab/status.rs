//! What the lab says of itself; the same struct for the text and for `--json`.

use std::{fmt, net::Ipv4Addr, time::Duration};

use lb_vrrp::Moment;
use serde::{Deserialize, Serialize};

use super::{clock, fault::How, topology::Role};

/// How a lab is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// The process whose end is the lab's end.
    pub pid: u32,
    /// When it was up.
    pub since: Moment,
    /// The virtual address.
    pub vip: Ipv4Addr,
    /// Nodes that have it: one, if all is well.
    pub holders: Vec<String>,
    /// When one of them got it or lost it for the last time.
    pub holders_since: Option<Moment>,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
}

/// How a node is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its own addresses, front first.
    pub addresses: Vec<Ipv4Addr>,
    /// Number of its network namespace, as in /proc/PID/ns/net.
    pub network_namespace: u64,
    /// Process id, inside the lab, of its daemon or web server.
    pub pid: Option<i32>,
    /// Is that process alive?
    pub alive: bool,
    /// What was done to it.
    pub fault: Option<How>,
    /// What its own `lbctl status` says, in one word or two.
    pub says: Option<String>,
}

impl LabStatus {
    /// The node called `name`.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl fmt::Display for LabStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = clock::now();
        let ago = |moment: Moment| rough(now.saturating_since(moment));
        writeln!(f, "lab `{}` · pid {} · up {}", self.name, self.pid, ago(self.since))?;
        let since = self.holders_since.map(|moment| format!(" for {}", ago(moment))).unwrap_or_default();
        match self.holders.as_slice() {
            [] => writeln!(f, "{} is held by nobody{since}", self.vip)?,
            [one] => writeln!(f, "{} is held by {one}{since}", self.vip)?,
            many => writeln!(f, "{} is held by {} AT ONCE{since}", self.vip, many.join(" and "))?,
        }
        writeln!(f, "\n{:<8}{:<33}{:<10}STATE", "NODE", "ADDRESSES", "FAULT")?;
        for node in &self.nodes {
            let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
            let held = if self.holders.contains(&node.name) { "*" } else { "" };
            let state = match (&node.says, node.pid, node.alive) {
                (Some(says), _, true) => says.clone(),
                (None, Some(pid), true) => format!("runs, pid {pid}"),
                (_, Some(_), false) => "dead".to_owned(),
                (_, None, _) => "-".to_owned(),
            };
            let fault = node.fault.map_or_else(|| "-".to_owned(), |how| how.to_string());
            writeln!(
                f,
                "{:<8}{:<33}{:<27}{fault}",
                format!("{}{held}", node.name),
                addresses.join(", "),
                state
            )?;
        }
        Ok(())
    }
}

/// A length of time in the largest unit that fits.
pub(crate) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
    }
}
