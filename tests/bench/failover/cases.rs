//! The ways to fail.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::files::System;

/// A way to fail.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// An orderly stop of the holder
    Stop,
    /// kill -9 of the daemon; of HAProxy and both processes of Keepalived
    Kill,
    /// kill -9 of the speaker; of Keepalived's VRRP process
    Speaker,
    /// kill -9 of daemon and speaker at once
    Both,
    /// SIGSTOP of the daemon; of HAProxy
    Freeze,
    /// SIGSTOP of the speaker; of Keepalived
    FreezeSpeaker,
    /// One of two workers stands still
    Worker,
    /// All workers stand still
    Workers,
    /// A tracker that is a fault; kill -9 of HAProxy, which a check script finds
    Fault,
    /// A tracker that is a degradation, without a hold
    Degraded,
    /// The holder's cable is pulled
    Cable,
    /// The holder alone loses its servers
    Servers,
    /// Both nodes lose their servers
    ServersBoth,
    /// The holder is cut off while its carrier stays, and comes back
    Heal,
    /// An address more on the holder alone, by a reload
    Added,
    /// Somebody deletes the address from the holder
    Deleted,
}

impl Case {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Stop,
        Self::Kill,
        Self::Speaker,
        Self::Both,
        Self::Freeze,
        Self::FreezeSpeaker,
        Self::Worker,
        Self::Workers,
        Self::Fault,
        Self::Degraded,
        Self::Cable,
        Self::Servers,
        Self::ServersBoth,
        Self::Heal,
        Self::Added,
        Self::Deleted,
    ];

    /// Is there such a thing in this pair?
    pub(crate) fn is_for(self, pair: System) -> bool {
        match self {
            // For HAProxy and Keepalived `both` is what `kill` is.
            Self::Both
            | Self::Worker
            | Self::Workers
            | Self::Degraded
            | Self::Servers
            | Self::ServersBoth => pair == System::Lbctl,
            Self::Stop
            | Self::Kill
            | Self::Speaker
            | Self::Freeze
            | Self::FreezeSpeaker
            | Self::Fault
            | Self::Cable
            | Self::Heal
            | Self::Added
            | Self::Deleted => true,
        }
    }

    /// Is it to be measured at this one of the intervals? What the interval has no part in is measured at one.
    pub(crate) fn depends_on(self, interval: u32, intervals: &[u32]) -> bool {
        match self {
            Self::Stop
            | Self::Kill
            | Self::Speaker
            | Self::Both
            | Self::FreezeSpeaker
            | Self::Fault
            | Self::Degraded
            | Self::Cable
            | Self::Heal => true,
            Self::Freeze
            | Self::Worker
            | Self::Workers
            | Self::Servers
            | Self::ServersBoth
            | Self::Added
            | Self::Deleted => {
                let one = if intervals.contains(&100) { 100 } else { intervals[0] };
                interval == one
            }
        }
    }

    /// As the table has it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Stop => "orderly stop",
            Self::Kill => "kill -9 of the daemon (of all processes)",
            Self::Speaker => "kill -9 of the speaker (of the VRRP process)",
            Self::Both => "kill -9 of daemon and speaker",
            Self::Freeze => "the daemon (HAProxy) is frozen",
            Self::FreezeSpeaker => "the speaker (Keepalived) is frozen",
            Self::Worker => "one worker of two stands still",
            Self::Workers => "all workers stand still",
            Self::Fault => "a fault is declared (HAProxy killed, found by a script)",
            Self::Degraded => "a degradation, after its hold",
            Self::Cable => "cable pulled",
            Self::Servers => "one node loses its servers",
            Self::ServersBoth => "both nodes lose their servers",
            Self::Heal => "heal after a cut",
            Self::Added => "an address more on one node",
            Self::Deleted => "the address deleted by somebody",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}
