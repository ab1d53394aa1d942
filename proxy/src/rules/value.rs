//! What texts of a request are compared with.

use super::Pattern;

/// What a value of a header, a query parameter or a cookie is compared with, byte by byte.
#[derive(Clone, Debug)]
pub enum ValuePattern {
    /// It is there, whatever it is.
    Present,
    /// There is none of that name.
    Absent,
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// It ends with this.
    Suffix(String),
    /// This is in it.
    Contains(String),
    /// The expression matches somewhere in it.
    Regex(Pattern),
}

impl ValuePattern {
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::Contains(text) => memchr::memmem::find(value, text.as_bytes()).is_some(),
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }

    /// See [`Pattern::beginnings`].
    pub fn beginnings(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Exact(text) | Self::Prefix(text) => vec![text.clone().into_bytes()],
            Self::Regex(pattern) => pattern.beginnings(),
            Self::Present | Self::Absent | Self::Suffix(_) | Self::Contains(_) => Vec::new(),
        }
    }

    /// Does it match whatever `other` matches? False if that can't be told.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Absent, _) | (_, Self::Absent) => false,
            (Self::Present, _) => true,
            (Self::Regex(own), Self::Regex(other)) => own.source() == other.source(),
            (_, Self::Exact(text)) => self.matches(text.as_bytes()),
            (Self::Prefix(own), Self::Prefix(other)) => other.starts_with(own),
            (Self::Suffix(own), Self::Suffix(other)) => other.ends_with(own),
            (Self::Contains(own), Self::Prefix(other) | Self::Suffix(other) | Self::Contains(other)) => {
                other.contains(own)
            }
            _ => false,
        }
    }
}

/// What a path is compared with.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// It is this.
    Exact(String),
    /// It is this or below it, by whole elements, as in the Gateway API: `/admin` matches `/admin` and `/admin/x`, not
    /// `/administrator`. A `/` at the end of the pattern does not count. `/` is every path, and `*`
    /// as well, the whole server of OPTIONS.
    Prefix(String),
    /// It ends with this.
    Suffix(String),
    /// The expression matches somewhere in it.
    Regex(Pattern),
}

impl PathPattern {
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text.as_bytes(),
            Self::Prefix(text) => text == "/" || below(path, text.as_bytes()).is_some(),
            Self::Suffix(text) => path.ends_with(text.as_bytes()),
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }

    /// See [`Pattern::beginnings`].
    pub fn beginnings(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Exact(text) | Self::Prefix(text) => vec![text.clone().into_bytes()],
            Self::Regex(pattern) => pattern.beginnings(),
            Self::Suffix(_) => Vec::new(),
        }
    }

    /// Does it match whatever `other` matches? False if that can't be told.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Regex(own), Self::Regex(other)) => own.source() == other.source(),
            (_, Self::Exact(text)) => self.matches(text.as_bytes()),
            (Self::Prefix(_), Self::Prefix(other)) => self.matches(other.as_bytes()),
            (Self::Suffix(own), Self::Suffix(other)) => other.ends_with(own),
            _ => false,
        }
    }
}

/// What of `path` is below `prefix`, with its `/`; empty if it is the same. `None` if it is elsewhere.
pub(crate) fn below<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let rest = path.strip_prefix(prefix)?;
    matches!(rest.first(), None | Some(b'/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_is_made_of_whole_elements() {
        let prefix = |text: &str| PathPattern::Prefix(text.into());
        for (pattern, path) in [
            ("/admin", "/admin"),
            ("/admin", "/admin/"),
            ("/admin/", "/admin"),
            ("/admin", "/admin/x"),
            ("/", "/x"),
            ("/", "*"),
        ] {
            assert!(prefix(pattern).matches(path.as_bytes()), "{pattern} {path}");
        }
        for (pattern, path) in [("/admin", "/administrator"), ("/admin", "/x/admin"), ("/admin/a", "/admin")]
        {
            assert!(!prefix(pattern).matches(path.as_bytes()), "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_covers_only_what_it_always_matches() {
        let (prefix, exact) = (PathPattern::Prefix("/a".into()), PathPattern::Exact("/a/b".into()));
        assert!(prefix.covers(&exact) && !exact.covers(&prefix));
        assert!(prefix.covers(&PathPattern::Prefix("/a/".into())));
        assert!(!prefix.covers(&PathPattern::Suffix(".png".into())));
        let (present, value) = (ValuePattern::Present, ValuePattern::Exact("x".into()));
        assert!(present.covers(&value) && !value.covers(&present));
        assert!(ValuePattern::Contains("a".into()).covers(&ValuePattern::Prefix("ba".into())));
    }
}
