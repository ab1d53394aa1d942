//! The places that a connection takes.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use crate::{
    limit::Limit,
    metrics::Event,
    node::FrontendShared,
    table::{Held, Refusal},
    worker::Worker,
};

/// The right to hold a connection of the process and of a frontend.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(super) worker: Rc<Worker>,
    pub(super) frontend: usize,
    /// Its place among those of its source, if they are limited.
    held: Option<Held>,
    /// It is one of the process and of its frontend. A stream is part of one.
    is_counted: bool,
}

impl Permit {
    /// Of a part of a connection that has one.
    pub(super) fn of_stream(worker: Rc<Worker>, frontend: usize) -> Self {
        Self { worker, frontend, held: None, is_counted: false }
    }

    /// Takes one of each; `None` if the process or the frontend is full (then wait for [`Self::freed`]).
    pub(crate) fn try_take(worker: &Rc<Worker>, frontend: usize) -> Option<Self> {
        let node = worker.node();
        let beside = node.limit_beside(frontend);
        if !beside.try_take() {
            return None;
        }
        if !node.frontends[frontend].connections.try_take() {
            beside.release();
            return None;
        }
        Some(Self { worker: Rc::clone(worker), frontend, held: None, is_counted: true })
    }

    pub(super) fn admit(&mut self, source: Option<IpAddr>) -> Result<(), Refusal> {
        let node = self.worker.node();
        if let (Some(sources), Some(source)) = (node.tables.sources(self.frontend), source) {
            self.held = Some(sources.enter(source, node.now())?);
        }
        Ok(())
    }

    /// What it counts for, but for its source.
    pub(super) fn limits(&self) -> (Arc<Limit>, Arc<FrontendShared>) {
        (Arc::clone(self.worker.node().limit_beside(self.frontend)), Arc::clone(self.shared()))
    }

    /// One more of its source: `None` if it is not limited, `Some(None)` if it has as many as it may.
    pub(super) fn hold_again(&self) -> Option<Option<Held>> {
        let held = self.held.as_ref()?;
        let sources = self.worker.node().tables.sources(self.frontend)?;
        Some(held.again(sources.limits().connections))
    }

    /// Counts for the frontend at this index of the worker's generation from now on, and for `source` as that wants it.
    pub(super) fn renew(&mut self, worker: Rc<Worker>, frontend: usize, source: Option<IpAddr>) {
        let (old, new) = (self.shared(), &worker.node().frontends[frontend]);
        if !self.is_counted {
            self.worker = worker;
            self.frontend = frontend;
            return;
        }
        if !Arc::ptr_eq(old, new) {
            // It is here already: not refused, whatever the other's limit.
            new.connections.take();
            old.connections.release();
        }
        let (old, new) =
            (self.worker.node().limit_beside(self.frontend), worker.node().limit_beside(frontend));
        if !Arc::ptr_eq(old, new) {
            new.take();
            old.release();
        }
        let sources = worker.node().tables.sources(frontend);
        if !sources.is_some_and(|sources| self.held.as_ref().is_some_and(|held| sources.has(held))) {
            let held = sources.zip(source).map(|(sources, source)| sources.hold(source, worker.node().now()));
            self.held = held;
        }
        self.worker = worker;
        self.frontend = frontend;
    }

    fn shared(&self) -> &Arc<FrontendShared> {
        &self.worker.node().frontends[self.frontend]
    }

    /// Waits until [`Self::try_take`] is worth another try.
    pub(crate) async fn freed(worker: &Rc<Worker>, frontend: usize) {
        let node = worker.node();
        let counters = &worker.counters().frontends[frontend];
        let beside = node.limit_beside(frontend);
        if beside.is_full() {
            counters.event(Event::ProcessFull).increment();
            beside.freed().await;
        } else if node.frontends[frontend].connections.is_full() {
            counters.event(Event::FrontendFull).increment();
            node.frontends[frontend].connections.freed().await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_counted {
            self.shared().connections.release();
            self.worker.node().limit_beside(self.frontend).release();
        }
    }
}
