//! Which value of a table by node is whose.

use lb_vrrp::PeerKind;

use crate::config::{diagnostic::Report, model::Cluster, raw::ByNode, reader::At, text};

/// By node, in the order of `cluster`: `None` where there is none or none that could be read. Reports nodes that don't
/// exist, and nodes that have no value; `key` is what the table is called, `example` a value.
pub(super) fn resolve<'r, T>(
    raw: &'r ByNode<T>,
    (key, example): (&str, &str),
    cluster: &Cluster,
    report: &Report<'_>,
) -> Vec<Option<&'r At<T>>> {
    let (entries, span) = match raw {
        ByNode::All(one) => return vec![Some(one); cluster.nodes.len()],
        ByNode::Each { entries, span } => (entries, *span),
    };
    let names: Vec<_> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    for (node, _) in entries {
        if !names.contains(&node.value.as_str()) {
            let hint = text::suggestion(&node.value, &names, "node");
            report.error(node.span, format!("no node is called `{}`{hint}", node.value.escape_debug()));
        }
    }
    let of_node = |name: &str| entries.iter().find(|(node, _)| node.value == name);
    for node in cluster.nodes.iter().filter(|node| node.kind == PeerKind::Lbctl) {
        if of_node(&node.name).is_none() {
            let message = format!("{key} has none for node `{0}`; add {0} = \"{example}\"", node.name);
            report.error(span, message);
        }
    }
    names.iter().map(|name| of_node(name).and_then(|(_, value)| value.as_ref())).collect()
}
