//! The part of docs/benchmarks.md that figures become.

use std::fmt::Write as _;

use crate::{
    bars::Verdict,
    cases::{Case, Kind, Unit},
    figures::{Figures, Run},
    peers::Peer,
    statistics::{Ratio, short},
};

/// All of it, as Markdown; `chart` is the picture's file beside the page.
pub(crate) fn markdown(run: &Run, cases: &[Case], verdicts: &[Verdict], chart: Option<&str>) -> String {
    let mut text = place(run);
    if let Some(chart) = chart {
        let _ = writeln!(
            text,
            "\n![Processor time for each unit of work beside the best of the others]({chart})"
        );
    }
    text += "\n| Case | lbctl | Best of the others | Ratio (rounds) | p99.9 at half load | HAProxy's | Bars |\n|---|---|---|---|---|---|---|\n";
    let known = |id: &str| cases.iter().find(|case| case.id == id);
    for figures in &run.cases {
        if let Some(case) = known(&figures.id) {
            text += &summary(case, figures, verdicts);
        }
    }
    let missed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.is_held).collect();
    let _ = writeln!(text, "\n{} of {} bars are held.", verdicts.len() - missed.len(), verdicts.len());
    if !missed.is_empty() {
        text.push_str("Missed:\n\n");
        for Verdict { id, text: found, .. } in missed {
            let _ = writeln!(text, "- {id}: {found}.");
        }
    }
    for kind in Kind::ALL {
        let of: Vec<_> =
            run.cases.iter().filter_map(|figures| Some((known(&figures.id)?, figures))).collect();
        for (case, figures) in of.into_iter().filter(|(case, _)| case.kind == kind) {
            text += &table(case, figures);
        }
    }
    text
}

fn place(run: &Run) -> String {
    let place = &run.place;
    format!(
        "{}, {} cores ({}), Linux {}; {}.\n`tests/bench/run`: {} rounds of {} s. Load of the machine before: {:.1}.\n",
        place.day,
        place.cores,
        place.processor,
        place.kernel,
        place.versions.join(", "),
        place.rounds,
        place.seconds,
        place.load
    )
}

/// Processor time for a unit.
fn cost(unit: Unit, microseconds: f64) -> String {
    match unit {
        Unit::Gigabyte => format!("{} ms", short(microseconds / 1000.0)),
        _ => format!("{} us", short(microseconds)),
    }
}

fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// The slowest of so many samples, in microseconds.
fn latency(figures: &Figures, peer: Peer, per_mille: u64) -> String {
    or_dash(figures.latency(peer, per_mille), |time| short(time.as_secs_f64() * 1e6))
}

fn summary(case: &Case, figures: &Figures, verdicts: &[Verdict]) -> String {
    let ratio = figures.ratio(Peer::Lbctl);
    let bars: Vec<_> = verdicts.iter().filter(|verdict| verdict.id == case.id).collect();
    let missed = bars.iter().filter(|bar| !bar.is_held).count();
    let bars = match (bars.len(), missed) {
        (0, _) => "-".to_owned(),
        (_, 0) => "held".to_owned(),
        (all, missed) => format!("**{missed} of {all} missed**"),
    };
    let haproxys = figures.peers().into_iter().filter(|peer| peer.is_haproxy());
    let theirs = haproxys.filter_map(|peer| figures.latency(peer, 999)).min();
    format!(
        "| {}: {} | {} | {} | {} | {} | {} | {bars} |\n",
        case.id,
        case.title,
        or_dash(figures.cost(Peer::Lbctl), |value| cost(case.unit, value)),
        or_dash(ratio.and_then(|(_, best)| Some((best, figures.cost(best)?))), |(best, value)| {
            format!("{} ({best})", cost(case.unit, value))
        }),
        or_dash(ratio, |(ratio, _)| ratio.to_string()),
        or_dash(figures.latency(Peer::Lbctl, 999), |time| format!("{} us", short(time.as_secs_f64() * 1e6))),
        or_dash(theirs, |time| format!("{} us", short(time.as_secs_f64() * 1e6))),
    )
}

fn table(case: &Case, figures: &Figures) -> String {
    let pace = or_dash(figures.pace(), |pace| format!("{} exchanges/s", short(pace)));
    let workers = if case.workers == 1 { "a worker".to_owned() } else { format!("{} workers", case.workers) };
    let bulk = if case.is_bulk { " Cores for 10 Gbit/s |" } else { "" };
    let mut text = format!(
        "\n**{}: {}** ({} connections, {workers}; latency at {pace})\n\n\
         | Proxy | {}/s | CPU each | user | kernel | Beside the best |{bulk} p50 us | p99 us | p99.9 us | PSS | RSS | KiB a connection | Failed |\n\
         |---|---|---|---|---|---|{}---|---|---|---|---|---|---|\n",
        case.id,
        case.title,
        figures.connections,
        case.unit.plural(),
        if case.is_bulk { "---|" } else { "" },
    );
    for peer in figures.peers() {
        let is_proxy = peer != Peer::Direct;
        let only = |value: Option<f64>| value.filter(|_| is_proxy);
        let best = figures.ratio(peer).filter(|_| is_proxy);
        let memory = |kib: Option<f64>| or_dash(only(kib), |kib| format!("{} MiB", short(kib / 1024.0)));
        let each = |value| or_dash(only(value), |value| cost(case.unit, value));
        let cores = if case.is_bulk {
            format!(" {} |", or_dash(only(figures.cores(peer)), short))
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "| {peer} | {} | {} | {} | {} | {} |{cores} {} | {} | {} | {} | {} | {} | {} |",
            or_dash(figures.rate(peer), short),
            each(figures.cost(peer)),
            each(figures.user(peer)),
            each(figures.system(peer)),
            or_dash(best, |(ratio, _): (Ratio, Peer)| ratio.to_string()),
            latency(figures, peer, 500),
            latency(figures, peer, 990),
            latency(figures, peer, 999),
            memory(figures.memory(peer)),
            memory(figures.resident(peer)),
            or_dash(only(figures.memory_each(peer)), short),
            figures.failed(peer),
        );
    }
    text
}

/// `page` with `text` between the marks of `part`; `None`: it has no such part.
pub(crate) fn put(page: &str, part: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- /{part} -->\n"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bars, cases,
        figures::made_up::{figures, run},
    };

    #[test]
    fn a_report_has_a_line_for_each_case_and_a_row_for_each_proxy() {
        let peers = [
            (Peer::Direct, &[0.0][..], 5),
            (Peer::Lbctl, &[9.0][..], 50),
            (Peer::Haproxy12, &[10.0][..], 60),
        ];
        let run = run(vec![figures("a", &peers)]);
        let cases = cases::all();
        let verdicts = bars::verdicts(&run, |_| Some(Kind::A));
        let text = markdown(&run, &cases, &verdicts, Some("benchmarks/cpu.svg"));
        for line in [
            "2026-11-28, 2 cores (A processor), Linux 6.18; lbctl 0.1.0, HAProxy 3.0.",
            "| a: small responses, keep-alive | 9.00 us | 10.0 us (HAProxy, Debian 12) | 0.90 (0.90 to 0.90) | 50.2 us | 60.4 us | **1 of 3 missed** |",
            "2 of 3 bars are held.",
            "- a: 0.90 (0.90 to 0.90) of the processor time of HAProxy, Debian 12; the bar is 0.80.",
            "| no proxy | 2,000 | - | - | - | - | 5.05 | 5.05 | 5.05 | - | - | - | 0 |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let widths: Vec<usize> =
            text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches('|').count()).collect();
        assert_eq!(widths, [8, 8, 8, 14, 14, 14, 14, 14]);
    }

    #[test]
    fn only_the_part_between_the_marks_is_replaced() {
        let page = "one\n<!-- x -->\nold\n<!-- /x -->\ntwo\n";
        assert_eq!(put(page, "x", "new\n").unwrap(), "one\n<!-- x -->\n\nnew\n\n<!-- /x -->\ntwo\n");
        assert_eq!(put(page, "y", "new"), None);
    }
}
