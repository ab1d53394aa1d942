//! A node's namespaces: a thread that lives in them and runs whatever has to run there. Sockets that it opens belong to
//! the node's network, and processes that it starts inherit network, mounts and hostname.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::Context as _;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::sethostname,
};

use super::topology::Member;

type Job = Box<dyn FnOnce() + Send>;

/// A node: its place in the topology and its namespaces.
pub(crate) struct Node {
    pub(crate) member: &'static Member,
    jobs: mpsc::Sender<Job>,
    /// Keeps the network namespace and lets others name it.
    network: File,
}

impl Node {
    /// Makes the namespaces.
    pub(crate) fn new(member: &'static Member) -> anyhow::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        thread::Builder::new().name(format!("node-{}", member.name)).spawn(move || {
            let entered = enter(member.name);
            let failed = entered.is_err();
            if ready.send(entered).is_err() || failed {
                return;
            }
            for job in inbox {
                job();
            }
        })?;
        let network =
            is_ready.recv()?.with_context(|| format!("cannot make the namespaces of {}", member.name))?;
        Ok(Self { member, jobs, network })
    }

    /// Runs `work` on the node's thread.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (result, outcome) = mpsc::channel();
        let gone = |_| io::Error::other("the node's thread is gone");
        self.jobs
            .send(Box::new(move || {
                let _ = result.send(work());
            }))
            .map_err(|_| io::Error::other("the node's thread is gone"))?;
        outcome.recv().map_err(gone)
    }

    /// The network namespace, for netlink.
    pub(crate) fn network_descriptor(&self) -> i32 {
        self.network.as_raw_fd()
    }

    /// Number of the network namespace, as in `/proc/PID/ns/net`.
    pub(crate) fn network_inode(&self) -> io::Result<u64> {
        Ok(self.network.metadata()?.ino())
    }

    /// Lets what a process writes go to a file of the node.
    pub(crate) fn log_output(&self, mut command: Command, path: &str) -> io::Result<Command> {
        let path = path.to_owned();
        self.run(move || {
            let log = OpenOptions::new().create(true).append(true).open(path)?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            Ok(command)
        })?
    }

    /// Writes a file of the node.
    pub(crate) fn write_file(&self, path: &'static str, text: String) -> io::Result<()> {
        self.run(move || fs::write(path, text))?
    }
}

fn enter(name: &str) -> anyhow::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
    sethostname(name).context("sethostname")?;
    mount(
        Some("lbctl-lab"),
        "/run",
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=0755,size=64m"),
    )
    .context("cannot mount a tmpfs on /run")?;
    fs::create_dir("/run/log")?;
    Ok(File::open("/proc/thread-self/ns/net")?)
}
