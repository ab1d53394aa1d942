//! What goes out: everything that a group wants done.

use super::{Driver, Lane};
use crate::{
    MemberId, Moment, Output, State, VirtualAddress,
    io::{
        Report,
        netlink::{Place, requests::Request},
        remarks::{Key, with_count},
    },
};

impl Driver<'_> {
    /// Does what a group wants, in order, and notes when it last advertised.
    pub(super) fn drain(&mut self, now: Moment, index: usize) {
        let mut sent = false;
        while let Some(output) = self.lanes.get_mut(index).and_then(|lane| lane.group.poll_output()) {
            sent |= matches!(output, Output::Transmit { .. });
            self.perform(now, index, output);
        }
        let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.begun) else { return };
        let last = match lane.group.state() {
            State::Active if sent => Some(now),
            State::Active => lane.advertised,
            State::Backup | State::Initialize => None,
        };
        if last != lane.advertised {
            lane.advertised = last;
            self.host.advertised(index, last);
        }
    }

    fn perform(&mut self, now: Moment, index: usize, output: Output) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        match output {
            Output::Transmit { member, advertisement } => {
                let secret = lane.group.config().authentication.as_ref().map(|one| &one.secret);
                let signing = secret.map(|secret| (secret, &mut self.sender));
                let sent = lane.members.get(member.0).map(|io| io.transmit(&advertisement, signing));
                if secret.is_some() {
                    self.host.signed(self.sender.counter());
                }
                if lane.members.get(member.0).is_some_and(|io| !io.looped.is_empty()) {
                    lane.count_on(member.0, "peer_is_this_node");
                }
                if let Some(Err(reason)) = sent {
                    lane.count("transmit_errors");
                    let text = format!("an advertisement was not sent: {reason}");
                    self.remark_at_times(now, Key::Group { group: index, kind: "transmit" }, text);
                }
            }
            Output::AddAddress { member, address } => match lane.place(member, address) {
                Ok(place) => {
                    self.ledger.asked(place);
                    self.requests.ask(Request::Add { place, asked: now });
                }
                Err(trouble) => lane.group.handle_address_failed(now, member, address, &trouble),
            },
            Output::RemoveAddress { member, address } => match lane.place(member, address) {
                Ok(place) => self.remove(place),
                // It went with its interface.
                Err(_) => lane.group.handle_address_removed(now, member, address),
            },
            Output::Announce { member, address } => {
                let Some(io) = lane.members.get_mut(member.0) else { return };
                let announced = io.announce(address.address);
                if let Some(all) = &mut self.announced {
                    let (group, error) = (&lane.group.config().name, announced.as_ref().err().cloned());
                    all.extend(io.announced(group, address.address, error));
                }
                if let Err(reason) = announced {
                    lane.count("announce_errors");
                    let text = format!("{} was not announced: {reason}", address.address);
                    self.remark_at_times(now, Key::Group { group: index, kind: "announce" }, text);
                }
            }
            Output::ResetExchanges if self.alone => lane.group.handle_exchanges_reset(now),
            Output::ResetExchanges => {
                let group = lane.group.config().name.clone();
                self.host.report(Report::ResetExchanges { group });
            }
            Output::Transition(transition) => {
                self.changed = true;
                let group = lane.group.config().name.clone();
                self.host.report(Report::Transition { group, transition });
            }
            Output::Remark { text } => self.remark(tracing::Level::INFO, text),
            Output::Warning { key, text } => {
                self.remark_at_times(now, Key::Group { group: index, kind: key }, text);
            }
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.ledger.removing(place);
        self.requests.ask(Request::Remove { place });
    }

    pub(super) fn remark(&self, level: tracing::Level, text: String) {
        self.host.report(Report::Remark { level, text });
    }

    /// A warning that may come often.
    pub(super) fn remark_at_times(&mut self, now: Moment, key: Key, text: String) {
        if let Some(withheld) = self.remarks.permit(now, key) {
            self.remark(tracing::Level::WARN, with_count(text, withheld));
        }
    }
}

impl Lane {
    /// Where an address of a member goes, or why it can't.
    fn place(&self, member: MemberId, address: VirtualAddress) -> Result<Place, String> {
        let io = self.members.get(member.0).ok_or_else(|| "no such virtual router".to_owned())?;
        let station = io.station.as_ref().map_err(Clone::clone)?;
        Ok(Place { index: station.home.index, address })
    }
}
