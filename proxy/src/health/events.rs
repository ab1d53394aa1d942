//! What the board learns, told to the logs of backends.

use super::{Checker, board::Board, server::ServerHealth};
use crate::{
    config::{BackendId, Severity},
    log::event::{self, Around},
    node::{Node, ServerShared},
    status::{CheckReport, ServerState},
};

/// A server before a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) state: ServerState,
    pub(super) weight: u16,
}

impl Board {
    /// A check whose outcome is news, where the file wants a line for it.
    pub(super) fn log_check(&self, server: &ServerShared, checker: &Checker, report: &CheckReport) {
        let Some(place) = self.place(server).filter(|place| place.backend().log_health_checks) else {
            return;
        };
        let around = around(&place.node, place.backend, place.index);
        let line = event::check(&around, report, checker.level());
        place.node.loggers.backend(place.backend, Severity::Notice, &line);
    }
}

/// A server has another state than `before`; `health` is what is known of it now. No server's health is locked.
pub(super) fn log_transition(
    node: &Node,
    id: BackendId,
    index: usize,
    before: Before,
    health: &ServerHealth,
) {
    let reason = match (health.state(), &health.agent.down, &health.last_check) {
        // As in HAProxy: a line about the check has told it.
        _ if node.backend(id).log_health_checks => String::new(),
        (ServerState::AgentDown, Some(words), _) => event::agent(words),
        (_, _, Some(report)) => event::reason(report),
        _ => String::new(),
    };
    let around = around(node, id, index);
    if let Some((level, line)) = event::transition(&around, before.state, health.state(), &reason) {
        node.loggers.backend(id, level, &line);
    }
    let had_others = around.active + around.backups > 0;
    if !had_others && takes_requests(before.state, before.weight) {
        let kind = if node.config.is_listen(id) { "proxy" } else { "backend" };
        let (level, line) = event::empty(kind, &node.backend(id).name);
        node.loggers.backend(id, level, &line);
    }
}

fn around(node: &Node, id: BackendId, index: usize) -> Around<'_> {
    let (backend, state) = (node.backend(id), &node.backends[id.0]);
    let (server, shared) = (&backend.servers[index], &state.servers[index]);
    let healths = node.health(id);
    let count = |backup: bool| {
        let servers = backend.servers.iter().zip(&healths).filter(|(config, _)| config.backup == backup);
        servers.filter(|(config, health)| takes_requests(health.state(), health.weight(config))).count()
    };
    Around {
        backend: &backend.name,
        server: &server.name,
        is_backup: server.backup,
        active: count(false),
        backups: count(true),
        sessions: shared.in_flight(),
        queued: state.shared.line().waiting_for(Some(shared.number)).0,
    }
}

/// One that was not checked yet is taken for up, as in HAProxy.
fn takes_requests(state: ServerState, weight: u16) -> bool {
    let is_up = matches!(state, ServerState::Up | ServerState::NoCheck | ServerState::Unchecked);
    is_up && weight > 0
}
