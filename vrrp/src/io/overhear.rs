//! Listens for a while without taking part: who speaks for a virtual router?

use std::{collections::BTreeMap, io, net::IpAddr, time::Duration};

use super::socket::{join, open_on, receive, wait_readable};
use crate::{
    MemberConfig, Moment, Transport,
    advertisement::{Expected, decode},
    authentication::split,
};

/// Sources of valid advertisements for a virtual router on an interface within `limit`, each with the priority of its last one. Of
/// version 2 only those of the same interval and password are valid. Blocks for `limit`; sends nothing but the membership of the group.
///
/// # Errors
/// No right to a raw socket (CAP_NET_RAW), or no such interface.
pub fn overhear(
    interface: &str,
    index: u32,
    member: &MemberConfig,
    limit: Duration,
) -> io::Result<BTreeMap<IpAddr, u8>> {
    let family = member.family();
    let socket = open_on(interface, (member.vrid, family))?;
    join(&socket, index, family)?;
    // Strangers are what it is about.
    let expected = [Expected { transport: &Transport::Multicast, ..member.expected() }];
    let until = Moment::now() + limit;
    let mut heard = BTreeMap::new();
    let mut packet = [0; 2_048];
    while wait_readable(&socket, until)? {
        let Ok(received) = receive(&socket, family, &mut packet) else { continue };
        let valid = received.unwrap(&packet).and_then(|(envelope, bytes)| {
            let (message, _) = split(bytes, envelope.source);
            Ok((envelope.source, decode(message, &envelope, &expected)?))
        });
        if let Ok((source, decoded)) = valid {
            heard.insert(source, decoded.advertisement.priority);
        }
    }
    Ok(heard)
}
