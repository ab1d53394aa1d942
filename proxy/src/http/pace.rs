//! How fast a client has to send its content: what it may still wait, as a credit that time uses up and bytes fill.
//!
//! No clock in here: who waits says how long it took, in ticks of the wheel.

use std::{cell::Cell, time::Duration};

use super::outcome::Termination;
use crate::{
    config::Frontend,
    connection::Connection,
    stream::Stream,
    wheel::{Deadline, TICK},
};

/// Ticks in a second: credit is kept in so many parts of a byte.
const TICKS: u64 = 1000 / TICK.as_millis() as u64;

/// The pace of one request's content.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes per second; 0 is any.
    rate: u64,
    credit: Cell<u64>,
    most: u64,
    /// It has not begun because it waits to be told so (100-continue): nobody's fault.
    is_held: Cell<bool>,
}

/// It was slower than it has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooSlow;

impl Pace {
    /// `timeout.http_request` to begin with; what was sent faster makes good for a pause of `timeout.client`.
    pub(super) fn new(frontend: &Frontend, waits_for_continue: bool) -> Self {
        let rate = frontend.options.min_body_rate.map_or(0, |rate| u64::from(rate.get()));
        let ticks = |time: Duration| u64::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
        let first = rate.saturating_mul(ticks(frontend.timeout.http_request));
        Self {
            rate,
            credit: Cell::new(first),
            most: rate.saturating_mul(ticks(frontend.timeout.client)).max(first),
            is_held: Cell::new(waits_for_continue),
        }
    }

    /// How long the next wait may take, of at most `inactivity`.
    pub(super) fn limit(&self, inactivity: Duration) -> Duration {
        if self.rate == 0 || self.is_held.get() {
            return inactivity;
        }
        let ticks = u32::try_from(self.credit.get() / self.rate).unwrap_or(u32::MAX);
        inactivity.min(TICK.saturating_mul(ticks))
    }

    /// A wait for bytes took so many ticks.
    pub(super) fn waited(&self, ticks: u64) -> Result<(), TooSlow> {
        if self.is_held.get() {
            return Ok(());
        }
        let left = self.credit.get().checked_sub(self.rate.saturating_mul(ticks)).ok_or(TooSlow)?;
        self.credit.set(left);
        Ok(())
    }

    /// Waits for bytes of the client, for as long as its inactivity and its pace allow.
    pub(super) async fn readable<S: Stream>(
        &self,
        connection: &Connection<S>,
        deadline: &Deadline,
    ) -> Result<(), Termination> {
        let wheel = connection.worker().wheel();
        let since = wheel.ticks();
        deadline.arm(self.limit(connection.frontend().timeout.client));
        let ready = deadline.guard(connection.stream().readable()).await;
        let pace = self.waited(wheel.ticks() - since);
        match (ready, pace) {
            (Ok(Ok(())), Ok(())) => Ok(()),
            (Ok(Err(_)), _) => Err(Termination::ClientAbortInData),
            (Err(_), _) | (_, Err(TooSlow)) => Err(Termination::ClientTimeoutInData),
        }
    }

    /// Bytes came.
    pub(super) fn received(&self, bytes: u64) {
        self.is_held.set(false);
        let credit = self.credit.get().saturating_add(bytes.saturating_mul(TICKS));
        self.credit.set(credit.min(self.most));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Mode;

    /// 500 bytes per second, 10 s to begin with, 50 s at most.
    fn pace(rate: u32, waits_for_continue: bool) -> Pace {
        let mut frontend = Frontend::new("front", Mode::Http, Vec::new());
        frontend.options.min_body_rate = NonZeroU32::new(rate);
        Pace::new(&frontend, waits_for_continue)
    }

    /// Seconds for which a client that sends `bytes` every `ticks` is borne, of at most an hour.
    fn seconds(pace: &Pace, bytes: u64, ticks: u64) -> u64 {
        let mut past = 0;
        while past < 36_000 && pace.waited(ticks).is_ok() {
            past += ticks;
            pace.received(bytes);
        }
        past / TICKS
    }

    #[test]
    fn client_below_the_rate_is_borne_for_its_first_time_and_what_it_sent() {
        // slowhttptest's slow body: 32 bytes every 10 s.
        assert_eq!(seconds(&pace(500, false), 32, 100), 10);
        assert_eq!(seconds(&pace(500, false), 1, 1), 10);
        assert_eq!(seconds(&pace(500, false), 25, 1), 19);
        assert_eq!(seconds(&pace(500, false), 50, 1), 3600);
        assert_eq!(seconds(&pace(0, false), 1, 100), 3600);
    }

    #[test]
    fn pause_is_made_good_by_what_was_sent_faster_up_to_the_inactivity() {
        let pace = pace(500, false);
        pace.received(1 << 30);
        assert_eq!(pace.limit(Duration::from_secs(3600)), Duration::from_secs(50));
        assert_eq!(pace.limit(Duration::from_secs(20)), Duration::from_secs(20));
        assert_eq!(pace.waited(490), Ok(()));
        assert_eq!(pace.limit(Duration::from_secs(20)), Duration::from_secs(1));
        assert_eq!(pace.waited(11), Err(TooSlow));
    }

    #[test]
    fn client_that_waits_to_be_told_to_continue_is_not_slow() {
        let pace = pace(500, true);
        assert_eq!(pace.waited(1000), Ok(()));
        assert_eq!(pace.limit(Duration::from_secs(50)), Duration::from_secs(50));
        pace.received(1);
        assert_eq!(pace.waited(101), Err(TooSlow));
    }
}
