//! How clients stay with their server.

use std::time::Duration;

use crate::table::Capacity;

/// The server of each client's address is remembered (HAProxy `stick on src`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stick {
    /// How many clients, and for how long after their last connection or request.
    pub capacity: Capacity,
    /// Bits of an IPv6 address that make a client, 1..=128.
    pub ipv6_prefix: u8,
}

/// A cookie names each client's server (HAProxy `cookie`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cookie {
    /// A token (RFC 6265 §4.1.1).
    pub name: String,
    /// Who makes it.
    pub mode: CookieMode,
    /// Not set again for a client that has it; with [`CookieMode::Insert`] servers never see it.
    pub indirect: bool,
    /// Responses that set it are kept out of shared caches.
    pub nocache: bool,
    /// Only responses to POST set it.
    pub postonly: bool,
    /// One that the server sets itself is left alone.
    pub preserve: bool,
    /// The attribute.
    pub httponly: bool,
    /// The attribute.
    pub secure: bool,
    /// The attribute.
    pub same_site: Option<SameSite>,
    /// The attribute.
    pub domain: Option<String>,
    /// One that was not renewed for so long is ignored; in steps of 4 s.
    pub maxidle: Option<Duration>,
    /// One whose client got its first so long ago is ignored; in steps of 4 s.
    pub maxlife: Option<Duration>,
}

/// Who makes the cookie.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CookieMode {
    /// We do, in each response whose client has none or another.
    #[default]
    Insert,
    /// The server does, with any value; ours takes its place.
    Rewrite,
    /// The server does; our value goes in front of its own, and is taken away again in requests.
    Prefix,
    /// The server does, with the value that its configuration here has.
    Passive,
}

/// The attribute SameSite (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SameSite {
    /// Only with requests of the same site.
    Strict,
    /// Also when a link leads here.
    Lax,
    /// Always; browsers want `secure` with it.
    None,
}

impl Cookie {
    /// One that is inserted, with no option.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: CookieMode::Insert,
            indirect: false,
            nocache: false,
            postonly: false,
            preserve: false,
            httponly: false,
            secure: false,
            same_site: None,
            domain: None,
            maxidle: None,
            maxlife: None,
        }
    }
}
