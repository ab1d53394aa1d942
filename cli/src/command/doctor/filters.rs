//! Do advertisements pass the filters of this machine?
//!
//! A multicast packet comes back to the machine that sends it, through the same rules as those of others. With a time to live of 0
//! it goes nowhere else. Its vrid is 0, which nobody has.

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    process::Command,
    time::{Duration, Instant},
};

use lb_vrrp::{Family, VRRP_PROTOCOL};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{Findings, Scene};
use crate::interfaces::LocalAddress;

const CHECK: &str = "firewall";

const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// A packet comes back at once, or never.
const LIMIT: Duration = Duration::from_millis(300);

pub(super) fn look(scene: &Scene<'_>, findings: &mut Findings) {
    let mut seen = Vec::new();
    for (_, member, interface, index) in scene.members() {
        let family = member.family();
        if member.transport.unicast().is_some() || seen.contains(&(interface, family)) {
            continue;
        }
        seen.push((interface, family));
        match comes_back(interface, index, family, scene.local) {
            Ok(true) => {}
            Ok(false) => {
                let (group, word) = match family {
                    Family::Ipv4 => (IpAddr::V4(GROUP_IPV4), "ip"),
                    Family::Ipv6 => (IpAddr::V6(GROUP_IPV6), "ip6"),
                };
                findings.fatal(
                    CHECK,
                    format!(
                        "{interface}: protocol {VRRP_PROTOCOL} to {group} is dropped on this machine{}: each node would take the addresses. \
                         Let it in and out: nft insert rule inet filter input {word} daddr {group} meta l4proto {VRRP_PROTOCOL} accept (output \
                         likewise), or {}tables -I INPUT -p {VRRP_PROTOCOL} -j ACCEPT (OUTPUT likewise)",
                        culprits(),
                        word
                    ),
                );
            }
            Err(error) => findings.note(format!(
                "whether advertisements pass the filters on {interface} could not be tried: {error}"
            )),
        }
    }
}

/// Where rules are that drop, as far as that can be seen.
fn culprits() -> String {
    let listed = Command::new("nft").args(["list", "ruleset"]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let chains = dropping_chains(&text);
    if chains.is_empty() { String::new() } else { format!(" (nftables: {})", chains.join(", ")) }
}

/// `inet filter input`, for each chain at input or output that drops something.
fn dropping_chains(ruleset: &str) -> Vec<String> {
    let (mut table, mut chain, mut is_base, mut found) = (String::new(), String::new(), false, Vec::new());
    for line in ruleset.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches('{').trim().to_owned();
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches('{').trim().to_owned();
            is_base = false;
        }
        is_base |= ["hook input", "hook output", "hook prerouting", "hook postrouting"]
            .iter()
            .any(|hook| line.contains(hook));
        let name = format!("{table} {chain}");
        let drops = line.split([' ', ';']).any(|word| word == "drop" || word == "reject");
        if is_base && drops && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn comes_back(interface: &str, index: u32, family: Family, local: &[LocalAddress]) -> io::Result<bool> {
    let domain = if family == Family::Ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(VRRP_PROTOCOL))))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        Ok(socket)
    };
    let (receiver, sender) = (open()?, open()?);
    receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
    let token: [u8; 8] = Instant::now().elapsed().as_nanos().to_be_bytes()[8..].try_into().unwrap_or([0; 8]);
    let token = token.map(|byte| byte ^ 0x5a);
    let mut message = vec![0x31, 0, 0, 0, 0, 0, 0, 0];
    message.extend(token);
    let group: SocketAddr = match family {
        Family::Ipv4 => {
            receiver.join_multicast_v4_n(&GROUP_IPV4, &InterfaceIndexOrAddress::Index(index))?;
            let own = local.iter().find(|one| one.interface == interface && one.address.is_ipv4());
            if let Some(IpAddr::V4(own)) = own.map(|one| one.address) {
                sender.set_multicast_if_v4(&own)?;
            }
            sender.set_multicast_ttl_v4(0)?;
            (GROUP_IPV4, 0).into()
        }
        Family::Ipv6 => {
            receiver.join_multicast_v6(&GROUP_IPV6, index)?;
            sender.set_multicast_if_v6(index)?;
            sender.set_multicast_hops_v6(0)?;
            SocketAddrV6::new(GROUP_IPV6, 0, 0, index).into()
        }
    };
    match sender.send_to(&message, &group.into()) {
        Ok(_) => {}
        // That is how rules at output say it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    }
    let until = Instant::now() + LIMIT;
    let mut packet = [0; 256];
    while Instant::now() < until {
        if let Ok(length) = (&receiver).read(&mut packet)
            && packet[..length].ends_with(&message)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_are_named_with_their_tables() {
        let ruleset = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport 22 accept\n\t}\n\
                       \tchain other {\n\t\tdrop\n\t}\n}\ntable ip nat {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority -100; policy \
                       accept;\n\t}\n}\n";
        assert_eq!(dropping_chains(ruleset), ["inet filter input"]);
        assert!(dropping_chains("").is_empty());
    }
}
