//! What is left to do for a process that has been succeeded: its connections end.

use std::{cell::Cell, convert::Infallible, future::Future, io, pin::Pin, process, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use lb_proxy::{Proxy, Tally};
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, interval, sleep_until},
};

use super::{
    channel::{self, Channel},
    words::{FromNext, Order, ToNext},
};
use crate::{
    control::{EarlierProcess, ServerOrder, Timestamp},
    daemon::{inputs::COUNT_LIMIT, orders::as_order, stop::Patience, wake},
};

/// Between two words of what is left.
const TELLS: Duration = Duration::from_secs(1);

/// For workers to say what they have in flight.
const ANSWER: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(in crate::daemon) struct Retirement {
    pub(super) channel: Channel,
    /// For its connections.
    pub(super) limit: Duration,
    /// What the next process knows of its counters.
    pub(super) tally: Option<Tally>,
    /// systemd has not heard yet that it is in charge.
    pub(in crate::daemon) untold: Option<u32>,
}

/// The process in charge ends, and so does this one.
#[derive(Debug)]
struct End {
    number: u64,
    limit: Duration,
}

impl Retirement {
    /// Connections end one after the other; what is left at the end of the time is cut. A signal or the next process may
    /// leave them less time: as much as those of that process have. If that is gone without a word, they are cut at once.
    /// `patience` says how long a signal leaves them. Returns how many were cut.
    pub(in crate::daemon) async fn spend(
        self,
        proxy: &Proxy,
        signals: &mut wake::Signals,
        patience: impl Fn(Patience) -> Duration,
    ) -> u32 {
        let Self { channel, limit, mut tally, untold: _ } = self;
        let deadline = Instant::now() + limit;
        let until = Cell::new(deadline);
        let (ends_in, mut ends) = mpsc::unbounded_channel::<End>();
        let mut asked = None;
        {
            let mut rest: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(proxy.retire(limit));
            let mut orders = std::pin::pin!(carry_out_orders(&channel, proxy, ends_in));
            let mut end = std::pin::pin!(sleep_until(deadline));
            let mut told = std::pin::pin!(tell(&channel, proxy, tally.as_mut(), &until));
            let (mut is_told, mut is_alone) = (false, false);
            loop {
                select! {
                    // What was said last comes before the end of who said it.
                    biased;
                    Some(End { number, limit }) = ends.recv() => {
                        asked = Some(number);
                        is_told = true;
                        tracing::info!("the process in charge ends: connections that are open have {limit:?}");
                        until.set(deadline.min(Instant::now() + limit));
                        end.as_mut().reset(until.get());
                        rest = Box::pin(proxy.wind_up(limit));
                    }
                    () = &mut orders, if !is_alone => {
                        if !is_told {
                            tracing::warn!("the process in charge is gone");
                            break;
                        }
                        is_alone = true;
                    }
                    event = signals.next() => match event {
                        wake::Event::Signal(_, how) if !is_told => {
                            is_told = true;
                            let limit = patience(how);
                            tracing::info!("told to end: connections that are open have {limit:?}");
                            until.set(deadline.min(Instant::now() + limit));
                            end.as_mut().reset(until.get());
                            rest = Box::pin(proxy.wind_up(limit));
                        }
                        wake::Event::Signal(..) => break,
                        _ => {}
                    },
                    () = &mut rest => break,
                    () = &mut end => break,
                    never = &mut told => match never {},
                }
            }
        }
        let cut = proxy.finish().await;
        count(&channel, tally.as_mut());
        if let Some(number) = asked {
            // Who asked may be gone.
            let _ = channel.send(&ToNext::Done { number, count: u64::from(cut) }, &[]);
        }
        cut
    }
}

/// Does what the process in charge asks for, until that is gone.
async fn carry_out_orders(channel: &Channel, proxy: &Proxy, ends: mpsc::UnboundedSender<End>) {
    let mut room = vec![0; channel::ROOM];
    let mut under_way = FuturesUnordered::new();
    loop {
        select! {
            said = channel.listen(&mut room) => match said {
                Ok(FromNext::Order { number, order: Order::End { limit } }) => {
                    let _ = ends.send(End { number, limit });
                }
                Ok(FromNext::Order { number, order }) => under_way.push(carry_out(channel, proxy, number, order)),
                Ok(_) => {}
                // Another program may ask for more.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_) => return,
            },
            Some(()) = under_way.next() => {}
        }
    }
}

/// Each second: what is left, and what was counted.
async fn tell(
    channel: &Channel,
    proxy: &Proxy,
    mut tally: Option<&mut Tally>,
    until: &Cell<Instant>,
) -> Infallible {
    let since = Timestamp::now();
    let mut ticks = interval(TELLS);
    loop {
        ticks.tick().await;
        let exchanges = proxy.exchanges(ANSWER).await as u64;
        let left = EarlierProcess {
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since,
            until: Timestamp::now().saturating_add(until.get().saturating_duration_since(Instant::now())),
            connections: proxy.connections(),
            exchanges,
            silent_ms: None,
        };
        // Who does not read hears of it later.
        let _ = channel.send(&ToNext::Left(left), &[]);
        count(channel, tally.as_deref_mut());
    }
}

fn count(channel: &Channel, tally: Option<&mut Tally>) {
    if let Some(tally) = tally {
        tally.tell(|grown| channel.send(&ToNext::Counted(grown.to_vec()), &[]).is_ok());
    }
}

/// Returns what was in flight there.
fn order_server(proxy: &Proxy, backend: &str, server: &str, order: &ServerOrder, by: &str) -> usize {
    let Some(order) = as_order(order) else { return 0 };
    let status = proxy.status();
    let backends = status.backends.iter().filter(|one| one.name == backend);
    let found = backends.flat_map(|one| &one.servers).find(|one| one.name == server);
    let in_flight = found.map_or(0, |found| found.in_flight);
    // The file of this process may not have it.
    let _ = proxy.order(backend, server, order, by);
    usize::try_from(in_flight).unwrap_or(usize::MAX)
}

async fn carry_out(channel: &Channel, proxy: &Proxy, number: u64, order: Order) {
    let count = match order {
        Order::Drain { limit } => {
            tracing::info!(?limit, "the process in charge drains");
            proxy.drain(limit).await
        }
        Order::Leave { addresses, limit } => proxy.leave(&addresses, limit).await,
        Order::Reset { addresses } => {
            let exchanges = proxy.reset_connections(&addresses, COUNT_LIMIT).await;
            tracing::info!(exchanges, "reset the exchanges on addresses that leave");
            exchanges
        }
        Order::ReopenLogs => {
            let logs = proxy.reopen_logs().await;
            logs.iter().filter(|log| log.problem.is_some()).count()
        }
        Order::Server { backend, server, order, by } => order_server(proxy, &backend, &server, &order, &by),
        // It is for who waits for the end.
        Order::End { .. } => 0,
    };
    // A process that is gone is told nothing.
    let _ = channel.send(&ToNext::Done { number, count: count as u64 }, &[]);
}
