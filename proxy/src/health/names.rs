//! What lookups of names change on the board.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use tracing::field::display;

use super::board::Board;
use crate::{
    config::{BackendId, ServerAddress},
    resolve::{ResolveError, choose},
    status::NameProblem,
};

impl Board {
    /// `host` has these addresses; returns the servers of it that have moved. New connections go to the new address
    /// when this returns.
    pub(crate) fn resolved(
        &self,
        host: &str,
        of_host: &[(BackendId, usize, u16)],
        answer: &[IpAddr],
    ) -> Vec<(BackendId, usize)> {
        let mut moved = Vec::new();
        let mut servers = self.node().servers();
        for &(backend, server, port) in of_host {
            let others = servers[backend.0].iter().enumerate().filter(|&(other, _)| other != server);
            let taken: Vec<_> =
                others.filter_map(|(_, other)| other.address.map(|address| address.ip())).collect();
            let known = &mut servers[backend.0][server];
            let address = choose(known.address.map(|address| address.ip()), &taken, answer)
                .map(|address| SocketAddr::new(address, port));
            let config = self.node().backend(backend);
            let name = &config.servers[server].name;
            if known.name_problem.take().is_some() {
                tracing::info!(backend = %config.name, server = %name, host, "name resolves again");
            }
            if address != known.address {
                let (from, to) = (known.address.map(display), address.map(display));
                tracing::info!(backend = %config.name, server = %name, host, from, to, "server has another address");
                known.address = address;
                moved.push((backend, server));
            }
        }
        for &(backend, _) in &moved {
            self.route(backend, &servers[backend.0]);
        }
        self.publish(&servers);
        drop(servers);
        self.looked_up();
        for &(backend, _) in &moved {
            self.node().serve_queue(backend);
        }
        moved
    }

    /// `host` could not be looked up: its servers keep their addresses.
    pub(crate) fn unresolved(&self, host: &str, of_host: &[(BackendId, usize, u16)], error: &ResolveError) {
        let why = error.to_string();
        let mut servers = self.node().servers();
        for &(backend, server, _) in of_host {
            let known = &mut servers[backend.0][server];
            let since = known.name_problem.as_ref().map_or_else(SystemTime::now, |problem| problem.since);
            if known.name_problem.as_ref().is_none_or(|problem| problem.why != why) {
                let config = self.node().backend(backend);
                let (name, kept) = (&config.servers[server].name, known.address.map(display));
                tracing::warn!(backend = %config.name, server = %name, host, reason = %why, kept, "name does not resolve");
            }
            known.name_problem = Some(NameProblem { why: why.clone(), since });
        }
        drop(servers);
        self.looked_up();
    }

    /// Where a server is now; waits for the first lookup of its name.
    ///
    /// # Errors
    /// Why its name has no address.
    pub(crate) async fn address(&self, backend: BackendId, server: usize) -> Result<SocketAddr, String> {
        let mut lookups = self.lookups();
        loop {
            {
                let servers = self.node().servers();
                let known = &servers[backend.0][server];
                if let Some(address) = known.address {
                    return Ok(address);
                }
                if let (ServerAddress::Named { host, .. }, Some(problem)) =
                    (&self.node().backend(backend).servers[server].address, &known.name_problem)
                {
                    return Err(format!("{host} does not resolve: {}", problem.why));
                }
            }
            if lookups.changed().await.is_err() {
                return Err("the process ends".to_owned());
            }
        }
    }
}
