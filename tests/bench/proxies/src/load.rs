//! The client before all proxies: one thread that makes exchanges, each connection one at a time, as fast as they are
//! answered or at a fixed pace.
//!
//! At a fixed pace an exchange has the moment at which it is due, whether or not a connection is free by then, and its
//! latency counts from that moment: a proxy that stands still is charged for everybody who would have come meanwhile
//! (else they would be left out: "coordinated omission").
//!
//! ```text
//!  parent                 this process
//!    ── plan (argument) ──▶ opens its connections, an exchange on each
//!    ◀── ready ───────────
//!    ── Turn ─────────────▶ exchanges
//!    ◀── Seen ───────────── everything stands still, connections are open
//!    ── Turn ... ─────────▶ the same again
//!    ── end of stdin ─────▶ ends
//! ```

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollEvent};
use serde::{Deserialize, Serialize};

use crate::{
    exchange::{Connection, End, Script, Work},
    histogram::Histogram,
    pace::Pace,
    sockets,
};

/// What is to be done.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) work: Work,
    /// How many at once.
    pub(crate) connections: usize,
}

/// Exchanges for a while.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Turn {
    /// So many a second; `None`: as many as are answered.
    pub(crate) pace: Option<f64>,
    pub(crate) seconds: f64,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Seen {
    pub(crate) done: u64,
    /// Why others were not done, and how many.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Of content, both ways.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) latency: Histogram,
    /// Answers of a server that says of itself that it is slow; they are in no other figure.
    pub(crate) slow: u64,
}

/// Exchanges that may be due and have no connection; beyond that the pace is hopeless, and they have failed.
const MAX_WAITING: usize = 1 << 20;
/// How long what was begun in time may take behind the end.
const GRACE: Duration = Duration::from_secs(10);
/// How long all connections may take to open, on a machine that is far too busy.
const WARM_UP: Duration = Duration::from_secs(180);
/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// Failures in a row without a success between: nobody is there.
const MAX_FAILURES: u64 = 100_000;
/// The number of the timer; connections follow.
const TIMER: usize = 0;

/// Arguments of the hidden verb `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArguments {
    plan: String,
}

struct Load {
    plan: Plan,
    script: Script,
    epoll: Epoll,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    /// When those were due that wait for a connection.
    waiting: VecDeque<Instant>,
    in_flight: usize,
    buffer: Vec<u8>,
    seen: Seen,
    failures: u64,
}

/// Does it.
pub(crate) fn run(arguments: &LoadArguments) -> anyhow::Result<()> {
    sockets::allow_many();
    let plan: Plan = serde_json::from_str(&arguments.plan).context("no plan")?;
    let mut load = Load::warm(plan)?;
    let say = |text: &str| writeln!(io::stdout(), "{text}");
    say("ready")?;
    for line in io::stdin().lock().lines() {
        let turn: Turn = serde_json::from_str(&line?).context("no turn")?;
        load.run(turn)?;
        say(&serde_json::to_string(&std::mem::take(&mut load.seen))?)?;
    }
    Ok(())
}

impl Load {
    /// Opens connections, with an exchange on each, a few at a time.
    fn warm(plan: Plan) -> anyhow::Result<Self> {
        let mut load = Self {
            script: Script::new(&plan.work),
            epoll: sockets::epoll()?,
            connections: Vec::new(),
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            buffer: vec![0; 1 << 20],
            seen: Seen::default(),
            failures: 0,
            plan,
        };
        let limit = Instant::now() + WARM_UP;
        let mut events = vec![EpollEvent::empty(); 64];
        while load.connections.len() < load.plan.connections || load.in_flight > 0 {
            while load.in_flight < AT_ONCE && load.connections.len() < load.plan.connections {
                let number = load.connections.len();
                load.connections.push(Connection::new(number));
                load.begin(number, Instant::now())?;
            }
            let count = load.wait(&mut events)?;
            load.handle(&events[..count])?;
            if !load.seen.failed.is_empty() || Instant::now() > limit {
                let Plan { connections, .. } = load.plan;
                bail!(
                    "{} of {connections} connections within {WARM_UP:?}, {:?}",
                    load.seen.done,
                    load.seen.failed
                );
            }
        }
        load.seen = Seen::default();
        Ok(load)
    }

    fn run(&mut self, turn: Turn) -> anyhow::Result<()> {
        let begin = Instant::now();
        let end = begin + Duration::from_secs_f64(turn.seconds);
        let mut events = vec![EpollEvent::empty(); 1024];
        if let Some(pace) = turn.pace {
            self.run_at(pace, begin, end, &mut events)?;
        } else {
            while let Some(number) = self.idle.pop_front() {
                self.begin(number, begin)?;
            }
            // Whatever was begun is waited for: what is half done has cost as well.
            while self.in_flight > 0 && Instant::now() < end + GRACE {
                let count = self.wait(&mut events)?;
                self.handle(&events[..count])?;
                // What failed has a new connection, and goes on.
                while Instant::now() < end
                    && let Some(number) = self.idle.pop_front()
                {
                    self.begin(number, Instant::now())?;
                }
            }
        }
        self.seen.seconds = begin.elapsed().as_secs_f64();
        self.give_up();
        Ok(())
    }

    /// What was not answered has failed, and is none of the next turn's.
    fn give_up(&mut self) {
        let unanswered = self.in_flight + self.waiting.len();
        if unanswered > 0 {
            *self.seen.failed.entry("not answered".to_owned()).or_default() += unanswered as u64;
        }
        self.waiting.clear();
        if self.in_flight > 0 {
            let is_idle: HashSet<usize> = self.idle.iter().copied().collect();
            for number in (0..self.connections.len()).filter(|number| !is_idle.contains(number)) {
                self.connections[number] = Connection::new(number);
                self.idle.push_back(number);
            }
            self.in_flight = 0;
        }
    }

    fn run_at(
        &mut self,
        pace: f64,
        begin: Instant,
        end: Instant,
        events: &mut [EpollEvent],
    ) -> anyhow::Result<()> {
        let pace = Pace::begin(&self.epoll, pace, TIMER)?;
        let mut due = begin;
        while due < end || (self.in_flight + self.waiting.len() > 0 && Instant::now() < end + GRACE) {
            let count = self.wait(events)?;
            pace.go_on()?;
            self.handle(&events[..count])?;
            let now = Instant::now();
            while due <= now && due < end {
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.push_back(due);
                } else {
                    self.fail("no connection was free");
                }
                due += pace.every;
            }
            while let Some(since) = self.waiting.front().copied()
                && let Some(number) = self.idle.pop_front()
            {
                self.waiting.pop_front();
                self.begin(number, since)?;
            }
        }
        Ok(())
    }

    fn wait(&self, events: &mut [EpollEvent]) -> anyhow::Result<usize> {
        match self.epoll.wait(events, 20_u8) {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins an exchange whose latency counts from `since`.
    fn begin(&mut self, number: usize, since: Instant) -> anyhow::Result<()> {
        self.in_flight += 1;
        let end = self.connections[number].begin(&self.script, self.plan.target, since, |socket| {
            sockets::watch(&self.epoll, socket, number + TIMER + 1)
        })?;
        self.finish(number, end)
    }

    fn handle(&mut self, events: &[EpollEvent]) -> anyhow::Result<()> {
        for event in events {
            let number = usize::try_from(event.data()).unwrap_or(TIMER);
            if number == TIMER {
                continue;
            }
            let number = number - TIMER - 1;
            let outcome =
                self.connections[number].proceed(&self.script, &mut self.buffer, &mut self.seen.bytes);
            self.finish(number, outcome)?;
        }
        Ok(())
    }

    /// Takes note of the end of an exchange, if it is one, and begins the next.
    fn finish(&mut self, number: usize, outcome: End) -> anyhow::Result<()> {
        match outcome {
            End::NotYet => return Ok(()),
            End::Done { is_slow: true, .. } => self.seen.slow += 1,
            End::Done { since, is_slow: false } => {
                self.seen.done += 1;
                self.seen.bytes += self.script.content;
                self.seen.latency.record(since.elapsed());
                self.failures = 0;
            }
            End::Failed(why) => {
                self.fail(why);
                self.failures += 1;
                if self.failures > MAX_FAILURES {
                    bail!("{} failures in a row, the last one: {why}", self.failures);
                }
            }
        }
        self.in_flight -= 1;
        self.idle.push_back(number);
        Ok(())
    }

    fn fail(&mut self, why: &str) {
        match self.seen.failed.get_mut(why) {
            Some(count) => *count += 1,
            None => drop(self.seen.failed.insert(why.to_owned(), 1)),
        }
    }
}
