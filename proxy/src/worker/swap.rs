//! The worker under the next generation of the configuration.

use std::{rc::Rc, sync::Arc};

use super::Worker;
use crate::{
    config::{Backend, BackendId},
    http::RetryBudget,
    listener::{Assignment, Watched},
    node::Node,
};

/// What a worker is told when another generation comes into force.
#[derive(Debug)]
pub(crate) struct Swap {
    pub(crate) node: Arc<Node>,
    /// Listeners that stay; all others go.
    pub(crate) stay: Vec<Assignment>,
    pub(crate) new: Vec<(Assignment, Watched)>,
    /// Numbers of listeners that are paused.
    pub(crate) paused: Arc<[u64]>,
}

impl Worker {
    /// Is another generation in force?
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.get()
    }

    /// The worker under the generation in force; itself at the end.
    pub(crate) fn current(self: &Rc<Self>) -> Rc<Self> {
        self.core.current().unwrap_or_else(|| Rc::clone(self))
    }

    /// From now on new connections, and the next requests of those that are open, are served under another generation.
    /// It is the current one that is told so.
    pub(crate) fn swap(self: &Rc<Self>, swap: Swap) {
        let next = self.next(swap.node);
        self.is_outdated.set(true);
        self.core.set_current(Rc::clone(&next));
        self.core.accept_loops.reassign(&next, &swap.stay, swap.new, swap.paused);
        self.core.registry.wake_idle();
    }

    fn next(&self, node: Arc<Node>) -> Rc<Self> {
        let idle_upstreams = self.idle_upstreams.next(&node.config, |id, index| {
            let (old_id, old_index) = self.node.place(node.backends[id.0].servers[index].number)?;
            let (old, new) = (self.node.backend(old_id), node.backend(id));
            let is_same = old.servers[old_index].is_same_place(&new.servers[index])
                && old.source(old_index) == new.source(index)
                && old.servers[old_index].http2 == new.servers[index].http2
                && old.servers[old_index].tls == new.servers[index].tls;
            is_same.then_some((old_id, old_index))
        });
        let budget = |backend: &Backend| {
            let percent = backend.options.retry.budget;
            let old = self.node.backend_named(&backend.name).map(|BackendId(old)| &self.retry_budgets[old]);
            match old.filter(|old| old.percent() == percent) {
                Some(old) => Rc::clone(old),
                None => Rc::new(RetryBudget::new(percent)),
            }
        };
        let retry_budgets = node.config.backends.iter().map(budget).collect();
        let is_same = Arc::ptr_eq(&self.node.verifier, &node.verifier);
        let known = if is_same { Rc::clone(&self.known) } else { Rc::default() };
        Self::with(&self.core, node, idle_upstreams, known, retry_budgets)
    }
}
