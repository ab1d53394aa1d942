//! `server.NAME` and `servers`: who answers.

use std::{net::IpAddr, time::Duration};

use lb_proxy::{
    config::{SendProxy, ServerAddress},
    tls::PeerName,
};

use super::{ServerTls, Source, check, cookie, proxy_protocol, server_tls};
use crate::config::{
    reader::{At, Fields, Value},
    text,
};

#[derive(Debug)]
pub(crate) struct Server {
    /// The key; the address as written for one of `servers`.
    pub(crate) name: At<String>,
    pub(crate) address: Option<At<ServerAddress>>,
    pub(crate) source: Option<At<Source>>,
    pub(crate) http2: Option<At<bool>>,
    /// `None` inside is `false`.
    pub(crate) tls: Option<At<Option<ServerTls>>>,
    /// `None` inside is `false`.
    pub(crate) check_tls: Option<At<Option<ServerTls>>>,
    pub(crate) check_sni: Option<At<PeerName>>,
    /// `None` inside is `false`.
    pub(crate) send_proxy: Option<At<Option<SendProxy>>>,
    pub(crate) check_send_proxy: Option<At<bool>>,
    /// Where it is checked, if not there.
    pub(crate) check_address: Option<At<IpAddr>>,
    pub(crate) check_port: Option<At<u16>>,
    pub(crate) check_interval: Option<At<Duration>>,
    pub(crate) check_fast_interval: Option<At<Duration>>,
    pub(crate) check_down_interval: Option<At<Duration>>,
    pub(crate) check_rise: Option<At<u32>>,
    pub(crate) check_fall: Option<At<u32>>,
    pub(crate) weight: Option<At<u32>>,
    pub(crate) backup: Option<At<bool>>,
    pub(crate) disabled: Option<At<bool>>,
    pub(crate) maxconn: Option<At<u32>>,
    pub(crate) minconn: Option<At<u32>>,
    pub(crate) cookie: Option<At<String>>,
    /// The key is there, whatever its value.
    pub(crate) cookie_given: bool,
}

const EXPECTED: &str = "an address and a port, as in \"192.0.2.21:80\", or { address = \"192.0.2.21:80\" }";

/// What stands in the file, readable or not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Given {
    /// Nothing.
    #[default]
    Nothing,
    /// `servers = []`
    Empty,
    Some,
}

/// In the order of the file.
pub(super) fn read_all(fields: &Fields<'_>) -> (Vec<Server>, Given) {
    let named = fields.named("server", "a table: server.web1 = \"192.0.2.21:80\" for each server");
    let mut servers: Vec<_> = named.iter().map(|(name, value)| Server::read(name, value)).collect();
    let list = fields.value("servers").and_then(|value| value.list("a list, as in [\"192.0.2.21:80\"]"));
    let given =
        fields.is_misfit("server") || fields.is_misfit("servers") || list.iter().flatten().count() > 0;
    servers.extend(list.iter().flatten().filter_map(Server::read_listed));
    servers.sort_by_key(|server| server.name.span);
    let given = match (given || !servers.is_empty(), list) {
        (true, _) => Given::Some,
        (false, Some(_)) => Given::Empty,
        (false, None) => Given::Nothing,
    };
    (servers, given)
}

impl Server {
    fn new(name: At<String>, address: Option<At<ServerAddress>>) -> Self {
        Self {
            name,
            address,
            source: None,
            http2: None,
            tls: None,
            check_tls: None,
            check_sni: None,
            send_proxy: None,
            check_send_proxy: None,
            check_address: None,
            check_port: None,
            check_interval: None,
            check_fast_interval: None,
            check_down_interval: None,
            check_rise: None,
            check_fall: None,
            weight: None,
            backup: None,
            disabled: None,
            maxconn: None,
            minconn: None,
            cookie: None,
            cookie_given: false,
        }
    }

    fn read(name: &At<String>, value: &Value<'_>) -> Self {
        let mut server = Self::new(name.clone(), None);
        if !value.is_table() {
            server.address = value.parsed(EXPECTED, text::server_address);
            return server;
        }
        let Some(mut fields) = value.fields(format!("server `{}`", name.value), EXPECTED) else {
            return server;
        };
        fields.span = name.span;
        fields.require("address", "address = \"192.0.2.21:80\"");
        server.address = fields.value("address").and_then(|value| {
            value.parsed("an address and a port, as in \"192.0.2.21:80\"", text::server_address)
        });
        server.source = fields.value("source").and_then(|value| Source::read(&value));
        server.http2 = fields.boolean("http2");
        server.tls = server_tls::read(&fields, "tls");
        server.check_tls = server_tls::read(&fields, "check_tls");
        server.check_sni = server_tls::check_sni(&fields);
        server.send_proxy = proxy_protocol::send(&fields);
        server.check_send_proxy = fields.boolean("check_send_proxy");
        server.check_address = check::address(&fields, "check_address");
        server.check_port = check::port(&fields, "check_port");
        server.check_interval = fields.duration("check_interval", check::INTERVAL);
        server.check_fast_interval = fields.duration("check_fast_interval", check::INTERVAL);
        server.check_down_interval = fields.duration("check_down_interval", check::INTERVAL);
        server.check_rise = fields.integer("check_rise", 1..=1000);
        server.check_fall = fields.integer("check_fall", 1..=1000);
        server.weight = fields.integer("weight", 0..=256);
        server.backup = fields.boolean("backup");
        server.disabled = fields.boolean("disabled");
        server.maxconn = fields.integer("maxconn", 1..=10_000_000);
        server.minconn = fields.integer("minconn", 1..=10_000_000);
        let cookie = fields.value("cookie");
        server.cookie_given = cookie.is_some();
        server.cookie = cookie.and_then(|value| cookie::value(&value));
        fields.finish(|key| match key {
            "check" | "agent_check" | "observe" => Some("it belongs to the whole backend".into()),
            "ssl" => Some("write tls = true".into()),
            "proto" => Some("for HTTP/2 without TLS write http2 = true".into()),
            "port" => Some("for checks on another port write check_port = 8080".into()),
            "inter" => Some("write check_interval = \"5s\"".into()),
            "rise" => Some("write check_rise = 2".into()),
            "fall" => Some("write check_fall = 3".into()),
            "addr" => Some("for checks at another address write check_address = \"192.0.2.31\"".into()),
            _ => None,
        });
        server
    }

    fn read_listed(value: &Value<'_>) -> Option<Self> {
        let address = value.parsed("a list of addresses, as in [\"192.0.2.21:80\"]", text::server_address)?;
        Some(Self::new(At::new(address.value.to_string(), address.span), Some(address)))
    }
}
