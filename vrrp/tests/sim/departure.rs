//! Directed stories: whatever the Active leaves by, and whatever has just happened to the other node, that one takes over
//! in time. Each is told for forty seeds, with all moments drawn anew and with either node Active.
//!
//! A healthy Backup is never silent for longer than Active_Down_Interval after the Active left. Beside these stories,
//! `Promises::check_silence` holds every seed of the simulation to it.

use std::time::Duration;

use lb_vrrp::Preempt;

use super::{
    moves::{lose, pair, settled},
    world::{Broken, MILLISECOND, SECOND, World},
};

const RUNS: u64 = 40;

/// Active_Down_Interval of priority 253 at 100 ms, and 7 ms for schedulers, kernels and exchanges.
const IN_TIME: u64 = 309 * MILLISECOND;

/// From here `drained` says so, until the stop goes on without an answer: one interval and the margin of the daemon.
const ANSWER: u64 = 150 * MILLISECOND;

/// How the Active leaves.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Rule 8: leaving, and after an answer or one interval the end.
    Stop,
    /// The end without a word before.
    AtOnce,
    Fault,
    /// Both processes: the address stays until its lease ends.
    Killed,
}

const WAYS: [Way; 4] = [Way::Stop, Way::AtOnce, Way::Fault, Way::Killed];

/// The Active leaves; the moment from which the other node is alone.
fn leave(world: &mut World, active: usize, way: Way) -> Result<u64, Broken> {
    match way {
        Way::Stop => {
            world.nodes[active].tracker.leaving = true;
            world.tell_readiness(active)?;
            let until = world.now + ANSWER;
            while world.nodes[active].is_active() && world.now < until {
                world.run(MILLISECOND / 10)?;
            }
            world.stop(active)?;
        }
        Way::AtOnce => world.stop(active)?,
        Way::Fault => {
            world.nodes[active].tracker.fault = true;
            world.tell_readiness(active)?;
        }
        Way::Killed => world.kill(active),
    }
    Ok(world.now)
}

/// Runs until `heir` has the address, at most until `limit`.
fn heir_has_it(world: &mut World, heir: usize, limit: u64) -> Result<(), Broken> {
    while world.nodes[heir].kernel.is_empty() {
        if world.now > limit {
            return world.broken(format!("node {heir} is silent after the other one has left"));
        }
        world.run(MILLISECOND / 10)?;
    }
    // And keeps it.
    world.run(3 * SECOND)?;
    if world.nodes[heir].kernel.is_empty() {
        world.broken(format!("node {heir} lost it again"))
    } else {
        Ok(())
    }
}

/// For each seed, way, policy and holder: `before` happens to the heir; it says from when on the heir can hear. Then the
/// Active leaves.
fn tell(mut before: impl FnMut(&mut World, usize) -> Result<u64, Broken>) {
    for seed in 0..RUNS {
        for way in WAYS {
            for preempt in [Preempt::Degraded, Preempt::Never] {
                let holder = usize::from(seed % 2 == 0);
                let mut world = pair(seed, preempt, holder);
                // A killed node's address stays for its lease.
                world.promises.strict = !matches!(way, Way::Killed);
                settled(&mut world, |world| {
                    world.note(|| format!("the story: {way:?}, {preempt:?}"));
                    let hears = before(world, 1 - holder)?;
                    let left = leave(world, holder, way)?;
                    heir_has_it(world, 1 - holder, left.max(hears) + IN_TIME)
                });
            }
        }
    }
}

/// The link flickers up to three times, as a plug does, and stays up.
fn plug_in(world: &mut World, index: usize) -> Result<u64, Broken> {
    for _ in 0..world.random.index(4) {
        world.set_link(index, true)?;
        let moment = world.random.range(0, 20 * MILLISECOND);
        world.run(moment)?;
        world.set_link(index, false)?;
        let moment = world.random.range(0, 20 * MILLISECOND);
        world.run(moment)?;
    }
    world.set_link(index, true)?;
    Ok(world.now)
}

fn up_to(world: &mut World, most: u64) -> Result<(), Broken> {
    let pause = world.random.range(0, most);
    world.run(pause)
}

/// The cable of the Backup is out for a while. When it is in again, its Active_Down_Interval has just begun, is about to
/// end, or is long over: then the Active leaves.
#[test]
fn a_backup_whose_cable_was_plugged_in_takes_over_in_time() {
    tell(|world, heir| {
        world.set_link(heir, false)?;
        up_to(world, 2 * SECOND)?;
        let hears = plug_in(world, heir)?;
        up_to(world, 700 * MILLISECOND)?;
        Ok(hears)
    });
}

/// With the cable the Backup lost its servers, which come back later: it is degraded until the hold is over.
#[test]
fn a_degraded_backup_whose_cable_was_plugged_in_takes_over_in_time() {
    tell(|world, heir| {
        world.set_link(heir, false)?;
        lose(world, heir, 2)?;
        up_to(world, SECOND)?;
        let hears = plug_in(world, heir)?;
        up_to(world, 300 * MILLISECOND)?;
        lose(world, heir, 0)?;
        up_to(world, 4 * SECOND)?;
        Ok(hears)
    });
}

/// The Backup was started a moment ago: its first checks are not done, or it counts as eight degradations.
#[test]
fn a_backup_that_has_just_started_takes_over_in_time() {
    tell(|world, heir| {
        world.stop(heir)?;
        world.run(10 * MILLISECOND)?;
        world.boot(heir)?;
        // The longest first round of checks; and its first readiness may come before it, so another one has to.
        let hears = world.now + 300 * MILLISECOND + 30 * MILLISECOND;
        up_to(world, 4 * SECOND)?;
        Ok(hears)
    });
}

/// The Backup was paused and has missed advertisements; or was not, for long enough to be late.
#[test]
fn a_backup_that_was_paused_takes_over_in_time() {
    tell(|world, heir| {
        // In half of the runs its timer fires before it reads its socket, unlike that of the real driver.
        world.promises.strict = false;
        let pause = world.random.range(10 * MILLISECOND, SECOND);
        world.pause(heir, super::node::Pause::Process, pause);
        world.run(pause)?;
        // One more interval is granted to advertisements that wait in its socket.
        let hears = world.now + 100 * MILLISECOND;
        up_to(world, 400 * MILLISECOND)?;
        Ok(hears)
    });
}

/// The readiness of the Backup goes up and down, told late, while the Active leaves.
#[test]
fn a_backup_whose_readiness_changes_takes_over_in_time() {
    tell(|world, heir| {
        for _ in 0..world.random.range(1, 6) {
            let lost = world.random.index(9);
            lose(world, heir, lost)?;
            world.nodes[heir].tracker.leaving = world.random.per_mille(300);
            world.tell_readiness(heir)?;
            up_to(world, 150 * MILLISECOND)?;
        }
        Ok(world.now)
    });
}

/// The one thing that does keep a node silent for longer: its own kernel. An acknowledgement of the address that does not
/// come in time is a fault, and the other node is gone. It tries again after a second.
#[test]
fn a_backup_whose_kernel_failed_once_tries_again_after_a_second() {
    for seed in 0..RUNS {
        for way in WAYS {
            let mut world = pair(seed, Preempt::Degraded, 0);
            world.promises.strict = false;
            settled(&mut world, |world| {
                world.nodes[1].kernel_refuses = true;
                let left = leave(world, 0, way)?;
                world.run(IN_TIME + 100 * MILLISECOND)?;
                assert!(world.nodes[1].kernel.is_empty(), "seed {seed}: it was refused");
                world.nodes[1].kernel_refuses = false;
                let again = Duration::from_secs(1).as_nanos() as u64;
                heir_has_it(world, 1, left + IN_TIME + again + IN_TIME)
            });
        }
    }
}
