//! A node's kernel: it adds and removes addresses in its own time, ends leases that nobody refreshes, and lets others
//! take addresses away.

use std::time::Duration;

use lb_vrrp::{MemberId, VirtualAddress};

use super::{
    node::{Input, LEASE, Pause},
    world::{Broken, Event, MILLISECOND, World},
};

/// How often a driver refreshes its leases.
pub(crate) const LEASE_TICK: u64 = 250 * MILLISECOND;

/// The longest time a kernel that is not slow needs for one request.
pub(crate) const KERNEL: Duration = Duration::from_micros(400);

impl World {
    /// A kernel does one thing after the other.
    pub(crate) fn ask_kernel(&mut self, index: usize, event: Event) {
        let node = &mut self.nodes[index];
        let longest = if node.kernel_slow { Duration::from_millis(40) } else { KERNEL };
        let takes = self.random.between(Duration::from_micros(50), longest).as_nanos() as u64;
        let done = node.kernel_busy_until.max(self.now) + takes;
        node.kernel_busy_until = done;
        self.schedule(done - self.now, event);
    }

    pub(crate) fn kernel_adds(
        &mut self,
        node: usize,
        member: MemberId,
        address: VirtualAddress,
        refused: bool,
    ) -> Result<(), Broken> {
        if refused {
            return self.input(node, Input::Failed(member, address));
        }
        self.nodes[node].kernel.insert((member, address), self.now + LEASE);
        self.note(|| format!("node {node}: kernel has {}", address.address));
        self.input(node, Input::Added(member, address))
    }

    pub(crate) fn kernel_removes(
        &mut self,
        node: usize,
        member: MemberId,
        address: VirtualAddress,
        asked: u64,
    ) -> Result<(), Broken> {
        if self.nodes[node].kernel.remove(&(member, address)).is_some() {
            self.note(|| format!("node {node}: kernel removed {}", address.address));
        }
        self.input(node, Input::Removed(member, address, asked))
    }

    /// All leases, now and again after a while.
    pub(crate) fn lease_tick(&mut self) -> Result<(), Broken> {
        self.refresh_leases();
        self.schedule(LEASE_TICK, Event::LeaseTick);
        (0..self.nodes.len()).try_for_each(|index| self.end_leases(index))
    }

    /// The driver refreshes what it wants; the kernel drops what nobody refreshed.
    fn refresh_leases(&mut self) {
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

    fn end_leases(&mut self, index: usize) -> Result<(), Broken> {
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
}
