//! Two nodes with one secret over a bad wire, with a forger and a recorder on it, cuts, restarts, and clocks that have nothing to do
//! with each other: what a node shows of the other one is what that one has said just now, or that it is silent.
//! `SIM_SEED=n` replays one seed, `SIM_SEEDS=n` runs more.

use std::env::var;

use super::{super::super::random::Random, *};

/// In milliseconds, as all moments of the world here.
const STEP: u64 = 10;
const DURATION: u64 = 90_000;
const LONGEST_DELAY: u64 = 200;

/// Silence is seen after 2.75 s of a clock that may be slow, and a hello may have been on its way for some time.
const STALE: u64 = 2_750 + 30 + LONGEST_DELAY + STEP;

/// After all is well each hears a hello of the other one, which then hears that it was heard: twice a second and a delay, and some
/// more for what was said just before.
const MET: u64 = 4 * 1_000 + 3 * LONGEST_DELAY;

const ADDRESSES: [IpAddr; 2] = [LB1, LB2];

struct Node {
    session: Option<Session>,
    /// In milliseconds beside the world's, and how much faster, of ten thousand.
    clock: (u64, u64),
    boots: u64,
    /// What it says, as the hash of its file: a number that no forger has.
    says: u64,
    /// When it has said which of these.
    said: Vec<(u64, String)>,
}

struct World {
    now: u64,
    random: Random,
    nodes: [Node; 2],
    /// Arrives then, there, and was said by the other node.
    wire: Vec<(u64, usize, Vec<u8>)>,
    recorded: Vec<Vec<u8>>,
    is_cut: [bool; 2],
    /// Of a thousand.
    loss: u64,
    /// Since when everything is well.
    well_since: Option<u64>,
}

impl Node {
    fn local(&self, index: usize) -> Local {
        let state = if self.says.is_multiple_of(2) { State::Active } else { State::Backup };
        local(["lb1", "lb2"][index], &format!("{:064}", self.says), state)
    }

    fn at(&self, now: u64) -> Moment {
        let (offset, faster) = self.clock;
        at(offset + now + now * faster / 10_000)
    }

    fn start(&mut self, index: usize, now: u64) {
        self.boots += 1;
        let peer = (["lb2", "lb1"][index].to_owned(), ADDRESSES[1 - index]);
        let boot = format!("boot-{index}-{}", self.boots);
        let mut session = Session::new(self.at(now), boot, self.local(index), [peer]);
        session.handle_secret(ours());
        self.session = Some(session);
    }
}

fn ours() -> Option<Secret> {
    Some(Secret::new("correct horse battery staple").expect("long enough"))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let nodes = [0, 1].map(|index| {
            let clock = (random.between(0, 100_000_000), random.between(0, 100));
            let mut node = Node { session: None, clock, boots: 0, says: index as u64, said: Vec::new() };
            node.start(index, 0);
            node
        });
        let (wire, recorded) = (Vec::new(), Vec::new());
        Self { now: 0, random, nodes, wire, recorded, is_cut: [false; 2], loss: 0, well_since: Some(0) }
    }

    /// Something happens, now and then.
    fn disturb(&mut self) {
        let index = usize::from(self.random.between(0, 2) == 1);
        match self.random.between(0, 3_000) {
            0..4 => self.is_cut[index] = !self.is_cut[index],
            4..8 => self.is_cut = [false; 2],
            8..12 => self.loss = self.random.between(0, 400),
            12..16 => self.loss = 0,
            16..19 => self.nodes[index].session = None,
            19..25 => {
                self.nodes[index].start(index, self.now);
                self.well_since = None;
            }
            25..100 => {
                let node = &mut self.nodes[index];
                node.says += 2 + self.random.between(0, 2);
                let (now, local) = (node.at(self.now), node.local(index));
                node.session.iter_mut().for_each(|session| session.handle_local(now, local.clone()));
            }
            100..500 => self.lie(index),
            _ => return,
        }
        let is_well = self.is_cut == [false; 2] && self.loss == 0;
        let both = self.nodes.iter().all(|node| node.session.is_some());
        self.well_since = match self.well_since {
            Some(since) if is_well && both => Some(since),
            _ => (is_well && both).then_some(self.now),
        };
    }

    /// Somebody on the LAN says something to a node in the name of the other one.
    fn lie(&mut self, to: usize) {
        let name = ["lb2", "lb1"][to];
        let mut forger = Session::new(
            at(self.random.between(0, 100_000)),
            format!("boot-{}-{}", 1 - to, self.random.between(0, 20)),
            local(name, "ffff", State::Active),
            [("x".to_owned(), ADDRESSES[to])],
        );
        forger.counter = self.random.between(0, 1_000);
        let lie = match self.random.between(0, 4) {
            0 => said(&mut forger, at(200_000)).expect("due"),
            1 => {
                forger.handle_secret(Some(Secret::new("a secret of somebody else").expect("long enough")));
                said(&mut forger, at(200_000)).expect("due")
            }
            what => {
                let Some(last) = self.recorded.len().checked_sub(1) else { return };
                let mut recorded = self.recorded[self.random.between(0, last as u64 + 1) as usize].clone();
                if what == 2 {
                    let place = self.random.between(0, recorded.len() as u64) as usize;
                    recorded[place] ^= 1 << self.random.between(0, 8);
                }
                recorded
            }
        };
        self.wire.push((self.now, to, lie));
    }

    fn step(&mut self) {
        self.now += STEP;
        self.disturb();
        let now = self.now;
        for index in [0, 1] {
            let node = &mut self.nodes[index];
            let (moment, says) = (node.at(now), node.local(index).file);
            let Some(session) = &mut node.session else { continue };
            session.handle_timeout(moment);
            while let Some((_, bytes)) = session.poll_transmit() {
                node.said.push((now, says.clone()));
                for _ in 0..if self.random.between(0, 20) == 0 { 2 } else { 1 } {
                    if !self.is_cut[index] && self.random.between(0, 1_000) >= self.loss {
                        let arrives = now + self.random.between(0, LONGEST_DELAY);
                        self.wire.push((arrives, 1 - index, bytes.clone()));
                    }
                }
            }
            node.said.retain(|(at, _)| at + STALE > now);
        }
        let (due, later) = std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= now);
        self.wire = later;
        for (_, to, bytes) in due {
            let node = &mut self.nodes[to];
            let moment = node.at(now);
            if let Some(session) = &mut node.session {
                session.handle_datagram(moment, from(ADDRESSES[1 - to]), Some(255), &bytes);
                events(session);
                self.recorded.push(bytes);
            }
        }
    }

    /// What is not true, in words.
    fn check(&self) -> Result<(), String> {
        for index in [0, 1] {
            let Some(session) = &self.nodes[index].session else { continue };
            let [peer] = session.peers() else { return Err("one peer".to_owned()) };
            let (other, shown) = (&self.nodes[1 - index], peer.last.as_ref().map(|(_, hello)| &hello.file));
            if !peer.silent
                && let Some(shown) = shown
                && !other.said.iter().any(|(_, said)| said == shown)
            {
                return Err(format!(
                    "node {index} shows {shown}, and the other one has said {:?}",
                    other.said
                ));
            }
            let is_shown = !peer.silent && shown.is_some();
            if self.well_since.is_some_and(|since| since + MET < self.now) && !is_shown {
                return Err(format!("node {index} does not know the other one, since {:?}", self.well_since));
            }
        }
        Ok(())
    }
}

#[test]
fn what_is_shown_of_the_other_node_is_what_it_has_said_just_now() {
    let number = |name: &str| var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = number("SIM_SEED").map_or(0..number("SIM_SEEDS").unwrap_or(64), |seed| seed..seed + 1);
    let is_one = seeds.end - seeds.start < 16;
    let (mut shown, mut refused) = (0_u64, 0_u64);
    for seed in seeds {
        let mut world = World::new(seed);
        while world.now < DURATION {
            world.step();
            if let Err(why) = world.check() {
                panic!(
                    "seed {seed}, after {} ms: {why}\nSIM_SEED={seed} cargo test -p lbctl --lib simulated",
                    world.now
                );
            }
        }
        for session in world.nodes.iter().filter_map(|node| node.session.as_ref()) {
            let count = |name: &str| session.counters().get(name).copied().unwrap_or(0);
            shown += count("hello_received");
            refused += count("hello_replay") + count("hello_signature") + count("hello_unsigned");
        }
    }
    assert!(
        is_one || shown > 100 && refused > 100,
        "{shown} believed, {refused} refused: not what was to be tried"
    );
}
