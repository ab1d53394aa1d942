//! How a Backup becomes Active, and what an Active does from then on.

use super::*;

/// Priority 254 at 100 ms: Skew_Time 781.25 us, Active_Down_Interval 300.78125 ms.
#[test]
fn v_30_backup_is_silent_for_exactly_active_down_interval_then_advertises_adds_and_announces() {
    let mut node = Node::backup(config(254));
    assert_eq!(node.run(300_781), Vec::<String>::new());
    // 300.78125 ms: a quarter of a microsecond later.
    assert_eq!(
        node.run(1),
        [
            "0 us: advertise 254",
            "0 us: add 192.0.2.100",
            "0 us: Backup -> Active: nobody advertises, listened for 300 ms",
            "0 us: announce 192.0.2.100",
        ]
    );
}

/// The last deadline before the claim is BEGIN + 300.78125 ms to the nanosecond.
#[test]
fn skew_time_divides_last_and_is_not_truncated() {
    let node = Node::backup(config(254));
    let (at, _) = node.group.poll_timeout().unwrap();
    assert_eq!(at.saturating_since(BEGIN), Duration::from_nanos(300_781_250));
    let mut fast = config(254);
    fast.members = vec![member("web", 51, Version::V3, 10)];
    let (at, _) = Node::backup(fast).group.poll_timeout().unwrap();
    assert_eq!(at.saturating_since(BEGIN), Duration::from_nanos(30_078_125));
    let mut old = config(100);
    old.members = vec![member("web", 51, Version::V2, 1_000)];
    let (at, _) = Node::backup(old).group.poll_timeout().unwrap();
    assert_eq!(at.saturating_since(BEGIN), Duration::from_nanos(3_609_375_000));
}
