//! Whether the addresses may be given away, and who would take them, as far as the hello says.

use lb_vrrp::{PeerKind, State};

use crate::{
    config::text,
    control::{Moved, Ready, SwitchoverRequest},
    daemon::{Daemon, orders::Refused, refusing::worse},
};

impl Daemon {
    fn may_give(&self) -> Result<(), Refused> {
        self.no_order_now()?;
        let now = |why: &str| Err(Refused::Now(why.to_owned()));
        if let Some(giving) = &self.giving {
            return Err(Refused::Now(giving.refusal()));
        }
        if self.reloads.is_under_way() || self.reloads.is_other_turn() {
            return now("a reload is under way: try again");
        }
        if self.groups.is_empty() {
            return now("this node has no addresses to give away: it is no part of a pair");
        }
        Ok(())
    }

    /// Who would take what, as far as that is known.
    pub(super) fn may_switch(&self, request: &SwitchoverRequest) -> Result<Vec<Moved>, Refused> {
        self.may_give()?;
        let own = self.identity.name();
        let now = |why: String| Err(Refused::Now(why));
        if let Some(to) = &request.to {
            let names: Vec<_> = self.config.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
            if !names.contains(&to.as_str()) {
                let hint = text::suggestion(to, &names, "node");
                return Err(Refused::Missing(format!("there is no node `{to}`{hint}")));
            }
            if to == own {
                return now(format!(
                    "this is {own}: a switchover is asked for on the node that holds the addresses"
                ));
            }
        }
        let held = self.held();
        if held.is_empty() {
            return now(format!("{own} holds no address: a switchover is asked for on the node that does"));
        }
        let mut moves = Vec::new();
        for group in held {
            let (ready, why) = self.ready_peers(group);
            let first = ready.iter().max_by_key(|(_, priority)| *priority).map(|(name, _)| name.clone());
            match (&request.to, &first) {
                (Some(to), Some(first)) if to != first && ready.iter().any(|(name, _)| name == to) => {
                    return now(format!(
                        "{first} is ready too, and would take group {group} before {to}: first drain {first}"
                    ));
                }
                (Some(to), first) if first.as_ref() != Some(to) && !request.force => {
                    return now(format!("{to} is not known to be ready to take over group {group}: {why}"));
                }
                (None, None) if !request.force => {
                    return now(format!("nobody is known that could take over group {group}: {why}"));
                }
                _ => moves.push(Moved { group: group.to_owned(), to: first, gap_us: None }),
            }
        }
        Ok(moves)
    }

    /// What the operator should know if it may.
    pub(super) fn may_drain(&self, force: bool) -> Result<Vec<String>, Refused> {
        self.may_give()?;
        let mut warnings = Vec::new();
        for group in self.groups.iter().filter(|_| self.drained.is_none()) {
            let name = &group.config.name;
            let (ready, why) = self.ready_peers(name);
            if !ready.is_empty() {
                continue;
            }
            if group.state() == State::Active && !force {
                return Err(Refused::Now(format!(
                    "nobody is known that could take over group {name}: {why}. --force gives it up all the same, and then \
                     nobody serves"
                )));
            }
            warnings.push(format!("nobody is known that could take over group {name} now: {why}"));
        }
        Ok(warnings)
    }

    /// Nodes that could take a group over now and say so, with their priorities; and why the others can't.
    pub(super) fn ready_peers(&self, group: &str) -> (Vec<(String, u8)>, String) {
        let own = self.identity.name();
        let session = self.neighbours.as_ref().map(|neighbours| neighbours.session());
        let (mut ready, mut reasons) = (Vec::new(), Vec::new());
        let held = self.groups.iter().find(|held| held.config.name == group);
        let refused = &held.map(|held| held.refused.clone()).unwrap_or_default();
        for node in self.config.cluster.nodes.iter().filter(|node| node.name != own) {
            let name = &node.name;
            if node.kind == PeerKind::Keepalived {
                reasons.push(format!("{name} runs keepalived, which does not say if it could"));
                continue;
            }
            let peer = session.and_then(|session| session.peers().iter().find(|peer| peer.name == *name));
            reasons.push(match peer.map(|peer| (peer, peer.group(group))) {
                Some((peer, _)) if peer.has_ended() => format!("{name} is stopped"),
                Some((_, Some(hello))) => match &hello.ready {
                    Ready::Yes => match worse(hello, refused) {
                        Some(why) => format!("{name} would refuse clients: {why}"),
                        None => {
                            ready.push((name.clone(), hello.priority));
                            continue;
                        }
                    },
                    Ready::Degraded { reasons } => format!("{name} is degraded ({})", reasons.join("; ")),
                    Ready::Starting { .. } => format!("{name} has just started"),
                    Ready::Leaving { reason } => format!("{name} is leaving ({reason})"),
                    Ready::Fault { reason } => format!("{name} can't hold it ({reason})"),
                },
                Some((_, None)) | None => format!("{name} is silent"),
            });
        }
        if ready.is_empty() && reasons.is_empty() {
            reasons.push("there is no other node".to_owned());
        }
        (ready, reasons.join(", "))
    }
}
