//! Servers that are listeners of this file, so that what is sent there comes back.

use std::net::IpAddr;

use lb_proxy::{
    config::{Backend, BackendId, Frontend},
    loops::leads_back,
};

use super::reach::Sections;
use crate::config::{
    diagnostic::Report,
    model::{Cluster, Group},
};

/// Points them out, as far as the file alone tells.
pub(super) fn warn(
    sections: &Sections<'_>,
    (frontends, backends): (&[Frontend], &[Backend]),
    own: &OwnAddresses,
    report: &Report<'_>,
) {
    if report.has_errors() {
        return;
    }
    for (index, section) in &sections.backends {
        for at in section.servers.iter().filter_map(|server| server.address.as_ref()) {
            let Some(address) = at.value.fixed() else { continue };
            let is_own = |address| own.have(address);
            if let Some(frontend) = leads_back((frontends, backends), BackendId(*index), address, is_own) {
                report.warning(at.span, message(&address.to_string(), frontend));
            }
        }
    }
}

/// Addresses of which the file alone says that a listener for all addresses gets what goes there.
pub(crate) struct OwnAddresses(Vec<IpAddr>);

impl OwnAddresses {
    pub(crate) fn of(cluster: &Cluster, groups: &[Group]) -> Self {
        let nodes = cluster.nodes.iter().map(|node| node.address);
        let members = groups.iter().flat_map(|group| &group.by_node).flat_map(|group| &group.members);
        let vips = members.flat_map(|member| &member.addresses).map(|one| one.address);
        Self(nodes.chain(vips).collect())
    }

    pub(crate) fn have(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.contains(&address)
    }
}

/// What is wrong with a server at `address`.
pub(crate) fn message(address: &str, frontend: &Frontend) -> String {
    format!(
        "{address} is where frontend `{}` listens, which leads back here: unless rules break the loop, each request goes round \
         until nothing is left; write the address of the server itself",
        frontend.name
    )
}
