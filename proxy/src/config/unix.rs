//! Unix-domain sockets: where servers and listeners are that no network reaches.

use std::{fmt, path::Path, sync::Arc};

use socket2::SockAddr;

use super::AcceptProxy;

/// The address of a Unix-domain socket: a path, or a name of the abstract namespace, which is in no folder (unix(7)).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UnixAddress(Arc<str>);

/// A text is no address of a Unix-domain socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnixAddressError {
    /// It depends on the folder in which the process was started.
    #[error("is no absolute path; it begins with `/`, or with `@` for a name that is no file")]
    Relative,
    /// A folder, or nothing behind the `@`.
    #[error("names no socket")]
    Empty,
    /// The kernel takes [`UnixAddress::LONGEST`].
    #[error("has {0} bytes; the address of a Unix socket has at most {longest}", longest = UnixAddress::LONGEST)]
    TooLong(usize),
    /// The kernel would read it to there only.
    #[error("has a NUL in it")]
    Nul,
}

impl UnixAddress {
    /// Bytes (`sun_path`, without its NUL).
    pub const LONGEST: usize = 107;

    /// From `/run/app.sock` or `@app`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(text: &str) -> Result<Self, UnixAddressError> {
        if !text.starts_with(['/', '@']) {
            return Err(UnixAddressError::Relative);
        }
        if text == "@" || text.ends_with('/') {
            return Err(UnixAddressError::Empty);
        }
        if text.contains('\0') {
            return Err(UnixAddressError::Nul);
        }
        if text.len() > Self::LONGEST {
            return Err(UnixAddressError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its file; `None` for a name of the abstract namespace.
    pub fn path(&self) -> Option<&Path> {
        self.0.starts_with('/').then(|| Path::new(&*self.0))
    }

    /// As the kernel has it.
    ///
    /// # Errors
    /// None for a value of this type; the caller need not know that.
    pub(crate) fn to_socket(&self) -> std::io::Result<SockAddr> {
        match self.0.strip_prefix('@') {
            Some(name) => SockAddr::unix(format!("\0{name}")),
            None => SockAddr::unix(&*self.0),
        }
    }
}

/// `unix:/run/app.sock`
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0)
    }
}

/// A listening Unix-domain socket that this process makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnixBind {
    /// Where.
    pub address: UnixAddress,
    /// Its file's, 0..=0o777; `None` leaves it to the umask.
    pub mode: Option<u32>,
    /// Whose the file is; `None`: that of the process.
    pub user: Option<Owner>,
    /// Its group; `None`: that of the process.
    pub group: Option<Owner>,
    /// Whose connections begin with a PROXY header; `None`: nobody's.
    pub accept_proxy: Option<AcceptProxy>,
}

/// A user or a group.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Owner {
    /// Known to the machine by this name.
    Name(String),
    /// Its number.
    Id(u32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl UnixBind {
    /// Room that the name needs under which a socket is made before it gets its own, in bytes.
    pub const TEMPORARY: usize = 12;
}

impl From<UnixAddress> for UnixBind {
    fn from(address: UnixAddress) -> Self {
        Self { address, mode: None, user: None, group: None, accept_proxy: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_names_of_at_most_107_bytes() {
        let name = |length: usize| format!("/{}", "x".repeat(length - 1));
        for (text, expected) in [
            ("/run/app.sock", Ok(())),
            ("@app", Ok(())),
            (&name(107), Ok(())),
            (&name(108), Err(UnixAddressError::TooLong(108))),
            ("app.sock", Err(UnixAddressError::Relative)),
            ("", Err(UnixAddressError::Relative)),
            ("/run/", Err(UnixAddressError::Empty)),
            ("@", Err(UnixAddressError::Empty)),
            ("/run/a\0b", Err(UnixAddressError::Nul)),
        ] {
            assert_eq!(UnixAddress::new(text).map(|_| ()), expected, "{text:?}");
        }
        assert!(UnixAddress::new(&name(107)).unwrap().to_socket().is_ok());
        let abstract_name = UnixAddress::new(&format!("@{}", "x".repeat(106))).unwrap();
        assert_eq!(abstract_name.path(), None);
        assert!(abstract_name.to_socket().is_ok());
    }
}
