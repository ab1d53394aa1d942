//! wrk, the load of others.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{plain::Running, program, wait};

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
        let mut command = Command::new(program::find("wrk"));
        command.arg("-t1").arg(format!("-c{connections}")).arg(format!("-d{LONGEST}s")).arg("--timeout=10s");
        command.args(fields.iter().flat_map(|field| ["-H", field])).arg(format!("http://{target}/"));
        Self { running: Running::start(&mut command, &out), out }
    }

    /// Ends it; the number of requests that were answered.
    ///
    /// # Panics
    /// A request failed: what wrk says of it.
    #[track_caller]
    pub fn stop(self) -> u64 {
        let pid = Pid::from_raw(i32::try_from(self.running.id()).expect("a pid"));
        kill(pid, Signal::SIGINT).expect("wrk is alive");
        let report = wait::until("wrk's report", Duration::from_secs(20), || {
            std::fs::read_to_string(&self.out).ok().filter(|text| text.contains("Transfer/sec"))
        });
        assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
        let line = report.lines().find(|line| line.contains(" requests in ")).expect("a total");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }
}
