//! The process that runs commands of the file: what trackers ask and what hooks do.
//!
//! ```text
//! daemon ── ToRunner::Run ──▶ named: does the file name it? ──▶ child: run, read, end ── FromRunner::Ended ──▶ daemon
//! ```
//! Beside it stands a starter (`runner/starter.rs`), which starts another one when it has died.
//! It is started before the daemon enters its jail and is neither root nor in the jail, so commands reach what they need. Who got
//! into the daemon gets no further by it: it runs what stands in the file as a `command`, word for word, and nothing else.
//! docs/decisions/0033-commands.md has the reasons.

mod child;
mod client;
mod named;
mod protocol;
mod starter;

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixDatagram as StdSocket,
    path::Path,
    process::Command,
    rc::Rc,
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal, killpg},
        stat::{Mode, umask},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{Pid, dup2_stdin, setsid},
};
use tokio::{
    io::Interest,
    net::UnixDatagram,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

pub(crate) use self::named::{distrust, unreadable};
pub use self::{
    client::{NotRun, Order, Runner},
    protocol::{Ended, How},
};
use self::{
    named::Named,
    protocol::{FromRunner, MESSAGE_MAX, ToRunner},
};
use crate::{config::model::Global, exit::Exit, keeper, packets, privileges};

/// Commands at the same time; more are refused.
const AT_ONCE: usize = 64;

/// Conversations at the same time: with a daemon, the ones before it, and the next one.
const CONVERSATIONS: usize = 16;

/// At the end, whether everything has ended: so often, and so long between two looks.
const LOOKS: usize = 100;
const LOOK: Duration = Duration::from_millis(10);

/// Runs it on what it inherited: the socket to the daemon is its stdin. `file`: what it may run stands there. `whose`: who it
/// becomes, with `user` and `group`. `worker`: what starts this program anew to run commands, on a socket that becomes its
/// stdin; `None` in that one.
pub fn main(file: &Path, whose: &Global, worker: Option<impl Fn(OwnedFd) -> Command>) -> Exit {
    let Ok(socket) = inherited() else {
        eprintln!("lbctl runner is a process of `lbctl run`; it can't be started by hand");
        return Exit::Usage;
    };
    // A name can't be refused, and a session of its own only to who has one.
    let _ = prctl::set_name(if worker.is_some() { c"lbctl-starter" } else { c"lbctl-runner" });
    let _ = setsid();
    privileges::enter_plain();
    // The other one starts no command: it goes as late as the speaker, since nobody starts another one.
    if worker.is_none() {
        privileges::enter_plain_score();
    }
    // The daemon holds some back, and commands would, too.
    let _ = SigSet::empty().thread_set_mask();
    // Nor does a daemon of the same user look into its memory, on a kernel without Landlock.
    let _ = prctl::set_dumpable(false);
    umask(Mode::from_bits_truncate(0o022));
    // Who has rights left does not go on. Who could not become `whose` has none: neither this one nor a worker runs anything, which says why.
    let Ok(who) = privileges::enter_runner(whose) else {
        return Exit::Failure;
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Exit::Failure;
    };
    let outcome = match worker {
        Some(worker) => runtime.block_on(starter::keep_one(socket, worker)),
        None => {
            let named = Named::new(file.to_owned(), who.err());
            tokio::task::LocalSet::new().block_on(&runtime, serve(socket, named))
        }
    };
    match outcome {
        Ok(()) => Exit::Fine,
        Err(_) => Exit::Failure,
    }
}

/// Takes the socket and leaves nothing in its place.
fn inherited() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&socket)?;
    dup2_stdin(File::options().read(true).write(true).open("/dev/null")?)?;
    Ok(socket)
}

/// What the loop hears.
enum Event {
    Said(u64, ToRunner, Vec<OwnedFd>),
    /// A conversation has ended.
    Gone(u64),
    /// A command has.
    Ended {
        conversation: u64,
        pid: Pid,
        said: FromRunner,
    },
}

/// With one daemon.
struct Conversation {
    socket: Rc<UnixDatagram>,
    reader: AbortHandle,
}

/// A command that runs.
struct Running {
    conversation: u64,
    command: Vec<String>,
    /// It is to have ended by then.
    until: Instant,
    ended: Option<oneshot::Sender<WaitStatus>>,
}

#[derive(Default)]
struct Loop {
    conversations: HashMap<u64, Conversation>,
    running: HashMap<Pid, Running>,
    readers: JoinSet<()>,
    next: u64,
}

async fn serve(socket: OwnedFd, mut named: Named) -> io::Result<()> {
    // Whatever a command leaves behind becomes a child of this process, which ends it.
    prctl::set_child_subreaper(true)?;
    let mut ended = signal(SignalKind::child())?;
    let _deaf = deaf()?;
    let (events_in, mut events) = mpsc::unbounded_channel();
    let mut state = Loop::default();
    state.join(socket, &events_in)?;
    while !state.conversations.is_empty() {
        tokio::select! {
            _ = ended.recv() => state.reap(),
            Some(event) = events.recv() => match event {
                Event::Said(from, ToRunner::Run { number, command, input, limit }, _) => {
                    let order = Order { command, input, limit };
                    if let Err(why) = state.run(from, number, order, &mut named, &events_in) {
                        state.say(from, &FromRunner::Refused { number, why });
                    }
                }
                Event::Said(_, ToRunner::Join, descriptors) => {
                    for socket in descriptors.into_iter().take(1) {
                        // Who wanted that sees its end closed.
                        let _ = state.join(socket, &events_in);
                    }
                }
                Event::Gone(conversation) => state.leave(conversation),
                Event::Ended { conversation, pid, said } => {
                    state.running.remove(&pid);
                    state.say(conversation, &said);
                }
            },
        }
    }
    clear().await;
    Ok(())
}

/// What a terminal or a service manager sends to all is for the daemon, whose end is this one's. Not ignored, since commands would
/// inherit that; but for the packaged unit's KillSignal, which asks for an orderly stop: a hook that is under way tells its event.
fn deaf() -> io::Result<Vec<tokio::signal::unix::Signal>> {
    keeper::ignore(Signal::SIGUSR1);
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined2(),
    ];
    kinds.into_iter().map(signal).collect()
}

/// Ends what is left here, which is nobody's.
async fn clear() {
    for _ in 0..LOOKS {
        child::end_strays(|_| false);
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
        if child::all().is_empty() {
            break;
        }
        sleep(LOOK).await;
    }
}

impl Loop {
    fn join(&mut self, socket: OwnedFd, events: &mpsc::UnboundedSender<Event>) -> io::Result<()> {
        if self.conversations.len() >= CONVERSATIONS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let socket = StdSocket::from(socket);
        socket.set_nonblocking(true)?;
        let socket = Rc::new(UnixDatagram::from_std(socket)?);
        self.next += 1;
        let (number, from, events) = (self.next, Rc::clone(&socket), events.clone());
        let reader = self.readers.spawn_local(async move {
            let mut room = vec![0; MESSAGE_MAX];
            loop {
                let received = from.async_io(Interest::READABLE, || packets::receive(&from, &mut room)).await;
                let Ok(Some((message, descriptors))) = received else { break };
                if events.send(Event::Said(number, message, descriptors)).is_err() {
                    return;
                }
            }
            let _ = events.send(Event::Gone(number));
        });
        self.conversations.insert(number, Conversation { socket, reader });
        Ok(())
    }

    /// Nobody waits for its commands any more.
    fn leave(&mut self, number: u64) {
        if let Some(conversation) = self.conversations.remove(&number) {
            conversation.reader.abort();
        }
        for (pid, _) in self.running.iter().filter(|(_, running)| running.conversation == number) {
            let _ = killpg(*pid, Signal::SIGKILL);
        }
    }

    fn say(&self, to: u64, message: &FromRunner) {
        if let Some(conversation) = self.conversations.get(&to) {
            // A daemon that does not read misses it, and knows how long to wait.
            let _ = packets::send(&conversation.socket, message, &[]);
        }
    }

    fn run(
        &mut self,
        conversation: u64,
        number: u64,
        order: Order,
        named: &mut Named,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Result<(), String> {
        named.allows(&order.command)?;
        if self.running.len() >= AT_ONCE {
            return Err(format!("{AT_ONCE} commands run already"));
        }
        let now = Instant::now();
        let overdue = self.running.iter().find(|(_, one)| one.command == order.command && one.until < now);
        if let Some((pid, _)) = overdue {
            return Err(format!("process {pid} of it can't be ended, and it is not started again before"));
        }
        let child = child::start(&order)?;
        let (pid, events) = (child.pid(), events.clone());
        tokio::task::spawn_local(child::score(pid));
        let (ended_in, ended) = oneshot::channel();
        self.running.insert(
            pid,
            Running { conversation, command: order.command, until: now + order.limit, ended: Some(ended_in) },
        );
        tokio::task::spawn_local(async move {
            let Ended { how, output } = child.watch(ended, order.limit).await;
            let said = FromRunner::Ended { number, ended: Ended { how, output } };
            let _ = events.send(Event::Ended { conversation, pid, said });
        });
        Ok(())
    }

    /// Takes away what has ended, and ends what it has left: its group, which nobody else can have while it is not taken away, and
    /// what has gone from there to this process.
    fn reap(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        while let Ok(status) = waitid(Id::All, flags | WaitPidFlag::WNOWAIT) {
            let Some(pid) = status.pid() else { break };
            if self.running.contains_key(&pid) {
                let _ = killpg(pid, Signal::SIGKILL);
            }
            let Ok(status) = waitpid(pid, Some(WaitPidFlag::WNOHANG)) else { break };
            let ended = self.running.get_mut(&pid).and_then(|running| running.ended.take());
            if let Some(ended) = ended {
                let _ = ended.send(status);
            }
        }
        child::end_strays(|pid| self.running.contains_key(&pid));
    }
}
