//! Where the logs of a file go: are those places of this machine there, and may whoever asks write there?

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use lb_proxy::config::{Config, LogDestination};
use nix::unistd::{User, geteuid};
use rustix::fs::{Access, AtFlags, CWD, accessat};

/// One sentence for each place that could not be written now.
pub(crate) fn unwritable(config: &Config) -> Vec<String> {
    let of_frontends = config.frontends.iter().flat_map(|frontend| &frontend.log.targets);
    let of_backends = config.backends.iter().flat_map(|backend| &backend.log);
    let targets = config.log.iter().chain(of_frontends).chain(of_backends);
    let problems = targets.filter_map(|target| {
        let why = match &target.to {
            LogDestination::File(path) => file(path),
            LogDestination::Unix(path) => socket(path),
            LogDestination::Udp(_)
            | LogDestination::UdpName { .. }
            | LogDestination::Stdout
            | LogDestination::Stderr => None,
        }?;
        Some(format!("the log to {} would get nothing: {why}", target.to))
    });
    problems.collect::<BTreeSet<_>>().into_iter().collect()
}

fn file(path: &Path) -> Option<String> {
    if path.exists() {
        // A fifo without a reader would keep us.
        let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
        let opened = is_file.then(|| OpenOptions::new().append(true).open(path))?;
        return opened.err().map(|error| format!("{} can't write there ({error})", own_user()));
    }
    let folder = path.parent()?;
    if !folder.is_dir() {
        return Some(format!("there is no folder {}", folder.display()));
    }
    // The rights of the effective user: `check --here` looks as the daemon does.
    let access = accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    access.is_err().then(|| format!("{} may not make files in {}", own_user(), folder.display()))
}

fn own_user() -> String {
    let id = geteuid();
    match User::from_uid(id) {
        Ok(Some(user)) => format!("user {}", user.name),
        Ok(None) | Err(_) => format!("user {id}"),
    }
}

fn socket(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_socket() => None,
        Ok(_) => Some("it is no socket".to_owned()),
        Err(_) => Some("there is no such socket; does a syslog daemon run?".to_owned()),
    }
}
