//! Which responses are compressed on their way to clients. The defaults are those of a file that asks for it and says no
//! more.

/// How responses are compressed (HAProxy `compression`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compression {
    /// In the order of preference where a client takes several alike; not empty.
    pub algorithms: Vec<Algorithm>,
    /// Content of these types is compressed.
    pub types: Vec<MediaRange>,
    /// Content that is known to have fewer bytes is not.
    pub minimum_size: u64,
    /// 1 (fast) to 9 (small).
    pub level: u8,
    /// A server is not told that the client takes a compressed response, if it is compressed here.
    pub offload: bool,
}

impl Compression {
    /// Types that are compressed by default: text in a wider sense.
    pub const TYPES: &[&str] = &[
        "text/*",
        "application/atom+xml",
        "application/javascript",
        "application/json",
        "application/ld+json",
        "application/manifest+json",
        "application/problem+json",
        "application/rss+xml",
        "application/wasm",
        "application/xhtml+xml",
        "application/xml",
        "font/otf",
        "font/ttf",
        "image/svg+xml",
    ];
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Gzip],
            types: Self::TYPES.iter().filter_map(|text| MediaRange::parse(text)).collect(),
            minimum_size: 1000,
            level: 1,
            offload: false,
        }
    }
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Deflate,
}

impl Algorithm {
    /// Its name in HTTP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// Media types that begin alike (RFC 9110 section 12.5.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MediaRange {
    /// `*/*`: all but multipart, and what has no type.
    Any,
    /// `text/*`; kept as `text/`, in lower case.
    Type(Box<str>),
    /// `text/html`, in lower case.
    Exact(Box<str>),
}

impl MediaRange {
    /// `None` if it is neither a type without parameters nor a range of types.
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |token: &str| crate::http::head::is_token(token.as_bytes());
        let (kind, subtype) = text.split_once('/')?;
        match (kind, subtype) {
            ("*", "*") => Some(Self::Any),
            (kind, subtype) if kind.contains('*') || !is_token(kind) || !is_token(subtype) => None,
            (kind, "*") => Some(Self::Type(format!("{}/", kind.to_ascii_lowercase()).into())),
            (_, subtype) if subtype.contains('*') => None,
            _ => Some(Self::Exact(text.to_ascii_lowercase().into())),
        }
    }

    /// Is a type in it? As a `Content-Type` line has it, with or without parameters.
    pub(crate) fn has(&self, content_type: &[u8]) -> bool {
        let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let begins_with =
            |start: &[u8]| essence.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
        match self {
            Self::Any => !begins_with(b"multipart/"),
            Self::Type(start) => begins_with(start.as_bytes()),
            Self::Exact(known) => essence.eq_ignore_ascii_case(known.as_bytes()),
        }
    }
}

impl std::fmt::Display for MediaRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*/*"),
            Self::Type(start) => write!(f, "{start}*"),
            Self::Exact(known) => f.write_str(known),
        }
    }
}

/// What a backend says of the compression of its responses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum BackendCompression {
    /// Nothing: that is a matter of the frontend.
    #[default]
    AsFrontend,
    /// None of them, whatever the frontend says.
    Off,
    /// So, whatever the frontend says.
    Own(Compression),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_without_case_and_parameters() {
        for (range, content_type, expected) in [
            ("text/html", "Text/HTML ; charset=utf-8", true),
            ("text/html", "text/html5", false),
            ("text/html", "text", false),
            ("Text/*", "TEXT/plain", true),
            ("text/*", "text", false),
            ("text/*", "application/text", false),
            ("*/*", "image/png", true),
            ("*/*", "Multipart/mixed; boundary=a", false),
            ("multipart/mixed", "multipart/mixed; boundary=a", true),
        ] {
            let range = MediaRange::parse(range).unwrap();
            assert_eq!(range.has(content_type.as_bytes()), expected, "{range} {content_type}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "text", "text/", "/html", "*", "*/html", "te*/html", "text/ht*", "text/html; a=b", "a/b/c"]
        {
            assert_eq!(MediaRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn default_types_are_all_ranges() {
        assert_eq!(Compression::default().types.len(), Compression::TYPES.len());
    }
}
