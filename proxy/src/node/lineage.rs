//! The generations before one: where what has a name is found again.

use std::sync::Arc;

use super::Node;
use crate::{
    config::{BackendId, LogDestination},
    log::Sink,
};

/// Generations that somebody still uses, the newest first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lineage<'n>(pub(crate) &'n [Arc<Node>]);

impl<'n> Lineage<'n> {
    /// The last generation.
    pub(super) fn last(self) -> Option<&'n Arc<Node>> {
        self.0.first()
    }

    /// The last one that has the frontend, and its index there.
    pub(super) fn frontend(self, name: &str) -> Option<(&'n Node, usize)> {
        self.0.iter().find_map(|node| {
            let index = node.config.frontends.iter().position(|frontend| frontend.name == name)?;
            Some((&**node, index))
        })
    }

    /// The last one that has the backend.
    pub(super) fn backend(self, name: &str) -> Option<(&'n Node, BackendId)> {
        self.0.iter().find_map(|node| Some((&**node, node.backend_named(name)?)))
    }

    /// The last one that has the server, and its index there.
    pub(super) fn server(self, backend: &str, name: &str) -> Option<(&'n Node, BackendId, usize)> {
        self.0.iter().find_map(|node| {
            let id = node.backend_named(backend)?;
            let index = node.backend(id).servers.iter().position(|server| server.name == name)?;
            Some((&**node, id, index))
        })
    }

    /// What leads to this place, while somebody uses it.
    pub(super) fn sink(self, to: &LogDestination) -> Option<Arc<Sink>> {
        self.0.iter().find_map(|node| node.loggers.sink(to))
    }
}
