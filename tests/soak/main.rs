//! `tests/bench/soak`: a pair at work for as long as one likes, with reloads and faults. docs/testing.md says what it shows.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser;
use lb_tests::{scene::Scene, soak};

/// A pair at work, with a reload a minute and a fault every two: was each failed request a fault's?
#[derive(Debug, Parser)]
#[command(name = "tests/bench/soak")]
struct Arguments {
    /// How long, 1 to 1440
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Prints what came of it as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let scene = Scene::ready(&soak::options());
    let report = soak::run(&scene, arguments.minutes, |text| eprintln!("{text}"));
    let text = if arguments.json { report.to_json().to_string() } else { report.to_string() };
    if writeln!(io::stdout(), "{text}").is_err() {
        return ExitCode::FAILURE;
    }
    // Something that no fault explains.
    if report.wrong().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
