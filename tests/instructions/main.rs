//! Counts the instructions that the release build needs for a request, under callgrind, and compares them with the budget in
//! `budget.txt`: unlike times they are the same on a busy machine. `.ci/run` runs it; docs/testing.md says what to do about it.
//!
//! ```text
//!  kinds.rs: a file of lbctl and what is sent ──> lockstep: client and server of one connection, one step after the other
//!  callgrind.rs: the program under valgrind ──> the instructions of its worker ──> budget.rs: too many, too few, or as they were
//! ```

mod budget;
mod callgrind;
mod kinds;

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use clap::Parser;

use budget::{Budget, Verdict};
use kinds::Kind;

/// Requests of which the average counts: what the start and ten ticks a second cost is lost among them.
const EXCHANGES: u32 = 2000;

/// What makes a count the budget.
const WRITE: &str = "cargo run --locked -p lb-tests --bin instructions -- --write";

/// Counts instructions for each kind of request and compares them with the budget.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kinds, with commas between; all of them by default
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Makes what was counted the budget
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        // Over the budget, or so far below it that it is none.
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let program = program()?;
    let kinds: &[Kind] = if arguments.kinds.is_empty() { &Kind::ALL } else { &arguments.kinds };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions/budget.txt");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut budget = Budget::parse(&text)?;
    let compiler = compiler();
    let (mut over, mut under) = (Vec::new(), Vec::new());
    for &kind in kinds {
        let profile = callgrind::profile(&program, kind, EXCHANGES).with_context(|| format!("{kind}"))?;
        let counted = profile.instructions / u64::from(EXCHANGES);
        let verdict = budget.verdict(kind, counted);
        writeln!(io::stdout(), "{kind:<10}{counted:>8} instructions for each request: {verdict}")?;
        match verdict {
            _ if arguments.write => budget.set(kind, counted, &compiler),
            Verdict::Over { .. } => over.push((kind, profile.file)),
            Verdict::Under { .. } | Verdict::New => under.push(kind),
            Verdict::Held { .. } => {}
        }
    }
    if arguments.write {
        fs::write(&file, budget.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    } else if !over.is_empty() || !under.is_empty() {
        explain(&over, &under, &budget, &compiler);
    }
    Ok((over.is_empty() && under.is_empty()) || !has_avx2() || budget.compiler != compiler)
}

/// The budget is for a processor that has it: where it is not, searches for bytes cost more.
fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The release build.
fn program() -> anyhow::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").join("target"),
        PathBuf::from,
    );
    let program = env::var_os("LBCTL").map_or_else(|| target.join("release/lbctl"), PathBuf::from);
    program
        .canonicalize()
        .with_context(|| format!("no {}: cargo build --release -p lbctl", program.display()))
}

/// What the compiler says that it is.
fn compiler() -> String {
    let said =
        Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}

fn explain(over: &[(Kind, PathBuf)], under: &[Kind], budget: &Budget, compiler: &str) {
    eprintln!();
    for kind in under {
        eprintln!(
            "{kind} is below its budget, which would let it become as dear again, or has none: {}.",
            kind.what()
        );
    }
    if !under.is_empty() {
        eprintln!("Write the budget anew in the same commit:\n  {WRITE}");
    }
    for (kind, file) in over {
        eprintln!("{kind} is over its budget: {}.", kind.what());
        eprintln!("  where they are: callgrind_annotate {} | head -n 60", file.display());
    }
    if !over.is_empty() {
        eprintln!(
            "Compare with the commit before: git worktree add, cargo build --release -p lbctl there, and LBCTL=its program before this\n\
             command. If they are worth it, raise the budget in the same commit and say there what for:\n  {WRITE}"
        );
    }
    if budget.compiler != compiler {
        eprintln!(
            "The budget was counted with {}, and this is {compiler}, so this is no failure: see what the commit before has.",
            budget.compiler
        );
    }
    if !has_avx2() {
        eprintln!("This processor has no AVX2, and the budget is for one that has, so this is no failure.");
    }
}
