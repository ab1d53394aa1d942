//! Are the other nodes there, and does a full packet reach them?

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Findings, Scene};

const CHECK: &str = "path";

const LIMIT: Duration = Duration::from_millis(700);

/// Headers of IPv4 and ICMP.
const HEADERS: usize = 28;

/// An ordinary ping.
const SMALL: usize = 56;

pub(super) fn look(scene: &Scene<'_>, own: Option<usize>, findings: &mut Findings) {
    let Some(own) = own else { return };
    let nodes = &scene.config.cluster.nodes;
    let here = nodes.get(own).map(|node| node.address);
    let interface =
        scene.local.iter().find(|local| Some(local.address) == here).map(|local| &local.interface);
    let mtu = interface.and_then(|name| usize::try_from(*scene.mtu_by_interface.get(name)?).ok());
    for (_, node) in nodes.iter().enumerate().filter(|(index, _)| *index != own) {
        match echo(node.address, SMALL) {
            Ok(true) => {}
            Ok(false) => {
                findings.harm(
                    CHECK,
                    format!(
                        "node {} ({}) does not answer a ping: is it on, is its address right in [cluster], and does a filter between you let \
                         ICMP through?",
                        node.name, node.address
                    ),
                );
                continue;
            }
            Err(error) => {
                findings.note(format!("whether node {} is reached could not be tried: {error}", node.name));
                continue;
            }
        }
        let Some(mtu) = mtu.filter(|mtu| (576..=9216).contains(mtu)) else { continue };
        if matches!(echo(node.address, mtu - HEADERS), Ok(false)) {
            findings.harm(
                CHECK,
                format!(
                    "{}: node {} answers a small ping and none of {mtu} bytes, which is the MTU here: give both nodes, and the switch between \
                     them, the same MTU",
                    interface.map_or("", |name| name),
                    node.name
                ),
            );
        }
    }
}

/// RFC 792: is an echo with `length` bytes answered? Two are sent, for one may be lost.
fn echo(address: IpAddr, length: usize) -> io::Result<bool> {
    if address.is_ipv6() {
        return Ok(true);
    }
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let identity = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let mut packet = vec![0; 10_000];
    for sequence in 1..=2_u16 {
        let mut message = vec![8, 0, 0, 0];
        message.extend(identity.to_be_bytes());
        message.extend(sequence.to_be_bytes());
        message.resize(8 + length, 0);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        if let Err(error) = socket.send_to(&message, &SocketAddr::new(address, 0).into()) {
            // Longer than something on the way takes, or nobody is there.
            return match error.kind() {
                io::ErrorKind::PermissionDenied => Err(error),
                _ => Ok(false),
            };
        }
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            let Ok(read) = (&socket).read(&mut packet) else { continue };
            let header = usize::from(packet[0] & 0x0f) * 4;
            let from = packet[12..16] == address_octets(address);
            if from
                && packet.get(header..read).is_some_and(|answer| {
                    answer.len() == message.len() && answer[0] == 0 && answer[4..6] == message[4..6]
                })
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn address_octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let mut sum: u32 = message
        .chunks(2)
        .map(|pair| (u32::from(pair[0]) << 8) | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
