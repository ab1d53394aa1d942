//! What is only known once our file is read.

use super::{Finished, World};
use crate::{config::hidden_route, import::haproxy::section::Kind};

/// Takes `ambiguous_path` out of frontends of which no rule looks at paths; says whether there was one.
pub(in crate::import::haproxy) fn forget_idle_paths(
    finished: &mut [Finished],
    made: &lb_proxy::Config,
) -> bool {
    let looks = |name: &str| {
        let mut frontends = made.frontends.iter().filter(|frontend| frontend.name == name);
        frontends.any(|frontend| lb_proxy::rules::looks_at_path(frontend, &made.backends))
    };
    let mut gone = false;
    for one in finished.iter_mut().filter(|one| one.kind != Kind::Backend && !looks(&one.name)) {
        gone |= one.keys.take("ambiguous_path").is_some();
    }
    gone
}

/// Says where statistics take what a rule sends to a backend. They do so in HAProxy, too.
pub(in crate::import::haproxy) fn hidden_routes(
    finished: &[Finished],
    made: &lb_proxy::Config,
    world: &World<'_>,
) {
    for frontend in &made.frontends {
        let setting = finished
            .iter()
            .filter(|one| one.kind != Kind::Backend && one.name == frontend.name)
            .find_map(|one| one.keys.get("statistics"));
        if let (Some(statistics), Some(span)) = (&frontend.statistics, setting.and_then(|one| one.span))
            && let Some(message) = hidden_route(&frontend.rules, statistics)
        {
            world.notes.advise(span, message);
        }
    }
}
