//! `rules`: placeholders, backends and files resolved, and what can never happen pointed out.

use std::{num::NonZeroU32, path::Path};

use lb_proxy::{
    config::{Backend, BackendId, Mode, Server, UserList},
    http::target::is_host,
    rules::{
        Action, Condition, Content, Coverers, Destination, LimitedBy, NamedBackend, OverLimit, RateLimit,
        Redirect, RequireAuth, Respond, Rule, SourceFrom, Text, Value,
    },
    sample::{self, Expression, Names, Place, Stage},
};

use super::{
    answers, backend,
    persistence::{IPV6_PREFIX, SIZE},
    template,
};
use crate::config::{
    diagnostic::{Report, Span},
    raw,
    reader::At,
    text,
};

pub(super) const NO_RESPONSES: &str =
    "response_rules need mode = \"http\"; in mode tcp there are no responses";

/// What rules are resolved with.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) names: &'c Names,
    pub(super) mode: Mode,
    /// Those that a rule may choose; `None` in rules of a backend and of responses.
    pub(super) backends: Option<&'c [Backend]>,
    /// Those that a rule may choose, and whose they are; `None` in rules of responses, and of a frontend that has no default
    /// backend.
    pub(super) servers: Option<(BackendId, &'c [Server])>,
    /// Of a request or of a response.
    pub(super) stage: Stage,
    pub(super) users: &'c [UserList],
    /// Where files are that are named without a whole path.
    pub(super) folder: &'c Path,
    pub(super) report: &'c Report<'c>,
}

impl Context<'_> {
    /// The rules of one section.
    pub(super) fn convert(&self, raw: &[raw::Rule]) -> Vec<Rule> {
        let rules: Vec<Rule> = raw.iter().map(|raw| self.rule(raw)).collect();
        if !self.report.has_errors() {
            warn_unreachable(&rules, raw, self.report);
        }
        rules
    }

    fn is_tcp(&self) -> bool {
        self.mode == Mode::Tcp
    }

    fn rule(&self, raw: &raw::Rule) -> Rule {
        // Placeholders are checked where they are read.
        let conditions = raw.when.plain();
        let needs_no_request = |condition: &&Condition| {
            matches!(condition, Condition::Source(_) | Condition::Port(_) | Condition::Sni(_))
        };
        if self.is_tcp()
            && !(conditions.iter().all(needs_no_request)
                && raw.then.iter().all(|action| is_of_connection(&action.value)))
        {
            let message = "in mode tcp there are no requests: rules have source, port, sni, usable_below and value, and deny, allow, backend, server, ignore_persist and log";
            self.report.error(start(raw.span), message);
        }
        let is_told = |action: &At<raw::Action>| {
            matches!(action.value, raw::Action::SetSource(raw::SourceFrom::Text(_)))
        };
        if let Some(action) = raw.then.iter().find(|action| is_told(action))
            && !conditions.iter().any(|condition| matches!(condition, Condition::Source(_)))
        {
            let message = "set_source believes whoever comes, and each client can write what it wants: add `source`, the networks of the proxies in front, to `when`";
            self.report.warning(start(action.span), message);
        }
        if !self.is_tcp() && conditions.iter().any(|condition| matches!(condition, Condition::Sni(_))) {
            let message = "sni is of mode tcp, where TLS passes through; write host";
            self.report.error(start(raw.span), message);
        }
        let mut then: Vec<_> = raw.then.iter().filter_map(|action| self.action(action)).collect();
        // A large file has thousands of them.
        then.shrink_to_fit();
        Rule { when: self.condition(&raw.when), then }
    }

    fn condition(&self, raw: &raw::Condition) -> Condition {
        let each = |list: &[raw::Condition]| list.iter().map(|condition| self.condition(condition)).collect();
        match raw {
            raw::Condition::All(list) => Condition::All(each(list)),
            raw::Condition::Any(list) => Condition::Any(each(list)),
            raw::Condition::Not(condition) => Condition::Not(Box::new(self.condition(condition))),
            raw::Condition::Plain(condition) => condition.clone(),
            raw::Condition::UsableBelow(list) => {
                let one = |(name, below): &(At<String>, u32)| {
                    Some((backend::named(name, self.backends?, self.report)?, *below))
                };
                Condition::UsableBelow(list.iter().filter_map(one).collect())
            }
            raw::Condition::Value(source, patterns) => {
                match Expression::parse(&source.value, &self.place(sample::Text::Plain)) {
                    Ok(expression) => {
                        Condition::Value(Value::new(source.value.clone(), expression), patterns.clone())
                    }
                    Err(error) => {
                        template::wrong(source, &error, self.report);
                        Condition::ALWAYS
                    }
                }
            }
        }
    }

    fn action(&self, raw: &At<raw::Action>) -> Option<Action> {
        Some(match &raw.value {
            raw::Action::AddHeader(name, text) => {
                Action::AddHeader(name.clone(), self.text(text, sample::Text::Field)?)
            }
            raw::Action::SetHeader(name, text) => {
                self.check_host(name, text);
                Action::SetHeader(name.clone(), self.text(text, sample::Text::Field)?)
            }
            raw::Action::DeleteHeader(name) => Action::DeleteHeader(name.clone()),
            raw::Action::ReplaceHeader(name, replacement) => {
                Action::ReplaceHeader(name.clone(), replacement.clone())
            }
            raw::Action::ReplaceValue(name, replacement) => {
                Action::ReplaceValue(name.clone(), replacement.clone())
            }
            raw::Action::SetMethod(method) => Action::SetMethod(method.clone()),
            raw::Action::SetStatus(status) => Action::SetStatus(status.clone()),
            raw::Action::SetVariable(name, text) => {
                let id = self.names.variable(name)?;
                Action::SetVariable(name.clone(), id, self.text(text, sample::Text::Plain)?)
            }
            raw::Action::SetPath(text) => Action::SetPath(self.text(text, sample::Text::Path)?),
            raw::Action::ReplacePath(replacement) => Action::ReplacePath(replacement.clone()),
            raw::Action::SetQuery(text) => Action::SetQuery(self.text(text, sample::Text::Query)?),
            raw::Action::SetSource(raw::SourceFrom::List { trusted, unix, header }) => {
                let (trusted, header) = (trusted.clone(), header.clone());
                Action::SetSource(SourceFrom::List { trusted, unix: *unix, header })
            }
            raw::Action::SetSource(raw::SourceFrom::Text(text)) => {
                Action::SetSource(SourceFrom::Text(self.text(text, sample::Text::Plain)?))
            }
            raw::Action::Deny(_) if self.is_tcp() => Action::Reject,
            raw::Action::Backend(name) if name.value.contains('{') => Action::BackendNamed(self.named(name)?),
            raw::Action::Backend(name) => Action::Backend(self.backend(name)?),
            raw::Action::Server(name) => self.server(name)?,
            raw::Action::IgnorePersistence => Action::IgnorePersistence,
            raw::Action::Log(wanted) => Action::Log(*wanted),
            raw::Action::RequireAuth { users, groups, realm, set_var } => {
                let wanted = self.require_auth(users, groups, realm.as_deref())?;
                match set_var {
                    None => Action::RequireAuth(wanted),
                    Some(name) => Action::AskAuth(wanted, name.clone(), self.names.variable(name)?),
                }
            }
            raw::Action::Deny(status) => Action::Deny(*status),
            raw::Action::Tarpit(status) => Action::Tarpit(*status),
            raw::Action::RateLimit(limit) => Action::RateLimit(self.rate_limit(limit)?),
            raw::Action::Allow => Action::Allow,
            raw::Action::Redirect { to, status, drop_query, append_slash, headers } => {
                let location = |text| self.text(text, sample::Text::Location);
                let to = match to {
                    raw::Destination::Location(text) => Destination::Location(location(text)?),
                    raw::Destination::Prefix(text) => Destination::Prefix(location(text)?),
                    raw::Destination::Scheme { scheme, port } => {
                        Destination::Scheme { scheme: *scheme, port: *port }
                    }
                };
                let (status, drop_query, append_slash) = (*status, *drop_query, *append_slash);
                let headers = self.headers(headers)?;
                Action::Redirect(Redirect { to, status, drop_query, append_slash, headers })
            }
            raw::Action::Respond { status, kind, headers, content, denies } => {
                let content = self.content(content, kind.clone());
                let headers = self.headers(headers)?;
                Action::Respond(Respond { status: *status, content: content?, headers, denies: *denies })
            }
        })
    }

    /// All of them, so that each is reported.
    fn headers(&self, raw: &[(String, At<String>)]) -> Option<Vec<(String, Text)>> {
        let header =
            |(name, text): &(String, At<String>)| Some((name.clone(), self.text(text, sample::Text::Field)?));
        let headers: Vec<_> = raw.iter().map(header).collect();
        headers.into_iter().collect()
    }

    pub(super) fn require_auth(
        &self,
        users: &At<String>,
        groups: &[At<String>],
        realm: Option<&str>,
    ) -> Option<RequireAuth> {
        let Some(index) = self.users.iter().position(|list| list.name == users.value) else {
            let names: Vec<_> = self.users.iter().map(|list| list.name.as_str()).collect();
            let hint = text::suggestion(&users.value, &names, "user list");
            let message = format!("no [users.*] is called `{}`{hint}", users.value.escape_debug());
            self.report.error(users.span, message);
            return None;
        };
        let list = &self.users[index];
        let find = |group: &At<String>| {
            let found = list.groups.iter().position(|known| known.name == group.value);
            if found.is_none() {
                let names: Vec<_> = list.groups.iter().map(|group| group.name.as_str()).collect();
                let hint = text::suggestion(&group.value, &names, "group");
                let name = group.value.escape_debug();
                self.report.error(group.span, format!("`{}` has no group `{name}`{hint}", list.name));
            }
            found
        };
        let found: Vec<_> = groups.iter().map(find).collect();
        let groups = found.into_iter().collect::<Option<_>>()?;
        Some(RequireAuth::new(index, groups, realm.unwrap_or(&list.name)))
    }

    fn content(&self, raw: &raw::Content, kind: Option<String>) -> Option<Content> {
        Some(match raw {
            raw::Content::Empty => Content::Empty,
            raw::Content::Page => Content::Page,
            raw::Content::Body(text) => Content::Text {
                kind: kind.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
                text: self.text(text, sample::Text::Content)?,
            },
            raw::Content::File(file) => {
                let path = self.folder.join(&file.value);
                match answers::read_file(&path, answers::LARGEST, self.report) {
                    Ok(bytes) => Content::File {
                        kind: kind.unwrap_or_else(|| {
                            answers::content_type(&path).unwrap_or("application/octet-stream").to_owned()
                        }),
                        file: file.value.clone(),
                        bytes: bytes.into(),
                    },
                    Err(why) => {
                        let message = format!("\"{}\" {why}", file.value.escape_debug());
                        self.report.error(file.span, message);
                        return None;
                    }
                }
            }
        })
    }

    fn rate_limit(&self, raw: &raw::rules::RateLimit) -> Option<RateLimit> {
        let by = raw.by.as_ref().and_then(|by| self.limited_by(by));
        if let (Some(LimitedBy::Text(_)), Some(prefix)) = (&by, &raw.ipv6_prefix) {
            let message = "ipv6_prefix goes with by = \"source\"; in a text write {client.ip|mask(32, 64)}";
            self.report.error(prefix.span, message);
        }
        let size = raw.size.and_then(NonZeroU32::new).unwrap_or(SIZE);
        let prefix = raw.ipv6_prefix.as_ref().map_or(IPV6_PREFIX, |at| at.value);
        let over = match &raw.set_var {
            None => OverLimit::Refuse(raw.status),
            Some(name) => OverLimit::Set(name.clone(), self.names.variable(name)?),
        };
        Some(RateLimit::new(by?, raw.rate?, size, prefix, over))
    }

    fn limited_by(&self, by: &At<String>) -> Option<LimitedBy> {
        if by.value == "source" {
            return Some(LimitedBy::Source);
        }
        let text = self.text(by, sample::Text::Key)?;
        if text.is_literal() {
            let hint = "write \"source\", or a text as in \"{request.header.x-key}\"";
            let message = format!("`{}` is the same for everybody; {hint}", by.value.escape_debug());
            self.report.error(by.span, message);
        }
        Some(LimitedBy::Text(text))
    }

    fn place(&self, text: sample::Text) -> Place<'_> {
        Place { stage: self.stage, backend: self.backends.is_none(), text, names: self.names }
    }

    fn text(&self, text: &At<String>, becomes: sample::Text) -> Option<Text> {
        let template = template::parse(text, &self.place(becomes), self.report)?;
        Some(Text::new(text.value.clone(), template))
    }

    fn backend(&self, name: &At<String>) -> Option<BackendId> {
        let (backends, mode) = (self.backends?, self.mode);
        let found = backend::named(name, backends, self.report)?;
        if let Some(backend) = backends.get(found.0).filter(|backend| backend.mode != mode) {
            let message = format!(
                "the rules are of mode {}, the backend `{}` is of mode {}; write the same `mode` in both",
                mode.name(),
                name.value,
                backend.mode.name()
            );
            self.report.error(name.span, message);
        }
        Some(found)
    }

    /// Any backend of the same mode may be meant.
    fn named(&self, name: &At<String>) -> Option<NamedBackend> {
        let backends = self.backends?.iter().enumerate();
        let fitting = backends.filter(|(_, backend)| backend.mode == self.mode);
        let fitting = fitting.map(|(index, backend)| (backend.name.clone(), BackendId(index)));
        let default = self.servers.map(|(backend, _)| backend);
        Some(NamedBackend::new(self.text(name, sample::Text::Plain)?, fitting, default))
    }

    /// One without placeholders, which no client could send.
    fn check_host(&self, name: &str, text: &At<String>) {
        let is_wrong = self.stage == Stage::Request
            && name.eq_ignore_ascii_case("host")
            && !text.value.contains('{')
            && !is_host(&text.value);
        if is_wrong {
            let message = "Host is a name or an address, with or without a port, as in \"www.example.com:8080\"; every \
                           request would be answered with 400";
            self.report.error(text.span, message);
        }
    }

    fn server(&self, name: &At<String>) -> Option<Action> {
        let Some((backend, servers)) = self.servers else {
            let message = "a rule of a frontend chooses among the servers of its `default_backend`, and it has none; write the rule into the backend";
            self.report.error(name.span, message);
            return None;
        };
        let Some(server) = servers.iter().position(|server| server.name == name.value) else {
            let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
            let hint = text::suggestion(&name.value, &names, "server");
            let message = format!("no server here is called `{}`{hint}", name.value.escape_debug());
            self.report.error(name.span, message);
            return None;
        };
        Some(Action::Server { backend, server })
    }
}

/// A rule that comes after one that ends the list for whatever it matches, or that chooses a backend where one is chosen.
fn warn_unreachable(rules: &[Rule], raw: &[raw::Rule], report: &Report<'_>) {
    let mut known = Coverers::default();
    for (later, (rule, written)) in rules.iter().zip(raw).enumerate() {
        let only_chooses = rule.then.iter().all(Action::chooses_backend);
        let mut candidates = known.of(&rule.when).into_iter().map(|at| (at, &rules[at]));
        let earlier = candidates.find(|(at, earlier)| {
            let ends = earlier.then.iter().any(Action::is_final);
            let chooses = earlier.then.iter().any(Action::chooses_backend);
            // What is changed in between may make a condition hold that did not hold before.
            let unchanged = || {
                let mut between = rules[*at..later].iter().flat_map(|between| &between.then);
                between.all(|action| !rule.when.may_change_by(action))
            };
            let always =
                || Condition::ALWAYS.covers(&earlier.when) && earlier.when.covers(&Condition::ALWAYS);
            (ends || (chooses && only_chooses))
                && earlier.when.covers(&rule.when)
                && (unchanged() || always())
        });
        if let Some((at, earlier)) = earlier {
            let line = raw.get(at).map_or(0, |raw| report.line(raw.span));
            let why = if earlier.then.iter().any(Action::is_final) {
                format!("the rule in line {line} ends the list for whatever this one would match")
            } else {
                format!("the rule in line {line} has chosen a backend for whatever this one would match")
            };
            report.warning(start(written.span), format!("this rule is never reached: {why}"));
        }
        if rule.then.iter().any(|action| action.is_final() || action.chooses_backend()) {
            known.add(&rule.when, later);
        }
    }
}

fn is_of_connection(action: &raw::Action) -> bool {
    matches!(
        action,
        raw::Action::Deny(_)
            | raw::Action::Allow
            | raw::Action::Backend(_)
            | raw::Action::Server(_)
            | raw::Action::IgnorePersistence
            | raw::Action::Log(_)
    )
}

/// One character: a rule may be many lines long.
pub(super) fn start(span: Span) -> Span {
    Span { start: span.start, end: span.start + 1 }
}
