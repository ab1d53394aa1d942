//! Clients of a lab, and what they see.

use std::{
    io::{self, BufRead as _, BufReader, PipeWriter},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};

use super::{
    Lab,
    commands::wait_for_end,
    patience::{PATIENCE, impatient},
};
use crate::lab::{
    clock,
    load::{LoadOptions, Sample},
    protocol::Reader,
    report::Report,
};

impl Lab {
    /// Starts clients on the client node.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn load(&self, options: &LoadOptions) -> anyhow::Result<Load> {
        self.load_from("client", options)
    }

    /// Starts clients on any node.
    ///
    /// # Errors
    /// No such node, or the lab is gone.
    pub fn load_from(&self, node: &str, options: &LoadOptions) -> anyhow::Result<Load> {
        let program = self.program.to_str().context("the path of lbctl is not UTF-8")?;
        let command = [
            program.to_owned(),
            "lab".to_owned(),
            "load".to_owned(),
            format!("--target={}", options.target),
            format!("--path={}", options.path),
            format!("--connections={}", options.connections),
            format!("--rate={}", options.rate),
            format!("--seconds={}", options.seconds),
            format!("--patience={}", options.patience),
        ];
        let (stdin_outlet, stdin) = io::pipe()?;
        let (stdout, stdout_inlet) = io::pipe()?;
        let stderr = io::stderr();
        let (reader, stream) =
            self.start_exec(node, command, [stdin_outlet.as_fd(), stdout_inlet.as_fd(), stderr.as_fd()])?;
        let samples = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&samples);
        let collector = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(batch) = serde_json::from_str::<Vec<Sample>>(&line) {
                    sink.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
                }
            }
        });
        Ok(Load { samples, stdin: Some(stdin), reader, stream, collector: Some(collector) })
    }
}

/// Longer than any request of a load lasts unless its patience was set to more.
const OLDEST: Duration = Duration::from_secs(10);

/// Clients at work; they end when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Load {
    samples: Arc<Mutex<Vec<Sample>>>,
    stdin: Option<PipeWriter>,
    reader: Reader,
    stream: UnixStream,
    collector: Option<JoinHandle<()>>,
}

impl Load {
    /// What they saw so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::new(self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// What ended within the last `window`.
    #[must_use]
    pub fn report_of_last(&self, window: Duration) -> Report {
        let from = clock::now() - window;
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        // Batches come in the order of time, give or take the longest wait.
        let recent = samples.iter().rev().take_while(|sample| sample.at + OLDEST >= from);
        Report::new(recent.filter(|sample| sample.end() >= from).cloned().collect())
    }

    /// Have they ended by themselves?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.collector.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends them. Requests in flight are not counted.
    ///
    /// # Errors
    /// They had ended before, because they could not work at all.
    pub fn stop(mut self) -> anyhow::Result<Report> {
        drop(self.stdin.take());
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let ended = wait_for_end(&mut self.reader, |_| {})
            .map_err(|error| impatient(error, "the end of the clients"))?;
        if let Some(collector) = self.collector.take() {
            collector.join().map_err(|_| anyhow!("the collecting thread panicked"))?;
        }
        if ended.code != Some(0) {
            bail!("the clients ended with {ended:?}");
        }
        Ok(self.report())
    }
}
