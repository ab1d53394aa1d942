//! One fault, in a pair that is well: for how long the client reaches nobody. The bound of each fault is computed from the
//! interval; over IPv4 and IPv6, by multicast and unicast, with either node Active, at a moment that the seed draws.

use lb_vrrp::{GroupConfig, Preempt};

use super::{
    kernel::LEASE_TICK,
    lan::Link,
    moves::{lose, pair_with, settled},
    node::{LEASE, Pause},
    over_ipv6, speak_unicast,
    tracker::HOLD,
    world::{Broken, MILLISECOND, SECOND, World},
};

const RUNS: u64 = 24;

/// Kernels, links, late schedulers, the exchanges that are reset, and a step of the measurement.
const SLACK: u64 = 15 * MILLISECOND;

/// The longest time that the start of a speaker takes here.
const SPEAKER_START: u64 = 40 * MILLISECOND;

/// What a client does in a simulation it does in steps of this.
const STEP: u64 = MILLISECOND;

/// How nodes speak.
#[derive(Clone, Copy, Debug)]
enum Speech {
    Ipv4,
    Ipv6,
    Unicast,
}

/// What happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    DaemonKilled,
    SpeakerKilled,
    BothKilled,
    MachinePaused,
    SpeakerPaused,
    Faulty,
    Leaving,
    ServersLost,
    CableOfActive,
    CableOfBackup,
    ActiveUnheard,
    BackupUnheard,
    Parted,
    Stolen,
    BackupKilled,
}

const FAULTS: [Fault; 15] = [
    Fault::DaemonKilled,
    Fault::SpeakerKilled,
    Fault::BothKilled,
    Fault::MachinePaused,
    Fault::SpeakerPaused,
    Fault::Faulty,
    Fault::Leaving,
    Fault::ServersLost,
    Fault::CableOfActive,
    Fault::CableOfBackup,
    Fault::ActiveUnheard,
    Fault::BackupUnheard,
    Fault::Parted,
    Fault::Stolen,
    Fault::BackupKilled,
];

impl Fault {
    fn happens(self, world: &mut World, active: usize) -> Result<(), Broken> {
        let backup = 1 - active;
        match self {
            // What the speaker does when the daemon dies.
            Self::DaemonKilled => return world.stop(active),
            Self::SpeakerKilled => world.kill_speaker(active),
            Self::BothKilled => world.kill(active),
            Self::MachinePaused => world.pause(active, Pause::Machine, 60 * SECOND),
            Self::SpeakerPaused => world.pause(active, Pause::Speaker, 60 * SECOND),
            Self::Faulty => {
                world.nodes[active].tracker.fault = true;
                return world.tell_readiness(active);
            }
            Self::Leaving => {
                world.nodes[active].tracker.leaving = true;
                return world.tell_readiness(active);
            }
            Self::ServersLost => return lose(world, active, 1),
            Self::CableOfActive => return world.set_link(active, false),
            Self::CableOfBackup => return world.set_link(backup, false),
            Self::ActiveUnheard => world.lan.set(active, backup, Link::CUT),
            Self::BackupUnheard => world.lan.set(backup, active, Link::CUT),
            Self::Parted => world.lan.set_both(active, backup, Link::CUT),
            Self::Stolen => return world.steal(active),
            Self::BackupKilled => world.kill(backup),
        }
        Ok(())
    }

    /// Whether the Active serves nobody from then on, whatever its kernel still answers.
    fn silences(self) -> bool {
        matches!(self, Self::BothKilled | Self::MachinePaused | Self::CableOfActive)
    }

    /// Whether both nodes may have the address for a while.
    fn may_have_two_owners(self) -> bool {
        let is_cut = matches!(self, Self::ActiveUnheard | Self::BackupUnheard | Self::Parted);
        self.silences() || is_cut
    }

    /// The longest time for which the client may reach nobody.
    fn bound(self, interval: u64) -> u64 {
        // The longest one of the pair is that of priority 253.
        let skew = interval * 3 / 256;
        match self {
            Self::BothKilled | Self::MachinePaused | Self::CableOfActive => 3 * interval + skew + SLACK,
            Self::DaemonKilled | Self::Faulty => skew + SLACK,
            // The other one claims first, and waits for the last word.
            Self::Leaving | Self::ServersLost => SLACK,
            Self::Stolen => SLACK,
            // Its daemon takes the addresses away after 2.5 intervals, or their lease ends before. Nobody kills it here, so the
            // other one waits for three.
            Self::SpeakerPaused => 3 * interval + skew + SLACK - (interval * 5 / 2).min(LEASE - LEASE_TICK),
            // The start of another one may take longer than 2.5 intervals; it resigns then. Else nothing moves.
            Self::SpeakerKilled if interval < SPEAKER_START => interval / 2 + skew + SLACK,
            Self::SpeakerKilled
            | Self::CableOfBackup
            | Self::ActiveUnheard
            | Self::BackupUnheard
            | Self::Parted
            | Self::BackupKilled => 0,
        }
    }
}

/// Whether what the client sends arrives at a node that serves.
fn is_reached(world: &World, dead: Option<usize>) -> bool {
    let Some(at) = world.client else { return false };
    let node = &world.nodes[at];
    let has = node.kernel.keys().any(|(_, address)| address.address == world.first_address);
    has && node.link_up && dead != Some(at)
}

/// The longest stretch in which nobody was reached.
fn longest_gap(world: &mut World, fault: Fault, active: usize, watched: u64) -> Result<u64, Broken> {
    fault.happens(world, active)?;
    let dead = fault.silences().then_some(active);
    let end = world.now + watched;
    let (mut gap, mut longest) = (0, 0);
    while world.now < end {
        if is_reached(world, dead) {
            gap = 0;
        } else {
            gap += STEP;
            longest = longest.max(gap);
        }
        world.run(STEP)?;
    }
    if gap > 0 {
        return world.broken(format!("{fault:?}: the client reaches nobody any more"));
    }
    Ok(longest)
}

#[test]
fn client_reaches_somebody_within_the_bound_of_every_single_fault() {
    for fault in FAULTS {
        for seed in 0..RUNS {
            let active = usize::from(seed % 2 == 1);
            let interval = [10, 100, 1000][usize::try_from(seed / 2 % 3).unwrap()];
            let speech =
                [Speech::Ipv4, Speech::Ipv6, Speech::Unicast][usize::try_from(seed / 6 % 3).unwrap()];
            let change = |index: usize, config: &mut GroupConfig| {
                for member in &mut config.members {
                    member.interval = lb_vrrp::AdvertisementInterval::new(
                        member.version,
                        std::time::Duration::from_millis(interval),
                    )
                    .unwrap();
                }
                match speech {
                    Speech::Ipv4 => {}
                    Speech::Ipv6 => config.members = config.members.iter().map(over_ipv6).collect(),
                    Speech::Unicast => speak_unicast(config, index, 2),
                }
            };
            let mut world = pair_with(seed, Preempt::Degraded, active, change);
            // A Backup that has just started waits a little.
            settled(&mut world, |world| world.run(6 * SECOND));
            assert!(is_reached(&world, None), "{fault:?}, seed {seed}: the pair is not well");
            world.promises.strict = !fault.may_have_two_owners();
            let own = interval * MILLISECOND;
            let watched =
                4 * own + 2 * SECOND + if fault == Fault::ServersLost { HOLD.as_nanos() as u64 } else { 0 };
            let mut gap = 0;
            settled(&mut world, |world| {
                gap = longest_gap(world, fault, active, watched)?;
                Ok(())
            });
            let bound = fault.bound(own);
            assert!(
                gap <= bound,
                "{fault:?}, {speech:?}, every {interval} ms, seed {seed}: nobody was reached for {} ms, at most {} ms are due\n{}",
                gap / MILLISECOND,
                bound / MILLISECOND,
                world.timeline().join("\n")
            );
        }
    }
}
