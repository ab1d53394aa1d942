//! Levels: what a priority on the wire says of its sender.
//!
//! | 18-254 | 2-17 | 1 | 0 |
//! |---|---|---|---|
//! | ready | n degradations: 2 x (9 - min(n, 8)), + 1 for the first node of the file | leaving | gone |
//!
//! Within a level the priority decides between two Actives only; between levels a better Backup takes over.

use crate::{GroupConfig, PeerKind, Readiness};

/// More degradations than this say no more.
const MOST_DEGRADATIONS: u8 = 8;

/// How good a holder of the address its sender is: 0 leaving, 1..=8 degraded, 9 ready.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Level(u8);

impl Level {
    /// Anyone better should take over.
    pub const LEAVING: Self = Self(0);
    /// Nothing is wrong with it.
    pub const READY: Self = Self(9);

    /// The level that a priority says; `None` for 0, whose sender is gone. A foreign peer knows priorities only, so all
    /// of its are those of a ready node.
    pub const fn of(priority: u8, peer: PeerKind) -> Option<Self> {
        match (priority, peer) {
            (0, _) => None,
            (_, PeerKind::Keepalived) | (18.., PeerKind::Lbctl) => Some(Self::READY),
            (1, PeerKind::Lbctl) => Some(Self::LEAVING),
            (2..=17, PeerKind::Lbctl) => Some(Self(priority / 2)),
        }
    }

    /// Our own level; `None` in a fault.
    pub fn of_readiness(readiness: &Readiness) -> Option<Self> {
        match readiness {
            Readiness::Ready => Some(Self::READY),
            Readiness::Degraded { reasons } => Some(Self(9 - degradations(reasons))),
            Readiness::Starting { .. } => Some(Self(9 - MOST_DEGRADATIONS)),
            Readiness::Leaving { .. } => Some(Self::LEAVING),
            Readiness::Fault { .. } => None,
        }
    }
}

/// The priority that a node of this readiness advertises; 0 in a fault.
pub(super) fn wire_priority(config: &GroupConfig, readiness: &Readiness) -> u8 {
    match readiness {
        Readiness::Ready => config.priority.get(),
        Readiness::Degraded { reasons } => 2 * (9 - degradations(reasons)) + u8::from(config.first),
        Readiness::Starting { .. } => 2 * (9 - MOST_DEGRADATIONS) + u8::from(config.first),
        Readiness::Leaving { .. } => 1,
        Readiness::Fault { .. } => 0,
    }
}

/// The n of the level, 1..=8. A degradation without a reason is still one.
fn degradations(reasons: &[String]) -> u8 {
    u8::try_from(reasons.len()).unwrap_or(u8::MAX).clamp(1, MOST_DEGRADATIONS)
}
