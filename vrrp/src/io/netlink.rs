//! The kernel's addresses and links through rtnetlink.
//!
//! ```text
//! driver ── Request ──▶ [requests: thread, socket 1] ── RTM_NEWADDR, RTM_DELADDR, dumps ──▶ kernel
//!   ▲ ▲                            │                                                          │
//!   │ └───────── Answer ───────────┘                                                          │
//!   └── Event ── [events: socket 2] ◀── links, addresses ─────────────────────────────────────┘
//! ```
//!
//! Requests have a thread of their own: the kernel works on them inside the send call, and while another process holds
//! its network lock that call blocks. Advertisements must not wait for that.
//!
//! [`interfaces`] is the picture that both add up to, without any socket; [`ledger`] tells our own changes from others'.

pub(super) mod events;
pub(super) mod interfaces;
pub(super) mod ledger;
pub(super) mod requests;

use std::net::IpAddr;

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
};

use crate::VirtualAddress;

/// IFA_PROTO of the addresses that we install, so that they are known as ours: VRRP's protocol number. Nothing else
/// uses it (keepalived tags with 18).
pub(super) const OUR_TAG: u8 = crate::VRRP_PROTOCOL;

/// An address on an interface.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// Index of the interface.
    pub(super) index: u32,
    pub(super) address: VirtualAddress,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Ours,
    /// No tag, but our lease and no route of its own, which nobody else gives an address: ours on a kernel that keeps no tags (before
    /// 5.18), where it is one of the file's.
    Leased,
    /// No tag: an operator or a tool that sets none.
    Static,
    /// The kernel itself.
    Kernel,
    Protocol(u8),
}

/// An address as the kernel has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KernelAddress {
    pub(super) place: Place,
    pub(super) owner: Owner,
    /// An IPv4 address that is not the first of its network (IFA_F_SECONDARY), or an IPv6 address that may be somebody else's:
    /// duplicate address detection is not done (IFA_F_TENTATIVE), or has found one. Never a source.
    pub(super) unfit: bool,
    /// When it was put there, in hundredths of a second of the kernel's own count: a refreshed lease leaves that as it is.
    pub(super) created: Option<u32>,
}

impl Owner {
    /// Has a speaker installed it, if it is one of the file's addresses?
    pub(super) fn is_speaker(self) -> bool {
        matches!(self, Self::Ours | Self::Leased)
    }

    /// How a warning names it.
    pub(super) fn tag(self) -> String {
        match self {
            Self::Ours => "ours".to_owned(),
            Self::Leased | Self::Static => "static".to_owned(),
            Self::Kernel => "kernel".to_owned(),
            Self::Protocol(number) => format!("protocol {number}"),
        }
    }
}

impl KernelAddress {
    /// `None` for a message without an address.
    fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut owner = Owner::Static;
        let mut unfit = message.header.flags.contains(AddressHeaderFlags::Secondary);
        let (mut is_brief, mut has_no_route, mut created) = (false, false, None);
        let (mut local, mut peer): (Option<IpAddr>, Option<IpAddr>) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                // IFA_LOCAL is the address itself; IFA_ADDRESS is the other end on a point-to-point link.
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => peer = Some(*address),
                AddressAttribute::CacheInfo(lease) => {
                    is_brief = lease.ifa_valid <= requests::LEASE_SECONDS;
                    created = Some(lease.cstamp);
                }
                AddressAttribute::Flags(flags) => {
                    has_no_route = flags.contains(AddressFlags::Noprefixroute);
                    let reasons = AddressFlags::Secondary | AddressFlags::Tentative | AddressFlags::Dadfailed;
                    unfit |= flags.intersects(reasons) && !flags.contains(AddressFlags::Optimistic);
                }
                AddressAttribute::Protocol(protocol) => {
                    owner = match *protocol {
                        AddressProtocol::Other(0) => Owner::Static,
                        AddressProtocol::Other(OUR_TAG) => Owner::Ours,
                        AddressProtocol::Other(number) => Owner::Protocol(number),
                        _ => Owner::Kernel,
                    };
                }
                _ => {}
            }
        }
        if owner == Owner::Static && is_brief && has_no_route {
            owner = Owner::Leased;
        }
        let address = VirtualAddress { address: local.or(peer)?, prefix: message.header.prefix_len };
        let place = Place { index: message.header.index, address };
        Some(Self { place, owner, unfit, created })
    }
}
