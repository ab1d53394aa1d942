use std::{collections::VecDeque, net::IpAddr};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const KEEP: Duration = Duration::from_secs(60);

impl Value for u32 {
    /// Odd numbers are in use.
    fn is_in_use(&self) -> bool {
        self % 2 == 1
    }
}

fn capacity(size: u32) -> Capacity {
    Capacity { size: NonZeroU32::new(size).unwrap(), expire: KEEP }
}

fn keys() -> Keys {
    Keys::new(64)
}

fn key(n: u32) -> Key {
    keys().address(IpAddr::V4(n.into()))
}

fn rate(count: u32, per: Duration) -> Rate {
    Rate { count: NonZeroU32::new(count).unwrap(), per }
}

#[test]
fn entry_is_found_until_it_expires_and_each_use_counts() {
    let table = Table::<u32>::new(capacity(10));
    table.change(key(1), SECOND, |value| *value = 8);
    assert_eq!(table.find(key(1), KEEP, |value| *value), Some(8));
    // 60 s after the first use, 1 s after the last one.
    assert_eq!(table.find(key(1), KEEP + SECOND, |value| *value), Some(8));
    assert_eq!(table.find(key(1), 2 * KEEP + SECOND, |value| *value), None);
    assert_eq!(table.find(key(2), SECOND, |value| *value), None);
}

#[test]
fn full_table_forgets_who_was_away_longest() {
    let table = Table::<u32>::new(capacity(3));
    for n in 1..=3 {
        table.change(key(n), SECOND, |value| *value = 2 * n);
    }
    table.find(key(1), 2 * SECOND, |_| ());
    table.change(key(4), 3 * SECOND, |value| *value = 8);
    let left: Vec<_> = (1..=4).map(|n| table.find(key(n), 3 * SECOND, |value| *value)).collect();
    assert_eq!(left, [Some(2), None, Some(6), Some(8)]);
    assert_eq!((table.len(), table.evictions()), (3, 1));
}

#[test]
fn entry_in_use_neither_expires_nor_makes_room() {
    let table = Table::<u32>::new(capacity(1));
    table.change(key(1), SECOND, |value| *value = 1);
    for n in 2..10 {
        table.change(key(n), 2 * SECOND, |value| *value = 2);
    }
    assert_eq!(table.find(key(1), 10 * KEEP, |value| *value), Some(1));
    table.change(key(1), 10 * KEEP, |value| *value = 2);
    table.sweep(11 * KEEP);
    assert!(table.is_empty());
}

#[test]
fn sweep_removes_what_has_expired_and_nothing_else() {
    let table = Table::<u32>::new(capacity(10_000));
    for n in 0..1000 {
        table.change(key(n), SECOND, |_| ());
    }
    for n in 1000..1010 {
        table.change(key(n), 2 * SECOND, |_| ());
    }
    table.sweep(KEEP + SECOND);
    assert_eq!((table.len(), table.evictions()), (10, 0));
}

#[test]
fn smaller_size_and_expiry_count_at_once() {
    let table = Table::<u32>::new(capacity(100));
    for n in 0..100 {
        table.change(key(n), SECOND, |_| ());
    }
    table.resize(Capacity { size: NonZeroU32::new(10).unwrap(), expire: 5 * SECOND });
    assert_eq!(table.len(), 10);
    assert!(table.find(key(99), 5 * SECOND, |_| ()).is_some());
    assert!(table.find(key(98), 6 * SECOND, |_| ()).is_none());
}

#[test]
fn shards_together_hold_the_size_and_no_more() {
    let table = Table::<u32>::new(capacity(20_001));
    for n in 0..100_000 {
        table.change(key(n), SECOND, |_| ());
    }
    assert_eq!(table.len(), 20_001);
}

#[test]
fn ipv6_sources_are_networks_and_ipv4_sources_addresses() {
    let key = |text: &str| keys().address(text.parse().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    let whole = Keys::new(128);
    assert_ne!(whole.address("2001:db8::1".parse().unwrap()), whole.address("2001:db8::2".parse().unwrap()));
}

#[test]
fn keys_of_bytes_are_secret_and_differ() {
    let (ours, others) = (keys(), keys());
    assert_eq!(ours.bytes(b"a"), ours.bytes(b"a"));
    assert_ne!(ours.bytes(b"a"), ours.bytes(b"b"));
    assert_ne!(ours.bytes(b"a"), others.bytes(b"a"));
}

#[test]
fn window_counts_what_it_covers_of_the_period_before() {
    let mut window = Window::default();
    for _ in 0..10 {
        window.take(SECOND, rate(100, 10 * SECOND)).unwrap();
    }
    let counts: Vec<_> =
        [1, 9, 10, 11, 15, 19, 20].map(|now| window.count(now * SECOND, 10 * SECOND)).to_vec();
    assert_eq!(counts, [10, 10, 10, 9, 5, 1, 0]);
}

#[test]
fn refused_ones_do_not_count_and_are_told_how_long_to_wait() {
    let limiter = RateLimiter::new(rate(3, 10 * SECOND), NonZeroU32::new(10).unwrap(), 64, None);
    let source = |n: u8| IpAddr::from([192, 0, 2, n]);
    let from = 100 * SECOND;
    for _ in 0..3 {
        assert_eq!(limiter.check_source(source(1), from), Ok(()));
    }
    // All three came at 100 s: the next may come when they weigh two, a third of a period after the next one begins.
    for _ in 0..5 {
        assert_eq!(limiter.check_source(source(1), from), Err(Duration::from_secs(14)));
    }
    assert_eq!(limiter.check_source(source(1), from + 13 * SECOND), Err(SECOND));
    assert_eq!(limiter.check_source(source(1), from + 14 * SECOND), Ok(()));
    assert_eq!(limiter.check_source(source(2), from), Ok(()));
    for _ in 0..3 {
        assert_eq!(limiter.check_value(b"key", from), Ok(()));
    }
    assert_eq!(limiter.check_value(b"key", from), Err(Duration::from_secs(14)));
    assert_eq!(limiter.check_value(b"other", from), Ok(()));
}

#[test]
fn limiter_goes_on_with_what_the_one_before_it_has_counted() {
    let size = NonZeroU32::new(10).unwrap();
    let before = RateLimiter::new(rate(2, 10 * SECOND), size, 64, None);
    let (source, other) = (IpAddr::from([192, 0, 2, 1]), "2001:db8::1".parse().unwrap());
    for key in [&b"a"[..], b"b"] {
        before.check_value(key, SECOND).unwrap();
        before.check_value(key, SECOND).unwrap();
    }
    before.check_source(source, SECOND).unwrap();
    before.check_source(other, SECOND).unwrap();
    let after = RateLimiter::new(rate(3, 10 * SECOND), size, 48, Some(&before));
    assert_eq!(after.check_value(b"a", SECOND), Ok(()));
    assert!(after.check_value(b"a", SECOND).is_err());
    // The old one is still asked by those who have not gone over: both see the same.
    assert!(before.check_value(b"a", SECOND).is_err());
    for _ in 0..2 {
        after.check_source(source, SECOND).unwrap();
    }
    assert!(after.check_source(source, SECOND).is_err());
    assert_eq!(after.table().len(), 4);
}

#[test]
fn source_has_so_many_connections_and_gets_them_back() {
    let sources = Sources::new(
        SourceLimits {
            connections: NonZeroU32::new(2),
            connection_rate: None,
            size: NonZeroU32::MIN,
            ipv6_prefix: 64,
        },
        None,
    );
    let enter = |address: &str| sources.enter(address.parse().unwrap(), SECOND);
    let (first, _second) = (enter("192.0.2.1").unwrap(), enter("192.0.2.1").unwrap());
    assert_eq!(enter("192.0.2.1").unwrap_err(), Refusal::Connections);
    // More sources than the table has room for: none in use is forgotten.
    let _others: Vec<_> = (2..50).map(|n| enter(&format!("192.0.2.{n}")).unwrap()).collect();
    assert_eq!(enter("192.0.2.1").unwrap_err(), Refusal::Connections);
    drop(first);
    assert!(enter("192.0.2.1").is_ok());
}

#[test]
fn source_opens_connections_no_faster_than_it_may() {
    let sources = Sources::new(
        SourceLimits {
            connections: None,
            connection_rate: Some(rate(2, 10 * SECOND)),
            size: NonZeroU32::new(100).unwrap(),
            ipv6_prefix: 64,
        },
        None,
    );
    let enter = |now: u32| sources.enter("192.0.2.1".parse().unwrap(), now * SECOND).map(drop);
    assert_eq!([enter(100), enter(100)], [Ok(()), Ok(())]);
    assert_eq!(enter(101), Err(Refusal::Rate { retry_after: 14 * SECOND }));
    assert_eq!(enter(115), Ok(()));
}

#[test]
fn stuck_clients_keep_their_server_by_name_over_a_new_configuration() {
    let address = |n: u8| IpAddr::from([192, 0, 2, n]);
    let before = Stick::new(capacity(10), 64, ["web1", "web2", "web3"], None);
    for n in 0..3 {
        before.store(address(n), n.into(), SECOND);
    }
    let after = Stick::new(capacity(20), 64, ["new", "web3", "web1"], Some(&before));
    let servers: Vec<_> = (0..3).map(|n| after.server(address(n), SECOND)).collect();
    assert_eq!(servers, [Some(2), None, Some(1)]);
    // Connections that still run under the old configuration keep finding theirs.
    assert_eq!(before.server(address(1), SECOND), Some(1));
    assert_eq!(after.server(address(9), SECOND), None);
}

#[test]
fn open_connections_and_rates_count_over_a_new_configuration() {
    let limits = |connections| SourceLimits {
        connections: NonZeroU32::new(connections),
        connection_rate: Some(rate(10, SECOND)),
        size: NonZeroU32::new(100).unwrap(),
        ipv6_prefix: 64,
    };
    let before = Sources::new(limits(3), None);
    let source = "192.0.2.1".parse().unwrap();
    let held: Vec<_> = (0..3).map(|_| before.enter(source, SECOND).unwrap()).collect();
    let after = Sources::new(limits(2), Some(&before));
    assert_eq!(after.enter(source, SECOND).unwrap_err(), Refusal::Connections);
    drop(held);
    assert!(after.enter(source, SECOND).is_ok());
}

#[derive(Clone, Debug)]
enum Step {
    Change(u32, u32),
    Find(u32),
    Wait(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..20u32, 0..4u32).prop_map(|(key, value)| Step::Change(key, value)),
        3 => (0..20u32).prop_map(Step::Find),
        2 => (0..40u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
    ]
}

/// What a table is meant to be, as slow as can be: entries by last use, oldest first.
#[derive(Default)]
struct Model {
    entries: VecDeque<(u32, u32, Duration)>,
}

impl Model {
    fn expire(&mut self, now: Duration) {
        self.entries.retain(|&(_, value, used)| value % 2 == 1 || now - used < KEEP);
    }

    fn change(&mut self, key: u32, value: u32, now: Duration, size: usize) {
        self.expire(now);
        self.entries.retain(|&(known, ..)| known != key);
        self.entries.push_back((key, value, now));
        let idle = |entry: &(u32, u32, Duration)| entry.1.is_multiple_of(2);
        while self.entries.iter().filter(|entry| idle(entry)).count() > size {
            let at = self.entries.iter().position(idle).unwrap();
            self.entries.remove(at);
        }
    }

    fn find(&mut self, key: u32, now: Duration) -> Option<u32> {
        self.expire(now);
        let at = self.entries.iter().position(|&(known, ..)| known == key)?;
        let (_, value, _) = self.entries.remove(at)?;
        self.entries.push_back((key, value, now));
        Some(value)
    }
}

proptest! {
    #[test]
    fn table_behaves_like_a_list_by_last_use(size in 1..8u32, steps in prop::collection::vec(step(), 1..200)) {
        let (table, mut model) = (Table::<u32>::new(capacity(size)), Model::default());
        let mut now = SECOND;
        for step in steps {
            match step {
                Step::Change(n, value) => {
                    table.change(key(n), now, |known| *known = value);
                    model.change(n, value, now, size as usize);
                }
                Step::Find(n) => {
                    prop_assert_eq!(table.find(key(n), now, |known| *known), model.find(n, now));
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Sweep => {
                    table.sweep(now);
                    model.expire(now);
                    prop_assert_eq!(table.len(), model.entries.len());
                }
            }
        }
    }

    #[test]
    fn never_more_than_twice_the_limit_in_any_window(
        limit in 1..20u32,
        gaps in prop::collection::vec(0..3_000u64, 1..300),
    ) {
        let per = 10 * SECOND;
        let (mut window, mut now, mut taken) = (Window::default(), 7 * SECOND, VecDeque::new());
        for gap in gaps {
            now += Duration::from_millis(gap);
            match window.take(now, rate(limit, per)) {
                Ok(()) => taken.push_back(now),
                Err(wait) => {
                    // Neither sooner than promised nor later.
                    prop_assert!(wait > Duration::ZERO && wait < 2 * per);
                    let mut then = window;
                    prop_assert!(then.take(now + wait, rate(limit, per)).is_ok());
                    let mut before = window;
                    let soon = now + wait - wait.min(Duration::from_millis(2));
                    prop_assert!(soon <= now || before.take(soon, rate(limit, per)).is_err());
                }
            }
            while taken.front().is_some_and(|&first| first + per <= now) {
                taken.pop_front();
            }
            prop_assert!(taken.len() < 2 * limit as usize || limit == 1 && taken.len() <= 2);
        }
    }

    #[test]
    fn over_many_windows_the_limit_holds(limit in 1..50u32, every in 1..2_000u64) {
        let (mut window, per) = (Window::default(), 5 * SECOND);
        let taken = (0..)
            .map(|n| SECOND + Duration::from_millis(n * every))
            .take_while(|&now| now < 501 * SECOND)
            .filter(|&now| window.take(now, rate(limit, per)).is_ok())
            .count();
        prop_assert!(taken <= 101 * limit as usize + limit as usize, "{taken} of {limit} in 5 s");
    }
}
