//! Who is next: what it means, and where it can't be meant.

use std::time::Duration;

use lb_proxy::config::{Balance, HashKey, HashKind, Mode};

use super::backend::value;
use crate::config::{
    diagnostic::Report,
    raw::{BalanceBy, Balancing, Named, Section},
};

/// What the keys of one backend amount to.
pub(super) struct Converted {
    pub(super) balance: Balance,
    pub(super) all_backups: bool,
    pub(super) slowstart: Duration,
}

pub(super) fn convert(
    section: &Named<Section>,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> Converted {
    let (own, other) = (&section.value.balancing, &defaults.balancing);
    let kind = value(&own.hash_type, &other.hash_type).unwrap_or_default();
    let balance = match value(&own.balance, &other.balance).unwrap_or(BalanceBy::RoundRobin) {
        BalanceBy::RoundRobin => Balance::RoundRobin,
        BalanceBy::LeastConn => Balance::LeastConn,
        BalanceBy::Random => Balance::Random,
        BalanceBy::First => Balance::First,
        BalanceBy::Hash(key) => Balance::Hash { key, kind },
    };
    check(section, own, other, &balance, mode, report);
    if let (Some(slowstart), Balance::Hash { kind: HashKind::Map, .. }) = (&own.slowstart, &balance) {
        report.warning(
            slowstart.span,
            "slowstart raises only maxconn: shares of hash_type \"map\" do not change step by step",
        );
    }
    Converted {
        balance,
        all_backups: value(&own.allbackups, &other.allbackups).unwrap_or(false),
        slowstart: value(&own.slowstart, &other.slowstart).unwrap_or_default(),
    }
}

fn check(
    section: &Named<Section>,
    own: &Balancing,
    other: &Balancing,
    balance: &Balance,
    mode: Mode,
    report: &Report<'_>,
) {
    let Balance::Hash { key, .. } = balance else {
        if let Some(hash_type) = &own.hash_type {
            report.warning(
                hash_type.span,
                "hash_type has no effect: this backend does not go by source, uri, header or query",
            );
        }
        return;
    };
    let what = match key {
        HashKey::Source => return,
        HashKey::Uri(_) => "uri",
        HashKey::Header(_) => "header",
        HashKey::Query(_) => "query",
    };
    if mode == Mode::Tcp {
        let span = own.balance.as_ref().or(other.balance.as_ref()).map_or(section.name.span, |at| at.span);
        report.error(
            span,
            format!(
                "`{}` has mode tcp, where nothing is read that has a {what}; use balance = \"source\"",
                section.name.value
            ),
        );
    }
}
