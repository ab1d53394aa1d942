//! What is known of one exchange (http) or connection (tcp) so far: all that any format may tell of it.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::capture::Slot;
use crate::{
    Endpoint,
    config::{BackendId, Mode},
    status::Steps,
    trace::{Chosen, Tracing},
};

/// See the module. Moments are counted from `begun`.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its first byte came (tcp: the client was accepted).
    begun: Instant,
    /// The same on the wall.
    pub(super) date: SystemTime,
    /// As rules may have corrected it.
    pub(crate) client: Endpoint,
    /// Bytes to and from the client over its connection until then.
    pub(super) sent_before: u64,
    pub(crate) received_before: u64,
    /// Bytes from the client over its connection that belong to it or to what came before, once that is known.
    pub(crate) received_until: Option<u64>,
    /// Where it is, for who ends it from outside.
    pub(crate) phase: Phase,
    /// Its head was whole.
    pub(super) head: Option<Duration>,
    /// It had left the line and got its last server.
    pub(super) queued: Option<Duration>,
    /// It had its connection to a server.
    pub(super) connected: Option<Duration>,
    /// The head of the response was whole.
    pub(super) responded: Option<Duration>,
    /// How long a rule has let it wait.
    held: Option<Duration>,
    /// What the client was answered.
    pub(crate) status: Option<u16>,
    pub(super) backend: Option<BackendId>,
    pub(crate) served_by: ServedBy,
    pub(crate) retries: u32,
    pub(crate) is_redispatched: bool,
    /// Its turn in the line of its server, and in that of its backend; 0 if it did not wait.
    pub(crate) in_line: (u32, u32),
    /// Why its server was chosen, and if a rule has chosen its backend.
    pub(crate) chosen: Chosen,
    pub(crate) is_by_rule: bool,
    /// Who traces it.
    pub(crate) trace: Option<Box<Tracing>>,
    /// A rule wants no line of it.
    pub(crate) is_silent: bool,
    /// Its line is written: it goes on all the same, and is still measured.
    pub(super) is_written: bool,
    /// How it ended: who, and where. None until it has.
    pub(super) code: Option<[char; 2]>,
    /// Why nobody has served it.
    pub(crate) reason: Option<Arc<str>>,
    /// What the request's cookie said, and what became of it in the response.
    pub(crate) cookie: [char; 2],
    /// Of the request.
    text: Vec<u8>,
    line: Option<RequestLine>,
    /// Parts of the texts that are kept of request and response.
    kept: Vec<(Slot, Option<Range<usize>>)>,
    /// Room for a text that is put together.
    pub(super) joined: Vec<u8>,
}

/// Where its parts are in the texts; the version also where the line was too long for it.
#[derive(Clone, Debug)]
struct RequestLine {
    method: Range<usize>,
    target: Range<usize>,
    end: usize,
    version: &'static [u8],
}

/// Milliseconds of each step; `None` for one that was never done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Times {
    /// From the first byte to the end of the head.
    pub(super) request: Option<u64>,
    /// In line, and in attempts to connect but the last; or held by a rule.
    pub(super) queue: Option<u64>,
    /// Until the server was connected.
    pub(super) connect: Option<u64>,
    /// Until the head of the response was whole.
    pub(super) response: Option<u64>,
}

/// Where an exchange is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Its head is awaited.
    #[default]
    Request,
    /// It looks for a server.
    Connect,
    /// It waits in line.
    Queue,
    /// The head of the response is awaited.
    Headers,
    /// Content moves.
    Data,
}

/// Who answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum ServedBy {
    /// No server.
    #[default]
    Nobody,
    /// A server of its backend, by its index.
    Server(usize),
    /// The page of statistics, which is a server of its own in HAProxy.
    Statistics,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            date: SystemTime::UNIX_EPOCH,
            client: Endpoint::Unix,
            sent_before: 0,
            received_before: 0,
            received_until: None,
            phase: Phase::default(),
            head: None,
            queued: None,
            connected: None,
            responded: None,
            held: None,
            status: None,
            backend: None,
            served_by: ServedBy::default(),
            retries: 0,
            is_redispatched: false,
            in_line: (0, 0),
            chosen: Chosen::default(),
            is_by_rule: false,
            trace: None,
            is_silent: false,
            is_written: false,
            code: None,
            reason: None,
            cookie: ['-'; 2],
            text: Vec::new(),
            line: None,
            kept: Vec::new(),
            joined: Vec::new(),
        }
    }
}

impl Record {
    /// Forgets everything of another one, but for the room that its texts had.
    pub(super) fn begin(&mut self, begun: Instant, client: Endpoint, sent: u64, received: u64) {
        let mut text = std::mem::take(&mut self.text);
        let (mut kept, joined) = (std::mem::take(&mut self.kept), std::mem::take(&mut self.joined));
        text.clear();
        kept.clear();
        let date = SystemTime::now().checked_sub(begun.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        *self = Self {
            begun,
            date,
            client,
            sent_before: sent,
            received_before: received,
            text,
            kept,
            joined,
            ..Self::default()
        };
    }

    /// The head is whole; its first line is put together from these, as far as `longest` bytes of it.
    pub(crate) fn request(&mut self, method: &[u8], target: &[u8], version: &'static [u8], longest: usize) {
        if self.line.is_some() {
            // Its rules waited for a proof, and it was looked at before.
            return;
        }
        self.head = Some(self.begun.elapsed());
        let full = self.text.len() + longest;
        let mut put = |part: &[u8]| {
            let start = self.text.len();
            self.text.extend_from_slice(&part[..part.len().min(full.saturating_sub(start))]);
            start..self.text.len()
        };
        let method = put(method);
        put(b" ");
        let target = put(target);
        put(b" ");
        let Range { end, .. } = put(version);
        self.line = Some(RequestLine { method, target, end, version });
    }

    /// Keeps a text, or that there is none, as far as `longest` bytes of it.
    pub(super) fn keep(&mut self, slot: Slot, value: Option<[&[u8]; 3]>, longest: usize) {
        let range = value.map(|parts| {
            let start = self.text.len();
            parts.into_iter().for_each(|part| self.text.extend_from_slice(part));
            self.text.truncate(start.saturating_add(longest));
            start..self.text.len()
        });
        match self.kept.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, known)) => *known = range,
            None => self.kept.push((slot, range)),
        }
    }

    /// All that was captured of headers and cookies.
    pub(super) fn captured(&self) -> impl Iterator<Item = &[u8]> {
        let captured = self.kept.iter().filter(|(slot, _)| !matches!(slot, Slot::Part(_)));
        captured.filter_map(|(_, range)| self.text.get(range.clone()?))
    }

    /// The text that was kept for this.
    pub(super) fn kept(&self, slot: Slot) -> Option<&[u8]> {
        let (_, range) = self.kept.iter().find(|(known, _)| *known == slot)?;
        self.text.get(range.clone()?)
    }

    /// A captured cookie, as HAProxy shows it: it looks for them behind its rules, so what these, or the page of statistics,
    /// have answered has none.
    pub(super) fn cookie(&self, slot: Slot) -> Option<&[u8]> {
        if self.code == Some(['L', 'R']) { None } else { self.kept(slot) }
    }

    /// A tcp connection has no head that could be awaited.
    pub(crate) fn accepted(&mut self) {
        self.head = Some(Duration::ZERO);
    }

    /// It looks for a server of this backend.
    pub(crate) fn sent_to(&mut self, backend: BackendId) {
        self.backend = Some(backend);
        self.phase = Phase::Connect;
    }

    /// Rules of this backend have answered it.
    pub(crate) fn answered_in(&mut self, backend: BackendId) {
        self.backend = Some(backend);
    }

    /// No backend was chosen. HAProxy has no times in the line of such a request, not even that of its head.
    pub(crate) fn went_nowhere(&mut self) {
        self.head = None;
    }

    /// It left the line at that moment and got a server.
    pub(crate) fn dequeued(&mut self, at: Instant) {
        self.queued = Some(at.saturating_duration_since(self.begun));
    }

    /// It has its server.
    pub(crate) fn connected(&mut self, server: usize) {
        self.connected = Some(self.begun.elapsed());
        self.served_by = ServedBy::Server(server);
        self.phase = Phase::Headers;
    }

    /// The page of statistics has answered.
    pub(crate) fn by_statistics(&mut self) {
        self.served_by = ServedBy::Statistics;
        let now = Some(self.begun.elapsed());
        (self.queued, self.connected, self.responded) = (self.head, self.head, now);
    }

    /// The head of the response is whole.
    pub(crate) fn responded(&mut self) {
        self.responded = Some(self.begun.elapsed());
        self.phase = Phase::Data;
    }

    /// A rule let it wait until now.
    pub(crate) fn was_held(&mut self) {
        let head = self.head.unwrap_or_default();
        self.held = Some(self.begun.elapsed().saturating_sub(head));
    }

    /// Its content was waited for and never came: as in HAProxy, no step of it is done.
    pub(crate) fn never_whole(&mut self) {
        self.head = None;
    }

    /// It ended with these two letters.
    pub(crate) fn ended(&mut self, code: &'static str) {
        let mut letters = code.chars();
        if let (Some(by), Some(at)) = (letters.next(), letters.next()) {
            self.code = Some([by, at]);
        }
    }

    /// An attempt has failed; another one begins.
    pub(crate) fn tries_again(&mut self) {
        self.phase = Phase::Connect;
    }

    /// How long each step took.
    pub(super) fn times(&self) -> Times {
        if let Some(held) = self.held {
            // HAProxy's lines have this time where others have that in line, and none before it.
            let queue = u64::try_from(held.as_millis()).ok();
            return Times { request: None, queue, connect: None, response: None };
        }
        let at =
            |moment: Option<Duration>| moment.map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let (head, queued, connected, responded) =
            (at(self.head), at(self.queued), at(self.connected), at(self.responded));
        let from = |begin: Option<u64>, end: Option<u64>| Some(end?.saturating_sub(begin?));
        Times {
            request: head,
            queue: from(head, queued),
            connect: from(queued, connected),
            response: from(connected, responded),
        }
    }

    /// How long its steps took until now; 0 for those that were not done.
    pub(crate) fn steps_so_far(&self) -> Steps {
        let Times { request: _, queue, connect, response } = self.times();
        Steps {
            queue: queue.unwrap_or(0),
            connect: connect.unwrap_or(0),
            response: response.unwrap_or(0),
            total: u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How it ended, in two letters.
    pub(crate) fn letters(&self) -> String {
        self.code.unwrap_or(['-'; 2]).iter().collect()
    }

    /// Bytes to the client over its connection before it.
    pub(crate) fn sent_before(&self) -> u64 {
        self.sent_before
    }

    /// How long its steps took, and all of it, if its server has done its part: it has answered, in mode tcp it is connected.
    pub(super) fn steps(&self, mode: Mode, total: Duration) -> Option<Steps> {
        let Times { request: _, queue, connect, response } = self.times();
        Some(Steps {
            queue: queue?,
            connect: connect?,
            response: if mode == Mode::Tcp { 0 } else { response? },
            total: u64::try_from(total.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Is it more than ordinary traffic, or an answer of our own? As HAProxy sees it.
    pub(super) fn is_error(&self) -> bool {
        let by = self.code.map_or('-', |[by, _]| by);
        self.is_redispatched
            || !matches!(by, '-' | 'L')
            || (by == '-' && self.retries > 0)
            || self.status.is_some_and(|status| status >= 500)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The first line of the request, as the client sent it.
    pub(super) fn line(&self) -> Option<&[u8]> {
        let line = self.line.as_ref()?;
        self.text.get(line.method.start..line.end)
    }

    pub(super) fn method(&self) -> Option<&[u8]> {
        self.text.get(self.line.as_ref()?.method.clone())
    }

    pub(super) fn target(&self) -> Option<&[u8]> {
        self.text.get(self.line.as_ref()?.target.clone())
    }

    pub(super) fn version(&self) -> Option<&'static [u8]> {
        Some(self.line.as_ref()?.version)
    }
}

impl Phase {
    /// HAProxy's letter for it.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Request => 'R',
            Self::Connect => 'C',
            Self::Queue => 'Q',
            Self::Headers => 'H',
            Self::Data => 'D',
        }
    }
}
