//! What goes into the journal: what the proxy and the speaker say, and what can be seen of this node and the others.

use lb_proxy::StateChange;
use lb_vrrp::{Readiness, State, Transition};

use super::{
    Daemon, Identity,
    certificates::Turn,
    clock::Instants,
    group::Group,
    journal::{News, Subject},
};
use crate::control::{EventKind, Timestamp};

impl Daemon {
    /// What the proxy says, with all that waits behind it.
    pub(super) fn take_changes(&mut self, first: StateChange) {
        self.take_change(first);
        while let Some(change) = self.changes.as_mut().and_then(|changes| changes.try_recv().ok()) {
            self.take_change(change);
        }
        let lost = self.proxy.lost_transitions();
        self.journal.lose(lost - self.lost_changes);
        self.lost_changes = lost;
    }

    fn take_change(&self, change: StateChange) {
        let StateChange { at, backend, server, from, to, reason } = change;
        let (kind, name) = match server {
            Some(server) => (EventKind::Server, format!("{backend}/{server}")),
            None => (EventKind::Backend, backend),
        };
        // That a server was not looked at yet, or is found well then, is no news.
        let is_beginning = to == "unchecked" || (from == "unchecked" && matches!(to, "up" | "no_check"));
        let (from, to) = (from.to_owned(), to.to_owned());
        let news = News { at: Some(at.into()), from, to, reason, addresses: Vec::new() };
        let subject = Subject { kind, name, group: None };
        if !is_beginning || self.journal.was_told(&subject) {
            self.journal.change(self.identity.name(), subject, news);
        }
    }

    /// What the speaker says.
    pub(super) fn note_transition(&self, group: &str, transition: &Transition) {
        let at = Instants::now().wall_of(transition.at);
        if let Some(group) = self.groups.iter().find(|found| found.config.name == group) {
            self.note_vips(group, Some(transition.from), transition.to, &transition.reason, at);
        }
    }

    /// Of transitions that were too many to be told each, the last one.
    pub(super) fn catch_up(&mut self, now: lb_vrrp::Moment, name: &str) {
        let Some(group) = self.groups.iter_mut().find(|group| group.config.name == name) else { return };
        let state = group.state().to_string();
        let Some(vip) = group.config.members.first().map(|member| member.vip.clone()) else { return };
        if !self.journal.is_news(&subject_of(vip, group), &state) || !group.may_tell(now) {
            return;
        }
        let Some(group) = self.groups.iter().find(|group| group.config.name == name) else { return };
        if let Some((_, status)) = &group.status {
            let at = Instants::now().wall_of(status.since);
            self.note_vips(group, None, status.state, &status.reason, at);
        }
    }

    fn note_vips(&self, group: &Group, from: Option<State>, to: State, reason: &str, at: Timestamp) {
        let mut members = group.config.members.iter().peekable();
        while let Some(member) = members.next() {
            let mut addresses: Vec<_> = member.addresses.iter().map(|one| one.address.to_string()).collect();
            // Both families of a vip are one.
            while let Some(other) = members.next_if(|next| next.vip == member.vip) {
                addresses.extend(other.addresses.iter().map(|one| one.address.to_string()));
            }
            let from = from.map(|from| from.to_string()).unwrap_or_default();
            let news = News { at: Some(at), from, to: to.to_string(), reason: reason.to_owned(), addresses };
            self.journal.note(self.identity.name(), subject_of(member.vip.clone(), group), news);
        }
    }

    /// A certificate is nearer to its end, or has been renewed.
    pub(super) fn note_certificate(&self, Turn { file, from, to, reason, .. }: Turn) {
        let (from, to) = (from.word().to_owned(), to.word().to_owned());
        let subject = Subject { kind: EventKind::Certificate, name: file, group: None };
        self.journal.change(self.identity.name(), subject, News { from, to, reason, ..News::default() });
    }

    /// What can be seen of the nodes.
    pub(super) fn note_nodes(&self) {
        let name = self.identity.name();
        let news = |from: &str, to: &str, reason: String| News {
            from: from.to_owned(),
            to: to.to_owned(),
            reason,
            ..News::default()
        };
        let node = |name: &str, group: Option<&Group>| Subject {
            kind: EventKind::Node,
            name: name.to_owned(),
            group: group.map(|group| group.config.name.clone()),
        };
        let (state, reason) = self.life();
        self.journal.note(name, node(name, None), news("stopped", state, reason));
        for group in &self.groups {
            let Some(told) = &group.told else { continue };
            let (state, reason) = readiness(&told.readiness);
            self.journal.note(name, node(name, Some(group)), news("", state, reason));
        }
        for peer in self.neighbours.iter().flat_map(|neighbours| neighbours.session().peers()) {
            let (from, state, reason) = match &peer.last {
                Some(_) if peer.has_ended() => ("up", "stopped", "it has said that it ends"),
                Some(_) if peer.silent => ("up", "silent", "it says hello no more"),
                None if peer.silent => ("unknown", "silent", "it says no hello"),
                Some(_) => ("unknown", "up", "it says hello"),
                None => continue,
            };
            self.journal.note(name, node(&peer.name, None), news(from, state, reason.to_owned()));
        }
    }

    fn life(&self) -> (&'static str, String) {
        match (&self.stop, &self.identity, &self.drained) {
            (Some(stop), _, _) => ("stopping", stop.reason.clone()),
            (None, Identity::Waiting { reason, .. }, _) => ("waiting", reason.clone()),
            (None, _, Some(drained)) => ("drained", format!("{} by {}", drained.what, drained.by)),
            (None, _, None) => ("running", format!("lbctl {} runs", env!("CARGO_PKG_VERSION"))),
        }
    }

    /// What another file does not have any more.
    pub(super) fn forget_gone(&self) {
        let own = self.identity.name();
        let nodes = &self.config.cluster.nodes;
        self.journal.forget(|subject| {
            let is_own = subject.name == own || nodes.iter().any(|node| node.name == subject.name);
            let has_group = |name: &str| self.groups.iter().any(|group| group.config.name == name);
            let is_grouped = subject.group.as_deref().is_none_or(has_group);
            match subject.kind {
                EventKind::Node => !is_own || !is_grouped,
                EventKind::Alarm => !is_grouped,
                EventKind::Vip => !self
                    .groups
                    .iter()
                    .any(|group| group.config.members.iter().any(|member| member.vip == subject.name)),
                EventKind::Speaker
                | EventKind::Backend
                | EventKind::Server
                | EventKind::Certificate
                | EventKind::Other => true,
            }
        });
    }
}

fn subject_of(vip: String, group: &Group) -> Subject {
    Subject { kind: EventKind::Vip, name: vip, group: Some(group.config.name.clone()) }
}

fn readiness(readiness: &Readiness) -> (&'static str, String) {
    match readiness {
        Readiness::Ready => ("ready", "ready to hold the addresses".to_owned()),
        Readiness::Starting { reason, .. } => ("starting", reason.clone()),
        Readiness::Degraded { reasons } => ("degraded", reasons.join("; ")),
        Readiness::Leaving { reason } => ("leaving", reason.clone()),
        Readiness::Fault { reason } => ("fault", reason.clone()),
    }
}
