//! Waiting for what can be asked.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until `probe` finds something.
///
/// # Panics
/// It does not within `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    at_most(limit, probe).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Waits until `probe` finds something, or for `limit`.
pub fn at_most<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
