//! What alarms are on by what this node knows.

use super::*;
use crate::{
    control::{Alarm, AlarmName},
    daemon::alarms::causes::{Cause, Scene, find},
};

/// The causes at that moment; `heirs` says why nobody could take over, `None` that somebody could.
fn causes(world: &mut World, milliseconds: u64, heirs: Option<&str>) -> Vec<Cause> {
    world.session.handle_timeout(at(milliseconds));
    if world.speaker_speaks {
        let said = world.groups.iter_mut().filter_map(|group| group.status.as_mut());
        said.for_each(|(said, _)| *said = at(milliseconds));
    }
    let scene = Scene {
        now: at(milliseconds),
        started: at(0),
        is_new: true,
        nodes: Nodes { config: &world.config, own: "lb1", session: Some(&world.session) },
        groups: &world.groups,
    };
    find(&scene, |_| heirs.map(str::to_owned))
}

/// Their names and reasons.
fn named(world: &mut World, milliseconds: u64, heirs: Option<&str>) -> Vec<(&'static str, String)> {
    causes(world, milliseconds, heirs).into_iter().map(|cause| (cause.name.word(), cause.why)).collect()
}

#[test]
fn pair_that_is_well_has_no_alarm() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, &hash);
    assert_eq!(named(&mut world, 10_000, None), []);
    let mut world = World::new();
    world.is(State::Backup, at(1_000), Some(at(9_900)));
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    assert_eq!(named(&mut world, 10_000, Some("not asked")), []);
}

/// As after a power cut: the other one's checks and what has to last have their time, and then it is one.
#[test]
fn pair_that_starts_together_has_no_alarm_for_what_a_start_takes() {
    let starting =
        || Ready::Starting { reason: "what is good counts once it has lasted for 1.5 s".to_owned() };
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    let why = Some("lb2 has just started");
    world.hears(at(9_500), State::Backup, starting(), &hash);
    assert_eq!(named(&mut world, 10_000, why), []);
    world.hears(at(20_000), State::Backup, starting(), &hash);
    assert_eq!(named(&mut world, 20_500, why), [("no_standby", "lb2 has just started".to_owned())]);
}

#[test]
fn files_differ_while_a_node_is_heard_that_has_another_one() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, "77aa01bb");
    let why = format!("{} here, 77aa01 on lb2", &hash[..6]);
    assert_eq!(named(&mut world, 10_000, None), [("files_differ", why)]);
    assert_eq!(causes(&mut world, 10_000, None)[0].group, None);
    // What a silent node said is old.
    assert_eq!(named(&mut world, 13_000, None), []);
}

#[test]
fn the_file_differs_since_its_alarm_is_on() {
    let mut world = World::new();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Backup, Ready::Yes, "77aa01bb");
    let since = instants(2_000).wall;
    let (name, why) = (AlarmName::FilesDiffer, "8f31c2 here, 77aa01 on lb2".to_owned());
    world.alarms = vec![Alarm { name, group: None, since, why }];
    let status = world.status(10_000);
    assert_eq!(status.problems[0].what, "the file differs on lb2");
    assert_eq!(status.problems[0].since, Some(since));
    assert_eq!(status.alarms, world.alarms);
}

#[test]
fn two_holders_are_an_alarm_after_two_and_a_half_seconds() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    world.groups[0].dual_active_since = Some(at(8_000));
    let only = |found: Vec<(&'static str, String)>| {
        found.into_iter().filter(|(name, _)| *name == "two_holders").map(|(_, why)| why).collect::<Vec<_>>()
    };
    assert_eq!(only(named(&mut world, 10_499, None)), Vec::<String>::new());
    assert_eq!(only(named(&mut world, 10_500, None)), ["lb1 and lb2 both hold 192.0.2.10"]);
}

#[test]
fn peer_that_lives_and_is_active_and_unheard_is_an_alarm_on_any_node_that_should_hear_it() {
    let missing = "lb2 lives, but its advertisements do not arrive";
    for (state, heard, expected) in [
        (State::Initialize, None, Some(missing)),
        (State::Backup, Some(at(7_000)), Some(missing)),
        (State::Active, Some(at(7_000)), Some(missing)),
        (State::Backup, Some(at(9_000)), None),
    ] {
        let mut world = World::new();
        let hash = world.config.hash.clone();
        world.is(state, at(1_000), heard);
        world.hears(at(9_500), State::Active, Ready::Yes, &hash);
        let found = named(&mut world, 10_000, None);
        let found = found.iter().find(|(name, _)| *name == "advertisements_missing").map(|(_, why)| &**why);
        assert_eq!(found, expected, "{state} {heard:?}");
        // A node that has just become Active may not have been heard yet; one that is no Active is silent by rights.
        let mut said = local("lb2", &hash);
        (said.groups[0].state, said.groups[0].since) = (State::Active, at(9_000));
        world.hears_that(at(9_600), said);
        assert!(named(&mut world, 10_000, None).iter().all(|(name, _)| *name != "advertisements_missing"));
        world.hears(at(9_700), State::Backup, Ready::Yes, &hash);
        assert!(named(&mut world, 10_000, None).iter().all(|(name, _)| *name != "advertisements_missing"));
    }
}

/// Its last hello came with its last advertisement: it is silent a moment later.
#[test]
fn peer_that_has_died_does_not_live() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(7_800), Some(at(7_450)));
    world.hears(at(7_500), State::Active, Ready::Yes, &hash);
    for now in [10_000, 10_200, 10_300] {
        assert!(
            named(&mut world, now, None).iter().all(|(name, _)| *name != "advertisements_missing"),
            "{now}"
        );
    }
}

#[test]
fn peer_whose_advertisements_are_dropped_is_unheard_for_that_reason() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Initialize, at(1_000), None);
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    let why = "version 2 is not what this virtual router speaks".to_owned();
    status.members[0].advertisers =
        vec![advertises(Said::Rejected(Rejected { source: LB2, why, at: at(9_900) }))];
    let why = "lb2 lives, but its advertisements do not arrive: those for web are dropped: version 2 is not what this virtual router speaks";
    let found = named(&mut world, 10_000, None);
    assert!(found.contains(&("advertisements_missing", why.to_owned())), "{found:?}");
    assert!(found.iter().all(|(name, _)| *name != "foreign_cluster"), "it is a node of the file: {found:?}");
    let since = instants(9_000).wall;
    let (name, group) = (AlarmName::AdvertisementsMissing, Some("default".to_owned()));
    world.alarms = vec![Alarm { name, group, since, why: why.to_owned() }];
    let problems = world.status(10_000).problems;
    let problem = problems.iter().find(|problem| problem.what == why).expect("named");
    assert_eq!(problem.since, Some(since));
    assert!(problem.look_at.contains("IP protocol 112"), "{problem:?}");
}

#[test]
fn nobody_who_could_take_over_is_an_alarm_for_the_holder() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    let silent = Some("lb2 is silent");
    // A node that starts knows nobody yet.
    assert_eq!(named(&mut world, 4_900, silent), []);
    assert_eq!(named(&mut world, 5_000, silent), [("no_standby", "lb2 is silent".to_owned())]);
    assert!(causes(&mut world, 5_000, silent)[0].is_settled, "silence took its time");
    world.hears(at(9_500), State::Initialize, Ready::Fault { reason: "drained by root".to_owned() }, &hash);
    let drained = Some("lb2 can't hold it (drained by root)");
    assert!(!causes(&mut world, 10_000, drained)[0].is_settled);
    assert_eq!(causes(&mut world, 10_000, drained)[0].group.as_deref(), Some("default"));
}

#[test]
fn standby_that_could_not_take_over_knows_it() {
    let fault = Readiness::Fault { reason: "eth1 is down".to_owned() };
    let degraded = Readiness::Degraded { reasons: vec!["app is down".to_owned()] };
    for (readiness, priority, holder, expected) in [
        (Readiness::Ready, 254, 253, None),
        (fault, 0, 253, Some("lb1 can't hold it (eth1 is down)")),
        (degraded.clone(), 17, 253, Some("lb1 is degraded (app is down)")),
        (degraded.clone(), 17, 14, None),
        (degraded, 15, 16, Some("lb1 is degraded, more than the holder (app is down)")),
    ] {
        let mut world = World::new();
        world.is(State::Backup, at(1_000), Some(at(9_900)));
        let (_, status) = world.groups[0].status.as_mut().expect("said");
        (status.readiness, status.priority) = (readiness, priority);
        let mut said = local("lb2", &world.config.hash);
        (said.groups[0].state, said.groups[0].priority) = (State::Active, holder);
        world.hears_that(at(9_500), said);
        let expected: Vec<_> = expected.into_iter().map(|why| ("no_standby", why.to_owned())).collect();
        assert_eq!(named(&mut world, 10_000, None), expected, "{priority} {holder}");
    }
}

#[test]
fn keepalived_does_not_say_whether_it_could_take_over_and_a_node_alone_has_no_standby() {
    for nodes in [
        "node.lb1 = { address = \"192.0.2.11\", priority = 200 }\nnode.lb2 = { address = \"192.0.2.12\", priority = 100, foreign = \"keepalived\" }\n",
        "node.lb1 = \"192.0.2.11\"\n",
    ] {
        let pair = "node.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n";
        let mut world = World::of(&FILE.replace(pair, nodes));
        world.is(State::Active, at(1_000), None);
        assert_eq!(named(&mut world, 10_000, Some("who knows")), [], "{nodes}");
    }
}

#[test]
fn each_way_in_which_another_cluster_uses_the_vrid_is_the_same_alarm() {
    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));
    let table = [
        (
            Said::Others(PeerHeard::new(STRANGER, 200, at(9_900))),
            "192.0.2.77 uses vrid 51 of web too, for other addresses, with priority 200",
        ),
        (
            Said::Rejected(Rejected {
                source: STRANGER,
                why: "the password is not ours".to_owned(),
                at: at(9_900),
            }),
            "192.0.2.77 uses vrid 51 of web too: the password is not ours",
        ),
        (
            Said::Ours(PeerHeard::new(STRANGER, 100, at(9_900))),
            "192.0.2.77 uses vrid 51 of web too, for the same addresses, with priority 100",
        ),
    ];
    for (said, expected) in table {
        let mut world = World::of(&FILE.replace("interface = \"eth1\"\n", ""));
        world.is(State::Active, at(1_000), None);
        let (_, status) = world.groups[0].status.as_mut().expect("said");
        status.members[0].advertisers = vec![advertises(said)];
        assert_eq!(named(&mut world, 10_000, None), [("foreign_cluster", expected.to_owned())]);
        let problems = world.status(10_000).problems;
        assert!(problems.iter().any(|one| one.what == "192.0.2.77 uses vrid 51 of web too"), "{problems:?}");
        assert_eq!(named(&mut world, 13_000, None), [], "it is not heard any more");
    }
}
