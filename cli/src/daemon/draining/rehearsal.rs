//! `lbctl switchover --dry-run`: who would take what, by what the others say once it was asked. What they said before may be of a
//! node that is frozen by now.

use std::time::Duration;

use lb_vrrp::Moment;

use crate::{
    control::{Moved, SwitchoverReport, SwitchoverRequest},
    daemon::{
        Daemon,
        orders::{Refused, Reply},
    },
    output::age::fine_age,
};

/// For the other node to say hello, which it does each second.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Somebody waits for the answer.
#[derive(Debug)]
pub(in crate::daemon) struct Rehearsal {
    request: SwitchoverRequest,
    reply: Reply<SwitchoverReport>,
    begun: Moment,
}

impl Rehearsal {
    /// When it wants to be looked at.
    pub(in crate::daemon) fn poll_timeout(&self) -> Moment {
        self.begun + PATIENCE
    }
}

impl Daemon {
    pub(super) fn begin_rehearsal(
        &mut self,
        begun: Moment,
        request: SwitchoverRequest,
        reply: Reply<SwitchoverReport>,
    ) {
        self.rehearsals.push(Rehearsal { request, reply, begun });
    }

    pub(in crate::daemon) fn settle_rehearsals(&mut self, now: Moment) {
        for rehearsal in std::mem::take(&mut self.rehearsals) {
            match self.rehearse(now, &rehearsal) {
                // Who asked may have gone away.
                Some(outcome) => drop(rehearsal.reply.send(outcome)),
                None => self.rehearsals.push(rehearsal),
            }
        }
    }

    /// `None`: it waits for a node to say how it is.
    fn rehearse(&self, now: Moment, rehearsal: &Rehearsal) -> Option<Result<SwitchoverReport, Refused>> {
        let Rehearsal { request, begun, .. } = rehearsal;
        let (mut groups, warnings) = match self.may_switch(request) {
            Ok(found) => found,
            Err(refused) => return Some(Err(refused)),
        };
        let late = |moved: &Moved| moved.to.as_deref().and_then(|to| self.unheard(to, *begun, now));
        if groups.iter().any(|moved| late(moved).is_some()) && now < rehearsal.poll_timeout() {
            return None;
        }
        for moved in &mut groups {
            let Some(passed) = late(moved) else { continue };
            let to = moved.to.take().unwrap_or_default();
            if !request.force {
                return Some(Err(Refused::Now(format!(
                    "{to} was ready to take over group {}, and has said nothing for {}: is it still there?",
                    moved.group,
                    fine_age(passed)
                ))));
            }
        }
        let milliseconds = u64::try_from(now.saturating_since(*begun).as_millis()).unwrap_or(u64::MAX);
        let node = self.identity.name().to_owned();
        Some(Ok(SwitchoverReport {
            node,
            dry_run: true,
            milliseconds,
            cut: 0,
            unanswered: 0,
            groups,
            warnings,
        }))
    }

    /// How long it is that a node has said hello, if it has not done so since `begun`.
    fn unheard(&self, name: &str, begun: Moment, now: Moment) -> Option<Duration> {
        let session = self.neighbours.as_ref()?.session();
        let peer = session.peers().iter().find(|peer| peer.name == name)?;
        let heard = peer.last.as_ref().map(|(at, _)| *at).filter(|at| *at < begun)?;
        Some(now.saturating_since(heard))
    }
}
