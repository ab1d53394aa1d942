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
                "{:<8}{:<33}{fault:<10}{state}",
                format!("{}{held}", node.name),
                addresses.join(", "),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_holders_and_a_dead_node_catch_the_eye() {
        let node = |name: &str, alive, fault, says: Option<&str>| NodeStatus {
            name: name.to_owned(),
            role: Role::Balancer,
            addresses: vec![Ipv4Addr::new(198, 51, 100, 11), Ipv4Addr::new(198, 51, 100, 131)],
            network_namespace: 4_026_532_000,
            pid: Some(12),
            alive,
            fault,
            says: says.map(str::to_owned),
        };
        let status = LabStatus {
            name: "lab".to_owned(),
            pid: 4711,
            since: clock::now(),
            vip: Ipv4Addr::new(198, 51, 100, 10),
            holders: vec!["lb1".to_owned(), "lb2".to_owned()],
            holders_since: None,
            nodes: vec![
                node("lb1", false, Some(How::Kill), None),
                node("lb2", true, None, Some("Active, ready")),
            ],
        };
        let text = status.to_string();
        assert!(text.starts_with("lab `lab` · pid 4711 · up "), "{text}");
        assert!(
            text.ends_with(
                "198.51.100.10 is held by lb1 and lb2 AT ONCE

NODE    ADDRESSES                        FAULT     STATE
lb1*    198.51.100.11, 198.51.100.131    kill      dead
lb2*    198.51.100.11, 198.51.100.131    -         Active, ready
"
            ),
            "{text}"
        );
    }
}
