//! The number of the daemon in a file, for scripts that have no service manager (`lbctl run --pidfile`).
//!
//! It is made beside its place when the daemon starts, so that what is wrong with the place is said then, and it gets its
//! name once the daemon serves: who finds it there finds a daemon that answers.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use crate::privileges;

/// Bytes of a number and what is around it.
const LONGEST: u64 = 32;

/// The file, with its name or without it yet. Dropped it is removed, unless it is [left](Self::leave) or names another process.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    unnamed: PathBuf,
    is_named: bool,
    is_left: bool,
}

/// There can't be such a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    /// Its daemon lives.
    #[error("{} names process {pid}, an lbctl that runs: stop it first, or give this one another --pidfile", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// What is in it.
        pid: i32,
    },
    /// Its folder or the file.
    #[error("can't write {}: {error}{}", path.display(), hint(error))]
    File {
        /// The file.
        path: PathBuf,
        /// Why. Not a `source`: the sentence has it already.
        error: io::Error,
    },
}

impl PidFile {
    /// Prepares the file at `path`. Who takes over another daemon replaces the number of that.
    pub(super) fn prepare(path: &Path, takes_over: bool) -> Result<Self, PidFileError> {
        let unnamed = beside(path);
        let failed = |error| PidFileError::File { path: path.to_owned(), error };
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(failed(io::Error::other("it is there and no file")));
        }
        if let Some(pid) = number_in(path).filter(|pid| !takes_over && is_daemon(*pid)) {
            return Err(PidFileError::Taken { path: path.to_owned(), pid });
        }
        let made = Self { path: path.to_owned(), unnamed, is_named: false, is_left: false };
        made.write()?;
        Ok(made)
    }

    /// Without its name yet.
    fn write(&self) -> Result<(), PidFileError> {
        let written = || {
            // Left behind by a process that had our number.
            let _ = fs::remove_file(&self.unnamed);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&self.unnamed)?;
            writeln!(file, "{}", process::id())
        };
        written().map_err(|error| PidFileError::File { path: self.path.clone(), error })
    }

    /// Puts the file in its place: the daemon serves.
    pub(super) fn name(&mut self) -> Result<(), PidFileError> {
        fs::rename(&self.unnamed, &self.path)
            .map_err(|error| PidFileError::File { path: self.path.clone(), error })?;
        self.is_named = true;
        Ok(())
    }

    /// Another process may have put its own number there, and taken it away, and does not serve after all.
    pub(super) fn restore(&mut self) -> Result<(), PidFileError> {
        if number_in(&self.path) == i32::try_from(process::id()).ok() {
            return Ok(());
        }
        self.write()?;
        self.name()
    }

    /// It is another process's by now.
    pub(super) fn leave(&mut self) {
        self.is_left = true;
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = i32::try_from(process::id()).ok();
        let path = match self.is_named {
            true if self.is_left || number_in(&self.path) != own => return,
            true => &self.path,
            false => &self.unnamed,
        };
        let _ = fs::remove_file(path);
    }
}

/// What others put there may be a pipe that nobody writes to, a link or without an end: only a short file is read.
fn number_in(path: &Path) -> Option<i32> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Is `pid` an lbctl that serves? Numbers are given again, so another program may have that of a daemon that was killed.
fn is_daemon(pid: i32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().and_then(|program| program.rsplit(|byte| *byte == b'/').next());
    program.is_some_and(|program| program.starts_with(b"lbctl")) && words.next() == Some(b"run")
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}", process::id()));
    name.into()
}

fn hint(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let user = privileges::name_of(nix::unistd::geteuid());
    format!("; user {user} makes it: choose a folder of its own, as /run/lbctl is")
}

#[cfg(test)]
mod tests {
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn number_that_the_next_process_has_put_there_in_vain_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb.pid");
        let mut own = PidFile::prepare(&path, false).unwrap();
        own.name().unwrap();
        let numbers = || fs::read_to_string(&path).unwrap();
        let before = numbers();
        // It was killed, and it ended by itself.
        fs::write(&path, "1\n").unwrap();
        own.restore().unwrap();
        assert_eq!(numbers(), before);
        fs::remove_file(&path).unwrap();
        own.restore().unwrap();
        assert_eq!(numbers(), before);
        own.restore().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        drop(own);
        assert!(!path.exists());
    }

    #[test]
    fn what_others_put_there_is_neither_waited_for_nor_read_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("link")).unwrap();
        for name in ["pipe", "link"] {
            let why = PidFile::prepare(&at(name), false).unwrap_err().to_string();
            assert!(why.ends_with("it is there and no file"), "{why}");
            assert_eq!(number_in(&at(name)), None);
        }
        fs::write(at("long"), format!("{:>40}", process::id())).unwrap();
        assert_eq!(number_in(&at("long")), None, "only the first bytes are read");
        fs::write(at("short"), format!("{}\n", process::id())).unwrap();
        assert_eq!(number_in(&at("short")), i32::try_from(process::id()).ok());
    }
}
