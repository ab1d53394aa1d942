//! Limits on what one source may do at a frontend: connections open at a time, and how fast they come.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use super::{Capacity, Key, Rate, SourceKeys, Table, Value, Window};

/// What one source may do. Both `None` is no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceLimits {
    /// Connections open at a time.
    pub connections: Option<NonZeroU32>,
    /// New connections.
    pub connection_rate: Option<Rate>,
    /// Sources without an open connection that are remembered.
    pub size: NonZeroU32,
    /// Bits of an IPv6 address that make a source, 1..=128.
    pub ipv6_prefix: u8,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The source has as many open as it may.
    Connections,
    /// It opens them too fast; it may again after this.
    Rate {
        /// From now.
        retry_after: Duration,
    },
}

/// The sources of a frontend.
#[derive(Debug)]
pub struct Sources {
    limits: SourceLimits,
    keys: SourceKeys,
    table: Table<Source>,
}

/// One connection of a source; dropping it ends that.
#[derive(Debug)]
pub struct Held {
    sources: Arc<Sources>,
    key: Key,
}

#[derive(Debug, Default)]
struct Source {
    connections: u32,
    rate: Window,
}

impl Value for Source {
    fn is_in_use(&self) -> bool {
        self.connections > 0
    }
}

impl Sources {
    /// No sources yet.
    pub fn new(limits: SourceLimits) -> Self {
        // Without a rate nothing of a source without connections is worth remembering.
        let expire = limits.connection_rate.map_or(Duration::ZERO, |rate| rate.per * 2);
        let table = Table::new(Capacity { size: limits.size, expire });
        Self { limits, keys: SourceKeys::new(limits.ipv6_prefix), table }
    }

    /// A connection of `address` has come: may it stay? What is refused counts for neither limit.
    ///
    /// # Errors
    /// Why not.
    pub fn enter(self: &Arc<Self>, address: IpAddr, now: Duration) -> Result<Held, Refusal> {
        let key = self.keys.address(address);
        self.table.change(key, now, |source| {
            if self.limits.connections.is_some_and(|most| source.connections >= most.get()) {
                return Err(Refusal::Connections);
            }
            if let Some(rate) = self.limits.connection_rate {
                source.rate.take(now, rate).map_err(|retry_after| Refusal::Rate { retry_after })?;
            }
            source.connections += 1;
            Ok(())
        })?;
        Ok(Held { sources: Arc::clone(self), key })
    }

    /// Entries, removed once expired: those who look after tables call it now and then.
    pub fn sweep(&self, now: Duration) {
        self.table.sweep(now);
    }

    /// Sources that are remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Entries that had to go before their time.
    pub fn evictions(&self) -> u64 {
        self.table.evictions()
    }

    /// What it was made with.
    pub fn limits(&self) -> &SourceLimits {
        &self.limits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // In use, so it is there; the time of its last use stays that of the last change.
        self.sources.table.change(self.key, Duration::ZERO, |source| {
            debug_assert!(source.connections > 0);
            source.connections = source.connections.saturating_sub(1);
        });
    }
}
