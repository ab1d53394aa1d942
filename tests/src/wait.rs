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
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
