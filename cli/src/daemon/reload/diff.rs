//! What runs, against the file as it is now. Nothing is changed.

use lb_vrrp::GroupConfig;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    Refused, between,
    plan::{Plan, Running},
};
use crate::{
    config,
    control::{DiffReport, Timestamp},
    daemon::{Daemon, orders},
};

impl Daemon {
    /// The file is read on a thread for that.
    pub(in crate::daemon) fn compare(&self, reply: oneshot::Sender<Result<DiffReport, Refused>>) {
        if let Some(why) = self.no_file() {
            let _ = reply.send(Err(Refused::Now(why.to_owned())));
            return;
        }
        let (file, old, identity) = (self.file.clone(), self.config.clone(), self.identity.clone());
        let own: Vec<GroupConfig> = self.groups.iter().map(|group| group.config.clone()).collect();
        let others = self.others();
        let (path, orders) = (self.path.clone(), orders::in_force(&self.status()));
        tokio::spawn(async move {
            let compared = spawn_blocking(move || {
                let new = config::load(&file)?;
                let changes = between(&old, &new);
                let (hash, hash_of_file) = (old.hash.clone(), new.hash.clone());
                let groups: Vec<_> = own.iter().collect();
                let running = Running { config: &old, identity: &identity, groups: &groups, others: &others };
                let refused = Plan::new(running, new).err().map(|obstacles| obstacles.to_string());
                Ok(DiffReport { at: Timestamp::now(), path, hash, hash_of_file, changes, refused, orders })
            });
            let outcome = compared
                .await
                .unwrap_or_else(|error| Err(Refused::Now(format!("the file is not read: {error}"))));
            let _ = reply.send(outcome);
        });
    }
}
