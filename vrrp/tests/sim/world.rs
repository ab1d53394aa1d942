//! The world: a clock, a queue of events, nodes on a LAN, a client. One event at a time; the promises are checked after
//! each.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_vrrp::{Family, MemberId, Moment, VirtualAddress};

use super::{
    Guard,
    kernel::LEASE_TICK,
    lan::{Lan, Link},
    node::{Input, Node},
    promises::Promises,
    random::Random,
};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;
/// The group that advertisements from `source` go to.
pub(crate) fn group(source: IpAddr) -> IpAddr {
    match Family::of(source) {
        Family::Ipv4 => Ipv4Addr::new(224, 0, 0, 18).into(),
        Family::Ipv6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
    }
}

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) at: u64,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Event {
    Packet {
        to: usize,
        source: IpAddr,
        bytes: Vec<u8>,
    },
    Arp {
        from: usize,
        address: IpAddr,
        sent: u64,
    },
    KernelAdd {
        node: usize,
        incarnation: u64,
        member: MemberId,
        address: VirtualAddress,
        refused: bool,
    },
    KernelRemove {
        node: usize,
        incarnation: u64,
        member: MemberId,
        address: VirtualAddress,
        asked: u64,
    },
    ExchangesReset {
        node: usize,
        incarnation: u64,
    },
    Resume {
        node: usize,
        pause: u64,
    },
    SpeakerBack {
        node: usize,
        incarnation: u64,
        was_active: bool,
    },
    /// The daemon looks at how long nobody has advertised.
    GuardLooks {
        node: usize,
        incarnation: u64,
        last: Moment,
    },
    ReadinessTold {
        node: usize,
        incarnation: u64,
    },
    /// The first hello of a node that was silent.
    Hello {
        to: usize,
    },
    LeaseTick,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) nodes: Vec<Node>,
    pub(crate) lan: Lan,
    /// Which node the client sends the first address to.
    pub(crate) client: Option<usize>,
    pub(crate) promises: Promises,
    pub(crate) guard: Guard,
    pub(crate) transitions: u64,
    /// What follows from a transition is told some time after it.
    pub(crate) daemons_are_slow: bool,
    /// Advertisements that a node by unicast did not look at, or that were not signed as they had to be.
    pub(crate) strangers: u64,
    pub(crate) first_address: IpAddr,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    timeline: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(random: Random, nodes: Vec<Node>, record: bool) -> Self {
        let first_address = nodes[0].config.members[0].addresses[0].address;
        let mut world = Self {
            now: SECOND,
            random,
            lan: Lan::new(nodes.len() + 1),
            promises: Promises::new(nodes.len()),
            nodes,
            client: None,
            guard: Guard::Takes,
            transitions: 0,
            daemons_are_slow: false,
            strangers: 0,
            first_address,
            queue: BinaryHeap::new(),
            sequence: 0,
            timeline: record.then(Vec::new),
        };
        world.schedule(LEASE_TICK, Event::LeaseTick);
        world
    }

    pub(crate) fn client_station(&self) -> usize {
        self.nodes.len()
    }

    /// Everything that every node did, if it was to be recorded.
    pub(crate) fn timeline(&self) -> &[String] {
        self.timeline.as_deref().unwrap_or_default()
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(timeline) = &mut self.timeline {
            let (s, us) = (self.now / SECOND, self.now % SECOND / 1_000);
            timeline.push(format!("{s:>4}.{us:06} {}", text()));
        }
    }

    /// Lets `duration` pass.
    pub(crate) fn run(&mut self, duration: u64) -> Result<(), Broken> {
        let end = self.now + duration;
        loop {
            let queued = self.queue.peek().map(|Reverse((at, ..))| *at);
            let woken = self.nodes.iter().filter_map(|node| node.wake_at.filter(|_| node.is_awake())).min();
            let told =
                self.nodes.iter().filter_map(|node| node.tracker_next.filter(|_| node.is_awake())).min();
            let Some(at) = [queued, woken, told].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = at.max(self.now);
            if queued == Some(at) {
                if let Some(Reverse((_, _, event))) = self.queue.pop() {
                    self.happen(event)?;
                }
            } else {
                for index in 0..self.nodes.len() {
                    let node = &self.nodes[index];
                    if node.is_awake() && node.wake_at.is_some_and(|wake| wake <= self.now) {
                        self.wake(index)?;
                    } else if node.is_awake() && node.tracker_next.is_some_and(|next| next <= self.now) {
                        self.tell_readiness(index)?;
                    }
                }
            }
            self.check()?;
        }
        self.now = end;
        Ok(())
    }

    pub(crate) fn check(&mut self) -> Result<(), Broken> {
        let mut promises = std::mem::take(&mut self.promises);
        let result = promises.check(self);
        self.promises = promises;
        result
    }

    pub(crate) fn broken<T>(&self, text: String) -> Result<T, Broken> {
        Err(Broken { at: self.now, text })
    }

    pub(crate) fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + after, self.sequence, event)));
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Packet { to, source, bytes } => self.input(to, Input::Packet { source, bytes }),
            Event::Arp { from, address, sent } => {
                if self.now - sent > Link::CLEAN.delay.1.as_nanos() as u64 {
                    // From before a heal: it may overtake what was said since.
                    self.promises.forget_all();
                }
                if address == self.first_address {
                    self.note(|| format!("client: {address} is at node {from}"));
                    self.client = Some(from);
                }
                Ok(())
            }
            // What a dead speaker asked for and the kernel had not begun is not done.
            Event::KernelAdd { node, incarnation, .. } | Event::KernelRemove { node, incarnation, .. }
                if self.nodes[node].incarnation != incarnation =>
            {
                Ok(())
            }
            Event::KernelAdd { node, incarnation: _, member, address, refused } => {
                self.kernel_adds(node, member, address, refused)
            }
            Event::KernelRemove { node, incarnation: _, member, address, asked } => {
                self.kernel_removes(node, member, address, asked)
            }
            Event::ExchangesReset { node, incarnation } if self.nodes[node].incarnation == incarnation => {
                self.input(node, Input::ExchangesReset)
            }
            Event::Resume { node, pause } => self.resume(node, pause),
            Event::Hello { to } => {
                let node = &mut self.nodes[to];
                let now = node.local(self.now);
                let Some(group) = node.group.as_mut().filter(|_| node.paused.is_none()) else {
                    return Ok(());
                };
                group.handle_peer_reappeared(now);
                self.drain(to)
            }
            Event::SpeakerBack { node, incarnation, was_active }
                if self.nodes[node].incarnation == incarnation =>
            {
                self.speaker_back(node, was_active)
            }
            Event::ReadinessTold { node, incarnation } if self.nodes[node].incarnation == incarnation => {
                self.tell_readiness(node)
            }
            Event::GuardLooks { node, incarnation, last } if self.nodes[node].incarnation == incarnation => {
                self.guard_looks(node, last)
            }
            Event::GuardLooks { .. } => Ok(()),
            Event::ExchangesReset { .. } | Event::SpeakerBack { .. } | Event::ReadinessTold { .. } => Ok(()),
            Event::LeaseTick => self.lease_tick(),
        }
    }
}
