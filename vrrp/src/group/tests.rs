//! Tests of the machine, by hand-driven time. What it does is written as lines, so that an expectation reads like a log:
//! `advertise 254`, `add 192.0.2.100`, `Backup -> Active: ...`.

#![allow(clippy::wildcard_enum_match_arm, reason = "the fakes answer what they know")]

mod announce;
mod claim;
mod dual_stack;
mod election;
mod facts;
mod forged;
mod members;
mod random;
mod reconfigure;
mod replaced;
mod resign;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{Group, Start};
use crate::{
    AdvertisementInterval, ChecksumForm, GroupConfig, Interface, MemberConfig, MemberId, Moment, Output,
    PeerKind, Preempt, Priority, Readiness, State, TimeoutReason, Transport, Version, VirtualAddress, Vrid,
    advertisement::Advertisement,
};

/// The source of the node under test.
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
/// A peer with a lower, and one with a higher address.
const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const HIGHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 13));

const VIP: VirtualAddress = VirtualAddress { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)), prefix: 32 };

/// When every test begins.
const BEGIN: Moment = Moment::from_nanos(1_000_000_000_000);

/// Version 3, 100 ms, one address, `degraded`.
fn config(priority: u8) -> GroupConfig {
    GroupConfig {
        name: "default".to_owned(),
        priority: Priority::new(priority).unwrap(),
        first: false,
        preempt: Preempt::Degraded,
        peer: PeerKind::Lbctl,
        peers: Vec::new(),
        garp_refresh: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(1),
        authentication: None,
        members: vec![member("web", 51, Version::V3, 100)],
    }
}

fn member(vip: &str, vrid: u8, version: Version, interval: u64) -> MemberConfig {
    let last = if vrid == 51 { 100 } else { vrid };
    MemberConfig {
        vip: vip.to_owned(),
        interface: Interface::Named("eth0".to_owned()),
        vrid: Vrid::new(vrid).unwrap(),
        version,
        interval: AdvertisementInterval::new(version, Duration::from_millis(interval)).unwrap(),
        addresses: vec![VirtualAddress { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), prefix: 32 }],
        checksum: ChecksumForm::Rfc9568,
        transport: Transport::Multicast,
        password: None,
    }
}

fn degraded(n: usize) -> Readiness {
    Readiness::Degraded { reasons: (0..n).map(|i| format!("backend b{i} has no usable server")).collect() }
}

fn leaving() -> Readiness {
    Readiness::Leaving { reason: "stopping".to_owned() }
}

fn fault() -> Readiness {
    Readiness::Fault { reason: "worker 1 stalled for 1.2 s".to_owned() }
}

/// A machine, its clock, and (unless told otherwise) a kernel and a daemon that answer at once.
struct Node {
    group: Group,
    now: Moment,
    answers: bool,
}

impl Node {
    /// Ready, link up, source known, not started.
    fn new(config: GroupConfig) -> Self {
        let members = config.members.len();
        let mut group = Group::new(config, BEGIN);
        for index in 0..members {
            group.handle_link(BEGIN, MemberId(index), Ok(()));
            group.handle_source(BEGIN, MemberId(index), Some(OURS));
        }
        group.handle_readiness(BEGIN, Readiness::Ready);
        Self { group, now: BEGIN, answers: true }
    }

    /// A Backup that has just begun to listen.
    fn backup(config: GroupConfig) -> Self {
        let mut node = Self::new(config);
        node.group.handle_startup(BEGIN, Start::Fresh);
        assert_eq!(node.drain(), ["Initialize -> Backup: started"]);
        node
    }

    /// An Active whose claim is 10 s old, and whose last advertisement has just left.
    fn active(config: GroupConfig) -> Self {
        let mut node = Self::backup(config);
        node.run(10_000_000);
        let (at, why) = node.group.poll_timeout().unwrap();
        assert_eq!(why, TimeoutReason::Advertise);
        node.now = at;
        node.group.handle_timeout(at);
        node.drain();
        assert_eq!(node.group.state(), State::Active);
        node
    }

    /// What it did, as lines; the kernel answers.
    fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.group.poll_output() {
            lines.push(line(&output));
            match output {
                Output::AddAddress { member, address } if self.answers => {
                    self.group.handle_address_added(self.now, member, address);
                }
                Output::RemoveAddress { member, address } if self.answers => {
                    self.group.handle_address_removed(self.now, member, address);
                }
                Output::ResetExchanges if self.answers => self.group.handle_exchanges_reset(self.now),
                _ => {}
            }
        }
        lines
    }

    /// Lets `micros` pass, calling the machine exactly at its deadlines. What it did, with the time since the call.
    fn run(&mut self, micros: u64) -> Vec<String> {
        let begin = self.now;
        let end = begin + Duration::from_micros(micros);
        let mut lines = Vec::new();
        while let Some((at, _)) = self.group.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.group.handle_timeout(self.now);
            let passed = self.now.saturating_since(begin).as_micros();
            lines.extend(self.drain().iter().map(|line| format!("{passed} us: {line}")));
        }
        self.now = end;
        lines
    }

    /// Lets time pass without the machine being scheduled.
    fn pause(&mut self, micros: u64) {
        self.now = self.now + Duration::from_micros(micros);
    }

    fn hear(&mut self, source: IpAddr, priority: u8) -> Vec<String> {
        self.hear_on(0, source, priority)
    }

    fn hear_on(&mut self, index: usize, source: IpAddr, priority: u8) -> Vec<String> {
        let member = &self.group.config().members[index];
        let advertisement = Advertisement {
            version: member.version,
            vrid: member.vrid,
            priority,
            interval: member.interval.get(),
            addresses: member.addresses.iter().map(|address| address.address).collect(),
        };
        self.hear_exactly(index, source, &advertisement)
    }

    fn hear_exactly(&mut self, index: usize, source: IpAddr, advertisement: &Advertisement) -> Vec<String> {
        self.group.handle_advertisement(self.now, MemberId(index), source, advertisement);
        self.drain()
    }

    fn readiness(&mut self, readiness: Readiness) -> Vec<String> {
        self.group.handle_readiness(self.now, readiness);
        self.drain()
    }

    fn state(&self) -> State {
        self.group.state()
    }

    fn counter(&self, name: &str) -> u64 {
        self.group.status().counters.get(name).copied().unwrap_or(0)
    }
}

fn line(output: &Output) -> String {
    let on = |member: &MemberId| if member.0 == 0 { String::new() } else { format!(" on {}", member.0) };
    match output {
        Output::Transmit { member, advertisement } => {
            format!("advertise {}{}", advertisement.priority, on(member))
        }
        Output::AddAddress { address, .. } => format!("add {}", address.address),
        Output::RemoveAddress { address, .. } => format!("remove {}", address.address),
        Output::Announce { address, .. } => format!("announce {}", address.address),
        Output::ResetExchanges => "reset exchanges".to_owned(),
        Output::Transition(transition) => {
            format!("{} -> {}: {}", transition.from, transition.to, transition.reason)
        }
        Output::Remark { text } => text.clone(),
        Output::Warning { key, .. } => format!("warning {key}"),
    }
}
