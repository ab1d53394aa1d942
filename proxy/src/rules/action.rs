//! What a rule does.

use super::{
    Content, Destination, LimitedBy, NamedBackend, RateLimit, Redirect, Replacement, RequireAuth, Respond,
    SourceFrom, Text,
};
use crate::{
    config::BackendId,
    sample::{VariableId, VariableName, Wanted},
};

/// Another status for a response that has content or may have had some.
#[derive(Clone, Debug)]
pub struct SetStatus {
    /// 200..=599, without those that never have content (204, 205, 304).
    pub status: u16,
    /// Instead of the registered phrase.
    pub reason: Option<String>,
}

/// One thing that a rule does. Names of fields are [editable](crate::http::message::is_editable).
#[derive(Clone, Debug)]
pub enum Action {
    /// Answers with the page of this status, 400..=599. Ends the list.
    Deny(u16),
    /// Answers with the page of this status, 400..=599, after a time in which nothing happens. Ends the list.
    Tarpit(u16),
    /// Answers whoever comes too often.
    RateLimit(RateLimit),
    /// Closes the connection (mode tcp). Ends the list.
    Reject,
    /// Ends the list.
    Allow,
    /// Answers with a redirection. Ends the list.
    Redirect(Redirect),
    /// Answers with what the rule says. Ends the list.
    Respond(Respond),
    /// Answers with a challenge, unless the request is from a user who may send it.
    RequireAuth(RequireAuth),
    /// Sets the variable where the request is from such a user, and answers nobody.
    AskAuth(RequireAuth, VariableName, VariableId),
    /// Appends a field line.
    AddHeader(String, Text),
    /// Replaces all lines of that name with one.
    SetHeader(String, Text),
    /// Removes all lines of that name.
    DeleteHeader(String),
    /// Replaces what matches in the lines of that name.
    ReplaceHeader(String, Replacement),
    /// The same in each value between commas, those in quotes being of the value.
    ReplaceValue(String, Replacement),
    /// Gives the request another method; one with HEAD keeps it, since its answer has no content.
    SetMethod(String),
    /// Gives the response another status.
    SetStatus(SetStatus),
    /// Keeps a text for later rules and templates.
    SetVariable(VariableName, VariableId, Text),
    /// Gives the request another path; the query stays.
    SetPath(Text),
    /// Replaces what matches in the path.
    ReplacePath(Replacement),
    /// Gives the request another query; an empty text takes it away.
    SetQuery(Text),
    /// Takes the client's address from there.
    SetSource(SourceFrom),
    /// Sends the request there, unless an earlier rule has chosen.
    Backend(BackendId),
    /// Sends the request to the backend of a name that is computed, unless an earlier rule has chosen.
    BackendNamed(NamedBackend),
    /// Sends the request to this server of that backend, unless an earlier rule has chosen one or it is down.
    Server {
        /// Means nothing for a request that goes to another one.
        backend: BackendId,
        /// By its index.
        server: usize,
    },
    /// Lets the request go to any server, whichever its client had; neither a cookie nor a table learns which.
    IgnorePersistence,
    /// Says if a line about the request is written where the frontend logs its traffic; the last one counts.
    Log(bool),
}

impl Action {
    /// Does it say where the request goes?
    pub fn chooses_backend(&self) -> bool {
        matches!(self, Self::Backend(_) | Self::BackendNamed(_))
    }

    /// Does nothing after it happen in its list?
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Deny(_)
                | Self::Tarpit(_)
                | Self::Reject
                | Self::Allow
                | Self::Redirect(_)
                | Self::Respond(_)
        )
    }

    /// Adds what its texts name of a request.
    pub(super) fn want(&self, wanted: &mut Wanted) {
        match self {
            Self::AddHeader(_, text)
            | Self::SetHeader(_, text)
            | Self::SetVariable(_, _, text)
            | Self::SetPath(text)
            | Self::SetQuery(text)
            | Self::SetSource(SourceFrom::Text(text))
            | Self::RateLimit(RateLimit { by: LimitedBy::Text(text), .. }) => {
                text.want(wanted);
            }
            Self::Redirect(Redirect { to, headers, .. }) => {
                headers.iter().for_each(|(_, text)| text.want(wanted));
                if let Destination::Location(text) | Destination::Prefix(text) = to {
                    text.want(wanted);
                }
            }
            Self::BackendNamed(named) => named.name().want(wanted),
            Self::Respond(Respond { content, headers, .. }) => {
                headers.iter().for_each(|(_, text)| text.want(wanted));
                if let Content::Text { text, .. } = content {
                    text.want(wanted);
                }
            }
            Self::RateLimit(RateLimit { by: LimitedBy::Source, .. })
            | Self::DeleteHeader(_)
            | Self::ReplaceHeader(..)
            | Self::ReplaceValue(..)
            | Self::SetMethod(_)
            | Self::SetStatus(_)
            | Self::AskAuth(..)
            | Self::ReplacePath(_)
            | Self::SetSource(SourceFrom::List { .. })
            | Self::Deny(_)
            | Self::Tarpit(_)
            | Self::Reject
            | Self::Allow
            | Self::RequireAuth(_)
            | Self::Backend(_)
            | Self::Server { .. }
            | Self::IgnorePersistence
            | Self::Log(_) => {}
        }
    }

    /// The header that it reads or changes.
    pub(super) fn header(&self) -> Option<&str> {
        match self {
            Self::SetSource(SourceFrom::List { header, .. }) => Some(header),
            _ => self.edited_header(),
        }
    }

    /// The header that it changes.
    pub(super) fn edited_header(&self) -> Option<&str> {
        match self {
            Self::AddHeader(name, _)
            | Self::SetHeader(name, _)
            | Self::DeleteHeader(name)
            | Self::ReplaceHeader(name, _)
            | Self::ReplaceValue(name, _) => Some(name),
            Self::SetMethod(_)
            | Self::SetStatus(_)
            | Self::AskAuth(..)
            | Self::SetSource(_)
            | Self::Deny(_)
            | Self::Tarpit(_)
            | Self::RateLimit(_)
            | Self::Reject
            | Self::Allow
            | Self::Redirect(_)
            | Self::Respond(_)
            | Self::RequireAuth(_)
            | Self::SetVariable(..)
            | Self::SetPath(_)
            | Self::ReplacePath(_)
            | Self::SetQuery(_)
            | Self::Backend(_)
            | Self::BackendNamed(_)
            | Self::Server { .. }
            | Self::IgnorePersistence
            | Self::Log(_) => None,
        }
    }

    /// The text that it writes, and where: a condition on a copy of the path is one on the path.
    pub(super) fn writes(&self) -> Option<(Written<'_>, &Text)> {
        match self {
            Self::AddHeader(name, text) | Self::SetHeader(name, text) => Some((Written::Header(name), text)),
            Self::SetVariable(_, _, text) => Some((Written::Variable, text)),
            Self::SetQuery(text) => Some((Written::Query, text)),
            Self::DeleteHeader(_)
            | Self::ReplaceHeader(..)
            | Self::ReplaceValue(..)
            | Self::SetMethod(_)
            | Self::SetStatus(_)
            | Self::AskAuth(..)
            | Self::SetPath(_)
            | Self::ReplacePath(_)
            | Self::SetSource(_)
            | Self::Deny(_)
            | Self::Tarpit(_)
            | Self::RateLimit(_)
            | Self::Reject
            | Self::Allow
            | Self::Redirect(_)
            | Self::Respond(_)
            | Self::RequireAuth(_)
            | Self::Backend(_)
            | Self::BackendNamed(_)
            | Self::Server { .. }
            | Self::IgnorePersistence
            | Self::Log(_) => None,
        }
    }
}

/// Where a rule writes a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written<'a> {
    /// Some variable: one may be copied to another.
    Variable,
    /// The header of this name.
    Header(&'a str),
    /// The query.
    Query,
}
