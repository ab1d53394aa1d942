//! Compressors of a worker: borrowed while bytes flow.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use zlib_rs::Deflate;

use super::share::Share;

/// Unused compressors that a worker keeps (6 MB).
const KEPT: usize = 16;

/// Compressors that a worker lends at a time (24 MB): a client that does not read keeps one.
const LENT: usize = 64;

/// The largest window of the format.
const WINDOW_BITS: u8 = 15;

/// The unused compressors of one worker, each at the start of a stream.
pub(crate) struct Compressors {
    #[allow(clippy::vec_box, reason = "they go in and out, and who borrows one has little room")]
    unused: RefCell<Vec<Box<Compressor>>>,
    lent: Cell<usize>,
    share: Share,
}

struct Compressor {
    level: u8,
    deflate: Deflate,
}

/// A borrowed compressor: raw DEFLATE (RFC 1951).
pub(super) struct Borrowed {
    /// Always there until it is given back.
    compressor: Option<Box<Compressor>>,
    pool: Rc<Compressors>,
}

impl Default for Compressors {
    fn default() -> Self {
        Self { unused: RefCell::default(), lent: Cell::default(), share: Share::new(Instant::now()) }
    }
}

impl Compressors {
    /// They may take so many percent of the worker's time.
    pub(crate) fn limit(&self, percent: u8) {
        self.share.limit(percent);
    }

    /// Have they taken as much as they may?
    pub(crate) fn is_spent(&self) -> bool {
        self.share.is_limited() && self.share.is_spent(Instant::now())
    }

    /// Does their work, and counts the time that it takes if that matters.
    pub(super) fn spend<R>(&self, work: impl FnOnce() -> R) -> R {
        if !self.share.is_limited() {
            return work();
        }
        let begun = Instant::now();
        let result = work();
        let now = Instant::now();
        self.share.spend(now, now.saturating_duration_since(begun));
        result
    }

    /// `None` if too many are lent, or if they have taken as much time as they may.
    pub(super) fn take(self: &Rc<Self>, level: u8) -> Option<Borrowed> {
        if self.lent.get() >= LENT || self.is_spent() {
            return None;
        }
        self.lent.set(self.lent.get() + 1);
        let mut unused = self.unused.borrow_mut();
        let found = unused.iter().rposition(|compressor| compressor.level == level);
        let compressor = match found {
            Some(at) => unused.swap_remove(at),
            None => Box::new(Compressor { level, deflate: Deflate::new(level.into(), false, WINDOW_BITS) }),
        };
        Some(Borrowed { compressor: Some(compressor), pool: Rc::clone(self) })
    }
}

impl std::fmt::Debug for Compressors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressors").field("lent", &self.lent).finish_non_exhaustive()
    }
}

impl Borrowed {
    pub(super) fn deflate(&mut self) -> Option<&mut Deflate> {
        self.compressor.as_mut().map(|compressor| &mut compressor.deflate)
    }
}

impl std::fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Borrowed").finish_non_exhaustive()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get().saturating_sub(1));
        let Some(mut compressor) = self.compressor.take() else { return };
        let mut unused = self.pool.unused.borrow_mut();
        if unused.len() < KEPT {
            compressor.deflate.reset();
            unused.push(compressor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_compressors_is_bounded_and_those_of_a_level_are_lent_again() {
        let pool = Rc::new(Compressors::default());
        let lent: Vec<_> = std::iter::from_fn(|| pool.take(1)).take(1000).collect();
        assert_eq!(lent.len(), 64);
        drop(lent);
        assert_eq!(pool.unused.borrow().len(), 16);
        let other = pool.take(9).unwrap();
        assert_eq!(pool.unused.borrow().len(), 16);
        drop(other);
        let one = pool.take(1).unwrap();
        assert_eq!(pool.unused.borrow().len(), 15);
        drop(one);
        assert_eq!((pool.unused.borrow().len(), pool.lent.get()), (16, 0));
    }
}
