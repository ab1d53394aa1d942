//! How advertisements get from node to node: to everybody, or to each by its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{
    Family,
    advertisement::{DecodeError, Envelope},
};

/// RFC 9568 §5.1.1.2.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// RFC 9568 §5.1.2.2.
pub(crate) const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The TTL that everybody sends; what comes from another network has less (RFC 9568 §5.1.1.3).
const ON_LINK: u8 = 255;

/// How a member's advertisements reach the other nodes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Transport {
    /// To the group of its family, 224.0.0.18 or ff02::12. Whoever is on the link is heard.
    #[default]
    Multicast,
    /// To each other node by its address, where no multicast passes.
    Unicast(Unicast),
}

/// The nodes of a virtual router that advertises by unicast; all addresses are of its family.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unicast {
    /// Our own: the source of advertisements, on the interface of the member.
    pub source: IpAddr,
    /// Those of the other nodes, not empty: advertisements go to them, and nobody else is heard.
    pub peers: Vec<IpAddr>,
    /// 1..=255: what comes with a lower TTL or hop limit is dropped. 255 is for nodes on one link; each router between them
    /// takes 1.
    pub minimum_ttl: u8,
}

impl Transport {
    /// Where advertisements of `family` go.
    pub fn destinations(&self, family: Family) -> Vec<IpAddr> {
        match (self, family) {
            (Self::Multicast, Family::Ipv4) => vec![GROUP.into()],
            (Self::Multicast, Family::Ipv6) => vec![GROUP_IPV6.into()],
            (Self::Unicast(unicast), _) => unicast.peers.clone(),
        }
    }

    /// The nodes, if it is unicast.
    pub const fn unicast(&self) -> Option<&Unicast> {
        match self {
            Self::Multicast => None,
            Self::Unicast(unicast) => Some(unicast),
        }
    }

    /// The least TTL of a packet by unicast.
    pub(crate) fn minimum_ttl(&self) -> u8 {
        self.unicast().map_or(ON_LINK, |unicast| unicast.minimum_ttl)
    }

    /// Whether what came in this envelope is to be looked at. A node by unicast hears what its peers send to the group as well:
    /// so the nodes may change over one after the other.
    pub(crate) fn admit(&self, envelope: &Envelope) -> Result<(), DecodeError> {
        let least = if envelope.destination.is_multicast() { ON_LINK } else { self.minimum_ttl() };
        if envelope.ttl < least {
            return Err(DecodeError::Ttl { got: envelope.ttl, least });
        }
        match self.unicast() {
            Some(unicast) if !unicast.peers.contains(&envelope.source) => Err(DecodeError::NotAPeer),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether nodes of which some have `self` in their file and some `other` hear each other.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        match (self.unicast(), other.unicast()) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                let within = |a: &Unicast, b: &Unicast| a.peers.iter().all(|peer| b.peers.contains(peer));
                // A node may come or go.
                a.source == b.source && (within(a, b) || within(b, a))
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}
