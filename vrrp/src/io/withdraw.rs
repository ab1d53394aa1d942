//! Removes the addresses of a speaker that is dead or does not move, before another node claims them.

use std::{io, net::IpAddr};

use super::netlink::requests::sweep_once;
use crate::VirtualAddress;

/// Removes whatever a speaker has installed of `addresses`, on whatever interface it is, and whoever holds it; returns what was
/// there. For the one who has made sure that no speaker goes on with them: [`super::Host::takes_over`]. Needs CAP_NET_ADMIN and a
/// tokio runtime with I/O and time.
///
/// # Errors
/// The kernel does not say which addresses there are, or does not remove one; all others are removed then.
pub async fn withdraw(addresses: &[IpAddr]) -> io::Result<Vec<VirtualAddress>> {
    sweep_once(addresses).await
}
