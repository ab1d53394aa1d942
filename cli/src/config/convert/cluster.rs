//! `[cluster]`: addresses and priorities that no two nodes share, and the secret that they do.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use lb_vrrp::{PeerKind, Priority, Secret};

use super::secret;
use crate::config::{
    diagnostic::Report,
    model::{Cluster, Node, SecretFile, default_priority},
    raw,
};

/// Of the file with the secret, in bytes.
const LARGEST_SECRET: u64 = 1024;

/// More nodes than this have no use, and the bands of the priorities are made for few.
const MOST_NODES: usize = 5;

pub(super) fn convert(raw: Option<&raw::Cluster>, folder: &Path, report: &Report<'_>) -> Cluster {
    let Some(raw) = raw else { return Cluster::default() };
    let mut cluster = Cluster::default();
    for (index, named) in raw.nodes.iter().enumerate() {
        let name = &named.name;
        if index == MOST_NODES {
            report.error(
                name.span,
                format!("node `{}` is one too many; a cluster has at most {MOST_NODES}", name.value),
            );
            break;
        }
        let given = named.value.priority.as_ref().and_then(|given| u8::try_from(given.value).ok());
        let priority = given.and_then(|given| Priority::new(given).ok()).or_else(|| default_priority(index));
        let node = Node {
            name: name.value.clone(),
            address: IpAddr::V4(named.value.address.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |at| at.value)),
            kind: named.value.foreign.as_ref().map_or(PeerKind::Lbctl, |kind| kind.value),
            priority: priority.expect("at most MOST_NODES nodes have a default priority"),
        };
        check_address(&cluster, &node, &named.value, report);
        cluster.nodes.push(node);
    }
    check_priorities(raw, &cluster, report);
    if let Some(last) = raw.nodes.last()
        && cluster.nodes.iter().all(|node| node.kind == PeerKind::Keepalived)
    {
        report.error(last.name.span, "every node is foreign; at least one has to run lbctl");
    }
    if let Some(file) = &raw.secret_file {
        match shared_secret(&folder.join(&file.value), report) {
            Ok(secret) => {
                if secret.is_guessable() {
                    let message = format!(
                        "\"{}\" is a secret that can be guessed: each visitor of a site with TLS can try out as many as he likes on the \
                         ticket of his session; take what `openssl rand -hex 32` prints",
                        file.value.escape_debug()
                    );
                    report.warning(file.span, message);
                }
                cluster.secret = Some(SecretFile { file: file.value.clone(), secret });
            }
            Err(why) => report.error(file.span, format!("\"{}\" {why}", file.value.escape_debug())),
        }
    }
    if let Some(step) = &raw.sign_advertisements {
        let foreign =
            raw.nodes.iter().zip(&cluster.nodes).find(|(_, node)| node.kind == PeerKind::Keepalived);
        if raw.secret_file.is_none() {
            let message = "sign_advertisements needs a secret: secret_file = \"/etc/lbctl/secret\"";
            report.error(step.span, message);
        } else if let Some((named, _)) = foreign {
            let message = format!(
                "node `{}` runs keepalived, which drops every advertisement that is signed; remove the key (the hello is signed all the \
                 same)",
                named.name.value
            );
            report.error(step.span, message);
        }
        cluster.sign_advertisements = Some(step.value);
    }
    cluster
}

/// The end of a sentence about the file.
fn shared_secret(path: &Path, report: &Report<'_>) -> Result<Secret, String> {
    let text = secret::read(path, LARGEST_SECRET, report)?;
    Secret::new(text.trim_end_matches(['\n', '\r'])).map_err(|why| {
        format!("{why}; one line is wanted, as `openssl rand -hex 32` prints it, the same on all nodes")
    })
}

fn check_address(cluster: &Cluster, node: &Node, raw: &raw::Node, report: &Report<'_>) {
    let Some(address) = &raw.address else { return };
    if let Some(other) = cluster.nodes.iter().find(|other| other.address == node.address) {
        let message = format!(
            "{} is the address of node `{}` already; each node has its own",
            address.value, other.name
        );
        report.error(address.span, message);
    }
}

/// A given priority that equals another node's, given or by order.
fn check_priorities(raw: &raw::Cluster, cluster: &Cluster, report: &Report<'_>) {
    for (index, (named, node)) in raw.nodes.iter().zip(&cluster.nodes).enumerate() {
        let Some(given) = &named.value.priority else { continue };
        let mut others = cluster.nodes.iter().zip(&raw.nodes).enumerate();
        let twin = others.find(|(other, (twin, raw))| {
            twin.priority == node.priority
                && *other != index
                && (*other < index || raw.value.priority.is_none())
        });
        if let Some((_, (twin, raw))) = twin {
            let why = if raw.value.priority.is_none() { " by its place in the file" } else { "" };
            let message = format!(
                "priority {} is that of node `{}`{why}; two nodes never have the same",
                given.value, twin.name
            );
            report.error(given.span, message);
        }
    }
}
