//! What was measured, as it was, and what follows from it. The raw figures are what the file of JSON has.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    cases::Unit,
    histogram::Histogram,
    peers::Peer,
    process::{Cpu, Memory},
    statistics::{Ratio, median},
};

/// Samples that are enough to know the last of a thousand.
const ENOUGH: f64 = 1000.0;

/// One load before one peer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sample {
    pub(crate) peer: Peer,
    pub(crate) round: u32,
    /// So many a second were asked for; `None`: as many as went.
    pub(crate) pace: Option<f64>,
    pub(crate) units: f64,
    /// Requests, round trips, queries.
    pub(crate) exchanges: f64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) latency: Histogram,
}

/// Those of a case.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figures {
    /// Of the case.
    pub(crate) id: String,
    pub(crate) unit: Unit,
    pub(crate) connections: usize,
    /// Before any load.
    pub(crate) rest: Vec<(Peer, Memory)>,
    pub(crate) samples: Vec<Sample>,
}

/// All, and where they come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) place: Place,
    pub(crate) cases: Vec<Figures>,
}

/// Where, when and of what.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Place {
    /// `2026-11-28`.
    pub(crate) day: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) versions: Vec<String>,
    /// Processes that wanted a processor before the run began.
    pub(crate) load: f64,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
}

impl Run {
    pub(crate) fn case(&self, id: &str) -> Option<&Figures> {
        self.cases.iter().find(|case| case.id == id)
    }
}

impl Figures {
    /// Who took part, in order.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.samples.iter().map(|sample| sample.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Samples of a peer: those without a pace, where there are any.
    fn free(&self, peer: Peer) -> Vec<&Sample> {
        let of: Vec<&Sample> = self.samples.iter().filter(|sample| sample.peer == peer).collect();
        let free: Vec<&Sample> = of.iter().copied().filter(|sample| sample.pace.is_none()).collect();
        if free.is_empty() { of } else { free }
    }

    fn paced(&self, peer: Peer) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.peer == peer && sample.pace.is_some())
    }

    /// Units a second.
    pub(crate) fn rate(&self, peer: Peer) -> Option<f64> {
        median(self.free(peer).iter().map(|sample| sample.units / sample.seconds))
    }

    /// Exchanges a second.
    pub(crate) fn exchanges(&self, peer: Peer) -> Option<f64> {
        median(self.free(peer).iter().map(|sample| sample.exchanges / sample.seconds))
    }

    /// Microseconds of processor time for each unit, round by round.
    pub(crate) fn costs(&self, peer: Peer) -> Vec<f64> {
        self.free(peer).iter().map(|sample| sample.cpu.all / sample.units * 1e6).collect()
    }

    /// Of it user time.
    pub(crate) fn user(&self, peer: Peer) -> Option<f64> {
        Some(self.cost(peer)? * self.user_share(peer))
    }

    /// Of it the kernel's.
    pub(crate) fn system(&self, peer: Peer) -> Option<f64> {
        Some(self.cost(peer)? * (1.0 - self.user_share(peer)))
    }

    /// Of all rounds together: a short one has a tick or none.
    fn user_share(&self, peer: Peer) -> f64 {
        let ticks =
            |of: fn(&Cpu) -> f64| -> f64 { self.free(peer).iter().map(|sample| of(&sample.cpu)).sum() };
        let (user, system) = (ticks(|cpu| cpu.user), ticks(|cpu| cpu.system));
        if user + system > 0.0 { user / (user + system) } else { 0.0 }
    }

    pub(crate) fn cost(&self, peer: Peer) -> Option<f64> {
        median(self.costs(peer))
    }

    /// The cheapest of some.
    pub(crate) fn cheapest(&self, is_one: impl Fn(Peer) -> bool) -> Option<Peer> {
        let peers = self
            .peers()
            .into_iter()
            .filter(|peer| !matches!(peer, Peer::Direct | Peer::Lbctl) && is_one(*peer));
        let costs = peers.filter_map(|peer| Some((peer, self.cost(peer)?)));
        costs.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(peer, _)| peer)
    }

    /// What a peer needs beside the best of the others with settings as they are.
    pub(crate) fn ratio(&self, peer: Peer) -> Option<(Ratio, Peer)> {
        let best = self.cheapest(|other| !other.splices())?;
        Some((Ratio::of(&self.costs(peer), &self.costs(best))?, best))
    }

    /// Cores for 10 Gbit/s.
    pub(crate) fn cores(&self, peer: Peer) -> Option<f64> {
        median(self.free(peer).iter().map(|sample| sample.cpu.all / sample.bytes as f64 * 1.25e9))
    }

    /// Latency at the fixed pace: the median of rounds, so that a round in which the machine stood still for everybody
    /// says nothing. Rounds of fewer than 1,000 samples are put together; `None` where all have fewer, and the last of a
    /// thousand is asked for.
    pub(crate) fn latency(&self, peer: Peer, per_mille: u64) -> Option<Duration> {
        let counts = self.samples.iter().filter(|sample| sample.pace.is_some());
        let count = median(counts.map(|sample| sample.latency.count() as f64))?;
        // As many for each peer, also where exchanges failed.
        let rounds = (ENOUGH / count.max(1.0)).ceil();
        let mut groups: Vec<Histogram> = Vec::new();
        let (mut group, mut so_far) = (Histogram::default(), 0.0);
        for sample in self.paced(peer) {
            group.merge(&sample.latency);
            so_far += 1.0;
            if so_far >= rounds {
                groups.push(std::mem::take(&mut group));
                so_far = 0.0;
            }
        }
        match groups.last_mut() {
            Some(last) => last.merge(&group),
            None if per_mille < 999 => groups.push(group),
            None => return None,
        }
        let each = groups.iter().filter_map(|group| Some(group.quantile(per_mille)?.as_secs_f64()));
        median(each).map(Duration::from_secs_f64)
    }

    /// The pace, in units a second.
    pub(crate) fn pace(&self) -> Option<f64> {
        self.samples.iter().find_map(|sample| sample.pace)
    }

    /// Proportional, under load, in KiB.
    pub(crate) fn memory(&self, peer: Peer) -> Option<f64> {
        median(self.free(peer).iter().map(|sample| sample.memory.proportional as f64))
    }

    /// Resident, under load, in KiB.
    pub(crate) fn resident(&self, peer: Peer) -> Option<f64> {
        median(self.free(peer).iter().map(|sample| sample.memory.resident as f64))
    }

    /// KiB that each connection has added, where there are many.
    pub(crate) fn memory_each(&self, peer: Peer) -> Option<f64> {
        if self.connections < 1000 {
            return None;
        }
        let (_, rest) = self.rest.iter().find(|(of, _)| *of == peer)?;
        Some((self.memory(peer)? - rest.proportional as f64) / self.connections as f64)
    }

    /// How many failed, of all rounds.
    pub(crate) fn failed(&self, peer: Peer) -> u64 {
        let of = self.samples.iter().filter(|sample| sample.peer == peer);
        of.flat_map(|sample| sample.failed.values()).sum()
    }
}

/// Made up, for tests.
#[cfg(test)]
pub(crate) mod made_up {
    use super::*;

    /// A peer, its microseconds for a unit in each round, and its latency in microseconds.
    pub(crate) fn figures(id: &str, peers: &[(Peer, &[f64], u64)]) -> Figures {
        let mut samples = Vec::new();
        for (peer, costs, latency) in peers {
            for (round, cost) in (1..).zip(costs.iter()) {
                let all = cost / 1e6 * 1000.0;
                let cpu = Cpu { all, user: all / 4.0, system: all * 0.75 };
                let mut sample = Sample {
                    peer: *peer,
                    round,
                    pace: None,
                    units: 1000.0,
                    exchanges: 1000.0,
                    bytes: 1_250_000_000,
                    seconds: 0.5,
                    cpu,
                    memory: Memory { resident: 9000, proportional: 8000 },
                    failed: BTreeMap::new(),
                    latency: Histogram::default(),
                };
                samples.push(sample.clone());
                sample.pace = Some(1000.0);
                sample.latency.add(latency * 1000, 1000);
                samples.push(sample);
            }
        }
        let rest =
            peers.iter().map(|(peer, ..)| (*peer, Memory { resident: 9000, proportional: 4000 })).collect();
        Figures { id: id.to_owned(), unit: Unit::Request, connections: 1000, rest, samples }
    }

    pub(crate) fn run(cases: Vec<Figures>) -> Run {
        let place = Place {
            day: "2026-11-28".to_owned(),
            cores: 2,
            processor: "A processor".to_owned(),
            kernel: "6.18".to_owned(),
            versions: vec!["lbctl 0.1.0".to_owned(), "HAProxy 3.0".to_owned()],
            load: 0.25,
            rounds: 3,
            seconds: 1.0,
        };
        Run { place, cases }
    }
}

#[cfg(test)]
mod tests {
    use super::{made_up::figures, *};

    #[test]
    fn the_best_peer_is_neither_lbctl_nor_one_with_another_setting() {
        let figures = figures(
            "f-bulk",
            &[
                (Peer::Direct, &[0.0, 0.0], 10),
                (Peer::Lbctl, &[8.0, 10.0], 50),
                (Peer::Haproxy12, &[20.0, 20.0], 60),
                (Peer::Haproxy13, &[15.0, 25.0], 70),
                (Peer::Haproxy13Splice, &[5.0, 5.0], 80),
            ],
        );
        let (ratio, best) = figures.ratio(Peer::Lbctl).unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high, best), (0.45, 0.4, 0.5, Peer::Haproxy12));
        assert_eq!(figures.cheapest(Peer::splices), Some(Peer::Haproxy13Splice));
        assert_eq!(figures.rate(Peer::Lbctl), Some(2000.0));
        assert_eq!((figures.user(Peer::Lbctl), figures.system(Peer::Lbctl)), (Some(2.25), Some(6.75)));
        assert_eq!(figures.memory_each(Peer::Lbctl), Some(4.0));
        let tail = figures.latency(Peer::Lbctl, 999).unwrap();
        assert!((50_000..51_000).contains(&tail.as_nanos()), "{tail:?}");
    }

    #[test]
    fn a_tail_is_that_of_the_round_in_the_middle_and_small_rounds_are_put_together() {
        let mut figures = figures("a", &[(Peer::Lbctl, &[8.0, 8.0, 8.0], 50)]);
        let paced = |figures: &mut Figures, round: u32, nanoseconds: u64, count: u64| {
            let mut of = figures.samples.iter_mut().filter(|sample| sample.pace.is_some());
            let sample = of.find(|sample| sample.round == round).unwrap();
            sample.latency = Histogram::default();
            sample.latency.add(nanoseconds, count);
        };
        let tail = |figures: &Figures| {
            let tail = figures.latency(Peer::Lbctl, 999)?;
            Some(tail.as_micros())
        };
        paced(&mut figures, 2, 40_000_000, 1000);
        assert_eq!(tail(&figures), Some(50), "a single bad round counts");
        // 600 and 600 are a group, and what is left belongs to it.
        (1..=2).for_each(|round| paced(&mut figures, round, 70_000, 600));
        paced(&mut figures, 3, 70_000, 600);
        assert_eq!(tail(&figures), Some(70));
        (1..=3).for_each(|round| paced(&mut figures, round, 70_000, 333));
        assert_eq!(tail(&figures), None);
        assert_eq!(figures.latency(Peer::Lbctl, 990).map(|time| time.as_micros()), Some(70));
    }
}
