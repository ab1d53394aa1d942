//! The Linux driver: runs the groups of one node against sockets, netlink and the clock. No protocol is decided here.
//!
//! ```text
//!  advertisements ─▶ socket ─▶ decode ─┐                        ┌─▶ Transmit ─────▶ socket
//!  answers of the kernel ─▶ netlink ───┤                        ├─▶ Add, Remove ──▶ netlink
//!  links, addresses ──────▶ netlink ───┼─▶ Group ─▶ poll_output ┼─▶ Announce ─────▶ announce
//!  commands of the daemon ─────────────┤                        └─▶ the rest ─────▶ Host::report
//!  CLOCK_BOOTTIME ────────▶ clock ─────┘
//! ```
//!
//! [`run`] waits for one input, feeds it, drains the outputs, and arms the next deadline. Inputs come before deadlines:
//! an advertisement that waits in a socket must count before a timer that it would have reset. That is safe because the
//! machine itself compares the clock before it acts on anything. Behind a deadline that was missed by 10 ms or more the daemon's
//! words come first as well, which another task reads.

mod announce;
mod arp_probe;
mod ask;
mod clock;
mod driver;
mod filter;
mod flood;
mod lock;
mod member;
mod netlink;
mod overhear;
mod release;
mod remarks;
mod socket;
mod withdraw;

use std::{collections::BTreeMap, io, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

pub use arp_probe::ArpProbe;
pub use ask::ask;
pub use lock::make_room_for_locks;
pub use overhear::overhear;
pub use release::release;
pub use withdraw::withdraw;

use crate::{
    GroupConfig, GroupStatus, Moment, Past, Readiness, Transition, authentication::Sender, group::Start,
};

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The groups of this node and how each starts.
    pub groups: Vec<(GroupConfig, Start)>,
    /// By name of the group: [`crate::Group::handle_past`].
    pub pasts: BTreeMap<String, Past>,
    /// Commands that hold before the groups start.
    pub first: Vec<Command>,
    /// Folder of the lock files; has to exist.
    pub lock_folder: PathBuf,
    /// How long a lock that a predecessor still holds is waited for.
    pub patience: Duration,
    /// [`Host::beat`] is called at least this often.
    pub heartbeat: Duration,
    /// Signs, if a group wants that.
    pub sender: Sender,
}

/// What the daemon tells.
#[derive(Clone, Debug)]
pub enum Command {
    /// The readiness of a group. It runs out after 1 s.
    Readiness {
        /// Name of the group.
        group: String,
        /// How good a holder this node is.
        readiness: Readiness,
        /// When the daemon said so, from when on it counts for `stall_timeout`. From when on it was heard, if it does not say.
        said: Option<Moment>,
        /// See [`crate::Group::handle_yielding`].
        yields: bool,
        /// Another node has said something that is signed by the secret of this one.
        trusts: bool,
        /// See [`crate::Group::handle_named`].
        sources: Vec<IpAddr>,
    },
    /// The exchanges of a group are reset.
    ExchangesReset {
        /// Name of the group.
        group: String,
    },
    /// A peer that was silent says hello again.
    PeerReappeared,
    /// Every address that this node holds is to be announced now.
    Announce,
    /// Another configuration of the same groups ([`crate::group::check_reconfigure`]).
    Reconfigure {
        /// All groups, in any order.
        groups: Vec<GroupConfig>,
        /// As in [`Settings`].
        heartbeat: Duration,
    },
    /// Resign in the ordinary way and end.
    Shutdown {
        /// Why.
        reason: String,
    },
    /// As `Shutdown`, and nobody is there to reset exchanges: nothing waits for it.
    DaemonGone {
        /// How that is known.
        reason: String,
    },
}

/// What the driver tells.
#[derive(Clone, Debug)]
pub enum Report {
    /// Everything is open, the groups are starting.
    Started,
    /// [`Command::Reconfigure`] is done.
    Reconfigured,
    /// [`Command::Announce`] is done: what was announced, address by address.
    Announced {
        /// In the order of the settings; none where this node holds none.
        all: Vec<Announced>,
    },
    /// All groups; on every change and once a second.
    Status {
        /// When it was taken.
        at: Moment,
        /// In the order of the settings.
        groups: Vec<GroupStatus>,
    },
    /// The state of a group changed.
    Transition {
        /// Name of the group.
        group: String,
        /// What happened.
        transition: Transition,
    },
    /// Reset the exchanges on this group's addresses, then [`Command::ExchangesReset`].
    ResetExchanges {
        /// Name of the group.
        group: String,
    },
    /// A line for the log; equal ones come at a bounded rate.
    Remark {
        /// How grave.
        level: tracing::Level,
        /// One sentence.
        text: String,
    },
}

/// An address that was announced, or could not be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Announced {
    /// Name of the group.
    pub group: String,
    /// Name of the vip.
    pub vip: String,
    /// The address: by gratuitous ARP (RFC 5227), or by an unsolicited neighbour advertisement (RFC 4861 §7.2.6).
    pub address: IpAddr,
    /// Where.
    pub interface: String,
    /// What it is announced to be at.
    pub mac: [u8; 6],
    /// Why it was not sent.
    pub error: Option<String>,
}

/// Whoever runs the driver. Nothing here may block.
pub trait Host {
    /// The driver is awake.
    fn beat(&self, now: Moment);
    /// When the last advertisement of a group (by its index in the settings) left; `None` once it is not Active.
    fn advertised(&self, group: usize, last: Option<Moment>);
    /// A group (by its index) goes on with what an earlier run has left. False: the addresses are being taken away already. Called after
    /// a [`Self::beat`], so that nobody begins with that meanwhile.
    fn takes_over(&self, group: usize) -> bool;
    /// All groups have begun: an Active has advertised. For what has time until then; a few milliseconds of it.
    fn begun(&self);
    /// An advertisement was signed with this number; a later run of the same boot begins behind it.
    fn signed(&self, counter: u64);
    /// Takes a report.
    fn report(&self, report: Report);
}

/// Why the driver can't start. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A right is missing.
    #[error(
        "{capability} is missing, so {purpose} is not possible: start lbctl as root, or with \
         AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in its unit"
    )]
    Capability {
        /// Its name, as in capabilities(7).
        capability: &'static str,
        /// What it is needed for.
        purpose: &'static str,
    },
    /// Another instance speaks for one of our virtual routers.
    #[error("{0}")]
    Taken(String),
    /// Something else that the kernel refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What came back.
        #[source]
        error: io::Error,
    },
}

/// Runs until a [`Command::Shutdown`] is done, or the commands end.
///
/// # Errors
/// It could not start; or a descriptor of its own failed later ([`StartError::Io`]).
pub async fn run(
    settings: Settings,
    host: &dyn Host,
    commands: UnboundedReceiver<Command>,
) -> Result<(), StartError> {
    let _packet_socket = socket::probe().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => StartError::Capability {
            capability: "CAP_NET_RAW",
            purpose: "sending advertisements and announcements",
        },
        _ => StartError::Io { what: "opening a raw socket", error },
    })?;
    netlink::requests::probe().await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            StartError::Capability { capability: "CAP_NET_ADMIN", purpose: "installing addresses" }
        }
        _ => StartError::Io { what: "opening a netlink socket", error },
    })?;
    driver::Driver::start(settings, host).await?.run(commands).await
}
