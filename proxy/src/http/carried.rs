//! What a session leaves to the one that goes on with its connection under another generation of the configuration.

use std::{rc::Rc, time::Instant};

use super::{
    inbound::Inbound,
    memory::Memory,
    session::{Armed, Session},
};
use crate::{
    buffer::Buffer, connection::Connection, sample::Variables, stream::Stream, upstream::Own,
    wheel::Deadline, worker::Worker,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Under the generation that is over.
    worker: Rc<Worker>,
    inbox: Option<Buffer>,
    ended: bool,
    /// It may run already: a generation does not give a silent client more time.
    inbound_deadline: Deadline,
    armed: Armed,
    deadline: Deadline,
    own: Option<Box<Own>>,
    accepted: Instant,
    served: u64,
    session: Variables,
}

impl Carried {
    /// In a box: a connection carries no room for what it needs at a reload alone.
    pub(super) fn new<S: Stream>(session: Session<'_, S>) -> Box<Self> {
        let Session { connection, inbound, deadline, own, backend: _, accepted, served, memory, armed } =
            session;
        let Inbound { connection: _, inbox, ended, deadline: inbound_deadline } = inbound;
        let worker = Rc::clone(connection.worker());
        Box::new(Self {
            worker,
            inbox,
            ended,
            inbound_deadline,
            armed,
            deadline,
            own,
            accepted,
            served,
            session: memory.session,
        })
    }

    /// The session that goes on, under the generation that the connection has now.
    pub(super) fn resume<S: Stream>(self, connection: &Connection<S>) -> Session<'_, S> {
        let Self {
            worker,
            inbox,
            ended,
            inbound_deadline,
            armed,
            deadline,
            own,
            accepted,
            served,
            mut session,
        } = self;
        let (before, now) = (worker.node(), connection.worker().node());
        session.rename(|id| before.rules.session_variable_under(&now.rules, id));
        Session {
            connection,
            inbound: Inbound { connection, inbox, ended, deadline: inbound_deadline },
            deadline,
            own: own.and_then(|own| own.moved(&worker, connection.worker())).map(Box::new),
            backend: None,
            accepted,
            served,
            memory: Memory { session, ..Memory::default() },
            armed,
        }
    }
}
