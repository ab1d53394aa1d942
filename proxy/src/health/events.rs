//! What the board learns, told to the logs of backends.

use super::{Checker, board::Board, server::ServerHealth};
use crate::{
    config::BackendId,
    log::event::{self, Around, Cause},
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
    /// A check whose outcome is news, where the file wants a line for it. In maintenance HAProxy makes none.
    pub(super) fn log_check(&self, server: &ServerShared, checker: &Checker, report: &CheckReport) {
        let Some(place) = self.place(server).filter(|place| place.backend().log_health_checks) else {
            return;
        };
        if server.health().state() == ServerState::Maintenance {
            return;
        }
        let around = around(&place.node, place.backend, place.index);
        let event = event::checked(&around, report, checker.level());
        place.node.loggers.backend(place.backend, &event);
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
    let cause = match (health.state(), &health.agent.down, &health.last_check) {
        (ServerState::AgentDown, Some(words), _) => Cause::Agent(words),
        (_, _, Some(report)) => Cause::Check(report),
        _ => Cause::Unknown,
    };
    let around = around(node, id, index);
    // As in HAProxy: a line about the check has told why.
    let was_told = node.backend(id).log_health_checks;
    if let Some(event) = event::changed(&around, before.state, health.state(), cause, was_told) {
        node.loggers.backend(id, &event);
    }
    if (before.state, health.state()) == (ServerState::Maintenance, ServerState::Drain) {
        node.loggers.backend(id, &event::still_drained(&around));
    }
    let had_others = around.active + around.backups > 0;
    if !had_others && takes_requests(before.state, before.weight) {
        let kind = if node.config.is_listen(id) { "proxy" } else { "backend" };
        node.loggers.backend(id, &event::empty(kind, &node.backend(id).name));
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
