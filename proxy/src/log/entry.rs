//! Where a connection meets its log: a record is begun, noted in, and becomes a line when it ends, however it ends.

use std::time::{Duration, Instant};

use super::{
    Record, TrafficLogger,
    capture::{self, Slot},
    format::{Line, Load, haproxy, json, template},
    record::ServedBy,
};
use crate::{
    config::{AccessLog, LogFormat, Mode, Severity},
    connection::{Connection, Killed},
    http::head::{request, response},
    sample::{Facts, Moment},
    upstream::Search,
};

/// A search of which the record learns however it ends, also when its session is taken away from it.
pub(crate) struct OnRecord<'a, S> {
    pub(crate) search: &'a mut Search,
    connection: &'a Connection<S>,
}

impl<'a, S> OnRecord<'a, S> {
    pub(crate) fn new(search: &'a mut Search, connection: &'a Connection<S>) -> Self {
        Self { search, connection }
    }
}

impl<S> Drop for OnRecord<'_, S> {
    fn drop(&mut self) {
        self.connection.log(|record| self.search.tell(record));
    }
}

impl<S> Connection<S> {
    /// Is anything of its exchanges noted, for a log or for statistics?
    pub(crate) fn is_recorded(&self) -> bool {
        self.worker().node().keeps_records(self.frontend_id())
    }

    /// An exchange begins, or began at that moment. Nothing if nobody wants to know of it.
    pub(crate) fn begin_log(&self, begun: Instant) {
        if !self.is_recorded() {
            return;
        }
        let mut record = self.worker().log().take();
        record.begin(begun, self.peer(), self.sent().value(), self.received().value());
        *self.record().borrow_mut() = Some(record);
    }

    /// Is there a record?
    pub(crate) fn has_log(&self) -> bool {
        self.record().borrow().is_some()
    }

    /// Notes something, if there is a record.
    pub(crate) fn log<R>(&self, note: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.record().borrow_mut().as_mut().map(|record| note(record))
    }

    /// The head of a request is here, as its client sent it.
    pub(crate) fn log_request(&self, head: &request::Head<'_>) {
        self.log(|record| {
            let traffic = self.traffic_logger();
            let longest = traffic.map_or(0, |traffic| traffic.longest);
            record.request(head.method(), head.target(), head.version().name(), longest);
            if let Some(traffic) = traffic {
                capture::request(traffic, head, record);
            }
        });
    }

    /// The head of a response is here, as its server sent it.
    pub(crate) fn log_response(&self, head: &response::Head<'_>) {
        let Some(traffic) = self.traffic_logger() else { return };
        self.log(|record| capture::response(traffic, head, record));
    }

    /// Does its line need to know something at that moment?
    pub(crate) fn log_keeps_at(&self, moment: Moment) -> bool {
        self.traffic_logger().is_some_and(|traffic| traffic.keeps.at(moment))
    }

    /// Computes what its line needs to know at that moment.
    pub(crate) fn keep_for_log(&self, moment: Moment, facts: &Facts<'_>) {
        let Some(traffic) = self.traffic_logger().filter(|traffic| traffic.keeps.at(moment)) else { return };
        let LogFormat::Template(template) = &traffic.config.format else { return };
        self.log(|record| {
            template.keep(moment, facts, |part, value| {
                record.keep(Slot::Part(part), value.map(|value| [value, b"", b""]), traffic.longest);
            });
        });
    }

    /// What was begun is not worth a line.
    pub(crate) fn forget_log(&self) {
        if let Some(record) = self.record().take() {
            self.worker().log().give_back(record);
        }
    }

    /// The exchange is over: its line is written, and its times are counted. Nothing if there is no record.
    pub(crate) fn end_log(&self) {
        let Some(record) = self.record().take() else { return };
        let total = record.elapsed();
        if let Some(traffic) = self.traffic_logger().filter(|_| !record.is_written) {
            self.write_log(traffic, &record, total, None);
        }
        self.measure(&record, total);
        self.trace_end(&record);
        self.worker().log().give_back(record);
    }

    /// The head of the response is here, of so many bytes (tcp: the server is connected): a frontend that logs as soon as
    /// possible does it now.
    pub(crate) fn end_log_early(&self, head: usize) {
        let Some(traffic) = self.traffic_logger().filter(|traffic| traffic.config.asap) else { return };
        if let Some(record) = self.record().borrow_mut().as_mut() {
            self.write_log(traffic, record, record.elapsed(), Some(head as u64));
            record.is_written = true;
        }
    }

    /// Counts how long its steps took at its server, if it had one.
    fn measure(&self, record: &Record, total: Duration) {
        let (worker, mode) = (self.worker(), self.frontend().mode);
        if let (true, Some(backend), ServedBy::Server(server)) =
            (worker.node().is_timed, record.backend, record.served_by)
            && let Some(steps) = record.steps(mode, total)
        {
            worker.counters().backends[backend.0].took(server, steps, total);
        }
    }

    /// Its session was taken away from it.
    pub(crate) fn end_log_killed(&self, killed: Killed) {
        self.log(|record| {
            let letter = match killed {
                Killed::ServerDown => 'D',
                Killed::Operator => 'K',
                Killed::Panic => 'I',
            };
            record.code.get_or_insert([letter, record.phase.letter()]);
        });
        self.end_log();
    }

    /// No exchange comes of it: who came, and why, as HAProxy says it of a listener that has this number in its frontend.
    pub(crate) fn log_refused(&self, listener: usize, words: &str, why: Option<&str>) {
        let Some(traffic) = self.traffic_logger() else { return };
        let level = if traffic.config.separate_errors { Severity::Error } else { Severity::Info };
        self.worker().log().send(&traffic.logger, level, |clock, out| {
            haproxy::refused(self.peer(), (&self.frontend().name, listener), (words, why), clock, out);
        });
    }

    fn traffic_logger(&self) -> Option<&TrafficLogger> {
        self.worker().node().loggers.frontends[self.frontend_id()].as_ref()
    }

    /// `early` is what is about to be sent, of an exchange that goes on.
    fn write_log(&self, traffic: &TrafficLogger, record: &Record, total: Duration, early: Option<u64>) {
        let is_error = record.is_error();
        if record.is_silent || (traffic.config.dontlog_normal && !is_error) {
            return;
        }
        // Of http the session knows which these are.
        let frontend = self.frontend();
        if frontend.mode == Mode::Tcp && frontend.options.dontlognull && self.received().value() == 0 {
            return;
        }
        let node = self.worker().node();
        let backend = record.backend.map(|id| node.backend(id));
        let server = match record.served_by {
            ServedBy::Server(index) => backend.and_then(|backend| backend.servers.get(index)),
            ServedBy::Nobody | ServedBy::Statistics => None,
        };
        let load = record.backend.map_or((0, 0), |id| {
            let of_server = match record.served_by {
                ServedBy::Server(index) => node.backends[id.0].servers[index].in_flight(),
                ServedBy::Nobody | ServedBy::Statistics => 0,
            };
            (node.backends[id.0].load(), of_server)
        });
        let line = Line {
            record,
            frontend: self.frontend(),
            backend,
            server,
            total,
            sent: self.sent().value() - record.sent_before + early.unwrap_or(0),
            received: record
                .received_until
                .unwrap_or(self.received().value())
                .saturating_sub(record.received_before),
            load: Load {
                process: node.connections.taken(),
                frontend: node.frontends[self.frontend_id()].connections.taken(),
                backend: load.0,
                server: load.1,
            },
            is_early: early.is_some(),
            is_tls: self.tls().is_some(),
        };
        let level = if is_error && traffic.config.separate_errors { Severity::Error } else { Severity::Info };
        self.worker().log().send(&traffic.logger, level, |clock, out| {
            let AccessLog { format, capture, .. } = &traffic.config;
            match format {
                LogFormat::Http => haproxy::http(&line, capture, clock, out),
                LogFormat::Tcp => haproxy::tcp(&line, clock, out),
                LogFormat::Clf => haproxy::clf(&line, capture, clock, out),
                LogFormat::Json => json::write(&line, capture, traffic.shortest, clock, out),
                LogFormat::Template(template) => template::write(self, template, &line, clock, out),
            }
        });
    }
}
