//! Whether the addresses may be given away, and who would take them, as far as the hello says.

use lb_vrrp::{Level, PeerKind, Readiness, State};

use crate::{
    config::text,
    control::{Moved, Ready, SwitchoverRequest},
    daemon::{
        Daemon,
        hello::{GroupHello, Peer},
        orders::Refused,
        refusing::{self, worse},
    },
};

/// A node that could hold a group now, as well as this one does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Heir {
    pub(super) name: String,
    pub(super) priority: u8,
    /// What is the matter with it.
    worse: Vec<String>,
    /// Its file, if that is another one.
    file: Option<String>,
}

impl Heir {
    /// What whoever gives the addresses away should know.
    fn warnings(&self, group: &str, own_file: &str) -> Vec<String> {
        let name = &self.name;
        let worse = (!self.worse.is_empty()).then(|| {
            format!("{name} is degraded for group {group} as this node is: {}", self.worse.join("; "))
        });
        let digits = |hash: &str| hash.get(..6).unwrap_or(hash).to_owned();
        let file = self.file.as_ref().map(|theirs| {
            format!(
                "{name} has another file ({} there, {} here), and serves as that says",
                digits(theirs),
                digits(own_file)
            )
        });
        worse.into_iter().chain(file).collect()
    }
}

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

    /// Who would take what, as far as that is known, and what the operator should know.
    pub(super) fn may_switch(
        &self,
        request: &SwitchoverRequest,
    ) -> Result<(Vec<Moved>, Vec<String>), Refused> {
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
        let (mut moves, mut warnings) = (Vec::new(), Vec::new());
        for group in held {
            let (ready, why) = self.ready_peers(group);
            let heir = ready.iter().max_by_key(|heir| heir.priority);
            let first = heir.map(|heir| heir.name.clone());
            match (&request.to, &first) {
                (Some(to), Some(first)) if to != first && ready.iter().any(|heir| heir.name == *to) => {
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
            warn(&mut warnings, heir.iter().flat_map(|heir| heir.warnings(group, &self.config.hash)));
        }
        Ok((moves, warnings))
    }

    /// What the operator should know if it may.
    pub(super) fn may_drain(&self, force: bool) -> Result<Vec<String>, Refused> {
        self.may_give()?;
        let mut warnings = Vec::new();
        for group in self.groups.iter().filter(|_| self.drained.is_none()) {
            let name = &group.config.name;
            let (ready, why) = self.ready_peers(name);
            if let Some(heir) = ready.iter().max_by_key(|heir| heir.priority) {
                warn(&mut warnings, heir.warnings(name, &self.config.hash));
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

    /// Why nobody could take a group over now, as far as is known.
    pub(in crate::daemon) fn no_heir(&self, group: &str) -> Option<String> {
        let (ready, why) = self.ready_peers(group);
        ready.is_empty().then_some(why)
    }

    /// Why nobody would take a group over if this node gave it up, however much worse they would serve; where there are other nodes and each of
    /// them says how it is.
    pub(in crate::daemon) fn without_takers(&self, group: &str) -> Option<String> {
        let nodes = &self.config.cluster.nodes;
        let all_say = nodes.len() > 1 && nodes.iter().all(|node| node.kind == PeerKind::Lbctl);
        let (takers, why) = self.peers_but_for(group, |hello| unable(&hello.ready));
        (all_say && takers.is_empty()).then_some(why)
    }

    /// Nodes that could take a group over now and say so; and why the others can't.
    pub(super) fn ready_peers(&self, group: &str) -> (Vec<Heir>, String) {
        let held = self.groups.iter().find(|held| held.config.name == group);
        let refused = held.map(|held| held.refused.clone()).unwrap_or_default();
        let level = self.degraded(group);
        self.peers_but_for(group, |hello| obstacle(hello, level, &refused))
    }

    /// Nodes that are heard and that nothing stands against; and what does against the others.
    fn peers_but_for(
        &self,
        group: &str,
        obstacle: impl Fn(&GroupHello) -> Option<String>,
    ) -> (Vec<Heir>, String) {
        let own = self.identity.name();
        let session = self.neighbours.as_ref().map(|neighbours| neighbours.session());
        let (mut ready, mut reasons) = (Vec::new(), Vec::new());
        for node in self.config.cluster.nodes.iter().filter(|node| node.name != own) {
            let name = &node.name;
            if node.kind == PeerKind::Keepalived {
                reasons.push(format!("{name} runs keepalived, which does not say if it could"));
                continue;
            }
            let peer = session.and_then(|session| session.peers().iter().find(|peer| peer.name == *name));
            match peer.map(|peer| (peer, peer.group(group))) {
                Some((peer, _)) if peer.has_ended() => reasons.push(format!("{name} is stopped")),
                Some((peer, Some(hello))) => match obstacle(hello) {
                    None => ready.push(self.heir(peer, hello)),
                    Some(why) => reasons.push(format!("{name} {why}")),
                },
                Some((peer, None)) if !peer.silent && peer.last.is_none() => {
                    reasons.push(format!("{name} was not heard yet"));
                }
                Some((peer, None)) if !peer.silent => {
                    let is_shortened = peer.last.as_ref().is_some_and(|(_, hello)| hello.shortened);
                    reasons.push(untold(name, group, is_shortened));
                }
                Some((_, None)) | None => reasons.push(format!("{name} is silent")),
            }
        }
        if ready.is_empty() && reasons.is_empty() {
            reasons.push("there is no other node".to_owned());
        }
        (ready, reasons.join(", "))
    }

    fn heir(&self, peer: &Peer, hello: &GroupHello) -> Heir {
        let file = peer.last.as_ref().map(|(_, said)| &said.file).filter(|file| **file != self.config.hash);
        Heir {
            name: peer.name.clone(),
            priority: hello.priority,
            worse: match &hello.ready {
                Ready::Degraded { reasons } => reasons.clone(),
                _ => Vec::new(),
            },
            file: file.cloned(),
        }
    }

    /// The level of this node; `None` if nothing is wrong with it.
    fn degraded(&self, group: &str) -> Option<Level> {
        let known = self.groups.iter().find(|known| known.config.name == group)?;
        match known.tracker.readiness() {
            degraded @ Readiness::Degraded { .. } => Level::of_readiness(&degraded),
            _ => None,
        }
    }
}

/// Of a node that is heard, and not of the group.
fn untold(name: &str, group: &str, is_shortened: bool) -> String {
    if is_shortened {
        format!("{name} does not say how it is for {group} (its hello has no room for all groups)")
    } else {
        format!("the file of {name} has no group {group}: the files differ")
    }
}

/// Why a node that says this should not be given what a node of this level holds, behind its name: on the same level it would serve
/// no worse, and as an equal it would not give the addresses back.
fn obstacle(hello: &GroupHello, own: Option<Level>, refused: &refusing::Refused) -> Option<String> {
    let own = own.map(|own| (own, "this node"));
    let would_refuse = || worse(hello, refused).map(|why| format!("would refuse clients: {why}"));
    unready(&hello.ready, hello.priority, own).or_else(would_refuse)
}

/// Why a node that is so ready, and advertises this, is no heir of one of this level and name.
pub(in crate::daemon) fn unready(
    ready: &Ready,
    priority: u8,
    holder: Option<(Level, &str)>,
) -> Option<String> {
    Some(match ready {
        Ready::Yes => return None,
        // It says the first reasons only; the level is all of them.
        Ready::Degraded { reasons } => match holder {
            Some((level, _)) if Level::of(priority, PeerKind::Lbctl) >= Some(level) => return None,
            Some((_, name)) => format!("is degraded, more than {name} ({})", reasons.join("; ")),
            None => format!("is degraded ({})", reasons.join("; ")),
        },
        Ready::Starting { .. } => "has just started".to_owned(),
        Ready::Leaving { reason } => format!("is leaving ({reason})"),
        Ready::Fault { reason } => format!("can't hold it ({reason})"),
    })
}

/// Why a node that is so ready takes nothing over, whoever gives it up.
fn unable(ready: &Ready) -> Option<String> {
    match ready {
        Ready::Yes | Ready::Degraded { .. } => None,
        Ready::Starting { .. } | Ready::Leaving { .. } | Ready::Fault { .. } => unready(ready, 0, None),
    }
}

/// Each once: groups have their nodes in common.
fn warn(all: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for warning in more {
        if !all.contains(&warning) {
            all.push(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_degraded_takes_what_is_given_up() {
        let reasons = vec!["backend web has no server".to_owned()];
        assert_eq!(unable(&Ready::Degraded { reasons }), None);
        assert_eq!(unable(&Ready::Yes), None);
        let reason = "drained by root".to_owned();
        assert_eq!(unable(&Ready::Fault { reason }).as_deref(), Some("can't hold it (drained by root)"));
    }

    fn said(ready: Ready, priority: u8, refuses: Option<&str>) -> GroupHello {
        GroupHello {
            name: "default".to_owned(),
            state: State::Backup,
            age_ms: 0,
            why: String::new(),
            priority,
            ready,
            announced_us: None,
            refuses: refuses.map(str::to_owned),
            refused: Vec::new(),
        }
    }

    #[test]
    fn a_node_that_is_no_worse_than_this_one_may_be_given_the_addresses() {
        let degraded = Ready::Degraded { reasons: vec!["app is down".to_owned()] };
        let drained = Ready::Fault { reason: "drained by root".to_owned() };
        let starting = Ready::Starting { reason: String::new() };
        // One degradation is 16 or 17, two are 14 or 15, eight and more are 2 or 3.
        let level = |number| {
            let reasons = vec![String::new(); number];
            Level::of_readiness(&Readiness::Degraded { reasons })
        };
        for (ready, priority, own, expected) in [
            (&Ready::Yes, 253, None, None),
            (&Ready::Yes, 253, Some(2), None),
            (&degraded, 16, None, Some("is degraded (app is down)")),
            (&degraded, 17, Some(1), None),
            (&degraded, 16, Some(2), None),
            (&degraded, 15, Some(1), Some("is degraded, more than this node (app is down)")),
            (&degraded, 2, Some(8), None),
            (&degraded, 2, Some(300), None),
            // What is no priority of a node that is there.
            (&degraded, 0, Some(8), Some("is degraded, more than this node (app is down)")),
            (&drained, 253, Some(3), Some("can't hold it (drained by root)")),
            (&starting, 2, Some(8), Some("has just started")),
        ] {
            let own_level = own.and_then(level);
            let why =
                obstacle(&said(ready.clone(), priority, None), own_level, &refusing::Refused::default());
            assert_eq!(why.as_deref(), expected, "{ready:?} {priority} and {own:?}");
        }
        let paused = said(degraded, 17, Some("frontend web is paused by root"));
        assert_eq!(
            obstacle(&paused, level(1), &refusing::Refused::default()).as_deref(),
            Some("would refuse clients: frontend web is paused by root")
        );
    }

    #[test]
    fn a_node_that_says_nothing_of_a_group_had_no_room_for_it_or_has_no_such_group() {
        let no_room = "lb2 does not say how it is for two (its hello has no room for all groups)";
        assert_eq!(untold("lb2", "two", true), no_room);
        assert_eq!(untold("lb2", "two", false), "the file of lb2 has no group two: the files differ");
    }

    #[test]
    fn who_gives_the_addresses_away_is_told_of_another_file_and_of_what_is_wrong_there_as_well() {
        let mut heir = Heir { name: "lb2".to_owned(), priority: 253, worse: Vec::new(), file: None };
        assert_eq!(heir.warnings("default", "8f31c2aa"), Vec::<String>::new());
        heir.worse = vec!["app is down".to_owned()];
        heir.file = Some("77aa01bb".to_owned());
        let mut all = Vec::new();
        for group in ["default", "default"] {
            warn(&mut all, heir.warnings(group, "8f31c2aa"));
        }
        assert_eq!(
            all,
            [
                "lb2 is degraded for group default as this node is: app is down",
                "lb2 has another file (77aa01 there, 8f31c2 here), and serves as that says"
            ]
        );
    }
}
