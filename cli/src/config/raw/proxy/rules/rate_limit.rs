//! `rate_limit` of a rule, as written.

use lb_proxy::{
    sample::{Scope, VariableName},
    table::Rate,
};

use super::{
    super::persistence::{ipv6_prefix, size},
    action,
};
use crate::config::{
    rate,
    reader::{At, Fields, Value},
};

/// `rate_limit`
#[derive(Debug)]
pub(crate) struct RateLimit {
    pub(crate) by: Option<At<String>>,
    pub(crate) rate: Option<Rate>,
    pub(crate) size: Option<u32>,
    pub(crate) ipv6_prefix: Option<At<u8>>,
    pub(crate) status: u16,
    /// Of the request: nobody is refused.
    pub(crate) set_var: Option<VariableName>,
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
        let status = fields.value("status");
        let set_var = fields.string("set_var", "the name of a variable, as in \"too_many\"");
        if let (Some(status), Some(_)) = (&status, &set_var) {
            let why = "with set_var nobody is refused here: the status is of the rule that does, as in { when = { value = { \"{var.too_many}\" = true } }, deny = 429 }";
            fields.report.error(status.span, why);
        }
        let status = status.and_then(|value| action::status(&value)).unwrap_or(429);
        let set_var = set_var.and_then(|name| of_request(&name, &fields));
        let (size, ipv6_prefix) = (size(&fields), ipv6_prefix(&fields));
        fields.finish(|_| None);
        Some(Self { by, rate: rate.map(|rate| rate.value), size, ipv6_prefix, status, set_var })
    }
}

/// Each request is asked for itself, so what comes of it ends with it.
pub(super) fn of_request(name: &At<String>, fields: &Fields<'_>) -> Option<VariableName> {
    let variable = action::variable(name, fields.report)?;
    if variable.scope == Scope::Request {
        return Some(variable);
    }
    let shown = name.value.escape_debug();
    let message = format!("`{shown}` is no variable of a request; write `{}`", variable.name);
    fields.report.error(name.span, message);
    None
}
