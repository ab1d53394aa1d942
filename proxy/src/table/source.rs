//! Limits on what one source may do at a frontend: connections open at a time, and how fast they come.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use super::{Capacity, Key, Keys, Rate, Table, Value, Window};

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
    keys: Keys,
    table: Arc<Table<Source>>,
}

/// One connection of a source; dropping it ends that.
#[derive(Debug)]
pub struct Held {
    table: Arc<Table<Source>>,
    key: Key,
}

/// What is known of a source.
#[derive(Debug, Default)]
pub struct Source {
    connections: u32,
    rate: Window,
}

impl Value for Source {
    fn is_in_use(&self) -> bool {
        self.connections > 0
    }
}

impl SourceLimits {
    fn capacity(&self) -> Capacity {
        // Without a rate nothing of a source without connections is worth remembering.
        let expire = self.connection_rate.map_or(Duration::ZERO, |rate| rate.per * 2);
        Capacity { size: self.size, expire }
    }
}

impl Sources {
    /// With `limits`; `previous` is what the frontend had before, whose sources and open connections still count.
    pub fn new(limits: SourceLimits, previous: Option<&Self>) -> Self {
        let table = match previous {
            Some(previous) => Arc::clone(&previous.table),
            None => Arc::new(Table::new(limits.capacity())),
        };
        Self { limits, keys: Keys::new(limits.ipv6_prefix), table }
    }

    /// A table that goes on has the capacity of these limits from now on.
    pub fn enforce(&self) {
        self.table.resize(self.limits.capacity());
    }

    /// A connection of `address` has come: may it stay? What is refused counts for neither limit.
    ///
    /// # Errors
    /// Why not.
    pub fn enter(&self, address: IpAddr, now: Duration) -> Result<Held, Refusal> {
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
        Ok(Held { table: Arc::clone(&self.table), key })
    }

    /// One of `address` is here already: it counts, whatever the limits.
    pub fn hold(&self, address: IpAddr, now: Duration) -> Held {
        let key = self.keys.address(address);
        self.table.change(key, now, |source| source.connections += 1);
        Held { table: Arc::clone(&self.table), key }
    }

    /// Does it count here?
    pub fn has(&self, held: &Held) -> bool {
        Arc::ptr_eq(&self.table, &held.table)
    }

    /// What it was made with.
    pub fn limits(&self) -> &SourceLimits {
        &self.limits
    }

    /// Its table, for those who look after tables.
    pub fn table(&self) -> &Table<Source> {
        &self.table
    }
}

impl Held {
    /// Another one of the same source, whose rate that is none of; `None` if the source has as many as this.
    pub fn again(&self, most: Option<NonZeroU32>) -> Option<Self> {
        let is_free = self.table.change(self.key, Duration::ZERO, |source| {
            let is_free = most.is_none_or(|most| source.connections < most.get());
            source.connections += u32::from(is_free);
            is_free
        });
        is_free.then(|| Self { table: Arc::clone(&self.table), key: self.key })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It is in use, so it is there. The clock is not asked: the table takes the latest time that it has heard of.
        self.table.change(self.key, Duration::ZERO, |source| {
            debug_assert!(source.connections > 0);
            source.connections = source.connections.saturating_sub(1);
        });
    }
}
