//! `source`: where connections to servers come from.

use std::net::IpAddr;

use super::Proxy;
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Directive, Done, Fault, shown},
        lexer::Word,
        table::{Row, row},
    },
};

/// What it says, of a section or of a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::import::haproxy) struct Source {
    pub(in crate::import::haproxy) address: Option<IpAddr>,
    /// `10000-20000`
    ports: Option<String>,
    interface: Option<String>,
}

pub(in crate::import::haproxy) const NO_CLIENT: &str =
    "servers see an address of ours; they learn the client's from X-Forwarded-For";

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("source", "dlb", source, "`source`", "On a pair, a node's own address becomes `\"node\"`. `usesrc` is not there."),
];

/// `source ADDRESS[:PORT[-PORT]] [interface NAME]`
fn source(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let mut source = Source::parse(directive.first()?)?;
    match &directive.arguments[1..] {
        [] => {}
        [word, interface] if word.text == "interface" => source.interface = Some(interface.text.clone()),
        [word, ..] if word.text == "usesrc" => return Err(Fault::at(word, NO_CLIENT)),
        [word, ..] => return Err(Fault::at(word, format!("`{}` is no word of `source`", shown(&word.text)))),
    }
    proxy.keys.set("source", source.value(), directive.span);
    Ok(())
}

impl Source {
    /// An address, maybe with ports.
    pub(super) fn parse(word: &Word) -> Result<Self, Fault> {
        let text = word.text.as_str();
        let wrong = || {
            let why = format!(
                "`{}` is no address of this machine, as in 192.0.2.11 or 192.0.2.11:10000-20000",
                shown(text)
            );
            Fault::at(word, why)
        };
        let families = ["ipv4@", "ipv6@"];
        let bare = families.iter().find_map(|family| text.strip_prefix(family)).unwrap_or(text);
        let (host, ports) = match bare.rsplit_once(':') {
            // The last part of an address of IPv6 without brackets is none.
            Some((host, ports)) if bare.parse::<IpAddr>().is_err() => (host, Some(ports)),
            _ => (bare, None),
        };
        let address = match host.trim_matches(['[', ']']) {
            "" | "*" => None,
            host => {
                Some(host.parse::<IpAddr>().map_err(|_| wrong())?).filter(|address| !address.is_unspecified())
            }
        };
        let ports = match ports {
            None | Some("0" | "") => None,
            Some(ports) => {
                crate::config::text::ports(ports).map_err(|_| wrong())?;
                Some(if ports.contains('-') { ports.to_owned() } else { format!("{ports}-{ports}") })
            }
        };
        Ok(Self { address, ports, interface: None })
    }

    pub(super) fn set_interface(&mut self, name: &str) {
        self.interface = Some(name.to_owned());
    }

    /// What stands behind `source =`; `false` if it says nothing.
    pub(in crate::import::haproxy) fn value(&self) -> Value {
        let address = self.address.map(|address| ("address", Value::Text(address.to_string())));
        let ports = self.ports.as_ref().map(|ports| ("ports", Value::text(ports)));
        let interface = self.interface.as_ref().map(|name| ("interface", Value::text(name)));
        match (address, ports, interface) {
            (None, None, None) => Value::Flag(false),
            (Some((_, address)), None, None) => address,
            (address, ports, interface) => {
                let entries = [address, ports, interface].into_iter().flatten();
                Value::Table(entries.map(|(key, value)| (key.to_owned(), value)).collect())
            }
        }
    }
}
