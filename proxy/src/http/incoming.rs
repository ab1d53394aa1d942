//! From received bytes to what becomes of a request: parsed, checked, judged by the rules, written for a server.
//!
//! Not async, and in one place: the fields of a head live on the stack and are gone before anything waits. Whatever needs
//! them leaves plain data in [`Incoming`].

use std::{borrow::Cow, net::IpAddr, time::Duration};

use super::{
    compression,
    cookie::{self, CookiePolicy, Persisted},
    forwarded::{self, Seen},
    head::{
        Fields, Malformed, Progress,
        request::{Head, Hop, Method, Request},
    },
    memory::Memory,
    message::Message,
};
use crate::{
    auth::{Gate, Proof, Question},
    buffer::Buffer,
    config::{
        Algorithm, BackendForwarded, BackendId, Config, ConnectionMode, Forwarded, ForwardedHeader, Monitor,
        Wanted,
    },
    connection::Connection,
    log::Record,
    rules::{
        AmbiguousPath, Content, RequireAuth, Respond, Run, Verdict, has_parameters, normalize, put_redirect,
    },
    sample::{Facts, Moment, VariableId, Variables},
    stream::Stream,
    upstream::{Preference, balance::Usable, key},
    worker::{Scratch, Worker},
};

/// A request, and what becomes of it.
#[derive(Debug)]
pub(super) struct Incoming<'c> {
    pub(super) request: Request,
    pub(super) preference: Preference,
    /// What its cookie says.
    pub(super) persisted: Persisted,
    /// What its response may be coded with.
    pub(super) coding: Option<Algorithm>,
    /// Its head as a server gets it, or that of the answer.
    pub(super) head: Buffer,
    /// The content of the answer.
    pub(super) content: Cow<'c, [u8]>,
    pub(super) then: Then<'c>,
    /// The backend whose rules have answered it.
    pub(super) answered_in: Option<BackendId>,
}

/// What was found at the start of an inbox.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are whole, and a box for each would be an allocation"
)]
pub(super) enum Parsed<'c> {
    /// A head that is not whole.
    Part,
    Whole(Incoming<'c>),
    /// A request of which it has to be found out first who sent it. Nothing is left of what its rules did: with the answer
    /// they run anew.
    Unknown(Box<Question>),
}

/// What is kept of a request from one run of its rules to the next.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Who sent it.
    pub(super) proof: Option<Proof>,
    /// How many limits have counted it.
    counted: usize,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then<'c> {
    /// A server of this backend gets it; `None` answers 503.
    Forward(Option<BackendId>),
    /// It is answered with the page of this status.
    Deny(u16),
    /// The same, and that refuses nothing.
    Page(u16),
    /// The same, after a time in which nothing happens.
    Tarpit(u16),
    /// It comes too often: the same, and when it may come again.
    Limited { status: u16, retry_after: Duration },
    /// It is answered with the challenge of this rule.
    Challenge(&'c RequireAuth),
    /// It is for the statistics; [`Incoming::content`] stands behind their URI.
    Statistics(Wanted),
    /// It is a monitor's question, and this is the answer.
    Monitor(u16),
    /// It is answered with what [`Incoming::head`] and [`Incoming::content`] hold.
    Answer { status: u16, close: bool, denies: bool },
}

impl Then<'_> {
    /// What is decided, in a clause; `by_rule` says if a rule has chosen the backend.
    pub(super) fn decision(&self, config: &Config, by_rule: bool) -> String {
        match self {
            Self::Forward(Some(id)) if by_rule => format!("a rule: backend {}", config.backends[id.0].name),
            Self::Forward(Some(id)) => format!("default_backend {}", config.backends[id.0].name),
            Self::Forward(None) => "no backend".to_owned(),
            Self::Deny(status) => format!("denied with {status}"),
            Self::Tarpit(status) => format!("a rule: tarpit, then {status}"),
            Self::Limited { status, .. } => format!("a rule: comes too often, {status}"),
            Self::Challenge(_) => "a rule: asked for a password".to_owned(),
            Self::Statistics(_) => "the statistics".to_owned(),
            Self::Monitor(status) => format!("a monitor's question, {status}"),
            Self::Page(status) | Self::Answer { status, .. } => format!("a rule: answered with {status}"),
        }
    }
}

/// Does the connection end after an answer that is given without a server? Content that nobody reads would be taken for
/// the next request.
pub(super) fn closes<S>(request: &Request, ended: bool, connection: &Connection<S>) -> bool
where
    S: Stream,
{
    request.has_content()
        || !request.persistent
        || ended
        || connection.is_draining()
        || connection.frontend().options.connection == ConnectionMode::Close
}

/// The request at the start of `inbox`, if its head is whole; `ended` says if its client has ended its
/// side, `memory` is that of the connection, `kept` is what an earlier run of its rules has left.
pub(super) fn parse<'c, S: Stream>(
    inbox: &Buffer,
    progress: &mut Progress,
    ended: bool,
    memory: &mut Memory,
    kept: &mut Kept,
    connection: &'c Connection<S>,
) -> Result<Parsed<'c>, Malformed> {
    let mut content = Cow::Borrowed(&b""[..]);
    let mut fields = Fields::default();
    let Some(mut head) = Head::parse(inbox.filled(), progress, &mut fields)? else {
        return Ok(Parsed::Part);
    };
    if let Some(version) = S::VERSION {
        head.over(version);
    }
    let request = head.check()?;
    let frontend = connection.frontend();
    connection.log_request(&head);
    if let Some(monitor) = frontend.monitor.as_ref().filter(|monitor| monitor.uri.as_bytes() == head.target())
    {
        let head = connection.worker().heads().take();
        let then = Then::Monitor(if has_too_few(monitor, connection) { 503 } else { 200 });
        let (preference, persisted) = (Preference::default(), Persisted::default());
        return Ok(Parsed::Whole(Incoming {
            request,
            preference,
            persisted,
            coding: None,
            head,
            content,
            then,
            answered_in: None,
        }));
    }
    let hop = |backend, client: Option<IpAddr>| Hop {
        forwarded_for: client.filter(|_| frontend.forwardfor && !tells_client(connection, backend)),
        local: connection.local(),
        close: connection.closes_server(backend),
    };
    // Where content is waited for, its client is told to go on from here.
    let expects_continue = request.expects_continue && !frontend.options.wait_for_body;
    let asked = Request { expects_continue, ..request };
    let worker = connection.worker();
    let mut out = worker.heads().take();
    let rules = &worker.node().rules;
    let backend = frontend.default_backend;
    let is_looked_at = frontend.unique_id.is_some()
        || frontend.forwarded.is_some()
        || of_backend(connection, backend).is_some()
        || rules.concern(connection.frontend_id(), backend)
        || rules.wants_request(connection.frontend_id())
        || with_cookie(worker, backend).is_some()
        || connection.compression(backend).is_some()
        || connection.log_keeps_at(Moment::Request)
        || connection.log_keeps_at(Moment::Rules)
        || frontend.statistics.as_ref().is_some_and(|page| page.takes(head.target()));
    if !is_looked_at {
        memory.forget(connection.peer());
        let field = |name: &str| {
            let mut fields = head.fields();
            fields.find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
        };
        let preference = prefer(connection, backend, connection.peer().ip(), head.target(), field);
        head.encode(&asked, &hop(backend, connection.peer().ip()), &mut out);
        let (persisted, then) = (Persisted::default(), Then::Forward(backend));
        return Ok(Parsed::Whole(Incoming {
            request,
            preference,
            persisted,
            coding: None,
            head: out,
            content,
            then,
            answered_in: None,
        }));
    }

    let mut scratch = worker.scratch().borrow_mut();
    let Scratch { edits, work, compared, sample } = &mut *scratch;
    let mut message = Message::of_request(head, &request, rules.used_fields(), edits)
        .map_err(|_| Malformed::HeadTooLarge)?;
    let settles = rules.settles(connection.frontend_id(), frontend);
    if settles {
        settle_path(&mut message, frontend.ambiguous_path, work)?;
    }
    let (remembered, session) = memory.begin(connection.peer());
    let none = Variables::default();
    let facts = connection.facts(&none, sample);
    connection.keep_for_log(Moment::Request, &Facts { request: Some(&message), ..facts });
    if let Some(id) = &frontend.unique_id {
        work.clear();
        id.template.render(&Facts { request: Some(&message), session, ..facts }, work);
        remembered.variables.set(VariableId::REQUEST_ID, work);
        if let Some(header) = &id.header {
            message.set(header.as_bytes(), work)?;
        }
    }
    let policy = frontend.forwarded.as_ref();
    let forwarded = policy.map(|policy| forwarded::begin(policy, &facts, &mut message, work)).transpose()?;
    let mark = message.mark();
    // Which backend it is is up to the rules, and so is what becomes of Host.
    let host = message.host().filter(|_| worker.node().keeps_host).map(<[u8]>::to_vec);
    let before = rules.ask_who(connection.frontend_id()).then(|| session.clone());
    let mut run = Run {
        message: &mut message,
        facts,
        variables: &mut remembered.variables,
        session,
        settles,
        compared,
        work,
        gate: Some(Gate { verifier: &worker.node().verifier, known: worker.known(), proof: kept.proof }),
        ignores_persistence: false,
        is_chosen: false,
        is_logged: None,
        server: None,
        is_usable: &|backend, server| worker.may_send_to(backend, server),
        count_usable: &|backend| worker.with_usable(backend, Usable::count),
        tables: &worker.node().tables,
        counted: kept.counted,
        limits: 0,
        entered: None,
        now: &|| worker.node().now(),
    };
    let verdict = rules.run(connection.frontend_id(), frontend.default_backend, &mut run)?;
    // As rules have corrected them.
    let (facts, ignores_persistence, limits, is_by_rule, is_logged, chosen, entered) = (
        run.facts,
        run.ignores_persistence,
        run.limits,
        run.is_chosen,
        run.is_logged,
        run.server,
        run.entered,
    );
    remembered.client = facts.client;
    connection.log(|record| {
        record.client = facts.client;
        record.is_by_rule = is_by_rule;
        record.is_silent = is_logged == Some(false);
    });
    let variables = &remembered.variables;
    connection.keep_for_log(Moment::Rules, &Facts { session, variables, ..facts });
    let method = Method::known(message.method());
    let (request, asked) = (Request { method, ..request }, Request { method, ..asked });
    let client = facts.client.ip();
    let (mut preference, mut persisted) = (Preference::default(), Persisted::default());
    let mut coding = None;
    let then = match verdict {
        Verdict::Forward(backend) => {
            for wanted in backend.iter().flat_map(|id| rules.wanted(connection.frontend_id(), *id)) {
                remembered.request.keep(wanted, &message);
            }
            let field = |name: &str| message.first(name.as_bytes());
            preference = prefer(connection, backend, client, message.target(), field);
            let by_rule = chosen.filter(|(of, _)| Some(*of) == backend).map(|(_, server)| server);
            if let Some((policy, id)) = with_cookie(worker, backend) {
                let is_ignored = ignores_persistence;
                persisted =
                    cookie::pass_request(policy, worker, id, is_ignored, by_rule, &mut message, work)?;
                preference.server = persisted.server;
            }
            preference.server = by_rule.or(preference.server);
            preference.by_rule = by_rule.is_some();
            if ignores_persistence {
                preference.client = None;
            }
            if let Some(policy) = connection.compression(backend) {
                coding = compression::of_request(policy, &mut message);
            }
            let of_backend = backend.map(|id| &worker.node().backend(id).forwarded);
            let of_backend = of_backend.unwrap_or(&BackendForwarded::AsFrontend);
            let seen = Seen { host: host.as_deref(), mark };
            forwarded::tell(of_backend, forwarded, &facts, seen, &mut message, work)?;
            message.encode_request(&asked, &hop(backend, client), &mut out);
            Then::Forward(backend)
        }
        Verdict::Deny(status) => Then::Deny(status),
        Verdict::Tarpit(status) => Then::Tarpit(status),
        Verdict::Limited { status, retry_after } => Then::Limited { status, retry_after },
        Verdict::Statistics => {
            let page = frontend.statistics.as_ref();
            match (request.method, page.and_then(|page| page.wanted(message.target()))) {
                (Method::Get | Method::Head, wanted) => {
                    let (wanted, suffix) = wanted.unwrap_or((Wanted::Page, b""));
                    content = Cow::Owned(suffix.to_vec());
                    Then::Statistics(wanted)
                }
                // As in HAProxy, where nobody may change anything on the page.
                (Method::Post, Some((Wanted::Page, _))) => {
                    let close = closes(&request, ended, connection);
                    work.clear();
                    work.extend_from_slice(page.map_or(b"", |page| page.uri.as_bytes()));
                    work.extend_from_slice(b";st=DENY");
                    put_redirect(303, work, close, &mut out);
                    connection.log(Record::by_statistics);
                    Then::Answer { status: 303, close, denies: false }
                }
                // They are for reading.
                _ => Then::Deny(403),
            }
        }
        Verdict::Challenge(wanted) => Then::Challenge(wanted),
        Verdict::Unknown(question) => {
            kept.counted = limits;
            if let Some(before) = before {
                *session = before;
            }
            return Ok(Parsed::Unknown(question));
        }
        Verdict::Redirect(redirect) => {
            let close = closes(&request, ended, connection);
            work.clear();
            let facts = Facts { request: Some(&message), session, variables: &remembered.variables, ..facts };
            redirect.put_location(&message, &facts, work);
            redirect.put(work, close, &facts, &mut out);
            Then::Answer { status: redirect.status, close, denies: false }
        }
        Verdict::Respond(Respond { content: Content::Page, status, denies, .. }) => match denies {
            true => Then::Deny(*status),
            false => Then::Page(*status),
        },
        Verdict::Respond(respond) => {
            let close = closes(&request, ended, connection);
            let facts = Facts { request: Some(&message), session, variables: &remembered.variables, ..facts };
            content = respond.content(&facts);
            respond.put_head(content.len(), close, &facts, &mut out);
            if request.method == Method::Head {
                content = Cow::Borrowed(b"");
            }
            Then::Answer { status: respond.status, close, denies: respond.denies }
        }
    };
    let answered_in = entered.filter(|_| !matches!(then, Then::Forward(_)));
    Ok(Parsed::Whole(Incoming {
        request,
        preference,
        persisted,
        coding,
        head: out,
        content,
        then,
        answered_in,
    }))
}

/// What servers of the backend are told of their clients, if it has an opinion of its own.
fn of_backend<S: Stream>(connection: &Connection<S>, backend: Option<BackendId>) -> Option<&Forwarded> {
    connection.worker().node().backend(backend?).forwarded.own()
}

/// Does that have X-Forwarded-For? Then there is no second line of it.
fn tells_client<S: Stream>(connection: &Connection<S>, backend: Option<BackendId>) -> bool {
    of_backend(connection, backend).is_some_and(|own| own.headers.contains(&ForwardedHeader::For))
}

/// The cookie of a backend that has one.
fn with_cookie(worker: &Worker, backend: Option<BackendId>) -> Option<(&CookiePolicy, BackendId)> {
    let backend = backend?;
    Some((worker.node().backends[backend.0].cookie.as_ref()?, backend))
}

/// Should this node not get traffic, as far as the monitor's question goes?
fn has_too_few<S: Stream>(monitor: &Monitor, connection: &Connection<S>) -> bool {
    let count = |backend| connection.worker().with_usable(backend, Usable::count);
    monitor.fail_if.iter().any(|few| count(few.backend) < few.usable_below as usize)
}

/// Which server the request would like to meet.
fn prefer<'h, S: Stream>(
    connection: &Connection<S>,
    backend: Option<BackendId>,
    client: Option<IpAddr>,
    target: &'h [u8],
    field: impl Fn(&str) -> Option<&'h [u8]>,
) -> Preference {
    let hash = backend.and_then(|backend| {
        let balance = &connection.worker().node().backend(backend).balance;
        key::of_request(balance, client, target, field)
    });
    Preference { client, hash, ..Preference::default() }
}

/// Brings the path to the one form that is matched and forwarded.
fn settle_path(
    message: &mut Message<'_>,
    ambiguous: AmbiguousPath,
    work: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if ambiguous == AmbiguousPath::Refuse && has_parameters(message.path()) {
        return Err(Malformed::AmbiguousPath);
    }
    work.clear();
    let changed = normalize(message.path(), work).map_err(|_| Malformed::AmbiguousPath)?;
    match ambiguous {
        AmbiguousPath::Refuse if changed => Err(Malformed::AmbiguousPath),
        AmbiguousPath::Normalize if changed => Ok(message.set_path(work)?),
        AmbiguousPath::Refuse | AmbiguousPath::Normalize | AmbiguousPath::Pass => Ok(()),
    }
}
