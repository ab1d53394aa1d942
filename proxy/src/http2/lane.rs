//! A stream as a connection of its own: what [`crate::http`] serves as it serves any other.
//!
//! A lane outlives its stream and waits for the next one, as a connection of HTTP/1.1 waits for the next request: so in the long
//! run a request allocates nothing here either. It ends like one, too, when it has waited for too long.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::net::TcpStream;

use super::{machine::Machine, stream::Remote};
use crate::{http::head::Version, stream::Stream};

/// What the lanes of a connection share with its task.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) machine: RefCell<Machine>,
    /// The connection's task, which sends what waits to be sent.
    task: RefCell<Option<Waker>>,
    /// Lanes without a stream.
    idle: RefCell<Vec<Rc<Place>>>,
    /// No stream comes any more.
    is_over: Cell<bool>,
}

/// Where a lane gets its streams.
#[derive(Debug, Default)]
struct Place {
    stream: Cell<Option<usize>>,
    waker: RefCell<Option<Waker>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Rc<Shared>,
    place: Rc<Place>,
    /// Our side has said all it had to say: no other stream comes.
    is_shut: Cell<bool>,
    is_aborted: Cell<bool>,
}

impl Shared {
    pub(super) fn new(machine: Machine) -> Rc<Self> {
        Rc::new(Self {
            machine: RefCell::new(machine),
            task: RefCell::default(),
            idle: RefCell::default(),
            is_over: Cell::new(false),
        })
    }

    /// From now on this task is woken.
    pub(super) fn set_task(&self, context: &Context<'_>) {
        keep(&mut self.task.borrow_mut(), context);
    }

    /// There is something to send.
    fn wake_task(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Gives a stream to a lane that has none; false if there is no such lane.
    pub(super) fn give(&self, stream: usize) -> bool {
        let Some(place) = self.idle.borrow_mut().pop() else { return false };
        place.stream.set(Some(stream));
        if let Some(waker) = place.waker.take() {
            waker.wake();
        }
        true
    }

    /// The connection is no more, and neither are its lanes.
    pub(super) fn end(&self) {
        self.is_over.set(true);
        self.machine.borrow_mut().break_off();
        for place in self.idle.take() {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Lane {
    pub(super) fn new(shared: &Rc<Shared>, stream: usize) -> Self {
        let place = Rc::new(Place { stream: Cell::new(Some(stream)), waker: RefCell::default() });
        Self { shared: Rc::clone(shared), place, is_shut: Cell::new(false), is_aborted: Cell::new(false) }
    }

    /// Looks at its stream; whatever has to be sent after that is.
    fn with<T>(&self, look: impl FnOnce(&mut Machine, usize) -> T) -> Option<T> {
        let stream = self.place.stream.get()?;
        let mut machine = self.shared.machine.borrow_mut();
        let result = look(&mut machine, stream);
        if machine.backlog() > 0 {
            self.shared.wake_task();
        }
        Some(result)
    }

    /// Its stream is over, and another one may come.
    fn leave_stream(&self) {
        self.with(|machine, stream| machine.release(stream, false));
        self.place.stream.set(None);
        self.shared.idle.borrow_mut().push(Rc::clone(&self.place));
        // It may be the last that the connection has waited for.
        self.shared.wake_task();
    }
}

impl Stream for Lane {
    const VERSION: Option<Version> = Some(Version::Http2);

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let found = self.with(|machine, key| {
            let stream = machine.stream(key);
            if stream.is_over() {
                return None;
            }
            let is_ready = stream.remote == Remote::Reset || stream.is_readable();
            if !is_ready {
                keep(&mut stream.reader, context);
            }
            Some(is_ready)
        });
        match found {
            Some(Some(true)) => return Poll::Ready(Ok(())),
            Some(Some(false)) => return Poll::Pending,
            Some(None) if self.is_shut.get() => return Poll::Ready(Ok(())),
            Some(None) => self.leave_stream(),
            None => {}
        }
        if self.shared.is_over.get() {
            return Poll::Ready(Ok(()));
        }
        keep(&mut self.place.waker.borrow_mut(), context);
        Poll::Pending
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_writable = self.with(|machine, key| {
            let is_writable = machine.is_writable(key);
            if !is_writable && machine.stream(key).writer.replace(context.waker().clone()).is_none() {
                machine.wait_to_write(key);
            }
            is_writable
        });
        match is_writable {
            Some(false) => Poll::Pending,
            Some(true) => Poll::Ready(Ok(())),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.with(|machine, key| match machine.read(key, bytes) {
            // Nothing, and nothing will come.
            Ok(0) if self.is_shut.get() && machine.stream(key).is_over() => Ok(Some(0)),
            Ok(0) => Ok(None),
            Ok(n) => Ok(Some(n)),
            Err(error) => Err(error),
        });
        match read {
            Some(Ok(Some(n))) => Ok(n),
            Some(Err(error)) => Err(error),
            None if self.shared.is_over.get() => Ok(0),
            Some(Ok(None)) | None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.with(|machine, key| machine.write(key, pieces));
        written.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut.set(true);
        self.with(|machine, key| machine.finish(key));
        Poll::Ready(Ok(()))
    }

    fn abort(&self) {
        self.is_aborted.set(true);
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn socket(&self) -> Option<&TcpStream> {
        None
    }

    fn is_quiet(&self) -> bool {
        let is_quiet = self.with(|machine, key| {
            let stream = machine.stream(key);
            stream.remote != Remote::Reset && !stream.is_readable()
        });
        is_quiet.unwrap_or(false)
    }

    async fn ended(&self) {
        poll_fn(|context| {
            let is_reset = self.with(|machine, key| {
                let stream = machine.stream(key);
                keep(&mut stream.reader, context);
                stream.remote == Remote::Reset
            });
            if is_reset.unwrap_or(true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.with(|machine, stream| machine.release(stream, self.is_aborted.get()));
        match self.place.stream.take() {
            Some(_) => self.shared.wake_task(),
            None => self.shared.idle.borrow_mut().retain(|idle| !Rc::ptr_eq(idle, &self.place)),
        }
    }
}

fn keep(waker: &mut Option<Waker>, context: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}
