//! `check --here`: where servers are, as this machine sees it.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_proxy::{
    config::{BackendId, Server, ServerAddress},
    loops::{is_here, leads_back},
    resolve,
};

use super::{Finding, warning};
use crate::config::{Config, loops};

/// Looks the names of servers up, as `run` does. A name is reported where the first of its servers has it; a server that is
/// a listener of ours at its own place, unless the file alone has told of it.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut by_host: BTreeMap<_, Vec<(BackendId, u16, &Server)>> = BTreeMap::new();
    let (proxy, own) = (&config.proxy, loops::OwnAddresses::of(&config.cluster, &config.groups));
    let sections = (&*proxy.frontends, &*proxy.backends);
    for (index, backend) in proxy.backends.iter().enumerate() {
        let backend_id = BackendId(index);
        for server in &backend.servers {
            match &server.address {
                ServerAddress::Named { host, port } => {
                    by_host.entry(host).or_default().push((backend_id, *port, server));
                }
                ServerAddress::Fixed(address) => {
                    let is_told = leads_back(sections, backend_id, address, |ip| own.have(ip)).is_some();
                    let found = leads_back(sections, backend_id, address, is_here).filter(|_| !is_told);
                    findings.extend(
                        found.map(|frontend| at(server, loops::message(&address.to_string(), frontend))),
                    );
                }
            }
        }
    }
    if by_host.is_empty() {
        return findings;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            findings.push(warning(format!("names can't be looked up here: {error}")));
            return findings;
        }
    };
    for (host, servers) in by_host {
        match runtime.block_on(resolve::lookup(&proxy.resolver, host)) {
            Ok(answer) => {
                for (backend, port, server) in servers {
                    let found = answer.addresses.iter().find_map(|ip| {
                        let address = SocketAddr::new(*ip, port);
                        Some((address, leads_back(sections, backend, &address.into(), is_here)?))
                    });
                    findings.extend(found.map(|(address, frontend)| {
                        at(server, loops::message(&format!("{host}, {address},"), frontend))
                    }));
                }
            }
            Err(error) => {
                if let Some((_, _, first)) = servers.first() {
                    let message = format!(
                        "{host} does not resolve here: {error}; its servers would be down until it does. Correct the name, \
                         or have /etc/hosts or a nameserver (`nameservers` of [global]) know it"
                    );
                    findings.push(at(first, message));
                }
            }
        }
    }
    findings
}

fn at(server: &Server, message: String) -> Finding {
    Finding { place: Some(server.place.to_string()), ..warning(message) }
}
