//! Lines that the file describes.

use std::net::SocketAddr;

use super::{Line, Times};
use crate::{
    connection::Connection,
    log::{capture::Slot, clock::Clock, record::ServedBy},
    sample::{Facts, LogFact, LogFacts, ShortText, Template, Value, Variables},
};

/// Writes the message.
pub(in crate::log) fn write<S>(
    connection: &Connection<S>,
    template: &Template,
    line: &Line<'_>,
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    let (scratch, none) = (connection.worker().scratch().borrow(), Variables::default());
    let told = Told { connection, line, clock };
    let facts = Facts {
        client: line.record.client,
        backend: Some(line.backend_name()),
        server: Some(line.server_name().unwrap_or("<NOSRV>")),
        log: Some(&told),
        ..connection.facts(&none, &scratch.sample)
    };
    template.render_line(&facts, |part| line.record.kept(Slot::Part(part)), out);
}

/// All that is known when a line is written, for placeholders.
struct Told<'l, S> {
    connection: &'l Connection<S>,
    line: &'l Line<'l>,
    clock: &'l Clock,
}

impl<S> Told<'_, S> {
    /// Where the server is.
    fn server(&self) -> Option<SocketAddr> {
        let (ServedBy::Server(index), backend) = (self.line.record.served_by, self.line.record.backend?)
        else {
            return None;
        };
        self.connection.worker().with_usable(backend, |usable| usable.address(index))?.socket()
    }
}

impl<S> LogFacts for Told<'_, S> {
    fn value(&self, fact: LogFact) -> Option<Value<'_>> {
        let (line, record) = (self.line, self.line.record);
        let Times { request, queue, connect, response } = record.times();
        let load = &line.load;
        let plus = if line.is_early { "+" } else { "" };
        let time = |milliseconds: Option<u64>| match milliseconds {
            Some(milliseconds) => short(milliseconds),
            None => short(-1),
        };
        let kept = |slot| record.kept(slot).map(Value::Borrowed);
        let date = |put: fn(&Clock, std::time::SystemTime, &mut ShortText)| {
            let mut text = ShortText::new();
            put(self.clock, record.date, &mut text);
            Some(Value::Short(text))
        };
        match fact {
            LogFact::Request => line.is_http().then(|| Value::Borrowed(record.line().unwrap_or(b"<BADREQ>"))),
            LogFact::Frontend => {
                short(format_args!("{}{}", line.frontend.name, if line.is_tls { "~" } else { "" }))
            }
            LogFact::Date => date(Clock::put_milliseconds),
            LogFact::DateClf => date(Clock::put_clf),
            LogFact::DateGmt => date(|_, at, text| Clock::put_gmt(at, text)),
            LogFact::DateIso => date(Clock::put_iso),
            LogFact::DateUnixMs => {
                let since = record.date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                short(since.as_millis())
            }
            LogFact::TimeRequest => time(request),
            LogFact::TimeQueue => time(queue),
            LogFact::TimeConnect => time(connect),
            LogFact::TimeResponse => time(response),
            LogFact::TimeData => {
                let response = if line.is_http() { response } else { Some(0) };
                let before = [request, queue, connect, response].into_iter().sum::<Option<u64>>();
                time(before.map(|before| line.milliseconds().saturating_sub(before)))
            }
            LogFact::TimeTotal => short(format_args!("{plus}{}", line.milliseconds())),
            LogFact::Status => time(record.status.map(u64::from)),
            LogFact::ServerStatus => {
                response?;
                short(record.status?)
            }
            LogFact::BytesSent => short(format_args!("{plus}{}", line.counted(line.sent))),
            LogFact::BytesReceived => short(line.counted(line.received)),
            LogFact::Termination => {
                let ([by, at], [seen, done]) = (line.code(), record.cookie);
                if line.is_http() {
                    short(format_args!("{by}{at}{seen}{done}"))
                } else {
                    short(format_args!("{by}{at}"))
                }
            }
            LogFact::Reason => record.reason.as_ref().map(|reason| Value::Borrowed(reason.as_bytes())),
            LogFact::CookieRequest => record.cookie(Slot::RequestCookie).map(Value::Borrowed),
            LogFact::CookieResponse => record.cookie(Slot::ResponseCookie).map(Value::Borrowed),
            LogFact::HeadersRequest => kept(Slot::RequestHeaders),
            LogFact::HeadersResponse => kept(Slot::ResponseHeaders),
            LogFact::ConnectionsProcess => short(load.process),
            LogFact::ConnectionsFrontend => short(load.frontend),
            LogFact::ConnectionsBackend => short(load.backend),
            LogFact::ConnectionsServer => short(load.server),
            LogFact::Retries => {
                short(format_args!("{}{}", if record.is_redispatched { "+" } else { "" }, record.retries))
            }
            LogFact::QueueServer => short(record.in_line.0),
            LogFact::QueueBackend => short(record.in_line.1),
            LogFact::ServerIp => Some(Value::address(self.server()?.ip())),
            LogFact::ServerPort => short(self.server()?.port()),
        }
    }
}

fn short(value: impl std::fmt::Display) -> Option<Value<'static>> {
    Some(Value::Short(ShortText::display(value)))
}
