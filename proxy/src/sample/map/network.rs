//! Networks, of which the one with the longest prefix has an address.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

/// Networks of both families, each with an index. A lookup costs one probe for each prefix length that occurs.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks {
    v4: Family,
    v6: Family,
}

/// Addresses as numbers whose first bit is the highest of the 128.
#[derive(Clone, Debug, Default)]
struct Family {
    networks: HashMap<(u128, u8), usize>,
    /// The longest first.
    lengths: Vec<u8>,
}

impl Networks {
    /// Adds `192.0.2.0/24`, `2001:db8::/32` or an address; the index of the same network if there is one already.
    pub(super) fn add(&mut self, text: &str, index: usize) -> Result<Option<usize>, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let no_network = || {
            let text: String = text.chars().take(60).collect();
            let text = text.escape_debug();
            format!("`{text}` is no network; write it as in 192.0.2.0/24 or 2001:db8::/32")
        };
        let address: IpAddr = address.parse().map_err(|_| no_network())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => {
                length.parse().ok().filter(|length: &u8| *length <= most).ok_or_else(no_network)?
            }
            None => most,
        };
        let (family, bits) = self.family(address);
        let network = masked(bits, length);
        if network != bits {
            let first = match address {
                IpAddr::V4(_) => IpAddr::V4(u32::try_from(network >> 96).unwrap_or(0).into()),
                IpAddr::V6(_) => IpAddr::V6(network.into()),
            };
            return Err(format!(
                "`{text}` has bits beyond its prefix; write {first}/{length} or the address alone"
            ));
        }
        match family.networks.entry((network, length)) {
            Entry::Occupied(other) => return Ok(Some(*other.get())),
            Entry::Vacant(free) => free.insert(index),
        };
        if let Err(place) = family.lengths.binary_search_by(|known| length.cmp(known)) {
            family.lengths.insert(place, length);
        }
        Ok(None)
    }

    /// The index of the network with the longest prefix that has `address`; an IPv4 address may be written as IPv6.
    pub(super) fn find(&self, address: IpAddr) -> Option<usize> {
        let (family, bits) = match address.to_canonical() {
            IpAddr::V4(address) => (&self.v4, u128::from(u32::from(address)) << 96),
            IpAddr::V6(address) => (&self.v6, u128::from(address)),
        };
        let found = |&length: &u8| family.networks.get(&(masked(bits, length), length)).copied();
        family.lengths.iter().find_map(found)
    }

    fn family(&mut self, address: IpAddr) -> (&mut Family, u128) {
        match address {
            IpAddr::V4(address) => (&mut self.v4, u128::from(u32::from(address)) << 96),
            IpAddr::V6(address) => (&mut self.v6, u128::from(address)),
        }
    }
}

fn masked(bits: u128, length: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}
