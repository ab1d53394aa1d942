//! The speaker knows the other nodes by their addresses; people know them by their names.

use crate::config::model::Node;

/// `text` with each node's own address replaced by its name: `192.0.2.11 gave it up` becomes `lb1 gave it up`.
pub(super) fn with_names(text: &str, nodes: &[Node]) -> String {
    let named = |word: &str| {
        let node = nodes.iter().find(|node| node.address.to_string() == word)?;
        Some(node.name.clone())
    };
    let words = text.split(' ').map(|word| named(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn addresses_of_nodes_become_names_and_no_others() {
        let file = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.1\"\n[listen.web]\nbind = \"*:80\"\n\
                    servers = [\"192.0.2.21:80\"]\n";
        let nodes = config::parse(file, "lb.toml").expect("a good file").cluster.nodes;
        let named = |text| with_names(text, &nodes);
        assert_eq!(named("192.0.2.11 is silent for 301 ms"), "lb1 is silent for 301 ms");
        assert_eq!(
            named("192.0.2.1 is better (priority 253, ours 1)"),
            "lb2 is better (priority 253, ours 1)"
        );
        assert_eq!(named("192.0.2.111 gave it up"), "192.0.2.111 gave it up");
    }
}
