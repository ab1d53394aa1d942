//! The second process: runs the VRRP machines, and nothing that can make them late.
//!
//! ```text
//! stdin: socket pair ── ToSpeaker ──▶ commands ─▶ lb_vrrp::io::run ─▶ Host ── FromSpeaker ──▶ socket pair
//! stdout: shared page ◀── heartbeat, last advertisement ──────────────┘
//! ```
//!
//! It never sees a client's byte and touches no disk: lines for the log go to the daemon. It ends when the daemon says
//! so, or when the daemon is gone; in both cases it resigns first.

mod link;
mod outbox;
pub mod protocol;
mod room;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixDatagram as StdSocket,
    path::Path,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use lb_vrrp::{
    GroupConfig, Moment,
    authentication::Sender,
    group::Start,
    io::{Command, Host, Report, Settings, StartError, make_room_for_locks, run},
};
use nix::unistd::{dup2_stdin, dup2_stdout};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    exit::Exit,
    keeper::{Alive, Page, Side, leave_terminal, prefer_over_others, stay_in_memory},
    privileges,
};
use link::Link;
use outbox::Outbox;
use protocol::{FromSpeaker, LogLevel, ToSpeaker};

/// The daemon sends the configuration before anything else.
const CONFIGURATION_LIMIT: Duration = Duration::from_secs(5);

/// How long another speaker may still hold our virtual routers when the first one of a daemon starts: one that is just
/// resigning needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for a replacement: its predecessor is dead or was killed, and the kernel may take its time.
const PATIENCE_REPLACING: Duration = Duration::from_secs(10);

/// The fastest and the slowest heartbeat.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// So many advertisements may have been signed by the speaker before, and not be on the page: it was told another one meanwhile.
const UNNOTED: u64 = 1 << 16;

/// Runs the speaker on what it inherited: the socket pair as stdin, the page as stdout.
pub fn main(runtime_dir: &Path, is_unconfined: bool) -> Exit {
    let Ok((socket, page)) = inherited() else {
        eprintln!("lbctl speaker is the second process of `lbctl run`; it can't be started by hand");
        return Exit::Usage;
    };
    leave_terminal();
    if privileges::enter_starting_speaker().is_err() {
        return Exit::Failure;
    }
    make_room_for_locks(io::stdin());
    let unpreferred = prefer_over_others();
    if privileges::enter_speaker().is_err() {
        return Exit::Failure;
    }
    let unconfined = if is_unconfined { Vec::new() } else { privileges::confine_speaker(runtime_dir) };
    let refused = unpreferred.into_iter().map(|text| (level(&page), text));
    let refused = refused.chain(unconfined.into_iter().map(|text| (LogLevel::Debug, text))).collect();
    let Ok(alive) = Alive::hold(Arc::clone(&page), Side::Speaker) else { return Exit::Failure };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Exit::Failure;
    };
    match runtime.block_on(speak(socket, page, alive, runtime_dir, refused)) {
        Ok(()) => Exit::Fine,
        Err(_) => Exit::Failure,
    }
}

/// Of what was refused. Of a daemon's speakers the first one says it; the others have no more.
fn level(page: &Page) -> LogLevel {
    if page.speakers() > 1 { LogLevel::Debug } else { LogLevel::Info }
}

/// Takes the two descriptors and leaves nothing in their places.
fn inherited() -> io::Result<(StdSocket, Arc<Page>)> {
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let page = Page::open(io::stdout().as_fd().try_clone_to_owned()?)?;
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    Ok((StdSocket::from(socket), Arc::new(page)))
}

async fn speak(
    socket: StdSocket,
    page: Arc<Page>,
    alive: Alive,
    runtime_dir: &Path,
    refused: Vec<(LogLevel, String)>,
) -> io::Result<()> {
    let link = Rc::new(Link::new(socket, Arc::clone(&page), alive)?);
    let outbox = Rc::new(Outbox::new(link.socket()));
    let mut packet = link::room();
    let configuration = tokio::time::timeout(CONFIGURATION_LIMIT, link.receive(&mut packet)).await?;
    let Some((ToSpeaker::Configure { groups, pasts, first }, _)) = configuration else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    for (level, text) in refused {
        outbox.send(&FromSpeaker::Log { level, text });
    }
    let first = first.into_iter().filter_map(command).collect();
    let settings = Settings { pasts, first, ..settings(groups, &page, runtime_dir) };
    drop(page);
    let (commands, orders) = unbounded_channel();
    link.watch(&commands)?;
    let local = tokio::task::LocalSet::new();
    let ended = local
        .run_until(async {
            tokio::task::spawn_local(listen(Rc::clone(&link), Rc::clone(&outbox), packet, commands));
            let host = ToDaemon { link: &link, outbox: &outbox, refusal: RefCell::default() };
            run(settings, &host, orders).await
        })
        .await;
    match &ended {
        Ok(()) => outbox.send(&FromSpeaker::Stopped),
        Err(error) => outbox.send(&FromSpeaker::Fatal { text: error.to_string() }),
    }
    outbox.flush().await;
    ended.map_err(|error| match error {
        StartError::Io { error, .. } => error,
        other => io::Error::other(other.to_string()),
    })
}

/// Half of the shortest interval.
fn heartbeat(groups: &[GroupConfig]) -> Duration {
    let members = groups.iter().flat_map(|group| &group.members);
    let shortest = members.map(|member| member.interval.get()).min().unwrap_or(HEARTBEAT.1);
    (shortest / 2).clamp(HEARTBEAT.0, HEARTBEAT.1)
}

fn settings(groups: Vec<GroupConfig>, page: &Page, runtime_dir: &Path) -> Settings {
    let heartbeat = heartbeat(&groups);
    let start = |index| match page.advertised(index) {
        Some(last) => Start::ResumeActive { last },
        None => Start::Fresh,
    };
    Settings {
        groups: groups.into_iter().enumerate().map(|(index, group)| (group, start(index))).collect(),
        pasts: BTreeMap::new(),
        first: Vec::new(),
        lock_folder: runtime_dir.to_owned(),
        patience: if page.speakers() > 1 { PATIENCE_REPLACING } else { PATIENCE },
        heartbeat,
        sender: Sender::new(page.boot(), page.signed() + UNNOTED),
    }
}

/// From the socket into the driver, until the daemon is gone, and none is there that was before it.
async fn listen(link: Rc<Link>, outbox: Rc<Outbox>, mut packet: Vec<u8>, commands: UnboundedSender<Command>) {
    loop {
        let (message, descriptors) = tokio::select! {
            received = link.receive(&mut packet) => match received {
                Some(received) => received,
                None if take_back(&link, &outbox) => continue,
                None => break,
            },
            () = link.fell() => {
                if take_back(&link, &outbox) {
                    continue;
                }
                break;
            }
            () = link.is_let_go() => continue,
        };
        if let ToSpeaker::HandOver = message {
            match link.adopt(descriptors, &commands) {
                Ok(()) => {
                    // The last word to the one, and the first to the other.
                    outbox.send(&FromSpeaker::HandedOver);
                    outbox.redirect(link.socket());
                    outbox.send(&FromSpeaker::Started);
                }
                Err(error) => outbox.send(&FromSpeaker::NotHandedOver { why: error.to_string() }),
            }
            continue;
        }
        let Some(command) = command(message) else { continue };
        if commands.send(command).is_err() {
            return;
        }
    }
    let _ = commands.send(Command::DaemonGone { reason: "the daemon closed its end".to_owned() });
}

/// What the driver is told by it.
fn command(message: ToSpeaker) -> Option<Command> {
    Some(match message {
        ToSpeaker::Configure { .. } | ToSpeaker::HandOver => return None,
        ToSpeaker::Readiness { group, readiness, said, yields, trusts, sources } => {
            Command::Readiness { group, readiness, said, yields, trusts, sources }
        }
        ToSpeaker::ExchangesReset { group } => Command::ExchangesReset { group },
        ToSpeaker::PeerReappeared => Command::PeerReappeared,
        ToSpeaker::Announce => Command::Announce,
        ToSpeaker::Reconfigure { groups } => {
            let heartbeat = heartbeat(&groups);
            Command::Reconfigure { groups, heartbeat }
        }
        ToSpeaker::Shutdown { reason } => Command::Shutdown { reason },
    })
}

/// Whether the daemon before has the speaker again.
fn take_back(link: &Link, outbox: &Outbox) -> bool {
    let is_back = link.take_back();
    if is_back {
        outbox.redirect(link.socket());
        outbox.send(&FromSpeaker::TakenBack);
        outbox.send(&FromSpeaker::Started);
    }
    is_back
}

struct ToDaemon<'a> {
    link: &'a Link,
    outbox: &'a Outbox,
    /// What becomes of the wish to have all memory locked.
    refusal: RefCell<Option<mpsc::Receiver<Option<String>>>>,
}

impl ToDaemon<'_> {
    fn warn(&self, text: String) {
        self.outbox.send(&FromSpeaker::Log { level: level(&self.link.page()), text });
    }
}

impl Host for ToDaemon<'_> {
    fn beat(&self, now: Moment) {
        self.link.page().beat(now);
        let mut refusal = self.refusal.borrow_mut();
        let told = refusal.as_ref().map(mpsc::Receiver::try_recv);
        if !matches!(told, None | Some(Err(mpsc::TryRecvError::Empty))) {
            *refusal = None;
        }
        if let Some(Ok(Some(text))) = told {
            self.warn(text);
        }
    }

    fn advertised(&self, group: usize, last: Option<Moment>) {
        self.link.page().set_advertised(group, last);
    }

    fn takes_over(&self, group: usize) -> bool {
        self.link.page().is_left(group)
    }

    fn begun(&self) {
        // Not earlier: a speaker in place of a dead one has 15 ms for all that is before its first advertisement. And on a thread of its own:
        // the whole program is read, of which a part may still be on the disk, and a speaker that stands still meanwhile is killed.
        let (tell, refusal) = mpsc::channel();
        let may = privileges::may_lock_memory();
        let thread = thread::Builder::new().name("memory".to_owned());
        match thread.spawn(move || tell.send(stay_in_memory(may))) {
            Ok(_) => *self.refusal.borrow_mut() = Some(refusal),
            Err(error) => self.warn(format!("memory is not locked, since no thread can be had: {error}")),
        }
    }

    fn signed(&self, counter: u64) {
        self.link.page().set_signed(counter);
    }

    fn report(&self, report: Report) {
        self.outbox.send(&match report {
            Report::Started => FromSpeaker::Started,
            Report::Reconfigured => FromSpeaker::Reconfigured,
            Report::Status { at, groups } => FromSpeaker::Status { at, groups },
            Report::Transition { group, transition } => FromSpeaker::Transition { group, transition },
            Report::Announced { all } => FromSpeaker::Announced { all },
            Report::ResetExchanges { group } => FromSpeaker::ResetExchanges { group },
            Report::Remark { level, text } => FromSpeaker::Log {
                level: match level {
                    tracing::Level::ERROR | tracing::Level::WARN => LogLevel::Warn,
                    tracing::Level::INFO => LogLevel::Info,
                    tracing::Level::DEBUG | tracing::Level::TRACE => LogLevel::Debug,
                },
                text,
            },
        });
    }
}
