//! Where the figures come from.

use std::{fs, process::Command};

use crate::{
    figures::Place,
    peers::{Peer, Programs},
    play::Length,
    process,
    roots::said,
};

/// This machine, now.
pub(crate) fn here(peers: &[Peer], programs: &Programs, length: Length) -> anyhow::Result<Place> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let processor = processors.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = read("/proc/loadavg");
    Ok(Place {
        day: said(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned(),
        cores: process::processors().len(),
        processor: processor.unwrap_or("unknown processor").to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        versions: peers.iter().map(|peer| programs.version(*peer)).collect::<anyhow::Result<_>>()?,
        load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        rounds: length.rounds,
        seconds: length.seconds,
    })
}
