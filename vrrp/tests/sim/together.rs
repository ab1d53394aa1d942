//! All nodes are started at the same instant, as after a power cut.

use std::time::Duration;

use super::{
    SEEDS, environment,
    moves::settled,
    nodes,
    random::Random,
    settle,
    tracker::Tracker,
    world::{MILLISECOND, SECOND, World},
};

/// Two that claim in the same moment hear each other's advertisement, and one of them removes what it has just added.
const TWICE: u64 = 10 * MILLISECOND;

/// Of checks, where it takes all nodes the same time.
const FIRST_ROUND: Duration = Duration::from_millis(100);

/// Steps in which holders are counted.
const STEP: u64 = MILLISECOND / 4;

/// Nodes that have addresses at this moment.
fn holders(world: &World) -> usize {
    world.nodes.iter().filter(|node| !node.kernel.is_empty()).count()
}

#[test]
fn nodes_that_start_at_the_same_instant_have_one_active_and_it_stays() {
    for seed in 0..environment("SIM_SEEDS").unwrap_or(SEEDS) {
        let mut random = Random::new(seed);
        let nodes = nodes(seed, &mut random);
        let mut world = World::new(random, nodes, true);
        let down = world.nodes[0].down();
        let (mut twice, mut claims) = (0, 0);
        settled(&mut world, |world| {
            for index in 0..world.nodes.len() {
                world.boot(index)?;
                if seed % 2 == 0 {
                    // Their first checks end so that they claim in the same moment, and each hears later what it is from then on.
                    let node = &mut world.nodes[index];
                    let skew = u64::from(256 - u16::from(node.config.priority.get()));
                    let longer = Duration::from_nanos(node.interval().as_nanos() as u64 * (256 - skew) / 256);
                    node.tracker = Tracker::started(world.now, 0, FIRST_ROUND + longer);
                    world.daemons_are_slow = true;
                }
            }
            let end = world.now + 2 * down;
            while world.now < end {
                world.run(STEP)?;
                twice += if holders(world) > 1 { STEP } else { 0 };
            }
            settle(world)?;
            claims = world.nodes.iter().map(|node| node.claims).max().unwrap_or_default();
            // `preempt = "always"` waits for a while.
            world.run(20 * SECOND)
        });
        assert!(
            twice <= TWICE,
            "seed {seed}: two had addresses for {} us\n{}",
            twice / 1000,
            world.timeline().join("\n")
        );
        // The loser of a claim is no better than who has won, whoever's daemon is the first to tell of it.
        assert!(claims == 1, "seed {seed}: {claims} claims of one node\n{}", world.timeline().join("\n"));
        let (before, owner) = (world.transitions, world.nodes.iter().position(|node| node.is_active()));
        settled(&mut world, |world| world.run(10 * SECOND));
        assert_eq!(holders(&world), 1, "seed {seed}");
        assert_eq!(world.nodes.iter().position(|node| node.is_active()), owner, "seed {seed}");
        assert_eq!(world.transitions, before, "seed {seed}");
    }
}
