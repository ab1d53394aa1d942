//! All nodes are started at the same instant, as after a power cut.

use super::{
    SEEDS, environment,
    moves::settled,
    nodes,
    random::Random,
    settle,
    world::{MILLISECOND, SECOND, World},
};

/// Two that claim in the same moment hear each other's advertisement, and one of them removes what it has just added.
const TWICE: u64 = 10 * MILLISECOND;

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
        let mut twice = 0;
        settled(&mut world, |world| {
            for index in 0..world.nodes.len() {
                world.boot(index)?;
            }
            let end = world.now + 2 * down;
            while world.now < end {
                world.run(STEP)?;
                twice += if holders(world) > 1 { STEP } else { 0 };
            }
            settle(world)?;
            // `preempt = "always"` waits for a while.
            world.run(20 * SECOND)
        });
        assert!(
            twice <= TWICE,
            "seed {seed}: two had addresses for {} us\n{}",
            twice / 1000,
            world.timeline().join("\n")
        );
        let (before, owner) = (world.transitions, world.nodes.iter().position(|node| node.is_active()));
        settled(&mut world, |world| world.run(10 * SECOND));
        assert_eq!(holders(&world), 1, "seed {seed}");
        assert_eq!(world.nodes.iter().position(|node| node.is_active()), owner, "seed {seed}");
        assert_eq!(world.transitions, before, "seed {seed}");
    }
}
