//! The process that takes this one's place: started, given everything, heard.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use lb_proxy::{Handover, Proxy, Tally, tls::SelfSigned};
use lb_vrrp::GroupConfig;
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    Refused,
    channel::Channel,
    output::Output,
    words::{FromNext, PROTOCOL, ToNext},
};
use crate::{
    config::{self, Config, self_signed},
    control::Change,
    daemon::pausing::let_through,
    daemon::{reload::between, speaker_link::Ends},
    packets,
    privileges::{CONFINED, Launcher, Purpose},
    service,
};

/// To start and say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// To read maps and start workers.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// To take part once it may.
const TAKEN_LIMIT: Duration = Duration::from_secs(10);

/// What to start, and with what.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<std::ffi::OsString>,
    pub(super) groups: Vec<GroupConfig>,
    /// The control socket and its lock.
    pub(super) control: [OwnedFd; 2],
    /// Conversations with processes before this one.
    pub(super) before: Vec<OwnedFd>,
    pub(super) launcher: Launcher,
    /// The stderr of this process is nothing: what the next one says there is repeated where it fails.
    pub(super) repeats_stderr: bool,
    /// To the process that runs commands, if there is one.
    pub(super) runner: Option<OwnedFd>,
    /// Where the configuration is, and that of this process.
    pub(super) file: PathBuf,
    pub(super) config: Config,
}

/// What it has read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Its hash.
    pub(super) hash: String,
    /// What is different in it, as far as this program can tell: the other one may understand more.
    pub(super) changes: Option<Vec<Change>>,
}

/// See the module. One that is dropped before it was let go is ended.
#[derive(Debug)]
pub(in crate::daemon) struct Next {
    process: Option<Child>,
    channel: Channel,
    /// Its stderr, unless it has that of this process.
    output: Option<Output>,
    version: String,
    /// For the speaker, if it wants that.
    ends: Option<Ends>,
    read: Read,
    /// What it knows of the counters, once that was passed on.
    tally: Option<Tally>,
}

impl Next {
    /// Starts it and passes on everything; returns when it accepts connections.
    pub(super) async fn start(orders: Orders, proxy: &Proxy) -> Result<Self, Refused> {
        let (mut next, orders) = apart(move || {
            let program = orders.program.display();
            let next = Self::spawn(&orders)
                .map_err(|error| Refused::Now(format!("can't start {program}: {error}{}", hint(&error))))?;
            Ok((next, orders))
        })
        .await?;
        match next.heard(HELLO_LIMIT).await? {
            (FromNext::Hello { version, protocol }, _) if protocol == PROTOCOL => next.version = version,
            (FromNext::Hello { version, .. }, _) => {
                return Err(Refused::Now(format!(
                    "lbctl {version} can't take over from lbctl {}: {} moves the addresses to the other node meanwhile",
                    env!("CARGO_PKG_VERSION"),
                    service::restart()
                )));
            }
            (other, _) => return Err(unexpected(&other)),
        }
        let handover = proxy.hand_over().await.map_err(|error| Refused::Now(error.to_string()))?;
        next.tally = Some(proxy.tally(&handover.known));
        let channel = next.channel.clone();
        let (passed, orders) = apart(move || Ok((pass_on(&channel, &handover, &orders), orders))).await?;
        if let Err(error) = passed {
            return Err(next.untold(&error).await);
        }
        let (ready, descriptors) = next.heard(READY_LIMIT).await?;
        match ready {
            FromNext::Ready { file } => {
                let ends = <[OwnedFd; 2]>::try_from(descriptors).ok();
                next.ends = ends.map(|[socket, page]| Ends { socket, page });
                next.read = compared(file, orders).await?;
                Ok(next)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Its conversation is its stdin, so nothing else that is started at the same time can inherit it.
    fn spawn(orders: &Orders) -> io::Result<Self> {
        let (ours, theirs) = packets::pair()?;
        let mut command = Command::new(&orders.program);
        command.args(&orders.arguments).env(CONFINED, "1").stdin(Stdio::from(theirs));
        if orders.repeats_stderr {
            command.stderr(Stdio::piped());
        }
        let mut process = orders.launcher.run(Purpose::Daemon, move || let_through(|| command.spawn()))??;
        let stderr = process.stderr.take();
        let mut next = Self {
            process: Some(process),
            channel: Channel::new(ours)?,
            output: None,
            version: String::new(),
            ends: None,
            read: Read::default(),
            tally: None,
        };
        next.output = stderr.map(Output::read).transpose()?;
        Ok(next)
    }

    async fn heard(&mut self, limit: Duration) -> Result<(FromNext, Vec<OwnedFd>), Refused> {
        match self.channel.receive(limit).await {
            Ok((FromNext::Refused { why, is_file: true }, _)) => Err(Refused::File(why)),
            Ok((FromNext::Refused { why, is_file: false }, _)) => Err(Refused::Now(why)),
            Ok(said) => Ok(said),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let said = self.said("").await;
                Err(Refused::Now(format!("the new process said nothing for {} s{said}", limit.as_secs())))
            }
            Err(_) => Err(self.ended().await),
        }
    }

    /// It could not be told something because of `error`.
    pub(super) async fn untold(&mut self, error: &io::Error) -> Refused {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.ended().await,
            _ => Refused::Now(format!("the new process does not take what it gets: {error}")),
        }
    }

    async fn ended(&mut self) -> Refused {
        let how = self.how_it_ended().await;
        Refused::Now(format!("the new process {how}{}", self.said("; see its output").await))
    }

    /// Where what it wrote to stderr is not elsewhere, else what is `elsewhere`.
    async fn said(&self, elsewhere: &str) -> String {
        let Some(output) = &self.output else { return elsewhere.to_owned() };
        match output.last_lines().await {
            Some(lines) => format!("; it said: {lines}"),
            None => "; it said nothing".to_owned(),
        }
    }

    async fn how_it_ended(&mut self) -> String {
        let Some(process) = &mut self.process else { return "ended".to_owned() };
        // Its end of the conversation is closed a moment before it has ended.
        for _ in 0..100 {
            if let Ok(Some(status)) = process.try_wait() {
                return format!("ended ({status})");
            }
            sleep(Duration::from_millis(1)).await;
        }
        "closed the conversation".to_owned()
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    pub(super) fn read(&mut self) -> Read {
        std::mem::take(&mut self.read)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn take_ends(&mut self) -> Option<Ends> {
        self.ends.take()
    }

    /// With the hello's socket, if there is one.
    pub(super) fn go(&self, message: &ToNext, hello: Option<&OwnedFd>) -> io::Result<()> {
        let hello: Vec<_> = hello.into_iter().map(AsFd::as_fd).collect();
        self.channel.send(message, &hello)
    }

    /// Waits until it is in charge.
    pub(super) async fn taken(mut self) -> Result<Self, Refused> {
        match self.heard(TAKEN_LIMIT).await? {
            (FromNext::Taken, _) => Ok(self),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// It lives on its own from now on.
    pub(super) fn let_go(mut self) -> (Channel, Option<Tally>) {
        self.process.take();
        (self.channel.clone(), self.tally.take())
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let _ = process.kill();
        // Its end takes as long as its memory is large; the wait takes its remains away.
        let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || process.wait());
    }
}

fn unexpected(message: &FromNext) -> Refused {
    Refused::Now(format!("the new process said what makes no sense now: {message:?}"))
}

/// The file may have been written anew since the next process has read it, which has the hash `hash`.
async fn compared(hash: String, orders: Orders) -> Result<Read, Refused> {
    apart(move || {
        let same = config::load(&orders.file).ok().filter(|config| config.hash == hash);
        let changes = same.map(|config| between(&orders.config, &config));
        Ok(Read { hash, changes })
    })
    .await
}

/// Landlock is asked before the file's rights are.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; has the user the right to run it? It has to be in /usr, /opt or /nix, or in a folder where lbctl was at the start"
        }
        _ => "",
    }
}

/// On a thread for it: while this waits, the speaker has to hear of this node's readiness.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(Refused::Now(format!("can't go on: {error}"))))
}

fn pass_on(channel: &Channel, handover: &Handover, orders: &Orders) -> io::Result<()> {
    for listener in &handover.listeners {
        for sockets in listener.sockets.chunks(packets::DESCRIPTORS_MAX) {
            let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            channel.send(&ToNext::Listener { place: listener.place.clone() }, &sockets)?;
        }
    }
    for made in self_signed::all(&orders.config) {
        channel.send(&ToNext::SelfSigned(SelfSigned::clone(&made)), &[])?;
    }
    let mut file = BufWriter::new(File::from(memfd_create("lbctl-known", MFdFlags::MFD_CLOEXEC)?));
    serde_json::to_writer(&mut file, &handover.known)?;
    file.flush()?;
    file.rewind()?;
    let groups = orders.groups.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let passed = [file.get_ref().as_fd()].into_iter().chain(orders.runner.iter().map(AsFd::as_fd));
    channel.send(&ToNext::Known { groups }, &passed.collect::<Vec<_>>())?;
    for before in orders.before.chunks(packets::DESCRIPTORS_MAX) {
        let before: Vec<_> = before.iter().map(AsFd::as_fd).collect();
        channel.send(&ToNext::Before, &before)?;
    }
    let [socket, lock] = &orders.control;
    channel.send(&ToNext::Control, &[socket.as_fd(), lock.as_fd()])
}
