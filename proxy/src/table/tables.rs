//! The tables of the node: which there are, what they hold, and who cleans them.

use std::time::Duration;

use super::{RateLimiter, Sources, Stick, Table, Value};
use crate::{
    config::{self, Config},
    rules::rate_limits,
    status::TableStatus,
};

/// All tables that the configuration asks for, shared by all workers.
#[derive(Debug)]
pub(crate) struct Tables {
    /// By the index of the backend.
    sticks: Box<[Option<Named<Stick>>]>,
    /// By the index of the frontend.
    sources: Box<[Option<Named<Sources>>]>,
    /// In the order of [`rate_limits`].
    limiters: Box<[Named<RateLimiter>]>,
}

#[derive(Debug)]
struct Named<T> {
    name: String,
    table: T,
}

impl Tables {
    /// The tables of `config`. Those of `previous`, the tables of the configuration before, go on under the name of
    /// their backend or frontend; those of `rate_limit` where that has a rule with the same key and window. They have the
    /// size of `config` once it is [`Self::enforce`]d.
    pub(crate) fn new(config: &Config, previous: Option<&Self>) -> Self {
        let stick = |backend: &config::Backend| {
            let stick = backend.stick?;
            let servers = backend.servers.iter().map(|server| server.name.as_str());
            let before = previous.and_then(|previous| find(&previous.sticks, &backend.name));
            let table = Stick::new(stick.capacity, stick.ipv6_prefix, servers, before);
            Some(Named { name: backend.name.clone(), table })
        };
        let sources = |frontend: &config::Frontend| {
            let before = previous.and_then(|previous| find(&previous.sources, &frontend.name));
            let table = Sources::new(frontend.per_source?, before);
            Some(Named { name: frontend.name.clone(), table })
        };
        Self {
            sticks: config.backends.iter().map(stick).collect(),
            sources: config.frontends.iter().map(sources).collect(),
            limiters: limiters(config, previous),
        }
    }

    /// What is too much of tables that were larger before goes at once.
    pub(crate) fn enforce(&self) {
        for named in self.sticks.iter().flatten() {
            named.table.enforce();
        }
        for named in self.sources.iter().flatten() {
            named.table.enforce();
        }
        for named in &self.limiters {
            named.table.enforce();
        }
    }

    /// Whose clients stay with their server.
    pub(crate) fn stick(&self, backend: usize) -> Option<&Stick> {
        self.sticks[backend].as_ref().map(|named| &named.table)
    }

    /// Whose sources are limited.
    pub(crate) fn sources(&self, frontend: usize) -> Option<&Sources> {
        self.sources[frontend].as_ref().map(|named| &named.table)
    }

    /// What a rule counts.
    pub(crate) fn limiter(&self, rule: usize) -> Option<&RateLimiter> {
        self.limiters.get(rule).map(|named| &named.table)
    }

    /// Removes what has expired.
    pub(crate) fn sweep(&self, now: Duration) {
        for named in self.sticks.iter().flatten() {
            named.table.table().sweep(now);
        }
        for named in self.sources.iter().flatten() {
            named.table.table().sweep(now);
        }
        for named in &self.limiters {
            named.table.table().sweep(now);
        }
    }

    /// What an operator sees.
    pub(crate) fn status(&self) -> Vec<TableStatus> {
        let sources = self.sources.iter().flatten().map(|named| {
            let size = named.table.limits().size.get();
            status(format!("frontend {}, per_source", named.name), size, named.table.table())
        });
        let sticks = self.sticks.iter().flatten().map(|named| {
            let size = named.table.capacity().size.get();
            status(format!("backend {}, stick", named.name), size, named.table.table())
        });
        let limiters = self
            .limiters
            .iter()
            .map(|named| status(named.name.clone(), named.table.size().get(), named.table.table()));
        sources.chain(sticks).chain(limiters).collect()
    }
}

/// Two limits of one list with the same key and window are told apart by their order.
fn limiters(config: &Config, previous: Option<&Tables>) -> Box<[Named<RateLimiter>]> {
    let mut named: Vec<Named<RateLimiter>> = Vec::new();
    for (owner, limit) in rate_limits(config) {
        let name = format!("{owner}, rate_limit by {} in {:?}", limit.by(), limit.rate.per);
        let number = named.iter().filter(|one| one.name.starts_with(&name)).count() + 1;
        let name = if number == 1 { name } else { format!("{name} ({number})") };
        let before = previous.and_then(|previous| previous.limiters.iter().find(|one| one.name == name));
        let before = before.map(|named| &named.table);
        let table = RateLimiter::new(limit.rate, limit.size, limit.ipv6_prefix, before);
        named.push(Named { name, table });
    }
    named.into()
}

fn find<'t, T>(tables: &'t [Option<Named<T>>], name: &str) -> Option<&'t T> {
    tables.iter().flatten().find(|named| named.name == name).map(|named| &named.table)
}

fn status<V: Value>(name: String, size: u32, table: &Table<V>) -> TableStatus {
    TableStatus { name, entries: table.len() as u64, size: size.into(), evictions_total: table.evictions() }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroUsize};

    use super::*;
    use crate::{
        config::{Frontend, Mode},
        rules::{Action, Condition, LimitedBy, RateLimit, Rule},
        table::Rate,
    };

    /// A configuration with a frontend of that name and a rule for each limit: so many in so many seconds.
    fn config(frontend: &str, limits: &[(u32, u64)]) -> Config {
        let rule = |&(count, seconds): &(u32, u64)| {
            let rate = Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(seconds) };
            let limit = RateLimit::new(LimitedBy::Source, rate, NonZeroU32::MIN, 64, 429);
            Rule { when: Condition::ALWAYS, then: vec![Action::RateLimit(limit)] }
        };
        Config {
            threads: NonZeroUsize::MIN,
            maxconn: 1,
            node: String::new(),
            users: Vec::new(),
            desk: None,
            ticket_secret: None,
            maps: Vec::new(),
            log: Vec::new(),
            resolver: Default::default(),
            compression_cpu: 100,
            stall_timeout: Duration::from_secs(1),
            frontends: vec![Frontend {
                rules: limits.iter().map(rule).collect(),
                ..Frontend::new(frontend, Mode::Http, Vec::new())
            }],
            backends: Vec::new(),
        }
    }

    #[test]
    fn limits_go_on_under_their_frontend_key_and_window() {
        let source = [192, 0, 2, 1].into();
        let before = Tables::new(&config("web", &[(1, 10), (1, 60), (1, 10)]), None);
        let names: Vec<_> = before.status().into_iter().map(|table| table.name).collect();
        assert_eq!(
            names,
            [
                "frontend web, rate_limit by source in 10s",
                "frontend web, rate_limit by source in 60s",
                "frontend web, rate_limit by source in 10s (2)"
            ]
        );
        let is_known = |tables: &Tables, rule: usize| {
            tables.limiter(rule).unwrap().check_source(source, Duration::ZERO).is_err()
        };
        assert!(!is_known(&before, 0) && !is_known(&before, 1));
        // Another order, another window, a larger count.
        let after = Tables::new(&config("web", &[(1, 30), (1, 60), (2, 10), (1, 10)]), Some(&before));
        assert_eq!([0, 1, 2, 2, 3].map(|rule| is_known(&after, rule)), [false, true, false, true, false]);
        let renamed = Tables::new(&config("other", &[(1, 10)]), Some(&after));
        assert!(!is_known(&renamed, 0));
    }
}
