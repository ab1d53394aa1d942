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
    pub(super) fn wake_task(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Is the connection no more?
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Looks at a stream; whatever has to be sent after that is.
    pub(super) fn with<T>(&self, key: usize, look: impl FnOnce(&mut Machine, usize) -> T) -> T {
        let mut machine = self.machine.borrow_mut();
        let result = look(&mut machine, key);
        if machine.backlog() > 0 {
            self.wake_task();
        }
        result
    }

    /// Is there anything to read of it, be it its end? Else whoever asks is woken when there is.
    pub(super) fn is_readable(&self, key: usize, context: &Context<'_>) -> bool {
        let mut machine = self.machine.borrow_mut();
        let stream = machine.stream(key);
        let is_ready = stream.remote == Remote::Reset || stream.is_readable();
        if !is_ready {
            keep(&mut stream.reader, context);
        }
        is_ready
    }

    pub(super) fn poll_writable(&self, key: usize, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut machine = self.machine.borrow_mut();
        if machine.is_writable(key) {
            return Poll::Ready(Ok(()));
        }
        if machine.stream(key).writer.replace(context.waker().clone()).is_none() {
            machine.wait_to_write(key);
        }
        Poll::Pending
    }

    /// Waits until nothing of a stream is sent or received any more.
    pub(super) async fn reset(&self, key: usize) {
        poll_fn(|context| {
            let mut machine = self.machine.borrow_mut();
            let stream = machine.stream(key);
            keep(&mut stream.reader, context);
            if stream.remote == Remote::Reset { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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

    /// Looks at its stream, if it has one.
    fn with<T>(&self, look: impl FnOnce(&mut Machine, usize) -> T) -> Option<T> {
        Some(self.shared.with(self.place.stream.get()?, look))
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
        if let Some(key) = self.place.stream.get() {
            let is_over = self.shared.machine.borrow_mut().stream(key).is_over();
            if !is_over {
                let is_ready = self.shared.is_readable(key, context);
                return if is_ready { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if self.is_shut.get() {
                return Poll::Ready(Ok(()));
            }
            self.leave_stream();
        }
        if self.shared.is_over.get() {
            return Poll::Ready(Ok(()));
        }
        keep(&mut self.place.waker.borrow_mut(), context);
        Poll::Pending
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.place.stream.get() {
            Some(key) => self.shared.poll_writable(key, context),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.with(|machine, key| match machine.read(key, bytes) {
            // Nothing, and nothing will come.
            Ok(0) if self.is_shut.get() && machine.stream(key).is_over() => Ok(Some(0)),
            Ok(0) if machine.stream(key).is_at_end() => Ok(Some(0)),
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
        if let Some(key) = self.place.stream.get() {
            self.shared.reset(key).await;
        }
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

/// `waker` is whoever asks now.
pub(super) fn keep(waker: &mut Option<Waker>, context: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}
