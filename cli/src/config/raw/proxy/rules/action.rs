//! What a rule does, as written.

use lb_proxy::{
    http::message::is_editable,
    rules::{Network, Replacement, Scheme, SetStatus},
    sample::{Scope, VariableName},
};

use super::{
    RateLimit, Side, pattern, require_auth,
    respond::{self, Content},
    status,
};
use crate::config::{
    diagnostic::{Report, Span},
    reader::{At, Fields, Value},
    text,
};

/// Where `set_source` takes the address from.
#[derive(Debug)]
pub(crate) enum SourceFrom {
    List {
        trusted: Vec<Network>,
        /// `unix` is among them.
        unix: bool,
        header: String,
    },
    Text(At<String>),
}

/// One thing that a rule does; texts and names of backends are not resolved yet.
#[derive(Debug)]
pub(crate) enum Action {
    AddHeader(String, At<String>),
    SetHeader(String, At<String>),
    DeleteHeader(String),
    ReplaceHeader(String, Replacement),
    ReplaceValue(String, Replacement),
    SetMethod(String),
    SetStatus(SetStatus),
    SetVariable(VariableName, At<String>),
    SetPath(At<String>),
    ReplacePath(Replacement),
    SetQuery(At<String>),
    SetSource(SourceFrom),
    Backend(At<String>),
    Server(At<String>),
    IgnorePersistence,
    Log(bool),
    RateLimit(RateLimit),
    RequireAuth {
        users: At<String>,
        groups: Vec<At<String>>,
        realm: Option<String>,
        /// Nobody is asked; of the request.
        set_var: Option<VariableName>,
    },
    Deny(u16),
    Tarpit(u16),
    Allow,
    Redirect {
        to: Destination,
        status: u16,
        drop_query: bool,
        append_slash: bool,
        headers: Vec<(String, At<String>)>,
    },
    /// `kind` is the type of the content.
    Respond {
        status: u16,
        kind: Option<String>,
        headers: Vec<(String, At<String>)>,
        content: Content,
        denies: bool,
    },
}

/// Where a redirection leads.
#[derive(Debug)]
pub(crate) enum Destination {
    Location(At<String>),
    Prefix(At<String>),
    Scheme { scheme: Scheme, port: Option<u16> },
}

impl Action {
    /// Nothing after it happens.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Deny(_) | Self::Tarpit(_) | Self::Allow | Self::Redirect { .. } | Self::Respond { .. }
        )
    }

    /// The variable that it sets.
    pub(crate) fn variable(&self) -> Option<&VariableName> {
        match self {
            Self::SetVariable(name, _) => Some(name),
            Self::RateLimit(limit) => limit.set_var.as_ref(),
            Self::RequireAuth { set_var, .. } => set_var.as_ref(),
            _ => None,
        }
    }
}

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
const SCHEMES: [(&str, Scheme); 2] = [("http", Scheme::Http), ("https", Scheme::Https)];

/// In the order of the file, final ones last. More than one final, or something that a final one makes useless, is
/// reported.
pub(super) fn read_all(fields: &Fields<'_>, side: Side) -> Vec<At<Action>> {
    let mut actions = Vec::new();
    read_headers(fields, &mut actions);
    if side == Side::Frontend
        && let Some(name) =
            fields.string("backend", "the name of a backend, as in \"app\", or a text that becomes one")
    {
        actions.push(At::new(Action::Backend(name.clone()), name.span));
    }
    if side != Side::Response
        && let Some(name) = fields.string("server", "the name of a server, as in \"web1\"")
    {
        actions.push(At::new(Action::Server(name.clone()), name.span));
    }
    read_variables(fields, side, &mut actions);
    if let Some(value) = fields.value("log") {
        match value.as_bool() {
            Some(wanted) => actions.push(At::new(Action::Log(wanted), value.span)),
            None => value.mismatch("false for no line in the log, or true to take that back"),
        }
    }
    if side != Side::Response {
        if let Some(value) = fields.value("require_auth") {
            let action = require_auth::require_auth(&value);
            actions.extend(action.map(|action| At::new(action, value.span)));
        }
        if let Some(value) = fields.value("ignore_persist") {
            if value.as_bool() == Some(true) {
                actions.push(At::new(Action::IgnorePersistence, value.span));
            } else {
                value.mismatch("true; leave it out for requests that stay with their client's server");
            }
        }
        read_rewrites(fields, &mut actions);
        read_answers(fields, &mut actions);
    }
    if side == Side::Response
        && let Some(value) = fields.value("set_status")
    {
        actions.extend(status::set_status(&value).map(|action| At::new(action, value.span)));
    }
    if let Some(value) = fields.value("respond") {
        actions.extend(respond::respond(&value).map(|action| At::new(action, value.span)));
    }
    if let Some(value) = fields.value("deny") {
        // As in HAProxy.
        let default = if side == Side::Response { 502 } else { 403 };
        actions.extend(deny(&value, default).map(|status| At::new(Action::Deny(status), value.span)));
    }
    if let Some(value) = fields.value("allow") {
        if value.as_bool() == Some(true) {
            actions.push(At::new(Action::Allow, value.span));
        } else {
            value.mismatch("true; a rule that does not allow is written with `deny`");
        }
    }
    actions.sort_by_key(|action| (action.value.is_final(), action.span));
    check_final(&actions, fields, side);
    actions
}

/// Keys that make no sense in rules for responses.
pub(super) const REQUEST_KEYS: [&str; 12] = [
    "backend",
    "server",
    "tarpit",
    "rate_limit",
    "redirect",
    "set_method",
    "set_path",
    "replace_path",
    "set_query",
    "set_source",
    "ignore_persist",
    "require_auth",
];

fn read_rewrites(fields: &Fields<'_>, actions: &mut Vec<At<Action>>) {
    if let Some(value) = fields.value("set_method") {
        let method = value.parsed("a method, as in \"PUT\"", method);
        actions.extend(method.map(|method| At::new(Action::SetMethod(method.value), method.span)));
    }
    if let Some(text) = fields.string("set_path", "a path, as in \"/new{request.path}\"") {
        actions.push(At::new(Action::SetPath(text.clone()), text.span));
    }
    if let Some(value) = fields.value("replace_path") {
        let span = value.span;
        actions
            .extend(replacement(&value).map(|replacement| At::new(Action::ReplacePath(replacement), span)));
    }
    if let Some(text) =
        fields.string("set_query", "a query without its `?`, as in \"a=b\"; \"\" takes it away")
    {
        actions.push(At::new(Action::SetQuery(text.clone()), text.span));
    }
    if let Some(value) = fields.value("set_source") {
        actions.extend(set_source(&value).map(|action| At::new(action, value.span)));
    }
}

/// What an answer to HEAD and CONNECT has behind its head depends on the method.
fn method(text: &str) -> Result<String, String> {
    let method = pattern::method(text)?;
    match method.as_str() {
        "HEAD" | "CONNECT" => {
            Err("is none that another can become: what follows the head of its answer is something else"
                .into())
        }
        _ => Ok(method),
    }
}

/// `{ trusted = [..], header = .. }`, or a text.
fn set_source(value: &Value<'_>) -> Option<Action> {
    if let Some(text) = value.as_str() {
        return Some(Action::SetSource(SourceFrom::Text(At::new(text.to_owned(), value.span))));
    }
    let expected =
        "a table, as in { trusted = [\"192.0.2.0/24\"] }, or a text, as in \"{request.header.x-real-ip}\"";
    let mut fields = value.fields("`set_source`".into(), expected)?;
    fields.span = value.span;
    fields.require("trusted", "trusted = [\"192.0.2.0/24\"], the proxies in front of this one");
    let expected =
        "an address or a network, as in \"192.0.2.0/24\", or \"unix\" for whoever comes over a Unix socket";
    let (unix, trusted): (Vec<_>, Vec<_>) = fields
        .value("trusted")
        .map(Value::one_or_list)
        .unwrap_or_default()
        .into_iter()
        .partition(|value| value.as_str() == Some("unix"));
    let trusted = trusted.iter().filter_map(|value| value.parsed(expected, text::network)).map(|at| at.value);
    let trusted: Vec<_> = trusted.collect();
    let header = fields.string("header", "the name of a header with addresses, as in \"X-Forwarded-For\"");
    let header = match header {
        Some(name) if !check_name(&name, &fields) => return None,
        Some(name) => name.value,
        None => "X-Forwarded-For".to_owned(),
    };
    fields.finish(|_| None);
    Some(Action::SetSource(SourceFrom::List { trusted, unix: !unix.is_empty(), header }))
}

fn read_answers(fields: &Fields<'_>, actions: &mut Vec<At<Action>>) {
    if let Some(value) = fields.value("tarpit") {
        actions.extend(deny(&value, 500).map(|status| At::new(Action::Tarpit(status), value.span)));
    }
    if let Some(value) = fields.value("rate_limit") {
        actions.extend(RateLimit::read(&value).map(|limit| At::new(Action::RateLimit(limit), value.span)));
    }
    if let Some(value) = fields.value("redirect") {
        actions.extend(redirect(&value).map(|action| At::new(action, value.span)));
    }
}

fn check_final(actions: &[At<Action>], fields: &Fields<'_>, side: Side) {
    let mut finals = actions.iter().filter(|action| action.value.is_final());
    let Some(first) = finals.next() else { return };
    for second in finals {
        let message = "a rule ends in one way; write a rule of its own for each of deny, tarpit, allow, redirect and respond";
        fields.report.error(second.span, message);
    }
    if matches!(first.value, Action::Allow) {
        return;
    }
    let acts = |action: &&At<Action>| {
        action.value.is_final() || matches!(action.value, Action::RequireAuth { .. } | Action::Log(_))
    };
    for useless in actions.iter().filter(|action| !acts(action)) {
        let why = match side {
            Side::Response => "the rule refuses or replaces the response, its client does not get it",
            Side::Frontend | Side::Backend => "the rule answers the request, no server gets it",
        };
        let message = format!("this has no effect: {why}; write it into a rule of its own");
        fields.report.error(useless.span, message);
    }
}

fn read_headers(fields: &Fields<'_>, actions: &mut Vec<At<Action>>) {
    let expected = "a table of names and values, as in { \"X-Name\" = \"value\" }";
    let mut texts = |key, make: fn(String, At<String>) -> Action| {
        let entries = fields.value(key).and_then(|value| value.pairs(expected)).unwrap_or_default();
        for (name, value) in entries {
            let text = value.string("a text");
            if key == "add_header" && name.value.eq_ignore_ascii_case("host") {
                fields.report.error(name.span, "a request has one Host, and servers differ on which of two counts; write it under `set_header`");
            } else if check_name(&name, fields)
                && let Some(text) = text
            {
                actions.push(At::new(make(name.value, text), name.span));
            }
        }
    };
    texts("set_header", Action::SetHeader);
    texts("add_header", Action::AddHeader);
    if let Some(value) = fields.value("delete_header") {
        for value in value.one_or_list() {
            let Some(name) = value.string("a name or a list of names, as in [\"Server\", \"X-Powered-By\"]")
            else {
                continue;
            };
            if check_name(&name, fields) {
                actions.push(At::new(Action::DeleteHeader(name.value), name.span));
            }
        }
    }
    let mut replacements = |key, make: fn(String, Replacement) -> Action| {
        let expected = "a table of names, as in { \"X-Name\" = { regex = '^a', with = \"b\" } }";
        let replaced = fields.value(key).and_then(|value| value.pairs(expected)).unwrap_or_default();
        for (name, value) in replaced {
            let replacement = replacement(&value);
            if check_name(&name, fields)
                && let Some(replacement) = replacement
            {
                actions.push(At::new(make(name.value, replacement), name.span));
            }
        }
    };
    replacements("replace_header", Action::ReplaceHeader);
    replacements("replace_value", Action::ReplaceValue);
}

fn read_variables(fields: &Fields<'_>, side: Side, actions: &mut Vec<At<Action>>) {
    let expected = "a table of names and texts, as in { tenant = \"{request.host}\" }";
    let entries = fields.value("set_var").and_then(|value| value.pairs(expected)).unwrap_or_default();
    for (name, value) in entries {
        let text = value.string("a text");
        let shown = name.value.escape_debug();
        let Some(variable) = variable(&name, fields.report) else { continue };
        if variable.scope == Scope::Response && side != Side::Response {
            fields.report.error(
                name.span,
                format!(
                    "`{shown}` begins with a response, and this is a rule of requests; leave `response.` out"
                ),
            );
            continue;
        }
        if let Some(text) = text {
            actions.push(At::new(Action::SetVariable(variable, text), name.span));
        }
    }
}

/// The name of a variable.
pub(super) fn variable(name: &At<String>, report: &Report<'_>) -> Option<VariableName> {
    let variable = VariableName::parse(&name.value);
    if variable.is_none() {
        let shown = name.value.escape_debug();
        let what = "names are letters, digits and `_`, as in tenant or \"session.tenant\"";
        report.error(name.span, format!("`{shown}` is no name of a variable; {what}"));
    }
    variable
}

/// `{ regex = .., with = .. }`
fn replacement(value: &Value<'_>) -> Option<Replacement> {
    let mut fields = value
        .fields(format!("`{}`", value.name), "a table, as in { regex = '^/old(.*)', with = \"/new$1\" }")?;
    fields.span = value.span;
    fields.require("regex", "regex = '^/old(.*)'");
    fields.require("with", "with = \"/new$1\"");
    let regex = fields.value("regex").and_then(|value| pattern::regex(&value));
    let with = fields.value("with").and_then(|value| Some((value.string("a text")?, value)));
    fields.finish(|_| None);
    let (with, value) = with?;
    if let Some(at) =
        with.value.find('\\').filter(|at| with.value[at + 1..].starts_with(|c: char| c.is_ascii_digit()))
    {
        let group = &with.value[at + 1..at + 2];
        let message =
            format!("`\\{group}` is put as it stands; what group {group} matched is `${{{group}}}`");
        value.report().warning(value.span, message);
    }
    match Replacement::new(regex?, &with.value) {
        Ok(replacement) => Some(replacement),
        Err(why) => {
            value.wrong(&why);
            None
        }
    }
}

pub(super) fn check_name(name: &At<String>, fields: &Fields<'_>) -> bool {
    let fine = is_editable(name.value.as_bytes());
    if !fine {
        let shown = name.value.escape_debug();
        let is_token = !name.value.is_empty()
            && name
                .value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let message = if is_token {
            format!(
                "`{shown}` is written anew for each connection, as framing and hops need it; rules can't change it"
            )
        } else {
            format!("`{shown}` is no name of a header; names are letters, digits and `-`")
        };
        fields.report.error(name.span, message);
    }
    fine
}

/// A status, or true for `default`.
fn deny(value: &Value<'_>, default: u16) -> Option<u16> {
    match value.as_bool() {
        Some(true) => Some(default),
        Some(false) => {
            value.mismatch("true or a status of 400..599");
            None
        }
        None => status(value),
    }
}

/// The status of a page.
pub(super) fn status(value: &Value<'_>) -> Option<u16> {
    let status = value.integer(400..=599)?;
    if matches!(status.value, 401 | 407) {
        value.wrong("needs a challenge, which a page alone has not; write 403");
        return None;
    }
    u16::try_from(status.value).ok()
}

fn redirect(value: &Value<'_>) -> Option<Action> {
    let expected = "a location, { location = .. }, { prefix = .. } or { scheme = \"https\" }";
    if let Some(text) = value.as_str() {
        let to = Destination::Location(At::new(text.to_owned(), value.span));
        return Some(Action::Redirect {
            to,
            status: 302,
            drop_query: false,
            append_slash: false,
            headers: Vec::new(),
        });
    }
    let mut fields = value.fields("`redirect`".into(), expected)?;
    fields.span = value.span;
    let location = fields.string("location", "a text, as in \"https://www.example.com/\"");
    let prefix = fields.string("prefix", "a text, as in \"https://www.example.com\"");
    let scheme = fields.choice("scheme", &SCHEMES);
    let port = fields.integer("port", 1..=65_535);
    let status = fields.value("status").and_then(|value| redirect_status(&value)).unwrap_or(302);
    let drop_query = fields.boolean("drop_query");
    let append_slash = fields.boolean("append_slash");
    let headers = respond::headers(
        &fields,
        ("location", "where a redirection leads is written as `location`, outside of headers"),
    );
    let whole = fields.is_read_whole();
    let span = fields.span;
    let report = fields.report;
    fields.finish(|_| None);
    let places: [Option<Span>; 3] = [
        location.as_ref().map(|at| at.span),
        prefix.as_ref().map(|at| at.span),
        scheme.as_ref().map(|at| at.span),
    ];
    if whole && places.iter().flatten().count() != 1 {
        report.error(span, format!("`redirect` has one of location, prefix and scheme; write {expected}"));
        return None;
    }
    if let (Some(at), None) = (&port, &scheme) {
        report.error(at.span, "port goes with scheme; write it into the location or prefix");
    }
    if let (Some(at), Some(_)) = (&drop_query, &location) {
        report.error(at.span, "drop_query goes with prefix and scheme; a location has no query but its own");
    }
    if let (Some(at), None) = (&append_slash, &prefix) {
        report.error(at.span, "append_slash goes with prefix; prefix = \"\" leads to the same host");
    }
    let to = match (location, prefix, scheme) {
        (Some(location), ..) => Destination::Location(location),
        (_, Some(prefix), _) => Destination::Prefix(prefix),
        (.., Some(scheme)) => {
            let port = port.and_then(|port| u16::try_from(port.value).ok());
            Destination::Scheme { scheme: scheme.value, port }
        }
        _ => return None,
    };
    let is_on = |at: Option<At<bool>>| at.is_some_and(|at| at.value);
    let (drop_query, append_slash) = (is_on(drop_query), is_on(append_slash));
    Some(Action::Redirect { to, status, drop_query, append_slash, headers })
}

fn redirect_status(value: &Value<'_>) -> Option<u16> {
    let status = value.integer(301..=308).and_then(|status| u16::try_from(status.value).ok())?;
    if !REDIRECTS.contains(&status) {
        value.mismatch("301, 302, 303, 307 or 308");
        return None;
    }
    Some(status)
}
