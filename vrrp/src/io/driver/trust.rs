//! Advertisements that are sound and not signed as they should be.

use std::net::IpAddr;

use super::{Driver, Lane};
use crate::{
    Authentication, MemberId, Moment,
    advertisement::{Advertisement, DecodeError},
    io::remarks::Key,
    status::{Rejected, Untrusted},
};

impl Driver<'_> {
    /// `from` is where one came from that is dropped, or heard all the same.
    pub(super) fn distrust(
        &mut self,
        now: Moment,
        group: usize,
        id: MemberId,
        from: (IpAddr, &Advertisement),
        fault: &DecodeError,
        dropped: bool,
    ) {
        let Some(lane) = self.lanes.get_mut(group) else { return };
        let Some(member) = lane.group.config().members.get(id.0) else { return };
        let (source, advertisement) = from;
        let (vip, is_stranger) = (member.name(), lane.is_stranger(member, source));
        if !dropped && *fault == DecodeError::Unsigned {
            // As it has to be until all nodes sign.
            return lane.count("unsigned_received");
        }
        lane.count_on(id.0, if dropped { fault.counter() } else { "signature_faults_received" });
        if !is_stranger {
            lane.untrusted = Some(Untrusted { source, why: fault.to_string(), dropped, at: now });
            if dropped && !lane.is_trusted && advertisement.priority > 0 {
                lane.group.handle_untrusted(now, id, advertisement);
            }
        }
        if dropped {
            let rejected = Rejected { source, why: fault.to_string(), at: now };
            lane.group.handle_rejected(now, id, rejected);
            self.note_reject(now, group, &vip, Some(source), fault);
            // Looking at a signature costs more than any other packet.
            self.watch_flood(now, group, id, &vip);
        } else {
            let key = Key::Source { group, kind: "signature", source };
            let text = format!(
                "vip {vip}: an advertisement from {source} is heard although {fault}; the next step would drop it"
            );
            self.remark_at_times(now, key, text);
        }
    }
}

impl Lane {
    /// `before` is what it was.
    pub(super) fn authentication_changed(&mut self, before: Option<&Authentication>) {
        let secret = |one: Option<&Authentication>| one.map(|one| one.secret.clone());
        if secret(before) != secret(self.group.config().authentication.as_ref()) {
            self.is_trusted = false;
        }
        self.untrusted = None;
    }
}
