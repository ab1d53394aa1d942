//! Where an exchange meets those who trace it.

use std::{fmt, sync::Arc, sync::atomic::Ordering, time::SystemTime};

use super::{Happened, Tap, TraceEvent, Traces, head};
use crate::{
    Endpoint,
    config::{Balance, HashKey},
    connection::Connection,
    log::Record,
    upstream::Upstream,
};

/// Why a request went to its server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Chosen {
    /// The balance of its backend.
    #[default]
    Balance,
    /// Its client had it before, says its cookie.
    Cookie,
    /// Its client had it before, says the table.
    Stick,
    /// Its client is authenticated on a connection there.
    Own,
    /// A rule has chosen it.
    Rule,
}

/// Who traces an exchange. It counts as one that is not over until this is dropped.
#[derive(Debug)]
pub(crate) struct Tracing {
    exchange: u64,
    taps: Vec<Arc<Tap>>,
}

impl Tracing {
    fn new(traces: &Traces, frontend: &str, client: Endpoint) -> Option<Box<Self>> {
        let taps = traces.wanted(frontend, client);
        let exchange = traces.exchanges.fetch_add(1, Ordering::Relaxed) + 1;
        (!taps.is_empty()).then(|| Box::new(Self { exchange, taps }))
    }

    fn send(&self, frontend: &str, client: Endpoint, happened: impl Fn(&Tap) -> Happened) {
        for tap in &self.taps {
            tap.send(TraceEvent {
                exchange: self.exchange,
                at: SystemTime::now(),
                frontend: frontend.to_owned(),
                client,
                what: happened(tap),
            });
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        self.taps.iter().for_each(|tap| tap.close());
    }
}

impl<S> Connection<S> {
    /// A request (tcp: a connection) is here, and this becomes of it. Nothing if nobody traces.
    pub(crate) fn trace_begin(&self, bytes: &[u8], decision: impl Fn(&Record) -> String) {
        let (traces, frontend) = (&self.worker().node().traces, &self.frontend().name);
        if !traces.is_on() {
            return;
        }
        self.log(|record| {
            record.trace = Tracing::new(traces, frontend, record.client);
            let Some(trace) = &record.trace else { return };
            trace.send(frontend, record.client, |tap| Happened::Begun {
                head: head::shown(bytes, tap.options.secrets),
                decision: decision(record),
            });
        });
    }

    /// A server has answered (tcp: is connected).
    pub(crate) fn trace_answer(&self, upstream: &Upstream, bytes: &[u8]) {
        self.with_trace(|trace, record| {
            trace.send(&self.frontend().name, record.client, |tap| Happened::Answered {
                backend: upstream.backend().name.clone(),
                server: upstream.server().name.clone(),
                chosen: self.why(record, upstream),
                retries: record.retries,
                steps: record.steps_so_far(),
                head: head::shown(bytes, tap.options.secrets),
            });
        });
    }

    /// It is over.
    pub(crate) fn trace_end(&self, record: &Record) {
        let Some(trace) = &record.trace else { return };
        trace.send(&self.frontend().name, record.client, |_| Happened::Ended {
            status: record.status,
            code: record.letters(),
            total: record.steps_so_far().total,
            sent: self.sent().value() - record.sent_before(),
        });
    }

    fn with_trace(&self, tell: impl FnOnce(&Tracing, &Record)) {
        let record = self.record().borrow();
        if let Some(record) = record.as_ref()
            && let Some(trace) = &record.trace
        {
            tell(trace, record);
        }
    }

    fn why(&self, record: &Record, upstream: &Upstream) -> String {
        let why = match record.chosen {
            Chosen::Balance => upstream.backend().balance.to_string(),
            Chosen::Cookie => "its cookie".to_owned(),
            Chosen::Stick => "its entry in the table".to_owned(),
            Chosen::Own => "its own connection".to_owned(),
            Chosen::Rule => "a rule".to_owned(),
        };
        match record.is_redispatched {
            true => format!("{why}, after another one failed"),
            false => why,
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "roundrobin",
            Self::LeastConn => "leastconn",
            Self::Random => "random",
            Self::First => "first",
            Self::Hash { key: HashKey::Source, .. } => "hash of its source",
            Self::Hash { key: HashKey::Uri(_), .. } => "hash of its uri",
            Self::Hash { key: HashKey::Header(_), .. } => "hash of a header",
            Self::Hash { key: HashKey::Query(_), .. } => "hash of its query",
        })
    }
}
