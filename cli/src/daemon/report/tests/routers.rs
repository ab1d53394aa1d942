//! The virtual routers of a vip.

use super::*;
use crate::control::Transport;

#[test]
fn a_virtual_router_has_its_family_its_transport_and_the_state_of_its_group() {
    let mut world = World::new();
    world.is(State::Active, at(100), None);
    let status = world.status(1_000);
    let router = &status.groups[0].vips[0].routers[0];
    assert_eq!((router.family.as_str(), router.state.as_str()), ("ipv4", "Active"));
    assert_eq!((&router.transport, &router.trouble), (&Transport::Multicast, &None));
}

#[test]
fn a_virtual_router_by_unicast_says_to_whom_and_one_that_can_not_speak_why() {
    let mut world = World::of(&FILE.replace("[vip.web]", "[vip.web]\ntransport = \"unicast\""));
    world.is(State::Active, at(100), None);
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.members[0].trouble = Some("vip web: eth1 is down".to_owned());
    said.members[0].counters = [("advertisements_sent".to_owned(), 7)].into();
    let json = serde_json::to_value(world.status(1_000)).expect("JSON");
    assert_eq!(
        json["groups"][0]["vips"][0]["routers"],
        serde_json::json!([{
            "family": "ipv4",
            "transport": { "unicast": { "source": "192.0.2.11", "peers": ["192.0.2.12"] } },
            "state": "Initialize",
            "trouble": "vip web: eth1 is down",
            "foreign": null,
            "counters": { "advertisements_sent": 7 },
        }])
    );
}

#[test]
fn a_node_by_unicast_whose_address_is_here_is_a_problem_with_its_name_and_the_fix() {
    let mut world = World::of(&FILE.replace("[vip.web]", "[vip.web]\ntransport = \"unicast\""));
    world.is(State::Active, at(100), None);
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.members[0].looped = vec![LB2];
    let problems = world.status(1_000).problems;
    let found = problems.iter().find(|found| found.what == "192.0.2.12 of lb2 is an address of this machine");
    assert_eq!(
        found.expect("a problem").look_at,
        "what that node sends is dropped here, so web may get two holders. Take the address off (ip address shows where it is), or write the \
         node's own one into unicast_addresses of both files and restart lbctl."
    );
}

#[test]
fn an_address_that_somebody_takes_away_is_a_problem_with_the_fix_for_a_minute() {
    let mut world = World::new();
    world.is(State::Active, at(100), None);
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.members[0].stolen = Some((said.members[0].addresses[0], at(10_000)));
    said.counters = [("addresses_stolen".to_owned(), 3)].into();
    let problem = |status: Status| status.problems.into_iter().find(|found| found.what.contains("removes"));
    let found = problem(world.status(12_000)).expect("a problem");
    assert_eq!(found.what, "somebody removes 192.0.2.10 of web from eth1");
    assert!(
        found.look_at.starts_with("it was put back and announced, 3 times by now. systemd-networkd:"),
        "{found:?}"
    );
    assert_eq!(problem(world.status(70_000)), None);
}
