//! What somebody has ordered here that would keep clients out, were this node to hold the addresses. Readiness knows nothing of
//! orders, since a pair would swing with them; but whoever gives the addresses away wants to know.

use lb_proxy::{
    health::orders::Duty,
    status::{FrontendStatus, ServerStatus, Status},
};

use super::Daemon;
use crate::config::model::Group;

impl Daemon {
    /// To be called now and then.
    pub(super) fn note_refusals(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        let status = self.proxy.status();
        for group in &mut self.groups {
            let known = self.config.groups.iter().find(|known| known.name == group.config.name);
            group.refuses = known.and_then(|known| refusal(known, &status));
        }
    }
}

/// In a clause; the first one.
fn refusal(group: &Group, status: &Status) -> Option<String> {
    let is_of = |frontend: &&FrontendStatus| group.frontends.contains(&frontend.name);
    let paused = status.frontends.iter().filter(is_of).find_map(|frontend| {
        let pause = frontend.paused.as_ref()?;
        Some(format!("frontend {} is paused by {}", frontend.name, pause.by))
    });
    let is_out = |server: &ServerStatus| {
        server.orders.duty.as_ref().is_some_and(|duty| duty.what == Duty::Maintenance)
    };
    let out = || {
        let of = status.backends.iter().filter(|one| group.backends.iter().any(|of| of.name == one.name));
        let emptied = |servers: &[ServerStatus]| !servers.is_empty() && servers.iter().all(is_out);
        let backend = of.into_iter().find(|backend| emptied(&backend.servers))?;
        Some(format!("all servers of backend {} are in maintenance", backend.name))
    };
    paused.or_else(out)
}
