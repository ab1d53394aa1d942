//! What is left to do for a process that has been succeeded: its connections end.

use std::{future::Future, io, pin::Pin, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use lb_proxy::Proxy;
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    RESET_LIMIT,
    channel::{self, Channel},
    words::{FromNext, Order, ToNext},
};
use crate::daemon::{stop::Patience, wake};

/// See the module.
#[derive(Debug)]
pub(in crate::daemon) struct Retirement {
    pub(super) channel: Channel,
    /// For its connections.
    pub(super) limit: Duration,
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
        proxy: Proxy,
        signals: &mut wake::Signals,
        patience: impl Fn(Patience) -> Duration,
    ) -> u32 {
        let Self { channel, limit } = self;
        let deadline = Instant::now() + limit;
        let (ends_in, mut ends) = mpsc::unbounded_channel::<End>();
        let mut asked = None;
        {
            let mut rest: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(proxy.retire(limit));
            let mut orders = std::pin::pin!(carry_out_orders(&channel, &proxy, ends_in));
            let mut end = std::pin::pin!(sleep_until(deadline));
            let (mut is_told, mut is_alone) = (false, false);
            loop {
                select! {
                    // What was said last comes before the end of who said it.
                    biased;
                    Some(End { number, limit }) = ends.recv() => {
                        asked = Some(number);
                        is_told = true;
                        tracing::info!("the process in charge ends: connections that are open have {limit:?}");
                        end.as_mut().reset(deadline.min(Instant::now() + limit));
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
                            end.as_mut().reset(deadline.min(Instant::now() + limit));
                            rest = Box::pin(proxy.wind_up(limit));
                        }
                        wake::Event::Signal(..) => break,
                        _ => {}
                    },
                    () = &mut rest => break,
                    () = &mut end => break,
                }
            }
        }
        let cut = proxy.finish().await;
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

async fn carry_out(channel: &Channel, proxy: &Proxy, number: u64, order: Order) {
    let count = match order {
        Order::Drain { limit } => {
            tracing::info!(?limit, "the process in charge drains");
            proxy.drain(limit).await
        }
        Order::Leave { addresses, limit } => proxy.leave(&addresses, limit).await,
        Order::Reset { addresses } => {
            let exchanges = proxy.reset_connections(&addresses, RESET_LIMIT).await;
            tracing::info!(exchanges, "reset the exchanges on addresses that leave");
            exchanges
        }
        // It is for who waits for the end.
        Order::End { .. } => 0,
    };
    // A process that is gone is told nothing.
    let _ = channel.send(&ToNext::Done { number, count: count as u64 }, &[]);
}
