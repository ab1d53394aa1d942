//! Who would take the end of this process for the end of lbctl, and so keeps another one from taking its place
//! (`lbctl upgrade`). Under a unit of Type=notify systemd is told; a shell does not mind.

use std::{env, fs, os::unix::process::parent_id, process};

use super::RunOptions;

/// Programs that start one process, watch it, and start it anew, or end themselves, when it ends.
const WATCHERS: [&str; 10] = [
    "catatonit",
    "circusd",
    "docker-init",
    "dumb-init",
    "perpd",
    "runsv",
    "s6-supervise",
    "supervise",
    "supervisord",
    "tini",
];

/// Why this process can't be succeeded, and what to do instead. To be asked at the start: later /proc is out of reach.
pub(super) fn obstacle(options: &RunOptions) -> Option<String> {
    if process::id() == 1 {
        return Some(
            "it is process 1 of a container, which ends with it: start a container of the new image, and stop this one with \
             `lbctl stop` or SIGUSR1"
                .to_owned(),
        );
    }
    // Nobody's child by then.
    if options.take_over || options.detached {
        return None;
    }
    let own = process::id().to_string();
    if env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == own) && env::var_os("NOTIFY_SOCKET").is_none() {
        return Some(
            "its unit is not of Type=notify, so systemd would take the end of this process for that of lbctl: set \
             Type=notify and NotifyAccess=main, or systemctl restart"
                .to_owned(),
        );
    }
    let parent = fs::read_to_string(format!("/proc/{}/comm", parent_id())).ok()?;
    let parent = parent.trim_end();
    WATCHERS.contains(&parent).then(|| {
        format!(
            "{parent} watches this process and would take its end for that of lbctl: start lbctl anew there (`lbctl stop` \
             ends it in order)"
        )
    })
}
