//! The hello between the nodes: what each says of itself, once a second and on every change.
//!
//! ```text
//! datagram, TTL ──▶ handle_datagram ─┐             ┌─▶ poll_transmit: (address, bytes)
//! own state ──────▶ handle_local ────├─▶ Session ──┼─▶ poll_event: Appeared, Silent, FileDiffers ...
//! clock ──────────▶ handle_timeout ──┘             └─▶ peers(): for `lbctl status`
//! ```
//!
//! It moves no address, forged or missing. But a switchover and a drain that nobody would answer are refused by what it says;
//! without a secret of the cluster it is not signed, and the one who asks has `--force` for that. Sans-IO; the UDP socket is
//! in [`endpoint`](self::endpoint).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_vrrp::{Moment, Secret, State, Step};
use serde::{Deserialize, Serialize};

use super::refusing::Refused;
use crate::{control::Ready, signing};

pub(super) mod endpoint;
pub(super) mod message;
mod peer;
#[cfg(test)]
mod tests;

use endpoint::PORT;
pub(crate) use message::room;
pub(super) use message::{GroupHello, Hello, InterfaceAddresses};

/// Between two hellos.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two hellos, however fast things change.
const MIN_GAP: Duration = Duration::from_millis(100);

/// A peer unheard for so long is silent: two of its hellos may be lost, and who looks knows within 3 s.
const SILENCE: Duration = Duration::from_millis(2_750);

/// A differing file is reported again no sooner, whatever a forger says.
const DRIFT_GAP: Duration = Duration::from_secs(60);

/// The same for hellos that are not believed, or not understood.
const REFUSAL_GAP: Duration = Duration::from_secs(60);

/// TTL of a hello, sent and required: it was never routed.
const TTL: u8 = 255;

/// Boots of a peer that are remembered, so that none of their hellos can be replayed.
const PAST_BOOTS: usize = 16;

/// Addresses that the speaker is told of, of all nodes together: a forger may name as many as there is room for in a hello.
const SOURCES: usize = 64;

/// Boots of a peer that a hello names.
const NOTED_BOOTS: usize = 4;

/// Events of a peer that may come at once, and after how long there is one more: a forger must not fill a disk.
const EVENTS: u32 = 16;
const EVENT_GAP: Duration = Duration::from_secs(4);

/// A counter that jumps further is not believed of a peer that is not silent: after it the peer's own hellos would be
/// refused as old. Honest ones grow by at most one in [`MIN_GAP`].
const MAX_JUMP: u64 = 64;

/// What this node says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Local {
    pub(super) node: String,
    pub(super) file: String,
    /// How far it is with signed advertisements.
    pub(super) signs: Option<Step>,
    /// Since when it is kept out of the election by an operator.
    pub(super) drained: Option<Moment>,
    pub(super) groups: Vec<LocalGroup>,
    pub(super) addresses: Vec<InterfaceAddresses>,
}

/// Its part in a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct LocalGroup {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) since: Moment,
    pub(super) why: String,
    pub(super) priority: u8,
    pub(super) ready: Ready,
    /// When it announced the addresses that it holds.
    pub(super) announced: Option<Moment>,
    /// What is ordered there that would keep clients out.
    pub(super) refused: Refused,
}

/// Another node of the file that says hello.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) address: IpAddr,
    /// The last hello and when it came.
    pub(super) last: Option<(Moment, Hello)>,
    /// Unheard for [`SILENCE`], or it said that it ends.
    pub(super) silent: bool,
    /// When it should have been heard at the latest.
    due: Moment,
    /// The boots before this one, each with the last counter that was heard of it.
    past_boots: VecDeque<(String, u64)>,
    /// When the boot before this one was heard last, which did not say that it ends, and when this one was heard first.
    broke_off: Option<(Moment, Moment)>,
    /// The boots that it has signed a hello of, whatever became of that.
    noted: VecDeque<String>,
    drift_reported: Option<(Moment, String)>,
    /// The last datagram from its address and port that was not signed as it should be, until a right one comes.
    refused: Option<(Moment, Refusal)>,
    refusal_told: Option<Moment>,
    puzzle_told: Option<(Moment, Vec<String>)>,
    events_left: u32,
    events_since: Moment,
}

/// Why what comes from a peer's address is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It is not signed.
    Unsigned,
    /// It is, and not by our secret.
    OtherSecret,
    /// It begins as a hello does, and is none that this program can read.
    Unreadable,
}

/// Something worth a line in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// The first hello since our start, or since it was silent, or since it restarted.
    Appeared { peer: String, why: &'static str },
    /// No hello for a while.
    Silent { peer: String },
    /// It said that it ends.
    Ended { peer: String },
    /// Its file is another one.
    FileDiffers { peer: String, theirs: String },
    /// Its hellos are not believed.
    Refused { peer: String, why: Refusal },
    /// It says things that this program does not understand.
    Puzzles { peer: String, what: Vec<String> },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    boot: String,
    counter: u64,
    local: Local,
    secret: Option<Secret>,
    /// A hello was signed by it.
    proven: bool,
    ending: bool,
    peers: Vec<Peer>,
    last_sent: Option<Moment>,
    next: Moment,
    transmits: VecDeque<(IpAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    counters: BTreeMap<&'static str, u64>,
}

/// What a process knows of the other nodes, and they of it, for the next one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct KnownSession {
    boot: String,
    counter: u64,
    peers: Vec<KnownPeer>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct KnownPeer {
    name: String,
    address: IpAddr,
    last: Option<(Moment, Hello)>,
    silent: bool,
    past_boots: VecDeque<(String, u64)>,
    #[serde(default)]
    broke_off: Option<(Moment, Moment)>,
}

impl KnownSession {
    /// For a process that goes on after all: another one may have said more under the same name.
    pub(super) fn under(self, boot: String) -> Self {
        Self { boot, counter: 0, ..self }
    }
}

impl Session {
    /// For the process that takes the place of this one.
    pub(super) fn known(&self) -> KnownSession {
        let peers = self.peers.iter().map(|peer| KnownPeer {
            name: peer.name.clone(),
            address: peer.address,
            last: peer.last.clone(),
            silent: peer.silent,
            past_boots: peer.past_boots.clone(),
            broke_off: peer.broke_off,
        });
        KnownSession { boot: self.boot.clone(), counter: self.counter, peers: peers.collect() }
    }

    /// Goes on with what the process before has heard and said: to the others it is the same node.
    pub(super) fn go_on(&mut self, known: KnownSession) {
        (self.boot, self.counter) = (known.boot, known.counter);
        for known in known.peers {
            let same = |peer: &&mut Peer| peer.name == known.name && peer.address == known.address;
            if let Some(peer) = self.peers.iter_mut().find(same) {
                (peer.last, peer.silent, peer.past_boots) = (known.last, known.silent, known.past_boots);
                peer.broke_off = known.broke_off;
            }
        }
    }

    /// `boot` must never have been used before; `peers` are `(name, address)` of the nodes that say hello.
    pub(super) fn new(
        now: Moment,
        boot: String,
        local: Local,
        peers: impl IntoIterator<Item = (String, IpAddr)>,
    ) -> Self {
        Self {
            boot,
            counter: 0,
            local,
            secret: None,
            proven: false,
            ending: false,
            peers: peers.into_iter().map(|(name, address)| Peer::new(now, name, address)).collect(),
            last_sent: None,
            next: now,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: BTreeMap::new(),
        }
    }

    /// The node's own state, at any time; a change is said at once.
    pub(super) fn handle_local(&mut self, now: Moment, local: Local) {
        if local != self.local {
            self.local = local;
            let earliest = self.last_sent.map_or(now, |sent| sent + MIN_GAP);
            self.next = self.next.min(earliest.max(now));
        }
    }

    /// The nodes that say hello are these from now on; what was heard of those that stay is kept.
    pub(super) fn handle_peers(&mut self, now: Moment, peers: impl IntoIterator<Item = (String, IpAddr)>) {
        let mut before = std::mem::take(&mut self.peers);
        let peer = |(name, address): (String, IpAddr)| match before
            .iter()
            .position(|peer| peer.name == name && peer.address == address)
        {
            Some(at) => before.swap_remove(at),
            None => Peer::new(now, name, address),
        };
        self.peers = peers.into_iter().map(peer).collect();
    }

    /// From now on what is said is signed by this, and nothing else is heard.
    pub(super) fn handle_secret(&mut self, secret: Option<Secret>) {
        self.proven &= self.secret == secret;
        self.secret = secret;
    }

    /// Another node has the secret of this one: it has signed a hello by it.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// The node ends: one more hello is due at once, which says so.
    pub(super) fn handle_ending(&mut self, now: Moment, local: Local) {
        self.local = local;
        self.ending = true;
        self.next = now;
    }

    /// A datagram came from `source` with this TTL.
    pub(super) fn handle_datagram(&mut self, now: Moment, source: SocketAddr, ttl: Option<u8>, bytes: &[u8]) {
        if ttl != Some(TTL) {
            return self.count("hello_ttl");
        }
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == source.ip()) else {
            return self.count("hello_stranger");
        };
        // The daemon of that node has it, so nobody else there can send from it while it runs.
        if source.port() != PORT {
            return self.count("hello_port");
        }
        let hello = match message::decode(bytes, self.secret.as_ref()) {
            Ok(hello) => hello,
            Err(error) => {
                let why = match error {
                    message::DecodeError::Unsigned => Some(Refusal::Unsigned),
                    message::DecodeError::Signature => Some(Refusal::OtherSecret),
                    message::DecodeError::Version(_) | message::DecodeError::Malformed => {
                        Some(Refusal::Unreadable)
                    }
                    message::DecodeError::TooLong(_) | message::DecodeError::Foreign => None,
                };
                self.events.extend(why.and_then(|why| peer.refuse(now, why)));
                return self.count(error.counter());
            }
        };
        self.proven |= self.secret.is_some();
        if hello.node != peer.name {
            return self.count("hello_other_name");
        }
        if self.secret.is_some() {
            let is_new = peer.note(&hello.boot);
            if hello.hears.as_ref().is_some_and(|hears| !hears.contains(&self.boot)) {
                if is_new {
                    // It may be there, and have heard nothing of this node yet.
                    let earliest = self.last_sent.map_or(now, |sent| sent + MIN_GAP);
                    self.next = self.next.min(earliest.max(now));
                }
                return self.count("hello_one_sided");
            }
        }
        if let Some(counter) = peer.counter_of(&hello.boot) {
            if hello.counter <= counter {
                return self.count("hello_replay");
            }
            if !peer.silent && hello.counter - counter > MAX_JUMP {
                return self.count("hello_jump");
            }
        }
        let event = peer.take(now, hello).filter(|_| peer.may_tell(now));
        let drift = peer.drift(now, &self.local.file);
        let (puzzle, is_puzzling) = (peer.puzzle(now), peer.says_unknown());
        self.events.extend(event.into_iter().chain(drift).chain(puzzle));
        self.count("hello_received");
        if is_puzzling {
            self.count("hello_unknown_word");
        }
    }

    /// The moment of `poll_timeout` passed. Early calls do nothing.
    pub(super) fn handle_timeout(&mut self, now: Moment) {
        for peer in &mut self.peers {
            if !peer.silent && now >= peer.due {
                peer.silent = true;
                self.events.push_back(Event::Silent { peer: peer.name.clone() });
            }
        }
        if now >= self.next {
            self.counter += 1;
            let bytes = message::encode(&self.hello(now), self.secret.as_ref());
            self.transmits.extend(self.peers.iter().map(|peer| (peer.address, bytes.clone())));
            self.last_sent = Some(now);
            self.next = now + INTERVAL;
        }
    }

    /// The next datagram to send, to port 3112 with TTL 255.
    #[must_use]
    pub(super) fn poll_transmit(&mut self) -> Option<(IpAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next event.
    #[must_use]
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is wanted next.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Moment {
        self.peers.iter().filter(|peer| !peer.silent).map(|peer| peer.due).fold(self.next, Moment::min)
    }

    /// Was this said as it is?
    pub(super) fn has_said(&self, local: &Local) -> bool {
        self.local == *local && self.last_sent.is_some_and(|sent| self.next >= sent + INTERVAL)
    }

    /// The other nodes.
    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The addresses that the other nodes say they have, in order, as far as they are heard: whoever advertises from one of them is no
    /// stranger. Of each node no more than its part, and those first that IPv6 is advertised from.
    pub(super) fn sources(&self) -> Vec<IpAddr> {
        let most = SOURCES / self.peers.len().max(1);
        let said = self.peers.iter().filter(|peer| !peer.silent).filter_map(|peer| peer.last.as_ref());
        let of_each = said.flat_map(|(_, hello)| {
            let all: BTreeSet<_> =
                hello.addresses.iter().flat_map(|interface| &interface.addresses).copied().collect();
            let is_link_local =
                |address: &IpAddr| matches!(address, IpAddr::V6(one) if one.is_unicast_link_local());
            let (first, last): (Vec<_>, Vec<_>) = all.into_iter().partition(is_link_local);
            first.into_iter().chain(last).take(most)
        });
        let all: BTreeSet<_> = of_each.collect();
        all.into_iter().collect()
    }

    /// Those that are heard, and how far they are with signed advertisements.
    pub(super) fn others(&self) -> Vec<signing::Other> {
        let heard = self.peers.iter().filter(|peer| !peer.silent);
        let said = heard.filter_map(|peer| peer.last.as_ref().map(|(_, hello)| (peer, hello)));
        said.map(|(peer, hello)| signing::Other { name: peer.name.clone(), signs: hello.signs.clone() })
            .collect()
    }

    /// Datagrams by what became of them.
    pub(super) fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    fn hello(&self, now: Moment) -> Hello {
        let groups = self.local.groups.iter().map(|group| GroupHello {
            name: group.name.clone(),
            state: group.state,
            age_ms: milliseconds(now.saturating_since(group.since)),
            why: group.why.clone(),
            priority: group.priority,
            ready: group.ready.clone(),
            announced_us: group
                .announced
                .map(|at| u64::try_from(now.saturating_since(at).as_micros()).unwrap_or(u64::MAX)),
            refuses: group.refused.why.clone(),
            refused: group.refused.what.clone(),
        });
        Hello {
            node: self.local.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.boot.clone(),
            counter: self.counter,
            file: self.local.file.clone(),
            signs: Some(signing::word(self.local.signs).to_owned()),
            drained_ms: self.local.drained.map(|since| milliseconds(now.saturating_since(since))),
            hears: self.secret.is_some().then(|| self.peers.iter().flat_map(Peer::boots).collect()),
            groups: groups.collect(),
            addresses: self.local.addresses.clone(),
            ending: self.ending,
            shortened: false,
            unknown: Vec::new(),
        }
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
