//! What servers are told, in fields of the request, of who has sent it and what was asked for.

use std::net::IpAddr;

use crate::rules::Network;

/// See the module. That of a frontend is done before its rules run, as far as the rules do not decide who the client is: so they see what
/// servers will.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarded {
    /// Which fields are written. At least one.
    pub headers: Vec<ForwardedHeader>,
    /// Whose own lines of these are believed: ours are added behind them, or not where one is enough. Those of everybody else are removed.
    pub trust: Vec<Network>,
    /// The parameters of `Forwarded`.
    pub parameters: ForwardedParameters,
}

/// What a backend says of it. Only in mode http.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum BackendForwarded {
    /// What its frontends say.
    #[default]
    AsFrontend,
    /// Its servers are told nothing, whatever its frontends say.
    Off,
    /// This instead of what its frontends say, behind all rules.
    Own(Forwarded),
}

impl BackendForwarded {
    /// Its servers are told this.
    #[must_use]
    pub fn own(&self) -> Option<&Forwarded> {
        match self {
            Self::Own(forwarded) => Some(forwarded),
            Self::AsFrontend | Self::Off => None,
        }
    }
}

/// A field of a request that says where it comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForwardedHeader {
    /// RFC 7239: all in one.
    Forwarded,
    /// The client's address.
    For,
    /// `http` or `https`.
    Proto,
    /// The host that the client asked for.
    Host,
    /// The port that it came to.
    Port,
}

impl Forwarded {
    /// Does it say which host the client asked for?
    #[must_use]
    pub fn tells_host(&self) -> bool {
        self.headers.contains(&ForwardedHeader::Host)
            || (self.headers.contains(&ForwardedHeader::Forwarded) && self.parameters.host)
    }

    /// Are the lines of `source` believed? Of who has no address only where all addresses are.
    #[must_use]
    pub fn trusts(&self, source: Option<IpAddr>) -> bool {
        self.trust.iter().any(|network| match source {
            Some(source) => network.contains(source),
            None => network.is_all(),
        })
    }
}

impl ForwardedHeader {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Forwarded, Self::For, Self::Proto, Self::Host, Self::Port];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "Forwarded",
            Self::For => "X-Forwarded-For",
            Self::Proto => "X-Forwarded-Proto",
            Self::Host => "X-Forwarded-Host",
            Self::Port => "X-Forwarded-Port",
        }
    }
}

/// What `Forwarded` says (RFC 7239 §4), in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForwardedParameters {
    /// `http` or `https`.
    pub proto: bool,
    /// The host that the client asked for.
    pub host: bool,
    /// Where the client came to.
    pub by: Option<ForwardedNode>,
    /// With its port.
    pub by_port: bool,
    /// Where it came from.
    pub client: Option<ForwardedNode>,
    /// With its port.
    pub client_port: bool,
}

/// As HAProxy's `option forwarded` without a word more.
impl Default for ForwardedParameters {
    fn default() -> Self {
        Self {
            proto: true,
            host: false,
            by: None,
            by_port: false,
            client: Some(ForwardedNode::Address),
            client_port: false,
        }
    }
}

/// How somebody is called in `Forwarded` (RFC 7239 §6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ForwardedNode {
    /// By the address; `unknown` where there is none.
    Address,
    /// By a name that says nothing to others.
    Name(ForwardedName),
}

/// `unknown` or `_name` (RFC 7239 §6.2, §6.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForwardedName(Box<str>);

impl ForwardedName {
    /// `None` if it is no such name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_obfuscated = name.len() > 1 && name.starts_with('_') && name.bytes().all(is_of_name);
        (name == "unknown" || is_obfuscated).then(|| Self(name.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rfc_7239() {
        for name in ["unknown", "_hidden", "_SEVKISEK", "_a.b-c_d", "__"] {
            assert_eq!(ForwardedName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "_", "hidden", "Unknown", "_a b", "_a\"", "_a,for=x", "_a;b", "192.0.2.1", "_\u{e9}"]
        {
            assert_eq!(ForwardedName::new(name), None, "{name}");
        }
    }
}
