//! A lab as those see it who use it: the verbs of the command line and the end-to-end tests.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read as _},
    net::IpAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use lb_vrrp::Moment;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    clock,
    fault::How,
    load::{LoadOptions, Sample},
    options::{Options, socket_path},
    processes::Ended,
    protocol::{Reader, Ready, Request, Response, read_line, send, write_line},
    record::Event,
    report::Report,
    status::LabStatus,
    topology::VIP,
};

/// A lab that is up. One that this process started goes down when the value is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    socket: PathBuf,
    program: PathBuf,
    keeper: Option<Keeper>,
}

/// The thread that started the lab's outermost process. The kernel ends the lab when this very thread ends
/// (PR_SET_PDEATHSIG is about threads), so it stays until the lab is down.
#[derive(Debug)]
struct Keeper {
    pid: u32,
    thread: JoinHandle<()>,
}

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
    /// Starts a lab and waits until it is up.
    ///
    /// # Errors
    /// A lab of this name is up, the kernel forbids namespaces, or something in the lab does not start.
    pub fn up(options: &Options) -> anyhow::Result<Self> {
        let init = options.init_options()?;
        let program = options.find_program()?;
        if let Ok(other) = Self::attach(&init.name)
            && let Ok(status) = other.status()
        {
            bail!(
                "a lab `{}` is up already (pid {}); lbctl lab down ends it, --name starts another beside it",
                init.name,
                status.pid
            );
        }
        let mut command = Command::new(&program);
        command.args(["lab", "outer"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let parent = if options.detached { 0 } else { std::process::id() };
        command.args(["--parent", &parent.to_string()]);
        if options.detached {
            command.stderr(Stdio::null());
        }
        let (started, is_started) = std::sync::mpsc::channel();
        let thread =
            thread::Builder::new().name("lab-keeper".to_owned()).spawn(move || match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok((child.id(), child.stdin.take(), child.stdout.take())));
                    let _ = child.wait();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })?;
        let (pid, stdin, stdout) =
            is_started.recv()?.with_context(|| format!("cannot run {}", program.display()))?;
        write_line(&mut stdin.context("stdin is piped")?, &init)?;
        let ready = read_line(&mut BufReader::new(stdout.context("stdout is piped")?));
        let lab = Self {
            name: init.name,
            socket: init.socket,
            program,
            keeper: (!options.detached).then_some(Keeper { pid, thread }),
        };
        match ready {
            Ok(Ready::Up) => Ok(lab),
            Ok(Ready::Error { text }) => Err(anyhow!(text)),
            Err(_) => bail!("{} ended before the lab was up", lab.program.display()),
        }
    }

    /// A lab that someone else started.
    ///
    /// # Errors
    /// None is up under this name.
    pub fn attach(name: &str) -> anyhow::Result<Self> {
        let socket = socket_path(name)?;
        if UnixStream::connect(&socket).is_err() {
            bail!("no lab is up here (no {}); start one: lbctl lab up", socket.display());
        }
        Ok(Self { name: name.to_owned(), socket, program: std::env::current_exe()?, keeper: None })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command on a node, without input, and returns what it wrote.
    ///
    /// # Errors
    /// No such node, or the lab is gone. A command that can't be started ends with 127, as in a shell.
    pub fn exec<S: AsRef<OsStr>>(
        &self,
        node: &str,
        command: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Output> {
        let (stdout, stdout_inlet) = io::pipe()?;
        let (stderr, stderr_inlet) = io::pipe()?;
        let null = File::open("/dev/null")?;
        let (mut reader, _stream) =
            self.start_exec(node, command, [null.as_fd(), stdout_inlet.as_fd(), stderr_inlet.as_fd()])?;
        drop((stdout_inlet, stderr_inlet));
        let collect = |mut pipe: PipeReader| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        let mut complaint = String::new();
        let ended = wait_for_end(&mut reader, |text| complaint = format!("{text}\n"))?;
        let gone = |_| anyhow!("a reading thread panicked");
        let stdout = stdout.join().map_err(gone)?;
        let stderr = stderr.join().map_err(gone)? + &complaint;
        Ok(Output { ended, stdout, stderr })
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

    /// Harms a node. The moment is that just before the harm.
    ///
    /// # Errors
    /// It has failed already, or this can't be done to it.
    pub fn fail(&self, node: &str, how: How) -> anyhow::Result<Moment> {
        self.fail_saying(node, how, |_| {})
    }

    /// As `fail`, and `progress` hears what takes its time.
    ///
    /// # Errors
    /// As `fail`.
    pub fn fail_saying(&self, node: &str, how: How, progress: impl FnMut(&str)) -> anyhow::Result<Moment> {
        self.ask_done(&Request::Fail { node: node.to_owned(), how }, progress)
    }

    /// Undoes the harm, starts what is dead and waits until the node is back. The moment is that just before.
    ///
    /// # Errors
    /// The node does not come back.
    pub fn heal(&self, node: &str) -> anyhow::Result<Moment> {
        self.heal_saying(node, |_| {})
    }

    /// As `heal`, and `progress` hears what takes its time.
    ///
    /// # Errors
    /// As `heal`.
    pub fn heal_saying(&self, node: &str, progress: impl FnMut(&str)) -> anyhow::Result<Moment> {
        self.ask_done(&Request::Heal { node: node.to_owned() }, progress)
    }

    /// How the lab is.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn status(&self) -> anyhow::Result<LabStatus> {
        match self.ask(&Request::Status, |_| {})? {
            Response::Status(status) => Ok(*status),
            other => unexpected(&other),
        }
    }

    /// Nodes that have the virtual address now: one, if all is well.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn holders(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.status()?.holders)
    }

    /// Waits until exactly one node has the virtual address; its name.
    ///
    /// # Errors
    /// None within `limit`, or several.
    pub fn wait_for_holder(&self, limit: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let mut holders = self.holders()?;
            match holders.pop() {
                Some(holder) if holders.is_empty() => return Ok(holder),
                _ if Instant::now() >= deadline => {
                    bail!("after {limit:?} the address is held by {holders:?}, not by one node")
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Waits until `node` and no other has the virtual address.
    ///
    /// # Errors
    /// Not within `limit`.
    pub fn wait_until_held_by(&self, node: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let holders = self.holders()?;
            if holders == [node] {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("after {limit:?} the address is held by {holders:?}, not by {node} alone");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The whole record: every change of an address or a carrier in every node, in the order of the kernel.
    ///
    /// # Errors
    /// The lab is gone, or the kernel had to drop events.
    pub fn record(&self) -> anyhow::Result<Vec<Event>> {
        self.record_since(0)
    }

    /// The record from event number `from` on.
    ///
    /// # Errors
    /// As `record`.
    pub fn record_since(&self, from: usize) -> anyhow::Result<Vec<Event>> {
        match self.ask(&Request::Record { from }, |_| {})? {
            Response::Record { events, overruns: 0 } => Ok(events),
            Response::Record { overruns, .. } => {
                bail!("the record has {overruns} holes: the kernel dropped events")
            }
            other => unexpected(&other),
        }
    }

    /// The part of the record that is about the virtual address.
    ///
    /// # Errors
    /// As `record`.
    pub fn record_of_vip(&self) -> anyhow::Result<Vec<Event>> {
        let mut events = self.record()?;
        events.retain(|event| event.is_about(IpAddr::V4(VIP)));
        Ok(events)
    }

    /// What a process of the lab wrote: `lbctl` on a load balancer, `web` on a server, or the name given to `spawn`.
    ///
    /// # Errors
    /// No such log.
    pub fn log(&self, node: &str, name: &str) -> anyhow::Result<String> {
        let path = format!("/run/log/{name}.log");
        let output = self.exec(node, ["cat", &path])?;
        if !output.success() {
            bail!("{}", output.stderr.trim());
        }
        Ok(output.stdout)
    }

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
        Ok(Load { samples, stdin: Some(stdin), reader, _stream: stream, collector: Some(collector) })
    }

    /// Ends the lab, and waits until it is gone.
    ///
    /// # Errors
    /// It does not answer.
    pub fn down(mut self) -> anyhow::Result<()> {
        self.ask_done(&Request::Down, |_| {})?;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.thread.join();
        }
        wait_until_gone(&self.socket)
    }

    fn start_exec<S: AsRef<OsStr>>(
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
            environment: environment(),
        };
        send(&stream, &request, &files)?;
        Ok((Reader::new(stream.try_clone()?), stream))
    }

    fn ask_done(&self, request: &Request, progress: impl FnMut(&str)) -> anyhow::Result<Moment> {
        match self.ask(request, progress)? {
            Response::Done { at } => Ok(at),
            other => unexpected(&other),
        }
    }

    fn ask(&self, request: &Request, mut progress: impl FnMut(&str)) -> anyhow::Result<Response> {
        let stream = self.connect()?;
        send(&stream, request, &[])?;
        let mut reader = Reader::new(stream);
        loop {
            match reader.next()?.context("the lab went down")? {
                Response::Progress { text } => progress(&text),
                Response::Error { text } => bail!(text),
                response => return Ok(response),
            }
        }
    }

    fn connect(&self) -> anyhow::Result<UnixStream> {
        UnixStream::connect(&self.socket).with_context(|| format!("the lab `{}` is gone", self.name))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        if let Ok(pid) = i32::try_from(keeper.pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = keeper.thread.join();
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
    /// The lab is gone.
    pub fn wait(&self) -> anyhow::Result<Ended> {
        match self.lab.ask(&Request::Wait { pid: self.pid }, |_| {})? {
            Response::Ended { code, signal } => Ok(Ended { code, signal }),
            other => unexpected(&other),
        }
    }
}

/// Clients at work; they end when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Load {
    samples: Arc<Mutex<Vec<Sample>>>,
    stdin: Option<PipeWriter>,
    reader: Reader,
    _stream: UnixStream,
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
        let ended = wait_for_end(&mut self.reader, |_| {})?;
        if let Some(collector) = self.collector.take() {
            collector.join().map_err(|_| anyhow!("the collecting thread panicked"))?;
        }
        if ended.code != Some(0) {
            bail!("the clients ended with {ended:?}");
        }
        Ok(self.report())
    }
}

/// Longer than any request of a load lasts unless its patience was set to more.
const OLDEST: Duration = Duration::from_secs(10);

fn wait_for_end(reader: &mut Reader, mut complain: impl FnMut(&str)) -> anyhow::Result<Ended> {
    loop {
        match reader.next()?.context("the lab went down")? {
            Response::Progress { text } => complain(&text),
            Response::Ended { code, signal } => return Ok(Ended { code, signal }),
            Response::Error { text } => bail!(text),
            other => return unexpected(&other),
        }
    }
}

fn wait_until_gone(socket: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while socket.exists() {
        if Instant::now() >= deadline {
            bail!("{} is still there", socket.display());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn unexpected<T>(response: &Response) -> anyhow::Result<T> {
    bail!("the lab answered {response:?}: is it of another version?")
}

fn texts<S: AsRef<OsStr>>(command: impl IntoIterator<Item = S>) -> anyhow::Result<Vec<String>> {
    command
        .into_iter()
        .map(|word| word.as_ref().to_str().map(str::to_owned).context("the words of a command must be UTF-8"))
        .collect()
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
