//! Times that a test has to keep on a machine that is busy with other things.

use std::time::Duration;

/// What may be added to a time that the protocol or a configuration promises.
pub const SLACK: Duration = Duration::from_secs(1);
/// How often a time may be exceeded: what a busy machine adds it adds once or twice, what is wrong is wrong each time.
const ATTEMPTS: usize = 3;

/// Does what must come in time, again if it comes too late: `Err` is what took too long.
///
/// # Panics
/// It is late each time, or `test` panics.
#[track_caller]
pub fn in_time(test: impl Fn() -> Result<(), String>) {
    let late: Vec<_> =
        (0..ATTEMPTS).map_while(|_| test().inspect_err(|late| eprintln!("{late}")).err()).collect();
    assert!(late.len() < ATTEMPTS, "late each time: {late:#?}");
}

/// `Err` if it took longer than `promised` and [`SLACK`].
///
/// # Errors
/// What took too long.
pub fn within(promised: Duration, took: Duration, what: &str) -> Result<(), String> {
    if took <= promised + SLACK {
        return Ok(());
    }
    Err(format!("{what}: {took:?}, not {promised:?} and {SLACK:?}"))
}
