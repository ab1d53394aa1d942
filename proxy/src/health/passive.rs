//! Real traffic watched for errors (HAProxy `observe`): one counter per server over all workers, and a knock at the
//! server's checker when it reaches the limit.
//!
//! A good outcome costs one load of a shared word; only the first after an error writes it.

use std::{
    fmt,
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
};

use tokio::sync::Notify;

use crate::config::{Layer, Observe};

/// What is watched of one server.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    in_a_row: AtomicU32,
    /// [`Seen::code`] of the last error.
    last: AtomicU16,
    /// The limit was reached so often since the checker looked.
    reached: AtomicU32,
    knock: Notify,
}

/// What traffic has seen of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    Connected,
    NotConnected,
    /// A response with this status.
    Response(u16),
    /// None in time.
    NoResponse,
    /// The connection broke before a response began.
    Broken,
    /// One that can't be understood.
    BadResponse,
}

impl Watch {
    /// Takes one outcome into account.
    pub(crate) fn note(&self, observe: &Observe, seen: Seen) {
        match seen.judge(observe.layer) {
            Some(true) if self.in_a_row.load(Ordering::Relaxed) != 0 => {
                self.in_a_row.store(0, Ordering::Relaxed);
            }
            None | Some(true) => {}
            Some(false) => {
                self.last.store(seen.code(), Ordering::Relaxed);
                if self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= observe.error_limit {
                    self.in_a_row.store(0, Ordering::Relaxed);
                    self.reached.fetch_add(1, Ordering::Relaxed);
                    self.knock.notify_one();
                }
            }
        }
    }

    /// Waits until the limit is reached; then the last error.
    pub(crate) async fn reached(&self) -> Seen {
        loop {
            if self.reached.swap(0, Ordering::Relaxed) > 0 {
                return Seen::of(self.last.load(Ordering::Relaxed));
            }
            self.knock.notified().await;
        }
    }
}

impl Seen {
    /// Good, bad, or neither at this layer.
    fn judge(self, layer: Layer) -> Option<bool> {
        match (layer, self) {
            (_, Self::NotConnected) => Some(false),
            (Layer::Layer4, Self::Connected) => Some(true),
            (Layer::Layer4, _) | (Layer::Layer7, Self::Connected) => None,
            (Layer::Layer7, Self::Response(status)) => Some(matches!(status, 100..=499 | 501 | 505)),
            (Layer::Layer7, Self::NoResponse | Self::Broken | Self::BadResponse) => Some(false),
        }
    }

    fn code(self) -> u16 {
        match self {
            Self::Connected => 0,
            Self::NotConnected => 1,
            Self::NoResponse => 2,
            Self::Broken => 3,
            Self::BadResponse => 4,
            Self::Response(status) => status,
        }
    }

    fn of(code: u16) -> Self {
        match code {
            0 => Self::Connected,
            1 => Self::NotConnected,
            2 => Self::NoResponse,
            3 => Self::Broken,
            4 => Self::BadResponse,
            status => Self::Response(status),
        }
    }

    /// What HAProxy calls it.
    pub(crate) fn haproxys(self) -> &'static str {
        match self {
            Self::Connected => "L4 successful connection",
            Self::NotConnected => "L4 unsuccessful connection",
            Self::NoResponse => "Read timeout (http)",
            Self::Broken => "Close from server (http)",
            Self::BadResponse => "Invalid http response (headers)",
            Self::Response(_) => "Wrong http response",
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::NotConnected => f.write_str("can't connect"),
            Self::NoResponse => f.write_str("no response in time"),
            Self::Broken => f.write_str("connection broke"),
            Self::BadResponse => f.write_str("invalid response"),
            Self::Response(status) => write!(f, "status {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnError;

    fn reached(layer: Layer, error_limit: u32, seen: &[Seen]) -> u32 {
        let watch = Watch::default();
        let observe = Observe { layer, error_limit, on_error: OnError::FailCheck };
        seen.iter().for_each(|&seen| watch.note(&observe, seen));
        watch.reached.load(Ordering::Relaxed)
    }

    #[test]
    fn errors_in_a_row_reach_the_limit_and_a_good_outcome_begins_anew() {
        use Seen::{Connected, NotConnected, Response};
        assert_eq!(reached(Layer::Layer4, 3, &[NotConnected, NotConnected, Connected, NotConnected]), 0);
        assert_eq!(reached(Layer::Layer4, 3, &[NotConnected; 7]), 2);
        assert_eq!(reached(Layer::Layer7, 2, &[Response(503), Response(200), Response(503)]), 0);
        assert_eq!(reached(Layer::Layer7, 2, &[Response(503), Connected, Response(502)]), 1);
        assert_eq!(reached(Layer::Layer4, 1, &[Response(503), Seen::NoResponse]), 0);
    }

    #[test]
    fn statuses_are_good_as_in_haproxy() {
        for good in [100, 200, 302, 404, 499, 501, 505] {
            assert_eq!(Seen::Response(good).judge(Layer::Layer7), Some(true), "{good}");
        }
        for bad in [500, 502, 503, 504, 506, 999] {
            assert_eq!(Seen::Response(bad).judge(Layer::Layer7), Some(false), "{bad}");
        }
    }

    #[tokio::test]
    async fn reaching_the_limit_wakes_who_waits_and_names_the_last_error() {
        let watch = Watch::default();
        let observe = Observe { layer: Layer::Layer7, error_limit: 1, on_error: OnError::FailCheck };
        watch.note(&observe, Seen::Response(503));
        assert_eq!(watch.reached().await, Seen::Response(503));
        watch.note(&observe, Seen::NotConnected);
        assert_eq!(watch.reached().await, Seen::NotConnected);
    }
}
