//! `source`: where connections to servers come from, on each node.

use std::net::IpAddr;

use lb_proxy::config::{Address, Backend, Source};
use lb_vrrp::PeerKind;

use super::by_node;
use crate::config::{
    diagnostic::Report,
    model::{Cluster, SourceByNode},
    raw::{self, ByNode, Named, SourceSettings},
    reader::At,
    text::SourceText,
};

/// Fills in the sources of `backends`, which are those of the file in its order; returns what differs by node.
pub(super) fn convert(
    file: &raw::File,
    cluster: &Cluster,
    backends: &mut [Backend],
    report: &Report<'_>,
) -> Vec<SourceByNode> {
    let context = Context { vips: &file.vips, cluster, report };
    let default = file.defaults.source.as_ref().map(|at| (at, context.of_nodes(at)));
    let mut differing = Vec::new();
    let sections = file.sections.iter().filter(|section| section.value.kind.is_backend());
    for (index, (section, backend)) in sections.zip(backends).enumerate() {
        let own = section.value.source.as_ref().map(|at| (at, context.of_nodes(at)));
        let of_backend = own.as_ref().or(default.as_ref());
        if let Some((_, sources)) = of_backend {
            backend.source = sources.everywhere();
            differing.extend(sources.differing(index, None));
        }
        for (at, raw) in section.value.servers.iter().enumerate() {
            let Some(server) = backend.servers.get_mut(at) else { continue };
            let own = raw.source.as_ref().map(|at| (at, context.of_nodes(at)));
            if let Some((_, sources)) = &own {
                server.source = Some(sources.everywhere());
                differing.extend(sources.differing(index, Some(at)));
            }
            let Some((place, sources)) = own.as_ref().or(of_backend) else { continue };
            let Some(address) = &raw.address else { continue };
            match address.value.fixed() {
                Some(Address::Unix(_)) if own.is_some() && !matches!(place.value, raw::Source::Off) => {
                    let message =
                        "a connection to a Unix socket comes from no address; `source` has no effect";
                    report.error(place.span, message);
                }
                Some(Address::Ip(there)) => {
                    // Checks and agents are connections as well.
                    let checked = backend
                        .check
                        .as_ref()
                        .and_then(|check| raw.check_address.map(|at| at.value).or(check.at.address));
                    let agent = backend.agent.as_ref().and_then(|agent| agent.address);
                    let there = [Some(there.ip()), checked, agent];
                    context.check_family(place, sources, &raw.name.value, there);
                }
                Some(Address::Unix(_)) | None => {}
            }
        }
    }
    differing
}

fn source(
    settings: &SourceSettings,
    address: Option<&At<SourceText>>,
    of_node: Option<IpAddr>,
    interface: Option<&At<String>>,
) -> Source {
    let ports = address.and_then(|at| at.value.ports.clone());
    Source {
        address: address.and_then(|at| at.value.address.or(of_node)),
        ports: ports.or_else(|| settings.ports.as_ref().map(|ports| ports.value.clone())),
        interface: interface.map(|at| at.value.clone()),
    }
}

struct Context<'c> {
    vips: &'c [Named<raw::Vip>],
    cluster: &'c Cluster,
    report: &'c Report<'c>,
}

/// What one `source` means: by node, or the same on all if there is one.
struct Sources(Vec<Source>);

impl Sources {
    /// That of all nodes; where they differ nobody's.
    fn everywhere(&self) -> Source {
        let first = self.0.first().cloned().unwrap_or_default();
        if self.0.iter().all(|source| *source == first) { first } else { Source::default() }
    }

    fn differing(&self, backend: usize, server: Option<usize>) -> Option<SourceByNode> {
        let first = self.0.first()?;
        let differ = self.0.iter().any(|source| source != first);
        differ.then(|| SourceByNode { backend, server, by_node: self.0.clone() })
    }
}

impl Context<'_> {
    fn of_nodes(&self, at: &At<raw::Source>) -> Sources {
        let raw::Source::On(settings) = &at.value else { return Sources(vec![Source::default()]) };
        self.check_addresses(settings);
        if self.cluster.nodes.is_empty() {
            let address = settings.address.as_ref().and_then(|address| self.only(address));
            let interface = settings.interface.as_ref().and_then(|interface| self.only(interface));
            return Sources(vec![source(settings, address, None, interface)]);
        }
        let addresses = settings.address.as_ref().map_or_else(Vec::new, |address| {
            by_node::resolve(address, ("source", "192.0.2.11"), self.cluster, self.report)
        });
        let interfaces = settings.interface.as_ref().map_or_else(Vec::new, |interface| {
            by_node::resolve(interface, ("interface", "eth1"), self.cluster, self.report)
        });
        let sources = self.cluster.nodes.iter().enumerate().map(|(index, node)| {
            let address = addresses.get(index).copied().flatten();
            let interface = interfaces.get(index).copied().flatten();
            source(settings, address, Some(node.address), interface)
        });
        let mut sources: Vec<_> = sources.collect();
        // A foreign node makes no connections; it must not make a difference.
        let is_ours: Vec<_> = self.cluster.nodes.iter().map(|node| node.kind == PeerKind::Lbctl).collect();
        let ours = sources.iter().zip(&is_ours).find_map(|(source, is_ours)| is_ours.then(|| source.clone()));
        for (source, _) in sources.iter_mut().zip(is_ours).filter(|(_, is_ours)| !is_ours) {
            *source = ours.clone().unwrap_or_default();
        }
        Sources(sources)
    }

    /// The value where there is no cluster.
    fn only<'r, T>(&self, raw: &'r ByNode<T>) -> Option<&'r At<T>> {
        match raw {
            ByNode::All(at) => Some(at),
            ByNode::Each { span, .. } => {
                let message = "a value by node needs the nodes of a [cluster]; without one write the value";
                self.report.error(*span, message);
                None
            }
        }
    }

    fn check_addresses(&self, settings: &SourceSettings) {
        let all: Vec<&At<SourceText>> = match &settings.address {
            None => Vec::new(),
            Some(ByNode::All(at)) => vec![at],
            Some(ByNode::Each { entries, .. }) => entries.iter().filter_map(|(_, at)| at.as_ref()).collect(),
        };
        for at in all {
            if at.value.address.is_none() && self.cluster.nodes.is_empty() {
                let message =
                    "\"node\" is the node's own address in [cluster], and there is none; write the address";
                self.report.error(at.span, message);
            }
            // An address that moves is not on a standby: its checks would fail, and it could never take over.
            let is_of = |vip: &&Named<raw::Vip>| {
                vip.value.addresses.iter().any(|own| Some(own.value.address) == at.value.address)
            };
            if let Some(vip) = self.vips.iter().find(is_of) {
                let message = format!(
                    "it is an address of [vip.{}]: a standby doesn't have it, and its checks would fail; \
                     write source = \"node\"",
                    vip.name.value
                );
                self.report.error(at.span, message);
            }
            if let (Some(_), Some(ports)) = (&at.value.ports, &settings.ports) {
                self.report.error(ports.span, "the address has ports already; remove one of the two");
            }
        }
    }

    fn check_family(
        &self,
        place: &At<raw::Source>,
        sources: &Sources,
        server: &str,
        there: [Option<IpAddr>; 3],
    ) {
        let own = sources.0.iter().find_map(|source| source.address);
        let other = |own: &IpAddr| there.into_iter().flatten().find(|there| there.is_ipv4() != own.is_ipv4());
        if let Some((own, there)) = own.and_then(|own| Some((own, other(&own)?))) {
            let message = format!(
                "{own} can't reach {there} of server `{server}`: one is IPv4, one IPv6; give that server a source of its own, \
                 or `source = false`"
            );
            self.report.error(place.span, message);
        }
    }
}
