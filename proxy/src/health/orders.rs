//! What an operator has ordered of a server while it runs (HAProxy `set server`). It goes before the file and before the
//! server's agent, until it is taken back; it is kept by the server's name.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{board::Board, server::ServerHealth};
use crate::{config::Server, node::ServerShared, server::Proxy, status::CheckReport};

/// What a server is there for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Duty {
    /// Everybody.
    #[default]
    Ready,
    /// Persisted clients only.
    Drain,
    /// Nobody.
    Maintenance,
}

/// Instead of the weight of the file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Weight {
    /// Of the weight of the file.
    Percent(u32),
    /// 0..=256
    Absolute(u16),
}

/// One order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerOrder {
    /// [`Duty::Ready`] takes the order before it back, and is one of its own where the configuration says otherwise.
    Duty(Duty),
    /// 100 percent takes the order before it back.
    Weight(Weight),
}

/// Who ordered something, and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ordered<T> {
    /// What.
    pub what: T,
    /// A user, or a signal.
    pub by: String,
    /// When.
    pub at: SystemTime,
}

/// What is in force of the orders for one server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ServerOrders {
    /// Drain or maintenance.
    pub duty: Option<Ordered<Duty>>,
    /// Its weight.
    pub weight: Option<Ordered<Weight>>,
}

/// There is no such server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no such server")]
pub struct NoServer;

/// There is no outcome of a check that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotChecked {
    /// There is no such server.
    #[error(transparent)]
    NoServer(#[from] NoServer),
    /// Its backend has `check = false`.
    #[error("its backend has no check")]
    NoCheck,
    /// It does not end, or the server is gone by a reload.
    #[error("its check did not end within {0:?}")]
    Late(Duration),
}

impl Weight {
    /// The weight that follows from it, 0..=256. A share of something is never nothing but for 0 percent.
    pub(crate) fn of(self, configured: u16) -> u16 {
        match self {
            Self::Absolute(weight) => weight.min(256),
            Self::Percent(percent) => {
                let weight = (u64::from(configured) * u64::from(percent)).div_ceil(100);
                u16::try_from(weight.min(256)).unwrap_or(256)
            }
        }
    }
}

/// Who gave an order that stands in the configuration.
pub const FILE: &str = "the file";

impl ServerOrders {
    /// Those that the configuration gives to one that was not there before.
    pub(crate) fn of(config: &Server) -> Self {
        let mut orders = Self::default();
        if config.disabled {
            orders.take(ServerOrder::Duty(Duty::Maintenance), FILE, true);
        }
        orders
    }

    /// The configuration says something else than `before`, which goes over what was ordered; what it said before ends.
    pub(crate) fn follow(&mut self, before: &Server, config: &Server) {
        let is_of_file = self.duty.as_ref().is_some_and(|ordered| ordered.by == FILE);
        let is_ready = self.duty.as_ref().is_some_and(|ordered| ordered.what == Duty::Ready);
        match (before.disabled, config.disabled) {
            (false, true) => self.take(ServerOrder::Duty(Duty::Maintenance), FILE, true),
            (true, false) if is_of_file || is_ready => {
                self.take(ServerOrder::Duty(Duty::Ready), FILE, false);
            }
            _ => {}
        }
    }

    /// What the operator wants it to be there for.
    pub(crate) fn duty(&self) -> Duty {
        self.duty.as_ref().map_or(Duty::Ready, |ordered| ordered.what)
    }

    /// `is_disabled`: the configuration itself orders maintenance.
    fn take(&mut self, order: ServerOrder, by: &str, is_disabled: bool) {
        let (by, at) = (by.to_owned(), SystemTime::now());
        match order {
            ServerOrder::Duty(Duty::Ready) if !is_disabled => self.duty = None,
            ServerOrder::Duty(what) => self.duty = Some(Ordered { what, by, at }),
            ServerOrder::Weight(Weight::Percent(100)) => self.weight = None,
            ServerOrder::Weight(what) => self.weight = Some(Ordered { what, by, at }),
        }
    }
}

impl Proxy {
    /// Orders something of a server, for as long as the configuration has its name. What goes through a server that enters
    /// maintenance is cut where [`crate::config::Backend::cut_when_down`] says so.
    ///
    /// # Errors
    /// There is no such server.
    pub fn order(&self, backend: &str, server: &str, order: ServerOrder, by: &str) -> Result<(), NoServer> {
        let server = self.board().server(backend, server).ok_or(NoServer)?;
        tracing::info!(backend, server = %server.name, ?order, by, "ordered");
        let is_disabled = self.board().place(&server).is_some_and(|place| place.server().disabled);
        self.board().change(&server, |known: &mut ServerHealth| known.orders.take(order, by, is_disabled));
        Ok(())
    }

    /// Checks a server now, whenever its next check is due, and returns the outcome. It counts like any other.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn check_now(
        &self,
        backend: &str,
        server: &str,
        limit: Duration,
    ) -> Result<CheckReport, NotChecked> {
        let server = self.board().server(backend, server).ok_or(NoServer)?;
        let is_checked = self.board().place(&server).is_some_and(|place| place.backend().check.is_some());
        if !is_checked {
            return Err(NotChecked::NoCheck);
        }
        let late = NotChecked::Late(limit);
        timeout(limit, server.rounds.one_more()).await.map_err(|_| late)?;
        let report = server.health().last_check.clone();
        report.ok_or(late)
    }
}

impl Board {
    fn server(&self, backend: &str, server: &str) -> Option<std::sync::Arc<ServerShared>> {
        let node = self.node();
        let id = node.backend_named(backend)?;
        let index = node.backend(id).servers.iter().position(|one| one.name == server)?;
        Some(std::sync::Arc::clone(&node.backends[id.0].servers[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_the_weight_of_the_file_and_never_rounds_down_to_nothing() {
        for (percent, configured, weight) in
            [(100, 10, 10), (50, 10, 5), (1, 1, 1), (0, 10, 0), (300, 100, 256), (150, 10, 15)]
        {
            assert_eq!(Weight::Percent(percent).of(configured), weight, "{percent} % of {configured}");
        }
    }

    #[test]
    fn an_order_is_in_force_until_it_is_taken_back() {
        let mut orders = ServerOrders::default();
        orders.take(ServerOrder::Duty(Duty::Drain), "root", false);
        orders.take(ServerOrder::Weight(Weight::Absolute(7)), "ada", false);
        orders.take(ServerOrder::Duty(Duty::Maintenance), "ada", false);
        let by = |ordered: &Option<Ordered<Duty>>| ordered.as_ref().map(|one| (one.what, one.by.clone()));
        assert_eq!(by(&orders.duty), Some((Duty::Maintenance, "ada".to_owned())));
        orders.take(ServerOrder::Duty(Duty::Ready), "root", false);
        assert_eq!(orders.duty(), Duty::Ready);
        assert_eq!(
            orders.weight.as_ref().map(|one| one.what),
            Some(Weight::Absolute(7)),
            "that is another order"
        );
        orders.take(ServerOrder::Weight(Weight::Percent(100)), "root", false);
        assert_eq!(orders, ServerOrders::default());
    }

    #[test]
    fn ready_is_an_order_where_the_configuration_says_maintenance() {
        let mut orders = ServerOrders::default();
        orders.take(ServerOrder::Duty(Duty::Ready), "root", true);
        assert_eq!(orders.duty.map(|one| (one.what, one.by)), Some((Duty::Ready, "root".to_owned())));
    }
}
