//! One node: the machine, its process (which can be paused or killed), its kernel (which can't), its clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use lb_vrrp::{
    Family, Group, GroupConfig, MemberId, Moment, Past, Readiness, State, VirtualAddress,
    authentication::{Receiver, Sender},
};

use super::tracker::Tracker;

pub(crate) const LEASE: u64 = 2_000_000_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pause {
    /// The processes are not scheduled; their kernel and their clock go on.
    Process,
    /// The speaker alone.
    Speaker,
    /// The whole machine stands still, its clock too: it can't notice.
    Machine,
}

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Packet {
        source: IpAddr,
        bytes: Vec<u8>,
    },
    Stolen(MemberId, VirtualAddress),
    Added(MemberId, VirtualAddress),
    Failed(MemberId, VirtualAddress),
    /// And how often the address had been asked for when its removal was.
    Removed(MemberId, VirtualAddress, u64),
    ExchangesReset,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: GroupConfig,
    pub(crate) source: IpAddr,
    /// Its link-local address.
    pub(crate) source_ipv6: IpAddr,
    /// `None`: the speaker is dead.
    pub(crate) group: Option<Group>,
    /// What the daemon knows while another speaker is started.
    pub(crate) known: Option<(Past, Readiness)>,
    /// The daemon has taken the addresses of this speaker away.
    pub(crate) withdrawn: bool,
    /// How often it became Active.
    pub(crate) claims: u64,
    /// Counts the speakers: what was meant for an earlier one is lost.
    pub(crate) incarnation: u64,
    /// The shared page: what it signs by outlives a speaker.
    pub(crate) sender: Sender,
    /// By member.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) tracker: Tracker,
    pub(crate) tracker_next: Option<u64>,
    pub(crate) link_up: bool,
    pub(crate) paused: Option<Pause>,
    pub(crate) paused_at: u64,
    /// Counts them.
    pub(crate) pauses: u64,
    /// What came in while paused.
    pub(crate) inbox: Vec<Input>,
    /// Kernel: address and end of its lease.
    pub(crate) kernel: BTreeMap<(MemberId, VirtualAddress), u64>,
    pub(crate) kernel_busy_until: u64,
    pub(crate) kernel_slow: bool,
    pub(crate) kernel_refuses: bool,
    /// How often the driver has asked for each.
    pub(crate) asked: BTreeMap<(MemberId, VirtualAddress), u64>,
    /// What the driver refreshes.
    pub(crate) wanted: BTreeSet<(MemberId, VirtualAddress)>,
    /// Local moment of the last advertisement: the shared page of the two keepers.
    pub(crate) last_sent: Option<Moment>,
    /// It was paused for too long while Active: these have to be removed before anything is sent or added.
    pub(crate) must_drop: BTreeSet<(MemberId, VirtualAddress)>,
    pub(crate) wake_at: Option<u64>,
    pub(crate) active_since: Option<u64>,
    /// The last advertisement but a resignation; or the last transition, change of the link, or end of a pause.
    pub(crate) unheard_since: u64,
    /// Gone from the kernel, which the paused process has not been told yet.
    pub(crate) unaware: BTreeSet<(MemberId, VirtualAddress)>,
    /// Told to end.
    pub(crate) ended: bool,
    /// On its way out of Active.
    pub(crate) resigning: bool,
    offset: i128,
    rate_ppm: i128,
}

impl Node {
    pub(crate) fn new(index: usize, config: GroupConfig, rate_ppm: i64) -> Self {
        Self {
            config,
            source: Self::addresses(index)[0],
            source_ipv6: Self::addresses(index)[1],
            group: None,
            known: None,
            withdrawn: false,
            claims: 0,
            incarnation: 0,
            sender: Sender::new(index as u64, 0),
            receivers: Vec::new(),
            tracker: Tracker::settled(),
            tracker_next: None,
            link_up: true,
            paused: None,
            paused_at: 0,
            pauses: 0,
            inbox: Vec::new(),
            kernel: BTreeMap::new(),
            kernel_busy_until: 0,
            kernel_slow: false,
            kernel_refuses: false,
            asked: BTreeMap::new(),
            wanted: BTreeSet::new(),
            last_sent: None,
            must_drop: BTreeSet::new(),
            wake_at: None,
            active_since: None,
            unheard_since: 0,
            unaware: BTreeSet::new(),
            ended: false,
            resigning: false,
            offset: 1_000_000_000_000 + 977_000_000 * index as i128,
            rate_ppm: i128::from(rate_ppm),
        }
    }

    /// The IPv4 and the link-local address of the node of this index.
    pub(crate) fn addresses(index: usize) -> [IpAddr; 2] {
        let last = 11 + u8::try_from(index).unwrap();
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into());
        [Ipv4Addr::new(192, 0, 2, last).into(), link_local.into()]
    }

    /// Source of the advertisements of a member.
    pub(crate) fn source_of(&self, MemberId(member): MemberId) -> IpAddr {
        match self.config.members[member].family() {
            Family::Ipv4 => self.source,
            Family::Ipv6 => self.source_ipv6,
        }
    }

    /// This node's clock at a moment of the world.
    pub(crate) fn local(&self, now: u64) -> Moment {
        let now = i128::from(now);
        let local = self.offset + now + now * self.rate_ppm / 1_000_000;
        Moment::from_nanos(u64::try_from(local).unwrap())
    }

    /// The moment of the world at which this node's clock has reached `local`.
    pub(crate) fn world(&self, local: Moment) -> u64 {
        let wanted = i128::from(local.as_nanos()) - self.offset;
        let mut now = u64::try_from((wanted * 1_000_000 / (1_000_000 + self.rate_ppm)).max(0)).unwrap();
        while self.local(now) < local {
            now += 1;
        }
        now
    }

    /// If the machine stood still, its clock did too.
    pub(crate) fn unpause(&mut self, now: u64) {
        if self.paused.take() == Some(Pause::Machine) {
            let lost = i128::from(now - self.paused_at);
            self.offset -= lost + lost * self.rate_ppm / 1_000_000;
            // What it had begun it goes on with, and knows of no time between.
            self.active_since = self.active_since.map(|since| since + (now - self.paused_at));
        }
    }

    pub(crate) fn state(&self) -> State {
        self.group.as_ref().map_or(State::Initialize, Group::state)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state() == State::Active
    }

    /// Runs, and is scheduled.
    pub(crate) fn is_awake(&self) -> bool {
        self.group.is_some() && self.paused.is_none()
    }

    pub(crate) fn interval(&self) -> Duration {
        self.config.members[0].interval.get()
    }

    /// 3 intervals and the longest skew.
    pub(crate) fn down(&self) -> u64 {
        self.interval().as_nanos() as u64 * 4
    }
}
