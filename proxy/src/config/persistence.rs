//! How clients stay with their server.

use crate::table::Capacity;

/// The server of each client's address is remembered (HAProxy `stick on src`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stick {
    /// How many clients, and for how long after their last connection or request.
    pub capacity: Capacity,
    /// Bits of an IPv6 address that make a client, 1..=128.
    pub ipv6_prefix: u8,
}
