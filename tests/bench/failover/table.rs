//! The table of docs/benchmarks.md.

use std::fmt::Write as _;

use crate::{
    bars::{self, Bar, Of},
    cases::Case,
    figures::{Cell, short},
    files::System,
};

/// Cells that miss a bar, and that bar.
pub(crate) fn misses(cells: &[Cell]) -> Vec<(&Cell, Bar)> {
    cells.iter().filter_map(|cell| Some((cell, bars::missed(cell)?))).collect()
}

/// All cells, by case and interval.
pub(crate) fn render(cells: &[Cell]) -> String {
    let mut text = String::new();
    if let Some(cell) = cells.first() {
        let place = &cell.place;
        let loads = cells.iter().flat_map(|cell| [cell.place.load.0, cell.place.load.1]);
        let (low, high) =
            loads.fold((f64::MAX, 0.0_f64), |(low, high), load| (low.min(load), high.max(load)));
        let runs = cells.iter().map(|cell| cell.runs.len()).min().unwrap_or_default();
        let _ = writeln!(
            text,
            "{}, {} cores, Linux {}; {}.\n`tests/bench/run failover`: {runs} runs a row at least; median / worst in \
             milliseconds. Load of the machine (1 minute): {low:.1} to {high:.1}.\n",
            place.day, place.cores, place.kernel, place.versions
        );
    }
    text.push_str(
        "| Case | Every | Pair | Prober | HTTP | Claimed | Gone | Two owners | Claims a run | Requests failed | SYNs repeated | Bar |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in Case::ALL {
        let mut rows: Vec<_> = cells.iter().filter(|cell| cell.case == case).collect();
        rows.sort_by_key(|cell| (std::cmp::Reverse(cell.interval), cell.pair as u8));
        for cell in rows {
            text.push_str(&row(cell));
        }
    }
    text
}

fn row(cell: &Cell) -> String {
    let figure = |of| cell.figure(of).map_or_else(|| "-".to_owned(), |figure| figure.to_string());
    let runs = cell.runs.len().max(1) as f64;
    let failed: usize = cell.runs.iter().map(|run| run.failed + run.failed_kept).sum();
    let total: usize = cell.runs.iter().map(|run| run.total).sum();
    let repeated: u64 = cell.runs.iter().map(|run| run.repeated_syns).sum();
    let two = if cell.two_owners().is_zero() { "never".to_owned() } else { short(cell.two_owners()) };
    let bar = if cell.pair == System::Lbctl {
        let texts: Vec<_> = bars::bars(cell.case, cell.interval).iter().map(words).collect();
        let missed = if bars::missed(cell).is_some() { "**missed**: " } else { "" };
        format!("{missed}{}", texts.join("; "))
    } else {
        String::new()
    };
    format!(
        "| {} | {} ms | {} | {} | {} | {} | {} | {two} | {:.1} | {failed} of {total} | {repeated} | {bar} |\n",
        cell.case,
        cell.interval,
        cell.pair,
        figure(Of::Prober),
        figure(Of::Http),
        figure(Of::Claim),
        figure(Of::Gone),
        cell.claims() as f64 / runs,
    )
}

fn words(bar: &Bar) -> String {
    match bar.of {
        Of::Prober => format!("prober {}", bar.text),
        Of::Http => format!("HTTP {}", bar.text),
        Of::Claim => format!("claimed {}", bar.text),
        Of::Gone | Of::Claims => bar.text.clone(),
    }
}
