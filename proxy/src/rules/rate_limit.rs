//! Rules that refuse whoever comes too often.

mod readings;

use std::{num::NonZeroU32, time::Duration};

use self::readings::{Found, Reading};
use super::{
    Action, Text,
    action::Written,
    program::{Run, Verdict},
    text::is_made_of,
};
use crate::{
    config::Config,
    http::message::Message,
    sample::{Facts, Repeated, VariableId, VariableName},
    table::{Counting, Rate, RateLimiter},
};

/// How often the same client, or whoever sends the same, may come.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Who is the same.
    pub by: LimitedBy,
    /// How often.
    pub rate: Rate,
    /// How many are remembered.
    pub size: NonZeroU32,
    /// Bits of an IPv6 address that make a client, 1..=128.
    pub ipv6_prefix: u8,
    /// What becomes of one that is too much.
    pub over: OverLimit,
    /// Its table, by the order of [`rate_limits`]; [`number_rate_limits`] sets it.
    table: usize,
    /// What the text names that several may be there of.
    repeated: Vec<Repeated>,
}

/// Who is the same.
#[derive(Clone, Debug)]
pub enum LimitedBy {
    /// The client's address, as rules may have corrected it.
    Source,
    /// Whoever has the same in this text, a [`crate::sample::Text::Key`]; an empty one is nobody's.
    Text(Text),
}

/// What becomes of a request that is over a limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OverLimit {
    /// It is answered with the page of this status, 400..=599, and does not count.
    Refuse(u16),
    /// It counts like all others, and later rules see a `1` in this variable of the request.
    Set(VariableName, VariableId),
}

impl From<u16> for OverLimit {
    fn from(status: u16) -> Self {
        Self::Refuse(status)
    }
}

impl RateLimit {
    /// A limit.
    pub fn new(
        by: LimitedBy,
        rate: Rate,
        size: NonZeroU32,
        ipv6_prefix: u8,
        over: impl Into<OverLimit>,
    ) -> Self {
        let repeated = match &by {
            LimitedBy::Source => Vec::new(),
            LimitedBy::Text(text) => text.repeated(),
        };
        Self { by, rate, size, ipv6_prefix, over: over.into(), table: 0, repeated }
    }

    /// As the file names whom it counts.
    pub fn by(&self) -> &str {
        match &self.by {
            LimitedBy::Source => "source",
            LimitedBy::Text(text) => text.source(),
        }
    }

    /// Does it tell requests apart by their path?
    pub(super) fn looks_at_path(&self) -> bool {
        matches!(&self.by, LimitedBy::Text(text) if text.looks_at_path())
    }

    /// Does it tell requests apart by what a rule wrote there?
    pub(super) fn looks_at(&self, written: Written<'_>) -> bool {
        is_made_of(self.by(), written)
    }

    pub(super) fn table(&self) -> usize {
        self.table
    }

    /// May it once more? `is_counted`: it was asked before, about the same request. `work` is room for a text. Of what
    /// `message` has several of, each counts: which one its server looks at is not known here.
    pub(super) fn check(
        &self,
        limiter: &RateLimiter,
        facts: &Facts<'_>,
        message: &Message<'_>,
        (now, is_counted): (Duration, bool),
        work: &mut Vec<u8>,
    ) -> Result<(), Duration> {
        let counting = match self.over {
            // Who got so far was not refused.
            OverLimit::Refuse(_) if is_counted => return Ok(()),
            OverLimit::Refuse(_) => Counting::Served,
            OverLimit::Set(..) if is_counted => Counting::Done,
            OverLimit::Set(..) => Counting::All,
        };
        match &self.by {
            LimitedBy::Source => {
                let key = facts.client.ip().map(|address| limiter.address(address));
                key.map_or(Ok(()), |key| limiter.check(key, now, counting))
            }
            LimitedBy::Text(text) => {
                let found = Found::of(&self.repeated, |one| readings::values(one, message))
                    .ok_or_else(|| limiter.period())?;
                let mut keys = [None; readings::MOST];
                let mut outcome = Ok(());
                let request = facts.request.unwrap_or(message);
                for index in 0..found.readings {
                    let reading =
                        Reading { request, message, repeated: &self.repeated, found: &found, index };
                    work.clear();
                    text.render(&Facts { request: Some(&reading), ..*facts }, work);
                    let key = (!work.is_empty()).then(|| limiter.key(work));
                    if let Some(key) = key.filter(|_| !keys.contains(&key)) {
                        let checked = limiter.check(key, now, counting);
                        if checked.is_err() && counting == Counting::Served {
                            return checked;
                        }
                        outcome = outcome.and(checked);
                    }
                    keys[index] = key;
                }
                outcome
            }
        }
    }
}

impl Run<'_, '_, '_> {
    /// Counts the request, and refuses it or says that it is too much.
    pub(super) fn count<'r>(&mut self, limit: &RateLimit) -> Option<Verdict<'r>> {
        self.limits += 1;
        let is_counted = self.limits <= self.counted;
        let limiter = self.tables.limiter(limit.table())?;
        let mut work = std::mem::take(self.work);
        let (message, now) = (&*self.message, (self.now)());
        let check = |facts: &Facts<'_>| limit.check(limiter, facts, message, (now, is_counted), &mut work);
        let checked = self.with_compared(check);
        *self.work = work;
        let retry_after = checked.err()?;
        match &limit.over {
            OverLimit::Refuse(status) => Some(Verdict::Limited { status: *status, retry_after }),
            OverLimit::Set(_, id) => {
                self.variables.set(*id, b"1");
                None
            }
        }
    }
}

/// Gives each limit its table, in the order of [`rate_limits`].
pub(crate) fn number_rate_limits(config: &mut Config) {
    let frontends = config.frontends.iter_mut().flat_map(|one| &mut one.rules);
    let backends = config.backends.iter_mut().flat_map(|one| &mut one.rules);
    let actions = frontends.chain(backends).flat_map(|rule| &mut rule.then);
    let limits = actions.filter_map(|action| match action {
        Action::RateLimit(limit) => Some(limit),
        _ => None,
    });
    for (index, limit) in limits.enumerate() {
        limit.table = index;
    }
}

/// All limits of a configuration, each with whose rules it is in: `frontend web`.
pub(crate) fn rate_limits(config: &Config) -> impl Iterator<Item = (String, &RateLimit)> {
    let frontends = config.frontends.iter().map(|one| ("frontend", &one.name, &one.rules));
    let backends = config.backends.iter().map(|one| ("backend", &one.name, &one.rules));
    frontends.chain(backends).flat_map(|(kind, name, rules)| {
        rules.iter().flat_map(|rule| &rule.then).filter_map(move |action| match action {
            Action::RateLimit(limit) => Some((format!("{kind} {name}"), limit)),
            _ => None,
        })
    })
}
