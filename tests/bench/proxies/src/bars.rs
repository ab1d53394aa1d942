//! What lbctl has to reach, for each case, and whether it did.

use std::fmt;

use crate::{
    cases::Kind,
    figures::{Figures, Run},
    peers::Peer,
    statistics::{Ratio, short},
};

/// Of what a bar is. Processor time is that of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// Processor time beside the best of the four with settings as they are.
    Best(f64),
    /// Beside the best of all, HAProxy with `option splice-auto` among them.
    BestOfAll(f64),
    /// Beside the best HAProxy with `option splice-auto`.
    BestSplicing(f64),
    /// Beside the best HAProxy without it.
    BestCopying(f64),
    /// Cores for 10 Gbit/s.
    Cores(f64),
    /// The slowest of a thousand at the fixed pace: no slower than HAProxy's.
    Tail,
    /// Processor time beside lbctl's own in another case.
    Beside(&'static str, f64),
    /// Nothing fails, or as little as with the best of the others: a server may die.
    Failures,
    /// Memory of each connection, with its server's where it has one: at most HAProxy's, and at most so many KiB if that is said.
    Memory(Option<f64>),
}

/// A bar and what was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) is_held: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.id, if self.is_held { "held" } else { "MISSED" }, self.text)
    }
}

/// The bars of a case.
pub(crate) fn of(id: &str, kind: Kind) -> Vec<Bar> {
    let mut bars = match id {
        "a" => vec![Bar::Best(0.80)],
        "b" => vec![Bar::Best(0.70)],
        "c" | "g" => vec![Bar::Best(0.95)],
        "d-10k" => vec![],
        "e" => vec![Bar::BestOfAll(0.70), Bar::Cores(0.5)],
        "f-bulk" => vec![Bar::BestSplicing(0.80), Bar::BestCopying(0.45), Bar::Cores(0.5)],
        "f-ping" => vec![Bar::Best(0.75)],
        "h-1000" => vec![Bar::Beside("h-100", 1.40)],
        "h-8000" => vec![Bar::Memory(None)],
        "h-idle" => vec![Bar::Memory(Some(12.0))],
        "i-2" => vec![Bar::Beside("i-1", 1.10)],
        "j" => vec![Bar::Best(0.80)],
        _ if kind == Kind::D => vec![Bar::BestOfAll(0.60), Bar::Cores(0.5)],
        _ => vec![],
    };
    bars.extend([Bar::Tail, Bar::Failures]);
    bars
}

/// All that can be said of the bars of a run, in order.
pub(crate) fn verdicts(run: &Run, kind: impl Fn(&str) -> Option<Kind>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for case in &run.cases {
        let Some(kind) = kind(&case.id) else { continue };
        let found = of(&case.id, kind).into_iter().filter_map(|bar| verdict(run, case, bar));
        verdicts.extend(found.map(|(text, is_held)| Verdict { id: case.id.clone(), text, is_held }));
    }
    verdicts
}

/// `None` where somebody is missing who is needed for it.
fn verdict(run: &Run, case: &Figures, bar: Bar) -> Option<(String, bool)> {
    let beside = |best: Peer, limit: f64| {
        let ratio = Ratio::of(&case.costs(Peer::Lbctl), &case.costs(best))?;
        Some((
            format!("{ratio} of the processor time of {best}; the bar is {limit:.2}"),
            ratio.median <= limit,
        ))
    };
    match bar {
        Bar::Best(limit) => beside(case.cheapest(|peer| !peer.splices())?, limit),
        Bar::BestOfAll(limit) => beside(case.cheapest(|_| true)?, limit),
        Bar::BestSplicing(limit) => beside(case.cheapest(Peer::splices)?, limit),
        Bar::BestCopying(limit) => beside(case.cheapest(|peer| peer.is_haproxy() && !peer.splices())?, limit),
        Bar::Cores(limit) => {
            let cores = case.cores(Peer::Lbctl)?;
            Some((format!("{} cores for 10 Gbit/s; the bar is {limit:.2}", short(cores)), cores <= limit))
        }
        Bar::Beside(other, limit) => {
            let ratio = Ratio::of(&case.costs(Peer::Lbctl), &run.case(other)?.costs(Peer::Lbctl))?;
            Some((
                format!("{ratio} of its processor time in {other}; the bar is {limit:.2}"),
                ratio.median <= limit,
            ))
        }
        Bar::Tail => {
            let haproxys = case.peers().into_iter().filter(|peer| peer.is_haproxy());
            let tails = haproxys.filter_map(|peer| Some((case.latency(peer, 999)?, peer)));
            let (theirs, peer) = tails.min()?;
            let ours = case.latency(Peer::Lbctl, 999)?;
            let [one, other] = [ours, theirs].map(|time| short(time.as_secs_f64() * 1e6));
            Some((format!("p99.9 of {one} us, {other} us of {peer}; the bar is as much"), ours <= theirs))
        }
        Bar::Failures => {
            let peers = case.peers().into_iter();
            let others = peers.filter(|peer| !matches!(peer, Peer::Direct | Peer::Lbctl));
            let (fewest, peer) = others.map(|peer| (case.failed(peer), peer)).min()?;
            let ours = case.peers().contains(&Peer::Lbctl).then(|| case.failed(Peer::Lbctl))?;
            let text = format!("{ours} exchanges failed, {fewest} of {peer}; the bar is none, or as few");
            Some((text, ours <= fewest))
        }
        Bar::Memory(limit) => {
            let haproxys = case.peers().into_iter().filter(|peer| peer.is_haproxy());
            let theirs = haproxys.filter_map(|peer| case.memory_each(peer)).min_by(f64::total_cmp)?;
            let ours = case.memory_each(Peer::Lbctl)?;
            let beside = limit.map_or_else(String::new, |limit| format!(", and {limit} KiB"));
            let text = format!(
                "{} KiB for each connection, {} KiB of HAProxy; the bar is as much{beside}",
                short(ours),
                short(theirs)
            );
            Some((text, ours <= theirs && limit.is_none_or(|limit| ours <= limit)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::made_up::{figures, run};

    fn texts(cases: Vec<Figures>, kind: Kind) -> Vec<String> {
        verdicts(&run(cases), |_| Some(kind)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bar_is_held_at_its_limit_and_missed_above_it() {
        let at = |cost| {
            let costs = [cost];
            let case = figures(
                "a",
                &[(Peer::Lbctl, &costs, 50), (Peer::Nginx13, &[10.0], 70), (Peer::Haproxy12, &[20.0], 40)],
            );
            texts(vec![case], Kind::A)
        };
        assert_eq!(
            at(8.0)[0],
            "a held: 0.80 (0.80 to 0.80) of the processor time of nginx, Debian 13; the bar is 0.80"
        );
        assert!(at(8.1)[0].starts_with("a MISSED: 0.81"));
        assert!(at(8.0)[1].starts_with("a MISSED: p99.9 of 50."), "{:?}", at(8.0));
    }

    #[test]
    fn bulk_is_held_against_haproxy_with_splicing_and_without() {
        let case = figures(
            "f-bulk",
            &[
                (Peer::Lbctl, &[7.0], 50),
                (Peer::Nginx12, &[1.0], 50),
                (Peer::Haproxy12, &[15.0], 50),
                (Peer::Haproxy12Splice, &[10.0], 50),
            ],
        );
        let texts = texts(vec![case], Kind::F);
        assert!(texts[0].starts_with("f-bulk held: 0.70"), "{texts:?}");
        assert!(texts[1].starts_with("f-bulk MISSED: 0.47"), "{texts:?}");
        // 7 us for each of 1,000 units: 0.007 s for 1.25 GB, a second of 10 Gbit/s.
        assert!(texts[2].starts_with("f-bulk held: 0.007 cores"), "{texts:?}");
    }

    #[test]
    fn content_is_held_against_haproxy_with_splicing_as_well() {
        let costs = [
            (Peer::Lbctl, &[7.0][..], 50),
            (Peer::Haproxy12, &[20.0], 50),
            (Peer::Haproxy12Splice, &[10.0], 50),
        ];
        for (id, kind) in [("d-1m", Kind::D), ("e", Kind::E)] {
            let texts = texts(vec![figures(id, &costs)], kind);
            assert!(
                texts[0].contains(": 0.70 (0.70 to 0.70) of the processor time of HAProxy splicing"),
                "{texts:?}"
            );
        }
    }

    #[test]
    fn memory_is_held_against_haproxy_and_against_a_figure_where_there_is_one() {
        let verdict = |id| {
            let case = figures(id, &[(Peer::Lbctl, &[7.0], 50), (Peer::Haproxy12, &[7.0], 50)]);
            texts(vec![case], Kind::H).swap_remove(0)
        };
        let found = "4.00 KiB for each connection, 4.00 KiB of HAProxy; the bar is as much";
        assert_eq!(verdict("h-8000"), format!("h-8000 held: {found}"));
        assert_eq!(verdict("h-idle"), format!("h-idle held: {found}, and 12 KiB"));
    }

    #[test]
    fn what_fails_with_lbctl_alone_misses_a_bar() {
        let verdict = |ours: u64, theirs: u64| {
            let mut case = figures("k-dying", &[(Peer::Lbctl, &[7.0], 50), (Peer::Haproxy12, &[7.0], 50)]);
            for sample in &mut case.samples {
                let failed = if sample.peer == Peer::Lbctl { ours } else { theirs };
                sample.failed.insert("reset".to_owned(), failed);
            }
            texts(vec![case], Kind::K).pop().unwrap()
        };
        assert_eq!(
            verdict(1, 0),
            "k-dying MISSED: 2 exchanges failed, 0 of HAProxy, Debian 12; the bar is none, or as few"
        );
        assert!(verdict(0, 0).starts_with("k-dying held") && verdict(3, 3).starts_with("k-dying held"));
    }

    #[test]
    fn what_was_not_measured_has_no_verdict() {
        let alone = figures("h-1000", &[(Peer::Lbctl, &[7.0], 50)]);
        assert_eq!(texts(vec![alone.clone()], Kind::H), Vec::<String>::new());
        let less = figures("h-100", &[(Peer::Lbctl, &[4.0], 50)]);
        assert_eq!(
            texts(vec![less, alone], Kind::H),
            ["h-1000 MISSED: 1.75 (1.75 to 1.75) of its processor time in h-100; the bar is 1.40"]
        );
    }
}
