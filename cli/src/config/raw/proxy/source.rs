//! `source` of a backend or a server: where connections to servers come from.

use std::ops::RangeInclusive;

use crate::config::{
    raw::ByNode,
    reader::{At, Value},
    text::{self, SourceText},
};

#[derive(Debug)]
pub(crate) enum Source {
    /// The system chooses, whatever the backend says.
    Off,
    On(SourceSettings),
}

#[derive(Debug)]
pub(crate) struct SourceSettings {
    pub(crate) address: Option<ByNode<SourceText>>,
    pub(crate) ports: Option<At<RangeInclusive<u16>>>,
    pub(crate) interface: Option<ByNode<String>>,
}

const EXPECTED: &str = "an address of this machine, as in \"192.0.2.11\", \"node\" for the node's own, false, a table by node, \
                        or { address = \"192.0.2.11\", interface = \"eth1\" }";

impl Source {
    pub(super) fn read(value: &Value<'_>) -> Option<At<Self>> {
        match value.as_bool() {
            Some(false) => return Some(At::new(Self::Off, value.span)),
            Some(true) => {
                value.mismatch(EXPECTED);
                return None;
            }
            None => {}
        }
        let settings = if value.has_some_of(&["address", "ports", "port", "interface"]) {
            SourceSettings::read(value)?
        } else {
            let address = Some(ByNode::read(value, address)?);
            SourceSettings { address, ports: None, interface: None }
        };
        Some(At::new(Self::On(settings), value.span))
    }
}

impl SourceSettings {
    fn read(value: &Value<'_>) -> Option<Self> {
        let fields = value.fields("`source`".into(), EXPECTED)?;
        let settings = Self {
            address: fields.value("address").and_then(|value| ByNode::read(&value, address)),
            ports: fields.value("ports").and_then(|value| {
                value.parsed("the first and the last port, as in \"10000-20000\"", text::ports)
            }),
            interface: fields.value("interface").and_then(|value| ByNode::read(&value, interface)),
        };
        fields.finish(|key| (key == "port").then(|| "write ports = \"10000-20000\"".into()));
        Some(settings)
    }
}

fn address(value: &Value<'_>) -> Option<At<SourceText>> {
    value.parsed(EXPECTED, text::source)
}

/// Of `source` as of a vip.
pub(crate) fn interface(value: &Value<'_>) -> Option<At<String>> {
    let expected =
        "the name of an interface, as in \"eth1\", or one by node: { lb1 = \"eth1\", lb2 = \"ens3\" }";
    value.parsed(expected, |name| text::interface(name).map(|()| name.to_owned()))
}
