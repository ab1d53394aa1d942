//! What comes in: packets, answers and changes of the kernel, commands.

use std::{io, net::IpAddr, time::Duration};

use super::{Driver, Input, RETRY};
use crate::{
    ChecksumForm, GroupConfig, MemberId, Moment,
    advertisement::{DecodeError, Decoded, Envelope, decode},
    authentication::split,
    io::{
        Command, Report,
        filter::SAMPLE,
        lock::LockError,
        netlink::{
            KernelAddress, Place,
            events::Event,
            ledger::Meaning,
            requests::{Answer, Removal, Request},
        },
        remarks::Key,
        socket::Received,
    },
    status::Rejected,
};

impl Driver<'_> {
    pub(super) fn feed(&mut self, now: Moment, input: Input, packet: &[u8]) {
        match input {
            Input::Packet { group, member, packet: Ok(received) } => {
                self.hear(now, group, MemberId(member), &received, packet);
            }
            Input::Packet { group, member, packet: Err(error) } => {
                self.socket_failed(now, group, member, &error);
            }
            Input::Answer(answer) => self.answered(now, answer),
            Input::Events(events) => self.follow(now, &events),
            Input::Command(Some(command)) => self.command(now, &command),
            Input::Command(None) => {
                self.command(now, &Command::DaemonGone { reason: "the daemon is gone".to_owned() });
            }
            Input::Deadline => {}
        }
    }

    pub(super) fn command(&mut self, now: Moment, command: &Command) {
        if let Command::Reconfigure { groups, heartbeat } = command {
            return self.reconfigure(now, groups, *heartbeat);
        }
        if let Command::Announce = command {
            return self.announce_all(now);
        }
        let named = match command {
            Command::Readiness { group, .. } | Command::ExchangesReset { group } => Some(group.clone()),
            Command::PeerReappeared
            | Command::Announce
            | Command::Reconfigure { .. }
            | Command::Shutdown { .. }
            | Command::DaemonGone { .. } => None,
        };
        self.alone |= matches!(command, Command::DaemonGone { .. });
        self.ending |= matches!(command, Command::Shutdown { .. } | Command::DaemonGone { .. });
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            if named.as_ref().is_some_and(|name| *name != lane.group.config().name) {
                continue;
            }
            match command {
                Command::Readiness { readiness, said, yields, trusts, sources, .. } => {
                    // One that has waited since before the start takes nothing from what was said since.
                    lane.readiness = lane.readiness.max(Some(said.map_or(now, |said| said.min(now))));
                    lane.is_trusted |= *trusts;
                    self.changed |= lane.told.as_ref() != Some(readiness);
                    lane.told = Some(readiness.clone());
                    lane.group.handle_yielding(now, *yields);
                    lane.group.handle_named(sources);
                    lane.group.handle_readiness(now, readiness.clone());
                }
                Command::ExchangesReset { .. } => lane.group.handle_exchanges_reset(now),
                Command::PeerReappeared => lane.group.handle_peer_reappeared(now),
                Command::Announce | Command::Reconfigure { .. } => {}
                Command::Shutdown { reason } => lane.group.handle_shutdown(now, reason),
                Command::DaemonGone { reason } => {
                    lane.group.handle_shutdown(now, reason);
                    // It may have been waiting for the daemon already.
                    lane.group.handle_exchanges_reset(now);
                }
            }
            self.drain(now, index);
        }
    }

    /// Everything that this node holds, and what came of it.
    fn announce_all(&mut self, now: Moment) {
        self.announced = Some(Vec::new());
        for index in 0..self.lanes.len() {
            if let Some(lane) = self.lanes.get_mut(index) {
                lane.group.handle_announce(now);
            }
            self.drain(now, index);
        }
        let all = self.announced.take().unwrap_or_default();
        self.host.report(Report::Announced { all });
    }

    /// The daemon has looked whether the groups can take it over; one that can't after all goes on as it was.
    fn reconfigure(&mut self, now: Moment, groups: &[GroupConfig], heartbeat: Duration) {
        self.heartbeat = heartbeat;
        let mut refusals = Vec::new();
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let Some(new) = groups.iter().find(|new| new.name == lane.group.config().name) else { continue };
            let before = lane.group.config().authentication.clone();
            match lane.group.handle_config(now, new.clone()) {
                Ok(()) => {
                    lane.authentication_changed(before.as_ref());
                    for (io, member) in lane.members.iter_mut().zip(&new.members) {
                        io.reconfigure(member.clone());
                    }
                }
                Err(error) => refusals.push(error.to_string()),
            }
            self.drain(now, index);
        }
        let members = self.lanes.iter().flat_map(|lane| &lane.members);
        let addresses = members.flat_map(|io| io.config.addresses.iter().map(|own| own.address));
        self.virtual_addresses = addresses.collect();
        // What was an address of the interface may be a virtual one now, and the other way round.
        self.settle(now, Duration::ZERO);
        self.inspect_all(now);
        for refusal in refusals {
            self.remark(tracing::Level::WARN, refusal);
        }
        self.changed = true;
        self.host.report(Report::Reconfigured);
    }

    fn hear(&mut self, now: Moment, group: usize, member: MemberId, received: &Received, packet: &[u8]) {
        let Some(lane) = self.lanes.get_mut(group) else { return };
        let Some(io) = lane.members.get_mut(member.0) else { return };
        let vip = io.config.name();
        let decoded = received.unwrap(packet).and_then(|(envelope, bytes)| {
            let (message, trailer) = split(bytes, envelope.source);
            let decoded = decode(message, &envelope, &[io.config.expected()])?;
            let authentication = lane.group.config().authentication.as_ref();
            let fault = authentication.and_then(|authentication| {
                let found = io.receiver.check(&authentication.secret, &envelope, message, trailer.as_ref());
                found.err().map(|fault| (authentication.step.drops(&fault), fault))
            });
            Ok((envelope, decoded, fault))
        });
        match decoded {
            Ok((envelope, decoded, fault)) => {
                let source = envelope.source;
                let own = io.station.as_ref().is_ok_and(|station| station.home.source == Some(source));
                if let Some((dropped, fault)) = fault {
                    let from = (source, &decoded.advertisement);
                    self.distrust(now, group, member, from, &fault, dropped);
                    if dropped {
                        return;
                    }
                } else if !own && lane.group.config().authentication.is_some() {
                    lane.is_trusted = true;
                }
                let Some(lane) = self.lanes.get_mut(group) else { return };
                let is_foreign = lane.group.handle_advertisement(now, member, source, &decoded.advertisement);
                if !own {
                    self.note_peer(now, (group, member), &envelope, &decoded, is_foreign);
                }
                self.drain(now, group);
            }
            Err(error) => {
                lane.count_on(member.0, error.counter());
                let source = received.source(packet);
                if let Some(source) = source.filter(|_| error.is_of_other_settings()) {
                    let rejected = Rejected { source, why: error.to_string(), at: now };
                    lane.group.handle_rejected(now, member, rejected);
                }
                self.note_reject(now, group, &vip, source, &error);
                self.watch_flood(now, group, member, &vip);
            }
        }
    }

    /// Once per peer: who speaks here, and how; of a foreign one the group has said it.
    fn note_peer(
        &mut self,
        now: Moment,
        (group, id): (usize, MemberId),
        envelope: &Envelope,
        decoded: &Decoded,
        is_foreign: bool,
    ) {
        let Some(lane) = self.lanes.get(group) else { return };
        let Some(member) = lane.group.config().members.get(id.0) else { return };
        let (vip, source) = (member.name(), envelope.source);
        let is_stranger = lane.is_stranger(member, source);
        let advertisement = &decoded.advertisement;
        if !is_foreign && self.remarks.first(now, Key::Source { group, kind: "peer", source }) {
            let text = format!(
                "vip {vip}: {source} speaks for vrid {} too, with priority {}",
                advertisement.vrid, advertisement.priority
            );
            if is_stranger {
                let fix = "it is no node of this file, so one of the two clusters needs another vrid";
                self.remark(tracing::Level::WARN, format!("{text}; {fix}"));
            } else {
                self.remark(tracing::Level::INFO, text);
            }
        }
        if decoded.checksum == ChecksumForm::Rfc5798 {
            if let Some(lane) = self.lanes.get_mut(group) {
                lane.count("checksum_rfc5798_received");
            }
            if self.remarks.first(now, Key::Source { group, kind: "checksum", source }) {
                let text = format!("vip {vip}: {source} sends checksums in RFC 5798's form");
                self.remark(tracing::Level::INFO, text);
            }
        }
    }

    pub(super) fn note_reject(
        &mut self,
        now: Moment,
        group: usize,
        vip: &str,
        source: Option<IpAddr>,
        error: &DecodeError,
    ) {
        let kind = error.counter();
        let (key, from) = match source {
            Some(source) => (Key::Source { group, kind, source }, source.to_string()),
            None => (Key::Group { group, kind }, "an unknown source".to_owned()),
        };
        self.remark_at_times(now, key, format!("vip {vip}: a packet from {from} was dropped: {error}"));
    }

    /// After a wrong packet: when there are too many, the kernel is to drop them, so that they wake nobody.
    pub(super) fn watch_flood(&mut self, now: Moment, group: usize, member: MemberId, vip: &str) {
        let Some(lane) = self.lanes.get_mut(group) else { return };
        let Some(io) = lane.members.get_mut(member.0) else { return };
        let Ok(station) = &mut io.station else { return };
        let sample = station.flood.is_on();
        let begins = station.flood.rejected(now);
        let filtered = begins.then(|| io.filter_strictly(true));
        if sample {
            lane.count_more("dropped_in_kernel_about", u64::from(SAMPLE - 1));
        }
        let text = match filtered {
            None => return,
            Some(Ok(())) => format!(
                "vip {vip}: a flood of wrong packets; the kernel drops them from now on, but for one of {SAMPLE}"
            ),
            Some(Err(error)) => format!("vip {vip}: a flood of wrong packets; no filter for it: {error}"),
        };
        self.remark_at_times(now, Key::Group { group, kind: "flood" }, text);
    }

    /// Where a flood is over, wrong packets are counted one by one again.
    pub(super) fn end_floods(&mut self, now: Moment) {
        for io in self.lanes.iter_mut().flat_map(|lane| &mut lane.members) {
            let over = io.station.as_mut().is_ok_and(|station| station.flood.ends(now));
            if over {
                // If the kernel refuses, the strict filter stays, which right packets pass as well.
                let _ = io.filter_strictly(false);
            }
        }
    }

    fn socket_failed(&mut self, now: Moment, group: usize, member: usize, error: &io::Error) {
        let Some(lane) = self.lanes.get_mut(group) else { return };
        lane.count("receive_errors");
        if let Some(io) = lane.members.get_mut(member) {
            io.station = Err(format!("the socket for advertisements failed: {error}"));
        }
        self.settle(now, Duration::ZERO);
    }

    fn answered(&mut self, now: Moment, answer: Answer) {
        match answer {
            Answer::Added { place, result: Ok(()) } => {
                if self.ledger.added(place) {
                    self.changed = true;
                    self.at(now, place, |group, member| {
                        group.handle_address_added(now, member, place.address);
                    });
                }
            }
            Answer::Added { place, result: Err(reason) } => self.at(now, place, |group, member| {
                group.handle_address_failed(now, member, place.address, &reason);
            }),
            Answer::Refreshed { place, result } => {
                self.ledger.refreshed(place);
                if let (Err(reason), Some((group, _))) = (result, self.owner(place)) {
                    if let Some(lane) = self.lanes.get_mut(group) {
                        lane.count("refresh_errors");
                    }
                    let text = format!("the lease of {} was not refreshed: {reason}", place.address.address);
                    self.remark_at_times(now, Key::Group { group, kind: "refresh" }, text);
                }
            }
            Answer::Removed { place, removal } => {
                let is_the_last_word = self.ledger.removed(place, &removal);
                self.changed = true;
                match removal {
                    // Of an earlier claim: what was asked for since is still to come.
                    Removal::Done | Removal::Absent if !is_the_last_word => {}
                    Removal::Done | Removal::Absent => self.at(now, place, |group, member| {
                        group.handle_address_removed(now, member, place.address);
                    }),
                    Removal::Failed(reason) => {
                        if let Some((group, _)) = self.owner(place) {
                            let text = format!("{} was not removed: {reason}", place.address.address);
                            self.remark_at_times(now, Key::Group { group, kind: "remove" }, text);
                        }
                    }
                }
            }
            Answer::Dumped(Ok(dump)) => {
                self.interfaces.load(dump);
                self.settle(now, Duration::ZERO);
                for place in self.ledger.missing(self.interfaces.addresses()) {
                    self.stolen(now, place);
                }
                self.inspect_all(now);
            }
            Answer::Dumped(Err(_)) => self.requests.ask(Request::Dump),
        }
    }

    /// Links before addresses: what went with its interface was not stolen.
    fn follow(&mut self, now: Moment, events: &[Event]) {
        for event in events {
            self.interfaces.apply(event);
        }
        if events.contains(&Event::Lost) {
            self.interfaces.awaits_dump();
            self.requests.ask(Request::Dump);
        }
        self.settle(now, Duration::ZERO);
        for event in events {
            match event {
                Event::Address(address) => self.inspect(now, *address),
                Event::AddressGone(address) => {
                    if self.ledger.gone(address.place) == Meaning::Stolen {
                        self.stolen(now, address.place);
                    }
                }
                Event::Link(_) | Event::LinkGone { .. } | Event::Lost => {}
            }
        }
    }

    fn stolen(&mut self, now: Moment, place: Place) {
        self.changed = true;
        self.at(now, place, |group, member| group.handle_address_stolen(now, member, place.address));
    }

    pub(super) fn inspect_all(&mut self, now: Moment) {
        let all = self.interfaces.addresses().to_vec();
        for address in all {
            self.inspect(now, address);
        }
    }

    /// Looks whether a virtual address is on its interface without having been asked for.
    fn inspect(&mut self, now: Moment, address: KernelAddress) {
        let place = address.place;
        let Some((index, member)) = self.owner(place) else { return };
        match self.ledger.seen(&address) {
            Meaning::Nothing => {}
            Meaning::Stolen => self.stolen(now, place),
            Meaning::Leftover => self.remove(place),
            Meaning::Foreign => {
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.group.handle_address_foreign(now, member, place.address, &address.owner.tag());
                }
                self.drain(now, index);
            }
        }
    }

    /// Ours, from an earlier run, wherever they are.
    pub(super) fn remove_leftovers(&mut self) {
        let ours = self.interfaces.addresses().to_vec().into_iter().filter(|known| {
            known.owner.is_speaker() && self.virtual_addresses.contains(&known.place.address.address)
        });
        let ours: Vec<_> = ours.collect();
        for known in ours {
            if self.ledger.seen(&known) == Meaning::Leftover {
                self.remove(known.place);
            }
        }
    }

    /// Follows the interfaces; returns what makes a start impossible.
    pub(super) fn settle(&mut self, now: Moment, patience: Duration) -> Option<LockError> {
        let mut taken = None;
        let mut remarks = Vec::new();
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let mut arrived = false;
            for (id, io) in lane.members.iter_mut().enumerate() {
                let settled =
                    io.settle(&self.interfaces, &self.virtual_addresses, &self.lock_folder, patience);
                if let Some(left) = settled.left {
                    self.ledger.forget(left);
                }
                if let Some(source) = settled.source {
                    lane.group.handle_source(now, MemberId(id), source);
                }
                if let Some(link) = settled.link {
                    self.changed = true;
                    lane.group.handle_link(now, MemberId(id), link);
                }
                for peer in settled.looped {
                    remarks.push(format!(
                        "vip {}: {peer}, the address of another node by unicast, is an address of this machine: what comes from there is dropped",
                        io.config.name()
                    ));
                }
                self.changed |= settled.looped_changed;
                arrived |= settled.arrived;
                taken = taken.or(settled.taken);
                remarks.extend(settled.remark);
                if settled.retry {
                    self.due.retry = Some(now + RETRY);
                }
            }
            self.drain(now, index);
            if arrived && lane_started(&self.lanes, index) {
                self.inspect_all(now);
            }
        }
        for remark in remarks {
            self.remark(tracing::Level::WARN, remark);
        }
        taken
    }

    /// Calls the group whose address this is, and does what it wants.
    fn at(&mut self, now: Moment, place: Place, handle: impl FnOnce(&mut crate::Group, MemberId)) {
        let Some((index, member)) = self.owner(place) else { return };
        if let Some(lane) = self.lanes.get_mut(index) {
            handle(&mut lane.group, member);
        }
        self.drain(now, index);
    }

    /// The group and member of an address, whatever its prefix.
    fn owner(&self, place: Place) -> Option<(usize, MemberId)> {
        self.lanes.iter().enumerate().find_map(|(index, lane)| {
            let member = lane
                .members
                .iter()
                .position(|io| io.index() == Some(place.index) && io.has_address(place.address.address))?;
            Some((index, MemberId(member)))
        })
    }
}

/// At the start leftovers are looked for once all groups have begun.
fn lane_started(lanes: &[super::Lane], index: usize) -> bool {
    lanes.get(index).is_some_and(|lane| lane.begun)
}
