//! Where connections to servers come from.

use std::net::IpAddr;

use lb_proxy::config::Source;
use lb_vrrp::PeerKind;

use super::{key, quoted};
use crate::config::model::{Config, SourceByNode};

/// The value of `source` of a backend, or of one of its servers.
pub(super) fn source(config: &Config, backend: usize, server: Option<usize>, common: &Source) -> String {
    let is_here = |one: &&SourceByNode| one.backend == backend && one.server == server;
    let Some(differing) = config.sources.iter().find(is_here) else { return of_all(common) };
    let nodes = || {
        let nodes = config.cluster.nodes.iter().zip(&differing.by_node);
        nodes.filter(|(node, _)| node.kind == PeerKind::Lbctl)
    };
    let by_node = |value: &dyn Fn(&Source) -> Option<String>| {
        let entry =
            |(name, source): (&str, &Source)| Some(format!("{} = {}", key(name), quoted(&value(source)?)));
        let entries: Vec<_> =
            nodes().filter_map(|(node, source)| entry((node.name.as_str(), source))).collect();
        (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
    };
    let address = by_node(&address).map(|table| format!("address = {table}"));
    let interface = by_node(&|source| source.interface.clone()).map(|table| format!("interface = {table}"));
    // With an address they stand behind it.
    let ports = nodes().find_map(|(_, source)| ports(source).filter(|_| source.address.is_none()));
    let ports = ports.map(|ports| format!("ports = {}", quoted(&ports)));
    table([address, ports, interface])
}

fn of_all(source: &Source) -> String {
    match source {
        source if source.is_any() => "false".to_owned(),
        Source { address: Some(_), interface: None, .. } => quoted(&address(source).unwrap_or_default()),
        Source { address: own, interface, .. } => {
            let ports = ports(source).filter(|_| own.is_none());
            table([
                address(source).map(|address| format!("address = {}", quoted(&address))),
                ports.map(|ports| format!("ports = {}", quoted(&ports))),
                interface.as_ref().map(|interface| format!("interface = {}", quoted(interface))),
            ])
        }
    }
}

fn table<const N: usize>(keys: [Option<String>; N]) -> String {
    format!("{{ {} }}", keys.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// With its ports.
fn address(source: &Source) -> Option<String> {
    Some(match (source.address?, ports(source)) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(ports)) => format!("{address}:{ports}"),
        (IpAddr::V6(address), Some(ports)) => format!("[{address}]:{ports}"),
    })
}

fn ports(source: &Source) -> Option<String> {
    let ports = source.ports.as_ref()?;
    Some(if ports.start() == ports.end() {
        ports.start().to_string()
    } else {
        format!("{}-{}", ports.start(), ports.end())
    })
}
