//! Any calls in any order, with answers that come early, late, twice or never: nothing panics (the machine asserts its
//! own invariants after every step), no deadline stands still, and an end is always reached.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Startup,
    Resume { ago: u64 },
    Pass { micros: u64 },
    ToDeadline,
    Timeout,
    Heard { member: usize, source: u8, priority: u8, centiseconds: u64 },
    Readiness(Readiness),
    Link { member: usize, up: bool },
    Source { member: usize, source: Option<u8> },
    Added { member: usize },
    Failed { member: usize },
    Removed { member: usize },
    Stolen { member: usize },
    Foreign { member: usize },
    ExchangesReset,
    PeerReappeared,
    Shutdown,
}

fn any_readiness() -> impl Strategy<Value = Readiness> {
    prop_oneof![
        4 => Just(Readiness::Ready),
        2 => (1..10_usize).prop_map(degraded),
        1 => Just(Readiness::Starting { reason: "just started".to_owned(), degradations: Vec::new() }),
        1 => Just(leaving()),
        1 => Just(fault()),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let member = 0..3_usize;
    let priority = prop_oneof![Just(0_u8), Just(1), 2..18_u8, 18..=255_u8];
    prop_oneof![
        1 => Just(Step::Startup),
        1 => (0..2_000_000_u64).prop_map(|ago| Step::Resume { ago }),
        4 => (0..400_000_u64).prop_map(|micros| Step::Pass { micros }),
        10 => Just(Step::ToDeadline),
        1 => Just(Step::Timeout),
        8 => (member.clone(), 10..14_u8, priority, 1..400_u64).prop_map(
            |(member, source, priority, centiseconds)| Step::Heard { member, source, priority, centiseconds }
        ),
        3 => any_readiness().prop_map(Step::Readiness),
        2 => (member.clone(), any::<bool>()).prop_map(|(member, up)| Step::Link { member, up }),
        1 => (member.clone(), proptest::option::of(10..14_u8))
            .prop_map(|(member, source)| Step::Source { member, source }),
        6 => member.clone().prop_map(|member| Step::Added { member }),
        1 => member.clone().prop_map(|member| Step::Failed { member }),
        6 => member.clone().prop_map(|member| Step::Removed { member }),
        1 => member.clone().prop_map(|member| Step::Stolen { member }),
        1 => member.prop_map(|member| Step::Foreign { member }),
        3 => Just(Step::ExchangesReset),
        1 => Just(Step::PeerReappeared),
        1 => Just(Step::Shutdown),
    ]
}

fn address(member: usize) -> VirtualAddress {
    let last = if member == 0 { 100 } else { 52 };
    VirtualAddress { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), prefix: 32 }
}

fn apply(node: &mut Node, step: Step) {
    let now = node.now;
    let source = |last: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    match step {
        Step::Startup => node.group.handle_startup(now, Start::Fresh),
        Step::Resume { ago } => {
            let last = now - Duration::from_micros(ago);
            node.group.handle_startup(now, Start::ResumeActive { last });
        }
        Step::Pass { micros } => node.pause(micros),
        Step::ToDeadline => {
            if let Some((at, _)) = node.group.poll_timeout() {
                node.now = at.max(now);
                node.group.handle_timeout(node.now);
            }
        }
        Step::Timeout => node.group.handle_timeout(now),
        Step::Heard { member, source: last, priority, centiseconds } => {
            let advertisement = Advertisement {
                version: Version::V3,
                vrid: Vrid::new(51).unwrap(),
                priority,
                interval: Duration::from_millis(10 * centiseconds),
                addresses: vec![VIP.address],
            };
            node.group.handle_advertisement(now, MemberId(member), source(last), &advertisement);
        }
        Step::Readiness(readiness) => node.group.handle_readiness(now, readiness),
        Step::Link { member, up } => {
            let link = if up { Ok(()) } else { Err("link is down".to_owned()) };
            node.group.handle_link(now, MemberId(member), link);
        }
        Step::Source { member, source: last } => {
            node.group.handle_source(now, MemberId(member), last.map(source));
        }
        Step::Added { member } => node.group.handle_address_added(now, MemberId(member), address(member)),
        Step::Failed { member } => {
            node.group.handle_address_failed(now, MemberId(member), address(member), "refused");
        }
        Step::Removed { member } => node.group.handle_address_removed(now, MemberId(member), address(member)),
        Step::Stolen { member } => node.group.handle_address_stolen(now, MemberId(member), address(member)),
        Step::Foreign { member } => {
            node.group.handle_address_foreign(now, MemberId(member), address(member), "static");
        }
        Step::ExchangesReset => node.group.handle_exchanges_reset(now),
        Step::PeerReappeared => node.group.handle_peer_reappeared(now),
        Step::Shutdown => node.group.handle_shutdown(now, "stopped"),
    }
}

fn any_config() -> impl Strategy<Value = GroupConfig> {
    let preempt = prop_oneof![
        Just(Preempt::Degraded),
        Just(Preempt::Never),
        (0..3_000_u64).prop_map(|ms| Preempt::Always { delay: Duration::from_millis(ms) }),
    ];
    let peer = prop_oneof![Just(PeerKind::Lbctl), Just(PeerKind::Keepalived)];
    (18..=254_u8, any::<bool>(), preempt, peer, 1..20_u64).prop_map(
        |(priority, first, preempt, peer, tens)| {
            let mut config = config(priority);
            config.members =
                vec![member("web", 51, Version::V3, 10 * tens), member("mail", 52, Version::V3, 10)];
            GroupConfig { first, preempt, peer, ..config }
        },
    )
}

proptest! {
    #[test]
    fn any_calls_in_any_order_are_survived(
        config in any_config(),
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut node = Node::new(config);
        node.answers = false;
        for step in steps {
            apply(&mut node, step);
            let mut outputs = 0;
            while let Some(output) = node.group.poll_output() {
                outputs += 1;
                prop_assert!(outputs < 64, "{output:?}: no end of outputs");
                if let Output::Transmit { advertisement, .. } = &output {
                    prop_assert!(advertisement.priority == 0 || node.group.state() != State::Initialize);
                }
            }
        }
        prop_assert!(node.group.status().transitions.len() <= 20);
        // No deadline stands still.
        for _ in 0..50 {
            let Some((at, why)) = node.group.poll_timeout() else { break };
            node.now = at.max(node.now);
            node.group.handle_timeout(node.now);
            while node.group.poll_output().is_some() {}
            let next = node.group.poll_timeout();
            prop_assert!(next.is_none_or(|(next, _)| next > node.now), "{why:?} at {at:?}, then {next:?}");
        }
        // An end is reached, with a kernel that never answers by the end of the lease.
        node.group.handle_shutdown(node.now, "stopped");
        node.run(2_500_000);
        prop_assert_eq!(node.state(), State::Initialize);
    }
}
