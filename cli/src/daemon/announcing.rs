//! `lbctl announce`: what the speaker was told to announce, and who waits to hear what came of it.

use std::time::Duration;

use lb_vrrp::{State, io::Announced};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Daemon,
    orders::{Refused, Reply},
};
use crate::control::{AnnounceReport, Announcement};

/// For the speaker to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// See the module.
pub(super) type Waiting = Vec<oneshot::Sender<Vec<Announced>>>;

impl Daemon {
    pub(super) fn order_announce(&mut self, by: &str, reply: Reply<AnnounceReport>) {
        let possible = self.no_order_now().and_then(|()| self.holds().map_err(Refused::Now));
        let speaker = match (possible, &self.speaker) {
            (Ok(()), Some(speaker)) => speaker,
            (Err(refused), _) => return drop(reply.send(Err(refused))),
            (Ok(()), None) => {
                return drop(reply.send(Err(Refused::Now("the speaker does not run".to_owned()))));
            }
        };
        tracing::info!(by, "the addresses are announced");
        let (sender, announced) = oneshot::channel();
        self.announcing.push(sender);
        speaker.announce();
        let node = self.identity.name().to_owned();
        tokio::spawn(async move {
            let outcome = match timeout(LIMIT, announced).await {
                Ok(Ok(all)) if !all.is_empty() => {
                    Ok(AnnounceReport { node, announced: all.into_iter().map(Announcement::from).collect() })
                }
                Ok(Ok(_)) => Err("this node has just given its addresses away".to_owned()),
                Ok(Err(_)) | Err(_) => Err("the speaker did not answer; look at lbctl status".to_owned()),
            };
            let _ = reply.send(outcome.map_err(Refused::Now));
        });
    }

    pub(super) fn take_announced(&mut self, all: &[Announced]) {
        for waits in self.announcing.drain(..) {
            // Who had to wait too long has gone.
            let _ = waits.send(all.to_vec());
        }
    }

    /// Why there is nothing to announce: only the holder's word may reach the network.
    fn holds(&self) -> Result<(), String> {
        if self.groups.is_empty() {
            return Err(
                "this node has no virtual address: the file has no [vip.*], or not for this node".to_owned()
            );
        }
        if self.groups.iter().any(|group| group.state() == State::Active) {
            return Ok(());
        }
        let status = self.status();
        let mut holders: Vec<_> = status.groups.into_iter().flat_map(|group| group.holders).collect();
        holders.sort_unstable();
        holders.dedup();
        let own = self.identity.name();
        let who = match holders.as_slice() {
            [] => "nobody is known to; lbctl status says why".to_owned(),
            some => format!("ask there: {}", some.join(", ")),
        };
        Err(format!(
            "{own} does not hold the addresses, and what it announced would lead clients to it; {who}"
        ))
    }
}
