//! Which of the nodes is this machine?

use std::net::IpAddr;

use lb_vrrp::PeerKind;

use super::model::Config;

/// Why it can't be told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unidentified {
    /// The file has no `[cluster]`; a proxy alone needs no node.
    #[error("the file has no [cluster]")]
    NoCluster,
    /// `--node` names nobody.
    #[error("--node {wanted}: the nodes are {known}")]
    UnknownNode {
        /// What was given.
        wanted: String,
        /// All names of the file.
        known: String,
    },
    /// This machine has addresses of several nodes.
    #[error("this machine has the addresses of {found}; say which one it is with --node")]
    SeveralNodes {
        /// Their names.
        found: String,
    },
    /// This machine has no node's address and no node's name.
    #[error(
        "this machine ({hostname}) has none of the nodes' addresses ({addresses}) and is not called like one of them; \
         say which one it is with --node"
    )]
    Nobody {
        /// The name of this machine.
        hostname: String,
        /// `lb1 192.0.2.11, lb2 192.0.2.12`.
        addresses: String,
    },
    /// The node does not run lbctl, says the file.
    #[error("this machine is {name}, which runs keepalived according to the file (foreign = \"keepalived\")")]
    Foreign {
        /// Its name.
        name: String,
    },
}

/// Index into `config.cluster.nodes` of this machine: the node called `wanted`; else the one whose address is among
/// `addresses`; else the one called like `hostname` (or its first label, in any case).
pub fn identify(
    config: &Config,
    addresses: &[IpAddr],
    hostname: &str,
    wanted: Option<&str>,
) -> Result<usize, Unidentified> {
    let nodes = &config.cluster.nodes;
    if nodes.is_empty() {
        return Err(Unidentified::NoCluster);
    }
    let names = |separator| nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(separator);
    let index = if let Some(wanted) = wanted {
        config
            .node_named(wanted)
            .ok_or_else(|| Unidentified::UnknownNode { wanted: wanted.to_owned(), known: names(", ") })?
    } else {
        let own: Vec<_> = (0..nodes.len())
            .filter(|index| nodes.get(*index).is_some_and(|node| addresses.contains(&node.address)))
            .collect();
        match own.as_slice() {
            [index] => *index,
            [] => by_hostname(config, hostname).ok_or_else(|| Unidentified::Nobody {
                hostname: hostname.to_owned(),
                addresses: nodes
                    .iter()
                    .map(|node| format!("{} {}", node.name, node.address))
                    .collect::<Vec<_>>()
                    .join(", "),
            })?,
            several => {
                let found =
                    several.iter().filter_map(|index| nodes.get(*index)).map(|node| node.name.as_str());
                return Err(Unidentified::SeveralNodes { found: found.collect::<Vec<_>>().join(" and ") });
            }
        }
    };
    match nodes.get(index) {
        Some(node) if node.kind == PeerKind::Keepalived => {
            Err(Unidentified::Foreign { name: node.name.clone() })
        }
        _ => Ok(index),
    }
}

fn by_hostname(config: &Config, hostname: &str) -> Option<usize> {
    let first_label = hostname.split('.').next().unwrap_or(hostname);
    let nodes = &config.cluster.nodes;
    [hostname, first_label]
        .into_iter()
        .filter(|name| !name.is_empty())
        .find_map(|name| nodes.iter().position(|node| node.name.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Config {
        let text = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
                    node.old = { address = \"192.0.2.13\", foreign = \"keepalived\" }\n\
                    [listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n";
        super::super::parse(text, "lb.toml").unwrap()
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn an_own_address_names_the_node_whatever_the_hostname_says() {
        let own = addresses(&["127.0.0.1", "192.0.2.12"]);
        assert_eq!(identify(&pair(), &own, "lb1", None), Ok(1));
    }

    #[test]
    fn the_hostname_names_the_node_that_has_no_address_yet() {
        assert_eq!(identify(&pair(), &addresses(&["127.0.0.1"]), "LB2.example.com", None), Ok(1));
    }

    #[test]
    fn the_wanted_node_goes_before_addresses() {
        assert_eq!(identify(&pair(), &addresses(&["192.0.2.12"]), "lb2", Some("lb1")), Ok(0));
    }

    #[test]
    fn an_unknown_wanted_node_is_told_the_known_ones() {
        let error = identify(&pair(), &[], "x", Some("lb3")).unwrap_err();
        assert_eq!(error.to_string(), "--node lb3: the nodes are lb1, lb2, old");
    }

    #[test]
    fn a_stranger_is_told_what_was_looked_for() {
        let error = identify(&pair(), &addresses(&["198.51.100.1"]), "web7", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this machine (web7) has none of the nodes' addresses (lb1 192.0.2.11, lb2 192.0.2.12, old 192.0.2.13) \
             and is not called like one of them; say which one it is with --node"
        );
    }

    #[test]
    fn a_machine_with_two_nodes_addresses_is_not_guessed() {
        let own = addresses(&["192.0.2.11", "192.0.2.12"]);
        let error = identify(&pair(), &own, "lb1", None).unwrap_err();
        assert_eq!(error, Unidentified::SeveralNodes { found: "lb1 and lb2".into() });
    }

    #[test]
    fn lbctl_does_not_run_as_a_foreign_node() {
        let error = identify(&pair(), &addresses(&["192.0.2.13"]), "old", None).unwrap_err();
        assert_eq!(error, Unidentified::Foreign { name: "old".into() });
    }

    #[test]
    fn a_file_without_a_cluster_has_no_node() {
        let text = "[listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n";
        let config = super::super::parse(text, "lb.toml").unwrap();
        assert_eq!(identify(&config, &[], "lb1", None), Err(Unidentified::NoCluster));
    }
}
