//! The world: a clock, a queue of events, nodes on a LAN, a client. One event at a time; the promises are checked after
//! each.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use lb_vrrp::{
    Group, MemberId, Output, State, VirtualAddress,
    advertisement::{Envelope, Expected, decode},
    config::ChecksumForm,
};

use super::{
    lan::{Lan, Link},
    node::{Input, LEASE, Node, Pause},
    promises::Promises,
    random::Random,
};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const LEASE_TICK: u64 = 250 * MILLISECOND;

/// The longest time a kernel that is not slow needs for one request.
pub(crate) const KERNEL: Duration = Duration::from_micros(400);

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
    },
    ExchangesReset {
        node: usize,
        incarnation: u64,
    },
    Resume {
        node: usize,
    },
    SpeakerBack {
        node: usize,
        incarnation: u64,
        was_active: bool,
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
    pub(crate) transitions: u64,
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
            transitions: 0,
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
                if !refused {
                    self.nodes[node].kernel.insert((member, address), self.now + LEASE);
                    self.note(|| format!("node {node}: kernel has {}", address.address));
                }
                let input =
                    if refused { Input::Failed(member, address) } else { Input::Added(member, address) };
                self.input(node, input)
            }
            Event::KernelRemove { node, incarnation: _, member, address } => {
                let had = self.nodes[node].kernel.remove(&(member, address)).is_some();
                if had {
                    self.note(|| format!("node {node}: kernel removed {}", address.address));
                }
                self.input(node, Input::Removed(member, address))
            }
            Event::ExchangesReset { node, incarnation } if self.nodes[node].incarnation == incarnation => {
                self.input(node, Input::ExchangesReset)
            }
            Event::Resume { node } => self.resume(node),
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
            Event::ExchangesReset { .. } | Event::SpeakerBack { .. } | Event::ReadinessTold { .. } => Ok(()),
            Event::LeaseTick => {
                self.lease_tick();
                self.schedule(LEASE_TICK, Event::LeaseTick);
                let stolen: Vec<_> = (0..self.nodes.len()).collect();
                for index in stolen {
                    self.report_expired(index)?;
                }
                Ok(())
            }
        }
    }

    /// The driver refreshes what it wants; the kernel drops what nobody refreshed.
    fn lease_tick(&mut self) {
        let now = self.now;
        for node in &mut self.nodes {
            if node.is_awake() {
                for held in &node.wanted {
                    if let Some(end) = node.kernel.get_mut(held) {
                        *end = now + LEASE;
                    }
                }
            }
            if node.paused == Some(Pause::Machine) {
                // Its jiffies stand still as well.
                node.kernel.values_mut().for_each(|end| *end += LEASE_TICK);
            }
        }
    }

    fn report_expired(&mut self, index: usize) -> Result<(), Broken> {
        let now = self.now;
        let node = &mut self.nodes[index];
        let expired: Vec<_> =
            node.kernel.iter().filter(|(_, end)| **end <= now).map(|(held, _)| *held).collect();
        for (member, address) in expired {
            self.nodes[index].kernel.remove(&(member, address));
            self.note(|| format!("node {index}: the lease of {} is over", address.address));
            if self.nodes[index].group.is_some() && self.nodes[index].wanted.contains(&(member, address)) {
                self.input(index, Input::Stolen(member, address))?;
            }
        }
        Ok(())
    }

    /// Somebody removes an address behind the node's back.
    pub(crate) fn steal(&mut self, index: usize) -> Result<(), Broken> {
        let Some((&(member, address), _)) = self.nodes[index].kernel.iter().next() else { return Ok(()) };
        self.nodes[index].kernel.remove(&(member, address));
        self.note(|| format!("node {index}: somebody removes {}", address.address));
        if self.nodes[index].wanted.contains(&(member, address)) {
            self.input(index, Input::Stolen(member, address))?;
        }
        Ok(())
    }

    /// Hands an input to the machine, or keeps it until the process runs again.
    pub(crate) fn input(&mut self, index: usize, input: Input) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        if node.group.is_none() {
            return Ok(());
        }
        if node.paused.is_some() {
            if let Input::Stolen(member, address) = input {
                node.unaware.insert((member, address));
            }
            if node.inbox.len() < 200 || !matches!(input, Input::Packet { .. }) {
                node.inbox.push(input);
            }
            return Ok(());
        }
        let now = node.local(self.now);
        let Some(group) = &mut node.group else { return Ok(()) };
        let was = group.state();
        match input {
            Input::Packet { source, bytes } => {
                let expected: Vec<_> = node
                    .config
                    .members
                    .iter()
                    .map(|member| Expected {
                        vrid: member.vrid,
                        version: member.version,
                        interval: member.interval,
                    })
                    .collect();
                let envelope = Envelope { source, destination: GROUP, ttl: 255 };
                let decoded = match decode(&bytes, &envelope, &expected) {
                    Ok(decoded) => decoded,
                    Err(error) => {
                        return self.broken(format!("node {index} can't decode what a node sent: {error}"));
                    }
                };
                group.handle_advertisement(now, MemberId(decoded.router), source, &decoded.advertisement);
                let priority = decoded.advertisement.priority;
                self.note(|| format!("node {index}: hears {priority} from {source}"));
                let from = self.nodes.iter().position(|node| node.source == source);
                if let Some(from) = from.filter(|_| was == State::Active && priority > 0) {
                    self.promises.heard_while_active(self.now, from, index, &self.nodes, &self.lan);
                }
            }
            Input::Stolen(member, address) => {
                node.unaware.remove(&(member, address));
                group.handle_address_stolen(now, member, address);
            }
            Input::Added(member, address) => group.handle_address_added(now, member, address),
            Input::Failed(member, address) => group.handle_address_failed(now, member, address, "refused"),
            Input::Removed(member, address) => group.handle_address_removed(now, member, address),
            Input::ExchangesReset => group.handle_exchanges_reset(now),
        }
        self.drain(index)
    }

    pub(crate) fn wake(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        node.wake_at = None;
        let now = node.local(self.now);
        if let Some(group) = &mut node.group {
            group.handle_timeout(now);
        }
        self.drain(index)
    }

    /// A call of `handle_timeout` before the deadline must do nothing.
    pub(crate) fn wake_early(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        let now = node.local(self.now);
        let Some(group) = node.group.as_mut().filter(|_| node.paused.is_none()) else { return Ok(()) };
        if group.poll_timeout().is_some_and(|(at, _)| at <= now) {
            return Ok(());
        }
        group.handle_timeout(now);
        match group.poll_output() {
            Some(output) => self.broken(format!("node {index} acts before its deadline: {output:?}")),
            None => Ok(()),
        }
    }

    /// Does what the machine wants, then sees what readiness and the next deadline are.
    pub(crate) fn drain(&mut self, index: usize) -> Result<(), Broken> {
        let before = self.transitions;
        while let Some(output) = self.nodes[index].group.as_mut().and_then(Group::poll_output) {
            self.act(index, output)?;
        }
        let node = &mut self.nodes[index];
        let now = self.now;
        if self.transitions != before {
            // What was good or bad news for one state is the other for the next.
            return self.tell_readiness(index);
        }
        let Some(group) = &node.group else { return Ok(()) };
        if let Some((at, _)) = group.poll_timeout() {
            // The scheduler is a little late, now and then more.
            let late = if self.random.per_mille(5) { 2 * MILLISECOND } else { 100_000 };
            let at = node.world(at).max(now) + self.random.range(0, late);
            node.wake_at = Some(at);
        } else {
            node.wake_at = None;
        }
        Ok(())
    }

    fn act(&mut self, index: usize, output: Output) -> Result<(), Broken> {
        self.promises.before_output(self.now, index, &self.nodes[index], &output)?;
        match output {
            Output::Transmit { member: _, advertisement } => {
                let node = &mut self.nodes[index];
                node.last_sent = Some(node.local(self.now));
                let source = node.source;
                let form =
                    if self.random.per_mille(500) { ChecksumForm::Rfc9568 } else { ChecksumForm::Rfc5798 };
                let bytes = advertisement.encode(form, source, GROUP);
                self.note(|| format!("node {index}: advertises {}", advertisement.priority));
                for to in 0..self.nodes.len() {
                    if to == index || !self.nodes[index].link_up || !self.nodes[to].link_up {
                        continue;
                    }
                    for delay in self.lan.deliveries(&mut self.random, index, to) {
                        let event = Event::Packet { to, source, bytes: bytes.clone() };
                        self.schedule(delay.as_nanos() as u64, event);
                    }
                }
            }
            Output::AddAddress { member, address } => {
                let refused = self.nodes[index].kernel_refuses;
                if !refused {
                    self.nodes[index].wanted.insert((member, address));
                }
                let incarnation = self.nodes[index].incarnation;
                self.note(|| format!("node {index}: adds {}", address.address));
                self.ask_kernel(
                    index,
                    Event::KernelAdd { node: index, incarnation, member, address, refused },
                );
            }
            Output::RemoveAddress { member, address } => {
                self.nodes[index].resigning = true;
                self.nodes[index].wanted.remove(&(member, address));
                self.nodes[index].must_drop.remove(&(member, address));
                let incarnation = self.nodes[index].incarnation;
                self.note(|| format!("node {index}: removes {}", address.address));
                self.ask_kernel(index, Event::KernelRemove { node: index, incarnation, member, address });
            }
            Output::Announce { member: _, address } => {
                self.note(|| format!("node {index}: announces {}", address.address));
                let client = self.client_station();
                if self.nodes[index].link_up {
                    for delay in self.lan.deliveries(&mut self.random, index, client) {
                        let event = Event::Arp { from: index, address: address.address, sent: self.now };
                        self.schedule(delay.as_nanos() as u64, event);
                    }
                }
            }
            Output::ResetExchanges => {
                self.nodes[index].resigning = true;
                let incarnation = self.nodes[index].incarnation;
                // Sometimes the daemon never answers.
                if !self.random.per_mille(100) {
                    let after = self.random.range(100_000, 8 * MILLISECOND);
                    self.schedule(after, Event::ExchangesReset { node: index, incarnation });
                }
            }
            Output::Transition(transition) => {
                self.nodes[index].resigning = false;
                self.transitions += 1;
                self.note(|| {
                    format!("node {index}: {} -> {}: {}", transition.from, transition.to, transition.reason)
                });
            }
            Output::Warning { key, text } => self.note(|| format!("node {index}: warning {key}: {text}")),
        }
        Ok(())
    }

    /// A kernel does one thing after the other.
    fn ask_kernel(&mut self, index: usize, event: Event) {
        let node = &mut self.nodes[index];
        let longest = if node.kernel_slow { Duration::from_millis(40) } else { KERNEL };
        let takes = self.random.between(Duration::from_micros(50), longest).as_nanos() as u64;
        let done = node.kernel_busy_until.max(self.now) + takes;
        node.kernel_busy_until = done;
        self.schedule(done - self.now, event);
    }

    /// The daemon tells the speaker how ready the node is.
    pub(crate) fn tell_readiness(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        let (readiness, next) = node.tracker.readiness(self.now, node.state());
        node.tracker_next = next;
        if node.paused.is_some() {
            return Ok(());
        }
        let now = node.local(self.now);
        let Some(group) = &mut node.group else { return Ok(()) };
        group.handle_readiness(now, readiness.clone());
        self.note(|| format!("node {index}: readiness {readiness:?}"));
        self.drain(index)
    }

    pub(crate) fn set_link(&mut self, index: usize, up: bool) -> Result<(), Broken> {
        self.note(|| format!("node {index}: link {}", if up { "up" } else { "down" }));
        let node = &mut self.nodes[index];
        node.link_up = up;
        let now = node.local(self.now);
        let Some(group) = node.group.as_mut().filter(|_| node.paused.is_none()) else { return Ok(()) };
        for member in 0..node.config.members.len() {
            let link = if up { Ok(()) } else { Err("link of eth0 is down".to_owned()) };
            group.handle_link(now, MemberId(member), link);
        }
        self.drain(index)
    }
}
