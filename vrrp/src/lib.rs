//! VRRP for a pair of load balancers: RFC 9568 (VRRPv3) and RFC 3768 (VRRPv2).
//!
//! The crate is a pure core with a thin shell.
//!
//! ```text
//!            bytes                    Advertisement                 Output
//! io/socket ───────▶ advertisement ───────────────▶ group ───────────────────▶ io
//! io/netlink ── addresses, links ──────────────────▶  │   Transmit, AddAddress, RemoveAddress,
//! cli ────────── readiness, commands ──────────────▶  │   Announce, ResetExchanges, Transition
//!                                                     └──▶ poll_timeout: (Moment, why)
//! ```
//!
//! * Pure: [`advertisement`], `arp`, `ndp`, [`group`] and the newtypes. No clock, socket, channel, random source or
//!   runtime: `now` is an argument and every effect is an [`Output`].
//! * Shell: `io`, the only place with sockets, netlink and `unsafe`.
//!
//! The one invariant of the core: after every `handle_*` call drain [`Group::poll_output`] until it returns `None`,
//! then arm [`Group::poll_timeout`].
//!
//! One [`Group`] is one fate: one state for several virtual routers on the wire (a pair of vips, or both
//! families of one vip, never part).

#![warn(missing_docs)]

pub mod advertisement;
pub mod arp;
pub mod authentication;
mod checksum;
pub mod config;
pub mod group;
pub mod io;
pub mod moment;
pub mod ndp;
pub mod output;
pub mod password;
pub mod readiness;
pub mod secret;
pub mod status;
pub mod transport;

pub use authentication::{Authentication, Step};
pub use checksum::VRRP_PROTOCOL;
pub use config::{
    AdvertisementInterval, ChecksumForm, Family, GroupConfig, Interface, MemberConfig, MemberId, PeerKind,
    Preempt, Priority, Version, VirtualAddress, Vrid, is_link_local,
};
pub use group::{Group, Level};
pub use moment::Moment;
pub use output::{Moments, Output, TimeoutReason, Transition};
pub use password::Password;
pub use readiness::Readiness;
pub use secret::Secret;
pub use status::{GroupStatus, Past, State};
pub use transport::{Transport, Unicast};
