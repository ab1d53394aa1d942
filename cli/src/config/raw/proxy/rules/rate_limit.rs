//! `rate_limit` of a rule, as written.

use lb_proxy::table::Rate;

use super::{
    super::persistence::{ipv6_prefix, size},
    action,
};
use crate::config::{
    rate,
    reader::{At, Value},
};

/// `rate_limit`
#[derive(Debug)]
pub(crate) struct RateLimit {
    pub(crate) by: Option<At<String>>,
    pub(crate) rate: Option<Rate>,
    pub(crate) size: Option<u32>,
    pub(crate) ipv6_prefix: Option<At<u8>>,
    pub(crate) status: u16,
}

impl RateLimit {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let expected = "a table, as in { by = \"source\", rate = \"100/10s\" }";
        let mut fields = value.fields("`rate_limit`".into(), expected)?;
        fields.span = value.span;
        fields.require("by", "by = \"source\", or a text as in \"{request.header.x-key}\"");
        fields.require("rate", "rate = \"100/10s\"");
        let by = fields.string("by", "\"source\", or a text as in \"{request.header.x-key}\"");
        let rate = fields.value("rate").and_then(|value| value.parsed(rate::EXPECTED, rate::read));
        let status = fields.value("status").and_then(|value| action::status(&value)).unwrap_or(429);
        let (size, ipv6_prefix) = (size(&fields), ipv6_prefix(&fields));
        fields.finish(|_| None);
        Some(Self { by, rate: rate.map(|rate| rate.value), size, ipv6_prefix, status })
    }
}
