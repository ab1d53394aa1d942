//! `check --here`: is this machine where connections to servers are to come from?

use std::{io, net::UdpSocket};

use lb_proxy::config::{Backend, Source};

use super::{Finding, warning};

/// What the sources of `backends`, which are this node's, need and this machine lacks.
pub(super) fn check(backends: &[Backend]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for backend in backends {
        let of_servers = backend.servers.iter().filter_map(|server| {
            let whose = format!("server {}/{}", backend.name, server.name);
            Some((whose, server.source.as_ref()?, "it"))
        });
        let of_backend = (format!("backend {}", backend.name), &backend.source, "its servers");
        for (whose, source, who) in [of_backend].into_iter().chain(of_servers) {
            findings.extend(
                lacking(source)
                    .map(|what| warning(format!("the source of {whose} {what}; {who} would be down"))),
            );
        }
    }
    findings
}

fn lacking(source: &Source) -> Option<String> {
    if let Some(address) = source.address
        && let Err(error) = UdpSocket::bind((address, 0))
        && error.kind() == io::ErrorKind::AddrNotAvailable
    {
        return Some(format!("is {address}, which is no address of this machine"));
    }
    let interface = source.interface.as_deref()?;
    let is_here = nix::net::if_::if_nametoindex(interface).is_ok();
    (!is_here).then(|| format!("is on interface {interface}, which does not exist here"))
}
