//! How long the steps of exchanges took.

use crate::metrics::{CLASSES, Histogram as Counters};

/// Milliseconds of each step of an exchange, or of many: HAProxy's `qtime`, `ctime`, `rtime` and `ttime`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Steps {
    /// In line, and in attempts to connect but the last.
    pub queue: u64,
    /// Until the server was connected.
    pub connect: u64,
    /// Until the head of the response was whole; 0 in mode tcp.
    pub response: u64,
    /// From its first byte (tcp: from when it was accepted) to its end.
    pub total: u64,
}

/// Of exchanges that got a response (tcp: a connection to the server).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StepTimes {
    /// Of about the last 1,024, rounded up.
    pub average: Steps,
    /// The most that each step ever took.
    pub longest: Steps,
    /// How many there were.
    pub count: u64,
    /// All of them added up.
    pub sum: Steps,
}

/// How long things took, by class of length: [`BOUNDS`](crate::metrics::BOUNDS) has the longest of each class but the last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Histogram {
    /// How many were of each class and of none before it.
    pub counts: [u64; CLASSES],
    /// All of them added up.
    pub microseconds: u64,
}

impl Histogram {
    /// What all of these have counted.
    pub(crate) fn sum<'c>(counters: impl Iterator<Item = &'c Counters>) -> Self {
        let mut sum = Self::default();
        for counters in counters {
            sum.microseconds += counters.microseconds.value();
            for (sum, counter) in sum.counts.iter_mut().zip(&counters.counts) {
                *sum += counter.value();
            }
        }
        sum
    }
}

impl Steps {
    /// In this order wherever there is an array of them.
    pub(crate) fn all(self) -> [u64; 4] {
        [self.queue, self.connect, self.response, self.total]
    }
}

impl From<[u64; 4]> for Steps {
    fn from([queue, connect, response, total]: [u64; 4]) -> Self {
        Self { queue, connect, response, total }
    }
}
