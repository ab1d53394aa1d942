use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use super::*;

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll(deadline: &Deadline) -> bool {
    deadline.poll_expired(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn deadline_fires_no_earlier_than_asked_and_at_most_two_ticks_later() {
    // The first moment at which it may fire and the first at which it must have.
    for (after, not_yet, fired) in [(0, 99, 200), (1, 199, 300), (100, 199, 300), (5_000, 5_099, 5_200)] {
        let wheel = Wheel::new();
        let deadline = wheel.deadline();
        deadline.arm(millis(after));
        wheel.advance(millis(not_yet));
        assert!(!poll(&deadline), "{after} ms fired at {not_yet}");
        wheel.advance(millis(fired));
        assert!(poll(&deadline), "{after} ms had not fired at {fired}");
    }
}

#[test]
fn deadline_armed_late_in_a_tick_still_waits_its_whole_time() {
    let wheel = Wheel::new();
    wheel.advance(millis(199));
    let deadline = wheel.deadline();
    deadline.arm(millis(100));
    wheel.advance(millis(299));
    assert!(!poll(&deadline));
    wheel.advance(millis(400));
    assert!(poll(&deadline));
}

#[test]
fn touch_moves_the_deadline_without_moving_its_place() {
    let wheel = Wheel::new();
    let deadline = wheel.deadline();
    deadline.arm(millis(500));
    let place = deadline.entry.linked.get();
    for now in [100, 200, 300, 400] {
        wheel.advance(millis(now));
        deadline.touch();
        assert_eq!(deadline.entry.linked.get(), place);
    }
    wheel.advance(millis(899));
    assert!(!poll(&deadline));
    wheel.advance(millis(1_100));
    assert!(poll(&deadline));
}

#[test]
fn nearer_deadline_fires_at_its_own_moment() {
    let wheel = Wheel::new();
    let deadline = wheel.deadline();
    deadline.arm(millis(50_000));
    deadline.arm(millis(200));
    wheel.advance(millis(400));
    assert!(poll(&deadline));
}

#[test]
fn deadline_beyond_one_turn_fires_in_its_own_turn() {
    let wheel = Wheel::new();
    let deadline = wheel.deadline();
    deadline.arm(Duration::from_secs(3_600));
    for second in 1..=3_600 {
        wheel.advance(Duration::from_secs(second));
        assert!(!poll(&deadline), "fired after {second} s");
    }
    wheel.advance(millis(3_600_200));
    assert!(poll(&deadline));
}

#[test]
fn pause_longer_than_a_turn_fires_what_is_due_and_nothing_else() {
    let wheel = Wheel::new();
    let (due, later) = (wheel.deadline(), wheel.deadline());
    due.arm(Duration::from_secs(10));
    later.arm(Duration::from_secs(9_000));
    wheel.advance(Duration::from_secs(5_000));
    assert!(poll(&due));
    assert!(!poll(&later));
    wheel.advance(Duration::from_secs(9_001));
    assert!(poll(&later));
}

#[test]
fn disarmed_deadline_never_fires_and_can_be_armed_again() {
    let wheel = Wheel::new();
    let deadline = wheel.deadline();
    deadline.arm(millis(100));
    deadline.disarm();
    wheel.advance(millis(10_000));
    assert!(!poll(&deadline));
    deadline.arm(millis(100));
    wheel.advance(millis(10_200));
    assert!(poll(&deadline));
}

#[test]
fn dropped_deadline_leaves_the_others_of_its_slot_in_place() {
    let wheel = Wheel::new();
    let deadlines: Vec<_> = (0..5).map(|_| wheel.deadline()).collect();
    for deadline in &deadlines {
        deadline.arm(millis(300));
    }
    let mut deadlines = deadlines.into_iter();
    let (first, second) = (deadlines.next().unwrap(), deadlines.next().unwrap());
    drop(first);
    drop(deadlines.next_back());
    drop(second);
    wheel.advance(millis(500));
    assert!(deadlines.all(|deadline| poll(&deadline)));
    assert!(wheel.slots.iter().all(|slot| slot.borrow().is_empty()));
}

#[test]
fn firing_wakes_the_task_that_polled_last_once() {
    let wheel = Wheel::new();
    let deadline = wheel.deadline();
    deadline.arm(millis(100));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    assert!(deadline.poll_expired(&mut Context::from_waker(&waker)).is_pending());
    wheel.advance(millis(1_000));
    wheel.advance(millis(2_000));
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}
