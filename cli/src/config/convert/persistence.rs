//! How clients stay with their server, and what one of them may do.

use std::{num::NonZeroU32, time::Duration};

use lb_proxy::{
    config::Stick,
    table::{Capacity, SourceLimits},
};

use super::backend::value;
use crate::config::raw::Section;

/// Clients that are remembered, unless the file says how many.
const SIZE: NonZeroU32 = NonZeroU32::new(100_000).expect("is not 0");
const EXPIRE: Duration = Duration::from_secs(1_800);

/// What a household or a virtual machine has.
const IPV6_PREFIX: u8 = 64;

pub(super) fn stick(section: &Section, defaults: &Section) -> Option<Stick> {
    let raw = value(&section.stick, &defaults.stick)?;
    let capacity = Capacity { size: size(raw.size), expire: raw.expire.unwrap_or(EXPIRE) };
    Some(Stick { capacity, ipv6_prefix: raw.ipv6_prefix.unwrap_or(IPV6_PREFIX) })
}

pub(super) fn per_source(section: &Section, defaults: &Section) -> Option<SourceLimits> {
    let raw = value(&section.per_source, &defaults.per_source)?;
    Some(SourceLimits {
        connections: raw.connections.and_then(NonZeroU32::new),
        connection_rate: raw.connection_rate,
        size: size(raw.size),
        ipv6_prefix: raw.ipv6_prefix.unwrap_or(IPV6_PREFIX),
    })
}

fn size(raw: Option<u32>) -> NonZeroU32 {
    raw.and_then(NonZeroU32::new).unwrap_or(SIZE)
}
