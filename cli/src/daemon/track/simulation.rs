//! Two nodes, each with its tracker, its own checks and a real VRRP machine, over one outage of the servers, or, with every other
//! seed, of what a `[track.*]` looks at.
//!
//! The claim under test: what both nodes lose moves nothing, whoever is Active and however their checks interleave; what
//! one node loses alone moves the address away from it, once. `SIM_SEED=n` replays one seed, `SIM_SEEDS=n` runs more.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use lb_proxy::{
    Health,
    status::{BackendHealth, ListenerHealth},
};
use lb_vrrp::{
    AdvertisementInterval, ChecksumForm, Group, GroupConfig, Interface, MemberConfig, MemberId, Moment,
    Output, PeerKind, Preempt, Priority, Readiness, State, Version, VirtualAddress, Vrid,
    advertisement::Advertisement, group::Start,
};

use super::{Tracked, Tracker, TrackerConfig, What};
use crate::daemon::random::Random;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(2);
const RISE: u32 = 2;
const FALL: u32 = 3;
/// Twice the interval plus the timeout.
const HOLD: Duration = Duration::from_secs(6);
const DELAY: Duration = Duration::from_millis(1);
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 10));

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000_000 + milliseconds * 1_000_000)
}

/// A time during which a node can't reach the servers.
#[derive(Clone, Copy, Debug)]
struct Outage {
    from: Moment,
    until: Moment,
}

/// Active checks of one backend, as the proxy makes them.
struct Checks {
    next: Moment,
    /// A failing check is known to have failed this much later.
    failure_takes: Duration,
    pending: Option<(Moment, bool)>,
    usable: bool,
    in_a_row: u32,
    done: bool,
}

impl Checks {
    fn due(&self) -> Moment {
        self.pending.map_or(self.next, |(at, _)| at)
    }

    /// True if the health changed.
    fn step(&mut self, now: Moment, outage: Option<Outage>) -> bool {
        if let Some((at, passed)) = self.pending
            && now >= at
        {
            self.pending = None;
            let first = !self.done;
            self.done = true;
            self.in_a_row = if passed == self.usable { 0 } else { self.in_a_row + 1 };
            let enough = if first {
                1
            } else if passed {
                RISE
            } else {
                FALL
            };
            if self.in_a_row >= enough {
                self.usable = passed;
                self.in_a_row = 0;
                return true;
            }
            return first;
        }
        if self.pending.is_none() && now >= self.next {
            let fails = outage.is_some_and(|outage| now >= outage.from && now < outage.until);
            let takes = if fails { self.failure_takes } else { Duration::from_millis(1) };
            self.pending = Some((now + takes, !fails));
            self.next = now + INTERVAL;
        }
        false
    }

    fn health(&self) -> Health {
        Health {
            first_round_done: self.done,
            backends: vec![BackendHealth {
                name: "app".to_owned(),
                counts: true,
                usable: usize::from(self.usable),
                pending: false,
                total: 1,
                reason: (!self.usable).then(|| "connection refused".to_owned()),
            }],
            listeners: vec![ListenerHealth {
                frontend: "web".to_owned(),
                label: "web:80".to_owned(),
                address: Some((ADDRESS, 80).into()),
                bound: true,
            }],
            stalled_workers: vec![None],
        }
    }
}

struct Node {
    source: IpAddr,
    starts: Moment,
    started: bool,
    group: Group,
    tracker: Tracker,
    checks: Checks,
    outage: Option<Outage>,
    told: Option<Readiness>,
}

impl Node {
    fn new(random: &mut Random, what: What, index: u8, starts: Moment, outage: Option<Outage>) -> Self {
        let failure_takes = if random.next().is_multiple_of(2) { Duration::from_millis(1) } else { TIMEOUT };
        Self {
            source: [198, 51, 100, 1 + index].into(),
            starts,
            started: false,
            group: Group::new(group_config(index), starts),
            tracker: Tracker::new(tracker_config(what), starts),
            checks: Checks {
                next: starts + Duration::from_millis(random.between(0, 2_000)),
                failure_takes,
                pending: None,
                usable: false,
                in_a_row: 0,
                done: false,
            },
            outage,
            told: None,
        }
    }

    fn due(&self) -> Moment {
        if !self.started {
            return self.starts;
        }
        let group = self.group.poll_timeout().map(|(at, _)| at);
        let tracker = self.tracker.poll_timeout().map(|(at, _)| at);
        group.into_iter().chain(tracker).fold(self.checks.due(), Moment::min)
    }

    /// Everything that is due; what it sends is returned.
    fn step(&mut self, now: Moment) -> Vec<Advertisement> {
        if now < self.starts {
            return Vec::new();
        }
        if !self.started {
            self.started = true;
            self.group.handle_source(now, MemberId(0), Some(self.source));
            self.group.handle_link(now, MemberId(0), Ok(()));
            self.group.handle_startup(now, Start::Fresh);
        }
        if self.checks.step(now, self.outage) {
            self.tracker.handle_health(now, &self.checks.health());
            // Of a backend nobody asks for it.
            let failed = (!self.checks.usable).then_some("no answer");
            self.tracker.handle_condition(now, "app", failed);
        }
        self.group.handle_timeout(now);
        let mut sent = Vec::new();
        loop {
            sent.extend(self.drain(now));
            self.tracker.handle_state(now, self.group.state());
            self.tracker.handle_timeout(now);
            let readiness = self.tracker.readiness();
            if self.told.as_ref() == Some(&readiness) {
                return sent;
            }
            self.told = Some(readiness.clone());
            self.group.handle_readiness(now, readiness);
        }
    }

    fn drain(&mut self, now: Moment) -> Vec<Advertisement> {
        let mut sent = Vec::new();
        while let Some(output) = self.group.poll_output() {
            match output {
                Output::Transmit { advertisement, .. } => sent.push(advertisement),
                Output::AddAddress { member, address } => {
                    self.group.handle_address_added(now, member, address)
                }
                Output::RemoveAddress { member, address } => {
                    self.group.handle_address_removed(now, member, address);
                }
                Output::ResetExchanges => self.group.handle_exchanges_reset(now),
                Output::Announce { .. }
                | Output::Transition(_)
                | Output::Remark { .. }
                | Output::Warning { .. } => {}
            }
        }
        sent
    }
}

fn group_config(index: u8) -> GroupConfig {
    GroupConfig {
        name: "default".to_owned(),
        priority: Priority::new(254 - index).expect("in range"),
        first: index == 0,
        preempt: Preempt::Degraded,
        peer: PeerKind::Lbctl,
        peers: Vec::new(),
        garp_refresh: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(1),
        authentication: None,
        members: vec![MemberConfig {
            vip: "web".to_owned(),
            interface: Interface::Named("eth1".to_owned()),
            vrid: Vrid::new(51).expect("in range"),
            version: Version::V3,
            interval: AdvertisementInterval::new(Version::V3, Duration::from_secs(1)).expect("in range"),
            addresses: vec![VirtualAddress { address: ADDRESS, prefix: 32 }],
            checksum: ChecksumForm::Rfc9568,
            transport: lb_vrrp::Transport::Multicast,
            password: None,
        }],
    }
}

fn tracker_config(what: What) -> TrackerConfig {
    TrackerConfig {
        frontends: vec!["web".to_owned()],
        addresses: vec![ADDRESS],
        tracked: vec![Tracked { name: "app".to_owned(), hold: HOLD, what }],
        first_round_limit: TIMEOUT,
    }
}

/// A node becomes Active at the moment.
type Move = (Moment, usize);

/// Runs a pair until `end` and returns every time a node became Active.
fn run(mut nodes: [Node; 2], end: Moment) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut states = [State::Initialize; 2];
    let mut wire: VecDeque<(Moment, usize, Advertisement)> = VecDeque::new();
    loop {
        let delivery = wire.front().map(|(at, _, _)| *at);
        let now = delivery.into_iter().fold(nodes[0].due().min(nodes[1].due()), Moment::min);
        if now >= end {
            return moves;
        }
        while wire.front().is_some_and(|(at, _, _)| *at <= now) {
            let Some((_, to, advertisement)) = wire.pop_front() else { break };
            let source = nodes[1 - to].source;
            if nodes[to].started {
                nodes[to].group.handle_advertisement(now, MemberId(0), source, &advertisement);
            }
        }
        for index in 0..2 {
            for advertisement in nodes[index].step(now) {
                wire.push_back((now + DELAY, 1 - index, advertisement));
            }
            let state = nodes[index].group.state();
            if state == State::Active && states[index] != State::Active {
                moves.push((now, index));
            }
            states[index] = state;
        }
    }
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIM_SEEDS").unwrap_or(256)).collect(),
    }
}

/// A pair whose Active is `active` from the start, and an outage as each node sees it.
fn outage(seed: u64, active: usize, seen_by: [bool; 2], seconds: (u64, u64)) -> (Vec<Move>, Outage) {
    let mut random = Random(seed);
    let what = if seed.is_multiple_of(2) { What::Backend } else { What::Degradation };
    let from = at(random.between(30_000, 36_000));
    let outage =
        Outage { from, until: from + Duration::from_millis(random.between(seconds.0, seconds.1) * 1_000) };
    let nodes = [0, 1].map(|index| {
        let starts = if index == active { at(0) } else { at(5_000) };
        let seen = seen_by[index].then_some(outage);
        Node::new(&mut random, what, u8::try_from(index).expect("two nodes"), starts, seen)
    });
    (run(nodes, outage.until + Duration::from_secs(40)), outage)
}

#[test]
fn the_backends_lost_by_both_nodes_move_nothing_with_either_node_active() {
    for seed in seeds() {
        for active in [0, 1] {
            let (moves, outage) = outage(seed, active, [true, true], (1, 40));
            let who: Vec<usize> = moves.iter().map(|(_, node)| *node).collect();
            assert_eq!(who, [active], "SIM_SEED={seed}, Active node {active}, {outage:?}: {moves:?}");
        }
    }
}

#[test]
fn the_backends_lost_by_the_active_alone_move_the_address_once() {
    for seed in seeds() {
        for active in [0, 1] {
            let (moves, outage) = outage(seed, active, [active == 0, active == 1], (16, 40));
            let who: Vec<usize> = moves.iter().map(|(_, node)| *node).collect();
            assert_eq!(
                who,
                [active, 1 - active],
                "SIM_SEED={seed}, Active node {active}, {outage:?}: {moves:?}"
            );
            let moved = moves[1].0.saturating_since(outage.from);
            // Three checks, the time of the last one, and the hold.
            let bound = INTERVAL * FALL + TIMEOUT + HOLD + Duration::from_millis(500);
            assert!(moved <= bound, "SIM_SEED={seed}: moved after {moved:?}");
        }
    }
}

#[test]
fn the_backends_lost_by_the_backup_alone_move_nothing() {
    for seed in seeds() {
        for active in [0, 1] {
            let (moves, outage) = outage(seed, active, [active != 0, active != 1], (1, 40));
            let who: Vec<usize> = moves.iter().map(|(_, node)| *node).collect();
            assert_eq!(who, [active], "SIM_SEED={seed}, Active node {active}, {outage:?}: {moves:?}");
        }
    }
}

#[test]
fn the_more_backends_are_lost_the_worse_is_the_level() {
    for seed in seeds() {
        let mut random = Random(seed);
        let names: Vec<String> = (0..8).map(|number| format!("app{number}")).collect();
        let mut config = tracker_config(What::Backend);
        config.tracked = names
            .iter()
            .map(|name| Tracked { name: name.clone(), hold: HOLD, what: What::Backend })
            .collect();
        let mut tracker = Tracker::new(config, at(0));
        tracker.handle_state(at(0), State::Backup);
        let health = |usable: &[bool]| {
            let mut health = Health { first_round_done: true, ..Health::default() };
            health.backends = names
                .iter()
                .zip(usable)
                .map(|(name, usable)| BackendHealth {
                    name: name.clone(),
                    counts: true,
                    usable: usize::from(*usable),
                    pending: false,
                    total: 1,
                    reason: None,
                })
                .collect();
            health
        };
        let mut usable = vec![true; 8];
        tracker.handle_health(at(0), &health(&usable));
        tracker.handle_timeout(at(10_000));
        assert_eq!(tracker.readiness(), Readiness::Ready);
        for lost in 1..=8 {
            let still: Vec<usize> = (0..8).filter(|index| usable[*index]).collect();
            let victim = still[usize::try_from(random.next()).unwrap_or(0) % still.len()];
            usable[victim] = false;
            tracker.handle_health(at(10_000 + lost), &health(&usable));
            let Readiness::Degraded { reasons } = tracker.readiness() else {
                panic!("SIM_SEED={seed}: {:?} after losing {lost}", tracker.readiness())
            };
            assert_eq!(reasons.len() as u64, lost, "SIM_SEED={seed}");
        }
    }
}
