//! Another configuration for a group that runs: `lbctl reload` moves nothing that it does not name.

use super::*;
use crate::{
    Authentication, Password, Secret, Step, Unicast,
    group::{CantReconfigure, check_reconfigure},
};

fn address(last: u8) -> VirtualAddress {
    VirtualAddress { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), prefix: 32 }
}

fn with_addresses(priority: u8, addresses: &[u8]) -> GroupConfig {
    let mut config = config(priority);
    config.members[0].addresses = addresses.iter().copied().map(address).collect();
    config
}

fn with_interval(priority: u8, millis: u64) -> GroupConfig {
    let mut config = config(priority);
    let interval = AdvertisementInterval::new(Version::V3, Duration::from_millis(millis));
    config.members[0].interval = interval.unwrap();
    config
}

impl Node {
    fn reconfigure(&mut self, config: GroupConfig) -> Vec<String> {
        self.group.handle_config(self.now, config).unwrap();
        self.drain()
    }

    fn installed(&self) -> Vec<String> {
        let status = self.group.status();
        status.members[0].installed.iter().map(|one| one.address.to_string()).collect()
    }
}

#[test]
fn same_configuration_does_nothing_in_any_state() {
    for mut node in [Node::new(config(200)), Node::backup(config(200)), Node::active(config(200))] {
        let (state, timeout) = (node.state(), node.group.poll_timeout());
        assert_eq!(node.reconfigure(config(200)), [""; 0]);
        assert_eq!((node.state(), node.group.poll_timeout()), (state, timeout));
    }
}

#[test]
fn active_adds_and_removes_addresses_and_touches_none_that_stays() {
    let mut node = Node::active(with_addresses(200, &[100, 101]));
    assert_eq!(
        node.reconfigure(with_addresses(200, &[101, 102])),
        ["remove 192.0.2.100", "advertise 200", "add 192.0.2.102", "announce 192.0.2.102"]
    );
    assert_eq!(node.installed(), ["192.0.2.101", "192.0.2.102"]);
    // Once more a second later, as what is new may have been missed.
    let lines = node.run(1_000_000);
    assert_eq!(lines.iter().filter(|line| line.ends_with("announce 192.0.2.102")).count(), 1);
    assert_eq!(node.state(), State::Active);
    // All of them go when it does.
    node.group.handle_shutdown(node.now, "stop");
    let lines = node.drain();
    assert!(
        lines.contains(&"remove 192.0.2.101".to_owned()) && lines.contains(&"remove 192.0.2.102".to_owned())
    );
    assert!(!lines.contains(&"remove 192.0.2.100".to_owned()));
}

#[test]
fn virtual_router_whose_settings_stay_sends_as_before_and_keeps_its_addresses() {
    let two = |millis, last| {
        let mut config = config(200);
        config.members.push(member("mail", 52, Version::V3, millis));
        config.members[1].addresses = vec![address(last)];
        config
    };
    let mut node = Node::active(two(100, 52));
    node.run(40_000);
    assert_eq!(
        node.reconfigure(two(200, 53)),
        ["remove 192.0.2.52", "advertise 200 on 1", "add 192.0.2.53", "announce 192.0.2.53"]
    );
    assert_eq!(
        node.run(260_000),
        [
            "60000 us: advertise 200",
            "160000 us: advertise 200",
            "200000 us: advertise 200 on 1",
            "260000 us: advertise 200"
        ]
    );
    // A priority is the node's: all of them say it, once.
    let mut new = two(200, 53);
    new.priority = Priority::new(190).unwrap();
    new.members[1].addresses.push(address(54));
    let lines = node.reconfigure(new);
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("advertise")).collect::<Vec<_>>(),
        ["advertise 190", "advertise 190 on 1"]
    );
}

fn two_vips(web: &[u8], mail: &[u8]) -> GroupConfig {
    let mut config = with_addresses(200, web);
    config.members.push(member("mail", 52, Version::V3, 100));
    config.members[1].addresses = mail.iter().copied().map(address).collect();
    config
}

#[test]
fn addresses_that_two_vips_swap_on_their_interface_stay_where_they_are() {
    let mut node = Node::active(two_vips(&[100, 101], &[52]));
    assert_eq!(
        node.reconfigure(two_vips(&[52, 101], &[100])),
        ["advertise 200", "advertise 200 on 1"],
        "neither removed nor added"
    );
    let status = node.group.status();
    let installed = |member: usize| {
        let all = status.members[member].installed.iter();
        all.map(|one| one.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(installed(0), ["192.0.2.52", "192.0.2.101"]);
    assert_eq!(installed(1), ["192.0.2.100"]);
    // One that somebody removes is its new vip's to put back, and all of them go when the group does.
    node.group.handle_address_stolen(node.now, MemberId(1), address(100));
    assert!(node.drain().contains(&"add 192.0.2.100".to_owned()));
    node.group.handle_shutdown(node.now, "stop");
    let lines = node.drain();
    for last in [52, 100, 101] {
        let removed = lines.iter().filter(|line| line.starts_with(&format!("remove 192.0.2.{last}")));
        assert_eq!(removed.count(), 1, "{lines:?}");
    }
}

#[test]
fn an_address_that_moves_to_a_vip_on_another_interface_leaves_the_first() {
    let on_another = |web: &[u8], mail: &[u8]| {
        let mut config = two_vips(web, mail);
        config.members[1].interface = Interface::Named("eth1".to_owned());
        config
    };
    let mut node = Node::active(on_another(&[100, 101], &[52]));
    let lines = node.reconfigure(on_another(&[100], &[52, 101]));
    assert!(lines.contains(&"remove 192.0.2.101".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("add 192.0.2.101")), "{lines:?}");
}

#[test]
fn vips_that_changed_places_in_the_file_are_put_where_they_run() {
    let running = two_vips(&[100], &[52]);
    let mut swapped = two_vips(&[100], &[52]);
    swapped.members.reverse();
    assert!(check_reconfigure(&running, &swapped).is_err(), "a group knows them by their places");
    swapped.order_as(&running);
    assert_eq!(swapped, running);
}

#[test]
fn backup_claims_with_the_addresses_of_its_last_configuration() {
    let mut node = Node::backup(with_addresses(200, &[100]));
    assert_eq!(node.reconfigure(with_addresses(200, &[101])), [""; 0]);
    let lines = node.run(10_000_000);
    assert!(lines.iter().any(|line| line.ends_with("add 192.0.2.101")));
    assert!(!lines.iter().any(|line| line.contains("192.0.2.100")));
}

#[test]
fn address_that_comes_while_a_claim_waits_for_the_last_word_is_added_with_the_others() {
    let mut node = Node::backup(with_addresses(200, &[100]));
    node.hear(LOWER, 3);
    // Skew_Time after a degraded peer was heard; its last word is awaited for 60 ms.
    node.run(30_000);
    assert_eq!(node.state(), State::Active);
    assert_eq!(node.installed(), [""; 0]);
    assert_eq!(node.reconfigure(with_addresses(200, &[100, 101])), ["advertise 200"]);
    node.run(100_000);
    assert_eq!(node.installed(), ["192.0.2.100", "192.0.2.101"]);
}

#[test]
fn shorter_interval_makes_an_active_neither_late_nor_silent() {
    let mut node = Node::active(with_interval(200, 1_000));
    node.run(900_000);
    assert_eq!(node.reconfigure(with_interval(200, 100)), ["advertise 200"]);
    let lines = node.run(300_000);
    assert_eq!(lines, ["100000 us: advertise 200", "200000 us: advertise 200", "300000 us: advertise 200"]);
    assert_eq!(node.counter("late"), 0);
}

#[test]
fn longer_interval_counts_from_an_advertisement_that_says_so() {
    let mut node = Node::active(with_interval(200, 100));
    assert_eq!(node.reconfigure(with_interval(200, 1_000)), ["advertise 200"]);
    assert_eq!(node.run(999_000), [""; 0]);
    assert_eq!(node.run(1_000), ["1000 us: advertise 200"]);
}

#[test]
fn backup_waits_for_the_interval_of_the_active_until_that_changes_as_well() {
    let mut node = Node::backup(with_interval(200, 1_000));
    let mut heard = Advertisement {
        version: Version::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: 254,
        interval: Duration::from_millis(1_000),
        addresses: vec![VIP.address],
    };
    node.hear_exactly(0, LOWER, &heard);
    node.reconfigure(with_interval(200, 100));
    assert_eq!(node.run(2_900_000), [""; 0], "the Active sends every second");
    heard.interval = Duration::from_millis(100);
    node.hear_exactly(0, LOWER, &heard);
    assert_eq!(node.run(299_000), [""; 0]);
    node.run(100_000);
    assert_eq!(node.state(), State::Active);
}

#[test]
fn changed_priority_is_advertised_at_once_and_moves_nothing() {
    let mut node = Node::active(config(200));
    assert_eq!(node.reconfigure(config(150)), ["advertise 150"]);
    assert_eq!(node.state(), State::Active);
    let mut node = Node::backup(config(150));
    node.hear(LOWER, 200);
    assert_eq!(node.reconfigure(config(254)), [""; 0]);
    assert_eq!(node.run(100_000), [""; 0]);
}

#[test]
fn preemption_begins_and_ends_with_the_configuration() {
    let with = |preempt| GroupConfig { preempt, ..config(200) };
    let always = Preempt::Always { delay: Duration::ZERO };
    let mut node = Node::backup(with(Preempt::Degraded));
    node.hear(LOWER, 100);
    node.reconfigure(with(always));
    node.reconfigure(with(Preempt::Degraded));
    node.hear(LOWER, 100);
    assert_eq!(node.run(50_000), [""; 0], "called off");
    node.reconfigure(with(always));
    node.run(50_000);
    assert_eq!(node.state(), State::Active);
}

#[test]
fn address_that_could_not_be_installed_is_no_fault_once_the_file_does_not_have_it() {
    let mut node = Node::active(with_addresses(200, &[100]));
    node.answers = false;
    node.reconfigure(with_addresses(200, &[100, 101]));
    node.answers = true;
    node.group.handle_address_failed(node.now, MemberId(0), address(101), "no room");
    node.drain();
    assert_eq!(node.state(), State::Initialize);
    let lines = node.reconfigure(with_addresses(200, &[100]));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("Initialize -> Backup: over: fault: vip web: 192.0.2.101"), "{lines:?}");
}

#[test]
fn removal_that_is_under_way_goes_on() {
    let mut node = Node::active(with_addresses(200, &[100, 101]));
    node.answers = false;
    node.group.handle_shutdown(node.now, "stop");
    assert_eq!(node.drain(), ["reset exchanges"]);
    node.reconfigure(with_addresses(200, &[101, 102]));
    node.answers = true;
    let lines = node.run(5_000);
    assert_eq!(lines[..2], ["5000 us: remove 192.0.2.100", "5000 us: remove 192.0.2.101"]);
}

#[test]
fn what_would_make_two_owners_is_refused_and_changes_nothing() {
    let other_member = |change: fn(&mut MemberConfig)| {
        let mut config = config(200);
        change(&mut config.members[0]);
        config
    };
    let table: [(GroupConfig, &str); 7] = [
        (
            other_member(|member| member.vrid = Vrid::new(52).unwrap()),
            "vrid of vip web can't change while it runs: the two nodes would own the address at the same time while their files differ",
        ),
        (
            other_member(|member| member.interface = Interface::Named("eth1".to_owned())),
            "interface of vip web can't change while it runs: the two nodes would own the address at the same time while their files differ",
        ),
        (
            other_member(|member| *member = super::member("web", 51, Version::V2, 1_000)),
            "version of vip web can't change while it runs: the two nodes would own the address at the same time while their files differ",
        ),
        (
            with_interval(200, 1_010),
            "advertisement_interval of vip web can't change by more than a factor of 10 at once: do it in steps, on both nodes each time",
        ),
        (other_member(|member| member.vip = "other".to_owned()), "vip other can't come while the group runs"),
        (GroupConfig { members: Vec::new(), ..config(200) }, "vip web can't go while the group runs"),
        (
            GroupConfig { peer: PeerKind::Keepalived, ..config(200) },
            "the other nodes of group default can't be of another kind while it runs",
        ),
    ];
    for (new, expected) in table {
        let mut node = Node::active(config(200));
        let error = node.group.handle_config(node.now, new).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(node.drain(), [""; 0]);
        assert_eq!(node.group.config(), &config(200));
    }
    let v2 =
        |interval| GroupConfig { members: vec![member("web", 51, Version::V2, interval)], ..config(200) };
    let error = check_reconfigure(&v2(1_000), &v2(2_000)).unwrap_err();
    assert!(matches!(error, CantReconfigure::Interval { .. }), "{error}");
}

/// While the files differ, each node has to hear the other.
#[test]
fn nodes_by_unicast_may_come_and_go_but_none_changes_its_address() {
    let by_unicast = |source: [u8; 4], peers: &[[u8; 4]]| {
        let mut config = config(200);
        let peers = peers.iter().copied().map(IpAddr::from).collect();
        config.members[0].transport =
            Transport::Unicast(Unicast { source: source.into(), peers, minimum_ttl: 255 });
        config
    };
    let (own, peer, third) = ([192, 0, 2, 12], [192, 0, 2, 11], [192, 0, 2, 13]);
    let pair = by_unicast(own, &[peer]);
    let three = by_unicast(own, &[peer, third]);
    assert_eq!(check_reconfigure(&pair, &three), Ok(()));
    assert_eq!(check_reconfigure(&three, &pair), Ok(()));
    let mut protected = config(200);
    protected.members[0].password = Some(Password::new("secret").unwrap());
    let refused = check_reconfigure(&config(200), &protected).unwrap_err().to_string();
    assert!(refused.starts_with("password of vip web can't change"), "{refused}");
    for new in [config(200), by_unicast(third, &[peer]), by_unicast(own, &[third])] {
        let refused = check_reconfigure(&pair, &new).unwrap_err().to_string();
        assert!(refused.starts_with("transport of vip web can't change"), "{refused}");
    }
}

#[test]
fn signatures_come_and_go_step_by_step_and_the_secret_changes_where_nobody_drops_anything() {
    const STEPS: [Option<Step>; 4] = [None, Some(Step::Send), Some(Step::Accept), Some(Step::Require)];
    let with = |step: Option<Step>, text: &str| GroupConfig {
        authentication: step.map(|step| Authentication { secret: Secret::new(text).unwrap(), step }),
        ..config(200)
    };
    let refused = |old: &GroupConfig, new: &GroupConfig| {
        check_reconfigure(old, new).err().map(|error| error.to_string())
    };
    let (one, other) = ("correct horse battery staple", "wrong horse battery staple");
    for (from, old) in STEPS.into_iter().enumerate() {
        for (to, new) in STEPS.into_iter().enumerate() {
            let skips = refused(&with(old, one), &with(new, one));
            assert_eq!(skips.is_some(), from.abs_diff(to) > 1, "{old:?} {new:?}");
            assert!(skips.is_none_or(|why| why.starts_with("sign_advertisements can't skip a step")));
            if from.abs_diff(to) <= 1 && from > 0 && to > 0 {
                let why = refused(&with(old, one), &with(new, other));
                assert_eq!(why.is_some(), (from, to) != (1, 1), "{old:?} {new:?}");
                assert!(why.is_none_or(|why| why.starts_with("the secret can't change unless")));
            }
        }
    }
    let mut group = Group::new(with(Some(Step::Send), one), Moment::from_nanos(1));
    let next = with(Some(Step::Send), other);
    assert_eq!(group.handle_config(Moment::from_nanos(2), next.clone()), Ok(()));
    assert_eq!(group.config(), &next);
}
