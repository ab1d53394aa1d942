//! Where connections to servers come from.

use std::{fmt, net::IpAddr, ops::RangeInclusive};

/// What is said about our end of a connection to a server, of requests, checks and agents (HAProxy `source`). By default
/// the system chooses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Source {
    /// An address of this machine; a connection from one that is not on it fails. `None`: that of the way there.
    pub address: Option<IpAddr>,
    /// Its ports, 1..=65535; `None`: any that is free.
    pub ports: Option<RangeInclusive<u16>>,
    /// The interface that it leaves through, whatever the routes say (SO_BINDTODEVICE).
    pub interface: Option<String>,
}

impl Source {
    /// Does the system choose all of it?
    pub fn is_any(&self) -> bool {
        let Self { address, ports, interface } = self;
        address.is_none() && ports.is_none() && interface.is_none()
    }
}

/// `192.0.2.11`, `192.0.2.11:10000-20000 on eth1`, `eth1`; `any` if nothing is said.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, ports, interface } = self;
        match (address, ports) {
            (Some(address), None) => address.fmt(f)?,
            (Some(IpAddr::V6(address)), Some(ports)) => {
                write!(f, "[{address}]:{}-{}", ports.start(), ports.end())?;
            }
            (Some(address), Some(ports)) => write!(f, "{address}:{}-{}", ports.start(), ports.end())?,
            (None, Some(ports)) => write!(f, "ports {}-{}", ports.start(), ports.end())?,
            (None, None) if self.is_any() => f.write_str("any")?,
            (None, None) => {}
        }
        match interface {
            Some(interface) if address.is_some() || ports.is_some() => write!(f, " on {interface}"),
            Some(interface) => f.write_str(interface),
            None => Ok(()),
        }
    }
}
