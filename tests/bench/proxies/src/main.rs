//! lbctl beside HAProxy and nginx of two Debians: the same work, the same settings, the same origin, in turn.
//! `tests/bench/run` builds and starts it; docs/benchmarks.md has what came of it.
//!
//! ```text
//!  world.rs: namespaces ── roots.rs, peers.rs, setup.rs: programs and their files
//!  play.rs ── a case (cases.rs) ── each round, each peer: client.rs ── load.rs ──▶ proxy ──▶ origin.rs
//!                                                                      exchange.rs, wire.rs, sockets.rs: both ends
//!  figures.rs: what was seen ── bars.rs: what was to be ── report.rs, chart.rs: docs/benchmarks.md
//! ```

mod bars;
mod cases;
mod chart;
mod client;
mod database;
mod exchange;
mod figures;
mod histogram;
mod load;
mod origin;
mod pace;
mod peers;
mod place;
mod play;
mod process;
mod report;
mod roots;
mod setup;
mod sockets;
mod statistics;
mod wire;
mod world;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use cases::{Case, Kind};
use client::Server;
use figures::Run;
use peers::{Peer, Programs};
use play::{Length, Processors, Stage};

/// Measures lbctl beside HAProxy and nginx; ends with 2 when a bar is missed.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    own: Option<Own>,
    /// Kinds of work, with commas between; all of them by default
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Cases, with commas between, as d-100k; all of their kinds by default
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Who takes part, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// How often each load is repeated, 1 to 100
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each load is, 0.05 to 60; four times as long, and a fourth as often, for databases and servers in trouble, longer for 4,000 connections and more
    #[arg(long, default_value_t = 0.25, value_parser = seconds)]
    seconds: f64,
    /// A look at whether it works: one round of 0.2 s
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// The program under test; what LBCTL says, or target/release/lbctl
    #[arg(long)]
    lbctl: Option<PathBuf>,
    /// Where figures.json, report.md and cpu.svg are put, and the programs of the other Debian are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Puts the report into this page, between `<!-- proxies -->` and its end, and the chart beside it
    #[arg(long)]
    page: Option<PathBuf>,
    /// Measures nothing: reports what this file of figures has
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Own {
    /// The server
    #[command(hide = true)]
    Origin(origin::OriginArguments),
    /// The client
    #[command(hide = true)]
    Load(load::LoadArguments),
}

/// The part of the page.
const PART: &str = "proxies";
/// The chart, beside the page.
const CHART: &str = "images/benchmarks.svg";

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.05..=60.0).contains(&seconds) { Ok(seconds) } else { Err("not within 0.05 and 60".to_owned()) }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.rounds, arguments.seconds) = (1, 0.2);
    }
    arguments.peers.sort_unstable();
    arguments.peers.dedup();
    let done = match &arguments.own {
        Some(Own::Origin(origin)) => origin::run(origin).map(|()| ExitCode::SUCCESS),
        Some(Own::Load(load)) => load::run(load).map(|()| ExitCode::SUCCESS),
        None => work(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn work(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.report {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let run: Run =
            serde_json::from_str(&text).with_context(|| format!("{}: no figures", file.display()))?;
        return finish(arguments, &run);
    }
    let cases = chosen(arguments)?;
    // Outside, where packages can be reached; inside it only finds them again.
    // nginx takes what is relative from a folder of its own.
    let cache = std::path::absolute(arguments.folder.join("roots"))?;
    let built = || std::env::var_os("LBCTL").map_or_else(|| "target/release/lbctl".into(), PathBuf::from);
    let lbctl = arguments.lbctl.clone().unwrap_or_else(built);
    let programs = Programs::prepare(&arguments.peers, &lbctl, &cache)?;
    let Some(folder) = world::folder() else { return world::enter() };
    world::settle()?;
    sockets::allow_many();
    let run = measure(arguments, &cases, &programs, &folder)?;
    fs::write(arguments.folder.join("figures.json"), serde_json::to_string(&run)?)?;
    finish(arguments, &run)
}

/// The cases that were asked for.
fn chosen(arguments: &Arguments) -> anyhow::Result<Vec<Case>> {
    let all = cases::all();
    if let Some(unknown) = arguments.cases.iter().find(|id| !all.iter().any(|case| case.id == id.as_str())) {
        let ids: Vec<_> = all.iter().map(|case| case.id).collect();
        anyhow::bail!("there is no case {unknown}; there are {}", ids.join(", "));
    }
    let is_wanted = |case: &Case| match (arguments.only.as_slice(), arguments.cases.as_slice()) {
        ([], []) => true,
        (only, ids) => only.contains(&case.kind) || ids.iter().any(|id| id == case.id),
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn measure(arguments: &Arguments, cases: &[Case], programs: &Programs, folder: &Path) -> anyhow::Result<Run> {
    let length = Length { rounds: arguments.rounds, seconds: arguments.seconds };
    let processors = Processors::of(&process::processors());
    let mut place = place::here(&arguments.peers, programs, length)?;
    place.versions.dedup();
    eprintln!(
        "{}; proxy on {:?}, the others on {:?}",
        place.versions.join(", "),
        processors.proxy,
        processors.others
    );
    let begin = Instant::now();
    let origin = Server::start(0, 0, folder, &processors.others)?;
    let mut run = Run { place, cases: Vec::new() };
    let peers = &arguments.peers;
    let stage = Stage { programs, peers, folder, processors: &processors, length, origin: &origin };
    let total: u32 = cases.iter().map(|case| stage.loads(case)).sum();
    let mut number = 0;
    for case in cases {
        let figures = stage.play(case, &mut |text| {
            number += 1;
            eprintln!("[{number}/{total}, {} s] {text}", begin.elapsed().as_secs());
        })?;
        run.cases.push(figures);
    }
    Ok(run)
}

/// Reports, prints the bars, and says by its code whether all are held.
fn finish(arguments: &Arguments, run: &Run) -> anyhow::Result<ExitCode> {
    let cases = cases::all();
    let kind = |id: &str| cases.iter().find(|case| case.id == id).map(|case| case.kind);
    let verdicts = bars::verdicts(run, kind);
    let text = report::markdown(run, &cases, &verdicts, None);
    fs::create_dir_all(&arguments.folder)?;
    fs::write(arguments.folder.join("report.md"), &text)?;
    fs::write(arguments.folder.join("cpu.svg"), chart::svg(run))?;
    print!("{text}");
    for verdict in &verdicts {
        writeln!(std::io::stdout(), "{verdict}")?;
    }
    if let Some(page) = &arguments.page {
        let old = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        let text = report::markdown(run, &cases, &verdicts, Some(CHART));
        let fresh = report::put(&old, PART, &text)
            .with_context(|| format!("{} has no <!-- {PART} -->", page.display()))?;
        let chart = page.with_file_name(CHART);
        fs::create_dir_all(chart.parent().context("a chart is in a folder")?)?;
        fs::write(chart, chart::svg(run))?;
        fs::write(page, fresh)?;
    }
    let is_missed = verdicts.iter().any(|verdict| !verdict.is_held);
    Ok(ExitCode::from(if is_missed { 2 } else { 0 }))
}
