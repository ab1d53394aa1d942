//! The advertisement and its codec (RFC 9568 §5.2, RFC 3768 §5.3).

use std::{net::IpAddr, time::Duration};

use crate::{Version, Vrid};

/// A decoded advertisement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advertisement {
    /// 2 or 3.
    pub version: Version,
    /// The virtual router.
    pub vrid: Vrid,
    /// 0 resigns, 1..=254 compete, 255 owns.
    pub priority: u8,
    /// The sender's interval.
    pub interval: Duration,
    /// In the order of the wire.
    pub addresses: Vec<IpAddr>,
}
