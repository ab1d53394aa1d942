//! What a hello says, read so that no newer program is taken for a silent one.
//!
//! While a pair is upgraded a node hears what programs say that know more words than its own. Who it is, and that it is there, is
//! known from five members; whatever else can't be understood is read as what promises least, and named in [`Hello::unknown`]:
//!
//! | not understood | read as |
//! |---|---|
//! | `ready` | a fault: nothing is given to that node without `--force` |
//! | `state` | `Initialize`: it does not count as a second owner |
//! | `priority` | 0, gone |
//! | `refuses` | something is refused there |
//! | `hears` | it hears nobody: a recording, for who goes by it |
//! | anything else | not said |

use std::net::IpAddr;

use lb_vrrp::State;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{GroupHello, Hello, InterfaceAddresses};
use crate::control::Ready;

/// Things that are named at most: a forger must not fill a line.
const NAMED: usize = 4;

/// Characters of one.
const LONGEST: usize = 40;

/// The members that say who speaks must be there, and be what they always were.
#[derive(Deserialize)]
pub(super) struct Said {
    node: String,
    version: String,
    boot: String,
    counter: u64,
    file: String,
    signs: Option<Value>,
    drained_ms: Option<Value>,
    hears: Option<Value>,
    groups: Vec<Value>,
    addresses: Option<Value>,
    ending: Option<Value>,
    shortened: Option<Value>,
}

impl From<Said> for Hello {
    fn from(said: Said) -> Self {
        let mut unknown = Unknown::default();
        let groups = said.groups.into_iter().filter_map(|group| read_group(group, &mut unknown)).collect();
        let addresses = list(said.addresses, "addresses", &mut unknown).unwrap_or_default();
        let addresses = addresses.into_iter().filter_map(|one| read_addresses(one, &mut unknown)).collect();
        Self {
            node: said.node,
            version: said.version,
            boot: said.boot,
            counter: said.counter,
            file: said.file,
            signs: unknown.read(said.signs, "signs"),
            drained_ms: unknown.read(said.drained_ms, "drained_ms"),
            hears: list(said.hears, "hears", &mut unknown).map(|boots| {
                boots.into_iter().filter_map(|boot| unknown.read(Some(boot), "hears")).collect()
            }),
            groups,
            addresses,
            ending: unknown.read(said.ending, "ending").unwrap_or_default(),
            shortened: unknown.read(said.shortened, "shortened").unwrap_or_default(),
            unknown: unknown.named,
        }
    }
}

#[derive(Deserialize)]
struct SaidGroup {
    name: String,
    state: Option<Value>,
    age_ms: Option<Value>,
    why: Option<Value>,
    priority: Option<Value>,
    ready: Option<Value>,
    announced_us: Option<Value>,
    refuses: Option<Value>,
    refused: Option<Value>,
}

/// `None` if it does not even have a name.
fn read_group(value: Value, unknown: &mut Unknown) -> Option<GroupHello> {
    let said: SaidGroup = unknown.read(Some(value), "groups")?;
    let ready_word = said.ready.as_ref().map(word).unwrap_or_default();
    let is_refusing = said.refuses.is_some();
    let refuses = unknown.read(said.refuses, "refuses");
    let refused = list(said.refused, "refused", unknown).unwrap_or_default();
    Some(GroupHello {
        state: unknown.read(said.state, "state").unwrap_or(State::Initialize),
        age_ms: unknown.read(said.age_ms, "age_ms").unwrap_or_default(),
        why: unknown.read(said.why, "why").unwrap_or_default(),
        priority: unknown.read(said.priority, "priority").unwrap_or_default(),
        ready: unknown.read(said.ready, "ready").unwrap_or_else(|| Ready::Fault {
            reason: format!(
                "it says `{ready_word}`, which lbctl {} does not know",
                env!("CARGO_PKG_VERSION")
            ),
        }),
        announced_us: unknown.read(said.announced_us, "announced_us"),
        refuses: refuses
            .or_else(|| is_refusing.then(|| "something that this node's program does not know".to_owned())),
        refused: refused.into_iter().filter_map(|one| unknown.read(Some(one), "refused")).collect(),
        name: said.name,
    })
}

#[derive(Deserialize)]
struct SaidAddresses {
    interface: String,
    addresses: Vec<Value>,
}

fn read_addresses(value: Value, unknown: &mut Unknown) -> Option<InterfaceAddresses> {
    let said: SaidAddresses = unknown.read(Some(value), "addresses")?;
    let known = said.addresses.into_iter().filter_map(|one| unknown.read::<IpAddr>(Some(one), "addresses"));
    Some(InterfaceAddresses { addresses: known.collect(), interface: said.interface })
}

/// `None` if nothing is said; what is no list has nothing in it.
fn list(value: Option<Value>, member: &str, unknown: &mut Unknown) -> Option<Vec<Value>> {
    value.map(|value| unknown.read(Some(value), member).unwrap_or_default())
}

/// What was not understood.
#[derive(Default)]
struct Unknown {
    named: Vec<String>,
}

impl Unknown {
    fn read<T: DeserializeOwned>(&mut self, value: Option<Value>, member: &str) -> Option<T> {
        let value = value?;
        let word = word(&value);
        let read = serde_json::from_value(value).ok();
        let name = format!("{member} {word}");
        if read.is_none() && self.named.len() < NAMED && !self.named.contains(&name) {
            self.named.push(name);
        }
        read
    }
}

/// A value in one word, as far as it has one: a string, or the name of what has members.
fn word(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => members.keys().next().cloned().unwrap_or_default(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    text.chars().take(LONGEST).collect()
}
