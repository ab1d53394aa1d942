//! How long the steps of exchanges took.

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
