//! The daemon stays reachable: its folder and its control socket are made anew when somebody has removed them.

use std::fs;

use super::Daemon;

impl Daemon {
    /// To be called now and then. What can't be mended is said once, and tried again.
    pub(super) fn stay_reachable(&mut self) {
        // Somebody else has the socket by now, or will soon.
        if self.upgrade.is_some() || self.stop.is_some() {
            return;
        }
        let restored = self.socket.restore();
        // A speaker has its locks in this folder.
        if !self.runtime_dir.exists()
            && let Err(error) = fs::create_dir_all(&self.runtime_dir)
        {
            tracing::debug!(%error, folder = %self.runtime_dir.display(), "can't be made anew");
        }
        match restored {
            Ok(false) => self.unreachable = None,
            Ok(true) => {
                self.unreachable = None;
                let path = self.socket.path().display();
                tracing::warn!(%path, "the control socket was removed by somebody; it is there again");
            }
            Err(error) => {
                let why = error.to_string();
                if self.unreachable.as_ref() != Some(&why) {
                    tracing::error!(
                        "the control socket was removed by somebody, so no verb reaches this daemon: {why}. It serves on, \
                         takes signals, and tries again each second; another folder than it had is out of its reach until a \
                         restart"
                    );
                    self.unreachable = Some(why);
                }
            }
        }
    }
}
