//! A value that one side swaps whole and the others copy once per swap.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Published<T> {
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { version: AtomicU64::new(1), value: Mutex::new(Arc::new(value)) }
    }

    pub(crate) fn load(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn store(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Swaps it for a changed copy.
    pub(crate) fn update(&self, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        let mut shared = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = T::clone(&shared);
        change(&mut value);
        *shared = Arc::new(value);
        drop(shared);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Grows with every swap. Read it before [`Self::load`], so that a swap in between is seen next time.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
