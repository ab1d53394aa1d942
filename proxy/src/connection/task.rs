//! The task of a client's connection: its sessions, and the orders that end them.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::{Connection, Order};
use tokio::net::TcpStream;

use crate::{
    config::Alpn,
    http::{self, End, Idle, Rooms},
    http2,
    metrics::Event,
    stream::Stream,
    tls::{self, TlsStream},
};

/// Drives a session until it ends or is ordered to.
#[expect(clippy::manual_async_fn, reason = "an async function would hold the connection twice")]
pub(crate) fn run<S: Stream>(
    connection: Connection<S>,
    session: impl AsyncFnOnce(&Connection<S>),
) -> impl Future<Output = ()> {
    async move {
        drive(&connection, pin!(session(&connection))).await;
        end(&connection);
    }
}

/// Lets `prepare` find out what has to be known before there is a session, and hands it to `then`; closes the connection if
/// that is not to be had.
pub(crate) async fn prepare<S: Stream, T>(
    connection: Connection<S>,
    prepare: impl AsyncFnOnce(&Connection<S>) -> Option<T>,
    then: impl FnOnce(Connection<S>, T),
) {
    let prepared = drive(&connection, pin!(prepare(&connection))).await;
    match prepared {
        Some(Some(found)) => then(connection, found),
        Some(None) | None => end(&connection),
    }
}

/// Serves http until the connection is to end, under each generation of the configuration that it lives to see.
pub(crate) async fn run_http<S: Stream>(mut connection: Rc<Connection<S>>, rooms: Rc<Rooms<S>>) {
    let mut idle = Some(Idle::new(&connection));
    loop {
        let ended = drive(&connection, pin!(http::serve(&connection, &mut idle, &rooms))).await;
        if ended != Some(End::Outdated) {
            break;
        }
        let before = Rc::clone(connection.worker());
        Rc::get_mut(&mut connection).expect("it is in no room").renew();
        if let Some(idle) = &mut idle {
            idle.renew(&before, connection.worker());
        }
    }
    end(&connection);
}

/// Likewise over TLS; the listener has this number in its frontend.
pub(crate) async fn run_https(
    connection: Rc<Connection<TlsStream>>,
    rooms: Rc<Rooms<TlsStream>>,
    number: usize,
) {
    let shaken = drive(&connection, pin!(tls::shake_hands(&connection, number))).await;
    match shaken {
        Some(true) if connection.tls().is_some_and(|session| session.alpn == Some(Alpn::H2)) => {
            // A room of its own: those of HTTP/1.1 need not carry it.
            Box::pin(run_http2(connection, number)).await;
        }
        Some(true) => run_http(connection, rooms).await,
        Some(false) => {}
        None => end(&connection),
    }
}

/// Serves http of the version that the client begins with; the listener has this number in its frontend.
pub(crate) async fn run_http_or_2(
    connection: Rc<Connection<TcpStream>>,
    rooms: Rc<Rooms<TcpStream>>,
    number: usize,
) {
    let begun = drive(&connection, pin!(http2::begins(&connection))).await;
    match begun {
        Some(true) => Box::pin(run_http2(connection, number)).await,
        Some(false) => run_http(connection, rooms).await,
        None => end(&connection),
    }
}

/// Answers 429 to whatever comes first, in the version that the client begins with.
pub(crate) async fn turn_away_http_or_2(
    connection: Rc<Connection<TcpStream>>,
    retry_after: Duration,
    number: usize,
) {
    let begun = drive(&connection, pin!(http2::begins(&connection))).await;
    match begun {
        Some(true) => {
            let session = http2::Session::that_turns_away(&connection, number, retry_after);
            run_session(connection, session).await;
        }
        Some(false) => {
            drive(&connection, pin!(http::turn_away(&connection, 429, retry_after))).await;
            end(&connection);
        }
        None => end(&connection),
    }
}

/// Serves HTTP/2 until the connection is to end.
async fn run_http2<S: Stream>(connection: Rc<Connection<S>>, number: usize) {
    let session = http2::Session::new(&connection, number);
    run_session(connection, session).await;
}

async fn run_session<S: Stream>(mut connection: Rc<Connection<S>>, mut session: http2::Session) {
    connection.set_multiplexed();
    loop {
        let ended = drive(&connection, pin!(session.serve(&connection))).await;
        match ended {
            Some(End::Outdated) => {
                Rc::get_mut(&mut connection).expect("its streams have their own").renew();
                session.renew(&connection);
            }
            Some(End::Closed) => break,
            None => {
                if matches!(*connection.entry.entry.order.borrow(), Order::Close) {
                    session.part(&connection).await;
                }
                break;
            }
        }
    }
    end(&connection);
}

/// Polls a session until it ends; `None` if it was ordered to.
async fn drive<S: Stream, T>(
    connection: &Connection<S>,
    mut session: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let entry = &connection.entry.entry;
    let unfinished = Unfinished(connection);
    let ended = poll_fn(|context| {
        if matches!(*entry.order.borrow(), Order::Reset(_) | Order::Cut) {
            return Poll::Ready(None);
        }
        // First the session, then an order to close: bytes that came before the order make it busy.
        if let Poll::Ready(output) = session.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        entry.poll_close(context).map(|()| None)
    })
    .await;
    mem::forget(unfinished);
    ended
}

/// A session that is dropped in the midst of an exchange, by the end of its worker or a panic, resets its client: what that
/// has got never looks like all.
struct Unfinished<'c, S: Stream>(&'c Connection<S>);

impl<S: Stream> Drop for Unfinished<'_, S> {
    fn drop(&mut self) {
        if self.0.entry.entry.busy_since.get().is_some() {
            self.0.stream.abort();
        }
    }
}

fn end<S: Stream>(connection: &Connection<S>) {
    let event = match *connection.entry.entry.order.borrow() {
        Order::None | Order::Close => return,
        Order::Cut => Event::Cut,
        Order::Reset(_) => Event::Reset,
    };
    connection.stream.abort();
    // Streams end with their connection, which is one.
    if event == Event::Cut || !connection.entry.entry.is_stream {
        connection.count(event);
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::tcp;

    fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// A future is as large as the largest of what it may wait for, and there is one for each connection however long
    /// it waits. Nothing says so when it grows: a function that waits inside takes its room, whatever calls it.
    #[test]
    fn task_of_a_connection_is_small() {
        let http = size_of_future(run_http::<TcpStream>);
        assert!(http <= 384, "a connection of http takes {http} bytes, whether or not it has a request");
        let tcp = size_of_future(|connection: Connection<TcpStream>, ()| run(connection, tcp::serve));
        assert!(tcp <= 1920, "a connection of tcp takes {tcp} bytes");
    }
}
