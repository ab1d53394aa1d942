//! The bench's own processes: client and origin, as the rest of the bench sees them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command},
};

use anyhow::Context as _;

use crate::{
    load::{Plan, Seen, Turn},
    origin::Places,
    process::Running,
};

/// A process of this program that prints lines.
#[derive(Debug)]
struct Own {
    /// Ends it when it is dropped.
    _running: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Own {
    fn start(words: &[String], folder: &Path, on: &[usize]) -> anyhow::Result<Self> {
        let log = folder.join(format!("{}.log", words[0]));
        // Not by its path: somebody may build another one while this runs.
        let mut command = Command::new("/proc/self/exe");
        let mut running = Running::start(command.args(words), on, &log, true)?;
        let (input, output) = running.pipes()?;
        Ok(Self { _running: running, input, output: BufReader::new(output), log })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            anyhow::bail!("it has ended: {}", said.trim());
        }
        Ok(line)
    }
}

/// A client that is ready.
#[derive(Debug)]
pub(crate) struct Client(Own);

impl Client {
    /// Returns when it has its connections.
    pub(crate) fn start(plan: &Plan, folder: &Path, on: &[usize]) -> anyhow::Result<Self> {
        let words = ["load".to_owned(), serde_json::to_string(plan)?];
        let mut own = Own::start(&words, folder, on).context("the client")?;
        own.line().context("the client")?;
        Ok(Self(own))
    }

    /// Lets it begin a turn.
    pub(crate) fn go(&mut self, turn: Turn) -> anyhow::Result<()> {
        let line = serde_json::to_string(&turn)? + "\n";
        self.0.input.write_all(line.as_bytes()).context("the client")
    }

    /// Waits for what it has seen in that turn. Its connections stay until it is dropped.
    pub(crate) fn seen(&mut self) -> anyhow::Result<Seen> {
        let line = self.0.line().context("the client")?;
        serde_json::from_str(&line).with_context(|| format!("the client said: {line}"))
    }
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Ends it when it is dropped.
    _own: Own,
    pub(crate) places: Places,
}

impl Server {
    /// On any port if `port` is 0; each answer is `delay` milliseconds late.
    pub(crate) fn start(port: u16, delay: u64, folder: &Path, on: &[usize]) -> anyhow::Result<Self> {
        let words = ["origin".to_owned(), format!("--port={port}"), format!("--delay={delay}")];
        let mut own = Own::start(&words, folder, on).context("the origin")?;
        let line = own.line().context("the origin")?;
        let places = serde_json::from_str(&line).with_context(|| format!("the origin said: {line}"))?;
        Ok(Self { _own: own, places })
    }
}
