//! Another configuration while the group takes part in elections. Nothing of its state is touched that the configuration
//! does not change.
//!
//! What makes a virtual router what it is stays: two nodes that disagree about that are two owners. The rest may differ
//! for as long as one node has the new file and the other one the old: priorities, because each node says its own; the
//! interval of VRRPv3, because a Backup adopts it within bounds; addresses, because a list that differs is never a reason
//! to drop an advertisement.

use super::{
    Group,
    member::{LONGEST_ADOPTED, Member},
    state::{Active, AdverTimer, Machine},
};
use crate::{
    Authentication, GroupConfig, MemberConfig, MemberId, Moment, Output, Step, Version, VirtualAddress,
};

/// A group can't take over another configuration while it runs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CantReconfigure {
    /// What makes the virtual router would be another.
    #[error(
        "{what} of vip {vip} can't change while it runs: the two nodes would own the address at the same time while their files differ"
    )]
    Identity {
        /// Its vip.
        vip: String,
        /// `vrid`, `version`, `interface`, `transport`, `password`
        what: &'static str,
    },
    /// The peer would drop the advertisements, or wait for less than one interval.
    #[error("advertisement_interval of vip {vip} can't change {how}")]
    Interval {
        /// Its vip.
        vip: String,
        /// By how much, and what to do instead.
        how: &'static str,
    },
    /// Not the same virtual routers.
    #[error("vip {vip} can't {what} while the group runs")]
    Members {
        /// The one that is new, gone, or elsewhere in the file.
        vip: String,
        /// `come`, `go`, `change places`
        what: &'static str,
    },
    /// What one node sends the other would drop.
    #[error("{0}")]
    Authentication(&'static str),
    /// It would be understood in another way.
    #[error("the other nodes of group {group} can't be of another kind while it runs")]
    Peer {
        /// Its name.
        group: String,
    },
}

/// Can a group with the configuration `old` take over `new` while it runs?
///
/// # Errors
/// The first reason why not.
pub fn check_reconfigure(old: &GroupConfig, new: &GroupConfig) -> Result<(), CantReconfigure> {
    let same = MemberConfig::is_same_router;
    let has = |config: &GroupConfig, wanted| config.members.iter().any(|member| same(member, wanted));
    let members = |member: &MemberConfig, what| Err(CantReconfigure::Members { vip: member.name(), what });
    if let Some(member) = new.members.iter().find(|member| !has(old, member)) {
        return members(member, "come");
    }
    if let Some(member) = old.members.iter().find(|member| !has(new, member)) {
        return members(member, "go");
    }
    for (old, now) in old.members.iter().zip(&new.members) {
        if !same(old, now) {
            return members(old, "change places");
        }
        check_member(old, now)?;
    }
    check_authentication(old.authentication.as_ref(), new.authentication.as_ref())?;
    if old.peer != new.peer {
        return Err(CantReconfigure::Peer { group: old.name.clone() });
    }
    Ok(())
}

fn check_authentication(
    old: Option<&Authentication>,
    new: Option<&Authentication>,
) -> Result<(), CantReconfigure> {
    let place = |one: Option<&Authentication>| {
        one.map_or(0, |one| match one.step {
            Step::Send => 1_u8,
            Step::Accept => 2,
            Step::Require => 3,
        })
    };
    if place(old).abs_diff(place(new)) > 1 {
        return Err(CantReconfigure::Authentication(
            "sign_advertisements can't skip a step: without, \"send\", \"accept\", \"require\" is the order, on all nodes each time",
        ));
    }
    let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
    if old.secret != new.secret && old.step.max(new.step) > Step::Send {
        return Err(CantReconfigure::Authentication(
            "the secret can't change unless sign_advertisements is \"send\": the nodes would not hear each other. Go back to \"send\" on \
             all nodes, change it on all, and go forward again",
        ));
    }
    Ok(())
}

fn check_member(old: &MemberConfig, new: &MemberConfig) -> Result<(), CantReconfigure> {
    let identity = |what| Err(CantReconfigure::Identity { vip: old.name(), what });
    let interval = |how| Err(CantReconfigure::Interval { vip: old.name(), how });
    if old.vrid != new.vrid {
        return identity("vrid");
    }
    if old.version != new.version {
        return identity("version");
    }
    if old.interface != new.interface {
        return identity("interface");
    }
    if !old.transport.agrees_with(&new.transport) {
        return identity("transport");
    }
    if old.password != new.password {
        return identity("password");
    }
    let (before, after) = (old.interval.get(), new.interval.get());
    if before != after && old.version == Version::V2 {
        return interval(
            "with version 2 while it runs: a node drops advertisements with another interval than its own",
        );
    }
    if before.max(after) > LONGEST_ADOPTED * before.min(after) {
        return interval("by more than a factor of 10 at once: do it in steps, on both nodes each time");
    }
    Ok(())
}

impl Group {
    /// Another configuration of the same virtual routers ([`check_reconfigure`]). Addresses that stay are not touched, whichever of them
    /// has them on their interface;
    /// those that are new are added by an Active, those that are gone removed. Exchanges on the latter are the caller's to
    /// end.
    ///
    /// # Errors
    /// It is one that a running group can't take over; nothing has changed then.
    pub fn handle_config(&mut self, now: Moment, config: GroupConfig) -> Result<(), CantReconfigure> {
        check_reconfigure(&self.config, &config)?;
        // By the old interval: one that is shorter now makes nobody late.
        self.check_clock(now);
        let changed: Vec<_> =
            self.config.members.iter().zip(&config.members).map(|(old, new)| old != new).collect();
        for (member, new) in self.members.iter_mut().zip(&config.members) {
            member.reconfigure(new.clone());
        }
        let addresses = |config: &GroupConfig| {
            config.members.iter().flat_map(|member| member.addresses.clone()).collect::<Vec<_>>()
        };
        if addresses(&self.config) != addresses(&config) {
            self.faults.addresses_changed(|member, foreign| {
                let member = config.members.get(member.0);
                member.is_some_and(|own| own.addresses.iter().any(|one| one.address == foreign.address))
            });
        }
        self.config = config;
        self.nodes_changed();
        self.weigh_readiness(now);
        let machine = std::mem::replace(&mut self.machine, Machine::Initialize);
        self.machine = match machine {
            Machine::Active(active) => self.active_config(now, active, &changed),
            // What it asked for before goes, whatever the configuration says now.
            machine @ (Machine::Initialize | Machine::Backup(_) | Machine::Resigning(_)) => machine,
        };
        self.facts_changed(now);
        Ok(())
    }

    fn active_config(&mut self, now: Moment, mut active: Active, changed: &[bool]) -> Machine {
        active.announcements.set_refresh(self.config.garp_refresh);
        self.follow_moved(&mut active);
        let gone: Vec<_> =
            active.asked.iter().copied().filter(|&(member, address)| !self.has(member, address)).collect();
        for &(member, address) in &gone {
            if let Some(known) = self.members.get_mut(member.0) {
                known.installed.remove(&address);
            }
            self.outputs.push_back(Output::RemoveAddress { member, address });
        }
        active.asked.retain(|place| !gone.contains(place));
        active.pending.retain(|(member, address, _)| !gone.contains(&(*member, *address)));
        let on_wire = active.adver.iter_mut().zip(changed).filter(|(_, changed)| **changed);
        for timer in on_wire.filter_map(|(timer, _)| timer.as_mut()) {
            // A wait for the interval of before was no stall.
            *timer = AdverTimer { due: now, sent: now };
        }
        // Another priority is told on all of them, with the facts.
        if self.wire_priority() == active.priority {
            self.advertise_due(now, &mut active);
        }
        if active.yielding.is_none() {
            let asked = active.pending.len();
            self.add_addresses(now, &mut active);
            if active.pending.len() > asked {
                active.announcements.follow_up(now);
            }
        }
        Machine::Active(active)
    }

    /// Addresses that another virtual router of the group has now, on the same interface: they stay where they are.
    fn follow_moved(&mut self, active: &mut Active) {
        for (member, address) in &mut active.asked {
            let Some(heir) = self.heir(*member, *address) else { continue };
            let before = std::mem::replace(member, heir);
            for (pending, ..) in active.pending.iter_mut().filter(|one| (one.0, one.1) == (before, *address))
            {
                *pending = heir;
            }
            let was_there =
                self.members.get_mut(before.0).is_some_and(|known| known.installed.remove(address));
            if let Some(known) = self.members.get_mut(heir.0).filter(|_| was_there) {
                known.installed.insert(*address);
            }
        }
    }

    fn heir(&self, member: MemberId, address: VirtualAddress) -> Option<MemberId> {
        if self.has(member, address) {
            return None;
        }
        let interface = &self.members.get(member.0)?.config.interface;
        let is_heir = |other: &Member| {
            other.config.interface == *interface && other.config.addresses.contains(&address)
        };
        self.members.iter().position(is_heir).map(MemberId)
    }

    fn has(&self, member: MemberId, address: VirtualAddress) -> bool {
        self.members.get(member.0).is_some_and(|known| known.config.addresses.contains(&address))
    }
}

impl Member {
    fn reconfigure(&mut self, config: MemberConfig) {
        // One that was adopted stays until it is heard again.
        let is_own = self.active_adver_interval == self.config.interval.get();
        self.config = config;
        if is_own {
            self.forget_interval();
        }
    }
}
