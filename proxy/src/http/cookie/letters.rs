//! What logs say of a cookie: the third and the fourth of HAProxy's letters.

/// The state of the cookie of a request, as HAProxy's logs have it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Seen {
    /// The backend has no cookie.
    #[default]
    Nothing,
    /// It was not sent.
    Absent,
    /// It names no server.
    Invalid,
    /// Its server is down, or failed.
    Down,
    /// Its server is up.
    Valid,
    /// It was not used for too long.
    Expired,
    /// It is too old.
    Old,
    /// A rule wants it ignored, or has chosen the server.
    Unused,
}

impl Seen {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Nothing => '-',
            Self::Absent => 'N',
            Self::Invalid => 'I',
            Self::Down => 'D',
            Self::Valid => 'V',
            Self::Expired => 'E',
            Self::Old => 'O',
            Self::Unused => 'U',
        }
    }
}

/// What a response did with the cookie, as HAProxy's logs have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Done {
    /// Nothing.
    Nothing,
    /// The server set it, and it was left as it is.
    Passed,
    /// The server set it, and it was taken out.
    Deleted,
    /// The client gets one.
    Inserted,
    /// The server set it, and it was changed.
    Rewritten,
    /// The client gets a new date.
    Updated,
}

impl Done {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Nothing => 'N',
            Self::Passed => 'P',
            Self::Deleted => 'D',
            Self::Inserted => 'I',
            Self::Rewritten => 'R',
            Self::Updated => 'U',
        }
    }
}
