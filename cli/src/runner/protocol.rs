//! What the daemon and the process that runs commands say to each other, one JSON value per packet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest message in bytes.
pub(super) const MESSAGE_MAX: usize = 96 << 10;

/// From the daemon.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum ToRunner {
    /// Run this.
    Run {
        /// For the answer.
        number: u64,
        /// The program and its arguments.
        command: Vec<String>,
        /// What it reads on its standard input.
        input: String,
        /// It is ended after that.
        limit: Duration,
    },
    /// With a socket: another daemon talks on that one.
    Join,
}

/// To the daemon.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum FromRunner {
    /// It was run.
    Ended {
        /// That of the order.
        number: u64,
        /// With what end.
        ended: Ended,
    },
    /// It was not run.
    Refused {
        /// That of the order.
        number: u64,
        /// One sentence without a full stop.
        why: String,
    },
}

/// What came of a command.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ended {
    /// Its end.
    pub how: How,
    /// The first line that it wrote, without control characters, at most 200 of them; may be empty.
    pub output: String,
}

/// The end of a command.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum How {
    /// It has ended by itself, with this code.
    Exit(i32),
    /// It was ended by the signal with this number.
    Signal(i32),
    /// It was ended, since it had run for as long as it may.
    TimedOut,
}
