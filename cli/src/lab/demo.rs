//! `lbctl lab demo`: the whole story without a hand. Up, traffic, each fault with what the clients saw of it, down.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;

use super::{
    clock,
    fault::How,
    handle::{Lab, Load},
    load::LoadOptions,
    record::{Change, Event},
    report::Report,
    topology::{BALANCERS, VIP},
};

/// Clients of the story.
const CLIENTS: u32 = 20;
/// Their requests a second.
const RATE: u32 = 400;
/// After this a request has failed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long traffic is watched before a fault and after the address has moved.
const CALM: Duration = Duration::from_millis(1200);
/// From here on after a move, nothing may fail any more.
const GRACE: Duration = Duration::from_secs(1);

/// A fault of the story and what is expected of the pair.
struct Act {
    how: How,
    /// First word of its line.
    verb: &'static str,
    /// The other node must have the address within this time.
    moved_within: Duration,
    /// From then on at most this long until it is the only one.
    alone_within: Duration,
}

const fn act(how: How, verb: &'static str, moved_within_ms: u64, alone_within_ms: u64) -> Act {
    Act {
        how,
        verb,
        moved_within: Duration::from_millis(moved_within_ms),
        alone_within: Duration::from_millis(alone_within_ms),
    }
}

/// The Down_Interval of the lab's file is about 300 ms; a busy machine gets a second more.
const ACTS: [Act; 6] = [
    act(How::Kill, "kill -9", 1300, 500),
    act(How::Cable, "cable", 1300, 1000),
    // The drain of the file comes first: 5 s at most.
    act(How::Stop, "stop", 7000, 500),
    // The frozen node's address ends with its lease of 2 s.
    act(How::Freeze, "freeze", 1300, 3500),
    // A worker counts as stalled after a second.
    act(How::Worker, "worker", 4000, 500),
    // Two checks fail, then the hold.
    act(How::Backends, "backends", 6000, 500),
];

/// Plays the story. What the pair did not do as it should is returned, one sentence each.
///
/// # Errors
/// The story could not be played to its end.
pub fn play(lab: &Lab) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let started = Instant::now();
    whisper("the pair comes up")?;
    lab.wait_until_all_ready().context("the pair does not come up")?;
    let holder = lab.wait_for_holder(Duration::from_secs(5))?;
    let load = lab.load(&LoadOptions {
        connections: CLIENTS,
        rate: RATE,
        patience: u64::try_from(PATIENCE.as_millis())?,
        seconds: 180,
        ..LoadOptions::default()
    })?;
    thread::sleep(CALM);
    let calm = load.report();
    let servers: Vec<String> = calm.per_server().into_keys().collect();
    say(&format!(
        "{holder} holds {VIP} · {RATE} requests/s by {CLIENTS} clients · {} in turn · {} failed",
        servers.join(" and "),
        calm.failed(),
    ))?;
    if servers.len() != 2 {
        wrong.push(format!("both servers should answer, and {servers:?} did"));
    }
    if calm.failed() > 0 {
        wrong.push(format!("{} requests failed before any fault: {:?}", calm.failed(), calm.failures()));
    }
    for act in &ACTS {
        let before = wrong.len();
        play_act(lab, &load, act, &mut wrong)?;
        if wrong.len() > before {
            tell_why(lab)?;
        }
    }
    lose_a_server(lab, &load, &mut wrong)?;
    let whole = load.stop()?;
    say(&format!(
        "{} requests in {} s, {} failed in {} faults; every fault is healed",
        whole.total(),
        started.elapsed().as_secs(),
        whole.failed(),
        ACTS.len() + 1,
    ))?;
    Ok(wrong)
}

fn play_act(lab: &Lab, load: &Load, act: &Act, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let victim = lab.wait_for_holder(Duration::from_secs(5))?;
    let other = BALANCERS.into_iter().find(|name| *name != victim).context("there are two")?;
    let title = format!("{} {victim}", act.verb);
    let read = lab.record()?.len();
    whisper(&title)?;
    thread::sleep(CALM / 4);
    let from = clock::now() - CALM / 4;
    let at = lab.fail(&victim, act.how).with_context(|| title.clone())?;

    if wait(act.moved_within, || Ok(lab.holders()?.iter().any(|name| name == other)))? {
        if !wait(act.alone_within, || Ok(lab.holders()? == [other]))? {
            wrong.push(format!("{title}: both nodes hold the address after {:?}", act.alone_within));
        }
    } else {
        wrong.push(format!("{title}: {other} does not hold the address after {:?}", act.moved_within));
    }
    let moved = clock::now();
    thread::sleep(CALM);
    let to = clock::now();
    // Whoever asked before `to` has an answer by then, or has given up.
    thread::sleep(PATIENCE);
    let events = lab.record_since(read)?;
    let report = load.report().between(from, to);
    say(&line(&title, &victim, other, at, &events, &report))?;

    let late = load.report().between(moved + GRACE, to);
    if late.failed() > 0 {
        wrong.push(format!(
            "{title}: {} requests failed more than {GRACE:?} after the move: {:?}",
            late.failed(),
            late.failures()
        ));
    }
    let gap_limit = act.moved_within + GRACE;
    if report.gap_around(at) > gap_limit {
        wrong.push(format!("{title}: no answer for {:?}", report.gap_around(at)));
    }

    whisper(&format!("{victim} is healed"))?;
    lab.heal(&victim).with_context(|| format!("{title}, healing"))?;
    if lab.holders()? != [other] {
        wrong.push(format!("{title}: after healing the address is held by {:?}", lab.holders()?));
    }
    Ok(())
}

/// The address has no reason to move here, and nobody should notice anything.
fn lose_a_server(lab: &Lab, load: &Load, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let holder = lab.wait_for_holder(Duration::from_secs(5))?;
    let read = lab.record_of_vip()?.len();
    whisper("kill -9 web1")?;
    let at = lab.fail("web1", How::Kill)?;
    thread::sleep(CALM * 2);
    let to = clock::now();
    thread::sleep(PATIENCE);
    let report = load.report().between(at - CALM / 4, to);
    let mut text = format!("{:<17}{:<30}", "kill -9 web1", format!("{holder} keeps it"));
    describe(&mut text, &report, at);
    say(&text)?;
    if lab.record_of_vip()?.len() != read {
        wrong.push("kill -9 web1: the address moved, and the other server was there".to_owned());
    }
    let late = load.report().between(at + GRACE * 2, to);
    if late.failed() > 0 {
        wrong.push(format!("kill -9 web1: requests still fail after 2 s: {:?}", late.failures()));
    }
    lab.heal("web1")?;
    Ok(())
}

fn line(title: &str, victim: &str, other: &str, at: Moment, events: &[Event], report: &Report) -> String {
    let after = |node: &str, change: Change| {
        let found =
            events.iter().find(|event| event.node == node && event.change == change && event.at >= at);
        found.map(|event| event.at.saturating_since(at))
    };
    let held = after(other, Change::AddressAdded(VIP.into())).map_or_else(
        || format!("{other} NEVER HELD IT"),
        |time| format!("{other} holds it after {}", short(time)),
    );
    let mut text = format!("{title:<17}{held:<30}");
    describe(&mut text, report, at);
    match after(victim, Change::AddressRemoved(VIP.into())) {
        Some(time) => write!(text, "{victim}'s address gone after {}", short(time)),
        None => write!(text, "{victim}'s address STILL THERE"),
    }
    .expect("writing to a String does not fail");
    text
}

fn describe(text: &mut String, report: &Report, at: Moment) {
    let failed = format!("{} of {} failed", report.failed(), report.total());
    let gap = format!("gap {}", short(report.gap_around(at)));
    let wait = format!("longest wait {}", short(report.longest_wait()));
    write!(text, "{failed:<20}{gap:<13}{wait:<22}").expect("writing to a String does not fail");
}

/// Milliseconds up to a second, then seconds.
fn short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn wait(limit: Duration, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}{line}", if stdout.is_terminal() { WIPE } else { "" })?;
    stdout.flush()
}

/// What is being waited for; the next line takes its place. A pipe does not see it.
fn whisper(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        write!(stdout, "{WIPE}{text} ...")?;
        stdout.flush()?;
    }
    Ok(())
}

/// Back to the beginning of the line, and nothing on it.
const WIPE: &str = "\r\x1b[K";

/// The last lines of both daemons, for a story that went wrong.
///
/// # Errors
/// Nobody reads stderr any more.
pub fn tell_why(lab: &Lab) -> anyhow::Result<()> {
    const LINES: usize = 30;
    for node in BALANCERS {
        let Ok(log) = lab.log(node, "lbctl") else { continue };
        // A backtrace is indented, and longer than what led to it.
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with(' ')).collect();
        let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
        writeln!(io::stderr(), "--- the last lines of {node} ---\n{tail}")?;
    }
    if lab.status().is_err() {
        bail!("the lab is gone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::load::{Outcome, Sample};

    const MS: u64 = 1_000_000;

    #[test]
    fn line_tells_the_move_and_what_the_clients_saw() {
        let event = |ms: u64, node: &str, change| Event {
            at: Moment::from_nanos(ms * MS),
            node: node.to_owned(),
            interface: "eth0".to_owned(),
            change,
        };
        let events = [
            event(1002, "lb1", Change::AddressRemoved(VIP.into())),
            event(1013, "lb2", Change::AddressAdded(VIP.into())),
        ];
        let sample = |ms: u64, wait: u64, outcome| Sample {
            at: Moment::from_nanos(ms * MS),
            wait: Duration::from_millis(wait),
            outcome,
        };
        let report = Report::new(vec![
            sample(998, 1, Outcome::Ok("web1".to_owned())),
            sample(1000, 2, Outcome::Failed("reset".to_owned())),
            sample(1001, 17, Outcome::Ok("web2".to_owned())),
        ]);
        assert_eq!(
            line("kill -9 lb1", "lb1", "lb2", Moment::from_nanos(1000 * MS), &events, &report),
            "kill -9 lb1      lb2 holds it after 13 ms      1 of 3 failed       gap 19 ms    \
             longest wait 17 ms    lb1's address gone after 2 ms"
        );
    }
}
