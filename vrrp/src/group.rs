//! The VRRP machine of one group (RFC 9568 §6.4 and the rules of `docs/architecture.md`).

use std::net::IpAddr;

use crate::{
    GroupConfig, GroupStatus, MemberId, Moment, Output, Readiness, State, TimeoutReason, VirtualAddress,
    advertisement::Advertisement,
};

/// How a group starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// Listens for one Active_Down_Interval first.
    Fresh,
    /// This node was Active a moment ago and its speaker was replaced: the last advertisement left at `last`, the
    /// addresses are still installed. Goes on as Active.
    ResumeActive {
        /// When the last advertisement left.
        last: Moment,
    },
}

/// The machine of one group.
#[derive(Debug)]
pub struct Group {
    config: GroupConfig,
}

#[allow(unused_variables, clippy::todo, reason = "skeleton")]
impl Group {
    /// In Initialize; nothing happens before `handle_startup`. Readiness begins as a fault: "not told yet".
    pub fn new(config: GroupConfig, now: Moment) -> Self {
        Self { config }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// Startup (RFC 9568 §6.4.1). Needs a source and a link for at least one member to leave Initialize.
    pub fn handle_startup(&mut self, now: Moment, start: Start) {
        todo!()
    }

    /// Orderly end: exchanges reset, addresses removed, priority 0, Initialize. Poll until the state is Initialize and
    /// no output is left.
    pub fn handle_shutdown(&mut self, now: Moment, reason: &str) {
        todo!()
    }

    /// The primary address of the member's interface (source of its advertisements) is known, changed, or lost.
    pub fn handle_source(&mut self, now: Moment, member: MemberId, source: Option<IpAddr>) {
        todo!()
    }

    /// The member's link came up (`Ok`) or went down or away (`Err` with the reason in words).
    pub fn handle_link(&mut self, now: Moment, member: MemberId, link: Result<(), String>) {
        todo!()
    }

    /// A valid advertisement for `member` arrived from `source`.
    pub fn handle_advertisement(
        &mut self,
        now: Moment,
        member: MemberId,
        source: IpAddr,
        advertisement: &Advertisement,
    ) {
        todo!()
    }

    /// The deadline of `poll_timeout` passed. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Moment) {
        todo!()
    }

    /// The node's readiness changed.
    pub fn handle_readiness(&mut self, now: Moment, readiness: Readiness) {
        todo!()
    }

    /// The kernel acknowledged an address.
    pub fn handle_address_added(&mut self, now: Moment, member: MemberId, address: VirtualAddress) {
        todo!()
    }

    /// The kernel refused an address, or did not answer in time: a fault.
    pub fn handle_address_failed(
        &mut self,
        now: Moment,
        member: MemberId,
        address: VirtualAddress,
        reason: &str,
    ) {
        todo!()
    }

    /// The kernel acknowledged a removal that we asked for.
    pub fn handle_address_removed(&mut self, now: Moment, member: MemberId, address: VirtualAddress) {
        todo!()
    }

    /// Somebody else removed an address of ours while we are Active: it is added and announced again.
    pub fn handle_address_stolen(&mut self, now: Moment, member: MemberId, address: VirtualAddress) {
        todo!()
    }

    /// An address of a virtual router is on its interface without being ours (another tag, or none). It is removed
    /// once with a warning; a second time within a minute is a fault, and goes on being removed, once a second.
    /// `address` is what the kernel has, prefix included; `tag` says whose it seems to be: `static`, `kernel`,
    /// `protocol 16`. Not to be called for an address that this machine has asked for.
    pub fn handle_address_foreign(
        &mut self,
        now: Moment,
        member: MemberId,
        address: VirtualAddress,
        tag: &str,
    ) {
        todo!()
    }

    /// The daemon has reset the exchanges it was asked to reset.
    pub fn handle_exchanges_reset(&mut self, now: Moment) {
        todo!()
    }

    /// A peer that was silent says hello again: an Active announces.
    pub fn handle_peer_reappeared(&mut self, now: Moment) {
        todo!()
    }

    /// The next effect, in order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// When `handle_timeout` is wanted next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, TimeoutReason)> {
        todo!()
    }

    /// Its state, without the cost of a whole status.
    pub fn state(&self) -> State {
        todo!()
    }

    /// What it says of itself. `interface` names and counters of rejected packets are the driver's to fill in.
    pub fn status(&self) -> GroupStatus {
        todo!()
    }
}
