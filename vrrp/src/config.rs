//! What a group of virtual routers is told: plain data, checked when it is built.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Authentication, Password, Transport, advertisement::Expected};

/// Virtual router identifier, 1..=255 (RFC 9568 §5.2.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Vrid(u8);

/// A configured priority, 18..=254. The bands below it are the levels of a degraded node (2..=17), of a leaving one
/// (1) and of one that is gone (0); 255 belongs to an address owner, which a pair never is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// Time between two advertisements. VRRPv3 carries centiseconds (1..=4095), VRRPv2 whole seconds (1..=255).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct AdvertisementInterval(Duration);

/// A value outside its range.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} is {range}, found {found}")]
pub struct OutOfRange {
    /// The name of the value.
    pub what: &'static str,
    /// Its range, in words.
    pub range: &'static str,
    /// What was given.
    pub found: String,
}

impl Vrid {
    /// Refuses 0 (RFC 9568 §5.2.3: 1-255).
    pub fn new(value: u8) -> Result<Self, OutOfRange> {
        if value == 0 {
            return Err(OutOfRange { what: "vrid", range: "1..255", found: value.to_string() });
        }
        Ok(Self(value))
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Priority {
    /// The lowest priority that can be configured.
    pub const MIN: u8 = 18;
    /// The highest priority that can be configured.
    pub const MAX: u8 = 254;

    /// Refuses anything outside 18..=254.
    pub fn new(value: u8) -> Result<Self, OutOfRange> {
        if !(Self::MIN..=Self::MAX).contains(&value) {
            return Err(OutOfRange { what: "priority", range: "18..254", found: value.to_string() });
        }
        Ok(Self(value))
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl AdvertisementInterval {
    /// `version` decides the grid: VRRPv3 whole centiseconds 1..=4095 (RFC 9568 §5.2.7), VRRPv2 whole seconds 1..=255
    /// (RFC 3768 §5.3.7).
    pub fn new(version: Version, value: Duration) -> Result<Self, OutOfRange> {
        let nanos = value.as_nanos();
        let (unit, max, range) = match version {
            Version::V3 => (10_000_000, 4095, "10ms..40.95s in steps of 10ms (VRRPv3)"),
            Version::V2 => (1_000_000_000, 255, "1s..255s in whole seconds (VRRPv2)"),
        };
        if nanos == 0 || !nanos.is_multiple_of(unit) || nanos / unit > max {
            return Err(OutOfRange { what: "advertisement_interval", range, found: format!("{value:?}") });
        }
        Ok(Self(value))
    }

    /// The interval as time.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<u8> for Vrid {
    type Error = OutOfRange;
    fn try_from(value: u8) -> Result<Self, OutOfRange> {
        Self::new(value)
    }
}

impl From<Vrid> for u8 {
    fn from(vrid: Vrid) -> Self {
        vrid.0
    }
}

impl TryFrom<u8> for Priority {
    type Error = OutOfRange;
    fn try_from(value: u8) -> Result<Self, OutOfRange> {
        Self::new(value)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a member's addresses, its advertisements and its announcements are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// 224.0.0.18, gratuitous ARP.
    Ipv4,
    /// ff02::12, unsolicited neighbour advertisements.
    Ipv6,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// Is it one of fe80::/10 (RFC 4291 §2.5.6), which means something on one link alone?
pub const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Version of the protocol a member speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Version {
    /// RFC 3768, IPv4 only, whole seconds.
    V2,
    /// RFC 9568.
    #[default]
    V3,
}

/// Which sum a VRRPv3 advertisement over IPv4 carries when we send it. Both forms are accepted on receipt.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ChecksumForm {
    /// The message alone (RFC 9568 §5.2.8).
    #[default]
    Rfc9568,
    /// With the IPv4 pseudo-header, as RFC 5798 was read by keepalived.
    Rfc5798,
}

/// When a ready node takes the address from an Active that lost by priority.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Preempt {
    /// From a degraded or leaving Active only.
    #[default]
    Degraded,
    /// From a ready Active of lower priority too, after this long an unbroken readiness.
    Always {
        /// 0 s and more.
        delay: Duration,
    },
    /// From a leaving Active only.
    Never,
}

/// What the other node runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PeerKind {
    /// It knows the levels of a degraded node.
    #[default]
    Lbctl,
    /// It knows priorities only: leaving or degrading is a resignation, and sums are sent in RFC 5798's form.
    Keepalived,
}

/// Where a member lives.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Interface {
    /// The interface of this name.
    Named(String),
    /// The interface that has this address (a node's address in `[cluster]`).
    Holding(IpAddr),
}

/// An address of a virtual router and the prefix it is installed with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length, /32 or /128 unless the file says otherwise.
    pub prefix: u8,
}

/// Index of a member in its group's list.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct MemberId(pub usize);

/// One virtual router on the wire.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberConfig {
    /// Name of the `[vip.NAME]` table it comes from.
    pub vip: String,
    /// Where it speaks and where its addresses are installed.
    pub interface: Interface,
    /// Its number.
    pub vrid: Vrid,
    /// Its protocol.
    pub version: Version,
    /// Our own interval: sent while Active, and used until a VRRPv3 peer's is adopted.
    pub interval: AdvertisementInterval,
    /// In the order of the file, not empty, one family; of IPv6 the first is link-local (RFC 9568 §5.2.9).
    pub addresses: Vec<VirtualAddress>,
    /// The sum we send.
    pub checksum: ChecksumForm,
    /// See [`Transport`].
    #[serde(default)]
    pub transport: Transport,
    /// Of VRRPv2: sent with each advertisement, and advertisements without it are dropped.
    #[serde(default)]
    pub password: Option<Password>,
}

impl MemberConfig {
    /// That of its addresses.
    pub fn family(&self) -> Family {
        self.addresses.first().map_or(Family::Ipv4, |first| Family::of(first.address))
    }

    /// The same virtual router as `other`, be it with other settings.
    pub(crate) fn is_same_router(&self, other: &Self) -> bool {
        self.vip == other.vip && self.family() == other.family()
    }

    /// What [`crate::advertisement::decode`] expects for it.
    pub fn expected(&self) -> Expected<'_> {
        let Self { vrid, version, interval, .. } = *self;
        Expected { vrid, version, interval, transport: &self.transport, password: self.password.as_ref() }
    }

    /// How people read of it: a vip with both families is two virtual routers.
    pub fn name(&self) -> String {
        match self.family() {
            Family::Ipv4 => self.vip.clone(),
            Family::Ipv6 => format!("{} over IPv6", self.vip),
        }
    }
}

/// One fate: virtual routers that are Active or Backup together.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupConfig {
    /// Name of the group, `default` unless the file names one.
    pub name: String,
    /// Priority of this node while it is ready.
    pub priority: Priority,
    /// True on the first node of the file: it adds 1 in the band of a degraded node, so that two never tie.
    pub first: bool,
    /// See [`Preempt`].
    pub preempt: Preempt,
    /// See [`PeerKind`].
    pub peer: PeerKind,
    /// Addresses of the other nodes of the file, and those that they advertise from by unicast. Where they run lbctl, their interval is our own but for a file that is
    /// being changed, so it is adopted within bounds; that of anyone else as it is.
    pub peers: Vec<IpAddr>,
    /// Time between two unasked announcements of an Active; 60 s by default.
    pub garp_refresh: Duration,
    /// Readiness that the daemon has not repeated for so long runs out: the daemon is stalled. 100 ms to 10 s; 1 s by default.
    #[serde(default = "stall_timeout")]
    pub stall_timeout: Duration,
    /// See [`Authentication`]. Only where all nodes run lbctl: keepalived drops what is signed.
    #[serde(default)]
    pub authentication: Option<Authentication>,
    /// Not empty.
    pub members: Vec<MemberConfig>,
}

impl GroupConfig {
    /// Puts the virtual routers into the order of `running`, by which a group that runs knows them: that of the file says nothing. Those
    /// that are new come last.
    pub fn order_as(&mut self, running: &Self) {
        let place = |member: &MemberConfig| {
            running.members.iter().position(|known| known.is_same_router(member)).unwrap_or(usize::MAX)
        };
        self.members.sort_by_key(place);
    }
}

/// What a daemon of before, which says nothing of it, goes by.
const fn stall_timeout() -> Duration {
    Duration::from_secs(1)
}
