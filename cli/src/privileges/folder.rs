//! The folders of locks, control socket and logs, for a daemon that is not root's any more.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::fchown,
};

use super::{EnterError, Start, account::Account};
use crate::config::Config;

/// Folders that are lbctl's own, whoever has made them: systemd gives them to the user of the unit, which is root, and an
/// earlier start may have given them to a user that the file no longer names.
const OWN: [&str; 2] = ["/run/lbctl", "/var/log/lbctl"];

/// Makes the folders that are missing: what is not there can't be let in.
pub(super) fn make(start: Start<'_>) {
    for folder in wanted(start) {
        // Whoever needs it says why it can't be had.
        let _ = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    }
}

fn wanted(start: Start<'_>) -> impl Iterator<Item = &Path> {
    let both = [Some(start.runtime_dir), start.control.parent()];
    both.into_iter().flatten().filter(|folder| !folder.as_os_str().is_empty())
}

/// Makes the folders of locks and control socket that are missing and gives them to `account`; and of lbctl's own folders
/// those that this process uses, with the files in them. Any other folder that is there stays as it is.
pub(super) fn give(config: &Config, start: Start<'_>, account: &Account) -> Result<(), EnterError> {
    let logs = config.log_files().filter_map(Path::parent).filter(|folder| is_own(folder) && folder.exists());
    for folder in wanted(start).chain(logs) {
        give_folder(folder, account, start.takes_over).map_err(|error| EnterError::Folder {
            folder: folder.display().to_string(),
            user: account.name().to_owned(),
            error,
        })?;
    }
    Ok(())
}

fn is_own(folder: &Path) -> bool {
    OWN.iter().any(|own| folder == Path::new(own))
}

fn give_folder(folder: &Path, account: &Account, takes_over: bool) -> io::Result<()> {
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        return Ok(fchown(open(folder)?, Some(account.user), Some(account.group))?);
    }
    let opened = open(folder)?;
    let before = opened.metadata()?.uid();
    if !is_own(folder) || before == account.user.as_raw() {
        return Ok(());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        // What cannot be opened is not given: links above all.
        let Ok(file) = open(&entry?.path()) else { continue };
        let found = file.metadata()?;
        // Who had the folder before may have put a name of another file into it.
        if found.is_file() && found.nlink() == 1 && [0, before].contains(&found.uid()) {
            files.push(file);
        }
    }
    // Another lbctl, which is left what it needs: this one says what it can't have.
    if !takes_over && files.iter().any(is_locked) {
        return Ok(());
    }
    for file in files {
        fchown(file, Some(account.user), Some(account.group))?;
    }
    Ok(fchown(opened, Some(account.user), Some(account.group))?)
}

/// Does somebody hold a lock on it?
fn is_locked(file: &File) -> bool {
    let again = file.try_clone();
    again.is_ok_and(|file| {
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
    })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}
