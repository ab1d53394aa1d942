//! What somebody has ordered here that would keep clients out, were this node to hold the addresses. Readiness knows nothing of
//! orders, since a pair would swing with them; but whoever gives the addresses away wants to know.

use lb_proxy::{
    config::Frontend,
    health::orders::Duty,
    status::{FrontendStatus, ServerStatus, Status},
};

use super::{Daemon, hello::message::GroupHello};
use crate::config::model::Group;

/// What is ordered of a group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Refused {
    /// The first of it, in a clause.
    pub(super) why: Option<String>,
    /// Frontends and backends, as they are called in that clause.
    pub(super) what: Vec<String>,
}

impl Daemon {
    /// To be called now and then.
    pub(super) fn note_refusals(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        let status = self.proxy.status();
        let frontends = &self.config.proxy.frontends;
        for group in &mut self.groups {
            let known = self.config.groups.iter().find(|known| known.name == group.config.name);
            group.refused = known.map(|known| refusal(known, frontends, &status)).unwrap_or_default();
        }
    }
}

/// Why clients would fare worse with a peer than here, where `own` is refused as well; a program of before does not say what it is.
pub(super) fn worse<'h>(peer: &'h GroupHello, own: &Refused) -> Option<&'h str> {
    let is_known = !peer.refused.is_empty();
    let is_here = is_known && peer.refused.iter().all(|what| own.what.contains(what));
    peer.refuses.as_deref().filter(|_| !is_here)
}

fn refusal(group: &Group, frontends: &[Frontend], status: &Status) -> Refused {
    let mut refused = Refused::default();
    let mut add = |what: String, why: &dyn Fn(&str) -> String| {
        refused.why.get_or_insert_with(|| why(&what));
        refused.what.push(what);
    };
    // Nobody is a client of the statistics.
    let is_watched = |name: &str| {
        let known = frontends.iter().find(|frontend| frontend.name == name);
        known.is_some_and(|frontend| frontend.statistics.is_some() && frontend.backends().next().is_none())
    };
    let is_of =
        |frontend: &&FrontendStatus| group.frontends.contains(&frontend.name) && !is_watched(&frontend.name);
    for frontend in status.frontends.iter().filter(is_of) {
        if let Some(pause) = &frontend.paused {
            add(format!("frontend {}", frontend.name), &|what| format!("{what} is paused by {}", pause.by));
        }
    }
    let is_out = |server: &ServerStatus| {
        server.orders.duty.as_ref().is_some_and(|duty| duty.what == Duty::Maintenance)
    };
    for backend in status.backends.iter().filter(|one| group.backends.iter().any(|of| of.name == one.name)) {
        if !backend.servers.is_empty() && backend.servers.iter().all(is_out) {
            let why = |what: &str| format!("all servers of {what} are in maintenance");
            add(format!("backend {}", backend.name), &why);
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use lb_vrrp::State;

    use super::*;
    use crate::control::Ready;

    fn refused(what: &[&str]) -> Refused {
        let what: Vec<_> = what.iter().map(|what| (*what).to_owned()).collect();
        Refused { why: what.first().map(|what| format!("{what} is paused by root")), what }
    }

    fn hello(refused: &Refused) -> GroupHello {
        GroupHello {
            name: "default".to_owned(),
            state: State::Backup,
            age_ms: 0,
            why: "started".to_owned(),
            priority: 253,
            ready: Ready::Yes,
            announced_us: None,
            refuses: refused.why.clone(),
            refused: refused.what.clone(),
        }
    }

    #[test]
    fn peer_is_worse_only_where_it_refuses_what_is_not_refused_here() {
        for (theirs, own, is_worse) in [
            (&[][..], &[][..], false),
            (&["frontend web"], &[], true),
            (&["frontend web"], &["frontend web"], false),
            (&["frontend web"], &["frontend api", "frontend web"], false),
            (&["frontend web", "frontend api"], &["frontend web"], true),
            (&[], &["frontend web"], false),
        ] {
            let (theirs, own) = (refused(theirs), refused(own));
            let why = theirs.why.clone().filter(|_| is_worse);
            assert_eq!(worse(&hello(&theirs), &own), why.as_deref(), "{theirs:?}, {own:?}");
        }
        // It does not say what.
        let before = GroupHello { refused: Vec::new(), ..hello(&refused(&["frontend web"])) };
        assert_eq!(worse(&before, &refused(&["frontend web"])), Some("frontend web is paused by root"));
    }
}
