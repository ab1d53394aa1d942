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
    load::{Plan, Seen},
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

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
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
        match &case.drive {
            Drive::SlowServer(work, pace) | Drive::DyingServer(work, pace) => {
                self.play_troubled(case, work, *pace, &mut figures, tell)?;
            }
            Drive::Load(work) => {
                let echoes = matches!(work, Work::Echo { .. });
                let servers =
                    if echoes { vec![self.origin.places.echo] } else { self.origin.places.http.to_vec() };
                let targets = self.start(case, &servers, &mut figures)?;
                let load = |target: &Target, pace| self.load(case, work, target, pace);
                self.both(case, &targets, &mut figures, tell, &load)?;
            }
            Drive::Paced(work, pace) => {
                let targets = self.start(case, &self.origin.places.http, &mut figures)?;
                let load = |target: &Target, pace| self.load(case, work, target, pace);
                self.rounds(case, &targets, Some(*pace), &mut figures, tell, &load)?;
            }
            Drive::Sysbench => {
                let database = Database::start(free_port()?, self.folder, &self.processors.others)?;
                let targets = self.start(case, &[database.address], &mut figures)?;
                let load = |target: &Target, pace| {
                    let (seconds, on) = (self.length.seconds, &self.processors.others);
                    Measured::of(target, || {
                        database::load(target.address, case.connections, pace, seconds, self.folder, on)
                    })
                };
                self.both(case, &targets, &mut figures, tell, &load)?;
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
        self.length.rounds
            * match case.drive {
                Drive::Load(_) | Drive::Sysbench => 2 * (peers + 1),
                Drive::Paced(..) => peers + 1,
                Drive::SlowServer(..) | Drive::DyingServer(..) => peers,
            }
    }

    fn start(
        &self,
        case: &Case,
        servers: &[SocketAddr],
        figures: &mut Figures,
    ) -> anyhow::Result<Vec<Target>> {
        let mut targets = vec![Target { peer: Peer::Direct, running: None, address: servers[0] }];
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
        Ok(Target { peer, running: Some(running), address: SocketAddr::from(([127, 0, 0, 1], setup.port)) })
    }

    /// As fast as it goes, then at half of what the slowest proxy did.
    fn both(
        &self,
        case: &Case,
        targets: &[Target],
        figures: &mut Figures,
        tell: &mut impl FnMut(&str),
        load: &impl Fn(&Target, Option<f64>) -> anyhow::Result<Measured>,
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
        targets: &[Target],
        pace: Option<f64>,
        figures: &mut Figures,
        tell: &mut impl FnMut(&str),
        load: &impl Fn(&Target, Option<f64>) -> anyhow::Result<Measured>,
    ) -> anyhow::Result<()> {
        for round in 1..=self.length.rounds {
            for target in targets {
                let measured =
                    load(target, pace).with_context(|| format!("{}: {}", figures.id, target.peer))?;
                measured.note(case, target.peer, round, pace, figures, tell)?;
            }
        }
        Ok(())
    }

    fn load(&self, case: &Case, work: &Work, target: &Target, pace: Option<f64>) -> anyhow::Result<Measured> {
        let plan = Plan {
            target: target.address,
            work: work.clone(),
            connections: case.connections,
            pace,
            seconds: self.length.seconds,
        };
        let on: &[usize] = if shares(case) { &[] } else { &self.processors.others };
        let mut client = Client::start(&plan, self.folder, on)?;
        Measured::of(target, || {
            client.go()?;
            client.seen()
        })
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
        // Long enough for somebody to find out that a server is dead.
        let seconds = self.length.seconds * if dies { 3.0 } else { 1.5 };
        let others = &self.processors.others;
        for round in 1..=self.length.rounds {
            for peer in self.participants(case) {
                let delay = if dies { 0 } else { SLOW };
                let mut bad = Some(Server::start(0, delay, self.folder, others)?);
                let address = bad.as_ref().map(|server| server.places.http[0]).context("a server")?;
                let target = self.start_one(case, peer, &[self.origin.places.http[0], address])?;
                // Two checks of each server.
                thread::sleep(Duration::from_millis(600));
                let plan = Plan {
                    target: target.address,
                    work: work.clone(),
                    connections: case.connections,
                    pace: Some(pace),
                    seconds,
                };
                let mut client = Client::start(&plan, self.folder, others)?;
                let measured = Measured::of(&target, || {
                    client.go()?;
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
    fn of(target: &Target, load: impl FnOnce() -> anyhow::Result<Seen>) -> anyhow::Result<Self> {
        let cpu = || target.running.as_ref().map_or_else(Cpu::default, Running::cpu);
        let before = cpu();
        let seen = load()?;
        let memory = target.running.as_ref().map_or_else(Memory::default, Running::memory);
        Ok(Self { seen, cpu: cpu().since(before), memory })
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
}
