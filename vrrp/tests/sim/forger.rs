//! Directed stories of a forger: single packets, sent to one node in another's name, that must not pay off.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use lb_vrrp::{
    Preempt, Secret, State, Step, advertisement::Advertisement, authentication::Sender, config::ChecksumForm,
};

use super::{
    moves::{pair, pair_with, settled},
    sign, speak_unicast,
    world::{Broken, Event, MILLISECOND, SECOND, World, group},
};

const RUNS: u64 = 20;

/// To node `to`, in the name of `source`, at once.
fn forge(world: &mut World, to: usize, source: IpAddr, priority: u8, interval: Duration) {
    forge_signed(world, to, source, priority, interval, None);
}

/// The same, signed by this.
fn forge_signed(
    world: &mut World,
    to: usize,
    source: IpAddr,
    priority: u8,
    interval: Duration,
    signing: Option<(&Secret, &mut Sender)>,
) {
    let member = &world.nodes[to].config.members[0];
    let advertisement = Advertisement {
        version: member.version,
        vrid: member.vrid,
        priority,
        interval,
        addresses: member.addresses.iter().map(|address| address.address).collect(),
    };
    let destination =
        if member.transport.unicast().is_some() { world.nodes[to].source } else { group(source) };
    let mut bytes = advertisement.encode(ChecksumForm::Rfc9568, source, destination);
    if let Some((secret, sender)) = signing {
        sender.sign(secret, source, destination, &mut bytes);
    }
    world.schedule(0, Event::Packet { to, source, bytes });
}

fn somewhen(world: &mut World) -> Result<(), Broken> {
    let phase = world.random.range(0, 100 * MILLISECOND);
    world.run(phase)
}

/// One advertisement with the longest interval, in the Active's or a stranger's name, and then the Active dies: the other
/// node waits for ten times as long as it would at most, not for two minutes.
#[test]
fn a_forged_long_interval_puts_a_takeover_off_by_ten_times_at_most() {
    for seed in 0..RUNS {
        for stranger in [false, true] {
            let mut world = pair(seed, Preempt::Degraded, 0);
            world.promises.strict = false;
            settled(&mut world, |world| {
                somewhen(world)?;
                let source =
                    if stranger { Ipv4Addr::new(192, 0, 2, 99).into() } else { world.nodes[0].source };
                forge(world, 1, source, 254, Duration::from_millis(40_950));
                world.run(MILLISECOND)?;
                world.kill(0);
                // 3 x 1 s, and 3/256 of a second; from the moment of the forged one.
                world.promises.patience = 3 * SECOND;
                world.run(3_020 * MILLISECOND)
            });
            assert_eq!(world.nodes[1].state(), State::Active, "seed {seed}, stranger: {stranger}");
        }
    }
}

/// By unicast nobody but the nodes of the file is heard: the highest priority there is, sent on and on, moves nothing, and
/// the address still moves as it should.
#[test]
fn a_pair_by_unicast_hears_no_stranger() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let change = |index, config: &mut _| speak_unicast(config, index, 2);
            let mut world = pair_with(seed, Preempt::Degraded, holder, change);
            let forge_all = |world: &mut World| {
                for to in 0..2 {
                    let stranger = Ipv4Addr::new(192, 0, 2, 99).into();
                    forge(world, to, stranger, 255, Duration::from_millis(100));
                    forge(world, to, stranger, 0, Duration::from_millis(100));
                }
            };
            settled(&mut world, |world| {
                for _ in 0..100 {
                    somewhen(world)?;
                    forge_all(world);
                }
                assert_eq!(
                    (world.nodes[holder].state(), world.transitions),
                    (State::Active, 0),
                    "seed {seed}"
                );
                world.stop(holder)?;
                world.run(20 * MILLISECOND)
            });
            assert!(world.strangers >= 396, "seed {seed}: {}", world.strangers);
            assert_eq!(world.nodes[1 - holder].state(), State::Active, "seed {seed}");
        }
    }
}

/// A pair that requires signatures: what a forger makes up, signs with another secret, or has recorded, in the name of either
/// node and of a stranger, moves nothing, also while nobody is Active; and the address moves as it should.
#[test]
fn a_pair_that_signs_hears_no_forger_and_nothing_twice() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world =
                pair_with(seed, Preempt::Degraded, holder, |_, config| sign(config, Step::Require));
            let own = Secret::new("correct horse battery staple").unwrap();
            let other = Secret::new("wrong horse battery staple").unwrap();
            let forge_all = |world: &mut World| {
                for (to, priority) in [(0, 0), (0, 255), (1, 0), (1, 255)] {
                    let stranger = Ipv4Addr::new(192, 0, 2, 99).into();
                    let peer = world.nodes[1 - to].source;
                    let interval = Duration::from_millis(100);
                    forge(world, to, stranger, priority, interval);
                    forge(world, to, peer, priority, interval);
                    forge_signed(world, to, peer, priority, interval, Some((&other, &mut Sender::new(9, 0))));
                    // The peer has sent this number long ago.
                    let recorded = &mut Sender::new(1 - to as u64, 0);
                    forge_signed(world, to, peer, priority, interval, Some((&own, recorded)));
                }
            };
            settled(&mut world, |world| {
                // The Backup has sent nothing yet: what is recorded of it would be of a run before, and is heard once.
                world.stop(holder)?;
                world.run(SECOND)?;
                world.boot_settled(holder)?;
                world.run(SECOND)?;
                world.transitions = 0;
                for _ in 0..100 {
                    somewhen(world)?;
                    forge_all(world);
                }
                let is_active = world.nodes[1 - holder].state();
                assert_eq!((is_active, world.transitions), (State::Active, 0), "seed {seed}");
                world.stop(1 - holder)?;
                for _ in 0..10 {
                    forge_all(world);
                    world.run(2 * MILLISECOND)?;
                }
                Ok(())
            });
            assert!(world.strangers >= 1_600, "seed {seed}: {}", world.strangers);
            assert_eq!(world.nodes[holder].state(), State::Active, "seed {seed}");
        }
    }
}

/// One advertisement with the shortest interval, in the Active's name: the Backup still waits for the next real one.
#[test]
fn a_forged_short_interval_moves_nothing() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                for _ in 0..20 {
                    somewhen(world)?;
                    let source = world.nodes[holder].source;
                    forge(world, 1 - holder, source, 254, Duration::from_millis(10));
                }
                world.run(SECOND)
            });
            assert_eq!(world.transitions, 0, "seed {seed}");
        }
    }
}

/// Ten thousand losing advertisements in a second: nothing moves, and what they are answered with is bounded.
#[test]
fn a_flood_of_losing_advertisements_is_answered_eight_times_and_then_once_in_5_ms() {
    let mut world = pair(7, Preempt::Degraded, 0);
    let sent =
        |world: &World| world.nodes[0].group.as_ref().unwrap().status().counters["advertisements_sent"];
    let before = sent(&world);
    settled(&mut world, |world| {
        for index in 0..10_000 {
            let last = u8::try_from(20 + index % 200).unwrap();
            forge(world, 0, Ipv4Addr::new(192, 0, 2, last).into(), 18, Duration::from_millis(100));
            world.run(MILLISECOND / 10)?;
        }
        Ok(())
    });
    // What answers puts off the next one of its own.
    let sent = sent(&world) - before;
    assert!((200..=218).contains(&sent), "{sent} advertisements in a second");
    assert_eq!(world.transitions, 0);
}
