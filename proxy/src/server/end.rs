//! What the log says at the end.

use super::Proxy;
use crate::{
    config::BackendId,
    log::event,
    status::{self, BackendStatus},
};

impl Proxy {
    /// Every proxy has ended, with what it has served.
    pub(super) fn log_end(&self) {
        let node = self.board.node();
        let status = status::collect(&self.board.generations(), &self.bindings);
        let served =
            |backend: &BackendStatus| backend.servers.iter().map(|server| server.requests_total).sum();
        for (index, frontend) in status.frontends.iter().enumerate() {
            let of_backend =
                status.backends.iter().enumerate().find(|(id, backend)| {
                    backend.name == frontend.name && node.config.is_listen(BackendId(*id))
                });
            let of_backend = of_backend.map_or(0, |(_, backend)| served(backend));
            let event = event::stopped(&frontend.name, frontend.connections_total, of_backend);
            node.loggers.frontend(index, &event);
        }
        for (id, backend) in status.backends.iter().enumerate() {
            if !node.config.is_listen(BackendId(id)) {
                node.loggers.backend(BackendId(id), &event::stopped(&backend.name, 0, served(backend)));
            }
        }
    }
}
