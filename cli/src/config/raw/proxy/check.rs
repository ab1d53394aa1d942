//! `check`: how servers are probed.

mod http;
mod kind;
mod sequence;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use lb_proxy::config::{CheckKind, Elsewhere};

pub(super) use self::{http::path, sequence::text};
use super::super::POSITIVE;
use crate::config::reader::{At, Fields, Value};

/// `check`.
#[derive(Debug)]
pub(crate) enum Check {
    /// `check = false`.
    Off,
    /// `check = true` or a table.
    On(Box<CheckSettings>),
}

/// The keys of the table.
#[derive(Debug, Default)]
pub(crate) struct CheckSettings {
    /// One of `tcp`, `http`, `mysql`, ...
    pub(crate) kind: Option<At<CheckKind>>,
    pub(crate) address: Option<At<IpAddr>>,
    pub(crate) port: Option<At<u16>>,
    pub(crate) interval: Option<At<Duration>>,
    pub(crate) fast_interval: Option<At<Duration>>,
    pub(crate) down_interval: Option<At<Duration>>,
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) rise: Option<At<u32>>,
    pub(crate) fall: Option<At<u32>>,
    pub(crate) disable_on_404: Option<At<bool>>,
}

const EXPECTED: &str = "false, true or a table, as in check = { interval = \"2s\" }";

/// Between two checks of one server.
pub(super) const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(86_400);

impl Check {
    pub(super) fn read(value: &Value<'_>, section: &str) -> Option<At<Self>> {
        let check = match value.as_bool() {
            Some(false) => Self::Off,
            Some(true) => Self::On(Box::default()),
            None => Self::On(Box::new(CheckSettings::read(
                value.fields(format!("`check` of {section}"), EXPECTED)?,
            ))),
        };
        Some(At::new(check, value.span))
    }
}

impl CheckSettings {
    fn read(fields: Fields<'_>) -> Self {
        let settings = Self {
            kind: kind::read(&fields),
            address: address(&fields, "address"),
            port: port(&fields, "port"),
            interval: fields.duration("interval", INTERVAL),
            fast_interval: fields.duration("fast_interval", INTERVAL),
            down_interval: fields.duration("down_interval", INTERVAL),
            timeout: fields.duration("timeout", POSITIVE),
            rise: fields.integer("rise", 1..=1000),
            fall: fields.integer("fall", 1..=1000),
            disable_on_404: fields.boolean("disable_on_404"),
        };
        fields.finish(|key| match key {
            "inter" => Some("write interval = \"2s\"".into()),
            "fastinter" => Some("write fast_interval = \"1s\"".into()),
            "downinter" => Some("write down_interval = \"5s\"".into()),
            "addr" => Some("write address = \"192.0.2.31\"".into()),
            "method" | "path" | "host" | "expect" | "headers" => {
                Some(format!("write http = {{ {key} = .. }}"))
            }
            "observe" | "agent_check" | "on_marked_down" => {
                Some("it stands beside `check`, not in it".into())
            }
            _ => None,
        });
        settings
    }

    /// Where, if not at the server.
    pub(crate) fn elsewhere(&self, default: &Self) -> Elsewhere {
        Elsewhere {
            address: self.address.or(default.address).map(|at| at.value),
            port: self.port.or(default.port).map(|at| at.value),
        }
    }
}

/// An address without a port.
pub(super) fn address(fields: &Fields<'_>, key: &'static str) -> Option<At<IpAddr>> {
    let parse = |text: &str| -> Result<IpAddr, String> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        Err(match text.parse::<SocketAddr>() {
            Ok(with_port) => {
                format!("has a port; write \"{}\" here and the port under its own key", with_port.ip())
            }
            Err(_) => "is no address; write one, as in \"192.0.2.31\"".into(),
        })
    };
    fields.value(key)?.parsed("an address, as in \"192.0.2.31\"", parse)
}

pub(super) fn port(fields: &Fields<'_>, key: &'static str) -> Option<At<u16>> {
    let port = fields.integer(key, 1..=65_535)?;
    Some(At::new(u16::try_from(port.value).ok()?, port.span))
}
