//! `set_status`, as written.

use lb_proxy::rules::SetStatus;

use super::action::Action;
use crate::config::reader::Value;

/// A status, or `{ status = .., reason = .. }`.
pub(super) fn set_status(value: &Value<'_>) -> Option<Action> {
    if value.is_integer() {
        return Some(Action::SetStatus(SetStatus { status: status(value)?, reason: None }));
    }
    let mut fields = value
        .fields("`set_status`".into(), "a status or a table, as in { status = 503, reason = \"Busy\" }")?;
    fields.span = value.span;
    fields.require("status", "status = 503");
    let status = fields.value("status").and_then(|value| status(&value));
    let reason = fields.value("reason").and_then(|value| {
        value.parsed("a phrase, as in \"Busy\"", |text| {
            match text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                true => Ok(text.to_owned()),
                false => Err("is no phrase of a status; write printable ASCII".to_owned()),
            }
        })
    });
    fields.finish(|_| None);
    Some(Action::SetStatus(SetStatus { status: status?, reason: reason.map(|reason| reason.value) }))
}

fn status(value: &Value<'_>) -> Option<u16> {
    let status = u16::try_from(value.integer(200..=599)?.value).ok()?;
    if matches!(status, 204 | 205 | 304) {
        value.wrong("is of a response without content, and this one may have some; write `respond`");
        return None;
    }
    Some(status)
}
