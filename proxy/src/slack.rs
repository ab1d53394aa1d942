//! What a peak has left with the allocator goes back to the kernel once the peak is over.
//!
//! Workers give what they don't need back to the allocator (see [`crate::unused`]), and the allocator of the C library
//! gives only the end of its areas to the kernel: one small thing behind them keeps all pages of a peak. So after a peak it
//! is told to give back every free page (malloc_trim), on a thread that serves nobody. It holds the lock of one area at a
//! time; a worker that allocates meanwhile waits for that, so this is done seldom, and not while there is traffic that
//! needs the pages again. A file that was read leaves as much behind: so it is done after a start and a reload, too.
#![allow(unsafe_code, reason = "a function of the C library that no safe crate has")]

use std::{
    ptr,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::task::spawn_blocking;

use crate::{health::board::Board, rates::SAMPLE_EVERY};

/// A peak that is over: connections fell by so many, to less than half.
const CONNECTIONS: u64 = 500;
/// So many less in a second are no sign that it is not over yet.
const FEW: u64 = 12;
/// Or workers have dropped so many bytes of buffers.
const BYTES: u64 = 1 << 20;
/// So long nothing more was dropped, and connections were not closed by the dozen: workers halve what they don't need each second.
const QUIET: Duration = Duration::from_secs(10);
/// It is never quiet.
const LONGEST: Duration = Duration::from_secs(45);
/// Between two times.
const PAUSE: Duration = Duration::from_secs(30);

/// Looks once a second whether a peak is over, for ever.
pub(crate) async fn give_back(board: Arc<Board>) {
    let mut slack = Slack::default();
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    let mut configured = Weak::new();
    loop {
        ticks.tick().await;
        let node = board.node();
        if !ptr::eq(configured.as_ptr(), &*node) {
            configured = Arc::downgrade(&node);
            slack.has_read = true;
        }
        let dropped = node.counters.iter().map(|worker| worker.dropped.value()).sum();
        if slack.is_due(node.now(), node.connections.taken().into(), dropped) {
            let begin = node.now();
            // It ends with the runtime if that ends now, and nobody misses it.
            let gave = spawn_blocking(trim).await.unwrap_or_default();
            let took = node.now().saturating_sub(begin);
            tracing::debug!(gave, ?took, "free memory was given back to the kernel");
        }
    }
}

/// Since the last time, or the start.
#[derive(Debug, Default)]
struct Slack {
    /// The most connections.
    peak: u64,
    /// Of the bytes that were dropped, those before.
    dropped: u64,
    /// A configuration came into force.
    has_read: bool,
    /// Since when there is something.
    since: Option<Duration>,
    /// When something was dropped or closed last.
    moved: Duration,
    /// Connections and bytes at the last look.
    looked: (u64, u64),
    last: Option<Duration>,
}

impl Slack {
    /// Is it time, with so many connections open, and so many bytes dropped since the start? From then on it counts anew.
    fn is_due(&mut self, now: Duration, open: u64, dropped: u64) -> bool {
        self.peak = self.peak.max(open);
        if dropped != self.looked.1 || open + FEW < self.looked.0 {
            self.moved = now;
        }
        self.looked = (open, dropped);
        let has_fallen = self.peak - open >= CONNECTIONS && open < self.peak / 2;
        // A reload may begin a count anew.
        let has_dropped = dropped.saturating_sub(self.dropped) >= BYTES;
        if !has_fallen && !has_dropped && !self.has_read {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let passed = |since: Duration, wait: Duration| now.saturating_sub(since) >= wait;
        let is_settled = passed(since.max(self.moved), QUIET) || passed(since, LONGEST);
        if !is_settled || self.last.is_some_and(|last| !passed(last, PAUSE)) {
            return false;
        }
        *self = Self { peak: open, dropped, last: Some(now), looked: self.looked, ..Self::default() };
        true
    }
}

/// Every page that nothing is on, whoever's area it is in; was there one?
#[cfg(target_env = "gnu")]
fn trim() -> bool {
    // SAFETY: it takes the allocator's own locks, and frees nothing that anybody has.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other C libraries give pages back by themselves, or have no way to be told.
#[cfg(not(target_env = "gnu"))]
fn trim() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once a second: how many are open and what was dropped so far; the seconds at which it was time.
    fn due(seconds: u64, at: impl Fn(u64) -> (u64, u64)) -> Vec<u64> {
        let mut slack = Slack::default();
        let is_due = |second: &u64| {
            let (open, dropped) = at(*second);
            slack.is_due(Duration::from_secs(*second), open, dropped)
        };
        (0..seconds).filter(is_due).collect()
    }

    #[test]
    fn peak_that_is_over_is_given_back_once_and_within_a_minute() {
        assert_eq!(due(600, |second| (if second < 100 { 8_000 } else { 10 }, 0)), [110]);
    }

    #[test]
    fn peak_that_ends_slowly_is_given_back_in_halves() {
        assert_eq!(due(2_000, |second| (8_000_u64.saturating_sub(second * 10), 0)), [411, 616, 719, 779]);
    }

    #[test]
    fn steady_traffic_and_small_peaks_are_left_alone() {
        assert!(due(600, |second| (8_000 - second % 2 * 3_000, 0)).is_empty(), "it never halves");
        assert!(due(600, |second| (if second % 10 < 5 { 499 } else { 0 }, 0)).is_empty(), "they are few");
        assert!(due(600, |second| (if second % 10 < 5 { 8_000 } else { 0 }, 0)).is_empty(), "it comes back");
    }

    #[test]
    fn buffers_that_were_dropped_are_given_back_whatever_connections_there_are() {
        let dropped = |second: u64| if second < 100 { 0 } else { BYTES };
        assert_eq!(due(600, |second| (8_000, dropped(second))), [110]);
        // Bursts all the time: it is never quiet.
        let times = due(120, |second| (8_000, second * BYTES));
        assert_eq!(times, [46, 92]);
    }

    #[test]
    fn what_reading_a_file_has_left_is_given_back_once() {
        let mut slack = Slack { has_read: true, ..Slack::default() };
        let times: Vec<u64> =
            (0..300).filter(|second| slack.is_due(Duration::from_secs(*second), 10, 0)).collect();
        assert_eq!(times, [10]);
    }

    #[test]
    fn it_waits_for_connections_that_are_closed_slowly() {
        let open =
            |second: u64| if second < 100 { 8_000 } else { 8_000_u64.saturating_sub((second - 99) * 400) };
        // The last of them are closed in second 119.
        assert_eq!(due(600, |second| (open(second), 0)), [129]);
    }

    #[test]
    fn count_that_begins_anew_is_no_peak() {
        assert_eq!(due(300, |second| (10, if second < 100 { second * BYTES / 50 } else { 0 })), [95]);
    }
}
