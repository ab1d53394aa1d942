//! Rules that refuse whoever comes too often.

mod readings;

use std::{num::NonZeroU32, time::Duration};

use self::readings::{Found, Reading};
use super::{Action, Rule, Text, action::Written, text::is_made_of};
use crate::{
    config::Config,
    http::message::Message,
    sample::{Facts, Repeated},
    table::{Rate, RateLimiter},
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
    /// What is answered, 400..=599.
    pub status: u16,
    /// Its table, by the order of [`rate_limits`]; [`super::Programs`] sets it.
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

impl RateLimit {
    /// A limit.
    pub fn new(by: LimitedBy, rate: Rate, size: NonZeroU32, ipv6_prefix: u8, status: u16) -> Self {
        let repeated = match &by {
            LimitedBy::Source => Vec::new(),
            LimitedBy::Text(text) => text.repeated(),
        };
        Self { by, rate, size, ipv6_prefix, status, table: 0, repeated }
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

    /// May it once more? `work` is room for a text. Of what `message` has several of, each counts: which one its server
    /// looks at is not known here.
    pub(super) fn check(
        &self,
        limiter: &RateLimiter,
        facts: &Facts<'_>,
        message: &Message<'_>,
        now: Duration,
        work: &mut Vec<u8>,
    ) -> Result<(), Duration> {
        match &self.by {
            LimitedBy::Source => {
                facts.client.ip().map_or(Ok(()), |address| limiter.check_source(address, now))
            }
            LimitedBy::Text(text) => {
                let found = Found::of(&self.repeated, |one| readings::values(one, message))
                    .ok_or_else(|| limiter.period())?;
                let mut keys = [None; readings::MOST];
                let request = facts.request.unwrap_or(message);
                for index in 0..found.readings {
                    let reading =
                        Reading { request, message, repeated: &self.repeated, found: &found, index };
                    work.clear();
                    text.render(&Facts { request: Some(&reading), ..*facts }, work);
                    let key = (!work.is_empty()).then(|| limiter.key(work));
                    if let Some(key) = key.filter(|_| !keys.contains(&key)) {
                        limiter.check(key, now)?;
                    }
                    keys[index] = key;
                }
                Ok(())
            }
        }
    }
}

/// Gives each limit in `lists` its table. They come in the order of [`rate_limits`].
pub(super) fn number<'r>(lists: impl IntoIterator<Item = &'r mut Vec<Rule>>) {
    let limits =
        lists.into_iter().flatten().flat_map(|rule| &mut rule.then).filter_map(|action| match action {
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
