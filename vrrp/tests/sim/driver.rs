//! A node's driver: what comes in goes to its machine, what the machine wants is done, as `lb_vrrp::io` does it.

use lb_vrrp::{
    Family, Group, MemberId, Output, State,
    advertisement::{DecodeError, Envelope, decode},
    authentication::split,
    config::ChecksumForm,
};

use super::{
    node::Input,
    world::{Broken, Event, MILLISECOND, World, group},
};

impl World {
    /// Hands an input to the machine, or keeps it until the process runs again.
    pub(crate) fn input(&mut self, index: usize, input: Input) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        if node.group.is_none() {
            return Ok(());
        }
        if node.paused.is_some() {
            if let Input::Stolen(member, address) = input {
                node.unaware.insert((member, address));
            }
            if node.inbox.len() < 200 || !matches!(input, Input::Packet { .. }) {
                node.inbox.push(input);
            }
            return Ok(());
        }
        let now = node.local(self.now);
        let (ipv4, ipv6) = (node.source, node.source_ipv6);
        let own_of = |family| if family == Family::Ipv4 { ipv4 } else { ipv6 };
        let Some(machine) = &mut node.group else { return Ok(()) };
        let was = machine.state();
        match input {
            Input::Packet { source, bytes } => {
                let members = node.config.members.iter().enumerate();
                let members = members.filter(|(_, member)| member.family() == Family::of(source));
                let (ids, expected): (Vec<_>, Vec<_>) =
                    members.map(|(id, member)| (MemberId(id), member.expected())).unzip();
                let is_unicast = expected.iter().any(|router| router.transport.unicast().is_some());
                let destination = if is_unicast { own_of(Family::of(source)) } else { group(source) };
                let envelope = Envelope { source, destination, ttl: 255 };
                let (message, trailer) = split(&bytes, source);
                let decoded = match decode(message, &envelope, &expected) {
                    Ok(decoded) => decoded,
                    Err(DecodeError::NotAPeer) => {
                        self.strangers += 1;
                        return Ok(());
                    }
                    Err(error) => {
                        return self.broken(format!("node {index} can't decode what a node sent: {error}"));
                    }
                };
                if let Some(authentication) = &node.config.authentication {
                    let receiver = &mut node.receivers[ids[decoded.router].0];
                    let found = receiver.check(&authentication.secret, &envelope, message, trailer.as_ref());
                    if found.is_err_and(|fault| authentication.step.drops(&fault)) {
                        self.strangers += 1;
                        return Ok(());
                    }
                }
                machine.handle_advertisement(now, ids[decoded.router], source, &decoded.advertisement);
                let priority = decoded.advertisement.priority;
                if priority > 0 {
                    node.unheard_since = self.now;
                }
                self.note(|| format!("node {index}: hears {priority} from {source}"));
                let from =
                    self.nodes.iter().position(|node| [node.source, node.source_ipv6].contains(&source));
                // One that was under way when the switch began to drop that family: no answer of that kind arrives.
                let is_unanswered = self.lan.drops_ipv6 && source.is_ipv6();
                if let Some(from) = from.filter(|_| was == State::Active && priority > 0 && !is_unanswered) {
                    self.promises.heard_while_active(self.now, from, index, &self.nodes, &self.lan);
                }
            }
            Input::Stolen(member, address) => {
                node.unaware.remove(&(member, address));
                machine.handle_address_stolen(now, member, address);
            }
            Input::Added(member, address) => machine.handle_address_added(now, member, address),
            Input::Failed(member, address) => machine.handle_address_failed(now, member, address, "refused"),
            Input::Removed(member, address, asked) => {
                // Asked for again since: the driver's ledger knows that this is not the end of it.
                if node.asked.get(&(member, address)).is_none_or(|again| *again == asked) {
                    machine.handle_address_removed(now, member, address);
                }
            }
            Input::ExchangesReset => machine.handle_exchanges_reset(now),
        }
        self.drain(index)
    }

    pub(crate) fn wake(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        node.wake_at = None;
        let now = node.local(self.now);
        if let Some(group) = &mut node.group {
            group.handle_timeout(now);
        }
        self.drain(index)
    }

    /// A call of `handle_timeout` before the deadline must do nothing.
    pub(crate) fn wake_early(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        let now = node.local(self.now);
        let Some(group) = node.group.as_mut().filter(|_| node.paused.is_none()) else { return Ok(()) };
        if group.poll_timeout().is_some_and(|(at, _)| at <= now) {
            return Ok(());
        }
        group.handle_timeout(now);
        match group.poll_output() {
            Some(output) => self.broken(format!("node {index} acts before its deadline: {output:?}")),
            None => Ok(()),
        }
    }

    /// Does what the machine wants, then sees what readiness and the next deadline are.
    pub(crate) fn drain(&mut self, index: usize) -> Result<(), Broken> {
        let before = self.transitions;
        while let Some(output) = self.nodes[index].group.as_mut().and_then(Group::poll_output) {
            self.act(index, output)?;
        }
        if self.transitions != before {
            // What was good or bad news for one state is the other for the next.
            if !self.daemons_are_slow {
                return self.tell_readiness(index);
            }
            self.daemon_hears(index);
        }
        let node = &mut self.nodes[index];
        let now = self.now;
        let Some(group) = &node.group else { return Ok(()) };
        if let Some((at, _)) = group.poll_timeout() {
            // The scheduler is a little late, now and then more.
            let late = if self.random.per_mille(5) { 2 * MILLISECOND } else { 100_000 };
            let at = node.world(at).max(now) + self.random.range(0, late);
            node.wake_at = Some(at);
        } else {
            node.wake_at = None;
        }
        Ok(())
    }

    fn act(&mut self, index: usize, output: Output) -> Result<(), Broken> {
        self.promises.before_output(self.now, index, &self.nodes[index], &output)?;
        match output {
            Output::Transmit { member, advertisement } => {
                let node = &mut self.nodes[index];
                node.last_sent = Some(node.local(self.now));
                let source = node.source_of(member);
                let form =
                    if self.random.per_mille(500) { ChecksumForm::Rfc9568 } else { ChecksumForm::Rfc5798 };
                let transport = node.config.members[member.0].transport.clone();
                let password = node.config.members[member.0].password.clone();
                let destinations = transport.destinations(Family::of(source));
                self.note(|| format!("node {index}: advertises {}", advertisement.priority));
                for to in 0..self.nodes.len() {
                    let own = self.nodes[to].source_of(member);
                    let Some(&destination) =
                        destinations.iter().find(|one| one.is_multicast() || **one == own)
                    else {
                        continue;
                    };
                    let mut bytes = advertisement.encode_with(password.as_ref(), form, source, destination);
                    let node = &mut self.nodes[index];
                    if let Some(authentication) = &node.config.authentication {
                        node.sender.sign(&authentication.secret, source, destination, &mut bytes);
                    }
                    let dropped = self.lan.drops_ipv6 && source.is_ipv6() && destination.is_multicast();
                    if dropped || to == index || !self.nodes[index].link_up || !self.nodes[to].link_up {
                        continue;
                    }
                    for delay in self.lan.deliveries(&mut self.random, index, to) {
                        let event = Event::Packet { to, source, bytes: bytes.clone() };
                        self.schedule(delay.as_nanos() as u64, event);
                    }
                }
            }
            Output::AddAddress { member, address } => {
                *self.nodes[index].asked.entry((member, address)).or_default() += 1;
                let refused = self.nodes[index].kernel_refuses;
                if !refused {
                    self.nodes[index].wanted.insert((member, address));
                }
                let incarnation = self.nodes[index].incarnation;
                self.note(|| format!("node {index}: adds {}", address.address));
                self.ask_kernel(
                    index,
                    Event::KernelAdd { node: index, incarnation, member, address, refused },
                );
            }
            Output::RemoveAddress { member, address } => {
                self.nodes[index].resigning = true;
                self.nodes[index].wanted.remove(&(member, address));
                self.nodes[index].must_drop.remove(&(member, address));
                let incarnation = self.nodes[index].incarnation;
                self.note(|| format!("node {index}: removes {}", address.address));
                let asked = self.nodes[index].asked.get(&(member, address)).copied().unwrap_or_default();
                let removal = Event::KernelRemove { node: index, incarnation, member, address, asked };
                self.ask_kernel(index, removal);
            }
            Output::Announce { member: _, address } => {
                self.note(|| format!("node {index}: announces {}", address.address));
                let client = self.client_station();
                if self.nodes[index].link_up {
                    for delay in self.lan.deliveries(&mut self.random, index, client) {
                        let event = Event::Arp { from: index, address: address.address, sent: self.now };
                        self.schedule(delay.as_nanos() as u64, event);
                    }
                }
            }
            Output::ResetExchanges => {
                self.nodes[index].resigning = true;
                let incarnation = self.nodes[index].incarnation;
                // Sometimes the daemon never answers.
                if !self.random.per_mille(100) {
                    let after = self.random.range(100_000, 8 * MILLISECOND);
                    self.schedule(after, Event::ExchangesReset { node: index, incarnation });
                }
            }
            Output::Transition(transition) => {
                self.nodes[index].resigning = false;
                self.nodes[index].unheard_since = self.now;
                self.transitions += 1;
                self.nodes[index].claims += u64::from(transition.to == State::Active);
                self.note(|| {
                    format!("node {index}: {} -> {}: {}", transition.from, transition.to, transition.reason)
                });
            }
            Output::Remark { text } => self.note(|| format!("node {index}: {text}")),
            Output::Warning { key, text } => self.note(|| format!("node {index}: warning {key}: {text}")),
        }
        Ok(())
    }

    /// The daemon hears of a transition, and tells what follows from that up to 20 ms later.
    fn daemon_hears(&mut self, index: usize) {
        let late = self.now.wrapping_mul(2 * index as u64 + 3) % (20 * MILLISECOND);
        let told = self.now + MILLISECOND / 5 + late;
        let node = &mut self.nodes[index];
        let (_, next) = node.tracker.readiness(self.now, node.state());
        node.tracker_next = Some(next.map_or(told, |next| next.min(told)));
    }

    /// The daemon tells the speaker how ready the node is.
    pub(crate) fn tell_readiness(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        let (readiness, next) = node.tracker.readiness(self.now, node.state());
        node.tracker_next = next;
        if node.paused.is_some() {
            return Ok(());
        }
        let now = node.local(self.now);
        let Some(group) = &mut node.group else { return Ok(()) };
        let yields = node.tracker.yields;
        group.handle_yielding(now, yields);
        group.handle_readiness(now, readiness.clone());
        self.note(|| format!("node {index}: readiness {readiness:?}"));
        self.drain(index)
    }

    pub(crate) fn set_link(&mut self, index: usize, up: bool) -> Result<(), Broken> {
        self.note(|| format!("node {index}: link {}", if up { "up" } else { "down" }));
        let node = &mut self.nodes[index];
        node.link_up = up;
        node.unheard_since = self.now;
        let now = node.local(self.now);
        let Some(group) = node.group.as_mut().filter(|_| node.paused.is_none()) else { return Ok(()) };
        for member in 0..node.config.members.len() {
            let link = if up { Ok(()) } else { Err("link of eth0 is down".to_owned()) };
            group.handle_link(now, MemberId(member), link);
        }
        self.drain(index)
    }
}
