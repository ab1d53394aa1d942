//! What has to hold after every event.

use std::collections::BTreeMap;

use lb_vrrp::{Output, State};

use super::{
    kernel::KERNEL,
    lan::{Lan, Link},
    node::{Node, Pause},
    world::{Broken, MILLISECOND, World},
};

/// After its owner is settled, a client points to it within this: the spacing of announcements and some delay.
const CLIENT_BOUND: u64 = 1_050 * MILLISECOND;

/// An Active has its addresses after this: the wait for a peer's last word, and the kernel.
const CLAIM_BOUND: u64 = 300 * MILLISECOND;

/// Late schedulers, and clocks that differ by 0.1 %.
const LATE: u64 = 10 * MILLISECOND;

#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// Two Actives, one of which heard the other: until when one of them has to be gone.
    dual: BTreeMap<(usize, usize), u64>,
    /// The only node with the first address, since when, in an undisturbed network.
    owner: Option<(usize, u64)>,
    /// Who had the first address after the last event.
    holders: Vec<usize>,
    /// Addresses on two nodes at once are broken promises: set where no disturbance excuses them.
    pub(crate) strict: bool,
    /// Silence that is granted to a Backup beyond that of its interval: a forger may have bought it.
    pub(crate) patience: u64,
    nodes: usize,
}

impl Promises {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// Something happened to this node or its links that no protocol can see.
    pub(crate) fn forget(&mut self, index: usize) {
        self.dual.retain(|(one, other), _| *one != index && *other != index);
        self.owner = None;
    }

    pub(crate) fn forget_all(&mut self) {
        self.dual.clear();
        self.owner = None;
    }

    /// V-50, sharpened: from the first advertisement that one of two Actives hears of the other, one link delay (of the
    /// answer) and the processing on both sides.
    pub(crate) fn heard_while_active(&mut self, now: u64, from: usize, to: usize, nodes: &[Node], lan: &Lan) {
        let busy = |node: &Node| node.kernel_slow || node.kernel_busy_until > now + 2 * MILLISECOND;
        if !nodes[from].is_active()
            || !nodes[from].is_awake()
            || !lan.is_clean(from, to)
            || nodes.iter().any(busy)
        {
            return;
        }
        let members = nodes[0].config.members.len() as u32;
        let reset = 5 * MILLISECOND;
        let scheduling = 2 * 2 * MILLISECOND;
        let bound = (Link::CLEAN.delay.1 + 4 * members * KERNEL).as_nanos() as u64 + reset + scheduling;
        self.dual.entry((from.min(to), from.max(to))).or_insert(now + bound);
    }

    /// A node goes on after a pause: if it was too long, addresses come first.
    pub(crate) fn resumed(&mut self, now: u64, node: &mut Node) {
        let local = node.local(now);
        let Some(sent) = node.last_sent.filter(|_| node.is_active() && node.paused != Some(Pause::Machine))
        else {
            return;
        };
        if 2 * local.saturating_since(sent) > 5 * node.interval() {
            node.must_drop = node.wanted.clone();
        }
    }

    /// Looks at one output before it is done.
    pub(crate) fn before_output(
        &mut self,
        now: u64,
        index: usize,
        node: &Node,
        output: &Output,
    ) -> Result<(), Broken> {
        let broken = |text: String| Err(Broken { at: now, text });
        let waits = node.must_drop.iter().any(|held| node.wanted.contains(held));
        match output {
            Output::Transmit { .. } | Output::AddAddress { .. } | Output::Announce { .. } if waits => {
                return broken(format!("node {index} was paused for too long, and does {output:?} first"));
            }
            Output::Announce { member, address } => {
                let held = (*member, *address);
                let has = node.kernel.contains_key(&held) || node.unaware.contains(&held);
                if !has || node.state() != State::Active {
                    return broken(format!("node {index} announces {} without having it", address.address));
                }
            }
            Output::Transmit { advertisement, .. }
                if advertisement.priority == 0 && !node.wanted.is_empty() =>
            {
                return broken(format!("node {index} resigns with its addresses in place"));
            }
            Output::Transition(transition)
                if transition.to == State::Active
                    && node.tracker.yields
                    && transition.reason.contains("has the lower priority") =>
            {
                return broken(format!(
                    "node {index} gave the address away, and takes it back: {}",
                    transition.reason
                ));
            }
            Output::Transmit { .. }
            | Output::AddAddress { .. }
            | Output::RemoveAddress { .. }
            | Output::ResetExchanges
            | Output::Transition(_)
            | Output::Remark { .. }
            | Output::Warning { .. } => {}
        }
        Ok(())
    }

    pub(crate) fn check(&mut self, world: &mut World) -> Result<(), Broken> {
        let now = world.now;
        for index in 0..self.nodes {
            let node = &mut world.nodes[index];
            node.active_since = node.is_active().then(|| node.active_since.unwrap_or(now));
        }
        self.check_dual(world)?;
        self.check_silence(world)?;
        self.check_addresses(world)?;
        self.check_client(world)
    }

    fn check_dual(&mut self, world: &World) -> Result<(), Broken> {
        let both = |one: usize, other: usize| world.nodes[one].is_active() && world.nodes[other].is_active();
        self.dual.retain(|(one, other), _| both(*one, *other));
        for (&(one, other), &limit) in &self.dual {
            if world.now > limit {
                return world.broken(format!("nodes {one} and {other} hear each other and stay Active"));
            }
        }
        Ok(())
    }

    /// A Backup that hears nobody claims after Active_Down_Interval, and one more interval if it woke up late. What began
    /// its silence is the last advertisement, its start, its link, or the end of a pause.
    fn check_silence(&self, world: &World) -> Result<(), Broken> {
        let silent = |node: &Node| {
            let listens = node.is_awake() && node.link_up && node.state() == State::Backup;
            let limit = node.down() + node.interval().as_nanos() as u64 + LATE + self.patience;
            listens && world.now - node.unheard_since > limit
        };
        match world.nodes.iter().position(silent) {
            Some(index) => world.broken(format!("node {index} hears nobody and does not claim")),
            None => Ok(()),
        }
    }

    fn check_addresses(&self, world: &World) -> Result<(), Broken> {
        for (index, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.is_awake()) {
            if !node.is_active() && !node.kernel.is_empty() {
                return world.broken(format!("node {index} is {} and has addresses", node.state()));
            }
            let settled = node.active_since.is_some_and(|since| world.now - since > CLAIM_BOUND);
            let complete = node.config.members.iter().map(|member| member.addresses.len()).sum::<usize>();
            if settled && !node.resigning && !node.kernel_slow && node.link_up && node.wanted.len() < complete
            {
                return world.broken(format!("node {index} is Active without its addresses"));
            }
        }
        if self.strict {
            let holders: Vec<_> =
                (0..self.nodes).filter(|index| !world.nodes[*index].kernel.is_empty()).collect();
            if holders.len() > 1 {
                return world.broken(format!("addresses on nodes {holders:?} at once"));
            }
        }
        Ok(())
    }

    /// 3.4: no black hole. Once a node becomes the only one with the address, and nothing disturbs it, the client points
    /// to it.
    ///
    /// It counts from the moment when the holders change, in a clean network. What happens behind a cut is known to
    /// nobody: a node that dies there takes its clients along until they ask again.
    fn check_client(&mut self, world: &World) -> Result<(), Broken> {
        let holds = |index: &usize| {
            let mut held = world.nodes[*index].kernel.keys();
            held.any(|(_, address)| address.address == world.first_address)
        };
        let holders: Vec<_> = (0..self.nodes).filter(holds).collect();
        let changed = holders != self.holders;
        let silent = world.nodes.iter().any(|node| !node.is_awake());
        let disturbed =
            !world.lan.all_clean() || world.nodes.iter().any(|node| !node.link_up || node.kernel_slow);
        match (holders.as_slice(), self.owner) {
            _ if disturbed => self.owner = None,
            ([only], _) if changed => self.owner = (!silent).then_some((*only, world.now)),
            ([_], Some((owner, since))) => {
                let points = world.client == Some(owner) || world.client.is_none();
                if world.now - since > CLIENT_BOUND && !points {
                    return world
                        .broken(format!("the client sends to {:?}, the owner is {owner}", world.client));
                }
            }
            ([_], None) => {}
            ([] | [_, _, ..], _) => self.owner = None,
        }
        self.holders = holders;
        Ok(())
    }
}
