//! `[global]`: the process.

use std::{net::SocketAddr, time::Duration};

use lb_proxy::config::{EventFormat, Owner};

use super::{
    log::{self, LogEntry},
    owner,
};
use crate::config::{
    reader::{At, Fields, Value},
    text,
};

/// How events are told, and lbctl's own log.
pub(crate) const EVENT_FORMATS: [(&str, EventFormat); 2] =
    [("text", EventFormat::Text), ("json", EventFormat::Json)];

#[derive(Debug, Default)]
pub(crate) struct Global {
    pub(crate) maxconn: Option<At<u32>>,
    pub(crate) threads: Option<At<u32>>,
    pub(crate) drain_timeout: Option<At<Duration>>,
    pub(crate) stall_timeout: Option<At<Duration>>,
    /// Of server names.
    pub(crate) nameservers: Vec<At<SocketAddr>>,
    pub(crate) log: Option<At<Vec<LogEntry>>>,
    pub(crate) log_event_format: Option<At<EventFormat>>,
    /// Percent.
    pub(crate) compression_cpu: Option<At<u32>>,
    pub(crate) user: Option<At<Owner>>,
    pub(crate) group: Option<At<Owner>>,
    pub(crate) command_user: Option<At<Owner>>,
}

impl Global {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let global = Self {
            maxconn: fields.measured("maxconn", 1..=10_000_000, "connections"),
            threads: fields.integer("threads", 1..=1024),
            drain_timeout: fields.duration("drain_timeout", Duration::ZERO..=Duration::from_secs(3600)),
            stall_timeout: fields
                .duration("stall_timeout", Duration::from_millis(100)..=Duration::from_secs(10)),
            nameservers: fields.value("nameservers").map(nameservers).unwrap_or_default(),
            log: log::log(&fields, true),
            log_event_format: fields.choice("log_event_format", &EVENT_FORMATS),
            compression_cpu: fields.measured("compression_cpu", 0..=100, "percent"),
            user: fields.value("user").and_then(|value| owner::user(&value)),
            group: fields.value("group").and_then(|value| owner::group(&value)),
            command_user: fields.value("command_user").and_then(|value| command_user(&value)),
        };
        fields.finish(|key| match key {
            "nbthread" | "nbproc" => Some("write `threads`".into()),
            "uid" => Some("write `user`, which also takes a number".into()),
            "log_format" => Some(
                "write `log_format` into [defaults] or a frontend; what is no traffic has `log_event_format`"
                    .into(),
            ),
            "script_user" | "hook_user" => Some("write `command_user`".into()),
            "gid" => Some("write `group`, which also takes a number".into()),
            _ => None,
        });
        global
    }
}

fn command_user(value: &Value<'_>) -> Option<At<Owner>> {
    let user = owner::user(value)?;
    if matches!(&user.value, Owner::Id(0)) || matches!(&user.value, Owner::Name(name) if name == "root") {
        value.wrong("is root, as whom no command is run; write another user, and let sudo(8) give that one what it needs");
        return None;
    }
    Some(user)
}

fn nameservers(value: Value<'_>) -> Vec<At<SocketAddr>> {
    if value.is_empty_list() {
        value.mismatch("at least one address, as in [\"192.0.2.53\"]");
    }
    let expected = "an address, as in \"192.0.2.53\", or one with a port, as in \"192.0.2.53:5353\"";
    let values = value.one_or_list();
    values.iter().filter_map(|value| value.parsed(expected, text::nameserver)).collect()
}
