//! Plays cases: the same load before each peer in turn, round by round, so that a noisy minute hits all of them.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    cases::{Case, Drive, Kind, SLOW, Unit},
    client::{Client, Server},
    database::{self, Database},
    exchange::Work,
    figures::{Figures, Sample},
    load::{Plan, Seen, Turn},
    peers::{Peer, Programs},
    process::{Cpu, Memory, Running},
    setup::Setup,
    statistics::short,
};

/// Who works on which processors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Processors {
    pub(crate) proxy: Vec<usize>,
    pub(crate) others: Vec<usize>,
}

impl Processors {
    /// The first is the proxy's, the others are for client and servers. One alone is everybody's.
    pub(crate) fn of(all: &[usize]) -> Self {
        match all {
            [] | [_] => Self { proxy: Vec::new(), others: Vec::new() },
            [first, others @ ..] => Self { proxy: vec![*first], others: others.to_vec() },
        }
    }
}

/// So many connections that begin at once are not served within a short round.
const CROWD: usize = 4000;

/// How long, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Length {
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
}

impl Length {
    /// Fewer and longer ones, where each needs a while to begin, or to show anything.
    fn coarse(self) -> Self {
        Self { rounds: self.rounds.div_ceil(4), seconds: self.seconds * 4.0 }
    }

    /// Longer ones, where nobody has had a turn yet when a short one is over.
    fn of_a_crowd(self) -> Self {
        Self { rounds: self.rounds.div_ceil(2), seconds: self.seconds * 4.0 }
    }

    /// Long enough for nine times the thousand exchanges that a p99.9 is made of, but three times as long at most.
    fn at(self, pace: f64) -> Self {
        let wanted = 9000.0 / pace / f64::from(self.rounds);
        Self { seconds: wanted.clamp(self.seconds, 3.0 * self.seconds), ..self }
    }
}

/// Everything that a case is played with.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) peers: &'a [Peer],
    pub(crate) folder: &'a Path,
    pub(crate) processors: &'a Processors,
    pub(crate) length: Length,
    pub(crate) origin: &'a Server,
}

/// Someone who listens; `None` where there is no proxy.
struct Target {
    peer: Peer,
    running: Option<Running>,
    address: SocketAddr,
    /// Keeps its connections from round to round.
    client: Option<Client>,
}

impl Stage<'_> {
    /// Plays a case; each sample is told.
    pub(crate) fn play(&self, case: &Case, tell: &mut impl FnMut(&str)) -> anyhow::Result<Figures> {
        let mut figures = Figures {
            id: case.id.to_owned(),
            unit: case.unit,
            connections: case.connections,
            rest: Vec::new(),
            samples: Vec::new(),
        };
        let mut load = |target: &mut Target, turn: Turn| {
            Measured::of(target, |client| {
                let client = client.context("a client")?;
                client.go(turn)?;
                client.seen()
            })
        };
        match &case.drive {
            Drive::SlowServer(work, pace) | Drive::DyingServer(work, pace) => {
                self.play_troubled(case, work, *pace, &mut figures, tell)?;
            }
            Drive::Load(work) => {
                let echoes = matches!(work, Work::Echo { .. });
                let servers =
                    if echoes { vec![self.origin.places.echo] } else { self.origin.places.http.to_vec() };
                let mut targets = self.start(case, &servers, &mut figures)?;
                self.connect(case, work, &mut targets)?;
                self.both(case, &mut targets, &mut figures, tell, &mut load)?;
            }
            Drive::Paced(work, pace) => {
                let mut targets = self.start(case, &self.origin.places.http, &mut figures)?;
                self.connect(case, work, &mut targets)?;
                self.rounds(case, &mut targets, Some(*pace), &mut figures, tell, &mut load)?;
            }
            Drive::Sysbench => {
                let database = Database::start(free_port()?, self.folder, &self.processors.others)?;
                let mut targets = self.start(case, &[database.address], &mut figures)?;
                let mut load = |target: &mut Target, Turn { pace, seconds }: Turn| {
                    let (address, on) = (target.address, &self.processors.others);
                    Measured::of(target, |_| {
                        database::load(address, case.connections, pace, seconds, self.folder, on)
                    })
                };
                self.both(case, &mut targets, &mut figures, tell, &mut load)?;
            }
        }
        Ok(figures)
    }

    /// Who takes part in a case.
    fn participants(&self, case: &Case) -> Vec<Peer> {
        let splicing = self.peers.iter().filter_map(|peer| peer.splicing()).filter(|_| case.splices);
        self.peers.iter().copied().chain(splicing).collect()
    }

    /// How many loads a case is.
    pub(crate) fn loads(&self, case: &Case) -> u32 {
        let peers = u32::try_from(self.participants(case).len()).unwrap_or_default();
        self.length(case).rounds
            * match case.drive {
                Drive::Load(_) | Drive::Sysbench => 2 * (peers + 1),
                Drive::Paced(..) => peers + 1,
                Drive::SlowServer(..) | Drive::DyingServer(..) => peers,
            }
    }

    fn length(&self, case: &Case) -> Length {
        match case.drive {
            Drive::Load(_) if case.connections >= CROWD => self.length.of_a_crowd(),
            Drive::Load(_) | Drive::Paced(..) => self.length,
            Drive::SlowServer(..) | Drive::DyingServer(..) | Drive::Sysbench => self.length.coarse(),
        }
    }

    fn start(
        &self,
        case: &Case,
        servers: &[SocketAddr],
        figures: &mut Figures,
    ) -> anyhow::Result<Vec<Target>> {
        let mut targets =
            vec![Target { peer: Peer::Direct, running: None, address: servers[0], client: None }];
        for peer in self.participants(case) {
            targets.push(self.start_one(case, peer, servers)?);
        }
        // Only now: pages that several of them share are divided among them.
        for target in &targets {
            figures.rest.extend(target.running.as_ref().map(|running| (target.peer, running.memory())));
        }
        Ok(targets)
    }

    fn start_one(&self, case: &Case, peer: Peer, servers: &[SocketAddr]) -> anyhow::Result<Target> {
        let setup = Setup {
            port: free_port()?,
            job: case.job,
            workers: case.workers,
            servers: servers.to_vec(),
            syslog: self.origin.places.syslog,
        };
        let on: &[usize] = if shares(case) { &[] } else { &self.processors.proxy };
        let running = self.programs.start(peer, &setup, self.folder, on)?;
        let address = SocketAddr::from(([127, 0, 0, 1], setup.port));
        Ok(Target { peer, running: Some(running), address, client: None })
    }

    /// A client for each.
    fn connect(&self, case: &Case, work: &Work, targets: &mut [Target]) -> anyhow::Result<()> {
        let on: &[usize] = if shares(case) { &[] } else { &self.processors.others };
        for target in targets {
            let plan = Plan { target: target.address, work: work.clone(), connections: case.connections };
            let client = Client::start(&plan, self.folder, on)
                .with_context(|| format!("{}: {}", case.id, target.peer))?;
            target.client = Some(client);
        }
        Ok(())
    }

    /// As fast as it goes, then at half of what the slowest proxy did.
    fn both(
        &self,
        case: &Case,
        targets: &mut [Target],
        figures: &mut Figures,
        tell: &mut impl FnMut(&str),
        load: &mut impl FnMut(&mut Target, Turn) -> anyhow::Result<Measured>,
    ) -> anyhow::Result<()> {
        self.rounds(case, targets, None, figures, tell, load)?;
        let proxies = targets.iter().filter(|target| target.running.is_some());
        let exchanges = proxies.filter_map(|target| figures.exchanges(target.peer));
        let slowest = exchanges.min_by(f64::total_cmp).context("no proxy takes part")?;
        self.rounds(case, targets, Some((slowest / 2.0).max(1.0)), figures, tell, load)
    }

    fn rounds(
        &self,
        case: &Case,
        targets: &mut [Target],
        pace: Option<f64>,
        figures: &mut Figures,
        tell: &mut impl FnMut(&str),
        load: &mut impl FnMut(&mut Target, Turn) -> anyhow::Result<Measured>,
    ) -> anyhow::Result<()> {
        let length = self.length(case);
        let Length { rounds, seconds } = pace.map_or(length, |pace| length.at(pace));
        for round in 1..=rounds {
            for target in &mut *targets {
                let measured = load(target, Turn { pace, seconds })
                    .with_context(|| format!("{}: {}", figures.id, target.peer))?;
                measured.note(case, target.peer, round, pace, figures, tell)?;
            }
        }
        Ok(())
    }

    /// One after the other, because a server belongs to each: one that is slow, or one that dies.
    fn play_troubled(
        &self,
        case: &Case,
        work: &Work,
        pace: f64,
        figures: &mut Figures,
        tell: &mut impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let dies = matches!(case.drive, Drive::DyingServer(..));
        let length = self.length(case);
        // Long enough for somebody to find out that a server is dead.
        let seconds = length.seconds * if dies { 3.0 } else { 1.5 };
        let others = &self.processors.others;
        for round in 1..=length.rounds {
            for peer in self.participants(case) {
                let delay = if dies { 0 } else { SLOW };
                let mut bad = Some(Server::start(0, delay, self.folder, others)?);
                let address = bad.as_ref().map(|server| server.places.http[0]).context("a server")?;
                let mut target = self.start_one(case, peer, &[self.origin.places.http[0], address])?;
                // Two checks of each server.
                thread::sleep(Duration::from_millis(600));
                self.connect(case, work, std::slice::from_mut(&mut target))?;
                let measured = Measured::of(&mut target, |client| {
                    let client = client.context("a client")?;
                    client.go(Turn { pace: Some(pace), seconds })?;
                    if dies {
                        thread::sleep(Duration::from_secs_f64(seconds / 3.0));
                        bad = None;
                    }
                    client.seen()
                })?;
                measured.note(case, peer, round, Some(pace), figures, tell)?;
            }
        }
        Ok(())
    }
}

/// Is every processor everybody's? Two workers on the only one that is the proxy's would say nothing.
fn shares(case: &Case) -> bool {
    case.kind == Kind::I
}

/// A load and what it cost.
struct Measured {
    seen: Seen,
    cpu: Cpu,
    memory: Memory,
}

impl Measured {
    fn of(
        target: &mut Target,
        load: impl FnOnce(Option<&mut Client>) -> anyhow::Result<Seen>,
    ) -> anyhow::Result<Self> {
        let Target { running, client, .. } = target;
        let cpu = || running.as_ref().map_or_else(Cpu::default, Running::cpu);
        let before = cpu();
        let seen = load(client.as_mut())?;
        let cpu = cpu().since(before);
        let memory = running.as_ref().map_or_else(Memory::default, Running::memory);
        Ok(Self { seen, cpu, memory })
    }

    /// Puts it among the figures.
    fn note(
        self,
        case: &Case,
        peer: Peer,
        round: u32,
        pace: Option<f64>,
        figures: &mut Figures,
        tell: &mut impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let Seen { done, failed, bytes, seconds, latency, slow } = self.seen;
        let exchanges = case.size.map_or((done + slow) as f64, |size| bytes as f64 / size);
        if exchanges <= 0.0 {
            bail!("{}: nothing was done before {peer}: {failed:?}", case.id);
        }
        let units = if case.unit == Unit::Gigabyte { bytes as f64 / 1e9 } else { exchanges };
        let Self { cpu, memory, .. } = self;
        let sample =
            Sample { peer, round, pace, units, exchanges, bytes, seconds, cpu, memory, failed, latency };
        tell(&line(figures, &sample));
        figures.samples.push(sample);
        Ok(())
    }
}

/// A sample in a line.
fn line(figures: &Figures, sample: &Sample) -> String {
    let Figures { id, unit, .. } = figures;
    let Sample { peer, round, pace, units, seconds, cpu, failed, latency, .. } = sample;
    let mut text = format!("{id}, round {round}, {peer}: {} {}/s", short(units / seconds), unit.plural());
    if *peer != Peer::Direct {
        text += &format!(", {} us each", short(cpu.all / units * 1e6));
    }
    if pace.is_some() {
        let [half, most] = [500, 990].map(|of| latency.quantile(of).unwrap_or_default().as_micros());
        text += &format!(", p50 {half} us, p99 {most} us");
    }
    if !failed.is_empty() {
        text += &format!(", FAILED {failed:?}");
    }
    text
}

/// One that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_has_a_processor_of_its_own_where_there_are_two() {
        assert_eq!(Processors::of(&[0, 1]), Processors { proxy: vec![0], others: vec![1] });
        assert_eq!(Processors::of(&[2, 3, 5]), Processors { proxy: vec![2], others: vec![3, 5] });
        assert_eq!(Processors::of(&[7]), Processors { proxy: vec![], others: vec![] });
    }

    #[test]
    fn rounds_are_longer_where_few_exchanges_are_made() {
        let length = Length { rounds: 12, seconds: 0.25 };
        assert_eq!(length.at(20_000.0), length);
        assert_eq!(length.at(1500.0), Length { seconds: 0.5, ..length });
        assert_eq!(length.of_a_crowd(), Length { rounds: 6, seconds: 1.0 });
        assert_eq!(length.at(10.0), Length { seconds: 0.75, ..length });
        assert_eq!(length.coarse(), Length { rounds: 3, seconds: 1.0 });
        assert_eq!(Length { rounds: 1, seconds: 0.2 }.coarse().rounds, 1);
    }
}
