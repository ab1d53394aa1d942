//! The failover bench: what clients see of each way to fail, of a pair of lbctl and of one of HAProxy and Keepalived, in
//! the lab of `lbctl lab`. `tests/bench/run failover` builds and runs it; docs/benchmarks.md has what came of it.
//!
//! ```text
//!  main ── a cell: a case, an interval, a pair ──> a lab of its own, N runs of
//!           clients on (client.rs) ── harm (faults.rs, harm.rs) ── recovered? ── clients off ── heal
//!  run.rs: what a run has shown ── figures.rs: median and worst ── table.rs: docs/benchmarks.md
//! ```

mod bars;
mod cases;
mod client;
mod figures;
mod files;
mod harm;
mod pair;
mod run;
mod table;

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use bars::Bar;
use cases::Case;
use client::ClientArguments;
use figures::Cell;
use files::System;

/// Measures what clients see of a pair's failures, beside HAProxy and Keepalived.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// Runs of each cell, 1 to 1000
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Cases, with commas between; all of them by default
    #[arg(long, value_enum, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Advertisement intervals in milliseconds, with commas between
    #[arg(long, value_delimiter = ',', default_value = "1000,100,10", value_parser = clap::value_parser!(u32).range(10..=10_000))]
    intervals: Vec<u32>,
    /// Pairs, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_value = "lbctl,keepalived")]
    pairs: Vec<System>,
    /// Begins no run any more after so many minutes
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Prints a line of JSON for each cell instead of a table at the end
    #[arg(long)]
    json: bool,
    /// Adds the cells to this file as well, a line of JSON each; cells that are in it already are not measured again
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Measures nothing: prints the table of what these files have
    #[arg(long, num_args = 1..)]
    table: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// The clients; runs on the lab's client node
    #[command(hide = true)]
    Client(ClientArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Hidden::Client(arguments)) => client::run(arguments).map(|()| true),
        None if !arguments.table.is_empty() => print_table(&arguments.table),
        None => measure(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // A bar is missed.
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_table(files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut cells = Vec::new();
    for file in files {
        cells.extend(kept(file)?);
    }
    print!("{}", table::render(&cells));
    Ok(table::misses(&cells).is_empty())
}

/// The cells of a file; none if there is no such file.
fn kept(file: &PathBuf) -> anyhow::Result<Vec<Cell>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}:{} is no cell of this bench", file.display(), index + 1))
        })
        .collect()
}

fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let cases: &[Case] = if arguments.cases.is_empty() { &Case::ALL } else { &arguments.cases };
    let mut cells: Vec<Cell> = arguments.keep.as_ref().map_or_else(|| Ok(Vec::new()), kept)?;
    let end = Instant::now() + Duration::from_secs(60 * arguments.minutes);
    let mut wanted = Vec::new();
    for &case in cases {
        for &interval in &arguments.intervals {
            for &pair in &arguments.pairs {
                let is_there = cells.iter().any(|cell| cell.is(case, interval, pair));
                if !is_there && case.is_for(pair) && case.depends_on(interval, &arguments.intervals) {
                    wanted.push((case, interval, pair));
                }
            }
        }
    }
    let count = wanted.len();
    for (number, (case, interval, pair)) in wanted.into_iter().enumerate() {
        if Instant::now() >= end {
            bail!("{} minutes are over, {} cells are left", arguments.minutes, count - number);
        }
        let title = format!("{}/{count} {pair}, {case}, {interval} ms", number + 1);
        let cell = run::cell(case, interval, pair, arguments.runs, end, |text| eprintln!("{title}: {text}"))
            .with_context(|| title.clone())?;
        let line = serde_json::to_string(&cell)?;
        if let Some(file) = &arguments.keep {
            let mut file = OpenOptions::new().create(true).append(true).open(file)?;
            writeln!(file, "{line}")?;
        }
        if arguments.json {
            writeln!(io::stdout(), "{line}")?;
        }
        eprintln!("{title}: {}", cell.summary());
        cells.push(cell);
    }
    if !arguments.json {
        print!("{}", table::render(&cells));
    }
    let missed = table::misses(&cells);
    for (cell, Bar { text, .. }) in &missed {
        eprintln!("missed: {} at {} ms: {text}; {}", cell.case, cell.interval, cell.summary());
    }
    Ok(missed.is_empty())
}
