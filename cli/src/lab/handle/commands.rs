//! Commands and processes on the nodes of a lab.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{self, PipeReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    thread,
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;
use nix::sys::signal::Signal;

use super::{
    Lab,
    patience::{PATIENCE, impatient},
    unexpected,
};
use crate::lab::{
    processes::Ended,
    protocol::{Reader, Request, Response, send},
};

/// What a command left.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// What it wrote to stdout, as text.
    pub stdout: String,
    /// What it wrote to stderr, as text.
    pub stderr: String,
}

impl Output {
    /// Did it exit with 0?
    #[must_use]
    pub fn success(&self) -> bool {
        self.ended.code == Some(0)
    }
}

impl Lab {
    /// The caller's environment; `lbctl` is found even where it was built but not installed.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if let Some(folder) = self.program.parent().and_then(Path::to_str) {
            let path = environment.entry("PATH".to_owned()).or_insert_with(|| "/usr/bin:/bin".to_owned());
            path.push(':');
            path.push_str(folder);
        }
        environment
    }

    /// Runs a command on a node, without input, and returns what it wrote.
    ///
    /// # Errors
    /// No such node, the lab is gone, or the command does not end within a minute. One that can't be started ends with
    /// 127, as in a shell.
    pub fn exec<S: AsRef<OsStr>>(
        &self,
        node: &str,
        command: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Output> {
        self.exec_with(node, command, "")
    }

    /// As `exec`, with this on the command's stdin.
    ///
    /// # Errors
    /// As `exec`.
    pub fn exec_with<S: AsRef<OsStr>>(
        &self,
        node: &str,
        command: impl IntoIterator<Item = S>,
        input: &str,
    ) -> anyhow::Result<Output> {
        let (stdin_outlet, mut stdin) = io::pipe()?;
        let (stdout, stdout_inlet) = io::pipe()?;
        let (stderr, stderr_inlet) = io::pipe()?;
        let command: Vec<S> = command.into_iter().collect();
        let words: Vec<_> = command.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
        let words = format!("`{}` on {node}", words.join(" "));
        let (mut reader, stream) = self.start_exec(
            node,
            command,
            [stdin_outlet.as_fd(), stdout_inlet.as_fd(), stderr_inlet.as_fd()],
        )?;
        drop((stdin_outlet, stdout_inlet, stderr_inlet));
        let input = input.to_owned();
        thread::spawn(move || {
            // A command need not read what it is given.
            let _ = stdin.write_all(input.as_bytes());
        });
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        let mut complaint = String::new();
        stream.set_read_timeout(Some(PATIENCE))?;
        let ended = wait_for_end(&mut reader, |text| complaint = format!("{text}\n"))
            .map_err(|error| impatient(error, &words))?;
        let all = |text: Receiver<String>| {
            text.recv_timeout(PATIENCE)
                .with_context(|| format!("something that {words} left behind still writes"))
        };
        let (stdout, stderr) = (all(stdout)?, all(stderr)? + &complaint);
        Ok(Output { ended, stdout, stderr })
    }

    /// Writes a file on a node, such as the configuration of another project's daemon.
    ///
    /// # Errors
    /// No such node or folder.
    pub fn write_file(&self, node: &str, path: &str, text: &str) -> anyhow::Result<()> {
        let output = self.exec_with(node, ["sh", "-c", "cat >\"$0\"", path], text)?;
        if !output.success() {
            bail!("cannot write {path} on {node}: {}", output.stderr.trim());
        }
        Ok(())
    }

    /// Runs a command on a node with this process's own stdin, stdout and stderr.
    ///
    /// # Errors
    /// No such node, or the lab is gone.
    pub fn exec_here<S: AsRef<OsStr>>(
        &self,
        node: &str,
        command: impl IntoIterator<Item = S>,
        complain: impl FnMut(&str),
    ) -> anyhow::Result<Ended> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let (mut reader, _stream) =
            self.start_exec(node, command, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        wait_for_end(&mut reader, complain)
    }

    /// Starts a process that stays, such as a daemon of another project. What it writes is in `/run/log/NAME.log` of the
    /// node.
    ///
    /// # Errors
    /// No such node or program.
    pub fn spawn<S: AsRef<OsStr>>(
        &self,
        node: &str,
        name: &str,
        command: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Spawned<'_>> {
        let request =
            Request::Spawn { node: node.to_owned(), name: name.to_owned(), command: texts(command)? };
        match self.ask(&request, |_| {})? {
            Response::Started { pid } => Ok(Spawned { lab: self, pid }),
            other => unexpected(&other),
        }
    }

    pub(super) fn start_exec<S: AsRef<OsStr>>(
        &self,
        node: &str,
        command: impl IntoIterator<Item = S>,
        files: [BorrowedFd<'_>; 3],
    ) -> anyhow::Result<(Reader, UnixStream)> {
        let stream = self.connect()?;
        let request = Request::Exec {
            node: node.to_owned(),
            command: texts(command)?,
            folder: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            environment: self.environment(),
        };
        send(&stream, &request, &files)?;
        Ok((Reader::new(stream.try_clone()?), stream))
    }
}

/// A process that stays; it ends with the lab at the latest.
#[derive(Debug)]
#[must_use]
pub struct Spawned<'lab> {
    lab: &'lab Lab,
    pid: i32,
}

impl Spawned<'_> {
    /// Its id inside the lab.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<Moment> {
        self.lab.ask_done(&Request::Signal { pid: self.pid, signal: signal as i32 }, |_| {})
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The lab is gone, or the process does not end within a minute.
    pub fn wait(&self) -> anyhow::Result<Ended> {
        match self.lab.ask(&Request::Wait { pid: self.pid }, |_| {})? {
            Response::Ended { code, signal } => Ok(Ended { code, signal }),
            other => unexpected(&other),
        }
    }
}

pub(super) fn wait_for_end(reader: &mut Reader, mut complain: impl FnMut(&str)) -> anyhow::Result<Ended> {
    loop {
        match reader.next()?.context("the lab went down")? {
            Response::Progress { text } => complain(&text),
            Response::Ended { code, signal } => return Ok(Ended { code, signal }),
            Response::Error { text } => bail!(text),
            other => return unexpected(&other),
        }
    }
}

/// All that comes out of the pipe, once nobody has its other end any more.
fn collect(mut pipe: PipeReader) -> Receiver<String> {
    let (sender, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    text
}

fn texts<S: AsRef<OsStr>>(command: impl IntoIterator<Item = S>) -> anyhow::Result<Vec<String>> {
    command
        .into_iter()
        .map(|word| word.as_ref().to_str().map(str::to_owned).context("the words of a command must be UTF-8"))
        .collect()
}
