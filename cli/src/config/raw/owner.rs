//! Users and groups of the machine: by name or by number.

use lb_proxy::config::Owner;

use crate::config::reader::{At, Value};

pub(super) fn user(value: &Value<'_>) -> Option<At<Owner>> {
    owner(value, "the name of a user, or a number")
}

pub(super) fn group(value: &Value<'_>) -> Option<At<Owner>> {
    owner(value, "the name of a group, or a number")
}

fn owner(value: &Value<'_>, expected: &str) -> Option<At<Owner>> {
    if value.is_integer() {
        return value.integer(0..=u32::MAX - 1).map(|id| At::new(Owner::Id(id.value), id.span));
    }
    value.parsed(expected, |text| {
        let is_name =
            !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control());
        if is_name { Ok(Owner::Name(text.to_owned())) } else { Err("is no name of a user or a group".into()) }
    })
}
