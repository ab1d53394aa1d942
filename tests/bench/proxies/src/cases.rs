//! The kinds of work, and the cases that each is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    exchange::{Http, Work},
    setup::{HOSTS, Job, host},
};

/// A kind of work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Small requests on connections that are kept
    A,
    /// The same with 10 rules, 50 hosts, cookies, X-Forwarded-For and a line of log each
    B,
    /// Small requests, each on a connection of its own
    C,
    /// Responses of 10 kB to 10 MB, and in chunks
    D,
    /// Uploads of 1 MB
    E,
    /// Mode tcp: bulk, and 64 bytes to and fro
    F,
    /// Mode tcp: new connections
    G,
    /// 10 to 8,000 connections at once, and 8,000 that are mostly idle
    H,
    /// One worker and two
    I,
    /// Point selects of MariaDB through mode tcp
    J,
    /// A slow server and a dying one
    K,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] =
        [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G, Self::H, Self::I, Self::J, Self::K];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

/// What drives it.
#[derive(Clone, Debug)]
pub(crate) enum Drive {
    /// As fast as it goes, then at a fixed pace.
    Load(Work),
    /// At this pace alone, in requests per second.
    Paced(Work, f64),
    /// The same, and of two servers one needs [`SLOW`] ms.
    SlowServer(Work, f64),
    /// The same, and of two servers one is killed after a third of the time.
    DyingServer(Work, f64),
    Sysbench,
}

/// How long a slow server takes, in milliseconds.
pub(crate) const SLOW: u64 = 200;

/// What is counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Request,
    Connection,
    RoundTrip,
    Query,
    /// 10^9 bytes.
    Gigabyte,
}

impl Unit {
    /// Several.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Connection => "connections",
            Self::RoundTrip => "round trips",
            Self::Query => "queries",
            Self::Gigabyte => "GB",
        }
    }
}

/// One of the things that are measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `d-100k`.
    pub(crate) id: &'static str,
    pub(crate) kind: Kind,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) job: Job,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) drive: Drive,
    /// Bytes are what it is about: what 10 Gbit/s would cost is said.
    pub(crate) is_bulk: bool,
    /// Bytes of an exchange, where parts of one count.
    pub(crate) size: Option<f64>,
    /// HAProxy takes part with `option splice-auto` as well.
    pub(crate) splices: bool,
}

/// Of those that have no number of their own.
const CONNECTIONS: usize = 32;
/// Connections of the case that is mostly idle, and how many requests a second they make together.
pub(crate) const IDLE: usize = 8000;
const IDLE_PACE: f64 = 1000.0;
/// Requests a second before a slow and a dying server.
const TROUBLED_PACE: f64 = 2000.0;

fn get(path: &str) -> Work {
    Work::Http(Http::get(path))
}

/// All of them, in order.
pub(crate) fn all() -> Vec<Case> {
    let case = |id, kind, title, drive| Case {
        id,
        kind,
        title,
        unit: Unit::Request,
        job: Job::Http,
        workers: 1,
        connections: CONNECTIONS,
        drive: Drive::Load(drive),
        is_bulk: false,
        size: None,
        splices: false,
    };
    let fields = "User-Agent: bench\r\nAccept: */*\r\nCookie: SRV=s1\r\n".to_owned();
    let rich = Work::Http(Http { hosts: (0..HOSTS).map(host).collect(), fields, ..Http::get("/index.html") });
    let closing = Work::Http(Http { closes: true, ..Http::get("/") });
    let post = Work::Http(Http { method: "POST".to_owned(), content: 1_000_000, ..Http::get("/upload") });
    let sized = |id, title, path: &str, connections| Case {
        splices: true,
        is_bulk: id != "d-10k",
        size: path.rsplit('/').next().and_then(|size| size.parse().ok()),
        connections,
        ..case(id, Kind::D, title, get(path))
    };
    let tcp = |id, kind, title, unit, drive| Case { job: Job::Tcp, unit, ..case(id, kind, title, drive) };
    let crowd = |id, title, connections| Case { connections, ..case(id, Kind::H, title, get("/")) };
    let workers = |id, title, workers| Case { workers, ..case(id, Kind::I, title, get("/")) };
    let troubled = |id, title, drive| Case {
        drive,
        job: Job::Checked,
        connections: 400,
        ..case(id, Kind::K, title, get("/"))
    };
    let echo = |closes| Work::Echo { bytes: 64, closes };
    vec![
        case("a", Kind::A, "small responses, keep-alive", get("/")),
        Case {
            job: Job::Rich,
            ..case("b", Kind::B, "10 rules, 50 hosts, cookies, X-Forwarded-For, a log", rich)
        },
        case("c", Kind::C, "small responses, a connection each", closing),
        sized("d-10k", "responses of 10 kB", "/bytes/10000", CONNECTIONS),
        sized("d-100k", "responses of 100 kB", "/bytes/100000", CONNECTIONS),
        sized("d-1m", "responses of 1 MB", "/bytes/1000000", 8),
        sized("d-10m", "responses of 10 MB", "/bytes/10000000", 8),
        sized("d-chunked", "responses of 1 MB in chunks", "/chunked/1000000", 8),
        Case { is_bulk: true, connections: 8, splices: true, ..case("e", Kind::E, "uploads of 1 MB", post) },
        Case {
            connections: 2,
            is_bulk: true,
            size: Some(2e8),
            splices: true,
            ..tcp("f-bulk", Kind::F, "tcp: bulk", Unit::Gigabyte, get("/bytes/200000000"))
        },
        tcp("f-ping", Kind::F, "tcp: 64 bytes to and fro", Unit::RoundTrip, echo(false)),
        tcp("g", Kind::G, "tcp: new connections", Unit::Connection, echo(true)),
        crowd("h-10", "10 at once", 10),
        crowd("h-100", "100 at once", 100),
        crowd("h-1000", "1,000 at once", 1000),
        crowd("h-8000", "8,000 at once", 8000),
        Case {
            drive: Drive::Paced(get("/"), IDLE_PACE),
            ..crowd("h-idle", "8,000 connections, 1,000 requests a second", IDLE)
        },
        workers("i-1", "one worker, no processor of its own", 1),
        workers("i-2", "two workers, no processors of their own", 2),
        Case {
            drive: Drive::Sysbench,
            connections: 8,
            ..tcp("j", Kind::J, "tcp: point selects of MariaDB", Unit::Query, echo(false))
        },
        troubled(
            "k-slow",
            "one of two servers takes 200 ms: the others' requests",
            Drive::SlowServer(get("/"), TROUBLED_PACE),
        ),
        troubled("k-dying", "one of two servers dies", Drive::DyingServer(get("/"), TROUBLED_PACE)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_cases_whose_ids_begin_with_its_letter() {
        let cases = all();
        for kind in Kind::ALL {
            let mut of = cases.iter().filter(|case| case.kind == kind).peekable();
            assert!(of.peek().is_some(), "{kind}");
            of.for_each(|case| assert!(case.id.starts_with(&kind.to_string()), "{}", case.id));
        }
    }
}
