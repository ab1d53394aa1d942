//! `[track.NAME]`: an interface, an address, a file or a command that is looked at.

use std::{ops::RangeInclusive, time::Duration};

use super::{ByNode, POSITIVE, command, proxy::interface};
use crate::config::{
    model::{Presence, Question, Target},
    reader::{At, Fields, Value},
    text,
};

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) interface: Option<ByNode<String>>,
    pub(crate) address: Option<ByNode<Target>>,
    pub(crate) probe: Option<At<Question>>,
    pub(crate) file: Option<At<String>>,
    pub(crate) command: Option<At<Vec<String>>>,
    pub(crate) down_delay: Option<At<Duration>>,
    pub(crate) up_delay: Option<At<Duration>>,
    pub(crate) interval: Option<At<Duration>>,
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) rise: Option<At<u32>>,
    pub(crate) fall: Option<At<u32>>,
    pub(crate) fails_while: Option<At<Presence>>,
    /// True for a fault.
    pub(crate) failure: Option<At<bool>>,
    pub(crate) groups: Option<At<Vec<At<String>>>>,
    pub(crate) hold: Option<At<Duration>>,
}

/// An interface is looked at ten times a second.
const DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// Shorter ones would be work that nobody needs.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// How an address is asked.
pub(crate) const PROBES: [(&str, Question); 2] = [("icmp", Question::Icmp), ("arp", Question::Arp)];

const IN_A_ROW: RangeInclusive<u32> = 1..=100;

impl Track {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let track = Self {
            interface: fields.value("interface").and_then(|value| ByNode::read(&value, interface)),
            address: fields.value("address").and_then(|value| ByNode::read(&value, target)),
            probe: fields.choice("probe", &PROBES),
            file: fields.value("file").and_then(|value| {
                value.parsed("the whole path of a file, as in \"/run/maintenance\"", whole_path)
            }),
            command: fields.value("command").and_then(|value| command::read(&value)),
            down_delay: fields.duration("down_delay", DELAY),
            up_delay: fields.duration("up_delay", DELAY),
            interval: fields.duration("interval", INTERVAL),
            timeout: fields.duration("timeout", POSITIVE),
            rise: fields.integer("rise", IN_A_ROW),
            fall: fields.integer("fall", IN_A_ROW),
            fails_while: fields
                .choice("fails_while", &[("present", Presence::Present), ("absent", Presence::Absent)]),
            failure: fields.choice("failure", &[("degradation", false), ("fault", true)]),
            groups: groups(&fields),
            hold: fields.duration("hold", DELAY),
        };
        fields.finish(|key| match key {
            "weight" => Some(
                "there are no weights: a failure is a degradation, or a fault with failure = \"fault\""
                    .into(),
            ),
            "script" | "check" => Some("write command = [\"/usr/local/bin/fit\"]".into()),
            "ping" | "ip" => Some("write address = \"192.0.2.1\"".into()),
            "group" => Some("write groups = [\"default\"]".into()),
            _ => None,
        });
        track
    }
}

fn target(value: &Value<'_>) -> Option<At<Target>> {
    value.parsed("an address, as in \"192.0.2.1\" or \"fe80::1%eth1\"", |given| {
        let (address, interface) = match given.split_once('%') {
            Some((address, interface)) => (address, Some(interface)),
            None => (given, None),
        };
        let address = text::own_address(address)?;
        match interface {
            None if lb_vrrp::is_link_local(address) => {
                Err("is link-local, an address of one link; name its interface: \"fe80::1%eth1\"".to_owned())
            }
            Some(_) if !lb_vrrp::is_link_local(address) => {
                Err("names an interface, which only a link-local address needs; remove it".to_owned())
            }
            Some(name) => {
                text::interface(name)?;
                Ok(Target { address, interface: Some(name.to_owned()) })
            }
            None => Ok(Target { address, interface: None }),
        }
    })
}

fn whole_path(path: &str) -> Result<String, String> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path.to_owned());
    }
    Err("has to begin with /, since it is looked at on every node, wherever lbctl was started".to_owned())
}

fn groups(fields: &Fields<'_>) -> Option<At<Vec<At<String>>>> {
    let value = fields.value("groups")?;
    let (span, is_empty) = (value.span, value.is_empty_list());
    let list = value.list("a list of groups, as in [\"default\"]")?;
    if is_empty {
        value.mismatch("a list of at least one group");
    }
    Some(At::new(list.iter().filter_map(|one| one.string("the name of a group")).collect(), span))
}
