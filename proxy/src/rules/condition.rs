//! When a rule acts.

use std::ops::RangeInclusive;

use super::{HostSet, Network, PathPattern, Value, ValuePattern, action::Written, text::is_made_of};
use crate::{
    config::BackendId,
    http::{message::Message, query},
    sample::{Facts, RequestFacts, Wanted},
};

/// What must hold for a rule to act.
#[derive(Clone, Debug)]
pub enum Condition {
    /// All of them; nothing to hold always holds.
    All(Vec<Condition>),
    /// At least one of them.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// Host is one of these, without regard to case, port and a dot at its end.
    Host(HostSet),
    /// The name of the server that a TLS client wants is one of these; only in mode tcp, where TLS passes through.
    Sni(HostSet),
    /// The path is one of these.
    Path(Vec<PathPattern>),
    /// The method is one of these, without regard to case: methods have one (RFC 9110 §9.1), but not for every server.
    Method(Vec<String>),
    /// Some line of this name has one of these values.
    Header(String, Vec<ValuePattern>),
    /// Some parameter of this name in the query has one of these values. Both are decoded before they are compared.
    Query(String, Vec<ValuePattern>),
    /// Some cookie of this name has one of these values.
    Cookie(String, Vec<ValuePattern>),
    /// What a placeholder says is one of these. Of a parameter, a cookie and a value between commas any that the request has.
    Value(Value, Vec<ValuePattern>),
    /// The client's address is in one of these.
    Source(Vec<Network>),
    /// The port that the client connected to is in one of these.
    Port(Vec<RangeInclusive<u16>>),
    /// What the client speaks on its connection.
    Scheme(Scheme),
    /// The status of the response is in one of these.
    Status(Vec<RangeInclusive<u16>>),
    /// Of one of these backends fewer servers than so many can be used.
    UsableBelow(Vec<(BackendId, u32)>),
}

/// How a client's request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URI has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What conditions look at.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'s> {
    /// With the message in it.
    pub(crate) facts: &'s Facts<'s>,
    /// What the rules run on, the request or the response; `None` in mode tcp. The request of a response is among the
    /// facts.
    pub(crate) message: Option<&'s Message<'s>>,
    /// How many servers of a backend can be used.
    pub(crate) count_usable: &'s dyn Fn(BackendId) -> usize,
}

impl Condition {
    /// A condition that always holds.
    pub const ALWAYS: Self = Self::All(Vec::new());

    pub(crate) fn holds(&self, subject: &Subject<'_>) -> bool {
        let (message, request) = (subject.message, subject.facts.request);
        match self {
            Self::All(all) => all.iter().all(|condition| condition.holds(subject)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(subject)),
            Self::Not(condition) => !condition.holds(subject),
            Self::Host(hosts) => {
                request.and_then(RequestFacts::authority).is_some_and(|host| hosts.contains(host))
            }
            Self::Sni(hosts) => subject.facts.client_hello.is_some_and(|hello| hosts.contains(&hello.sni)),
            Self::Path(patterns) => request.is_some_and(|request| {
                let path = request.path();
                patterns.iter().any(|pattern| pattern.matches(path))
            }),
            Self::Method(methods) => request.is_some_and(|request| {
                let asked = request.method();
                methods.iter().any(|method| method.as_bytes().eq_ignore_ascii_case(asked))
            }),
            Self::Header(name, patterns) => message.is_some_and(|message| {
                some_or_absent(patterns, message.all(name.as_bytes()), |value| matches_some(patterns, value))
            }),
            Self::Query(name, patterns) => {
                let query = request.map(RequestFacts::query).unwrap_or_default();
                let named = query::parameters(query)
                    .filter(|(key, _)| query::is_decoded(key, name.as_bytes()))
                    .map(|(_, value)| value);
                some_or_absent(patterns, named, |value| {
                    query::with_decoded(value, |value| matches_some(patterns, value))
                })
            }
            Self::Cookie(name, patterns) => request.is_some_and(|request| {
                let some = request.any_cookie(name.as_bytes(), &mut |value| matches_some(patterns, value));
                some.unwrap_or_else(|| wants_none(patterns))
            }),
            Self::Value(value, patterns) => {
                let some = value.any(subject.facts, &|value| matches_some(patterns, value));
                some.unwrap_or_else(|| wants_none(patterns))
            }
            Self::Source(networks) => subject
                .facts
                .client
                .ip()
                .is_some_and(|address| networks.iter().any(|network| network.contains(address))),
            Self::Port(ports) => {
                subject.facts.local.port().is_some_and(|port| ports.iter().any(|range| range.contains(&port)))
            }
            Self::Scheme(scheme) => *scheme == subject.facts.scheme(),
            Self::Status(ranges) => {
                message.is_some_and(|message| ranges.iter().any(|range| range.contains(&message.status())))
            }
            Self::UsableBelow(list) => {
                list.iter().any(|(backend, most)| (subject.count_usable)(*backend) < *most as usize)
            }
        }
    }

    /// Adds what it names of a request, where that is not the message that rules run on.
    pub(super) fn want(&self, wanted: &mut Wanted) {
        self.each(&mut |condition| match condition {
            Self::Host(_) => wanted.authority = true,
            Self::Path(_) | Self::Query(..) => wanted.target = true,
            Self::Method(_) => wanted.method = true,
            Self::Cookie(..) => wanted.cookies = true,
            Self::Value(value, _) => value.want(wanted),
            Self::All(_)
            | Self::Any(_)
            | Self::Not(_)
            | Self::Sni(_)
            | Self::Header(..)
            | Self::Source(_)
            | Self::Port(_)
            | Self::Scheme(_)
            | Self::Status(_)
            | Self::UsableBelow(_) => {}
        });
    }

    /// The headers that it looks at.
    pub(super) fn headers(&self) -> Vec<&str> {
        let mut headers = Vec::new();
        self.each(&mut |condition| match condition {
            Self::Header(name, _) => headers.push(name.as_str()),
            Self::Value(value, _) => headers.extend(value.response_field()),
            _ => {}
        });
        headers
    }

    /// Does anything in it look at the path?
    pub(crate) fn looks_at_path(&self) -> bool {
        self.has(|condition| match condition {
            Self::Path(_) => true,
            Self::Value(value, _) => value.looks_at_path(),
            _ => false,
        })
    }

    /// Does anything in it look at how the client begins TLS?
    pub(crate) fn looks_at_client_hello(&self) -> bool {
        self.has(|condition| match condition {
            Self::Sni(_) => true,
            Self::Value(value, _) => value.looks_at_client_hello(),
            _ => false,
        })
    }

    /// Does it look at what a rule wrote there?
    pub(crate) fn looks_at(&self, written: Written<'_>) -> bool {
        self.has(|condition| match (condition, written) {
            (Self::Value(value, _), written) => is_made_of(value.source(), written),
            (Self::Header(looked_at, _), Written::Header(name)) => looked_at.eq_ignore_ascii_case(name),
            (Self::Host(_), Written::Header(name)) => name.eq_ignore_ascii_case("host"),
            (Self::Query(..), Written::Query) => true,
            (Self::Cookie(..), Written::Header(name)) => name.eq_ignore_ascii_case("cookie"),
            _ => false,
        })
    }

    /// Shows all that it is made of: what combines none.
    pub(super) fn each<'c>(&'c self, visit: &mut impl FnMut(&'c Self)) {
        match self {
            Self::All(list) | Self::Any(list) => list.iter().for_each(|condition| condition.each(visit)),
            Self::Not(condition) => condition.each(visit),
            _ => visit(self),
        }
    }

    /// Does `test` hold for any that it is made of?
    fn has(&self, test: impl Fn(&Self) -> bool) -> bool {
        let mut has = false;
        self.each(&mut |condition| has |= test(condition));
        has
    }

    /// Does it hold whenever `other` holds? False if that can't be told.
    pub fn covers(&self, other: &Self) -> bool {
        fn each<P>(own: &[P], other: &[P], covers: impl Fn(&P, &P) -> bool) -> bool {
            other.iter().all(|other| own.iter().any(|own| covers(own, other)))
        }
        match (self, other) {
            (Self::All(all), _) => all.iter().all(|own| own.covers(other)),
            (_, Self::Any(any)) => any.iter().all(|other| self.covers(other)),
            (_, Self::All(all)) if all.iter().any(|other| self.covers(other)) => true,
            (Self::Any(any), _) => any.iter().any(|own| own.covers(other)),
            (Self::Not(own), Self::Not(other)) => other.covers(own),
            (Self::Host(own), Self::Host(other)) | (Self::Sni(own), Self::Sni(other)) => {
                each(own.patterns(), other.patterns(), |own, other| own.covers(other))
            }
            (Self::Path(own), Self::Path(other)) => each(own, other, PathPattern::covers),
            (Self::Method(own), Self::Method(other)) => {
                each(own, other, |own, other| own.eq_ignore_ascii_case(other))
            }
            (Self::Header(name, own), Self::Header(same, other)) => {
                name.eq_ignore_ascii_case(same) && each(own, other, ValuePattern::covers)
            }
            (Self::Query(name, own), Self::Query(same, other))
            | (Self::Cookie(name, own), Self::Cookie(same, other)) => {
                name == same && each(own, other, ValuePattern::covers)
            }
            (Self::Value(value, own), Self::Value(same, other)) => {
                value.source() == same.source() && each(own, other, ValuePattern::covers)
            }
            (Self::Source(own), Self::Source(other)) => each(own, other, Network::covers),
            (Self::Port(own), Self::Port(other)) | (Self::Status(own), Self::Status(other)) => {
                each(own, other, |own, other| own.contains(other.start()) && own.contains(other.end()))
            }
            (Self::Scheme(own), Self::Scheme(other)) => own == other,
            (Self::UsableBelow(own), Self::UsableBelow(other)) => {
                each(own, other, |own, other| own.0 == other.0 && own.1 >= other.1)
            }
            _ => false,
        }
    }
}

/// Does one of the values match, or is there none and some pattern wants that?
fn some_or_absent<T>(
    patterns: &[ValuePattern],
    mut values: impl Iterator<Item = T>,
    matches: impl Fn(T) -> bool,
) -> bool {
    match values.next() {
        None => wants_none(patterns),
        Some(first) => matches(first) || values.any(matches),
    }
}

fn wants_none(patterns: &[ValuePattern]) -> bool {
    patterns.iter().any(|pattern| matches!(pattern, ValuePattern::Absent))
}

fn matches_some(patterns: &[ValuePattern], value: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(value))
}

#[cfg(test)]
mod tests;
