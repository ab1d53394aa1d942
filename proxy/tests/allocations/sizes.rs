//! What large tables hold.

use std::{
    net::Ipv4Addr,
    num::NonZeroU32,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use lb_proxy::table::{Capacity, Stick};

use super::{COUNTS, COUNTS_ALL, HELD, TURN};

#[test]
fn million_entries_of_a_stick_table_hold_at_most_128_mb() {
    const ENTRIES: u32 = 1_000_000;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let capacity = Capacity { size: NonZeroU32::new(ENTRIES).unwrap(), expire: Duration::from_secs(1800) };
    let stick = Stick::new(capacity, 64, ["web1"], None);
    stick.enforce();
    HELD.store(0, Ordering::Relaxed);
    COUNTS_ALL.store(true, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    (0..ENTRIES).for_each(|n| stick.store(Ipv4Addr::from_bits(n).into(), 0, Duration::ZERO));
    COUNTS.store(false, Ordering::Relaxed);
    COUNTS_ALL.store(false, Ordering::Relaxed);
    // A full part makes room before the table as a whole is full.
    assert!(stick.table().len() > 990_000, "{}", stick.table().len());
    let held = HELD.load(Ordering::Relaxed);
    assert!((32_000_000..=128_000_000).contains(&held), "{held} bytes");
}
