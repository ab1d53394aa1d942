//! What the record of addresses says about a move.

use std::net::IpAddr;

use lb_vrrp::Moment;
use lbctl::lab::{BALANCERS, Change, Event, Lab, VIP};

const ADDED: Change = Change::AddressAdded(IpAddr::V4(VIP));
const REMOVED: Change = Change::AddressRemoved(IpAddr::V4(VIP));

/// The other load balancer.
///
/// # Panics
/// `node` is none.
#[must_use]
pub fn other(node: &str) -> &'static str {
    assert!(BALANCERS.contains(&node), "{node} is no load balancer");
    if node == BALANCERS[0] { BALANCERS[1] } else { BALANCERS[0] }
}

/// A move of the address, as the kernels of both nodes saw it.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// The new node had it.
    pub added: Moment,
    /// The old node had lost it, if it ever did.
    pub removed: Option<Moment>,
    /// The old node had lost it before the new one had it, in the order of the kernel.
    pub in_order: bool,
}

/// The first move of the address from `old` to the other node in the record from event number `from` on.
///
/// # Panics
/// The record has a hole, or there was no move.
#[track_caller]
#[must_use]
pub fn first_move(lab: &Lab, old: &str, from: usize) -> Move {
    let events = lab.record_since(from).unwrap_or_else(|error| panic!("{error:#}"));
    let position = |node: &str, change: Change| {
        events.iter().position(|event: &Event| event.node == node && event.change == change)
    };
    let added = position(other(old), ADDED)
        .unwrap_or_else(|| panic!("{} never had the address: {events:?}", other(old)));
    let removed = position(old, REMOVED);
    Move {
        added: events[added].at,
        removed: removed.map(|index| events[index].at),
        in_order: removed.is_some_and(|removed| removed < added),
    }
}

/// How often the address was added anywhere, from event number `from` on.
///
/// # Panics
/// The record has a hole.
#[track_caller]
#[must_use]
pub fn claims(lab: &Lab, from: usize) -> usize {
    let events = lab.record_since(from).unwrap_or_else(|error| panic!("{error:#}"));
    events.iter().filter(|event| event.change == ADDED).count()
}
