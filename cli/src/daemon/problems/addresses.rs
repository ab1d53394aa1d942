//! Addresses that nobody holds, though somebody holds the vip: the files of the nodes differ in them.

use crate::{
    control::{Group as Report, Problem},
    daemon::{
        group::Group,
        report::{Facts, vips},
    },
};

/// Those that the holder does not advertise, and what it advertises instead.
pub(super) fn unheld(facts: &Facts<'_>, group: &Group, report: &Report) -> Option<Problem> {
    let vips: Vec<_> = report.vips.iter().filter(|vip| !vip.unheld.is_empty()).collect();
    let holder = report.holders.first().filter(|_| !vips.is_empty())?;
    let unheld = vips.iter().flat_map(|vip| &vip.unheld).cloned().collect::<Vec<_>>().join(", ");
    let names = vips.iter().map(|vip| vip.name.as_str()).collect::<Vec<_>>().join(", ");
    let members = group.status.iter().flat_map(|(_, status)| &status.members).zip(&group.config.members);
    let heard = members.filter_map(|(said, member)| vips::of_holder(facts, member, said, &report.holders));
    let instead = heard.flat_map(|heard| &heard.adds).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let instead = match instead.as_str() {
        "" => String::new(),
        instead => format!(", and has {instead} instead"),
    };
    Some(Problem {
        what: format!("nobody holds {unheld} of {names}"),
        since: None,
        look_at: format!(
            "{holder} holds {names} by another list of addresses, without these{instead}. Compare `addresses` in {} on both \
             nodes, copy the right file over the other, then: lbctl reload.",
            facts.path
        ),
    })
}
