//! One line in the log for each server that goes up or down, with the reason.

use std::collections::HashMap;

use lb_proxy::{Status, status::ServerState};

/// The states of the last look, by `backend/server`.
#[derive(Debug, Default)]
pub(super) struct ServerLog {
    states: HashMap<String, ServerState>,
}

impl ServerLog {
    /// Compares and writes.
    pub(super) fn look(&mut self, status: &Status) {
        for backend in &status.backends {
            for server in &backend.servers {
                let name = format!("{}/{}", backend.name, server.name);
                let before = self.states.insert(name.clone(), server.state);
                if before == Some(server.state) {
                    continue;
                }
                let reason = server.last_check.as_ref().map_or("", |check| check.what.as_str());
                let address = server.address;
                match server.state {
                    ServerState::Up => tracing::info!(server = name, %address, reason, "server up"),
                    ServerState::Down => tracing::warn!(server = name, %address, reason, "server down"),
                    ServerState::Unchecked | ServerState::NoCheck => {}
                }
            }
        }
    }
}
