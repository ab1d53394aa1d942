//! What a worker lends again instead of making it anew: as much of it as was needed lately, so that a peak costs nothing
//! while it lasts, and does not stay.

use std::cell::{Cell, RefCell};

/// So many are kept in any case.
const FLOOR: usize = 16;

/// Things of one kind that nobody uses.
#[derive(Debug)]
pub(crate) struct Unused<T> {
    things: RefCell<Vec<T>>,
    /// The fewest that there were since the last sweep: so many were not needed.
    fewest: Cell<usize>,
}

impl<T> Default for Unused<T> {
    fn default() -> Self {
        Self { things: RefCell::default(), fewest: Cell::default() }
    }
}

impl<T> Unused<T> {
    /// The one that was given back last, whose memory is still warm.
    pub(crate) fn take(&self) -> Option<T> {
        let mut things = self.things.borrow_mut();
        let thing = things.pop();
        self.fewest.set(self.fewest.get().min(things.len()));
        thing
    }

    pub(crate) fn give_back(&self, thing: T) {
        self.things.borrow_mut().push(thing);
    }

    /// Drops half of those that were not needed since the last time; how many. Due once a second.
    pub(crate) fn sweep(&self) -> usize {
        let mut things = self.things.borrow_mut();
        let spare = self.fewest.get().div_ceil(2).min(things.len().saturating_sub(FLOOR));
        // Those in front have waited longest.
        let dropped: Vec<T> = things.drain(..spare).collect();
        if things.len() < things.capacity() / 4 {
            things.shrink_to_fit();
        }
        self.fewest.set(things.len());
        // What is dropped may give something back.
        drop(things);
        dropped.len()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.things.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peak_has_needed_is_lent_again_and_goes_when_it_is_needed_no_more() {
        let unused = Unused::default();
        (0..1_000).for_each(|number| unused.give_back(number));
        unused.sweep();
        // All of them are needed between two sweeps, then 100.
        for (needed, left) in [(1_000, 1_000), (100, 550), (100, 325)] {
            let taken: Vec<i32> = (0..needed).map(|_| unused.take().unwrap()).collect();
            taken.into_iter().rev().for_each(|number| unused.give_back(number));
            unused.sweep();
            assert_eq!(unused.len(), left);
        }
        assert_eq!(unused.take(), Some(999), "those that were used last are left");
        let dropped: usize = (0..20).map(|_| unused.sweep()).sum();
        assert_eq!(dropped, 324 - FLOOR, "it says how many");
        assert_eq!(unused.len(), FLOOR);
        assert!(unused.things.borrow().capacity() < 100, "nor does the list stay long");
    }
}
