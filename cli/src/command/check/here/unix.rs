//! `check --here`: can the Unix-domain sockets be made?

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use lb_proxy::config::{Owner, UnixBind};
use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Finding, fatal, warning};

/// What does not fit. A node that runs already (`running`) has its own sockets.
pub(super) fn check(bind: &UnixBind, frontend: &str, running: bool) -> Vec<Finding> {
    let address = &bind.address;
    let mut findings = Vec::new();
    if let Some(path) = bind.address.path() {
        let folder = path.parent().unwrap_or(Path::new("/"));
        match fs::symlink_metadata(path) {
            _ if !folder.is_dir() => findings.push(fatal(format!(
                "{address} of frontend {frontend} can't be made: there is no folder {}",
                folder.display()
            ))),
            Ok(found) if !found.file_type().is_socket() => findings.push(fatal(format!(
                "{address} of frontend {frontend} can't be made: {} exists and is no socket",
                path.display()
            ))),
            Ok(_) if is_taken(path) => {
                let who =
                    if running { "by the lbctl that runs here, or else " } else { "by another process; " };
                let message =
                    format!("{address} of frontend {frontend} is taken {who}`ss -xlp` names the process");
                findings.push(if running { warning(message) } else { fatal(message) });
            }
            Ok(_) | Err(_) => {}
        }
        if fs::metadata(folder).is_ok_and(|found| found.is_dir() && found.mode() & 0o1002 == 0o002) {
            findings.push(warning(format!(
                "everybody may put another socket in the place of {address} of frontend {frontend}: take the right to \
                 write in {} from others (chmod o-w), or set the sticky bit (chmod +t)",
                folder.display()
            )));
        }
    }
    let user = |name: &str| User::from_name(name).is_ok_and(|user| user.is_some());
    let group = |name: &str| Group::from_name(name).is_ok_and(|group| group.is_some());
    let user = unknown(bind.user.as_ref(), user).map(|name| ("user", name));
    let group = unknown(bind.group.as_ref(), group).map(|name| ("group", name));
    findings.extend([user, group].into_iter().flatten().map(|(kind, name)| {
        fatal(format!("{address} of frontend {frontend}: no {kind} is called `{name}` on this machine"))
    }));
    findings
}

/// Does anybody listen there? Not asked with a connection that would wait for a full queue.
fn is_taken(path: &Path) -> bool {
    let connected = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    connected().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true)
}

fn unknown(owner: Option<&Owner>, is_known: impl Fn(&str) -> bool) -> Option<&str> {
    match owner {
        Some(Owner::Name(name)) if !is_known(name) => Some(name),
        Some(Owner::Name(_) | Owner::Id(_)) | None => None,
    }
}
