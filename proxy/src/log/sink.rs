//! One place that lines go to: a thread that may wait for it, behind a queue for which nobody waits.
//!
//! ```text
//! worker 0 ── Outbox ──┐ batches, try_send                       ┌─> UDP, /dev/log, a file, stdout
//! worker N ── Outbox ──┼───────────────────> thread lbctl-log-N ─┤
//! control  ── lines ───┘        empty buffers come back          └─> broken: what is in hand is tried again
//! ```
//! While a place is broken the thread keeps what it has and the queue fills, so a syslog daemon that is restarted misses
//! nothing. What does not fit any more is lost and counted; the line that says so is among the first that go through. A
//! datagram that nobody takes is refused later than it is sent: the last one before that is lost, and then one at a time is
//! tried until none is refused.

mod known;
mod output;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::oneshot;

pub(crate) use self::known::KnownLog;
use self::output::{Output, words};
use super::{
    clock::Clock,
    event::facts::{Fact, LogEvent},
    header::Header,
    outbox,
};
use crate::{
    config::{EventFormat, LogDestination, Severity},
    status::{LogProblem, LogStatus},
};

/// Lines of the control side that wait.
const CONTROL_LINES: usize = 1024;

/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// A place that has been well for so long is well.
const SETTLED: Duration = Duration::from_secs(2);

/// One write that takes longer is a problem.
const STUCK: Duration = Duration::from_secs(1);

/// Losses are told so seldom.
const TOLD: Duration = Duration::from_secs(10);

/// The way to one place.
#[derive(Debug)]
pub(crate) struct Sink {
    destination: LogDestination,
    link: Link,
}

/// What lines are sent through; it does not keep a place open that no configuration names any more.
#[derive(Clone, Debug)]
pub(super) struct Link {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// What the thread is sent.
#[derive(Debug)]
enum Message {
    Lines(Batch),
    /// There is an order.
    Look,
    /// What the process before this one knew is known now.
    Restored {
        is_broken: bool,
    },
    /// Answered when everything before it is written or lost.
    Flush(SyncSender<()>),
}

/// Whole lines, each with its end.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
    /// Where the empty buffer is wanted.
    pub(super) home: Option<SyncSender<Vec<u8>>>,
}

/// What both ends of the queue know.
#[derive(Debug)]
struct Shared {
    /// Lines that are in the queue or in hand.
    waiting: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    /// Milliseconds since `started`, plus one, at which the write under way began; 0 for none.
    writing: AtomicU64,
    started: Instant,
    /// Nobody has it any more.
    ended: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the place.
    problem: Option<LogProblem>,
    /// Of its name.
    name_problem: Option<LogProblem>,
    /// Nobody took the last line.
    is_refused: bool,
    /// How many lost lines the log itself tells of.
    told: u64,
    order: Option<Order>,
    /// How the sink itself says something, and how this node is called.
    events: (EventFormat, String),
}

/// Not in the queue: it would come behind what can't be written without it.
#[derive(Debug)]
enum Order {
    /// A file was moved away.
    Reopen(oneshot::Sender<()>),
    /// Where a name leads now.
    Move(SocketAddr),
}

impl Sink {
    /// Starts its thread. `notice` is the header of lines that it writes itself.
    pub(super) fn start(destination: &LogDestination, notice: Header, workers: usize) -> Arc<Self> {
        let (queue, received) = sync_channel(workers * outbox::BUFFERS + CONTROL_LINES);
        let shared = Arc::new(Shared::new());
        let writer = Writer::new(destination, notice, Arc::clone(&shared));
        let spawned =
            thread::Builder::new().name("lbctl-log".to_owned()).spawn(move || writer.run(&received));
        if let Err(error) = spawned {
            shared.known().problem = Some(LogProblem::now(format!("no thread can be started: {error}")));
        }
        Arc::new(Self { destination: destination.clone(), link: Link { queue, shared } })
    }

    pub(crate) fn destination(&self) -> &LogDestination {
        &self.destination
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// It finds out if the place is there.
    pub(super) fn look(&self) {
        // With a full queue it knows.
        let _ = self.link.queue.try_send(Message::Look);
    }

    /// How lines that it writes itself look like from now on.
    pub(super) fn set_events(&self, format: EventFormat, node: &str) {
        self.link.shared.known().events = (format, node.to_owned());
    }

    /// One line of the control side.
    pub(super) fn send_line(&self, bytes: Vec<u8>) {
        self.link.send(Batch { bytes, lines: 1, home: None });
    }

    /// A file is opened anew, by its name. The receiver gets a word when that was tried.
    pub(super) fn reopen(&self) -> oneshot::Receiver<()> {
        let (done, reopened) = oneshot::channel();
        self.order(Order::Reopen(done));
        reopened
    }

    /// Its name leads there now.
    pub(super) fn resolved(&self, address: SocketAddr) {
        if self.link.shared.known().name_problem.take().is_some() {
            tracing::info!(log = %self.destination, %address, "the name of a log resolves again");
        }
        self.order(Order::Move(address));
    }

    /// Its name can't be resolved; the last address is used on.
    pub(super) fn unresolved(&self, why: String) {
        let mut known = self.link.shared.known();
        match &mut known.name_problem {
            Some(problem) => problem.what = why,
            None => {
                tracing::warn!(log = %self.destination, reason = why, "a log can't be written");
                known.name_problem = Some(LogProblem::now(why));
            }
        }
    }

    fn order(&self, order: Order) {
        self.link.shared.known().order = Some(order);
        self.look();
    }

    /// The receiver gets a word when all that was sent before is written or lost.
    pub(super) fn flush(&self) -> Receiver<()> {
        let (done, flushed) = sync_channel(1);
        let _ = self.link.queue.try_send(Message::Flush(done));
        flushed
    }

    /// The process ends, and nobody will write them.
    pub(super) fn tell_what_waits(&self) {
        let (shared, status) = (&self.link.shared, self.status());
        let lines = shared.waiting.load(Ordering::Relaxed);
        if lines > 0 {
            let so_far = status.lost_total + lines;
            let reason = status.problem.map_or_else(|| "it is too slow".to_owned(), |problem| problem.what);
            let log = status.target;
            tracing::warn!(log, lines, so_far, reason, "lines of a log are lost: the process ends");
        }
    }

    pub(super) fn status(&self) -> LogStatus {
        let shared = &self.link.shared;
        let known = shared.known();
        // The first says what is wrong; it gets nothing since the oldest of them.
        let all = [known.name_problem.clone(), known.problem.clone(), shared.stuck()];
        let since = all.iter().flatten().map(|problem| problem.since).min();
        let first = all.into_iter().flatten().next();
        let problem = first.map(|found| LogProblem { since: since.unwrap_or(found.since), ..found });
        LogStatus {
            target: self.destination.to_string(),
            written_total: shared.written.load(Ordering::Relaxed),
            lost_total: shared.lost.load(Ordering::Relaxed),
            problem,
        }
    }
}

impl Link {
    /// Never waits. What can't be taken is lost.
    pub(super) fn send(&self, batch: Batch) {
        let lines = batch.lines;
        self.shared.waiting.fetch_add(lines, Ordering::Relaxed);
        if self.queue.try_send(Message::Lines(batch)).is_err() {
            self.shared.waiting.fetch_sub(lines, Ordering::Relaxed);
            self.lose(lines);
        }
    }

    /// So many lines had no room.
    pub(super) fn lose(&self, lines: u64) {
        self.shared.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// No configuration names its place any more.
    pub(super) fn is_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.link.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            waiting: AtomicU64::new(0),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            writing: AtomicU64::new(0),
            started: Instant::now(),
            ended: AtomicBool::new(false),
            known: Mutex::default(),
        }
    }

    /// Held for a moment only, by whoever finds something new or looks.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// The write under way takes too long.
    fn stuck(&self) -> Option<LogProblem> {
        let began = self.writing.load(Ordering::Relaxed);
        let waiting = Duration::from_millis(self.milliseconds().saturating_sub(began));
        (began > 0 && waiting > STUCK)
            .then(|| LogProblem { what: "nothing is taken".to_owned(), since: ago(waiting) })
    }
}

fn ago(passed: Duration) -> SystemTime {
    SystemTime::now().checked_sub(passed).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The thread's half.
struct Writer {
    output: Output,
    shared: Arc<Shared>,
    name: String,
    notice: Header,
    clock: Clock,
    /// When the last write failed, until it is well again.
    faulty: Option<Instant>,
    /// Nobody took the last line: the next one goes alone until one is not refused.
    is_refused: bool,
    /// It was broken for the process before this one, where opening it did not fail: that it can be opened says nothing, a line does.
    is_unproven: bool,
    /// When a loss was told last in the log itself, and how many were lost by then.
    told: (Instant, u64),
    /// The same for what the program says of itself.
    warned: (Instant, u64),
}

impl Writer {
    fn new(destination: &LogDestination, notice: Header, shared: Arc<Shared>) -> Self {
        Self {
            output: Output::new(destination),
            shared,
            name: destination.to_string(),
            notice,
            clock: Clock::default(),
            faulty: None,
            is_refused: false,
            is_unproven: false,
            told: (Instant::now(), 0),
            warned: (Instant::now(), 0),
        }
    }

    fn run(mut self, received: &Receiver<Message>) {
        loop {
            let message = if self.faulty.is_some() {
                match received.recv_timeout(PAUSE) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => Message::Look,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                let Ok(message) = received.recv() else { return };
                message
            };
            match message {
                Message::Lines(batch) => self.write_batch(batch),
                Message::Look => self.look(),
                Message::Restored { is_broken } => self.restore(is_broken),
                Message::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }

    fn restore(&mut self, is_broken: bool) {
        let known = self.shared.known();
        (self.is_refused, self.told.1) = (known.is_refused, known.told);
        self.warned.1 = self.shared.lost.load(Ordering::Relaxed);
        self.faulty = is_broken.then(Instant::now);
        self.is_unproven = is_broken;
    }

    /// Does what it was told to, and finds out if the place is there.
    fn look(&mut self) {
        self.obey();
        let opened = self.output.open();
        self.is_unproven &= opened.is_ok();
        if opened.is_err() || (self.output.tells() && !self.is_unproven) {
            self.judge(opened.err().map(|error| words(&error)), Duration::ZERO);
        }
    }

    fn obey(&mut self) {
        let order = self.shared.known().order.take();
        match order {
            Some(Order::Reopen(done)) => {
                self.output.close();
                let opened = self.output.open();
                self.judge(opened.err().map(|error| words(&error)), Duration::ZERO);
                let _ = done.send(());
            }
            Some(Order::Move(address)) => self.output.move_to(address),
            None => {}
        }
    }

    /// Writes all of it, however long the place is broken, unless nobody wants it any more.
    fn write_batch(&mut self, mut batch: Batch) {
        let mut rest = &batch.bytes[..];
        while !rest.is_empty() {
            self.warn_of_losses();
            if let Some(notice) = self.notice_of_losses() {
                self.write_once(&notice);
            }
            let written = self.write_once(rest);
            rest = &rest[written..];
            if !rest.is_empty() {
                if self.shared.ended.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(PAUSE);
            }
        }
        let lost = rest.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.shared.waiting.fetch_sub(batch.lines, Ordering::Relaxed);
        self.shared.written.fetch_add(batch.lines.saturating_sub(lost), Ordering::Relaxed);
        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        if let Some(home) = batch.home.take() {
            batch.bytes.clear();
            let _ = home.try_send(batch.bytes);
        }
    }

    /// One attempt; the bytes that are done with.
    fn write_once(&mut self, bytes: &[u8]) -> usize {
        self.obey();
        let begun = Instant::now();
        self.shared.writing.store(self.shared.milliseconds(), Ordering::Relaxed);
        let attempt = if self.is_refused {
            let shared = Arc::clone(&self.shared);
            self.output.probe(bytes, || shared.ended.load(Ordering::Relaxed))
        } else {
            self.output.write(bytes)
        };
        self.shared.writing.store(0, Ordering::Relaxed);
        self.shared.lost.fetch_add(attempt.lost, Ordering::Relaxed);
        self.is_unproven = false;
        let was_refused = std::mem::replace(&mut self.is_refused, attempt.is_refused);
        if was_refused != attempt.is_refused {
            self.shared.known().is_refused = attempt.is_refused;
        }
        if was_refused && attempt.fault.is_none() {
            self.recovered();
        }
        self.judge(attempt.fault, begun.elapsed());
        attempt.done
    }

    fn recovered(&mut self) {
        tracing::info!(log = self.name, "the log can be written again");
        self.shared.known().problem = None;
        self.faulty = None;
    }

    /// The last attempt went like this, and took so long.
    fn judge(&mut self, fault: Option<String>, took: Duration) {
        match (fault, self.faulty) {
            (Some(fault), _) => {
                let mut known = self.shared.known();
                if known.problem.as_ref().is_none_or(|problem| problem.what != fault) {
                    tracing::warn!(log = self.name, reason = fault, "a log can't be written");
                    // It gets nothing since the first of the reasons, or since it was waited for.
                    let since = known.problem.take().map_or_else(|| ago(took), |problem| problem.since);
                    known.problem = Some(LogProblem { what: fault, since });
                }
                self.faulty = Some(Instant::now());
            }
            // Datagrams may be refused later than they are sent.
            (None, Some(at)) if self.output.tells() || (!self.is_refused && at.elapsed() >= SETTLED) => {
                self.recovered();
            }
            (None, _) => {}
        }
    }

    /// How many were lost since then, if that is to be told now.
    fn losses(&self, (at, known): (Instant, u64)) -> Option<(u64, u64)> {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let is_soon = at.elapsed() < TOLD && known > 0;
        (lost != known && !is_soon).then_some((lost - known, lost))
    }

    /// Also while the place is broken.
    fn warn_of_losses(&mut self) {
        if let Some((new, lost)) = self.losses(self.warned) {
            self.warned = (Instant::now(), lost);
            tracing::warn!(log = self.name, lines = new, so_far = lost, "lines of a log are lost");
        }
    }

    /// The line about what was lost, seldom.
    fn notice_of_losses(&mut self) -> Option<Vec<u8>> {
        if self.faulty.is_some() || !self.output.is_known() {
            return None;
        }
        let (new, lost) = self.losses(self.told)?;
        self.told = (Instant::now(), lost);
        self.shared.known().told = lost;
        let message = if new == 1 {
            "1 line of this log is lost".to_owned()
        } else {
            format!("{new} lines of this log are lost")
        };
        let (level, now) = (Severity::Warning, SystemTime::now());
        let mut line = Vec::new();
        self.notice.put(level, &self.clock, now, &mut line);
        let (format, node) = self.shared.known().events.clone();
        match format {
            EventFormat::Text => line.extend_from_slice(message.as_bytes()),
            EventFormat::Json => {
                let facts = vec![("lines", Fact::Number(new))];
                let event =
                    LogEvent { level, source: "log", kind: "lines_lost", message: message.into(), facts };
                event.put_json(level, &node, usize::MAX, (&self.clock, now), &mut line);
            }
        }
        line.push(b'\n');
        Some(line)
    }
}
