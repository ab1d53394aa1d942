//! Doing harm to a node and undoing it.

use std::{fs, process::Command, sync::TryLockError, time::Duration};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;
use nix::sys::signal::Signal;

use super::{
    clock,
    fault::How,
    hint::hint,
    network,
    stage::{Seat, Stage},
    topology::Network,
};

/// How long an orderly stop may take: the drain of the configuration and a little.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How long the kernel may take to end a killed process.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How long a node may take to be ready again.
const BACK_LIMIT: Duration = Duration::from_secs(30);

/// Harms a node. The moment is that just before the harm.
pub(crate) fn fail(stage: &Stage, name: &str, how: How, progress: impl Fn(&str)) -> anyhow::Result<Moment> {
    let seat = stage.seat(name)?;
    let _turn = take_turn(seat)?;
    if let Some(fault) = seat.state().fault {
        let heal = hint(&stage.options.name, &format!("heal {name}"));
        bail!("{name} has failed already ({fault}); heal it first: {heal}");
    }
    let member = seat.node.member;
    if !how.fits(member) {
        let ways: Vec<String> =
            How::ALL.iter().filter(|way| way.fits(member)).map(ToString::to_string).collect();
        bail!("{how} can't be done to {name}; what can: {}", ways.join(", "));
    }
    let at = match how.cable(member) {
        Some(network) => set_cable(seat, network, false)?,
        None => harm_process(stage, seat, how, &progress)?,
    };
    seat.state().fault = Some(how);
    Ok(at)
}

fn harm_process(stage: &Stage, seat: &Seat, how: How, progress: impl Fn(&str)) -> anyhow::Result<Moment> {
    let name = seat.name();
    stage.follow(seat);
    let pid = seat.state().process.filter(|pid| stage.processes.is_alive(*pid)).with_context(|| {
        let heal = hint(&stage.options.name, &format!("heal {name}"));
        format!("nothing of the lab runs on {name}; {heal} starts it")
    })?;
    let holder = (how == How::Worker).then(|| hold_worker(stage, seat, pid)).transpose()?;
    let at = clock::now();
    match how {
        How::Kill => {
            stage.processes.signal(pid, Signal::SIGKILL, false);
            if !stage.wait_for_end(pid, KILL_LIMIT) {
                bail!("{name} does not die");
            }
        }
        How::Stop => {
            stage.processes.signal(pid, Signal::SIGTERM, false);
            progress(&format!("{name} finishes what is in flight"));
            if !stage.wait_for_end(pid, STOP_LIMIT) {
                bail!("{name} did not stop within {} s", STOP_LIMIT.as_secs());
            }
        }
        How::Freeze => signal_all(pid, Signal::SIGSTOP),
        How::Worker => {
            let (holder, at) = holder.context("the holder was started above")?;
            seat.state().holder = Some(holder);
            return Ok(at);
        }
        How::Cable | How::Backends => bail!("not a matter of a process"),
    }
    Ok(at)
}

/// Undoes the harm and starts what is dead; returns when the node is back.
pub(crate) fn heal(stage: &Stage, name: &str, progress: impl Fn(&str)) -> anyhow::Result<Moment> {
    let seat = stage.seat(name)?;
    let _turn = take_turn(seat)?;
    let at = clock::now();
    let (fault, process, holder) = {
        let mut state = seat.state();
        (state.fault.take(), state.process, state.holder.take())
    };
    if let Some(network) = fault.and_then(|how| how.cable(seat.node.member)) {
        set_cable(seat, network, true)?;
    }
    if fault == Some(How::Freeze)
        && let Some(pid) = process
    {
        signal_all(pid, Signal::SIGCONT);
    }
    if let Some(holder) = holder {
        // The kernel lets a thread go when its tracer ends.
        stage.processes.signal(holder, Signal::SIGKILL, false);
        stage.wait_for_end(holder, KILL_LIMIT);
        stage.processes.forget(holder);
    }
    stage.start_wanted(seat)?;
    let back = wait_until_back(stage, seat, &progress);
    // One that was about to end when it was looked at was not started.
    let has_ended = |pid| seat.state().process == Some(pid) && !stage.processes.is_alive(pid);
    if back.is_err() && process.is_some_and(has_ended) {
        stage.start_wanted(seat)?;
        wait_until_back(stage, seat, &progress)?;
        return Ok(at);
    }
    back.map(|()| at)
}

/// Waits until the node is ready: a load balancer by its own word, a server by answering its port. A node on which the
/// lab runs nothing is ready at once.
pub(crate) fn wait_until_back(stage: &Stage, seat: &Seat, progress: impl Fn(&str)) -> anyhow::Result<()> {
    let started = clock::now();
    let mut told = String::new();
    loop {
        let (wanted, process) = {
            let state = seat.state();
            (state.wanted, state.process)
        };
        if !wanted {
            return Ok(());
        }
        let name = seat.name();
        let read_log = || hint(&stage.options.name, &format!("exec {name} -- cat {}", seat.log_path()));
        if !process.is_some_and(|pid| stage.processes.is_alive(pid)) {
            bail!("the process of {name} has ended; why: {}", read_log());
        }
        let state = seat.is_ready();
        let words = match state {
            Ok(None) => return Ok(()),
            Ok(Some(words)) => words,
            // Its causes are for a log: `no such file` is the socket of a daemon that has just begun.
            Err(error) => error.to_string(),
        };
        if clock::now().saturating_since(started) > BACK_LIMIT {
            let limit = BACK_LIMIT.as_secs();
            bail!("{name} is not back after {limit} s ({words}); more: {}", read_log());
        }
        if words != told {
            progress(&format!("{name}: {words}"));
            told = words;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn take_turn(seat: &Seat) -> anyhow::Result<std::sync::MutexGuard<'_, ()>> {
    match seat.turn.try_lock() {
        Ok(turn) => Ok(turn),
        Err(TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
        Err(TryLockError::WouldBlock) => {
            bail!("something is being done to {} right now; try again in a moment", seat.name())
        }
    }
}

fn set_cable(seat: &Seat, network: Network, plugged: bool) -> anyhow::Result<Moment> {
    let port = seat.node.member.port(network).context("no such cable")?;
    let at = clock::now();
    network::set_carrier(port, plugged)?;
    Ok(at)
}

/// A process of the lab that stops one worker of `pid`, and its first moment.
fn hold_worker(stage: &Stage, seat: &Seat, pid: i32) -> anyhow::Result<(i32, Moment)> {
    let thread = worker_threads(pid)?
        .pop()
        .with_context(|| format!("the daemon of {} has no thread called {WORKER}N", seat.name()))?;
    let mut command = Command::new(&stage.program);
    command.args(["lab", "hold", "--thread", &thread.to_string()]);
    let command = seat.node.log_output(command, "/run/log/hold.log")?;
    let at = clock::now();
    let holder = stage.processes.spawn(&seat.node, command)?;
    // Stopped is `t` (tracing stop) in /proc.
    let path = format!("/proc/{pid}/task/{thread}/stat");
    for _ in 0..200 {
        if state_letter(&fs::read_to_string(&path).unwrap_or_default()) == Some('t') {
            return Ok((holder, at));
        }
        if !stage.processes.is_alive(holder) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.processes.signal(holder, Signal::SIGKILL, false);
    stage.processes.forget(holder);
    bail!("cannot stop a thread of {} (is kernel.yama.ptrace_scope 3?)", seat.name())
}

/// Prefix of the names of the daemon's worker threads.
const WORKER: &str = "lbctl-worker-";

/// Thread ids of the workers of `pid`, in the order of their names.
fn worker_threads(pid: i32) -> anyhow::Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if let (Some(number), Some(thread)) =
            (name.trim().strip_prefix(WORKER), task.file_name().to_str().and_then(|text| text.parse().ok()))
        {
            found.push((number.parse::<u32>().unwrap_or(0), thread));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, thread)| thread).collect())
}

/// Sends a signal to a process and all its descendants, parents first.
fn signal_all(pid: i32, signal: Signal) {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), signal);
        family.extend(children(parent));
        next += 1;
    }
}

fn children(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            parent_of(&stat) == Some(parent)
        })
        .collect()
}

/// The fields of /proc/PID/stat after the name, which stands in parentheses and may contain anything.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

fn state_letter(stat: &str) -> Option<char> {
    after_name(stat).next()?.chars().next()
}

fn parent_of(stat: &str) -> Option<i32> {
    after_name(stat).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) t 3 7 7 0 -1";
        assert_eq!(state_letter(stat), Some('t'));
        assert_eq!(parent_of(stat), Some(3));
    }
}
