//! The daemon's side of the speaker: starts it, keeps it alive, tells it how ready this node is.
//!
//! ```text
//!  daemon ── SpeakerHandle ──▶ link task ── ToSpeaker ──▶ speaker process
//!    ▲                            │ ▲                        │
//!    └── mpsc of Report ──────────┘ └──── FromSpeaker ───────┘
//! ```
//!
//! The link task repeats the last readiness of every group every 250 ms; so a daemon whose control thread hangs is
//! found out by the speaker. It watches the speaker's heartbeat and mutex, kills a frozen speaker, and starts another
//! one in place of a dead one. Lines for the log ([`FromSpeaker::Log`]) go to `tracing` here and are not passed on.

mod child;
mod guard;
mod keeping;
mod loss;
mod process;
mod remarks;
mod streak;
mod watching;

use std::{collections::BTreeMap, io, net::IpAddr, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use lb_vrrp::{GroupConfig, Moment, Past, Readiness};
use tokio::sync::{mpsc, oneshot};

use crate::{
    keeper::{Alive, Page, Side},
    packets,
    privileges::Launcher,
    speaker::protocol::{FromSpeaker, MESSAGE_MAX, ToSpeaker},
};
use child::Child;
use keeping::Keeper;
pub use loss::Loss;
use process::SpeakerProcess;
pub(super) use streak::{MANY, Streak};

/// Reports that wait for the daemon. When it is that far behind, a status is dropped: there will be a newer one.
const REPORTS: usize = 1024;

/// What a speaker is started with.
#[derive(Clone, Debug)]
pub struct SpeakerSettings {
    /// All groups of this node; not empty.
    pub groups: Vec<GroupConfig>,
    /// Folder of the lock files, one per network namespace, interface and vrid. It has to exist.
    pub runtime_dir: PathBuf,
    /// The program to start with the verb `speaker`: `/proc/self/exe`.
    pub program: PathBuf,
    /// Starts it.
    pub launcher: Launcher,
    /// Neither Landlock nor seccomp.
    pub is_unconfined: bool,
}

/// Sends to the speaker; clones are the same link. When the last clone is dropped, the speaker resigns and ends.
#[derive(Clone, Debug)]
pub struct SpeakerHandle {
    orders: mpsc::UnboundedSender<Order>,
    page: Arc<Page>,
}

/// What the speaker is told of a group, again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// How good a holder this node is.
    pub readiness: Readiness,
    /// [`lb_vrrp::Group::handle_yielding`].
    pub yields: bool,
    /// Another node's hello was signed by the secret of this one.
    pub trusts: bool,
    /// [`lb_vrrp::Group::handle_named`].
    pub sources: Vec<IpAddr>,
}

/// An order to the link task.
#[derive(Debug)]
enum Order {
    Readiness { group: String, told: Told },
    ExchangesReset { group: String },
    PeerReappeared,
    Announce,
    Reconfigure { groups: Vec<GroupConfig>, done: oneshot::Sender<()> },
    HandOver { ends: Ends, done: oneshot::Sender<Result<u32, String>> },
    TakeBack { done: oneshot::Sender<TakeBack> },
    Shutdown { reason: String, done: oneshot::Sender<()> },
}

/// What comes out of the link.
#[derive(Debug)]
pub enum Report {
    /// A speaker has said this.
    Said(FromSpeaker),
    /// A speaker was lost, and another one is started in its place; how it ended is known a moment after that.
    Lost(Loss),
    /// A speaker has said what can't be read.
    Unreadable {
        /// So many times since this was told last.
        count: u64,
    },
    /// Nobody takes the addresses of a dead speaker away before their lease ends.
    Unguarded {
        /// In a clause.
        why: String,
    },
}

/// What has come of a speaker that another daemon had, which has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TakeBack {
    /// It is this daemon's again.
    Back,
    /// It has died, or did not come back and was killed: its addresses are taken away, and another one starts as a Backup.
    Lost,
    /// The link has ended, and with it the speaker.
    Gone,
}

/// The link to the speaker.
#[derive(Debug)]
pub struct SpeakerLink;

/// The speaker's ends of a link.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) socket: OwnedFd,
    pub(super) page: OwnedFd,
}

/// A link to a speaker that another daemon still has.
#[derive(Debug)]
pub(super) struct Expected {
    socket: OwnedFd,
    page: Arc<Page>,
    alive: Alive,
}

impl Expected {
    /// With the ends for the speaker.
    pub(super) fn new() -> io::Result<(Self, Ends)> {
        let page = Arc::new(Page::create()?);
        let alive = Alive::hold(Arc::clone(&page), Side::Daemon)?;
        let (socket, theirs) = packets::pair()?;
        let ends = Ends { socket: theirs, page: page.file().try_clone()? };
        Ok((Self { socket, page, alive }, ends))
    }
}

impl SpeakerLink {
    /// Goes on with the speaker of another daemon, which has its ends by now, runs what `settings` say and has said `pasts` of its
    /// groups, by name. One that was started from another program is replaced as after a crash: the next one resumes.
    ///
    /// # Errors
    /// There is no such process.
    pub(super) fn adopt(
        settings: SpeakerSettings,
        expected: Expected,
        pid: u32,
        pasts: BTreeMap<String, Past>,
    ) -> io::Result<(SpeakerHandle, mpsc::Receiver<Report>)> {
        let Expected { socket, page, alive } = expected;
        let child = Child::adopt(SpeakerProcess::adopt(pid)?, socket, &page, settings.launcher.clone())?;
        Ok(Self::keep(settings, page, alive, child, pasts))
    }

    /// Starts the speaker and the task that keeps it; needs a tokio runtime with I/O and time.
    ///
    /// What comes out of the receiver: [`FromSpeaker::Started`] each time a speaker is up (again), `Status`,
    /// `Transition`, `ResetExchanges` (answer with [`SpeakerHandle::exchanges_reset`]), `Fatal` when no speaker can run
    /// here (after it nothing follows and the receiver ends), `Stopped` at the end; [`Report::Lost`] and [`Report::Unguarded`].
    ///
    /// # Errors
    /// The socket pair, the shared page or the process could not be made.
    pub fn start(settings: SpeakerSettings) -> io::Result<(SpeakerHandle, mpsc::Receiver<Report>)> {
        let page = Arc::new(Page::create()?);
        let alive = Alive::hold(Arc::clone(&page), Side::Daemon)?;
        let configuration = keeping::configuration(&settings.groups, &BTreeMap::new(), &[]);
        let first = Child::start(&settings, &page, &configuration)?;
        Ok(Self::keep(settings, page, alive, first, BTreeMap::new()))
    }

    fn keep(
        settings: SpeakerSettings,
        page: Arc<Page>,
        alive: Alive,
        first: Child,
        pasts: BTreeMap<String, Past>,
    ) -> (SpeakerHandle, mpsc::Receiver<Report>) {
        let (handle, orders) = mpsc::unbounded_channel();
        let (reports, receiver) = mpsc::channel(REPORTS);
        let keeper = Keeper::new(settings, Arc::clone(&page), alive, orders, reports, pasts);
        tokio::spawn(keeper.keep(first));
        (SpeakerHandle { orders: handle, page }, receiver)
    }
}

impl SpeakerHandle {
    /// When a speaker was last awake.
    #[must_use]
    pub fn last_beat(&self) -> Moment {
        self.page.last_beat()
    }

    /// Tells the readiness of a group. Call it on every change; the link repeats it.
    pub fn set_readiness(&self, group: &str, told: Told) {
        self.order(Order::Readiness { group: group.to_owned(), told });
    }

    /// Answers [`FromSpeaker::ResetExchanges`].
    pub fn exchanges_reset(&self, group: &str) {
        self.order(Order::ExchangesReset { group: group.to_owned() });
    }

    /// A peer that was silent says hello again: an Active announces its addresses.
    pub fn peer_reappeared(&self) {
        self.order(Order::PeerReappeared);
    }

    /// An Active announces its addresses; [`FromSpeaker::Announced`] says what came of it.
    pub fn announce(&self) {
        self.order(Order::Announce);
    }

    /// Is a configuration short enough to be told?
    pub(super) fn takes(groups: &[GroupConfig]) -> bool {
        fits(&ToSpeaker::Reconfigure { groups: groups.to_vec() })
    }

    /// Another configuration of the same groups, which they can take over while they run
    /// ([`lb_vrrp::group::check_reconfigure`]). Returns when it is in force; a speaker that is started later has it as well.
    pub async fn reconfigure(&self, groups: Vec<GroupConfig>) {
        let (done, ended) = oneshot::channel();
        self.order(Order::Reconfigure { groups, done });
        // An error means that there is no speaker any more.
        let _ = ended.await;
    }

    /// Gives the speaker to another daemon, which has the other `ends`; returns its process number. It is given for good once
    /// the last clone is dropped; until then [`Self::take_back`] has it again.
    ///
    /// # Errors
    /// It could not take them, and goes on; or it did not answer: it was killed then, and another one is started.
    pub(super) async fn hand_over(&self, ends: Ends) -> Result<u32, String> {
        let (done, ended) = oneshot::channel();
        self.order(Order::HandOver { ends, done });
        ended.await.unwrap_or_else(|_| Err("there is no speaker".to_owned()))
    }

    /// The other daemon has ended: is the speaker this one's again?
    pub(super) async fn take_back(&self) -> TakeBack {
        let (done, back) = oneshot::channel();
        self.order(Order::TakeBack { done });
        back.await.unwrap_or(TakeBack::Gone)
    }

    /// Resigns in the ordinary way and ends the speaker; returns when its process is gone. A speaker that takes longer
    /// than 3 s is killed (the lease of its addresses is over by then).
    pub async fn shutdown(&self, reason: &str) {
        let (done, ended) = oneshot::channel();
        self.order(Order::Shutdown { reason: reason.to_owned(), done });
        // An error means that the link task is gone, and with it the speaker.
        let _ = ended.await;
    }

    fn order(&self, order: Order) {
        // The link task is gone only after the speaker ended for good.
        let _ = self.orders.send(order);
    }
}

/// Is a message short enough to be sent?
fn fits(message: &ToSpeaker) -> bool {
    serde_json::to_vec(message).is_ok_and(|message| message.len() <= MESSAGE_MAX)
}

/// What to say of a configuration that [`SpeakerHandle::takes`] is not for; `with` is what it has beside that of the file.
pub(super) fn too_long(with: &str) -> String {
    format!("[vip] has more than the speaker can be told{with}: {} kB is the most", MESSAGE_MAX >> 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::{
        sys::wait::{Id, WaitPidFlag, waitid},
        unistd::Pid,
    };
    use tokio::time::timeout;

    use super::*;
    use crate::{config, speaker::protocol::FromSpeaker as Said};

    /// Long enough for any machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    const FILE: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n[vip.web]\ninterface = \"eth1\"\nvrid = 51\n\
                        addresses = [\"192.0.2.10\"]\n[listen.web]\nbind = { vip = \"web\", port = 80 }\nservers = [\"192.0.2.21:80\"]\n";

    fn groups() -> Vec<GroupConfig> {
        let config = config::parse(FILE, "lb.toml").expect("a good file");
        config.groups.iter().map(|group| group.by_node[0].clone()).collect()
    }

    /// No speaker can be started with these.
    pub(super) fn settings() -> SpeakerSettings {
        SpeakerSettings {
            groups: groups(),
            runtime_dir: PathBuf::new(),
            program: PathBuf::new(),
            launcher: Launcher::default(),
            is_unconfined: true,
        }
    }

    /// What a speaker has.
    struct Other {
        ends: Ends,
        /// While it lives.
        _alive: Alive,
    }

    /// A link whose other end is the test's.
    fn link() -> (SpeakerHandle, mpsc::Receiver<Report>, Other) {
        link_to(std::process::id())
    }

    /// With the process that is taken for the speaker, and may be killed.
    fn link_to(pid: u32) -> (SpeakerHandle, mpsc::Receiver<Report>, Other) {
        let (expected, ends) = Expected::new().expect("a link");
        let (handle, reports) =
            SpeakerLink::adopt(settings(), expected, pid, BTreeMap::new()).expect("this process");
        let page = Page::open(ends.page.try_clone().expect("a descriptor")).expect("the page");
        let alive = Alive::hold(Arc::new(page), Side::Speaker).expect("held");
        (handle, reports, Other { ends, _alive: alive })
    }

    /// What the daemon says next. The test is the only one in its runtime, so it must not block.
    async fn heard(other: &Other) -> ToSpeaker {
        let mut room = vec![0; MESSAGE_MAX];
        loop {
            let received = rustix::net::recv(&other.ends.socket, &mut room, rustix::net::RecvFlags::DONTWAIT);
            match received {
                Ok((length, _)) => return serde_json::from_slice(&room[..length]).expect("a message"),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    #[tokio::test]
    async fn a_configuration_that_finds_the_socket_full_is_told_again() {
        let (handle, _reports, other) = link();
        for number in 0..20_000 {
            let told =
                Told { readiness: Readiness::Ready, yields: false, trusts: false, sources: Vec::new() };
            handle.set_readiness(&format!("group {number}"), told);
        }
        let asked = handle.clone();
        let reconfigured = tokio::spawn(async move { asked.reconfigure(groups()).await });
        // The order comes to a full socket: nothing is read before it was taken.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let told = async { while !matches!(heard(&other).await, ToSpeaker::Reconfigure { .. }) {} };
        timeout(PATIENCE, told).await.expect("it is told");
        packets::send(&other.ends.socket, &Said::Reconfigured, &[]).expect("sent");
        timeout(PATIENCE, reconfigured).await.expect("it is in force").expect("no panic");
    }

    #[tokio::test]
    async fn a_speaker_that_cannot_take_another_daemon_says_why_and_goes_on() {
        let (handle, _reports, other) = link();
        let (_, others) = Expected::new().expect("a link");
        let asked = handle.clone();
        let handed = tokio::spawn(async move { asked.hand_over(others).await });
        timeout(PATIENCE, async { while !matches!(heard(&other).await, ToSpeaker::HandOver) {} })
            .await
            .expect("it is asked");
        let why = "Too many open files".to_owned();
        packets::send(&other.ends.socket, &Said::NotHandedOver { why }, &[]).expect("sent");
        let refused = timeout(PATIENCE, handed).await.expect("answered").expect("no panic");
        assert_eq!(refused, Err("the speaker can't take another daemon: Too many open files".to_owned()));
        handle.peer_reappeared();
        timeout(PATIENCE, async { while !matches!(heard(&other).await, ToSpeaker::PeerReappeared) {} })
            .await
            .expect("it is told on");
    }

    /// Cut, or of another version: the addresses are where they were.
    #[tokio::test]
    async fn a_message_that_can_not_be_read_is_no_end_of_the_speaker() {
        let (handle, mut reports, other) = link();
        for _ in 0..3 {
            packets::send_packet(&other.ends.socket, br#"{"Status":{"at":1,"gro"#, &[]).expect("sent");
        }
        packets::send(&other.ends.socket, &Said::Stopped, &[]).expect("sent");
        for number in 1..=4 {
            let next = timeout(PATIENCE, reports.recv()).await.expect("it is told").expect("the link lives");
            let is_next = match next {
                Report::Unreadable { count: 1 } => number <= 3,
                Report::Said(Said::Stopped) => number == 4,
                _ => false,
            };
            assert!(is_next, "{number}: {next:?}");
        }
        handle.peer_reappeared();
        let told = async { while !matches!(heard(&other).await, ToSpeaker::PeerReappeared) {} };
        timeout(PATIENCE, told).await.expect("it is told on");
    }

    /// A process that has ended, and that nobody waits for: it is no other one's number.
    fn dead() -> (std::process::Child, u32) {
        let child = std::process::Command::new("true").spawn().expect("started");
        let pid = child.id();
        let id = Id::Pid(Pid::from_raw(i32::try_from(pid).expect("a number")));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("ended");
        (child, pid)
    }

    /// The speaker of `other` has another daemon now: the page of that.
    async fn lent(handle: &SpeakerHandle, other: &Other) -> Page {
        let (_, ends) = Expected::new().expect("a link");
        let page = Page::open(ends.page.try_clone().expect("a descriptor")).expect("the page");
        let asked = handle.clone();
        let handed = tokio::spawn(async move { asked.hand_over(ends).await });
        timeout(PATIENCE, async { while !matches!(heard(other).await, ToSpeaker::HandOver) {} })
            .await
            .expect("it is asked");
        let own = Page::open(other.ends.page.try_clone().expect("a descriptor")).expect("the page");
        page.go_on(&own);
        own.hand_on();
        packets::send(&other.ends.socket, &Said::HandedOver, &[]).expect("sent");
        timeout(PATIENCE, handed).await.expect("answered").expect("no panic").expect("given");
        page
    }

    async fn withdrawn(page: &Page) {
        timeout(PATIENCE, async {
            while page.is_left(0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("somebody guards it");
    }

    #[tokio::test]
    async fn addresses_of_a_speaker_that_dies_while_it_is_lent_are_guarded_until_the_upgrade_is_over() {
        let (mut process, pid) = dead();
        let (handle, mut reports, other) = link_to(pid);
        let page = lent(&handle, &other).await;
        drop(other);
        // The first time its end may not have been seen.
        for _ in 0..4 {
            page.set_advertised(0, Some(Moment::from_nanos(1)));
            withdrawn(&page).await;
        }
        // The other daemon is in charge, and has a guard: this one's knows no settings of later.
        drop(handle);
        assert!(timeout(PATIENCE, reports.recv()).await.expect("it ends").is_none());
        process.wait().expect("it has ended");
    }

    #[tokio::test]
    async fn a_speaker_that_died_while_it_was_lent_is_replaced_and_nothing_goes_on_where_it_was() {
        let (mut process, pid) = dead();
        let (handle, mut reports, other) = link_to(pid);
        let own = Page::open(other.ends.page.try_clone().expect("a descriptor")).expect("the page");
        // Long from now: by the clock it would be nobody's yet.
        let last = Moment::now() + Duration::from_secs(3600);
        own.set_advertised(0, Some(last));
        let page = lent(&handle, &other).await;
        drop(other);
        let back = timeout(PATIENCE, handle.take_back()).await.expect("an answer");
        assert_eq!(back, TakeBack::Lost, "it is this daemon's matter");
        assert!(!page.is_left(0) && !own.is_left(0), "no next one goes on, whoever has resigned since");
        let lost = timeout(PATIENCE, reports.recv()).await.expect("it is told");
        assert!(matches!(lost, Some(Report::Lost(_))), "{lost:?}");
        process.wait().expect("it has ended");
    }

    #[tokio::test]
    async fn a_speaker_that_comes_back_is_this_daemons_again_however_late_that_is_looked_at() {
        let (mut process, pid) = dead();
        let (handle, _reports, other) = link_to(pid);
        for is_late in [false, true] {
            let _page = lent(&handle, &other).await;
            let asked = handle.clone();
            let asked = tokio::spawn(async move { asked.take_back().await });
            // It waits from now on.
            tokio::time::sleep(Duration::from_millis(20)).await;
            packets::send(&other.ends.socket, &Said::TakenBack, &[]).expect("sent");
            if is_late {
                // So does the task that keeps it: there is one thread.
                std::thread::sleep(Duration::from_millis(1_500));
            }
            let back = timeout(PATIENCE, asked).await.expect("an answer").expect("no panic");
            assert_eq!(back, TakeBack::Back);
        }
        handle.peer_reappeared();
        timeout(PATIENCE, async { while !matches!(heard(&other).await, ToSpeaker::PeerReappeared) {} })
            .await
            .expect("it is told on");
        process.wait().expect("it has ended");
    }

    #[tokio::test]
    async fn a_speaker_that_dies_after_it_came_back_is_replaced() {
        let (mut process, pid) = dead();
        let (handle, mut reports, other) = link_to(pid);
        let _page = lent(&handle, &other).await;
        packets::send(&other.ends.socket, &Said::TakenBack, &[]).expect("sent");
        // Its mutex says so while its socket is still open.
        let Other { ends, _alive: alive } = other;
        drop(alive);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // On a slow machine that was not seen before this.
        let back = timeout(PATIENCE, handle.take_back()).await.expect("an answer");
        assert_ne!(back, TakeBack::Gone);
        // Behind its last words, if its end was seen before them.
        timeout(PATIENCE, async { while !matches!(reports.recv().await.expect("told"), Report::Lost(_)) {} })
            .await
            .expect("it is told");
        drop(ends);
        process.wait().expect("it has ended");
    }
}
