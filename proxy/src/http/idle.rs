//! What a connection holds between two requests, and its wait for the next one.
//!
//! Everything else that a request needs is in a [room](super::room). There may be many thousands of these: a test bounds
//! what each of them costs.

use std::{io, rc::Rc, time::Instant};

use crate::{
    buffer::Buffer,
    config::Frontend,
    connection::Connection,
    sample::Variables,
    stream::Stream,
    upstream::Own,
    wheel::{Deadline, Elapsed},
    worker::Worker,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Idle {
    /// For waits on the client's bytes.
    pub(super) deadline: Deadline,
    pub(super) armed: Armed,
    /// A connection to a server that nobody else may use.
    pub(super) own: Option<Box<Own>>,
    /// When the client was.
    pub(super) accepted: Instant,
    /// Requests served so far.
    pub(super) served: u64,
    /// Variables of scope `session`.
    pub(super) variables: Variables,
    /// Bytes of a request that came before another generation of the configuration, which it is served under.
    pub(super) ahead: Option<Box<Ahead>>,
}

#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) inbox: Buffer,
    /// The client has ended its side.
    pub(super) ended: bool,
}

/// What the client's deadline is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Armed {
    No,
    ForByte,
    ForHead,
}

/// What came of a wait for the client's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waited {
    /// Bytes, or the end of them.
    Readable,
    /// Some are here already.
    Ahead,
    /// Nothing in time.
    Elapsed,
    /// The connection broke.
    Broken,
}

impl Idle {
    pub(crate) fn new<S>(connection: &Connection<S>) -> Self {
        Self {
            deadline: connection.worker().wheel().deadline(),
            armed: Armed::No,
            own: None,
            accepted: Instant::now(),
            served: 0,
            variables: Variables::default(),
            ahead: None,
        }
    }

    /// Waits for the client; `None` if the next request is to be served under another generation of the configuration.
    pub(super) async fn wait<S: Stream>(&mut self, connection: &Connection<S>) -> Option<Waited> {
        if self.ahead.is_some() {
            return Some(Waited::Ahead);
        }
        self.armed.for_byte(&self.deadline, connection.frontend(), self.served);
        connection.set_idle();
        let readable = self.deadline.guard(connection.stream().readable());
        connection.unless_outdated(readable).await.map(Waited::from)
    }

    /// Goes on under the generation of `now`.
    pub(crate) fn renew(&mut self, before: &Rc<Worker>, now: &Rc<Worker>) {
        let (old, new) = (&before.node().rules, &now.node().rules);
        self.variables.rename(|id| old.session_variable_under(new, id));
        self.own = self.own.take().and_then(|own| own.moved(before, now)).map(Box::new);
    }
}

impl Armed {
    /// The time for the first byte of a request begins, if it has not.
    pub(super) fn for_byte(&mut self, deadline: &Deadline, frontend: &Frontend, served: u64) {
        if *self == Self::No {
            let timeout = &frontend.timeout;
            deadline.arm(if served == 0 { timeout.http_request } else { timeout.http_keep_alive });
            *self = Self::ForByte;
        }
    }

    /// The time for the rest of a head begins, if it has not.
    pub(super) fn for_head(&mut self, deadline: &Deadline, frontend: &Frontend) {
        if *self != Self::ForHead {
            deadline.arm(frontend.timeout.http_request);
            *self = Self::ForHead;
        }
    }
}

impl From<Result<io::Result<()>, Elapsed>> for Waited {
    fn from(waited: Result<io::Result<()>, Elapsed>) -> Self {
        match waited {
            Ok(Ok(())) => Self::Readable,
            Ok(Err(_)) => Self::Broken,
            Err(Elapsed) => Self::Elapsed,
        }
    }
}
