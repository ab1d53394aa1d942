//! What a node says of one that is drained.

use super::*;

#[test]
fn the_other_node_says_since_when_one_is_drained_and_how_that_ends() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    let fault = Ready::Fault { reason: "drained by root".to_owned() };
    world.hears(at(9_500), State::Initialize, fault, &hash);
    let status = world.status(10_000);
    assert_eq!(
        only_problem(&status),
        "lb2 is drained: by root. It takes no part in elections, so it could not take over. To end that, there: lbctl \
         resume"
    );
    assert_eq!(status.problems[0].since, Some(instants(0).wall));
}

/// It was in fault before, so it is out of the election for longer.
#[test]
fn other_node_is_drained_since_it_was_drained() {
    let mut world = World::new();
    world.is(State::Active, at(1_000), None);
    let mut said = local("lb2", &world.config.hash);
    said.drained = Some(at(7_000));
    said.groups[0].state = State::Initialize;
    said.groups[0].ready = Ready::Fault { reason: "drained by root".to_owned() };
    world.hears_that(at(9_500), said);
    let status = world.status(10_000);
    assert_eq!(status.problems[0].what, "lb2 is drained");
    assert_eq!(status.problems[0].since, Some(instants(7_000).wall));
    assert_eq!(status.peers[0].drained, Some(instants(7_000).wall));
}

#[test]
fn an_address_that_nobody_holds_yet_after_a_drain_is_told_in_words() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Backup, at(9_900), None);
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.reason = "over: fault: drained by root".to_owned();
    world.hears(at(9_950), State::Backup, Ready::Yes, &hash);
    assert_eq!(
        only_problem(&world.status(10_000)),
        "nobody holds web: the election is on. What kept this node out of it is over: drained by root."
    );
}

#[test]
fn a_drained_node_beside_a_dead_holder_says_what_is_true_and_what_to_do() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.drained = Some(Ordered { what: "drain".to_owned(), by: "root".to_owned(), at: instants(0).wall });
    world.is(State::Initialize, at(1_000), None);
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.reason = "fault: drained by root".to_owned();
    said.readiness = Readiness::Fault { reason: "drained by root".to_owned() };
    let first = |world: &mut World, milliseconds| {
        let problem = world.status(milliseconds).problems.remove(0);
        format!("{}: {}", problem.what, problem.look_at)
    };
    let then = ", and this node is drained by root: it takes over from nobody. Unless clients are served elsewhere, lbctl resume: this node \
                takes web then.";
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    assert_eq!(world.status(10_000).problems.len(), 1, "lb2 holds it: the drain alone is a problem");
    assert_eq!(
        first(&mut world, 30_000),
        format!("who holds web is not known here: nothing is heard of lb2{then}")
    );
    let fault = Ready::Fault { reason: "no listener is bound".to_owned() };
    world.hears(at(30_500), State::Initialize, fault, &hash);
    assert_eq!(first(&mut world, 31_000), format!("nobody holds web: no other node can{then}"));
    world.hears(at(31_500), State::Backup, Ready::Yes, &hash);
    assert_eq!(
        first(&mut world, 32_000),
        "nobody holds web: the election is on: lb2 is in it, and this node is not."
    );
}
