//! How clients stay with their server, and what one of them may do.

use std::time::Duration;

use lb_proxy::table::Rate;

use super::super::POSITIVE;
use crate::config::{
    rate,
    reader::{At, Fields, Value},
};

/// `stick`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stick {
    pub(crate) size: Option<u32>,
    pub(crate) expire: Option<Duration>,
    pub(crate) ipv6_prefix: Option<u8>,
}

/// `per_source`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerSource {
    pub(crate) connections: Option<u32>,
    pub(crate) connection_rate: Option<Rate>,
    pub(crate) size: Option<u32>,
    pub(crate) ipv6_prefix: Option<u8>,
}

/// What a client can be known by.
const KEYS: [(&str, ()); 1] = [("source", ())];

impl Stick {
    pub(super) fn read(value: &Value<'_>) -> Option<At<Self>> {
        let mut fields =
            value.fields("`stick`".into(), "a table, as in stick = { by = \"source\", expire = \"30m\" }")?;
        fields.span = value.span;
        fields.require("by", "by = \"source\"");
        fields.choice("by", &KEYS);
        let stick = Self {
            size: size(&fields),
            expire: fields.duration("expire", POSITIVE).map(|at| at.value),
            ipv6_prefix: ipv6_prefix(&fields).map(|at| at.value),
        };
        fields.finish(|key| match key {
            "store" | "type" | "peers" => Some("the server is what is stored, on this node".into()),
            _ => None,
        });
        Some(At::new(stick, value.span))
    }
}

impl PerSource {
    pub(super) fn read(value: &Value<'_>) -> Option<At<Self>> {
        let expected = "a table, as in per_source = { connections = 20, connection_rate = \"100/10s\" }";
        let fields = value.fields("`per_source`".into(), expected)?;
        let read_rate = |value: Value<'_>| value.parsed(rate::EXPECTED, rate::read).map(|rate| rate.value);
        let connections = fields.measured("connections", 1..=10_000_000, "connections");
        let rate = fields.value("connection_rate");
        if fields.value("connections").is_none() && rate.is_none() {
            let message =
                "per_source limits nothing; write connections = 20 or connection_rate = \"100/10s\"";
            fields.report.error(value.span, message);
        }
        let limits = Self {
            connections: connections.map(|at| at.value),
            connection_rate: rate.and_then(read_rate),
            size: size(&fields),
            ipv6_prefix: ipv6_prefix(&fields).map(|at| at.value),
        };
        fields.finish(|key| match key {
            "request_rate" => Some("requests are limited by a rule with `rate_limit`".into()),
            _ => None,
        });
        Some(At::new(limits, value.span))
    }
}

/// How many are remembered.
pub(super) fn size(fields: &Fields<'_>) -> Option<u32> {
    fields.integer("size", 1..=100_000_000).map(|at| at.value)
}

/// What makes one client of IPv6 addresses.
pub(super) fn ipv6_prefix(fields: &Fields<'_>) -> Option<At<u8>> {
    let prefix = fields.measured("ipv6_prefix", 1..=128, "bits")?;
    Some(At::new(u8::try_from(prefix.value).ok()?, prefix.span))
}
