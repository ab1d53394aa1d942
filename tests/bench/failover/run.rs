//! The runs of a cell.

use std::{
    env, fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lb_tests::{order::other, program};
use lb_vrrp::Moment;
use lbctl::lab::{Change, Event, Load, LoadOptions, Report, Sample, Spawned, VIP};
use nix::sys::signal::Signal;

use crate::{
    cases::Case,
    client::{PATIENCE, Seen},
    figures::{Cell, Place, Run},
    files::System,
    pair::Pair,
};

/// How long clients are watched after the move: a SYN that was lost comes again after a second.
const CALM: Duration = Duration::from_millis(1200);
/// The longest run: a client ends by itself after it.
const LONGEST: Duration = Duration::from_secs(60);
/// Clients that keep their connections in an orderly stop, and their requests a second.
const KEPT: (u32, u32) = (100, 400);

/// Measures a cell. It ends early, with the runs it has, when `end` has come.
///
/// # Errors
/// The pair does not come up, or can't be harmed or healed.
pub(crate) fn cell(
    case: Case,
    interval: u32,
    system: System,
    runs: u32,
    end: Instant,
    progress: impl Fn(&str),
) -> anyhow::Result<Cell> {
    let load = load();
    progress("the pair comes up");
    let pair = Pair::start(system, case, interval)?;
    let mut done = Vec::new();
    for number in 1..=runs {
        if Instant::now() >= end && !done.is_empty() {
            break;
        }
        let run = run(&pair, case, number).with_context(|| format!("run {number}"))?;
        let short = crate::figures::short;
        progress(&format!(
            "run {number} of {runs}: prober {} ms, HTTP {} ms, {} claims, {} failed",
            short(run.prober),
            short(run.http),
            run.claims,
            run.failed + run.failed_kept
        ));
        done.push(run);
    }
    pair.lab.down()?;
    let place = Place { load: (load, self::load()), ..place()? };
    Ok(Cell { case, interval, pair: system, place, runs: done })
}

fn run(pair: &Pair, case: Case, number: u32) -> anyhow::Result<Run> {
    let lab = &pair.lab;
    let victim = pair.holder()?;
    let name = format!("clients-{number}");
    // Where the run before has left its clients asking the wrong node, these ask anew.
    lab.exec("client", ["ip", "neighbour", "flush", "dev", "eth0"])?;
    let clients = start_clients(pair, &name)?;
    let kept = (case == Case::Stop).then(|| start_kept(pair)).transpose()?;
    pair.prepare(case, &victim)?;
    thread::sleep(Duration::from_millis(200));
    let read = lab.record()?.len();
    let at = pair.harm(case, &victim)?;
    watch(pair, case, &victim)?;
    thread::sleep(CALM);
    clients.signal(Signal::SIGTERM)?;
    clients.wait()?;
    let events = lab.record_since(read)?;
    let log = lab.log("client", &name)?;
    let _ = lab.exec("client", ["rm", "-f", &format!("/run/log/{name}.log")]);
    let seen = log.lines().find(|line| line.starts_with('{')).context("the clients say nothing")?;
    let seen: Seen = serde_json::from_str(seen)?;
    let kept = kept.map(Load::stop).transpose()?;
    pair.undo(case, &victim).context("healing")?;
    Ok(shown(at, &victim, &events, &seen, kept.as_ref()))
}

/// Waits for what has to come of it, if anything has.
fn watch(pair: &Pair, case: Case, victim: &str) -> anyhow::Result<()> {
    let heir = other(victim);
    let interval = u64::from(pair.interval);
    let (moves, limit) = match case {
        // Nothing has to.
        Case::Speaker | Case::Deleted => (false, 4 * interval),
        Case::Added => (false, 4 * interval + 2000),
        Case::ServersBoth => (false, 4000),
        Case::Heal => (false, interval),
        _ => (true, 4 * interval + 10_000),
    };
    let end = Instant::now() + Duration::from_millis(limit);
    let has_moved = || -> anyhow::Result<bool> {
        let holders = pair.lab.holders()?;
        Ok(if case == Case::Both { holders == [heir] } else { holders.iter().any(|holder| holder == heir) })
    };
    while Instant::now() < end && !(moves && has_moved()?) {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn start_clients<'pair>(pair: &'pair Pair, name: &str) -> anyhow::Result<Spawned<'pair>> {
    let program = env::current_exe()?;
    let program = program.to_str().context("UTF-8")?;
    let (target, seconds) = (VIP.to_string(), LONGEST.as_secs().to_string());
    // What they see is not to be their own lateness.
    let mut words = if may_be_real_time() { vec!["chrt", "--rr", "1"] } else { Vec::new() };
    words.extend([program, "client", "--target", &target, "--seconds", &seconds]);
    let clients = pair.lab.spawn("client", name, words)?;
    let end = Instant::now() + LONGEST / 2;
    while !pair.lab.log("client", name)?.contains("ready") {
        anyhow::ensure!(Instant::now() < end, "the clients are not served");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(clients)
}

fn may_be_real_time() -> bool {
    Command::new("chrt").args(["--rr", "1", "true"]).output().is_ok_and(|output| output.status.success())
}

fn start_kept(pair: &Pair) -> anyhow::Result<Load> {
    let (connections, rate) = KEPT;
    let patience = u64::try_from(PATIENCE.as_millis())?;
    let load = pair.lab.load(&LoadOptions { connections, rate, patience, ..LoadOptions::default() })?;
    let end = Instant::now() + LONGEST / 2;
    while load.report().ok() < KEPT.0 as usize {
        anyhow::ensure!(Instant::now() < end, "the clients are not served");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(load)
}

/// What a run has shown.
fn shown(at: Moment, victim: &str, events: &[Event], seen: &Seen, kept: Option<&Report>) -> Run {
    let (requests, probes) = (by_beginning(&seen.requests), by_beginning(&seen.probes));
    let first = |node: &str, change: Change| {
        events.iter().find(|event| event.node == node && event.change == change).map(|event| event.at)
    };
    let (added, removed) = (Change::AddressAdded(VIP.into()), Change::AddressRemoved(VIP.into()));
    let claimed = first(other(victim), added);
    let gone = first(victim, removed);
    let last = seen.probes.iter().map(|probe| probe.at).max().unwrap_or(at);
    Run {
        prober: probes.gap_around(at),
        http: requests.gap_around(at),
        failed: requests.failed(),
        total: requests.total() + kept.map_or(0, Report::total),
        failed_kept: kept.map_or(0, Report::failed),
        repeated_syns: seen.repeated_syns,
        claim: claimed.map(|claimed| claimed.saturating_since(at)),
        gone: gone.map(|gone| gone.saturating_since(at)),
        two_owners: claimed.map(|claimed| gone.unwrap_or(last).saturating_since(claimed)).unwrap_or_default(),
        claims: events.iter().filter(|event| event.change == added).count(),
    }
}

/// Where a failed request stands at its beginning: one whose connection died with the old holder fails seconds after
/// everybody else is served again, and that is no time without an answer.
fn by_beginning(samples: &[Sample]) -> Report {
    let at_once = |sample: &Sample| {
        let wait = if sample.is_ok() { sample.wait } else { Duration::ZERO };
        Sample { wait, ..sample.clone() }
    };
    Report::new(samples.iter().map(at_once).collect())
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn place() -> anyhow::Result<Place> {
    let said = |program: &str, argument: &str| -> anyhow::Result<String> {
        let output = Command::new(program).arg(argument).output().context(program.to_owned())?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
    };
    let word = |text: &str, number: usize| text.split(' ').nth(number).unwrap_or_default().to_owned();
    let haproxy = said(program::find("haproxy").to_str().context("UTF-8")?, "-v")?;
    let keepalived = said(program::find("keepalived").to_str().context("UTF-8")?, "--version")?;
    Ok(Place {
        day: said("date", "+%F")?,
        cores: thread::available_parallelism()?.get(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        versions: format!(
            "{}, HAProxy {}, Keepalived {}",
            said(&program::lbctl(), "--version")?,
            word(&haproxy, 2),
            word(&keepalived, 1)
        ),
        load: (0.0, 0.0),
    })
}
