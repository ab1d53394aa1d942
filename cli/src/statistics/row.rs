//! One line of the statistics: a frontend, a server or a backend. Which columns it fills, and with what, is what HAProxy
//! does; a column that it leaves empty is empty here.

use super::Column;
use crate::control::{
    Backend, Compressed, Frontend, Level, Server, ServerState, Status, Steps, Timestamp, Traffic,
};

/// What stands in a column.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Cell {
    /// Nothing.
    #[default]
    Empty,
    /// A number.
    Number(i64),
    /// A word.
    Text(String),
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Where clients come in.
    Frontend,
    /// All servers of a backend together.
    Backend,
    /// A server.
    Server,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// The most that each step of an exchange ever took, which the CSV has no column for.
    pub longest: Option<Steps>,
    cells: Vec<Cell>,
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

impl Row {
    fn new(kind: Kind, proxy: &str, name: &str, ids: [u32; 2]) -> Self {
        let mut row = Self { kind, longest: None, cells: vec![Cell::Empty; Column::ALL.len()] };
        row.set(Column::Pxname, proxy);
        row.set(Column::Svname, name);
        row.set(Column::Pid, 1_u32);
        row.set(Column::Iid, ids[0]);
        row.set(Column::Sid, ids[1]);
        row.set(Column::Type, kind as u32);
        row
    }

    fn set(&mut self, column: Column, value: impl Into<Cell>) {
        self.cells[column as usize] = value.into();
    }

    /// Says more of the status.
    pub(super) fn set_status(&mut self, status: String) {
        self.set(Column::Status, status);
    }

    /// What stands in a column.
    pub fn cell(&self, column: Column) -> &Cell {
        &self.cells[column as usize]
    }

    /// In the order of the columns.
    pub fn cells(&self) -> impl Iterator<Item = (Column, &Cell)> {
        Column::ALL.iter().copied().zip(&self.cells)
    }
}

/// In the order of the file; each backend after its servers.
pub fn rows(status: &Status) -> Vec<Row> {
    let frontends = status.frontends.iter().map(|one| (one.statistics.position, Section::Frontend(one)));
    let backends = status.backends.iter().map(|one| (one.statistics.position, Section::Backend(one)));
    let mut sections: Vec<_> = frontends.chain(backends).collect();
    // The halves of one section stay as they are: the frontend comes first.
    sections.sort_by_key(|(position, _)| *position);
    let (mut rows, mut id, mut last) = (Vec::new(), 0, None);
    for (position, section) in sections {
        if last != Some(position) {
            id += 1;
        }
        last = Some(position);
        match section {
            Section::Frontend(frontend) => rows.push(of_frontend(frontend, id)),
            Section::Backend(backend) => push_backend(&mut rows, backend, status.at, id),
        }
    }
    rows
}

enum Section<'a> {
    Frontend(&'a Frontend),
    Backend(&'a Backend),
}

fn push_backend(rows: &mut Vec<Row>, backend: &Backend, at: Timestamp, id: u32) {
    for (server, number) in backend.servers.iter().zip(1..) {
        rows.push(of_server(server, backend, at, [id, number]));
    }
    rows.push(of_backend(backend, id));
}

fn of_frontend(frontend: &Frontend, id: u32) -> Row {
    let mut row = Row::new(Kind::Frontend, &frontend.name, "FRONTEND", [id, 0]);
    let counter = |name: &str| frontend.counters.get(name).copied().unwrap_or(0);
    let found = &frontend.statistics;
    let listens = frontend.binds.is_empty() || frontend.binds.iter().any(|bind| bind.error.is_none());
    row.set(Column::Scur, frontend.connections);
    row.set(Column::Smax, found.connections_peak);
    row.set(Column::Slim, frontend.maxconn);
    row.set(Column::Stot, frontend.connections_total);
    row.set(Column::Bin, frontend.bytes_in);
    row.set(Column::Bout, frontend.bytes_out);
    let denied = ["denied_total", "tarpitted_total", "rate_limited_total"];
    row.set(Column::Dreq, denied.map(counter).iter().sum::<u64>());
    row.set(Column::Dresp, counter("denied_responses_total"));
    row.set(Column::Ereq, found.request_errors);
    let status = if frontend.paused.is_some() { "PAUSED" } else { "OPEN" };
    row.set(Column::Status, if listens { status } else { "STOP" });
    row.set(Column::Rate, found.connection_rate.now);
    row.set(Column::RateLim, 0_u32);
    row.set(Column::RateMax, found.connection_rate.max);
    if frontend.mode == "http" {
        set_responses(&mut row, &frontend.responses);
    }
    row.set(Column::ReqRate, found.request_rate.now);
    row.set(Column::ReqRateMax, found.request_rate.max);
    row.set(Column::ReqTot, if frontend.mode == "http" { frontend.requests_total } else { 0 });
    set_compressed(&mut row, &found.compressed);
    row
}

fn of_backend(backend: &Backend, id: u32) -> Row {
    let mut row = Row::new(Kind::Backend, &backend.name, "BACKEND", [id, 0]);
    let found = &backend.statistics;
    set_traffic(&mut row, &found.traffic, found.mode == "http");
    row.set(Column::Slim, found.fullconn);
    row.set(Column::Dreq, found.traffic.denied_requests);
    row.set(Column::Status, if found.outage.is_down { "DOWN" } else { "UP" });
    let usable = |backup: bool| {
        let fits = |server: &&Server| server.backup == backup && server.is_usable();
        backend.servers.iter().filter(fits).count() as u64
    };
    let in_use = backend.servers.iter().filter(|server| server.statistics.is_in_use);
    row.set(Column::Weight, in_use.map(weight).sum::<u32>());
    row.set(Column::Act, usable(false));
    row.set(Column::Bck, usable(true));
    row.set(Column::Chkdown, found.outage.count);
    row.set(Column::Lastchg, found.outage.seconds);
    row.set(Column::Downtime, found.outage.total_seconds);
    set_compressed(&mut row, &found.compressed);
    row
}

fn of_server(server: &Server, backend: &Backend, at: Timestamp, ids: [u32; 2]) -> Row {
    let mut row = Row::new(Kind::Server, &backend.name, &server.name, ids);
    let found = &server.statistics;
    set_traffic(&mut row, &found.traffic, backend.statistics.mode == "http");
    row.set(Column::Slim, server.maxconn);
    row.set(Column::Status, status(server));
    row.set(Column::Weight, weight(server));
    row.set(Column::Act, u32::from(!server.backup));
    row.set(Column::Bck, u32::from(server.backup));
    row.set(Column::Lastchg, at.saturating_since(server.since).as_secs());
    row.set(Column::Throttle, (server.share < 100).then_some(u32::from(server.share)));
    row.set(Column::Hanafail, found.observed_errors);
    if found.is_checked {
        row.set(Column::Chkfail, found.failed_checks);
        row.set(Column::Chkdown, found.outage.count);
        row.set(Column::Downtime, found.outage.total_seconds);
    }
    // In maintenance HAProxy checks nothing, and shows nothing of it.
    if found.is_checked && server.state != ServerState::Maintenance {
        match &server.last_check {
            None => row.set(Column::CheckStatus, "INI"),
            Some(check) => {
                row.set(Column::CheckStatus, check.code.as_str());
                let has_code = matches!(check.code.as_str(), "L7OK" | "L7OKC" | "L7STS");
                let code = has_code.then(|| found.check_status.map_or(0, u32::from));
                row.set(Column::CheckCode, code);
                row.set(Column::CheckDuration, check.microseconds / 1_000);
            }
        }
        row.set(Column::LastChk, server.last_check.as_ref().map_or("", |check| check.info.as_str()));
    }
    row.set(Column::LastAgt, found.agent.clone());
    row
}

/// HAProxy's words for how a server is.
pub(super) fn status(server: &Server) -> String {
    let level = server.statistics.level;
    // While it is not sure any more, or not yet, it says how far it is.
    let going_down = level.filter(|level| level.now >= level.rise && level.now + 1 < level.rise + level.fall);
    let of_fall = |word: &str| match going_down {
        Some(Level { rise, fall, now }) => format!("{word} {}/{fall}", now + 1 - rise),
        None => word.to_owned(),
    };
    match server.state {
        ServerState::Up => of_fall("UP"),
        ServerState::NoBalance => of_fall("NOLB"),
        ServerState::NoCheck => "no check".to_owned(),
        ServerState::Down if server.resolved.is_none() => "MAINT (resolution)".to_owned(),
        ServerState::Down | ServerState::Unchecked => match level {
            Some(Level { rise, now: now @ 1.., .. }) => format!("DOWN {now}/{rise}"),
            Some(Level { now: 0, .. }) | None => "DOWN".to_owned(),
        },
        ServerState::AgentDown => "DOWN (agent)".to_owned(),
        ServerState::Drain if server.duty_ordered().is_some() => "DRAIN".to_owned(),
        ServerState::Drain => "DRAIN (agent)".to_owned(),
        ServerState::Maintenance => "MAINT".to_owned(),
    }
}

/// Its weight now, smaller in its slow start.
fn weight(server: &Server) -> u32 {
    (u32::from(server.weight) * u32::from(server.share)).div_ceil(100)
}

fn set_traffic(row: &mut Row, traffic: &Traffic, is_http: bool) {
    row.set(Column::Qcur, traffic.queued);
    row.set(Column::Qmax, traffic.queued_peak);
    row.set(Column::Scur, traffic.current);
    row.set(Column::Smax, traffic.peak);
    row.set(Column::Stot, traffic.sessions_total);
    row.set(Column::Bin, traffic.bytes_in);
    row.set(Column::Bout, traffic.bytes_out);
    row.set(Column::Dresp, traffic.denied_responses);
    row.set(Column::Econ, traffic.connect_failures);
    row.set(Column::Eresp, traffic.response_errors);
    row.set(Column::Wretr, traffic.retries);
    row.set(Column::Wredis, traffic.redispatches);
    row.set(Column::Lbtot, traffic.balanced_total);
    row.set(Column::Rate, traffic.rate.now);
    row.set(Column::RateMax, traffic.rate.max);
    if is_http {
        set_responses(row, &traffic.responses);
        row.set(Column::ReqTot, traffic.responses.iter().sum::<u64>());
    }
    row.set(Column::CliAbrt, traffic.client_aborts);
    row.set(Column::SrvAbrt, traffic.server_aborts);
    row.set(Column::Lastsess, traffic.idle.map_or(Cell::Number(-1), Cell::from));
    let average = traffic.times.map(|times| times.average);
    row.longest = traffic.times.map(|times| times.longest);
    row.set(Column::Qtime, average.map(|average| average.queue));
    row.set(Column::Ctime, average.map(|average| average.connect));
    row.set(Column::Rtime, average.map(|average| average.response));
    row.set(Column::Ttime, average.map(|average| average.total));
}

fn set_responses(row: &mut Row, responses: &[u64; 6]) {
    let columns = [
        Column::HrspOther,
        Column::Hrsp1xx,
        Column::Hrsp2xx,
        Column::Hrsp3xx,
        Column::Hrsp4xx,
        Column::Hrsp5xx,
    ];
    for (column, count) in columns.into_iter().zip(responses) {
        row.set(column, *count);
    }
}

fn set_compressed(row: &mut Row, compressed: &Compressed) {
    row.set(Column::CompIn, compressed.bytes_in);
    row.set(Column::CompOut, compressed.bytes_out);
    row.set(Column::CompByp, compressed.bytes_bypassed);
    row.set(Column::CompRsp, compressed.responses);
}
