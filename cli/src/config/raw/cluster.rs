//! `[cluster]`: the nodes and their secret.

use std::net::Ipv4Addr;

use lb_vrrp::{PeerKind, Step};

use super::Named;
use crate::config::{
    reader::{At, Fields, Value},
    text,
};

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) secret_file: Option<At<String>>,
    pub(crate) sign_advertisements: Option<At<Step>>,
    /// In the order of the file.
    pub(crate) nodes: Vec<Named<Node>>,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) address: Option<At<Ipv4Addr>>,
    pub(crate) priority: Option<At<u32>>,
    pub(crate) foreign: Option<At<PeerKind>>,
}

/// In the order in which a cluster takes them.
pub(crate) const STEPS: &[(&str, Step)] =
    &[("send", Step::Send), ("accept", Step::Accept), ("require", Step::Require)];

const EXPECTED: &str = "an address, as in \"192.0.2.11\", or { address = \"192.0.2.11\" }";

impl Cluster {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        fields.require("node", "node.lb1 = \"192.0.2.11\" for each node");
        let nodes = fields.named("node", "a table: node.lb1 = \"192.0.2.11\" for each node");
        let nodes =
            nodes.into_iter().map(|(name, value)| Named { value: Node::read(&name, &value), name }).collect();
        let secret_file = fields.string("secret_file", "the path of a file, as in \"/etc/lbctl/secret\"");
        let sign_advertisements = fields.choice("sign_advertisements", STEPS);
        fields.finish(|key| match key {
            "secret" => {
                Some("the secret stands in a file of its own: secret_file = \"/etc/lbctl/secret\"".into())
            }
            "nodes" => Some("write node.lb1 = \"192.0.2.11\" for each node".into()),
            _ => None,
        });
        Self { secret_file, sign_advertisements, nodes }
    }
}

impl Node {
    fn read(name: &At<String>, value: &Value<'_>) -> Self {
        if !value.is_table() {
            let address = value.parsed(EXPECTED, text::host_address);
            return Self { address, ..Self::default() };
        }
        let Some(mut fields) = value.fields(format!("node `{}`", name.value), EXPECTED) else {
            return Self::default();
        };
        fields.span = name.span;
        fields.require("address", "address = \"192.0.2.11\"");
        let node = Self {
            address: fields
                .value("address")
                .and_then(|value| value.parsed("an address, as in \"192.0.2.11\"", text::host_address)),
            priority: fields.integer("priority", 18..=254),
            foreign: fields.choice("foreign", &[("keepalived", PeerKind::Keepalived)]),
        };
        fields.finish(|_| None);
        node
    }
}
