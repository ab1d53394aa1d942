//! Directed stories on a quiet network: what moves the address, and what does not. Each is told twenty times with the
//! moments drawn anew, with either node Active, and no address may ever be on two nodes.

use lb_vrrp::{GroupConfig, Preempt};

use super::{
    config,
    node::Node,
    over_ipv6,
    random::Random,
    world::{Broken, MILLISECOND, SECOND, World},
};

const RUNS: u64 = 20;

/// Two nodes with default settings, `holder` Active for a while, the other a Backup.
pub(crate) fn pair(seed: u64, preempt: Preempt, holder: usize) -> World {
    pair_with(seed, preempt, holder, |_, _| {})
}

/// `change` is given the index of a node.
pub(crate) fn pair_with(
    seed: u64,
    preempt: Preempt,
    holder: usize,
    change: impl Fn(usize, &mut GroupConfig),
) -> World {
    let nodes = (0..2)
        .map(|index: usize| {
            let priority = 254 - u8::try_from(index).unwrap();
            let mut config = config(priority, index == 0, 100, 1, preempt);
            change(index, &mut config);
            Node::new(index, config, 0)
        })
        .collect();
    let mut world = World::new(Random::new(seed), nodes, true);
    world.promises.strict = true;
    settled(&mut world, |world| {
        world.boot_settled(holder)?;
        world.run(SECOND)?;
        world.boot_settled(1 - holder)?;
        let phase = world.random.range(0, 2 * SECOND);
        world.run(2 * SECOND + phase)
    });
    assert_eq!(active(&world), [holder]);
    world.transitions = 0;
    world
}

pub(crate) fn settled(world: &mut World, story: impl FnOnce(&mut World) -> Result<(), Broken>) {
    if let Err(Broken { at, text }) = story(world) {
        panic!("{}\n{} ms: {text}", world.timeline().join("\n"), at / MILLISECOND);
    }
}

fn active(world: &World) -> Vec<usize> {
    (0..world.nodes.len()).filter(|index| world.nodes[*index].is_active()).collect()
}

/// `lost` backends from now on, as node `index` sees it.
pub(crate) fn lose(world: &mut World, index: usize, lost: usize) -> Result<(), Broken> {
    let now = world.now;
    world.nodes[index].tracker.lose(now, lost);
    world.tell_readiness(index)
}

/// Runs for a time below the hold: two nodes see one outage at different moments.
fn a_moment(world: &mut World) -> Result<(), Broken> {
    let moment = world.random.range(0, 2_900 * MILLISECOND);
    world.run(moment)
}

#[test]
fn rule_2_backends_lost_by_the_active_alone_move_the_address_once() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                lose(world, holder, 1)?;
                world.run(4 * SECOND)
            });
            assert_eq!(active(&world), [1 - holder], "seed {seed}");
            settled(&mut world, |world| {
                lose(world, holder, 0)?;
                world.run(5 * SECOND)
            });
            assert_eq!(active(&world), [1 - holder], "seed {seed}: coming back moves nothing");
            // One claims, one resigns.
            assert_eq!(world.transitions, 2, "seed {seed}");
        }
    }
}

#[test]
fn rule_2_backends_lost_by_the_backup_alone_move_nothing() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                lose(world, 1 - holder, 2)?;
                world.run(5 * SECOND)?;
                lose(world, 1 - holder, 0)?;
                world.run(5 * SECOND)
            });
            assert_eq!((active(&world), world.transitions), (vec![holder], 0), "seed {seed}");
        }
    }
}

/// Either node may see the outage first, and its end first.
#[test]
fn rule_3_backends_lost_by_both_move_nothing_with_either_node_active() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            for first in 0..2 {
                let mut world = pair(seed, Preempt::Degraded, holder);
                settled(&mut world, |world| {
                    lose(world, first, 1)?;
                    a_moment(world)?;
                    lose(world, 1 - first, 1)?;
                    world.run(8 * SECOND)?;
                    lose(world, first, 0)?;
                    a_moment(world)?;
                    lose(world, 1 - first, 0)?;
                    world.run(8 * SECOND)
                });
                assert_eq!((active(&world), world.transitions), (vec![holder], 0), "seed {seed}");
            }
        }
    }
}

/// An outage shorter than the hold: the Active never counts it.
#[test]
fn rule_3_an_outage_shorter_than_the_hold_moves_nothing() {
    for seed in 0..RUNS {
        let mut world = pair(seed, Preempt::Degraded, 0);
        settled(&mut world, |world| {
            lose(world, 0, 1)?;
            a_moment(world)?;
            lose(world, 0, 0)?;
            world.run(8 * SECOND)
        });
        assert_eq!((active(&world), world.transitions), (vec![0], 0), "seed {seed}");
    }
}

#[test]
fn rule_2_the_better_of_two_degraded_nodes_gets_the_address() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                lose(world, 0, 1)?;
                lose(world, 1, 1)?;
                world.run(8 * SECOND)
            });
            assert_eq!(active(&world), [holder], "seed {seed}: as bad as each other");
            settled(&mut world, |world| {
                lose(world, holder, 3)?;
                world.run(8 * SECOND)
            });
            assert_eq!(active(&world), [1 - holder], "seed {seed}: the other is better now");
        }
    }
}

#[test]
fn rule_2_preempt_never_keeps_the_address_at_a_degraded_active_but_not_at_a_leaving_one() {
    for seed in 0..RUNS {
        let mut world = pair(seed, Preempt::Never, 1);
        settled(&mut world, |world| {
            lose(world, 1, 4)?;
            world.run(8 * SECOND)
        });
        assert_eq!((active(&world), world.transitions), (vec![1], 0), "seed {seed}");
        settled(&mut world, |world| {
            world.nodes[1].tracker.leaving = true;
            world.tell_readiness(1)?;
            world.run(SECOND)
        });
        assert_eq!(active(&world), [0], "seed {seed}");
    }
}

/// The claimer waits for the last word: strict, no address is ever on two nodes.
#[test]
fn an_orderly_move_never_has_an_address_on_two_nodes_and_takes_milliseconds() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                world.nodes[holder].tracker.leaving = true;
                world.tell_readiness(holder)?;
                // Skew_Time 781 us or 1.17 ms, resets up to 5 ms, two kernels, three ways of 0.3 ms, late schedulers.
                world.run(15 * MILLISECOND)
            });
            assert_eq!(active(&world), [1 - holder], "seed {seed}");
            assert!(!world.nodes[1 - holder].kernel.is_empty(), "seed {seed}");
            settled(&mut world, |world| world.run(SECOND));
            assert_eq!(world.client, Some(1 - holder), "seed {seed}");
        }
    }
}

#[test]
fn rule_1_a_fault_moves_the_address_in_milliseconds() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                world.nodes[holder].tracker.fault = true;
                world.tell_readiness(holder)?;
                world.run(15 * MILLISECOND)
            });
            assert_eq!(active(&world), [1 - holder], "seed {seed}");
            assert!(!world.nodes[1 - holder].kernel.is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn a_crash_of_the_speaker_alone_moves_nothing() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let mut world = pair(seed, Preempt::Degraded, holder);
            settled(&mut world, |world| {
                world.kill_speaker(holder);
                world.run(2 * SECOND)
            });
            assert_eq!(active(&world), [holder], "seed {seed}");
            assert_eq!(world.transitions, 0, "the new speaker is what the one before was, seed {seed}");
        }
    }
}

/// At 100 ms the lease (2 s) outlasts Active_Down_Interval: two nodes may answer, but for at most 2.4 s.
#[test]
fn both_processes_killed_leave_the_address_for_at_most_the_lease() {
    for seed in 0..RUNS {
        let mut world = pair(seed, Preempt::Degraded, 0);
        world.promises.strict = false;
        settled(&mut world, |world| {
            world.kill(0);
            // Skew_Time of 253 is 1.17 ms; and the scheduler.
            world.run(305 * MILLISECOND)
        });
        assert_eq!(active(&world), [1], "seed {seed}");
        settled(&mut world, |world| world.run(2_100 * MILLISECOND));
        assert!(world.nodes[0].kernel.is_empty(), "seed {seed}");
    }
}

/// A switchover, as the daemon of `giver` carries it out.
fn give(world: &mut World, giver: usize) -> Result<(), Broken> {
    world.nodes[giver].tracker.leaving = true;
    world.tell_readiness(giver)?;
    world.run(50 * MILLISECOND)?;
    world.nodes[giver].tracker.leaving = false;
    world.nodes[giver].tracker.yields = true;
    world.nodes[1 - giver].tracker.yields = false;
    world.tell_readiness(giver)?;
    world.tell_readiness(1 - giver)
}

/// Whatever `preempt` says, until the holder degrades or somebody asks again.
#[test]
fn rule_4_address_that_was_given_away_stays_until_its_holder_degrades_or_somebody_asks_again() {
    let always = Preempt::Always { delay: std::time::Duration::from_secs(1) };
    for preempt in [always, Preempt::Degraded, Preempt::Never] {
        for seed in 0..RUNS {
            let mut world = pair(seed, preempt, 0);
            settled(&mut world, |world| {
                give(world, 0)?;
                world.run(30 * SECOND)
            });
            assert_eq!((active(&world), world.transitions), (vec![1], 2), "{preempt:?}, seed {seed}");
            // A speaker that is replaced is told again.
            settled(&mut world, |world| {
                world.kill_speaker(0);
                world.run(10 * SECOND)
            });
            assert_eq!(active(&world), [1], "{preempt:?}, seed {seed}");
            settled(&mut world, |world| {
                give(world, 1)?;
                world.run(10 * SECOND)
            });
            assert_eq!(active(&world), [0], "{preempt:?}, seed {seed}: somebody asked again");
            settled(&mut world, |world| {
                give(world, 0)?;
                world.run(SECOND)?;
                lose(world, 1, 1)?;
                world.run(8 * SECOND)
            });
            let expected = if matches!(preempt, Preempt::Never) { 1 } else { 0 };
            assert_eq!(active(&world), [expected], "{preempt:?}, seed {seed}: the holder is degraded");
        }
    }
}

/// The node that is to take it dies before it does, or right after.
#[test]
fn peer_that_dies_in_a_switchover_leaves_the_address_to_the_one_that_gave_it() {
    for seed in 0..RUNS {
        let mut world = pair(seed, Preempt::Degraded, 0);
        settled(&mut world, |world| {
            world.kill(1);
            give(world, 0)?;
            world.run(3 * SECOND)
        });
        assert_eq!((active(&world), world.transitions), (vec![0], 0), "seed {seed}");
        let mut world = pair(seed, Preempt::Degraded, 0);
        world.promises.strict = false;
        settled(&mut world, |world| {
            give(world, 0)?;
            world.kill(1);
            world.run(SECOND)
        });
        assert_eq!(active(&world), [0], "seed {seed}");
    }
}

/// Both families of a vip are one fate: that IPv6 is not heard moves nothing, and a stop moves both at once.
#[test]
fn a_vip_with_both_families_moves_as_one_and_not_because_one_is_unheard() {
    for seed in 0..RUNS {
        for holder in 0..2 {
            let both = |_, config: &mut GroupConfig| config.members.push(over_ipv6(&config.members[0]));
            let mut world = pair_with(seed, Preempt::Degraded, holder, both);
            settled(&mut world, |world| {
                world.lan.drops_ipv6 = true;
                world.run(5 * SECOND)?;
                assert_eq!((active(world), world.transitions), (vec![holder], 0), "seed {seed}");
                world.stop(holder)?;
                world.run(20 * MILLISECOND)
            });
            assert_eq!(active(&world), [1 - holder], "seed {seed}");
            let held = |index: usize| world.nodes[index].kernel.len();
            assert_eq!((held(holder), held(1 - holder)), (0, 3), "seed {seed}");
        }
    }
}
