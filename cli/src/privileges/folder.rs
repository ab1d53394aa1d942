//! The folders of locks, control socket and logs, for a daemon that is not root's any more.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::unistd::fchown;

use super::{EnterError, Start, account::Account};

/// Folders that are lbctl's own, whoever has made them: systemd gives them to the user of the unit, which is root.
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

/// Makes the folders that are missing and gives them to `account`, and lbctl's own with the files in them. Any other folder
/// that is there stays as it is.
pub(super) fn give(start: Start<'_>, account: &Account) -> Result<(), EnterError> {
    let own = OWN.iter().map(Path::new).filter(|folder| folder.exists());
    for folder in wanted(start).chain(own) {
        give_folder(folder, account).map_err(|error| EnterError::Folder {
            folder: folder.display().to_string(),
            user: account.name().to_owned(),
            error,
        })?;
    }
    Ok(())
}

fn give_folder(folder: &Path, account: &Account) -> io::Result<()> {
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        return Ok(fchown(open(folder)?, Some(account.user), Some(account.group))?);
    }
    let opened = open(folder)?;
    if !OWN.iter().any(|own| folder == Path::new(own)) || opened.metadata()?.uid() != 0 {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        // What cannot be opened is not given: links above all.
        let Ok(file) = open(&entry?.path()) else { continue };
        let found = file.metadata()?;
        // Who had the folder before may have put a name of another file into it.
        if found.is_file() && found.nlink() == 1 && found.uid() == 0 {
            fchown(file, Some(account.user), Some(account.group))?;
        }
    }
    Ok(fchown(opened, Some(account.user), Some(account.group))?)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}
