//! The rooms in which a worker's requests are served: each as large as all that may happen to a request needs, and lent to a
//! connection from the first byte of a request until nothing of it is left.
//!
//! A room is a future that never ends: it serves whatever connection is put before it, again and again. So it is made once,
//! a request allocates nothing, and a connection that waits for its next request carries none of it.

use std::{
    cell::Cell,
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::Poll,
};

use super::{
    idle::{Idle, Waited},
    session::{Left, Session},
};
use crate::{connection::Connection, stream::Stream, unused::Unused, wheel::Deadline};

/// The unused rooms of a worker.
pub(crate) struct Rooms<S> {
    unused: Unused<Room<S>>,
}

struct Room<S> {
    desk: Rc<Desk<S>>,
    work: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Between a room and the connection that it is lent to.
struct Desk<S> {
    next: Cell<Option<Task<S>>>,
    done: Cell<Option<(Idle, Left)>>,
}

struct Task<S> {
    connection: Rc<Connection<S>>,
    idle: Idle,
    waited: Waited,
}

impl<S: Stream> Rooms<S> {
    /// Serves requests until none is here, after which `idle` is there again. A room whose connection is dropped in the
    /// middle of it is gone.
    pub(super) async fn serve(
        &self,
        connection: &Rc<Connection<S>>,
        idle: &mut Option<Idle>,
        waited: Waited,
    ) -> Left {
        let Some(waiting) = idle.take() else { return Left::Closed };
        let mut room = self.unused.take().unwrap_or_else(|| Room::new(connection));
        room.desk.next.set(Some(Task { connection: Rc::clone(connection), idle: waiting, waited }));
        let (left, result) = poll_fn(|context| {
            let Poll::Pending = room.work.as_mut().poll(context);
            room.desk.done.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        *idle = Some(left);
        self.unused.give_back(room);
        result
    }

    /// Gives back what was not needed since the last time. Due once a second.
    pub(crate) fn sweep(&self) {
        self.unused.sweep();
    }
}

impl<S: Stream> Room<S> {
    fn new(connection: &Connection<S>) -> Self {
        let desk = Rc::new(Desk { next: Cell::default(), done: Cell::default() });
        let deadline = connection.worker().wheel().deadline();
        Self { work: Box::pin(work(Rc::clone(&desk), deadline)), desk }
    }
}

async fn work<S: Stream>(desk: Rc<Desk<S>>, deadline: Deadline) -> Infallible {
    let mut remembrance = None;
    loop {
        let task = poll_fn(|_| desk.next.take().map_or(Poll::Pending, Poll::Ready)).await;
        let Task { connection, idle, waited } = task;
        let mut session = Session::new(&connection, idle, &deadline, remembrance.take());
        let left = session.run(waited).await;
        let (idle, mut used) = session.leave();
        // Nothing of this client's stays in here.
        used.iter_mut().for_each(|used| used.forget());
        remembrance = used;
        deadline.release();
        drop(connection);
        desk.done.set(Some((idle, left)));
    }
}

impl<S> Default for Rooms<S> {
    fn default() -> Self {
        Self { unused: Unused::default() }
    }
}

impl<S> fmt::Debug for Rooms<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rooms").field("unused", &self.unused.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// A request that waits long for its server, and a WebSocket, hold a room all the time.
    #[test]
    fn room_is_no_larger_than_it_was_built() {
        let size = size_of_future(work::<TcpStream>);
        assert!(size <= 5 * 1024, "{size} bytes");
    }
}
