//! What another configuration means for the part of this node in elections, and why a running one can't take it over.
//!
//! Pure. Reload never touches an election whose settings did not change, and refuses what would make two owners while the
//! files of two nodes differ.

use std::{fmt, net::IpAddr};

use lb_vrrp::{GroupConfig, group::check_reconfigure};

use super::super::node::Identity;
use crate::{
    config::{Config, model},
    service,
    signing::{Other, conflicts},
};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) identity: Identity,
    /// Of this node, in the order of its groups.
    pub(super) groups: Vec<GroupConfig>,
}

/// What runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running<'a> {
    pub(super) config: &'a Config,
    pub(super) identity: &'a Identity,
    /// Of this node.
    pub(super) groups: &'a [&'a GroupConfig],
    /// What the other nodes say of themselves.
    pub(super) others: &'a [Other],
}

/// What a running process can't take over.
#[derive(Debug)]
pub(super) struct Obstacles {
    /// The next process of an upgrade has as many as the file wants.
    threads: Option<String>,
    /// What the speaker runs would be another as well.
    also_addresses: bool,
    /// Each takes a restart.
    others: Vec<String>,
}

/// Everything, and what to do.
impl fmt::Display for Obstacles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<_> = self.threads.iter().chain(&self.others).map(String::as_str).collect();
        let way = if !self.others.is_empty() {
            format!("a restart: {}", service::restart())
        } else if self.also_addresses {
            // An upgrade refuses what a reload can do to the election.
            "two steps: lbctl reload with `threads` as it was, for what is new in [cluster] and [vip.*]; then the new `threads` by lbctl \
             upgrade, which loses no connection"
                .to_owned()
        } else {
            "another process, which loses no connection: lbctl upgrade".to_owned()
        };
        write!(f, "{}. That needs {way}", reasons.join("; "))
    }
}

impl Plan {
    /// # Errors
    /// Everything that stands against it.
    pub(super) fn new(running: Running<'_>, mut config: Config) -> Result<Self, Obstacles> {
        let threads = threads(running.config, &mut config);
        let mut reasons: Vec<_> = account(running.config, &config).into_iter().collect();
        let identity = match identity(running.identity, &config) {
            Ok(identity) => identity,
            Err(reason) => {
                reasons.push(reason);
                return Err(Obstacles { threads, also_addresses: false, others: reasons });
            }
        };
        let mut groups = Vec::new();
        if let Identity::Node { index, .. } = identity {
            for old in running.groups {
                match config.groups.iter().find(|new| new.name == old.name) {
                    Some(new) => match new.by_node.get(index) {
                        Some(new) => {
                            let mut new = new.clone();
                            new.order_as(old);
                            let why = check_reconfigure(old, &new).err().map(|error| error.to_string());
                            // What is the whole cluster's is the same for each group.
                            reasons.extend(why.filter(|why| !reasons.contains(why)));
                            groups.push(new);
                        }
                        None => reasons.push(format!("group {} has no part for this node", old.name)),
                    },
                    None => reasons.push(members(old.members.iter().map(|member| &*member.vip), "go")),
                }
            }
            let is_new = |group: &&model::Group| running.groups.iter().all(|old| old.name != group.name);
            for group in config.groups.iter().filter(is_new) {
                let vips = group.by_node.first().into_iter().flat_map(|node| &node.members);
                reasons.push(members(vips.map(|member| &*member.vip), "come"));
            }
        }
        let step = config.cluster.sign_advertisements;
        if step != running.config.cluster.sign_advertisements && !running.groups.is_empty() {
            reasons.extend(conflicts(step, running.others));
        }
        if threads.is_none() && reasons.is_empty() {
            Ok(Self { config, identity, groups })
        } else {
            let also_addresses = !groups.iter().eq(running.groups.iter().copied());
            Err(Obstacles { threads, also_addresses, others: reasons })
        }
    }

    /// Addresses that this node's groups have no more.
    pub(super) fn gone(&self, running: Running<'_>) -> Vec<IpAddr> {
        let addresses = |groups: &[&GroupConfig]| -> Vec<IpAddr> {
            let members = groups.iter().flat_map(|group| &group.members);
            members.flat_map(|member| member.addresses.iter().map(|one| one.address)).collect()
        };
        let kept = addresses(&self.groups.iter().collect::<Vec<_>>());
        addresses(running.groups).into_iter().filter(|address| !kept.contains(address)).collect()
    }

    /// The groups as they are to be while `gone` are still needed: exchanges on them end first.
    pub(super) fn groups_with(&self, gone: &[IpAddr], running: Running<'_>) -> Vec<GroupConfig> {
        let mut groups = self.groups.clone();
        for (group, old) in groups.iter_mut().zip(running.groups) {
            for (member, old) in group.members.iter_mut().zip(&old.members) {
                member.addresses.extend(old.addresses.iter().filter(|one| gone.contains(&one.address)));
            }
        }
        groups
    }
}

/// A file that does not say how many runs with as many as there are.
fn threads(old: &Config, new: &mut Config) -> Option<String> {
    let running = old.proxy.threads;
    if old.global.threads.is_none() && new.global.threads.is_none() {
        new.proxy.threads = running;
    }
    let wanted = new.proxy.threads;
    (wanted != running).then(|| format!("[global] threads: {running} run, and the file wants {wanted}"))
}

/// Who runs can't become somebody else.
fn account(old: &Config, new: &Config) -> Option<String> {
    let of = |config: &Config| {
        let global = &config.global;
        [&global.user, &global.group, &global.command_user].map(Clone::clone)
    };
    (of(old) != of(new))
        .then(|| "[global] user, group and command_user can't change while lbctl runs".to_owned())
}

fn identity(running: &Identity, config: &Config) -> Result<Identity, String> {
    let nodes = &config.cluster.nodes;
    match running {
        // It is looked for again with every look around.
        Identity::Waiting { .. } => Ok(running.clone()),
        Identity::Alone { .. } if nodes.is_empty() => Ok(running.clone()),
        Identity::Alone { .. } => Err("[cluster] can't come while lbctl runs".to_owned()),
        Identity::Node { .. } if nodes.is_empty() => Err("[cluster] can't go while lbctl runs".to_owned()),
        Identity::Node { name, address, .. } => {
            let found = nodes.iter().enumerate().find(|(_, node)| node.name == *name);
            let Some((index, node)) = found else {
                return Err(format!("[cluster] this node is {name}, which the file does not have any more"));
            };
            if node.address != *address {
                return Err(format!(
                    "[cluster] node.{name}: this node's own address can't change from {address} to {} while lbctl runs",
                    node.address
                ));
            }
            Ok(Identity::Node { index, name: name.clone(), address: *address })
        }
    }
}

fn members<'a>(vips: impl Iterator<Item = &'a str>, what: &str) -> String {
    let vips: Vec<_> = vips.map(|vip| format!("[vip.{vip}]")).collect();
    format!("{} can't {what} while lbctl runs", vips.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const PAIR: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
                        [vip.web]\nvrid = 51\naddresses = [\"192.0.2.100\", \"192.0.2.101\"]\n\
                        [listen.web]\nbind = { vip = \"web\", port = 80 }\nservers = [\"192.0.2.21:80\"]\n";

    const ALONE: &str = "[listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n";

    fn parse(text: &str) -> Config {
        config::parse(text, "lb.toml").expect("a good file")
    }

    fn node(config: &Config) -> Identity {
        match config.cluster.nodes.first() {
            Some(first) => Identity::Node { index: 0, name: first.name.clone(), address: first.address },
            None => Identity::Alone { name: "lb1".to_owned() },
        }
    }

    /// The first node runs `old`.
    fn plan(old: &str, new: &str) -> Result<(Plan, Vec<IpAddr>), Obstacles> {
        let (config, identity) = (parse(old), node(&parse(old)));
        let groups: Vec<_> = config.groups.iter().filter_map(|group| group.by_node.first()).collect();
        let running = Running { config: &config, identity: &identity, groups: &groups, others: &[] };
        let plan = Plan::new(running, parse(new))?;
        let gone = plan.gone(running);
        Ok((plan, gone))
    }

    fn refused(old: &str, new: &str) -> Vec<String> {
        let obstacles = plan(old, new).err();
        obstacles.map_or_else(Vec::new, |one| one.threads.into_iter().chain(one.others).collect())
    }

    #[test]
    fn what_needs_a_restart_is_refused_with_its_key_and_everything_at_once() {
        let changed = |from: &str, to: &str| PAIR.replace(from, to);
        let owners = "the two nodes would own the address at the same time while their files differ";
        let table: [(&str, String, Vec<String>); 11] = [
            (PAIR, changed("vrid = 51", "vrid = 52"), vec![format!("vrid of vip web can't change while it runs: {owners}")]),
            (
                PAIR,
                changed("vrid = 51", "vrid = 51\ninterface = \"eth1\""),
                vec![format!("interface of vip web can't change while it runs: {owners}")],
            ),
            (
                PAIR,
                changed("vrid = 51", "vrid = 51\nversion = 2"),
                vec![format!("version of vip web can't change while it runs: {owners}")],
            ),
            (
                PAIR,
                changed("node.lb1 = \"192.0.2.11\"", "node.lb1 = \"192.0.2.13\""),
                vec![
                    "[cluster] node.lb1: this node's own address can't change from 192.0.2.11 to 192.0.2.13 while lbctl runs"
                        .to_owned(),
                ],
            ),
            (
                PAIR,
                changed("node.lb1", "node.other"),
                vec!["[cluster] this node is lb1, which the file does not have any more".to_owned()],
            ),
            (PAIR, ALONE.to_owned(), vec!["[cluster] can't go while lbctl runs".to_owned()]),
            (ALONE, PAIR.to_owned(), vec!["[cluster] can't come while lbctl runs".to_owned()]),
            (
                PAIR,
                PAIR.replace("vip.web", "vip.other").replace("\"web\", port", "\"other\", port"),
                vec!["vip other can't come while the group runs".to_owned()],
            ),
            (
                PAIR,
                changed("vrid = 51", "group = \"own\"\nvrid = 51"),
                vec!["[vip.web] can't go while lbctl runs".to_owned(), "[vip.web] can't come while lbctl runs".to_owned()],
            ),
            (
                PAIR,
                changed("vrid = 51", "vrid = 51\nadvertisement_interval = \"2s\""),
                vec![
                    "advertisement_interval of vip web can't change by more than a factor of 10 at once: do it in steps, on both \
                     nodes each time"
                        .to_owned(),
                ],
            ),
            (
                "[global]\nthreads = 2\n[listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n",
                "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n[global]\nthreads = 3\n\
                 [listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n"
                    .to_owned(),
                vec![
                    "[global] threads: 2 run, and the file wants 3".to_owned(),
                    "[cluster] can't come while lbctl runs".to_owned(),
                ],
            ),
        ];
        let table = table.into_iter().chain(["user = \"lbctl\"", "group = 990"].map(|key| {
            let why = "[global] user, group and command_user can't change while lbctl runs".to_owned();
            (ALONE, format!("[global]\n{key}\n{ALONE}"), vec![why])
        }));
        for (old, new, expected) in table {
            assert_eq!(refused(old, &new), expected, "{new}");
        }
    }

    #[test]
    fn vips_of_a_group_may_change_places_and_addresses() {
        let vip = |name: &str, vrid: u8, last: u8| {
            format!("[vip.{name}]\nvrid = {vrid}\naddresses = [\"192.0.2.{last}\"]\n")
        };
        let file =
            |vips: [String; 2]| PAIR.replace("[listen.web]", &format!("{}[listen.web]", vips.concat()));
        let running = file([vip("mail", 52, 102), vip("dns", 53, 103)]);
        let own = |text: &str| parse(text).groups[0].by_node[0].clone();
        let (swapped, gone) =
            plan(&running, &file([vip("dns", 53, 103), vip("mail", 52, 102)])).expect("nothing new");
        assert_eq!((swapped.groups, gone), (vec![own(&running)], vec![]));
        let exchanged = file([vip("dns", 53, 102), vip("mail", 52, 103)]);
        let (exchanged, gone) = plan(&running, &exchanged).expect("addresses may change");
        let expected = own(&file([vip("mail", 52, 103), vip("dns", 53, 102)]));
        assert_eq!((exchanged.groups, gone), (vec![expected], vec![]), "no exchange ends: both stay");
    }

    #[test]
    fn an_upgrade_is_the_way_to_other_threads_and_a_restart_to_anything_else() {
        let threads = |text: &str, threads: u8| format!("[global]\nthreads = {threads}\n{text}");
        let advice = |old: &str, new: &str| plan(old, new).expect_err("refused").to_string();
        assert_eq!(
            advice(&threads(ALONE, 2), &threads(ALONE, 3)),
            "[global] threads: 2 run, and the file wants 3. That needs another process, which loses no connection: \
             lbctl upgrade"
        );
        assert_eq!(
            advice(&threads(PAIR, 2), &threads(&PAIR.replace("192.0.2.100", "192.0.2.109"), 3)),
            "[global] threads: 2 run, and the file wants 3. That needs two steps: lbctl reload with `threads` as it was, for what is \
             new in [cluster] and [vip.*]; then the new `threads` by lbctl upgrade, which loses no connection"
        );
        assert_eq!(
            advice(&threads(ALONE, 2), &threads(PAIR, 3)),
            format!(
                "[global] threads: 2 run, and the file wants 3; [cluster] can't come while lbctl runs. That needs a restart: {}",
                service::restart()
            )
        );
    }

    #[test]
    fn addresses_priorities_preemption_and_other_nodes_may_change() {
        let new = "[cluster]\nnode.lb2 = \"192.0.2.12\"\nnode.lb3 = \"192.0.2.13\"\nnode.lb1 = \"192.0.2.11\"\n\
                   [vip.web]\nvrid = 51\naddresses = [\"192.0.2.101\", \"192.0.2.102\"]\nadvertisement_interval = \"1s\"\n\
                   preempt = \"never\"\ngarp_refresh = \"10s\"\n\
                   [frontend.web]\nbind = { vip = \"web\", port = 80 }\n";
        let (plan, gone) = plan(PAIR, new).expect("no reason against it");
        assert_eq!(gone, ["192.0.2.100".parse::<IpAddr>().expect("an address")]);
        let Identity::Node { index, name, .. } = &plan.identity else { panic!("{:?}", plan.identity) };
        assert_eq!((*index, &**name), (2, "lb1"));
        assert_eq!(plan.groups[0].priority.get(), 252);
        let running = Running {
            config: &parse(PAIR),
            identity: &plan.identity,
            groups: &[&parse(PAIR).groups[0].by_node[0]],
            others: &[],
        };
        let both = plan.groups_with(&gone, running);
        let addresses: Vec<_> =
            both[0].members[0].addresses.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(addresses, ["192.0.2.101", "192.0.2.102", "192.0.2.100"]);
    }

    #[test]
    fn file_that_says_nothing_of_threads_keeps_as_many_as_run() {
        let mut config = parse(ALONE);
        config.proxy.threads = 77.try_into().expect("not 0");
        let identity = node(&config);
        let running = Running { config: &config, identity: &identity, groups: &[], others: &[] };
        assert_eq!(
            Plan::new(running, parse(ALONE)).expect("no reason against it").config.proxy.threads.get(),
            77
        );
    }
}
