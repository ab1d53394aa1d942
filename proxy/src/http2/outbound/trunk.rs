//! A connection to a server that lanes share, and the task that reads and writes it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::ServerLane;
use crate::{
    buffer::{Buffer, BufferPool},
    http2::{
        frame::ErrorCode,
        lane::{Shared, keep},
        machine::{BACKLOG, Machine},
        session::{TURN, flush},
    },
    stream::{Stream, is_transient},
    tls::PeerName,
    upstream::ServerStream,
    wheel::Deadline,
    worker::{Worker, turns},
};

/// Bytes of frames beyond which nothing is read. Requests add to them up to [`BACKLOG`]; the rest is for what answers the server:
/// one that can't write before it is read would never read what waits here.
const ANSWERS: usize = 4 * BACKLOG;

/// Per worker and server: connections without lanes that wait for one.
pub(crate) const LONELY: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Trunk {
    pub(super) shared: Rc<Shared>,
    /// The name that its server was told, where that is up to the request.
    name: Option<Rc<PeerName>>,
    /// The tick in which it was opened.
    opened: u64,
    /// Requests that it has carried.
    pub(super) served: Cell<u32>,
    pub(super) lanes: Cell<usize>,
    /// Those of them that have a request.
    pub(super) busy: Cell<usize>,
    /// Further lanes may come: how many connections to its server wait for one and have none.
    sharing: RefCell<Option<Rc<Cell<usize>>>>,
    /// It was authenticated for the client of one lane.
    pub(super) is_private: Cell<bool>,
    /// For its end, once nobody has anything to do with it any more.
    deadline: Deadline,
    /// That is armed.
    is_ending: Cell<bool>,
    /// How long that may take.
    patience: Duration,
    /// The server takes nothing more.
    is_unwritable: Cell<bool>,
    /// The tick in which it was seen without a request, and how many it had carried then.
    quiet_since: Cell<Option<(u64, u32)>>,
    /// Who waits for the server's first frame.
    opener: RefCell<Option<Waker>>,
    /// Why it is no more.
    fault: RefCell<Option<String>>,
}

impl Trunk {
    /// Takes a connection to a server that says nothing before it is spoken to, and gives its first lane. Given up, it has
    /// `patience` to end.
    pub(crate) fn start(
        stream: ServerStream,
        name: Option<Rc<PeerName>>,
        patience: Duration,
        worker: &Rc<Worker>,
    ) -> ServerLane {
        let is_secure = matches!(stream, ServerStream::Tls(_));
        let now = worker.wheel().ticks();
        let machine = Machine::to_server(worker.http2_pools(), is_secure, now);
        let frames = Rc::clone(&worker.http2_pools().frames);
        let trunk = Rc::new(Self {
            shared: Shared::new(machine),
            name,
            opened: now,
            served: Cell::new(0),
            lanes: Cell::new(0),
            busy: Cell::new(0),
            sharing: RefCell::default(),
            is_private: Cell::new(false),
            deadline: worker.wheel().deadline(),
            is_ending: Cell::new(false),
            patience,
            is_unwritable: Cell::new(false),
            quiet_since: Cell::new(None),
            opener: RefCell::default(),
            fault: RefCell::default(),
        });
        let lane = ServerLane::of(&trunk);
        tokio::task::spawn_local(drive(trunk, stream, frames));
        lane
    }

    /// Waits until the server has shown that it speaks HTTP/2 (RFC 9113 §3.4).
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn begun(&self) -> io::Result<()> {
        poll_fn(|context| {
            if let Some(fault) = &*self.fault.borrow() {
                return Poll::Ready(Err(io::Error::other(fault.clone())));
            }
            let machine = self.shared.machine.borrow();
            // One that allows no stream yet may allow some in a moment.
            if machine.has_begun() && machine.room() > 0 {
                return Poll::Ready(Ok(()));
            }
            keep(&mut self.opener.borrow_mut(), context);
            Poll::Pending
        })
        .await
    }

    /// The tick in which it was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Requests that it has carried.
    pub(crate) fn served(&self) -> u32 {
        self.served.get()
    }

    /// Was its server told this name, or none if that is up to nobody?
    pub(crate) fn is_named(&self, name: Option<&PeerName>) -> bool {
        self.name.as_deref() == name
    }

    /// Is it no more?
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// Is it still of use?
    pub(crate) fn is_open(&self) -> bool {
        !self.is_over() && !self.is_unwritable.get() && self.shared.machine.borrow().takes_streams()
    }

    /// May a request be sent on it at this moment, and its content as well?
    pub(crate) fn has_room(&self) -> bool {
        let machine = self.shared.machine.borrow();
        !machine.is_doubtful() && machine.has_window() && self.busy.get() < machine.room() && self.is_open()
    }

    /// Has its server said that it ends it for a fault (RFC 9113 §6.8)?
    pub(crate) fn is_at_fault(&self) -> bool {
        self.shared.machine.borrow().is_at_fault()
    }

    /// Is it one client's own?
    pub(crate) fn is_private(&self) -> bool {
        self.is_private.get()
    }

    /// It waits for further lanes, even if it has none; `lonely` counts those of its server that have none.
    pub(crate) fn share(&self, lonely: &Rc<Cell<usize>>) {
        self.unshare();
        if self.lanes.get() == 0 {
            lonely.set(lonely.get() + 1);
        }
        *self.sharing.borrow_mut() = Some(Rc::clone(lonely));
    }

    /// Does it?
    pub(crate) fn is_shared(&self) -> bool {
        self.sharing.borrow().is_some()
    }

    /// No more of them: it ends with the last that it has.
    pub(crate) fn retire(&self) {
        self.unshare();
        self.shared.wake_task();
    }

    fn unshare(&self) {
        if let Some(lonely) = self.sharing.take()
            && self.lanes.get() == 0
        {
            lonely.set(lonely.get() - 1);
        }
    }

    /// Another lane has come.
    pub(super) fn enter(&self) {
        if self.lanes.get() == 0
            && let Some(lonely) = &*self.sharing.borrow()
        {
            lonely.set(lonely.get() - 1);
        }
        self.lanes.set(self.lanes.get() + 1);
    }

    /// A lane is gone. Without any it waits for the next as long as it [may](Self::quiet_for), with a few others. Those that are full
    /// are none of them: who waits is there for what they don't take.
    pub(super) fn leave(&self) {
        let is_of_use = self.is_open();
        if self.lanes.get() == 1 {
            self.sharing.borrow_mut().take_if(|lonely| !is_of_use || lonely.get() >= LONELY);
        }
        self.lanes.set(self.lanes.get() - 1);
        if self.lanes.get() == 0
            && let Some(lonely) = &*self.sharing.borrow()
        {
            lonely.set(lonely.get() + 1);
        }
        self.shared.wake_task();
    }

    /// For how many ticks has it had no request whenever this was asked?
    pub(crate) fn quiet_for(&self, now: u64) -> u64 {
        let (since, served) = self.quiet_since.get().unwrap_or((now, self.served.get()));
        let since = if self.busy.get() > 0 || served != self.served.get() { now } else { since };
        self.quiet_since.set(Some((since, self.served.get())));
        now.saturating_sub(since)
    }

    fn poll(
        &self,
        stream: &ServerStream,
        inbox: &mut Option<Buffer>,
        frames: &Rc<BufferPool>,
        context: &mut Context<'_>,
    ) -> Poll<String> {
        self.shared.set_task(context);
        if self.is_late(context) {
            return Poll::Ready("it was given up, and did not end in time".to_owned());
        }
        for _ in 0..TURN {
            let is_over = {
                let mut machine = self.shared.machine.borrow_mut();
                if self.is_given_up() {
                    machine.end(ErrorCode::NoError);
                }
                machine.is_ending() && machine.open() == 0 && self.busy.get() == 0
            };
            match self.send(stream, context) {
                Poll::Ready(Ok(())) if is_over => {
                    let _ = stream.poll_shutdown(context);
                    return Poll::Ready("it has ended".to_owned());
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
            }
            if self.shared.machine.borrow().backlog() >= ANSWERS {
                return Poll::Pending;
            }
            match stream.poll_readable(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
                Poll::Pending => return Poll::Pending,
            }
            if let Err(fault) = self.read(stream, inbox.get_or_insert_with(|| frames.take())) {
                // What it is told of that may still leave.
                let _ = flush(&self.shared, stream, context);
                return Poll::Ready(fault);
            }
            inbox.take_if(|inbox| inbox.is_empty());
        }
        turns::go_on(context);
        Poll::Pending
    }

    /// Nobody has anything to do with it any more, nor will have.
    fn is_given_up(&self) -> bool {
        self.lanes.get() == 0 && !self.is_shared()
    }

    /// A server that reads nothing, or ends no stream of which all has come, would keep it for good.
    fn is_late(&self, context: &mut Context<'_>) -> bool {
        if !self.is_given_up() {
            return false;
        }
        if !self.is_ending.replace(true) {
            self.deadline.arm(self.patience);
        }
        self.deadline.poll_expired(context).is_ready()
    }

    /// Sends what waits. A server that has closed may have said before how far it came (GOAWAY, nginx after so many requests), and
    /// answered: where nothing can be sent any more that is still read, and the end comes behind it.
    fn send(&self, stream: &ServerStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_unwritable.get() {
            match flush(&self.shared, stream, context) {
                Poll::Ready(Err(error)) if is_of_a_peer_that_closed(&error) => {
                    self.is_unwritable.set(true);
                    self.unshare();
                }
                flushed => return flushed,
            }
        }
        let mut machine = self.shared.machine.borrow_mut();
        *machine.out() = None;
        while machine.wake_writers() {}
        Poll::Ready(Ok(()))
    }

    fn read(&self, stream: &ServerStream, inbox: &mut Buffer) -> Result<(), String> {
        match inbox.read_from(stream) {
            Ok(0) => return Err("it has closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) if is_transient(&error) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        let mut machine = self.shared.machine.borrow_mut();
        if let Err(failure) = machine.receive(inbox, 0) {
            machine.fail(failure);
            return Err(format!("no HTTP/2 that can be understood: {failure}"));
        }
        if machine.has_begun()
            && let Some(opener) = self.opener.take()
        {
            opener.wake();
        }
        Ok(())
    }
}

fn is_of_a_peer_that_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

async fn drive(trunk: Rc<Trunk>, stream: ServerStream, frames: Rc<BufferPool>) {
    let mut inbox = None;
    let fault = poll_fn(|context| trunk.poll(&stream, &mut inbox, &frames, context)).await;
    tracing::debug!(why = fault, "connection of HTTP/2 to a server has ended");
    *trunk.fault.borrow_mut() = Some(fault);
    trunk.shared.end();
    trunk.unshare();
    if let Some(opener) = trunk.opener.take() {
        opener.wake();
    }
}
