//! What each action does to a request or response.

use std::net::Ipv6Addr;

use super::{
    super::{Action, RequireAuth, SourceFrom, Text, normalize, path::climbs, source},
    Flow, Run, Verdict,
};
use crate::{
    auth::{Pass, Question},
    config::BackendId,
    http::{head::Malformed, message::TooLarge, reason, target::is_authority, values::Values},
    rules::{Replacement, SetStatus},
    sample::{Scope, VariableId},
};

impl Run<'_, '_, '_> {
    fn render(&mut self, text: &Text) {
        let mut work = std::mem::take(self.work);
        work.clear();
        text.render(&self.facts(), &mut work);
        *self.work = work;
    }

    /// Gives the request the path that a rule has written. A part of it that is the client's stays below what stands
    /// before it. With `/static` replaced by `/`, `/static/admin` would pass a later rule on `/admin` as `//admin`.
    fn put_path(&mut self) -> Result<(), Malformed> {
        if climbs(self.work) {
            return Err(Malformed::AmbiguousPath);
        }
        self.message.set_path(self.work)?;
        self.work.clear();
        if self.settles && normalize(self.message.path(), self.work).map_err(|_| Malformed::AmbiguousPath)? {
            self.message.set_path(self.work)?;
        }
        self.compare();
        Ok(())
    }

    /// Where a rule has written Host (`name`), it must be what a client may send: not every server refuses what is not.
    fn check_host(&self, name: &str) -> Result<(), Malformed> {
        let message = &*self.message;
        let is_host = message.status() == 0 && name.eq_ignore_ascii_case("host");
        if is_host && !message.all(b"host").all(is_authority) {
            Err(Malformed::RewrittenHost)
        } else {
            Ok(())
        }
    }

    /// Rewrites all lines of that name.
    fn replace(
        &mut self,
        name: &str,
        replace: impl Fn(&mut usize, &[u8], &mut Vec<u8>) -> Result<bool, TooLarge>,
    ) -> Result<(), Malformed> {
        let (mut fits, mut steps) = (Ok(()), 0);
        self.message.rewrite(name.as_bytes(), self.work, |value, out| {
            replace(&mut steps, value, out).unwrap_or_else(|error| {
                fits = Err(error);
                false
            })
        })?;
        fits?;
        self.check_host(name)
    }

    /// Is the request from one of those who are wanted? `Err` if that has to be found out first.
    fn is_from(&mut self, wanted: &RequireAuth) -> Result<bool, Box<Question>> {
        // Those without an address are one source.
        let source = self.facts.client.ip().unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        let pass = self.gate.as_ref().map(|gate| gate.check(wanted, self.message, source, self.work));
        match pass {
            Some(Pass::Granted(user)) => {
                self.variables.set(VariableId::REQUEST_USER, user.as_bytes());
                Ok(true)
            }
            Some(Pass::Unknown(question)) => Err(question),
            Some(Pass::Refused) | None => Ok(false),
        }
    }

    pub(super) fn act<'r>(
        &mut self,
        action: &'r Action,
        chosen: &mut Option<BackendId>,
    ) -> Result<Flow<'r>, Malformed> {
        match action {
            Action::Deny(status) => return Ok(Flow::Answer(Verdict::Deny(*status))),
            Action::Allow => return Ok(Flow::Leave),
            Action::Tarpit(status) => return Ok(Flow::Answer(Verdict::Tarpit(*status))),
            Action::RateLimit(limit) => {
                if let Some(verdict) = self.count(limit) {
                    return Ok(Flow::Answer(verdict));
                }
            }
            Action::Redirect(redirect) => return Ok(Flow::Answer(Verdict::Redirect(redirect))),
            Action::Respond(respond) => return Ok(Flow::Answer(Verdict::Respond(respond))),
            Action::AddHeader(name, value) => {
                self.render(value);
                self.message.add(name.as_bytes(), self.work)?;
                self.check_host(name)?;
            }
            Action::SetHeader(name, value) => {
                self.render(value);
                self.message.set(name.as_bytes(), self.work)?;
                self.check_host(name)?;
            }
            Action::DeleteHeader(name) => self.message.remove(name.as_bytes()),
            Action::ReplaceHeader(name, replacement) => {
                self.replace(name, |steps, value, out| replacement.apply(steps, value, out))?;
            }
            Action::ReplaceValue(name, replacement) => {
                self.replace(name, |steps, line, out| replace_values(replacement, steps, line, out))?;
            }
            Action::SetMethod(method) if self.message.method() != b"HEAD" => {
                self.message.set_method(method.as_bytes())?;
            }
            Action::SetMethod(_) => {}
            // What has no content, and says nothing of how long it is, stays what it is.
            Action::SetStatus(_) if matches!(self.message.status(), 100..=199 | 204 | 304) => {}
            Action::SetStatus(SetStatus { status, reason }) => {
                let reason = reason.as_deref().unwrap_or_else(|| reason::phrase(*status));
                self.message.set_status(*status, reason.as_bytes())?;
            }
            Action::SetVariable(_, id, text) => {
                self.render(text);
                let variables = match id.scope() {
                    Scope::Session => &mut *self.session,
                    Scope::Request | Scope::Response => &mut *self.variables,
                };
                variables.set(*id, self.work);
            }
            Action::SetPath(path) => {
                self.render(path);
                self.put_path()?;
            }
            Action::ReplacePath(replacement) => {
                self.work.clear();
                if replacement.apply(&mut 0, self.message.path(), self.work)? {
                    self.put_path()?;
                }
            }
            Action::SetQuery(query) => {
                self.render(query);
                self.message.set_query((!self.work.is_empty()).then_some(&self.work[..]))?;
                self.compare();
            }
            Action::SetSource(SourceFrom::List { trusted, unix, header }) => {
                self.facts.client = source::client(self.message, self.facts.peer, (trusted, *unix), header);
            }
            Action::SetSource(SourceFrom::Text(text)) => {
                self.render(text);
                self.facts.client = source::read(self.work, self.facts.client);
            }
            Action::Backend(backend) => *chosen = chosen.or(Some(*backend)),
            Action::BackendNamed(named) if chosen.is_none() => {
                let mut work = std::mem::take(self.work);
                *chosen = self.with_compared(|facts| named.choose(facts, &mut work));
                *self.work = work;
            }
            Action::BackendNamed(_) => {}
            Action::Server { backend, server } => {
                let is_chosen = self.server.is_some_and(|(of, _)| of == *backend);
                if !is_chosen && (self.is_usable)(*backend, *server) {
                    self.server = Some((*backend, *server));
                }
            }
            Action::IgnorePersistence => self.ignores_persistence = true,
            Action::Log(wanted) => self.is_logged = Some(*wanted),
            Action::RequireAuth(wanted) => match self.is_from(wanted) {
                Ok(true) => {}
                Ok(false) => return Ok(Flow::Answer(Verdict::Challenge(wanted))),
                Err(question) => return Ok(Flow::Answer(Verdict::Unknown(question))),
            },
            Action::AskAuth(wanted, _, id) => {
                let is_from = match self.is_from(wanted) {
                    Ok(is_from) => is_from,
                    Err(question) => return Ok(Flow::Answer(Verdict::Unknown(question))),
                };
                match is_from {
                    true => drop(self.variables.set(*id, b"1")),
                    false => self.variables.unset(*id),
                }
            }
            // Of mode tcp, where nothing of this runs.
            Action::Reject => {}
        }
        Ok(Flow::Next)
    }
}

/// Replaces in each value of `line` by itself; what stands between them stays. As [`Replacement::apply`].
fn replace_values(
    replacement: &Replacement,
    steps: &mut usize,
    line: &[u8],
    out: &mut Vec<u8>,
) -> Result<bool, TooLarge> {
    let (mut replaced, mut end) = (false, 0);
    let mut value = Vec::new();
    for place in Values::of(line) {
        out.extend_from_slice(&line[end..place.start]);
        value.clear();
        let is_changed = replacement.apply(steps, &line[place.clone()], &mut value)?;
        out.extend_from_slice(if is_changed { &value } else { &line[place.clone()] });
        (replaced, end) = (replaced | is_changed, place.end);
    }
    out.extend_from_slice(&line[end..]);
    Ok(replaced)
}
