//! What `lbctl lab up` shows while it stays: on a terminal a screen that follows the lab, on a pipe a line per change.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::{
    handle::{Lab, Load},
    hint::hint,
    load::LoadOptions,
    report::Report,
    status::LabStatus,
};

/// The signals that end the lab. Made before any thread is, since threads inherit what is blocked.
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// From now on these signals are only read here.
    ///
    /// # Errors
    /// The kernel refuses a signalfd.
    pub fn catch() -> anyhow::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Waits; `true` if one came.
    fn within(&self, time: Duration) -> bool {
        let milliseconds = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
        let mut files = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut files, PollTimeout::from(milliseconds)), Ok(n) if n > 0)
    }
}

/// How often the screen is drawn.
const TICK: Duration = Duration::from_millis(250);
/// How far back the figures of the clients look.
const WINDOW: Duration = Duration::from_secs(2);

/// Follows the lab until a signal comes.
///
/// # Errors
/// The lab is gone.
pub fn follow(lab: &Lab, interrupts: &Interrupts) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { draw(lab, interrupts) } else { tell(lab, interrupts) }
}

fn tell(lab: &Lab, interrupts: &Interrupts) -> anyhow::Result<()> {
    let mut told = String::new();
    let mut read = 0;
    loop {
        let status = lab.status()?;
        for event in lab.record_since(read)? {
            read += 1;
            if event.is_about(status.vip.into()) {
                say(&event.to_string())?;
            }
        }
        let line = summary(&status);
        if line != told {
            say(&line)?;
            told = line;
        }
        if interrupts.within(TICK) {
            return Ok(());
        }
    }
}

/// One line: who holds the address, and which nodes have failed.
fn summary(status: &LabStatus) -> String {
    let holders = match status.holders.as_slice() {
        [] => "nobody".to_owned(),
        names => names.join(" and "),
    };
    let faults: Vec<String> = status
        .nodes
        .iter()
        .filter_map(|node| Some(format!("{} failed ({})", node.name, node.fault?)))
        .collect();
    let faults = if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") };
    format!("{} is held by {holders} · {faults}", status.vip)
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn hints(name: &str) -> String {
    let verbs = [
        "fail lb1 [--how kill|stop|cable|freeze|worker|backends]",
        "heal lb1",
        "exec client -- curl -s http://198.51.100.10/",
    ];
    let lines: String = verbs.iter().map(|verb| format!("  {}\n", hint(name, verb))).collect();
    format!("From a second terminal:\n{lines}Ctrl-C ends the lab.")
}

fn draw(lab: &Lab, interrupts: &Interrupts) -> anyhow::Result<()> {
    const HOME: &str = "\x1b[H";
    const REST_OF_LINE: &str = "\x1b[K\n";
    const REST_OF_SCREEN: &str = "\x1b[J";
    // Clients are bounded in time, so they are started again when their time is over.
    let options = LoadOptions { connections: 10, rate: 100, seconds: 600, ..LoadOptions::default() };
    let mut load: Option<Load> = None;
    let hints = hints(lab.name());
    loop {
        if load.as_ref().is_none_or(Load::is_over) {
            load = Some(lab.load(&options)?);
        }
        let status = lab.status()?;
        let traffic = load.as_ref().map(|load| traffic(&load.report_of_last(WINDOW))).unwrap_or_default();
        let events = lab.record()?;
        let moves: Vec<String> = events
            .iter()
            .filter(|event| event.is_about(status.vip.into()))
            .rev()
            .take(6)
            .map(ToString::to_string)
            .collect();
        let moves: String = moves.iter().rev().map(|line| format!("  {line}\n")).collect();
        let screen = format!(
            "{status}\n{traffic}\n\nLast moves of the address (seconds since boot)\n{moves}\n{hints}\n"
        );
        // Overwrites instead of clearing first, which would flicker.
        let mut stdout = io::stdout().lock();
        write!(stdout, "{HOME}{}{REST_OF_SCREEN}", screen.replace('\n', REST_OF_LINE))?;
        stdout.flush()?;
        drop(stdout);
        if interrupts.within(TICK) {
            return Ok(());
        }
    }
}

fn traffic(report: &Report) -> String {
    let seconds = WINDOW.as_secs_f64();
    let servers: Vec<String> =
        report.per_server().iter().map(|(server, count)| format!("{server} {count}")).collect();
    format!(
        "10 clients: {:.0} requests/s · {} failed · longest wait {} ms · {}",
        report.total() as f64 / seconds,
        report.failed(),
        report.longest_wait().as_millis(),
        servers.join(", "),
    )
}
