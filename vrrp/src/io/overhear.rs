//! Listens for a while without taking part: who speaks for a virtual router?

use std::{collections::BTreeMap, io, net::IpAddr, os::fd::AsFd, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::socket::{join, open_on, receive};
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
    loop {
        let left = until.saturating_since(Moment::now());
        if left.is_zero() {
            return Ok(heard);
        }
        // Rounded up, so that the rest of a millisecond is not spun away.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let Ok(received) = receive(&socket, family, &mut packet) else { continue };
        let valid = received.unwrap(&packet).and_then(|(envelope, bytes)| {
            let (message, _) = split(bytes, envelope.source);
            Ok((envelope.source, decode(message, &envelope, &expected)?))
        });
        if let Ok((source, decoded)) = valid {
            heard.insert(source, decoded.advertisement.priority);
        }
    }
}
