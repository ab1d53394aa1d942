//! The seeded simulation: 2 to 5 machines on an emulated LAN with a client, a virtual clock, and everything that can go
//! wrong. The promises (`sim/promises.rs`) are checked after every event.
//!
//! `SIM_SEEDS=n` widens the ordinary run of 256 seeds, `SIM_STEPS=n` the disturbances of each, `SIM_SEED=s` replays one
//! with its timeline.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "sim/chaos.rs"]
mod chaos;
#[path = "sim/departure.rs"]
mod departure;
#[path = "sim/driver.rs"]
mod driver;
#[path = "sim/forger.rs"]
mod forger;
#[path = "sim/kernel.rs"]
mod kernel;
#[path = "sim/lan.rs"]
mod lan;
#[path = "sim/life.rs"]
mod life;
#[path = "sim/moves.rs"]
mod moves;
#[path = "sim/node.rs"]
mod node;
#[path = "sim/promises.rs"]
mod promises;
#[path = "sim/random.rs"]
mod random;
#[path = "sim/single.rs"]
mod single;
#[path = "sim/together.rs"]
mod together;
#[path = "sim/tracker.rs"]
mod tracker;
#[path = "sim/world.rs"]
mod world;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use lb_vrrp::{
    AdvertisementInterval, Authentication, ChecksumForm, Family, GroupConfig, Interface, MemberConfig,
    Password, PeerKind, Preempt, Priority, Readiness, Secret, Step, Transport, Unicast, Version,
    VirtualAddress, Vrid,
};

use node::Node;
use random::Random;
use tracker::HOLD;
use world::{Broken, MILLISECOND, World};

const SEEDS: u64 = 256;
const STEPS: u64 = 30;

/// What the daemon does for a speaker that is dead or frozen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Guard {
    /// It takes addresses away that nobody advertises.
    Takes,
    /// Nothing, as it was when these seeds found something: with it they are other stories.
    Sleeps,
}

/// Seeds that found something once.
///
/// 860: an address that vanished while exchanges were being reset was never asked to be removed.
///
/// 270: with five nodes in dispute, one of which is deaf and repeats itself, the winner had no answer left for another.
///
/// 9600: the answer of a slow kernel to a removal of before was taken for that of the next one, and the last word went out while
/// the address was there.
///
/// 8286: no fault of the machine; the simulation let a clock go back.
///
/// 71268: of three nodes with two vips two had heard the third one last on the first vip, and each won the tie on the other one.
///
/// 81840: no fault of the machine; an advertisement was promised an answer over a family that had just been cut off.
const PINNED: [u64; 6] = [860, 270, 9600, 8286, 71268, 81840];

/// Since there is a guard.
///
/// 34114: no fault of the machine; a claim was promised to be over by the world's clock, while its own had stood still.
const PINNED_GUARDED: [u64; 1] = [34114];

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = environment("SIM_SEED") {
        replay(seed, environment("SIM_STEPS").unwrap_or(STEPS), Guard::Takes);
        return;
    }
    let steps = environment("SIM_STEPS").unwrap_or(STEPS);
    for seed in 0..environment("SIM_SEEDS").unwrap_or(SEEDS) {
        keeps_the_promises(seed, steps, Guard::Takes);
    }
}

#[test]
fn pinned_seeds_keep_the_promises() {
    for seed in PINNED {
        keeps_the_promises(seed, STEPS, Guard::Sleeps);
    }
    for seed in PINNED_GUARDED {
        keeps_the_promises(seed, STEPS, Guard::Takes);
    }
}

#[test]
fn what_the_nodes_do_is_a_function_of_the_seed() {
    for seed in 0..8 {
        let told = || {
            let (world, result) = run(seed, STEPS, true, Guard::Takes);
            result.unwrap();
            (world.timeline().to_vec(), world.transitions)
        };
        let (timeline, transitions) = told();
        assert!(transitions > 0, "seed {seed} moves nothing");
        assert_eq!((timeline, transitions), told(), "seed {seed}");
    }
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("SIM_* are numbers"))
}

/// One seed; on failure its timeline and how to see it again.
fn keeps_the_promises(seed: u64, steps: u64, guard: Guard) {
    if run(seed, steps, false, guard).1.is_err() {
        replay(seed, steps, guard);
    }
}

fn replay(seed: u64, steps: u64, guard: Guard) {
    let (world, result) = run(seed, steps, true, guard);
    let tail =
        world.timeline().len().saturating_sub(if environment("SIM_SEED").is_some() { 100_000 } else { 150 });
    for line in &world.timeline()[tail..] {
        println!("{line}");
    }
    if let Err(Broken { at, text }) = result {
        panic!(
            "seed {seed}, the guard {guard:?}, {} ms: {text}\nreplay: SIM_SEED={seed} SIM_STEPS={steps} cargo test -p lb-vrrp --test sim \
             every_seed -- --nocapture",
            at / MILLISECOND
        );
    }
}

fn run(seed: u64, steps: u64, record: bool, guard: Guard) -> (World, Result<(), Broken>) {
    let mut random = Random::new(seed);
    let nodes = nodes(seed, &mut random);
    let mut world = World::new(random, nodes, record);
    world.guard = guard;
    let result = story(&mut world, steps);
    (world, result)
}

/// Disturbances in rounds of ten, a calm after each.
fn story(world: &mut World, steps: u64) -> Result<(), Broken> {
    for index in 0..world.nodes.len() {
        let settled = world.random.per_mille(500);
        if settled { world.boot_settled(index)? } else { world.boot(index)? }
    }
    let down = world.nodes[0].down();
    for step in 1..=steps {
        world.disturb()?;
        if step % 10 == 3 {
            // Moves nothing where IPv4 is heard.
            world.lose_ipv6_multicast();
        }
        world.check()?;
        let pause = match world.random.range(0, 4) {
            0 => world.random.range(0, 2 * MILLISECOND),
            1 => world.random.range(0, down / 2),
            _ => world.random.range(0, 3 * down),
        };
        world.run(pause)?;
        if step % 10 == 0 {
            world.calm_down()?;
            settle(world)?;
        }
    }
    Ok(())
}

/// V-49: once nothing has happened for the longest hold and 2 Down_Intervals, one node is Active, if any has no fault;
/// else none.
fn settle(world: &mut World) -> Result<(), Broken> {
    let down = world.nodes[0].down();
    // A pause may outlast the disturbances by twelve intervals.
    world.run(3 * down + HOLD.as_nanos() as u64 + 500 * MILLISECOND + 2 * down)?;
    let mut found = (0, 0);
    // A preemption that is due right now is a move, not a dispute: look again.
    for _ in 0..3 {
        let fit = world.nodes.iter().filter(|node| !node.ended).filter_map(|node| node.group.as_ref());
        let fit = fit.filter(|group| !matches!(group.status().readiness, Readiness::Fault { .. })).count();
        let active = world.nodes.iter().filter(|node| node.is_active()).count();
        found = (fit, active);
        if active == fit.min(1) {
            return Ok(());
        }
        world.run(down)?;
    }
    world.broken(format!("{} nodes without a fault, {} Actives, and all was quiet", found.0, found.1))
}

/// A configuration that the seed draws: number of nodes, interval, virtual routers, preemption, clocks. One seed in ten
/// speaks VRRPv2, half of these with a password, one takes its peers for foreign. One in seven has a vip with both families, one has IPv6
/// alone; one in eleven advertises by unicast; two in nine sign, of which one has nodes at two steps.
fn nodes(seed: u64, random: &mut Random) -> Vec<Node> {
    let count = if random.per_mille(700) { 2 } else { 3 + random.index(3) };
    let interval = [20, 100, 100, 1_000][random.index(4)];
    let members = if random.per_mille(700) { 1 } else { 2 };
    let preempt = match random.range(0, 10) {
        0..5 => Preempt::Degraded,
        5..7 => Preempt::Never,
        _ => Preempt::Always { delay: random.between(Duration::ZERO, Duration::from_secs(3)) },
    };
    let gap = [1, 1, 10, 50][random.index(4)];
    (0..count)
        .map(|index| {
            let priority = 254 - gap * u8::try_from(index).unwrap();
            let rate = i64::try_from(random.range(0, 2001)).unwrap() - 1_000;
            let mut config = config(priority, index == 0, interval, members, preempt);
            match seed % 10 {
                8 => config.members.iter_mut().for_each(|member| speak_version_2(member, seed % 20 == 8)),
                9 => config.peer = PeerKind::Keepalived,
                _ => {}
            }
            match (seed % 7, seed % 10) {
                (_, 8) => {}
                (3, _) => config.members.insert(1, over_ipv6(&config.members[0])),
                (5, _) => config.members = config.members.iter().map(over_ipv6).collect(),
                _ => {}
            }
            match seed % 9 {
                4 => sign(&mut config, Step::Require),
                7 => sign(&mut config, if index == 0 { Step::Accept } else { Step::Send }),
                _ => {}
            }
            if seed % 11 == 4 {
                speak_unicast(&mut config, index, count);
            }
            Node::new(index, config, rate)
        })
        .collect()
}

fn sign(config: &mut GroupConfig, step: Step) {
    let secret = Secret::new("correct horse battery staple").unwrap();
    config.authentication = Some(Authentication { secret, step });
}

/// As node `index` of `count`.
fn speak_unicast(config: &mut GroupConfig, index: usize, count: usize) {
    for member in &mut config.members {
        let address = |index| Node::addresses(index)[usize::from(member.family() == Family::Ipv6)];
        let peers = (0..count).filter(|other| *other != index).map(address).collect();
        member.transport = Transport::Unicast(Unicast { source: address(index), peers, minimum_ttl: 255 });
    }
}

fn speak_version_2(member: &mut MemberConfig, with_password: bool) {
    member.password = with_password.then(|| Password::new("secret").unwrap());
    member.version = Version::V2;
    member.interval = AdvertisementInterval::new(Version::V2, Duration::from_secs(1)).unwrap();
}

/// The same vip over IPv6: a link-local address, and one that clients use.
fn over_ipv6(member: &MemberConfig) -> MemberConfig {
    let last = u16::from(member.vrid.get());
    let addresses =
        [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)];
    let addresses = addresses.map(|address| VirtualAddress { address: address.into(), prefix: 128 });
    MemberConfig { addresses: addresses.to_vec(), ..member.clone() }
}

fn config(priority: u8, first: bool, interval: u64, members: usize, preempt: Preempt) -> GroupConfig {
    let member = |index: usize| {
        let number = u8::try_from(index).unwrap();
        MemberConfig {
            vip: format!("vip{index}"),
            interface: Interface::Named("eth0".to_owned()),
            vrid: Vrid::new(51 + number).unwrap(),
            version: Version::V3,
            interval: AdvertisementInterval::new(Version::V3, Duration::from_millis(interval)).unwrap(),
            addresses: vec![VirtualAddress {
                address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100 + number)),
                prefix: 32,
            }],
            checksum: ChecksumForm::Rfc9568,
            transport: Transport::Multicast,
            password: None,
        }
    };
    GroupConfig {
        name: "default".to_owned(),
        priority: Priority::new(priority).unwrap(),
        first,
        preempt,
        peer: PeerKind::Lbctl,
        peers: (11..16).map(|last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))).collect(),
        garp_refresh: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(1),
        authentication: None,
        members: (0..members).map(member).collect(),
    }
}
