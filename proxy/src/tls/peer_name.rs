//! The name of a server, as a handshake needs it.

use std::{fmt, net::IpAddr, rc::Rc, str};

use rustls::pki_types::ServerName;

/// A name that is told to a server (RFC 6066 §3) and that its certificate has to have; or an address, which is told to nobody.
#[derive(Clone, Eq, PartialEq)]
pub struct PeerName(ServerName<'static>);

impl PeerName {
    /// `None` if it is neither the name of a host nor an address. In lower case, as comparisons have it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let name = ServerName::try_from(text.to_ascii_lowercase()).ok()?;
        Some(Self(name))
    }

    /// Of a server that is told no name.
    pub(crate) fn of_address(address: Option<IpAddr>) -> Self {
        // One on a Unix-domain socket is on this machine.
        Self(ServerName::IpAddress(address.unwrap_or(IpAddr::from([127, 0, 0, 1])).into()))
    }

    /// What the value of a Host field names, without its port.
    pub(crate) fn of_host(host: &[u8]) -> Option<Self> {
        let host = str::from_utf8(host).ok()?;
        let name = match host.strip_prefix('[') {
            Some(open) => open.split_once(']')?.0,
            None => host.split_once(':').map_or(host, |(name, _)| name),
        };
        Self::new(name)
    }

    pub(crate) fn for_handshake(&self) -> &ServerName<'static> {
        &self.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names that requests of a worker were sent under lately. A request whose Host was here before allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct PeerNames(Vec<Known>);

/// The value of a Host field, and what it names.
type Known = (Box<[u8]>, Option<Rc<PeerName>>);

impl PeerNames {
    /// They are forgotten when there are more.
    const MOST: usize = 256;

    /// That of the value of a Host field; `None` if it names nothing.
    pub(crate) fn of_host(&mut self, host: &[u8]) -> Option<Rc<PeerName>> {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(host));
        let at = match found {
            Ok(at) => at,
            Err(_) if self.0.len() >= Self::MOST => {
                self.0.clear();
                0
            }
            Err(at) => at,
        };
        if found.is_err() {
            self.0.insert(at, (host.into(), PeerName::of_host(host).map(Rc::new)));
        }
        self.0[at].1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_what_host_has_before_its_port() {
        for (host, expected) in [
            ("www.example.com", Some("www.example.com")),
            ("WWW.Example.com:8443", Some("www.example.com")),
            ("192.0.2.7:443", Some("192.0.2.7")),
            ("[2001:db8::7]:443", Some("2001:db8::7")),
            ("[2001:db8::7", None),
            ("", None),
            ("a b", None),
            ("-", None),
        ] {
            let name = PeerName::of_host(host.as_bytes()).map(|name| name.to_string());
            assert_eq!(name.as_deref(), expected, "{host}");
        }
        assert!(PeerName::of_host(b"\xff").is_none());
    }

    #[test]
    fn names_are_known_again_and_bounded() {
        let mut names = PeerNames::default();
        let first = names.of_host(b"a.example").unwrap();
        assert!(names.of_host(b"nothing at all").is_none());
        assert!(Rc::ptr_eq(&first, &names.of_host(b"a.example").unwrap()));
        for number in 0..2 * PeerNames::MOST {
            let host = format!("{number}.example");
            assert_eq!(names.of_host(host.as_bytes()).unwrap().to_string(), host);
            assert!(names.0.len() <= PeerNames::MOST);
        }
    }
}
