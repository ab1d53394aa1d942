//! Another cluster with the same vrid.

use super::*;

#[test]
fn another_cluster_with_the_same_vrid_is_a_problem_and_no_word_of_the_other_node() {
    let file = FILE.replace("interface = \"eth1\"\n", "");
    let mut world = World::of(&file);
    world.is(State::Backup, at(100), Some(at(9_900)));
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    let stranger = PeerHeard::new(IpAddr::from([192, 0, 2, 77]), 253, at(9_900));
    status.members[0].heard = Some(stranger.clone());
    status.members[0].advertisers = vec![advertises(Said::Ours(stranger))];
    let status = world.status(10_000);
    assert_eq!(status.groups[0].nodes[1].heard, None);
    let problem = &status.problems[0];
    assert_eq!(problem.what, "192.0.2.77 uses vrid 51 of web too");
    assert!(problem.look_at.starts_with("it is no node of /etc/lbctl/lb.toml."), "{problem:?}");
}

#[test]
fn another_cluster_that_wants_other_addresses_is_a_problem_while_it_is_heard() {
    let mut world = World::new();
    world.is(State::Active, at(100), None);
    let (_, status) = world.groups[0].status.as_mut().expect("said");
    let source = "fe80::77".parse().unwrap();
    status.members[0].advertisers = vec![advertises(Said::Others(PeerHeard::new(source, 200, at(9_900))))];
    let status = world.status(10_000);
    let problem = &status.problems[0];
    assert_eq!(problem.what, "fe80::77 uses vrid 51 of web too");
    assert!(problem.look_at.starts_with("it is another cluster's, for other addresses."), "{problem:?}");
    assert_eq!(status.groups[0].vips[0].routers[0].foreign.as_deref(), Some("fe80::77"));
    let later = world.status(13_000);
    assert_eq!(later.groups[0].vips[0].routers[0].foreign, None);
    assert!(later.problems.iter().all(|problem| !problem.what.contains("vrid")), "{:?}", later.problems);
}

/// The speaker hears both, now one and now the other one last.
#[test]
fn stranger_that_wants_our_addresses_and_the_node_that_holds_them_hide_neither_the_other() {
    let mut world = World::of(&FILE.replace("interface = \"eth1\"\n", ""));
    let hash = world.config.hash.clone();
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    world.is(State::Backup, at(100), None);
    let node = PeerHeard::new(LB2, 253, at(9_900));
    let stranger = PeerHeard::new(IpAddr::from([192, 0, 2, 77]), 100, at(9_950));
    let all = [&stranger, &node].map(|heard| advertises(Said::Ours(heard.clone())));
    for last in [node, stranger] {
        let (_, said) = world.groups[0].status.as_mut().expect("said");
        said.members[0].heard = Some(last);
        said.members[0].advertisers = all.to_vec();
        let status = world.status(10_000);
        assert_eq!(only_problem(&status).split(": ").next(), Some("192.0.2.77 uses vrid 51 of web too"));
        assert_eq!(status.groups[0].nodes[1].heard, Some(instants(9_900).wall));
        let holder = &status.groups[0].vips[0];
        assert_eq!((holder.unheld.len(), holder.routers[0].foreign.as_deref()), (0, Some("192.0.2.77")));
    }
}

#[test]
fn of_several_strangers_each_is_named_and_the_first_one_stays_the_first() {
    let mut world = World::of(&FILE.replace("interface = \"eth1\"\n", ""));
    world.is(State::Active, at(100), None);
    let of = |last: u8, since: u64| {
        let heard = PeerHeard::new(IpAddr::from([192, 0, 2, last]), 100, at(9_950));
        Advertiser { since: at(since), ..advertises(Said::Others(heard)) }
    };
    let mut look_at = |strangers: Vec<Advertiser>| {
        let (_, said) = world.groups[0].status.as_mut().expect("said");
        said.members[0].advertisers = strangers;
        let problem = world.status(10_000).problems.remove(0);
        assert_eq!(problem.what, "192.0.2.77 uses vrid 51 of web too");
        problem.look_at.rsplit(". ").next().unwrap_or_default().to_owned()
    };
    assert_eq!(look_at(vec![of(78, 9_000), of(77, 5_000)]), "And so does 192.0.2.78 (for other addresses).");
    let many = vec![of(80, 8_000), of(79, 8_000), of(77, 5_000), of(82, 8_000), of(81, 8_000), of(83, 8_000)];
    assert_eq!(
        look_at(many),
        "And so do 192.0.2.79 (for other addresses), 192.0.2.80 (for other addresses), 192.0.2.81 (for other addresses), \
         192.0.2.82 (for other addresses) and 1 more."
    );
}

#[test]
fn a_harmless_stranger_who_came_first_does_not_hide_who_wants_our_addresses() {
    let mut world = World::of(&FILE.replace("interface = \"eth1\"\n", ""));
    world.is(State::Active, at(100), None);
    let heard = |last: u8| PeerHeard::new(IpAddr::from([192, 0, 2, last]), 100, at(9_950));
    let why = "the password is not ours".to_owned();
    let rejected = Rejected { source: IpAddr::from([192, 0, 2, 78]), why, at: at(9_950) };
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    let member = &mut said.members[0];
    let all =
        [(Said::Others(heard(77)), 5_000), (Said::Rejected(rejected), 6_000), (Said::Ours(heard(79)), 9_000)];
    member.advertisers =
        all.map(|(said, since)| Advertiser { since: at(since), ..advertises(said) }).to_vec();
    // The speaker had no room for them.
    member.unsaid = 2;
    let status = world.status(10_000);
    let problem = &status.problems[0];
    assert_eq!(problem.what, "192.0.2.79 uses vrid 51 of web too");
    assert!(problem.look_at.starts_with("it is no node of /etc/lbctl/lb.toml."), "{problem:?}");
    let others = "And so do 192.0.2.78 (dropped), 192.0.2.77 (for other addresses) and 2 more.";
    assert!(problem.look_at.ends_with(others), "{problem:?}");
    // Whoever is heard for longest.
    assert_eq!(status.groups[0].vips[0].routers[0].foreign.as_deref(), Some("192.0.2.77"));
}

#[test]
fn a_node_whose_hellos_are_not_believed_is_named_with_the_reason() {
    let mut world = World::new();
    let hash = world.config.hash.clone();
    world.is(State::Active, at(1_000), None);
    world.hears(at(5_000), State::Backup, Ready::Yes, &hash);
    world
        .session
        .handle_secret(Some(lb_vrrp::Secret::new("correct horse battery staple").expect("long enough")));
    world.hears(at(9_000), State::Backup, Ready::Yes, &hash);
    assert_eq!(
        only_problem(&world.status(10_000)),
        "hellos of lb2 are not signed: What lb2 says is not believed; no address moves by that. It runs without the secret of \
         [cluster]: another file, or one that was not reloaded yet."
    );
}

#[test]
fn a_forged_advertisement_is_a_problem_only_where_the_right_ones_are_missing() {
    let mut world = World::new();
    world.is(State::Backup, at(100), Some(at(9_900)));
    let why = "it has no signature".to_owned();
    let found = lb_vrrp::status::Untrusted { source: LB2, why, dropped: true, at: at(9_950) };
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.untrusted = Some(found);
    let told = |status: &Status| {
        let is = |text: &String| text.contains("192.0.2.12") && text.contains("it has no signature");
        let problems = status.problems.iter().map(|problem| format!("{} {}", problem.what, problem.look_at));
        (status.notes.iter().any(is), problems.collect::<Vec<_>>().iter().any(is))
    };
    assert_eq!(told(&world.status(10_000)), (true, false));
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.members[0].heard = None;
    assert_eq!(told(&world.status(10_000)), (false, true));
}

#[test]
fn addresses_that_the_holder_does_not_have_are_held_by_nobody() {
    let mut world = World::of(&FILE.replace("[\"192.0.2.10\"]", "[\"192.0.2.10\", \"192.0.2.20\"]"));
    let hash = world.config.hash.clone();
    world.hears(at(9_500), State::Active, Ready::Yes, &hash);
    world.is(State::Backup, at(1_000), Some(at(9_900)));
    assert_eq!(world.status(10_000).problems, []);
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    let heard = said.members[0].heard.as_mut().expect("heard");
    heard.lacks = vec![IpAddr::from([192, 0, 2, 20])];
    heard.adds = vec![IpAddr::from([192, 0, 2, 30])];
    let status = world.status(10_000);
    assert_eq!(
        only_problem(&status),
        "nobody holds 192.0.2.20 of web: lb2 holds web by another list of addresses, without these, and has 192.0.2.30 \
         instead. Compare `addresses` in /etc/lbctl/lb.toml on both nodes, copy the right file over the other, then: lbctl \
         reload."
    );
    let screen = crate::output::status::render(&status, crate::output::text::Paint::Never);
    assert!(screen.contains("192.0.2.20 (nobody)") && screen.contains("lb2, in part"), "{screen}");
    // Long ago it may have had another file.
    world.hears(at(13_000), State::Active, Ready::Yes, &hash);
    assert_eq!(world.status(13_100).groups[0].vips[0].unheld, Vec::<String>::new());
    // What this node holds itself is held, whatever the other one said last.
    world.is(State::Active, at(13_200), Some(at(13_150)));
    let (_, said) = world.groups[0].status.as_mut().expect("said");
    said.members[0].heard.as_mut().expect("heard").lacks = vec![IpAddr::from([192, 0, 2, 20])];
    assert_eq!(world.status(13_300).groups[0].vips[0].unheld, Vec::<String>::new());
}

/// Where sources of advertisements are not those of the file: on another interface, and over IPv6.
#[test]
fn a_stranger_is_one_wherever_the_other_node_has_said_where_it_speaks_from() {
    let ipv6 = FILE.replace("interface = \"eth1\"\n", "").replace("\"192.0.2.10\"", "\"2001:db8::10/64\"");
    for (file, node, stranger) in [(FILE, "198.51.100.12", "198.51.100.77"), (&ipv6, "fe80::12", "fe80::77")]
    {
        let of = |text: &str, at| PeerHeard::new(text.parse().expect("an address"), 100, at);
        let (node, stranger) = (of(node, at(9_900)), of(stranger, at(9_950)));
        let mut world = World::of(file);
        world.is(State::Active, at(100), None);
        let (_, said) = world.groups[0].status.as_mut().expect("said");
        said.members[0].heard = Some(stranger.clone());
        said.members[0].advertisers =
            [&stranger, &node].map(|heard| advertises(Said::Ours(heard.clone()))).to_vec();
        // Until then it may be the other node, as far as this one can tell.
        let foreign = |status: &Status| status.groups[0].vips[0].routers[0].foreign.clone();
        assert_eq!(foreign(&world.status(9_960)), None);
        let mut hello = local("lb2", &world.config.hash);
        let addresses = vec![node.source];
        hello.addresses = vec![message::InterfaceAddresses { interface: "eth1".to_owned(), addresses }];
        world.hears_that(at(9_970), hello);
        let status = world.status(10_000);
        let source = stranger.source;
        assert_eq!(foreign(&status), Some(source.to_string()));
        let expected = format!("{source} uses vrid 51 of web too");
        let problem = only_problem(&status);
        assert_eq!(problem.split(": it is no node").next(), Some(expected.as_str()));
        assert!(!problem.contains("And so"), "the node is none: {problem}");
    }
}
