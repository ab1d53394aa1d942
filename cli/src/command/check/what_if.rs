//! `check --what-if`: who would hold the addresses after each fault and each degradation. The machines that run in the speaker say so, on a
//! network in memory.

use std::{
    collections::VecDeque,
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use lb_vrrp::{
    Family, Group, MemberConfig, MemberId, Moment, Output, PeerKind, Readiness, State,
    advertisement::Advertisement, group::Start,
};

use crate::config::{Config, model};

/// From one node to the other.
const DELAY: Duration = Duration::from_micros(200);

/// What happens to a node.
#[derive(Clone, Debug)]
enum Trouble {
    Gone,
    Is(Readiness),
}

/// A table for each group.
pub(super) fn tell(config: &Config) -> String {
    if config.groups.is_empty() {
        return "nothing can move: the file has no [vip.*]\n".to_owned();
    }
    if let Some(node) = config.cluster.nodes.iter().find(|node| node.kind != PeerKind::Lbctl) {
        return format!("what node {} does, which runs keepalived, is not known here\n", node.name);
    }
    config.groups.iter().map(|group| of_group(config, group)).collect()
}

fn of_group(config: &Config, group: &model::Group) -> String {
    let names: Vec<&str> = config.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut vips: Vec<&str> =
        group.by_node.iter().flat_map(|node| &node.members).map(|one| one.vip.as_str()).collect();
    vips.sort_unstable();
    vips.dedup();
    let holder = |troubles: &[(usize, &Trouble)]| match holders(config, group, troubles).as_slice() {
        [] => "nobody".to_owned(),
        some => some.iter().filter_map(|index| names.get(*index)).copied().collect::<Vec<_>>().join(" and "),
    };
    let mut rows = vec![vec!["WHAT FAILS".to_owned()]];
    if let Some(headings) = rows.first_mut() {
        headings.extend(names.iter().map(|name| format!("ON {name}")));
        if names.len() > 1 {
            headings.push("ON ALL".to_owned());
        }
    }
    for (what, trouble) in troubles(config, group) {
        let mut row = vec![what];
        row.extend((0..names.len()).map(|index| holder(&[(index, &trouble)])));
        if names.len() > 1 {
            let all: Vec<_> = (0..names.len()).map(|index| (index, &trouble)).collect();
            row.push(holder(&all));
        }
        rows.push(row);
    }
    format!(
        "group {} ({}): {} holds it while all is well\n{}",
        group.name,
        vips.join(", "),
        holder(&[]),
        table(&rows)
    )
}

/// Faults first.
fn troubles(config: &Config, group: &model::Group) -> Vec<(String, Trouble)> {
    let fault = |reason: &str| Trouble::Is(Readiness::Fault { reason: reason.to_owned() });
    let mut troubles = vec![
        ("the machine, or lbctl".to_owned(), Trouble::Gone),
        ("the vip's interface".to_owned(), fault("its interface is down")),
        ("all listeners, or all workers".to_owned(), fault("no listener is bound")),
        (
            "one listener or worker of several".to_owned(),
            Trouble::Is(Readiness::Leaving { reason: "a worker stalled".to_owned() }),
        ),
    ];
    let degraded = |name: &str| Trouble::Is(Readiness::Degraded { reasons: vec![name.to_owned()] });
    let tracks = config.tracks.iter().filter(|track| track.groups.contains(&group.name));
    for track in tracks.clone().filter(|track| track.is_fault) {
        troubles.push((format!("tracker {} (fault)", track.name), fault(&track.name)));
    }
    for backend in &group.backends {
        troubles.push((format!("all servers of backend {}", backend.name), degraded(&backend.name)));
    }
    for track in tracks.filter(|track| !track.is_fault) {
        troubles.push((format!("tracker {}", track.name), degraded(&track.name)));
    }
    troubles
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Indices of the nodes that hold the addresses once everything is quiet again.
fn holders(config: &Config, group: &model::Group, troubles: &[(usize, &Trouble)]) -> Vec<usize> {
    let mut network = Network::new(config, group);
    network.run();
    for (index, trouble) in troubles {
        network.befalls(*index, trouble);
    }
    network.run();
    network.holders()
}

struct Network {
    now: Moment,
    nodes: Vec<Node>,
    /// Until when to run before everything is quiet.
    patience: Duration,
    wire: VecDeque<(Moment, usize, Sent)>,
}

struct Node {
    /// `None`: it is gone.
    group: Option<Group>,
    /// By member.
    sources: Vec<IpAddr>,
}

#[derive(Clone)]
struct Sent {
    member: MemberId,
    source: IpAddr,
    advertisement: Advertisement,
}

impl Network {
    fn new(config: &Config, group: &model::Group) -> Self {
        let now = Moment::from_nanos(1_000_000_000_000);
        let nodes = config.cluster.nodes.iter().zip(&group.by_node).zip(1..);
        let nodes = nodes.map(|((node, own), number)| {
            let sources: Vec<_> =
                own.members.iter().map(|member| source(member, node.address, number)).collect();
            let mut machine = Group::new(own.clone(), now);
            for (index, source) in sources.iter().enumerate() {
                machine.handle_source(now, MemberId(index), Some(*source));
                machine.handle_link(now, MemberId(index), Ok(()));
            }
            machine.handle_readiness(now, Readiness::Ready);
            machine.handle_startup(now, Start::Fresh);
            Node { group: Some(machine), sources }
        });
        let intervals = group.by_node.iter().flat_map(|node| &node.members).map(|one| one.interval.get());
        // A few Down_Intervals, and what addresses and exchanges may take.
        let patience = 16 * intervals.max().unwrap_or_default() + Duration::from_secs(5);
        Self { now, nodes: nodes.collect(), patience, wire: VecDeque::new() }
    }

    fn run(&mut self) {
        let end = self.now + self.patience;
        loop {
            (0..self.nodes.len()).for_each(|index| self.drain(index));
            let timers = self.nodes.iter().filter_map(|node| node.group.as_ref()?.poll_timeout());
            let next = timers.map(|(at, _)| at).chain(self.wire.front().map(|(at, _, _)| *at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = next.max(self.now);
            while self.wire.front().is_some_and(|(at, _, _)| *at <= self.now) {
                let Some((_, to, sent)) = self.wire.pop_front() else { break };
                let group = self.nodes.get_mut(to).and_then(|node| node.group.as_mut());
                if let Some(group) = group {
                    group.handle_advertisement(self.now, sent.member, sent.source, &sent.advertisement);
                }
                self.drain(to);
            }
            for node in &mut self.nodes {
                if let Some(group) = &mut node.group {
                    group.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    fn drain(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let mut sent = Vec::new();
        let Some(group) = &mut node.group else { return };
        while let Some(output) = group.poll_output() {
            match output {
                Output::Transmit { member, advertisement } => {
                    let source = node.sources.get(member.0).copied();
                    sent.extend(source.map(|source| Sent { member, source, advertisement }));
                }
                Output::AddAddress { member, address } => {
                    group.handle_address_added(self.now, member, address)
                }
                Output::RemoveAddress { member, address } => {
                    group.handle_address_removed(self.now, member, address);
                }
                Output::ResetExchanges => group.handle_exchanges_reset(self.now),
                Output::Announce { .. }
                | Output::Transition(_)
                | Output::Remark { .. }
                | Output::Warning { .. } => {}
            }
        }
        for to in (0..self.nodes.len()).filter(|to| *to != index) {
            self.wire.extend(sent.iter().map(|sent| (self.now + DELAY, to, sent.clone())));
        }
    }

    fn befalls(&mut self, index: usize, trouble: &Trouble) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        match (trouble, &mut node.group) {
            (Trouble::Gone, group) => *group = None,
            (Trouble::Is(readiness), Some(group)) => group.handle_readiness(self.now, readiness.clone()),
            (Trouble::Is(_), None) => {}
        }
    }

    fn holders(&self) -> Vec<usize> {
        let holds = |node: &Node| node.group.as_ref().is_some_and(|group| group.state() == State::Active);
        self.nodes.iter().enumerate().filter(|(_, node)| holds(node)).map(|(index, _)| index).collect()
    }
}

fn source(member: &MemberConfig, address: IpAddr, number: u16) -> IpAddr {
    match (member.transport.unicast(), member.family()) {
        (Some(unicast), _) => unicast.source,
        (None, Family::Ipv4) => address,
        (None, Family::Ipv6) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(vip: &str, more: &str) -> String {
        let file = format!(
            "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
             [vip.web]\nvrid = 51\n{vip}\n{more}\n\
             [listen.web]\nbind = {{ vip = \"web\", port = 80 }}\nservers = [\"192.0.2.21:80\"]\n"
        );
        tell(&crate::config::parse(&file, "lb.toml").unwrap())
    }

    #[test]
    fn each_fault_and_degradation_says_who_would_hold_the_address() {
        let vip = "addresses = [\"192.0.2.10\", \"2001:db8::10\"]";
        let tracks = "[track.uplink]\ninterface = \"eth2\"\nfailure = \"fault\"\n[track.gateway]\naddress = \"192.0.2.1\"";
        assert_eq!(
            told(vip, tracks),
            "\
group default (web): lb1 holds it while all is well
WHAT FAILS                         ON lb1  ON lb2  ON ALL
the machine, or lbctl              lb2     lb1     nobody
the vip's interface                lb2     lb1     nobody
all listeners, or all workers      lb2     lb1     nobody
one listener or worker of several  lb2     lb1     lb1
tracker uplink (fault)             lb2     lb1     nobody
all servers of backend web         lb2     lb1     lb1
tracker gateway                    lb2     lb1     lb1
"
        );
    }

    #[test]
    fn with_preempt_never_a_degraded_node_keeps_the_address() {
        let told =
            told("addresses = [\"192.0.2.10\"]\nadvertisement_interval = \"10ms\"\npreempt = \"never\"", "");
        assert!(told.contains("\nall servers of backend web         lb1     lb1     lb1\n"), "{told}");
        assert!(told.contains("\none listener or worker of several  lb2     lb1     lb1\n"), "{told}");
    }

    #[test]
    fn where_nobody_can_tell_it_is_said() {
        let file = "[listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n";
        let told = tell(&crate::config::parse(file, "lb.toml").unwrap());
        assert_eq!(told, "nothing can move: the file has no [vip.*]\n");
    }
}
