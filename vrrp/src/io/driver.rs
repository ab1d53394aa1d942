//! The loop: one input, the outputs it causes, the next deadline.

mod effects;
mod inputs;
mod trust;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    io,
    net::IpAddr,
    path::PathBuf,
    task::Poll,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedReceiver;
use turns::Turns;

use super::{
    Command, Host, Report, Settings, StartError,
    clock::Deadline,
    lock::LockError,
    member::MemberIo,
    netlink::{
        events::{self, Events},
        interfaces::Interfaces,
        ledger::Ledger,
        requests::{Answer, LOOKS, Request, Requests},
    },
    remarks::Remarks,
    socket::{PACKET_MAX, Received},
};
use crate::{
    Family, Group, MemberConfig, Moment, State, advertisement::DecodeError, authentication::Sender,
    group::Start, status::Untrusted,
};

/// Addresses are leased for 2 s; so a refresh may be lost six times in a row.
const REFRESH: Duration = Duration::from_millis(250);

/// A status goes out at least this often.
const STATUS: Duration = Duration::from_secs(1);

/// An interface that could not be used is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// A deadline that passed so long ago was not looked at in time because this process stood still.
const STOOD_STILL: Duration = Duration::from_millis(10);

/// Runs the groups.
pub(super) struct Driver<'a> {
    host: &'a dyn Host,
    lanes: Vec<Lane>,
    interfaces: Interfaces,
    ledger: Ledger,
    requests: Requests,
    events: Events,
    remarks: Remarks,
    lock_folder: PathBuf,
    virtual_addresses: BTreeSet<IpAddr>,
    heartbeat: Duration,
    sender: Sender,
    due: Due,
    changed: bool,
    ending: bool,
    /// Nobody is there to reset exchanges.
    alone: bool,
    /// What is announced while somebody waits for that.
    announced: Option<Vec<crate::io::Announced>>,
}

/// One group and what belongs to it here.
struct Lane {
    group: Group,
    members: Vec<MemberIo>,
    /// Its machine has started.
    begun: bool,
    /// When readiness was last told; `None` once it ran out.
    readiness: Option<Moment>,
    told: Option<crate::Readiness>,
    advertised: Option<Moment>,
    /// Another node's advertisement or hello with a right signature was heard: the secret is the same there.
    is_trusted: bool,
    untrusted: Option<Untrusted>,
    counters: BTreeMap<&'static str, u64>,
}

/// The driver's own timers.
struct Due {
    beat: Moment,
    refresh: Moment,
    status: Moment,
    retry: Option<Moment>,
}

enum Input {
    Packet { group: usize, member: usize, packet: io::Result<Received> },
    Answer(Answer),
    Events(Vec<events::Event>),
    Command(Option<Command>),
    Deadline,
}

impl<'a> Driver<'a> {
    pub(super) async fn start(settings: Settings, host: &'a dyn Host) -> Result<Self, StartError> {
        let failed = |what| move |error| StartError::Io { what, error };
        let mut requests = Requests::start().map_err(failed("starting the netlink thread"))?;
        // Subscribed before the dump, so that no change falls between them.
        let events = Events::subscribe().map_err(failed("subscribing to changes of links"))?;
        requests.ask(Request::Dump);
        let mut interfaces = Interfaces::default();
        match requests.answer().await {
            Some(Answer::Dumped(Ok(dump))) => interfaces.load(dump),
            Some(Answer::Dumped(Err(text))) => {
                return Err(failed("reading links and addresses")(io::Error::other(text)));
            }
            Some(_) | None => {
                return Err(failed("opening a netlink socket")(io::ErrorKind::Unsupported.into()));
            }
        }
        let now = Moment::now();
        let starts: Vec<_> = settings.groups.iter().map(|(_, start)| *start).collect();
        let addresses = settings.groups.iter().flat_map(|(config, _)| &config.members);
        let virtual_addresses =
            addresses.flat_map(|member| member.addresses.iter().map(|own| own.address)).collect();
        let mut driver = Self {
            host,
            lanes: settings.groups.into_iter().map(|(config, start)| Lane::new(config, start, now)).collect(),
            interfaces,
            ledger: Ledger::default(),
            requests,
            events,
            remarks: Remarks::default(),
            lock_folder: settings.lock_folder,
            virtual_addresses,
            heartbeat: settings.heartbeat,
            sender: settings.sender,
            due: Due { beat: now, refresh: now, status: now, retry: None },
            changed: true,
            ending: false,
            announced: None,
            alone: false,
        };
        if let Some(LockError::Taken { .. }) = driver.settle(now, settings.patience) {
            let taken = driver.lanes.iter().flat_map(|lane| &lane.members);
            let texts: Vec<_> = taken.filter_map(|member| member.station.as_ref().err().cloned()).collect();
            return Err(StartError::Taken(texts.join("; ")));
        }
        // The waiting above is no lateness of the groups, and a predecessor's heartbeat is none of ours.
        let now = Moment::now();
        host.beat(now);
        host.report(Report::Started);
        for command in &settings.first {
            driver.command(now, command);
        }
        for (index, start) in starts.into_iter().enumerate() {
            host.beat(Moment::now());
            let start = match start {
                Start::ResumeActive { last } if !host.takes_over(index) => Start::Withdrawn { last },
                as_it_is => as_it_is,
            };
            // Looked at anew: whoever would have withdrawn the addresses by now leaves them to us.
            let now = Moment::now();
            if let Some(lane) = driver.lanes.get_mut(index) {
                lane.begun = true;
                lane.readiness = Some(now);
                let past = settings.pasts.get(&lane.group.config().name);
                past.into_iter().for_each(|past| lane.group.handle_past(past.clone()));
                lane.group.handle_startup(now, start);
            }
            driver.drain(now, index);
        }
        // After the groups: an address that one of them goes on with is no leftover.
        driver.remove_leftovers();
        driver.inspect_all(now);
        host.begun();
        Ok(driver)
    }

    pub(super) async fn run(mut self, mut commands: UnboundedReceiver<Command>) -> Result<(), StartError> {
        let failed = |error| StartError::Io { what: "the timer of CLOCK_BOOTTIME", error };
        let mut deadline = Deadline::new().map_err(failed)?;
        let mut packet = vec![0; PACKET_MAX];
        let mut turns = Turns::default();
        while !(self.ending && self.lanes.iter().all(|lane| lane.group.state() == State::Initialize)) {
            let next = self.next_deadline();
            deadline.arm(next).map_err(failed)?;
            let input = tokio::select! {
                biased;
                input = receive(&self.lanes, &mut packet), if turns.packets_first() => input,
                Some(answer) = self.requests.answer() => Input::Answer(answer),
                events = self.events.next() => Input::Events(events),
                command = commands.recv(), if !self.alone => Input::Command(command),
                passed = deadline.passed() => { passed.map_err(failed)?; Input::Deadline }
                // Nothing else is there.
                () = std::future::ready(()), if !turns.packets_first() => {
                    turns.taken(false);
                    continue;
                }
            };
            turns.taken(matches!(input, Input::Packet { .. }));
            let now = Moment::now();
            self.host.beat(now);
            self.due.beat = now + self.heartbeat;
            let is_deadline = matches!(input, Input::Deadline);
            let timers = turns.timers_next(is_deadline, !is_deadline && now >= next);
            self.feed(now, input, &packet);
            if timers {
                let mut now = now;
                if now.saturating_since(next) >= STOOD_STILL {
                    self.hear_daemon(&mut commands).await;
                    now = Moment::now();
                }
                self.handle_timeouts(now);
            }
            if self.changed || self.due.status <= now {
                self.report_status(now);
            }
        }
        self.report_status(Moment::now());
        Ok(())
    }

    /// What the daemon said while this process stood still, before it is judged to be silent. Another task of this thread reads its socket, and has the
    /// words ready once it has had its turns.
    async fn hear_daemon(&mut self, commands: &mut UnboundedReceiver<Command>) {
        for _ in 0..LOOKS {
            tokio::task::yield_now().await;
        }
        while !self.alone
            && let Ok(command) = commands.try_recv()
        {
            self.command(Moment::now(), &command);
        }
    }

    fn next_deadline(&self) -> Moment {
        let groups = self.lanes.iter().filter_map(|lane| lane.group.poll_timeout()).map(|(at, _)| at);
        let readiness = self.lanes.iter().filter_map(Lane::readiness_ends);
        let own = [self.due.beat, self.due.refresh, self.due.status];
        groups.chain(readiness).chain(own).chain(self.due.retry).min().unwrap_or(self.due.status)
    }

    /// The groups first: after a pause they drop their addresses before anything is refreshed.
    fn handle_timeouts(&mut self, now: Moment) {
        for index in 0..self.lanes.len() {
            if let Some(lane) = self.lanes.get_mut(index) {
                lane.group.handle_timeout(now);
                lane.let_readiness_run_out(now);
            }
            self.drain(now, index);
        }
        if self.due.refresh <= now {
            self.due.refresh = now + REFRESH;
            for place in self.ledger.take_refreshes() {
                self.requests.ask(Request::Refresh { place, asked: now });
            }
        }
        if self.due.retry.is_some_and(|at| at <= now) {
            self.due.retry = None;
            self.settle(now, Duration::ZERO);
        }
    }

    fn report_status(&mut self, now: Moment) {
        self.end_floods(now);
        self.changed = false;
        self.due.status = now + STATUS;
        self.lanes.iter().flat_map(|lane| &lane.members).for_each(MemberIo::answer_for_lock);
        let groups = self.lanes.iter().map(Lane::status).collect();
        self.host.report(Report::Status { at: now, groups });
    }
}

impl Lane {
    fn new(config: crate::GroupConfig, start: Start, now: Moment) -> Self {
        let members = config.members.iter().cloned().map(MemberIo::new).collect();
        let advertised = match start {
            Start::Fresh => None,
            Start::ResumeActive { last } | Start::Withdrawn { last } => Some(last),
        };
        let group = Group::new(config, now);
        let counters: BTreeMap<_, _> = DecodeError::COUNTERS.into_iter().map(|name| (name, 0_u64)).collect();
        Self {
            group,
            members,
            begun: false,
            readiness: None,
            told: None,
            advertised,
            is_trusted: false,
            untrusted: None,
            counters,
        }
    }

    /// Readiness that the daemon does not repeat runs out then.
    fn readiness_ends(&self) -> Option<Moment> {
        self.readiness.map(|told| told + self.group.config().stall_timeout)
    }

    fn let_readiness_run_out(&mut self, now: Moment) {
        if self.readiness_ends().is_some_and(|end| end <= now) {
            self.readiness = None;
            let reason = "the daemon does not answer".to_owned();
            self.group.handle_readiness(now, crate::Readiness::Fault { reason });
        }
    }

    /// Whether an advertisement for `member` from `source` can't be one of the file's nodes. On the interface of their own
    /// addresses nodes advertise from these; on another one, and over IPv6, nobody here knows from where.
    fn is_stranger(&self, member: &MemberConfig, source: IpAddr) -> bool {
        !self.group.config().peers.contains(&source)
            && member.family() == Family::Ipv4
            && matches!(member.interface, crate::Interface::Holding(_))
    }

    /// For the group and for one of its virtual routers.
    fn count_on(&mut self, member: usize, name: &'static str) {
        self.count(name);
        if let Some(io) = self.members.get_mut(member) {
            let counter = io.counters.entry(name).or_default();
            *counter = counter.saturating_add(1);
        }
    }

    fn count(&mut self, name: &'static str) {
        self.count_more(name, 1);
    }

    fn count_more(&mut self, name: &'static str, more: u64) {
        let counter = self.counters.entry(name).or_default();
        *counter = counter.saturating_add(more);
    }

    fn status(&self) -> crate::GroupStatus {
        let mut status = self.group.status();
        for (member, io) in status.members.iter_mut().zip(&self.members) {
            member.interface = io.station.as_ref().ok().map(|station| station.home.name.clone());
            member.looped.clone_from(&io.looped);
            member.counters.extend(io.counters.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        }
        status.untrusted.clone_from(&self.untrusted);
        let own = self.counters.iter().map(|(name, value)| ((*name).to_owned(), *value));
        status.counters.extend(own);
        status
    }
}

/// The next packet of any member. The one after the last that was served comes first next time only by chance; the
/// kernel's filter leaves each socket a few packets per interval.
async fn receive(lanes: &[Lane], packet: &mut [u8]) -> Input {
    poll_fn(|context| {
        for (group, lane) in lanes.iter().enumerate() {
            for (member, io) in lane.members.iter().enumerate() {
                let Ok(station) = &io.station else { continue };
                if let Poll::Ready(packet) = station.socket.poll_receive(context, packet) {
                    return Poll::Ready(Input::Packet { group, member, packet });
                }
            }
        }
        Poll::Pending
    })
    .await
}
