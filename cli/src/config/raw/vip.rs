//! `[vip.NAME]`: a virtual router and its addresses.

use std::{net::IpAddr, time::Duration};

use lb_vrrp::{ChecksumForm, Family, Password, Version, VirtualAddress, is_link_local};

use super::{ByNode, proxy::interface};
use crate::config::{
    reader::{At, Fields, Value},
    text,
};

#[derive(Debug)]
pub(crate) struct Vip {
    pub(crate) interface: Option<ByNode<String>>,
    pub(crate) vrid: Option<At<u32>>,
    /// Of both families, in the order of the file.
    pub(crate) addresses: Vec<At<VirtualAddress>>,
    pub(crate) advertisement_interval: Option<At<Duration>>,
    pub(crate) version: Option<At<Version>>,
    pub(crate) preempt: Option<At<Preference>>,
    pub(crate) preempt_delay: Option<At<Duration>>,
    /// Names of nodes, the most wanted first.
    pub(crate) prefer: Option<At<Vec<At<String>>>>,
    pub(crate) group: Option<At<String>>,
    pub(crate) checksum: Option<At<ChecksumForm>>,
    pub(crate) garp_refresh: Option<At<Duration>>,
    /// True for unicast.
    pub(crate) unicast: Option<At<bool>>,
    /// At most one of a family.
    pub(crate) unicast_addresses: Option<ByNode<Vec<At<IpAddr>>>>,
    pub(crate) minimum_ttl: Option<At<u32>>,
    pub(crate) password: Option<At<Password>>,
}

/// `preempt` without its delay, which is a key of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Preference {
    Degraded,
    Always,
    Never,
}

impl Vip {
    /// Those that clients are sent to, IPv4 first: a link-local one can be reached only by who names the interface as well.
    pub(crate) fn served(&self) -> impl Iterator<Item = IpAddr> {
        let all = || self.addresses.iter().map(|at| at.value.address);
        all()
            .filter(IpAddr::is_ipv4)
            .chain(all().filter(|address| address.is_ipv6() && !is_link_local(*address)))
    }

    pub(super) fn read(fields: Fields<'_>) -> Self {
        fields.require("vrid", "vrid = 51, a number that no other virtual router on this network has");
        fields.require("addresses", "addresses = [\"192.0.2.10\"]");
        let vip = Self {
            interface: fields.value("interface").and_then(|value| ByNode::read(&value, interface)),
            vrid: fields.integer("vrid", 1..=255),
            addresses: addresses(&fields),
            advertisement_interval: fields
                // Its range is that of the version.
                .duration("advertisement_interval", Duration::ZERO..=Duration::MAX),
            version: fields.value("version").and_then(|value| version(&value)),
            preempt: fields.choice(
                "preempt",
                &[
                    ("degraded", Preference::Degraded),
                    ("always", Preference::Always),
                    ("never", Preference::Never),
                ],
            ),
            preempt_delay: fields.duration("preempt_delay", Duration::ZERO..=Duration::from_secs(3600)),
            prefer: prefer(&fields),
            group: fields.value("group").and_then(|value| {
                value.parsed("a name, as in \"web\"", |name| text::name(name).map(|()| name.to_owned()))
            }),
            checksum: fields.choice(
                "checksum",
                &[("rfc9568", ChecksumForm::Rfc9568), ("rfc5798", ChecksumForm::Rfc5798)],
            ),
            garp_refresh: fields
                .duration("garp_refresh", Duration::from_secs(1)..=Duration::from_secs(86_400)),
            unicast: fields.choice("transport", &[("multicast", false), ("unicast", true)]),
            unicast_addresses: fields.value("unicast_addresses").and_then(|value| {
                let is_table = value.is_table();
                if !is_table {
                    value.mismatch(UNICAST_ADDRESSES);
                }
                is_table.then(|| ByNode::read(&value, unicast_addresses)).flatten()
            }),
            minimum_ttl: fields.integer("minimum_ttl", 1..=255),
            password: fields.value("password").and_then(|value| {
                let password = |text: &str| Password::new(text).map_err(|why| why.to_string());
                value.parsed("a text of 1 to 8 characters, as in \"secret\"", password)
            }),
        };
        fields.finish(|key| match key {
            "address" => Some("write addresses = [\"192.0.2.10\"]".into()),
            "priority" => Some(
                "it belongs to the node: node.lb1 = { address = .., priority = 150 } in [cluster]".into(),
            ),
            "nopreempt" => Some("write preempt = \"never\"".into()),
            "advert_int" => Some("write advertisement_interval = \"100ms\"".into()),
            "unicast_peer" | "unicast_src_ip" | "unicast" => Some(
                "write transport = \"unicast\"; nodes send to each other's address of [cluster], or of unicast_addresses".into(),
            ),
            "authentication" | "auth_type" | "auth_pass" => Some(
                "write password = \"secret\" for PASS of VRRPv2, which protects nothing; there is no AH".into(),
            ),
            "state" => Some("there is none: an election decides; `prefer` names the preferred node".into()),
            _ => None,
        });
        vip
    }
}

fn addresses(fields: &Fields<'_>) -> Vec<At<VirtualAddress>> {
    let Some(value) = fields.value("addresses") else { return Vec::new() };
    let Some(list) = value.list("a list, as in [\"192.0.2.10\"]") else { return Vec::new() };
    if list.is_empty() {
        value.mismatch("a list of at least one address");
    }
    list.iter()
        .filter_map(|item| item.parsed("a list of addresses, as in [\"192.0.2.10\"]", text::virtual_address))
        .collect()
}

const UNICAST_ADDRESSES: &str = "addresses by node, as in { lb1 = \"192.0.2.11\", lb2 = \"192.0.2.12\" }";

fn unicast_addresses(value: &Value<'_>) -> Option<At<Vec<At<IpAddr>>>> {
    let expected = "an address, as in \"192.0.2.11\", or a list with one of each family";
    let one = |value: &Value<'_>| value.parsed(expected, text::own_address);
    let span = value.span;
    let addresses: Vec<_> = if value.as_str().is_some() {
        one(value).into_iter().collect()
    } else {
        value.list(expected)?.iter().filter_map(one).collect()
    };
    if let [first, second, ..] = addresses.as_slice()
        && (addresses.len() > 2 || Family::of(first.value) == Family::of(second.value))
    {
        value.mismatch("one address of each family");
    }
    Some(At::new(addresses, span))
}

fn version(value: &Value<'_>) -> Option<At<Version>> {
    let number = value.integer(2..=3)?;
    Some(At::new(if number.value == 2 { Version::V2 } else { Version::V3 }, number.span))
}

fn prefer(fields: &Fields<'_>) -> Option<At<Vec<At<String>>>> {
    let value = fields.value("prefer")?;
    let span = value.span;
    let nodes = value.one_or_list();
    let nodes = nodes.iter().filter_map(|node| node.string("the name of a node, or a list of them"));
    Some(At::new(nodes.collect(), span))
}
