//! The connection itself: reads frames, sends frames, gives each stream a lane, and ends in the end.

use std::{
    future::poll_fn,
    mem,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    frame::{ErrorCode, Failure, Header, Kind},
    lane::{Lane, Shared},
    machine::{BACKLOG, Machine, STREAMS},
};
use crate::{
    buffer::Buffer,
    connection::{Connection, Places, Seat, run, run_http},
    http::{End, turn_away},
    listener::{note_crowded, note_refused},
    metrics::Event,
    stream::{Stream, is_transient},
    table::Refusal,
    wheel::{Deadline, TICK},
    worker::turns,
};

/// Reads before others have their turn.
pub(super) const TURN: usize = 16;

/// For a client to hear that the connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// For a client to end its side, once ours has ended.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that are read and thrown away meanwhile.
const DISCARDED: usize = 1024 * 1024;

/// The same, while the node waits for its connections to end.
const LINGER_DRAINING: Duration = Duration::from_millis(200);

/// Until it is tried again to give a stream a place: nobody says that one has become free.
const RETRY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Rc<Shared>,
    /// Bytes of a frame that is not whole.
    inbox: Option<Buffer>,
    places: Places,
    deadline: Deadline,
    armed: Armed,
    /// Our side has ended.
    is_ended: bool,
    /// Bytes that were thrown away since.
    discarded: usize,
    /// Of its listener in its frontend, from 1.
    place: usize,
    /// A stream waits for a place.
    waits: bool,
    /// Its first stream is told to come again after this time, and it has no other.
    turned_away: Option<Duration>,
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Armed {
    No,
    /// The first request.
    ForFirst,
    /// Another request.
    ForNext,
    /// The rest of what has begun.
    ForRest,
    /// The client, to hear that it ends.
    ForFarewell,
    /// The client, to read the last of what it is sent.
    ForFlush,
    /// The end of the client's side.
    ForEnd,
    /// A place for another stream.
    ForPlace,
}

/// The connection broke, or has ended.
struct Gone;

impl Session {
    /// Of a connection that has said nothing yet; its listener is at this place in its frontend.
    pub(crate) fn new<S>(connection: &Connection<S>, place: usize) -> Self {
        let worker = connection.worker();
        let websocket = connection.frontend().offers_websocket(place);
        let machine =
            Machine::new(worker.http2_pools(), most_streams(connection), websocket, worker.wheel().ticks());
        Self {
            shared: Shared::new(machine),
            inbox: None,
            places: Places::default(),
            deadline: worker.wheel().deadline(),
            armed: Armed::No,
            is_ended: false,
            discarded: 0,
            place,
            waits: false,
            turned_away: None,
        }
    }

    /// Of one that may not stay.
    pub(crate) fn that_turns_away<S>(
        connection: &Connection<S>,
        place: usize,
        retry_after: Duration,
    ) -> Self {
        let mut session = Self::new(connection, place);
        session.turned_away = Some(retry_after);
        session
    }

    /// It goes on under another generation of the configuration.
    pub(crate) fn renew<S>(&mut self, connection: &Connection<S>) {
        self.shared.machine.borrow_mut().allow_streams(most_streams(connection));
    }

    /// Serves it until it is to be closed, or goes on under another generation of the configuration.
    pub(crate) async fn serve<S: Stream>(&mut self, connection: &Rc<Connection<S>>) -> End {
        poll_fn(|context| self.poll(connection, context)).await
    }

    /// Ends a connection at once on which nothing is in flight.
    pub(crate) async fn part<S: Stream>(&mut self, connection: &Connection<S>) {
        self.shared.machine.borrow_mut().end(ErrorCode::NoError);
        self.deadline.arm(LINGER_DRAINING);
        let flushed = poll_fn(|context| flush(&self.shared, connection.stream(), context));
        if let Ok(Ok(())) = self.deadline.guard(flushed).await {
            let _ = connection.stream().shutdown().await;
        }
    }

    fn poll<S: Stream>(&mut self, connection: &Rc<Connection<S>>, context: &mut Context<'_>) -> Poll<End> {
        self.shared.set_task(context);
        if connection.is_to_renew() {
            return Poll::Ready(End::Outdated);
        }
        match self.go_on(connection, context) {
            Ok(()) => Poll::Pending,
            Err(Gone) => {
                if connection.received().value() == 0 && !self.shared.machine.borrow().has_begun() {
                    connection.count(Event::NullConnection);
                }
                Poll::Ready(End::Closed)
            }
        }
    }

    fn go_on<S: Stream>(
        &mut self,
        connection: &Rc<Connection<S>>,
        context: &mut Context<'_>,
    ) -> Result<(), Gone> {
        let mut rounds = 0;
        loop {
            self.look_for_end(connection);
            match flush(&self.shared, connection.stream(), context) {
                Poll::Ready(Ok(())) => self.end_if_over(connection, context)?,
                Poll::Ready(Err(_)) => return Err(Gone),
                Poll::Pending => {}
            }
            self.note(connection);
            if rounds == TURN {
                turns::go_on(context);
                return Ok(());
            }
            rounds += 1;
            if !self.is_ended && self.shared.machine.borrow().backlog() >= BACKLOG {
                break;
            }
            match connection.stream().poll_readable(context) {
                Poll::Ready(Ok(())) => self.read(connection)?,
                Poll::Ready(Err(_)) => return Err(Gone),
                Poll::Pending => break,
            }
        }
        if self.poll_late(connection, context)? {
            turns::go_on(context);
        }
        Ok(())
    }

    /// Does the node want it to end?
    fn look_for_end<S: Stream>(&self, connection: &Connection<S>) {
        let mut machine = self.shared.machine.borrow_mut();
        if connection.is_draining() {
            machine.announce_end();
        }
        if machine.is_heard() {
            machine.end(ErrorCode::NoError);
        }
    }

    /// Ends our side once all is said.
    fn end_if_over<S: Stream>(
        &mut self,
        connection: &Connection<S>,
        context: &mut Context<'_>,
    ) -> Result<(), Gone> {
        let is_over = self.shared.machine.borrow().is_over();
        if is_over && !self.is_ended {
            match connection.stream().poll_shutdown(context) {
                Poll::Ready(Ok(())) => self.is_ended = true,
                Poll::Ready(Err(_)) => return Err(Gone),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Is anything in flight?
    fn note<S: Stream>(&mut self, connection: &Rc<Connection<S>>) {
        let machine = self.shared.machine.borrow();
        self.places.give_back(machine.taken());
        if machine.open() > 0 && !self.is_ended {
            connection.set_busy();
        } else if machine.has_served() {
            connection.set_over();
        }
        if machine.has_opened() {
            drop(machine);
            self.give_lanes(connection);
        }
    }

    fn read<S: Stream>(&mut self, connection: &Rc<Connection<S>>) -> Result<(), Gone> {
        let worker = connection.worker();
        let inbox = self.inbox.get_or_insert_with(|| worker.http2_pools().frames.take());
        let read = inbox.read_from(connection.stream());
        let n = match read {
            Ok(0) => return Err(Gone),
            Ok(n) => n,
            Err(error) if is_transient(&error) => 0,
            Err(_) => return Err(Gone),
        };
        if self.is_ended || self.shared.machine.borrow().is_broken() {
            inbox.clear();
            self.discarded += n;
            if self.discarded > DISCARDED {
                return Err(Gone);
            }
        } else if n > 0 {
            connection.note_received(n as u64);
            let mut machine = self.shared.machine.borrow_mut();
            let received = machine.receive(inbox, worker.wheel().ticks());
            let errors = machine.take_stream_errors();
            drop(machine);
            if errors > 0 {
                connection.counters().event(Event::Http2StreamError).add(errors);
            }
            if let Err(failure) = received {
                inbox.clear();
                self.fail(connection, failure);
            }
            self.give_lanes(connection);
        }
        self.inbox.take_if(|inbox| inbox.is_empty());
        Ok(())
    }

    fn give_lanes<S: Stream>(&mut self, connection: &Rc<Connection<S>>) {
        loop {
            // Not held on to: who is woken may look at it.
            let mut machine = self.shared.machine.borrow_mut();
            if !machine.has_opened() {
                self.waits = false;
                return;
            }
            let mut turned_away = self.turned_away.map(|retry_after| (429, retry_after));
            match connection.take_place(&mut self.places, machine.taken()) {
                Seat::Taken => {}
                Seat::TooMany => turned_away = Some((429, note_refused(connection, Refusal::Connections))),
                Seat::Wait if has_waited(&machine, connection) => {
                    turned_away = Some((503, note_crowded(connection, patience(connection))));
                }
                Seat::Wait => {
                    if !mem::replace(&mut self.waits, true) {
                        connection.count(Event::StreamWait);
                    }
                    return;
                }
            }
            let Some(stream) = machine.take_opened() else { return };
            if self.turned_away.is_some() {
                machine.end(ErrorCode::NoError);
            }
            drop(machine);
            if turned_away.is_some() || !self.shared.give(stream) {
                let lane = Connection::of_stream(connection, Lane::new(&self.shared, stream));
                if let Some((status, retry_after)) = turned_away {
                    let answer = async move |lane: &_| turn_away(lane, status, retry_after).await;
                    tokio::task::spawn_local(run(lane, answer));
                    continue;
                }
                let rooms = Rc::clone(lane.worker().lane_rooms());
                tokio::task::spawn_local(run_http(Rc::new(lane), rooms));
            }
        }
    }

    /// The client has broken a rule that the connection can't survive.
    fn fail<S: Stream>(&self, connection: &Connection<S>, failure: Failure) {
        let is_flood = failure.code == ErrorCode::EnhanceYourCalm;
        connection.count(if is_flood { Event::Http2Flood } else { Event::Http2Error });
        connection.log_refused(self.place, "HTTP/2 connection error", Some(&failure.to_string()));
        tracing::debug!(
            frontend = %connection.frontend().name,
            client = %connection.peer(),
            %failure,
            "connection of HTTP/2 refused"
        );
        self.shared.machine.borrow_mut().fail(failure);
    }

    /// Arms the deadline for what is awaited, and looks at it; true if something has changed by that.
    fn poll_late<S: Stream>(
        &mut self,
        connection: &Connection<S>,
        context: &mut Context<'_>,
    ) -> Result<bool, Gone> {
        let timeout = &connection.frontend().timeout;
        let machine = self.shared.machine.borrow();
        let (wanted, time) = if self.is_ended {
            let time = if connection.is_draining() { LINGER_DRAINING } else { LINGER };
            (Armed::ForEnd, time)
        } else if machine.is_over() {
            (Armed::ForFlush, timeout.client)
        } else if machine.is_leaving() && !machine.is_final() {
            (Armed::ForFarewell, FAREWELL)
        } else if !machine.has_served() {
            (Armed::ForFirst, timeout.http_request)
        } else if machine.has_opened() {
            (Armed::ForPlace, RETRY)
        } else if machine.is_in_fields() || self.is_cut_off() {
            (Armed::ForRest, timeout.http_request)
        } else if machine.open() == 0 {
            (Armed::ForNext, timeout.http_keep_alive)
        } else {
            (Armed::No, Duration::MAX)
        };
        if wanted != self.armed {
            self.armed = wanted;
            match wanted {
                Armed::No => self.deadline.disarm(),
                _ => self.deadline.arm(time),
            }
        }
        drop(machine);
        if self.deadline.poll_expired(context).is_pending() {
            return Ok(false);
        }
        match self.armed {
            Armed::No => return Ok(false),
            Armed::ForFlush | Armed::ForEnd => return Err(Gone),
            Armed::ForRest => {
                connection.count(Event::RequestTimeout);
                connection.log_refused(self.place, "HTTP/2 connection error", Some("a frame took too long"));
            }
            Armed::ForPlace => {
                // Looked for at the next turn.
                self.armed = Armed::No;
                self.deadline.disarm();
                return Ok(true);
            }
            Armed::ForFirst | Armed::ForNext | Armed::ForFarewell => {}
        }
        self.shared.machine.borrow_mut().end(ErrorCode::NoError);
        self.deadline.disarm();
        Ok(true)
    }

    /// Has a frame begun and not ended, one that is not content?
    fn is_cut_off(&self) -> bool {
        let inbox = self.inbox.as_ref();
        inbox.is_some_and(|inbox| Header::read(inbox.filled()).is_none_or(|header| header.kind != Kind::Data))
    }
}

/// Streams that a connection may have at a time.
fn most_streams<S>(connection: &Connection<S>) -> usize {
    let most = connection.frontend().per_source.and_then(|limits| limits.connections);
    most.map_or(STREAMS, |most| usize::try_from(most.get()).unwrap_or(STREAMS))
}

/// How long a stream waits for a place: as long as its request would wait at a server that is full.
fn patience<S>(connection: &Connection<S>) -> Duration {
    let (frontend, node) = (connection.frontend(), connection.worker().node());
    frontend.default_backend.map_or(frontend.timeout.client, |backend| node.backend(backend).timeout.queue)
}

/// Has the first of those that wait done so for too long?
fn has_waited<S>(machine: &Machine, connection: &Connection<S>) -> bool {
    let waited = machine.first_came_at().map(|at| connection.worker().wheel().ticks().saturating_sub(at));
    waited.is_some_and(|ticks| {
        TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)) >= patience(connection)
    })
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Sends what waits to be sent.
pub(super) fn flush<S: Stream>(
    shared: &Shared,
    stream: &S,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<()>> {
    let mut machine = shared.machine.borrow_mut();
    while let Some(out) = machine.out() {
        match out.write_to(stream) {
            Ok(0) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
            Ok(_) => machine.sent(),
            Err(error) if is_transient(&error) => match stream.poll_writable(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            },
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    if machine.wake_writers() {
        context.waker().wake_by_ref();
    }
    if machine.out().is_none() { Poll::Ready(Ok(())) } else { Poll::Pending }
}
