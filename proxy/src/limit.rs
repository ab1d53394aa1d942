//! Limits of the node, shared by all workers: one atomic on a cache line of its own, touched once per connection or
//! request.

use std::{
    ops::Deref,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// A value alone on its cache lines (two: the prefetcher of x86-64 fetches them in pairs), so that workers that touch
/// neighbours don't slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(T);

impl<T> Padded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Something that at most `max` connections may hold at a time. Who finds it taken waits in line.
#[derive(Debug)]
pub(crate) struct Limit {
    max: AtomicU32,
    taken: Padded<AtomicU32>,
    waiting: Padded<AtomicUsize>,
    freed: Notify,
    /// Since when somebody waits, of the moments at which that was looked at: milliseconds + 1; 0 if nobody does.
    short_since: AtomicU64,
}

/// As many as want one.
impl Default for Limit {
    fn default() -> Self {
        Self::new(u32::MAX)
    }
}

impl Limit {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max: AtomicU32::new(max),
            taken: Padded::default(),
            waiting: Padded::default(),
            freed: Notify::new(),
            short_since: AtomicU64::new(0),
        }
    }

    /// Called by the control side once a second. True when somebody waits who had not been there before; as long as all are
    /// taken then, that goes on.
    pub(crate) fn look(&self, now: Duration) -> bool {
        let waits = self.waiting.load(Ordering::Relaxed) > 0;
        let was_short = self.short_since.load(Ordering::Relaxed) > 0;
        if !(waits || was_short && self.is_full()) {
            self.short_since.store(0, Ordering::Relaxed);
        } else if !was_short {
            let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 1) + 1;
            self.short_since.store(now, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// For how long somebody has waited; `None` if nobody does.
    pub(crate) fn short_for(&self, now: Duration) -> Option<Duration> {
        let since = self.short_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_sub(Duration::from_millis(since)))
    }

    pub(crate) fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// Those who hold one keep it, even beyond a smaller `max`.
    pub(crate) fn set_max(&self, max: u32) {
        // As in `release`: whoever waits has seen the new value or is told.
        self.max.store(max, Ordering::SeqCst);
        self.freed.notify_waiters();
    }

    /// How many those who can wait may take.
    pub(crate) fn spare(&self) -> u32 {
        let max = self.max();
        max - max / 4
    }

    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.taken() >= self.max()
    }

    /// Takes one if there is one; give it back with [`Self::release`].
    pub(crate) fn try_take(&self) -> bool {
        self.try_take_of(self.max())
    }

    /// The same for what can wait: the last quarter is left to others.
    pub(crate) fn try_take_spare(&self) -> bool {
        self.try_take_of(self.spare())
    }

    fn try_take_of(&self, most: u32) -> bool {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_ok()
    }

    /// Takes one whatever the limit, for a connection that is there already.
    pub(crate) fn take(&self) {
        self.taken.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until one may have become free. No promise: try again.
    pub(crate) async fn freed(&self) {
        let _waiting = Waiting::new(&self.waiting);
        let freed = self.freed.notified();
        let mut freed = std::pin::pin!(freed);
        freed.as_mut().enable();
        // One that was given back before we were in line has not told us.
        if self.taken.load(Ordering::SeqCst) < self.max.load(Ordering::SeqCst) {
            return;
        }
        freed.await;
    }

    pub(crate) fn release(&self) {
        let before = self.taken.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

/// Counts who waits, for as long as they do.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_never_exceeded_and_frees_one_at_a_time() {
        let limit = Limit::new(2);
        assert!(limit.try_take());
        assert!(limit.try_take());
        assert!(!limit.try_take());
        assert_eq!(limit.taken(), 2);
        limit.release();
        assert!(limit.try_take());
        assert!(!limit.try_take());
    }

    #[test]
    fn last_quarter_is_for_what_can_t_wait() {
        for (max, spare) in [(0, 0), (1, 1), (3, 3), (4, 3), (10, 8), (4096, 3072)] {
            let limit = Limit::new(max);
            assert_eq!(
                std::iter::repeat_with(|| limit.try_take_spare()).take_while(|took| *took).count(),
                spare
            );
            let rest = std::iter::repeat_with(|| limit.try_take()).take_while(|took| *took).count();
            assert_eq!(spare + rest, usize::try_from(max).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limit_is_short_from_when_somebody_waits_until_not_all_are_taken() {
        let limit = Limit::new(1);
        let at = Duration::from_secs;
        assert!(limit.try_take());
        assert_eq!((limit.look(at(0)), limit.short_for(at(0))), (false, None));
        let freed = limit.freed();
        let looked = async { (limit.look(at(1)), limit.short_for(at(1))) };
        let looked = tokio::select! {
            biased;
            () = freed => panic!("it is taken"),
            looked = looked => looked,
        };
        assert_eq!(looked, (true, Some(at(0))));
        assert_eq!((limit.look(at(2)), limit.short_for(at(9))), (false, Some(at(8))));
        assert_eq!((limit.look(at(3)), limit.short_for(at(9))), (false, Some(at(8))));
        limit.release();
        assert_eq!((limit.look(at(4)), limit.short_for(at(9))), (false, None));
    }

    #[tokio::test(start_paused = true)]
    async fn waiter_is_woken_by_a_release_and_not_before() {
        let limit = Limit::new(1);
        assert!(limit.try_take());
        let woken = tokio::time::timeout(Duration::from_secs(60), limit.freed()).await;
        assert!(woken.is_err());
        let ((), ()) = tokio::join!(limit.freed(), async { limit.release() });
        assert!(limit.try_take());
    }

    #[tokio::test(start_paused = true)]
    async fn waiter_is_woken_by_a_larger_limit_and_a_smaller_one_takes_nothing_away() {
        let limit = Limit::new(1);
        assert!(limit.try_take());
        let ((), ()) = tokio::join!(limit.freed(), async { limit.set_max(2) });
        assert!(limit.try_take());
        limit.set_max(1);
        assert_eq!((limit.taken(), limit.try_take()), (2, false));
        limit.release();
        assert!(!limit.try_take());
        limit.take();
        assert_eq!(limit.taken(), 2);
    }
}
