//! The coarse timer wheel of a worker: every inactivity timeout of its connections.
//!
//! One tick is [`TICK`]. A deadline fires no earlier than asked and at most two ticks later. Re-arming is lazy: moving
//! a deadline further away, which is what every read and write does, is one store; the wheel finds out when it comes
//! to the old moment. Only a deadline that moves nearer changes its place.
//!
//! Pure: whoever owns the wheel calls [`Wheel::advance`] with the time since it was made; the worker has one task that
//! does so, so N connections cost one timer of the runtime.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The wheel's resolution.
pub const TICK: Duration = Duration::from_millis(100);

/// Ticks in one turn (102.4 s); a deadline beyond is carried into the next turn.
const SLOTS: u64 = 1024;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// The deadline has passed.
const EXPIRED: u64 = 0;

/// In no slot.
const UNLINKED: u64 = 0;

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    /// The tick that is over. Starts at 1, so that 0 can mean [`EXPIRED`] and [`UNLINKED`].
    now: Cell<u64>,
    slots: Box<[RefCell<Vec<Rc<Entry>>>]>,
}

#[derive(Debug)]
struct Entry {
    /// The tick of the deadline, or [`NEVER`] or [`EXPIRED`].
    at: Cell<u64>,
    /// What [`Deadline::touch`] adds to now, in ticks.
    period: Cell<u64>,
    /// The tick whose slot holds it, or [`UNLINKED`]; never later than `at`.
    linked: Cell<u64>,
    /// Its index in that slot.
    position: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

/// A deadline on the wheel; unarmed at first. Dropping it takes it off.
#[derive(Debug)]
pub struct Deadline {
    wheel: Rc<Wheel>,
    entry: Rc<Entry>,
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

impl Wheel {
    /// A wheel at time zero.
    pub fn new() -> Rc<Self> {
        let slots = (0..SLOTS).map(|_| RefCell::default()).collect();
        Rc::new(Self { now: Cell::new(1), slots })
    }

    /// A deadline that is not armed yet.
    pub fn deadline(self: &Rc<Self>) -> Deadline {
        let entry = Entry {
            at: Cell::new(NEVER),
            period: Cell::new(0),
            linked: Cell::new(UNLINKED),
            position: Cell::new(0),
            waker: RefCell::default(),
        };
        Deadline { wheel: Rc::clone(self), entry: Rc::new(entry) }
    }

    /// The coarse time since the wheel was made, in ticks.
    pub fn ticks(&self) -> u64 {
        self.now.get() - 1
    }

    /// `elapsed` has passed since the wheel was made: fires every deadline up to there. Going back does nothing.
    pub fn advance(&self, elapsed: Duration) {
        let to = ticks_in(elapsed).saturating_add(1);
        let from = self.now.get();
        if to <= from {
            return;
        }
        self.now.set(to);
        // After a pause longer than a turn every slot is visited once: what they hold is decided by `at` alone.
        for tick in from.saturating_add(1).max(to.saturating_sub(SLOTS - 1))..=to {
            let entries = std::mem::take(&mut *self.slot(tick).borrow_mut());
            for entry in entries {
                entry.linked.set(UNLINKED);
                let at = entry.at.get();
                if at <= to {
                    entry.at.set(EXPIRED);
                    if let Some(waker) = entry.waker.take() {
                        waker.wake();
                    }
                } else if at != NEVER {
                    self.link(entry);
                }
            }
        }
    }

    fn slot(&self, tick: u64) -> &RefCell<Vec<Rc<Entry>>> {
        let index = usize::try_from(tick % SLOTS).unwrap_or(0);
        &self.slots[index]
    }

    fn link(&self, entry: Rc<Entry>) {
        let tick = entry.at.get().min(self.now.get() + SLOTS - 1);
        debug_assert!(tick > self.now.get());
        let mut slot = self.slot(tick).borrow_mut();
        entry.linked.set(tick);
        entry.position.set(slot.len());
        slot.push(entry);
    }

    fn unlink(&self, entry: &Entry) {
        let tick = entry.linked.replace(UNLINKED);
        if tick == UNLINKED {
            return;
        }
        let mut slot = self.slot(tick).borrow_mut();
        let position = entry.position.get();
        slot.swap_remove(position);
        if let Some(moved) = slot.get(position) {
            moved.position.set(position);
        }
    }
}

impl Deadline {
    /// Fires after `after` from now, unless armed, touched or disarmed again. Zero fires at the next tick.
    pub fn arm(&self, after: Duration) {
        // One more than asked for, since the current tick may be almost over.
        let period = ticks_in(after.saturating_add(TICK - Duration::from_nanos(1))).saturating_add(1);
        self.entry.period.set(period);
        self.touch();
    }

    /// Starts the time of the last [`Self::arm`] anew.
    pub fn touch(&self) {
        let at = self.wheel.now.get().saturating_add(self.entry.period.get()).min(NEVER - 1);
        self.entry.at.set(at);
        let linked = self.entry.linked.get();
        if linked == UNLINKED || linked > at {
            self.wheel.unlink(&self.entry);
            self.wheel.link(Rc::clone(&self.entry));
        }
    }

    /// Never fires until armed again.
    pub fn disarm(&self) {
        self.entry.at.set(NEVER);
    }

    /// The same, and forgets who waits: somebody else uses it next.
    pub(crate) fn release(&self) {
        self.disarm();
        self.entry.waker.take();
    }

    /// Has it fired?
    pub fn is_expired(&self) -> bool {
        self.entry.at.get() == EXPIRED
    }

    /// Ready when it has fired, and from then on until it is armed or disarmed.
    pub fn poll_expired(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_expired() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Drives `future` until it is ready or this deadline, as it is armed (and touched meanwhile), fires.
    ///
    /// One that may not move is pinned by the caller: a function that does so holds it twice, as its argument and where it
    /// is pinned, and so does every connection that waits there.
    pub fn guard<T>(
        &self,
        mut future: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Result<T, Elapsed>> + Unpin {
        poll_fn(move |context| match Pin::new(&mut future).poll(context) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_expired(context).map(|()| Err(Elapsed)),
        })
    }

    /// Arms this deadline with `limit`, drives `future` under it, and disarms.
    pub async fn limit<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T> + Unpin,
    ) -> Result<T, Elapsed> {
        self.arm(limit);
        let result = self.guard(future).await;
        self.disarm();
        result
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.wheel.unlink(&self.entry);
    }
}

fn ticks_in(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests;
