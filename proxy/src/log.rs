//! Logs for others: what happened to requests and servers, in HAProxy's words, sent where the file says.
//!
//! ```text
//! Connection ── Record (what happened so far, kept while it lasts) ── format ──> line ──> Logger: a header each
//! control side ── event: server DOWN, UP ... ──────────────────────────────────────────────┘  └──> Outbox, Sink
//! ```
//! A worker writes a line into a buffer of its own and never waits for where it goes (`sink`). A frontend without a
//! log keeps no record, but where there are statistics to show its times. What the program says of itself for a person at
//! a terminal is `tracing`'s, elsewhere.

mod capture;
mod clock;
mod entry;
mod escape;
pub(crate) mod event;
mod format;
mod header;
mod object;
mod outbox;
mod record;
mod sink;
mod worker;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use self::{clock::Clock, header::Header};
use crate::{
    config::{
        AccessLog, BackendId, Config, EventFormat, LogDestination, LogFormat, LogSample, LogTarget, Severity,
    },
    resolve::{self, ResolverConfig},
    sample::{LogFact, Moment, Template},
    status::LogStatus,
};

pub use self::event::facts::{Fact, LogEvent};
pub(crate) use self::{
    entry::OnRecord,
    record::{Phase, Record, ServedBy},
    sink::{KnownLog, Sink},
    worker::WorkerLog,
};

/// No header is longer, but with a very long name of the machine.
const HEADER: usize = 160;

/// Where lines go, as the configuration has it.
#[derive(Debug)]
pub(crate) struct Loggers {
    sinks: Box<[Arc<Sink>]>,
    process: Logger,
    frontends: Box<[Option<TrafficLogger>]>,
    backends: Box<[Logger]>,
    /// How this node is called.
    node: String,
}

/// One or more targets that get the same messages.
#[derive(Debug)]
struct Logger {
    targets: Box<[Target]>,
}

/// That of a frontend.
#[derive(Debug)]
struct TrafficLogger {
    logger: Logger,
    config: AccessLog,
    /// Bytes of a text that can be seen in a line.
    longest: usize,
    /// Bytes of a message that every target takes.
    shortest: usize,
    /// What a template needs before the line is written.
    keeps: Keeps,
    /// A template shows captured headers as HAProxy's lines do.
    joins_headers: bool,
}

/// When parts of lines are computed and kept.
#[derive(Clone, Copy, Debug, Default)]
struct Keeps {
    request: bool,
    rules: bool,
    response: bool,
}

impl Keeps {
    fn new(template: &Template) -> Self {
        let at = |moment| template.keeps_at(moment);
        Self { request: at(Moment::Request), rules: at(Moment::Rules), response: at(Moment::Response) }
    }

    fn at(self, moment: Moment) -> bool {
        match moment {
            Moment::Request => self.request,
            Moment::Rules => self.rules,
            Moment::Response => self.response,
            Moment::End => false,
        }
    }
}

#[derive(Debug)]
struct Target {
    sink: Arc<Sink>,
    header: Header,
    level: Severity,
    min_level: Severity,
    /// With its header.
    length: usize,
    events: EventFormat,
    sample: Option<(LogSample, AtomicU64)>,
}

impl Loggers {
    /// Of each place that the configuration names: the one that is `known`, or a new one with a thread of its own, which
    /// does nothing before [`Self::begin`] or a line.
    pub(crate) fn new(
        config: &Config,
        hostname: &str,
        known: impl Fn(&LogDestination) -> Option<Arc<Sink>>,
    ) -> Self {
        let mut sinks: Vec<Arc<Sink>> = Vec::new();
        let pid = std::process::id();
        let mut logger = |targets: &[LogTarget]| {
            let targets = targets.iter().map(|target| {
                let header = Header::new(target, hostname, pid);
                let named = sinks.iter().position(|sink| *sink.destination() == target.to);
                let sink = match named {
                    Some(at) => Arc::clone(&sinks[at]),
                    None => {
                        let sink = known(&target.to)
                            .unwrap_or_else(|| Sink::start(&target.to, header.clone(), config.threads.get()));
                        sink.set_events(target.events, &config.node);
                        sinks.push(Arc::clone(&sink));
                        sink
                    }
                };
                Target {
                    sink,
                    header,
                    level: target.level,
                    min_level: target.min_level,
                    length: target.length.into(),
                    events: target.events,
                    sample: target.sample.clone().map(|sample| (sample, AtomicU64::new(0))),
                }
            });
            Logger { targets: targets.collect() }
        };
        let process = logger(&config.log);
        let frontends = config.frontends.iter().map(|frontend| {
            let log = &frontend.log;
            let lengths = log.targets.iter().map(|target| usize::from(target.length));
            let (shortest, longest) = (lengths.clone().min()?, lengths.max()?);
            let shortest = shortest.saturating_sub(HEADER);
            let template = match &log.format {
                LogFormat::Template(template) => Some(template),
                _ => None,
            };
            let headers = [LogFact::HeadersRequest, LogFact::HeadersResponse];
            Some(TrafficLogger {
                logger: logger(&log.targets),
                longest,
                shortest,
                keeps: template.map(Keeps::new).unwrap_or_default(),
                joins_headers: template.is_some_and(|template| template.says(&headers)),
                config: log.clone(),
            })
        });
        let frontends = frontends.collect();
        let backends = config.backends.iter().map(|backend| logger(&backend.log)).collect();
        Self { process, frontends, backends, sinks: sinks.into(), node: config.node.clone() }
    }

    /// What is known of each place, under its name, for the next process.
    pub(crate) fn known(&self) -> BTreeMap<String, KnownLog> {
        self.sinks.iter().map(|sink| (sink.destination().to_string(), sink.known())).collect()
    }

    /// Begins with what the process before knew of places that this configuration has as well. Before [`Self::begin`].
    pub(crate) fn restore(&self, before: &BTreeMap<String, KnownLog>) {
        for sink in &self.sinks {
            if let Some(before) = before.get(&sink.destination().to_string()) {
                sink.restore(before);
            }
        }
    }

    /// The configuration is in force: what is wrong with a place shows at once.
    pub(crate) fn begin(&self) {
        self.sinks.iter().for_each(|sink| sink.look());
    }

    /// The one with this destination.
    pub(crate) fn sink(&self, to: &LogDestination) -> Option<Arc<Sink>> {
        self.sinks.iter().find(|sink| sink.destination() == to).cloned()
    }

    /// Does this frontend log its traffic?
    pub(crate) fn has_traffic(&self, frontend: usize) -> bool {
        self.frontends[frontend].is_some()
    }

    /// Something happened to the process.
    pub(crate) fn process(&self, event: &LogEvent<'_>) {
        self.event(&self.process, event);
    }

    /// Something happened to a server of a backend.
    pub(crate) fn backend(&self, backend: BackendId, event: &LogEvent<'_>) {
        self.event(&self.backends[backend.0], event);
    }

    /// Something happened to a frontend.
    pub(crate) fn frontend(&self, frontend: usize, event: &LogEvent<'_>) {
        if let Some(traffic) = &self.frontends[frontend] {
            self.event(&traffic.logger, event);
        }
    }

    fn event(&self, logger: &Logger, event: &LogEvent<'_>) {
        let clock = Clock::default();
        let mut text = Vec::with_capacity(event.message.len());
        escape::controls(event.message.as_bytes(), &mut text);
        let now = SystemTime::now();
        logger.write(event.level, |target, level| {
            let mut line = Vec::with_capacity(64 + text.len());
            match target.events {
                EventFormat::Text => target.put(level, &text, &clock, now, &mut line),
                EventFormat::Json => {
                    target.header.put(level, &clock, now, &mut line);
                    let room = target.length.saturating_sub(line.len());
                    event.put_json(level, &self.node, room, (&clock, now), &mut line);
                    line.push(b'\n');
                }
            }
            target.sink.send_line(line);
        });
    }

    /// Every file is opened anew, by its name. How they are then, `limit` later at most.
    pub(crate) async fn reopen(&self, limit: Duration) -> Vec<LogStatus> {
        let is_file = |sink: &&Arc<Sink>| matches!(sink.destination(), LogDestination::File(_));
        let files: Vec<_> = self.sinks.iter().filter(is_file).map(|sink| (sink, sink.reopen())).collect();
        let end = tokio::time::Instant::now() + limit;
        let mut found = Vec::new();
        for (sink, reopened) in files {
            // A thread that is stuck says so in its status.
            let _ = tokio::time::timeout_at(end, reopened).await;
            found.push(sink.status());
        }
        found
    }

    /// Waits until what was sent is written, for `limit` at most, and says how much was not. It blocks.
    pub(crate) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let flushed: Vec<_> = self.sinks.iter().map(|sink| sink.flush()).collect();
        for (sink, flushed) in self.sinks.iter().zip(flushed) {
            if flushed.recv_timeout(end.saturating_duration_since(Instant::now())).is_err() {
                sink.tell_what_waits();
            }
        }
    }

    pub(crate) fn status(&self) -> Vec<LogStatus> {
        self.sinks.iter().map(|sink| sink.status()).collect()
    }

    /// Those whose address has to be looked up.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Arc<Sink>> {
        self.sinks.iter().filter(|sink| matches!(sink.destination(), LogDestination::UdpName { .. }))
    }
}

/// Follows the name of a syslog server, if it has one, for ever.
pub(crate) async fn follow(sink: Arc<Sink>, resolver: ResolverConfig) {
    let LogDestination::UdpName { host, port } = sink.destination() else { return };
    let (mut failures, mut current) = (0, None);
    loop {
        let (found, pause) = resolve::look_up(&resolver, host, &mut failures).await;
        match found {
            Ok(addresses) => {
                current = resolve::choose(current, &[], &addresses);
                if let Some(address) = current {
                    sink.resolved(SocketAddr::new(address, *port));
                }
            }
            Err(error) => sink.unresolved(format!("its name does not resolve: {error}")),
        }
        tokio::time::sleep(pause).await;
    }
}

impl Logger {
    /// Calls `write` for each target that takes a message of this level, with the level that it has there.
    fn write(&self, level: Severity, mut write: impl FnMut(&Target, Severity)) {
        for target in self.targets.iter().filter(|target| level <= target.level) {
            let is_taken = match &target.sample {
                Some((sample, count)) => sample.takes(count.fetch_add(1, Ordering::Relaxed)),
                None => true,
            };
            if is_taken {
                write(target, level.max(target.min_level));
            }
        }
    }
}

impl Target {
    /// Writes one line with its end; what is beyond its length is cut off, as in HAProxy.
    fn put(&self, level: Severity, message: &[u8], clock: &Clock, now: SystemTime, out: &mut Vec<u8>) {
        let end = out.len() + self.length;
        self.header.put(level, clock, now, out);
        out.extend_from_slice(message);
        out.truncate(end);
        out.push(b'\n');
    }
}
