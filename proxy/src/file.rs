//! Files that a configuration names, and the configuration itself: read whole, and nobody waits for ever.
//!
//! Opening a pipe waits for somebody to write, and a device has no end: neither is opened. A file system that does not answer is
//! waited for only so long.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use nix::unistd::{AccessFlags, User, access, geteuid};
use zeroize::Zeroizing;

use crate::patience::{self, LIMIT};

/// Why a file is not read: the end of a sentence that begins with its name.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("does not exist")]
    Missing,
    /// This user may not.
    #[error("may not be read by user {0}")]
    NoRight(String),
    /// This user may, and this process may not.
    #[error(
        "is out of reach: user {0} may read it, but the running lbctl does not read there (Landlock); restart it, or put the \
         file elsewhere, in /etc for instance"
    )]
    OutOfReach(String),
    /// Whoever opens it waits for somebody who writes.
    #[error("is a pipe, not a file")]
    Pipe,
    /// A folder, a device or a socket.
    #[error("is {0}, not a file")]
    NoFile(&'static str),
    /// Larger than the caller wants.
    #[error("is too large")]
    TooLarge,
    /// [`patience::LIMIT`] is over.
    #[error("can't be read within {} s; does its file system still answer?", LIMIT.as_secs())]
    Hangs,
    /// The system says so.
    #[error("can't be read: {0}")]
    Failed(io::Error),
}

/// The content of the file at `path`, of at most `largest` bytes.
///
/// # Errors
/// It is no file, or it can't be read, or not in time.
pub fn read(path: &Path, largest: u64) -> Result<Vec<u8>, ReadError> {
    read_secret(path, largest).map(|mut content| std::mem::take(&mut *content))
}

/// The same of a file with a secret in it: wherever its content was on the way, it is overwritten.
///
/// # Errors
/// As of [`read`].
pub fn read_secret(path: &Path, largest: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let own = path.to_owned();
    patience::within(&path.to_string_lossy(), move || read_now(&own, largest))?
}

/// The names of what is in the folder at `path`, sorted; those that are no UTF-8 are left out.
///
/// # Errors
/// It is no folder, or it can't be read, or not in time.
pub fn list(path: &Path) -> Result<Vec<String>, ReadError> {
    let own = path.to_owned();
    patience::within(&path.to_string_lossy(), move || {
        let entries = fs::read_dir(&own).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied if access(&own, AccessFlags::R_OK).is_ok() => {
                ReadError::OutOfReach(own_user())
            }
            _ => error.into(),
        })?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    })?
}

/// `error` of making or opening the file at `path` to write: says what helps if this user may, and this process may not.
pub(crate) fn with_reach(path: &Path, error: io::Error) -> io::Error {
    let target = if path.exists() { Some(path) } else { path.parent() };
    // access(2) goes by the rights of files alone.
    let may = || target.is_some_and(|target| access(target, AccessFlags::W_OK).is_ok());
    if error.kind() == io::ErrorKind::PermissionDenied && may() {
        return io::Error::other(
            "out of reach since lbctl was started (Landlock): restart it, or choose /run for a socket, /var/log for a log, or a \
             folder that its file named then",
        );
    }
    error
}

fn read_now(path: &Path, largest: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    check(&fs::metadata(path)?)?;
    // Something else may be there by now, so it is neither waited for nor trusted.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| match error.kind() {
        // access(2) goes by the rights of files alone.
        io::ErrorKind::PermissionDenied if access(path, AccessFlags::R_OK).is_ok() => {
            ReadError::OutOfReach(own_user())
        }
        _ => error.into(),
    })?;
    let found = file.metadata()?;
    check(&found)?;
    let largest = usize::try_from(largest).unwrap_or(usize::MAX - 1);
    let expected = usize::try_from(found.len()).unwrap_or(usize::MAX).min(largest);
    let bytes = read_all(file, expected, largest)?;
    if bytes.len() > largest { Err(ReadError::TooLarge) } else { Ok(bytes) }
}

/// Up to one byte more than `largest`. What has the `expected` length is read into one piece of memory, which has room for a byte
/// more to see the end; where there is more, the smaller piece is overwritten once its content was moved.
fn read_all(mut source: impl Read, expected: usize, largest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; expected + 1]);
    let mut length = 0;
    loop {
        match source.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if length == bytes.len() {
            let mut larger = Zeroizing::new(vec![0; length.saturating_mul(2).min(largest + 1)]);
            larger[..length].copy_from_slice(&bytes);
            bytes = larger;
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn check(found: &Metadata) -> Result<(), ReadError> {
    let kind = found.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_fifo() {
        Err(ReadError::Pipe)
    } else if kind.is_dir() {
        Err(ReadError::NoFile("a folder"))
    } else if kind.is_socket() {
        Err(ReadError::NoFile("a socket"))
    } else {
        Err(ReadError::NoFile("a device"))
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::NoRight(own_user()),
            io::ErrorKind::TimedOut => Self::Hangs,
            _ => Self::Failed(error),
        }
    }
}

/// Name or number of the user as whom files are read.
fn own_user() -> String {
    let user = geteuid();
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn what_would_be_waited_for_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink(at("pipe"), at("link")).unwrap();
        let told = |path: &Path| read(path, 10).unwrap_err().to_string();
        assert_eq!(told(&at("pipe")), "is a pipe, not a file");
        assert_eq!(told(&at("link")), "is a pipe, not a file");
        assert_eq!(told(&at("socket")), "is a socket, not a file");
        assert_eq!(told(Path::new("/dev/zero")), "is a device, not a file");
        assert_eq!(told(folder.path()), "is a folder, not a file");
        assert_eq!(told(&at("missing")), "does not exist");
    }

    /// Memory that grows leaves copies of a key behind.
    #[test]
    fn file_is_read_into_memory_that_does_not_grow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for length in [0, 1, 33, 5000] {
            let content = vec![7; length];
            fs::write(&path, &content).unwrap();
            let read = read_secret(&path, 64 * 1024).unwrap();
            assert_eq!((&**read, read.capacity()), (&*content, length + 1));
        }
        // One that grows meanwhile, and one that ends early.
        let content: Vec<u8> = (0..=255).collect();
        for (expected, largest) in [(0, 256), (7, 256), (255, 256), (256, 256), (256, 1000)] {
            let read = read_all(&*content, expected, largest).unwrap();
            assert_eq!(**read, *content, "{expected} of {largest}");
        }
        for expected in [0, 99, 100] {
            assert_eq!(read_all(&*content, expected, 100).unwrap().len(), 101, "beyond what is wanted");
        }
    }

    #[test]
    fn largest_file_is_read_and_a_byte_more_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read(&path, 9).unwrap_err().to_string(), "is too large");
    }
}
