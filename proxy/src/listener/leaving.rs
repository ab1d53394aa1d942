//! Addresses that a reload took away, until the last of their sockets is closed: whoever wants one of them again has to
//! wait that long. Beside a socket that drops newcomers another one would get some of them only.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

/// What accepts nobody any more is closed much sooner, unless a limit holds up those in its queue.
const LIMIT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Vec<(SocketAddr, Arc<watch::Sender<()>>)>);

impl Leaving {
    /// One more. Its sockets are open while `open` has a receiver.
    pub(super) fn add(&mut self, address: Option<SocketAddr>, open: &Arc<watch::Sender<()>>) {
        self.forget_closed();
        self.0.extend(address.map(|address| (address, Arc::clone(open))));
    }

    /// Waits until nothing is open that would be beside `address`; false if that takes too long.
    pub(super) async fn has_left(&mut self, address: SocketAddr) -> bool {
        let beside = self.0.iter().filter(|(other, _)| is_beside(*other, address));
        let closed = async {
            for (_, open) in beside {
                open.closed().await;
            }
        };
        let is_closed = timeout(LIMIT, closed).await.is_ok();
        self.forget_closed();
        is_closed
    }

    fn forget_closed(&mut self) {
        self.0.retain(|(_, open)| open.receiver_count() > 0);
    }
}

/// Can the kernel take a socket of one for the other?
pub(super) fn is_beside(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.is_ipv4() == other.is_ipv4() && one.port() == other.port() && (any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn address_that_leaves_is_waited_for_and_only_that() {
        let mut leaving = Leaving::default();
        let (open, socket) = watch::channel(());
        leaving.add(Some(address("192.0.2.1:80")), &Arc::new(open));
        for free in ["192.0.2.2:80", "192.0.2.1:81", "[::]:80"] {
            assert!(leaving.has_left(address(free)).await, "{free}");
        }
        for taken in ["192.0.2.1:80", "0.0.0.0:80"] {
            assert!(!leaving.has_left(address(taken)).await, "{taken}");
        }
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT / 2).await;
            drop(socket);
        });
        assert!(leaving.has_left(address("192.0.2.1:80")).await);
        assert!(leaving.0.is_empty());
    }
}
