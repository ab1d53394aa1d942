//! Starts the workers and the checks, and is the handle on them.

use std::{net::IpAddr, time::Duration};

use tokio::sync::watch;

use crate::{Config, Health, Status};

/// The running data plane. Dropping it stops the workers at once.
#[derive(Debug)]
pub struct Proxy {}

/// The data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread could not be started.
    #[error("can't start worker {worker}")]
    Thread {
        /// Its number.
        worker: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    reason = "skeleton"
)]
impl Proxy {
    /// Binds every listener (one that can't be bound is reported in [`Health`] and [`Status`] and tried again once a
    /// second; it is never an error here), starts the workers, the checks and the watch over the workers. Must be
    /// called inside a tokio runtime: checks run on it.
    pub fn start(config: Config) -> Result<Self, StartError> {
        todo!()
    }

    /// What an operator sees. Cheap; never waits for a worker.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// What decides readiness; changes are published at once.
    pub fn health(&self) -> watch::Receiver<Health> {
        todo!()
    }

    /// Resets (RST) every client connection whose local address is one of `addresses`; returns when all workers have
    /// done so or `limit` has passed, with the number of connections reset so far.
    pub async fn reset_connections(&self, addresses: &[IpAddr], limit: Duration) -> usize {
        todo!()
    }

    /// Keep-alive off, idle client connections closed; new ones are still served. Returns when only connections that
    /// carry an exchange older than `short` are left, or after `limit`; the number of those is returned.
    pub async fn drain(&self, limit: Duration) -> usize {
        todo!()
    }

    /// Stops accepting, lets exchanges in flight finish for at most `limit`, then ends the workers.
    pub async fn stop(self, limit: Duration) {
        todo!()
    }
}
