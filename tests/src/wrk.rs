//! wrk, the load of others.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lbctl::lab::{Spawned, VIP};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{plain::Running, program, scene::Scene, wait};

/// Seconds after which it ends by itself.
const LONGEST: u32 = 120;

/// wrk at work.
#[derive(Debug)]
pub struct Wrk {
    running: Running,
    out: PathBuf,
}

impl Wrk {
    /// Requests `/` of `target` on this many connections, as fast as it can, on one thread. `fields` are header fields, as
    /// `Connection: close`. What it writes goes into `folder`.
    #[must_use]
    pub fn start(folder: &Path, name: &str, target: SocketAddr, connections: u32, fields: &[&str]) -> Self {
        let out = folder.join(format!("{name}.wrk"));
        let words = command(target, connections, fields);
        let mut command = Command::new(&words[0]);
        Self { running: Running::start(command.args(&words[1..]), &out), out }
    }

    /// Ends it; the number of requests that were answered.
    ///
    /// # Panics
    /// A request failed: what wrk says of it.
    #[track_caller]
    pub fn stop(self) -> u64 {
        let pid = Pid::from_raw(i32::try_from(self.running.id()).expect("a pid"));
        kill(pid, Signal::SIGINT).expect("wrk is alive");
        answered(|| std::fs::read_to_string(&self.out).ok())
    }
}

/// wrk on a node of a lab, behind others in the line for the processor: the lab is to do what it should all the while.
#[derive(Debug)]
pub struct WrkThere<'scene> {
    scene: &'scene Scene,
    name: String,
    wrk: Spawned<'scene>,
}

impl<'scene> WrkThere<'scene> {
    /// As [`Wrk::start`], on the client of the lab and for its address.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(scene: &'scene Scene, name: &str, connections: u32, fields: &[&str]) -> Self {
        let words = ["nice", "-n5"].map(str::to_owned).into_iter();
        let words = words.chain(command((VIP, 80).into(), connections, fields));
        let wrk = scene.spawn("client", name, words).unwrap_or_else(|error| panic!("{error:#}"));
        Self { scene, name: name.to_owned(), wrk }
    }

    /// As [`Wrk::stop`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn stop(self) -> u64 {
        self.wrk.signal(Signal::SIGINT).expect("wrk is alive");
        answered(|| self.scene.log("client", &self.name).ok())
    }
}

fn command(target: SocketAddr, connections: u32, fields: &[&str]) -> Vec<String> {
    let mut words = vec![program::find("wrk").display().to_string()];
    words.extend(
        ["-t1", &format!("-c{connections}"), &format!("-d{LONGEST}s"), "--timeout=60s"].map(str::to_owned),
    );
    words.extend(fields.iter().flat_map(|field| ["-H", field]).map(str::to_owned));
    words.push(format!("http://{target}/"));
    words
}

/// What its report says, once it is there.
#[track_caller]
fn answered(read: impl Fn() -> Option<String>) -> u64 {
    let report = wait::until("wrk's report", Duration::from_secs(20), || {
        read().filter(|text| text.contains("Transfer/sec"))
    });
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let line = report.lines().find(|line| line.contains(" requests in ")).expect("a total");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
