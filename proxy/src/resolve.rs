//! Addresses of servers that are given by name: looked up by the control side, never by a request.
//!
//! ```text
//! /etc/hosts, else nameservers ── lookup ──> addresses, TTL ── choose ──> Board ──> snapshot for the workers, checks
//!        ▲                                       │
//!        └── after the TTL (1 s .. 1 h), or after a failure (1 s, 2 s, .. 30 s): the last good answer stays
//! ```
//! A resolver of our own, because the system's (`getaddrinfo`) tells no TTL and a full one is fifty crates for two kinds
//! of records. It asks for A, and for AAAA where a name has no A, over UDP without EDNS; an answer that is cut off is used
//! as far as it goes.

mod message;
mod query;
mod system;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

pub use self::query::lookup;
use crate::{health::board::Board, worker::WorkerHandle};

/// A TTL counts as at least and at most this much.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// After the first failure in a row, and at most; it doubles in between.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Who is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolverConfig {
    /// In this order; those of `resolv_conf` if empty.
    pub nameservers: Vec<SocketAddr>,
    /// Read anew at every lookup: `nameserver` and `search`.
    pub resolv_conf: PathBuf,
    /// Read anew at every lookup, before anybody is asked.
    pub hosts: PathBuf,
    /// How long one nameserver may take, each time it is asked.
    pub timeout: Duration,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            timeout: Duration::from_secs(1),
        }
    }
}

/// The addresses of a name: all of one family, in a fixed order, at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Sorted, so that two nodes that get them in different orders choose alike.
    pub addresses: Vec<IpAddr>,
    /// How long they may be used.
    pub ttl: Duration,
}

/// Why a name has no addresses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResolveError {
    /// NXDOMAIN
    #[error("no such name (NXDOMAIN from {0})")]
    NoSuchName(SocketAddr),
    /// It exists, without A and AAAA.
    #[error("the name has no address ({0} knows neither A nor AAAA)")]
    NoAddress(SocketAddr),
    /// SERVFAIL, REFUSED or another code of RFC 1035 §4.1.1.
    #[error("{server} answers with {}", message::code_name(*.code))]
    Refused {
        /// Who.
        server: SocketAddr,
        /// RCODE
        code: u8,
    },
    /// No nameserver answered.
    #[error("no answer from {0}")]
    TimedOut(SocketAddr),
    /// It can't be asked.
    #[error("{server} can't be asked: {why}")]
    Unreachable {
        /// Who.
        server: SocketAddr,
        /// The operating system's words.
        why: String,
    },
    /// Nobody to ask.
    #[error("no nameserver: {} names none", .0.display())]
    NoNameserver(PathBuf),
    /// Longer than RFC 1035 §2.3.4 allows.
    #[error("not a name that DNS can carry")]
    Name,
}

/// Follows a name for ever.
pub(crate) async fn follow(board: Arc<Board>, resolver: ResolverConfig, host: Box<str>) {
    let mut failures = 0;
    loop {
        let (found, pause) = look_up(&resolver, &host, &mut failures).await;
        match found {
            Ok(addresses) => {
                let moved = board.resolved(&host, &addresses);
                if !moved.is_empty() {
                    close_idle(&board.workers(), &moved).await;
                }
            }
            Err(error) => board.unresolved(&host, &error),
        }
        tokio::time::sleep(pause).await;
    }
}

/// One lookup of a name that is followed, and when the next one is due.
pub(crate) async fn look_up(
    config: &ResolverConfig,
    host: &str,
    failures: &mut u32,
) -> (Result<Vec<IpAddr>, ResolveError>, Duration) {
    match lookup(config, host).await {
        Ok(answer) => {
            *failures = 0;
            (Ok(answer.addresses), answer.ttl.clamp(*TTL.start(), *TTL.end()))
        }
        Err(error) => {
            *failures += 1;
            (Err(error), retry_after(*failures))
        }
    }
}

/// Closes the idle connections to servers that have moved, by their numbers. The snapshot with the new address is out
/// already, so none to the old one is kept after this.
async fn close_idle(workers: &[WorkerHandle], moved: &[u32]) {
    for worker in workers {
        let moved = moved.to_vec();
        let close = move |worker: &std::rc::Rc<crate::worker::Worker>| {
            for (backend, server) in moved.into_iter().filter_map(|number| worker.node().place(number)) {
                worker.idle_upstreams().clear(backend, server);
            }
        };
        // A worker that has ended has no connections.
        let _ = worker.run(close).await;
    }
}

fn retry_after(failures: u32) -> Duration {
    let (first, longest) = RETRY;
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// The address that a server gets: the one it has, as long as the answer has it; else the first that no other server of
/// its backend has, so that servers with one name spread over its addresses; else the first.
pub(crate) fn choose(current: Option<IpAddr>, taken: &[IpAddr], answer: &[IpAddr]) -> Option<IpAddr> {
    current
        .filter(|current| answer.contains(current))
        .or_else(|| answer.iter().copied().find(|address| !taken.contains(address)))
        .or_else(|| answer.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_keeps_its_address_while_the_answer_has_it() {
        let [a, b, c] = [1, 2, 3].map(|n| IpAddr::from([192, 0, 2, n]));
        assert_eq!(choose(None, &[], &[a, b]), Some(a));
        assert_eq!(choose(Some(b), &[a], &[a, b]), Some(b));
        assert_eq!(choose(Some(c), &[a], &[a, b]), Some(b));
        assert_eq!(choose(None, &[a, b], &[a, b]), Some(a));
        assert_eq!(choose(Some(a), &[], &[]), None);
    }

    #[test]
    fn failures_are_retried_after_1_s_and_at_most_after_30_s() {
        let after: Vec<_> = [1, 2, 3, 4, 5, 6, 7, 1000].map(|n| retry_after(n).as_secs()).into();
        assert_eq!(after, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
