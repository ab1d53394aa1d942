//! What came of a switchover, as far as the other nodes say.

use std::time::Duration;

use lb_vrrp::State;

use crate::{
    control::{Moved, Ready},
    daemon::{Daemon, clock, group::Group},
};

impl Daemon {
    /// Who says by now that it has what this node gave away, and has announced it.
    pub(super) fn moved(&self, held: &[String]) -> Vec<Moved> {
        let session = self.neighbours.as_ref().map(|neighbours| neighbours.session());
        let moved = |group: &String| {
            let mut moved = Moved { group: group.clone(), to: None, gap_us: None };
            let known = self.groups.iter().find(|one| one.config.name == *group);
            let Some((_, status)) = known.and_then(|known| known.status.as_ref()) else { return moved };
            let left = status.transitions.iter().rfind(|one| one.from == State::Active);
            let Some(left) = left else { return moved };
            for peer in session.iter().flat_map(|session| session.peers()) {
                let Some((at, _)) = peer.last.as_ref().filter(|_| peer.claims(group, left.detected)) else {
                    continue;
                };
                let announced = peer.group(group).and_then(|hello| hello.announced_us);
                let Some(ago) = announced.map(Duration::from_micros) else { continue };
                moved.to = Some(peer.name.clone());
                // Its moment, on the clock of this node.
                let since_removed = left.moments.removed.map(|removed| at.saturating_since(removed));
                let gap = since_removed.map(|since| since.saturating_sub(ago).as_micros());
                moved.gap_us = gap.and_then(|gap| u64::try_from(gap).ok());
            }
            moved
        };
        held.iter().map(moved).collect()
    }

    /// Has a node announced this group that will not give it straight back?
    pub(super) fn is_there(&self, moved: &Moved) -> bool {
        let (ready, _) = self.ready_peers(&moved.group);
        moved.to.as_ref().is_some_and(|to| ready.iter().any(|heir| heir.name == *to))
    }

    /// Do the other nodes know that this one is not about to leave any more? Else they would refuse to give anything back.
    pub(super) fn has_said_so(&self, held: &[String]) -> bool {
        let Some(neighbours) = &self.neighbours else { return true };
        let mut groups = self.groups.iter().filter(|group| held.contains(&group.config.name));
        let now = clock::now();
        let is_leaving =
            |group: &Group| matches!(group.local(now, self.started.moment).ready, Ready::Leaving { .. });
        !groups.any(is_leaving) && neighbours.session().has_said(&self.local())
    }
}
