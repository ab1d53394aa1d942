//! `check --here`: does the file fit this machine?
//!
//! It looks and never changes anything. The listeners are bound for a moment without SO_REUSEPORT, so that a port of
//! another process is found even if that process shares it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_proxy::sample::Maps;
use lb_vrrp::{Family, GroupConfig, Interface, MemberConfig};
use socket2::{Domain, Protocol, Socket, Type};

mod commands;
mod names;
mod signing;
mod source;
mod unix;

use super::strangers;
use crate::{
    config::{self, Config, MAXCONN, identify},
    control::client::DEFAULT_SOCKET,
    interfaces::{
        LocalAddress, interface_of, local_addresses, nowhere_warnings, outside_networks, outside_warning,
    },
    log, privileges,
};

/// A stop that drains for longer than this may not be over within the unit's `TimeoutStopSec`.
const LONG_DRAIN: Duration = Duration::from_secs(9);

/// One thing that does not fit.
pub(in crate::command) struct Finding {
    /// The node could not run like this.
    pub(in crate::command) fatal: bool,
    /// In the file; none where it is about all of it.
    pub(in crate::command) place: Option<String>,
    /// One sentence.
    pub(in crate::command) message: String,
}

/// Everything that does not fit, the worst first. With `runs` the lbctl of this file runs here: it has its ports, and may have the
/// addresses.
pub(in crate::command) fn check(
    config: &Config,
    file: &Path,
    wanted: Option<&str>,
    runs: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let local = local_addresses();
    let mut own = None;
    if !config.cluster.nodes.is_empty() {
        let addresses: Vec<_> = local.iter().map(|local| local.address).collect();
        let hostname =
            nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        match identify(config, &addresses, &hostname, wanted) {
            Ok(node) => {
                own = Some(node);
                let groups = config.groups.iter().filter_map(|group| group.by_node.get(node));
                groups.clone().for_each(|group| check_group(group, &local, runs, &mut findings));
                findings.extend(strangers::find(groups, &local).into_iter().map(warning));
            }
            Err(error) => findings.push(fatal(error.to_string())),
        }
    } else if let Some(wanted) = wanted {
        findings.push(fatal(format!("--node {wanted}: the file has no [cluster]")));
    }
    if !config.groups.is_empty() {
        check_rights(&mut findings);
    }
    findings.extend(privileges::unknown_account(&config.global).map(fatal));
    findings.extend(unreadable(config, file).map(fatal));
    // The unit has a user of its own.
    let warned =
        privileges::root_warning(&config.global).filter(|_| !Path::new("/run/systemd/system").exists());
    findings.extend(warned.map(warning));
    if !runs {
        check_ports(config, &mut findings);
    }
    findings.extend(nowhere_warnings(config).map(warning));
    let too_few = lb_proxy::descriptors::too_few(&config.proxy);
    findings.extend(too_few.map(|(usable, limit)| {
        let by_default = if config.proxy.maxconn == MAXCONN { " by default" } else { "" };
        warning(format!(
            "maxconn is {}{by_default}, and {limit} open files (ulimit -Hn, here) are enough for {usable} connections; \
             the unit has LimitNOFILE= for that",
            config.proxy.maxconn
        ))
    }));
    findings.extend(open_keys(config).into_iter().map(warning));
    findings.extend(unwritable_logs(config).into_iter().map(warning));
    findings.extend(commands::check(config, file).into_iter().map(warning));
    let drain = config.global.drain_timeout;
    if drain > LONG_DRAIN {
        findings.push(warning(format!(
            "a stop may take twice drain_timeout ({} s); the unit is killed after TimeoutStopSec=20, unless a drop-in says more",
            drain.as_secs()
        )));
    }
    findings.extend(source::check(&config.proxy_of(own).backends));
    findings.extend(names::check(config));
    findings.extend(signing::check(config));
    findings.sort_by_key(|finding| !finding.fatal);
    findings
}

/// What this process can read and the daemon can't: root may read everything, and the daemon may not, whoever it is.
fn unreadable(config: &Config, file: &Path) -> Option<String> {
    if file == Path::new("-") {
        return None;
    }
    let speaks = !config.groups.is_empty();
    let look = || match config::load(file) {
        Ok(config) => {
            Maps::load(&config.proxy.maps).err().and_then(|errors| Some(errors.first()?.to_string()))
        }
        Err(diagnostics) => Some(diagnostics.iter().next()?.message.clone()),
    };
    match privileges::as_daemon(&config.global, speaks, look)? {
        Ok(why) => why.map(|why| format!("once lbctl runs it can't read all of it: {why}")),
        Err(error) => Some(format!("can't look as the daemon does: {error}")),
    }
}

/// Places of logs that get nothing once lbctl runs.
fn unwritable_logs(config: &Config) -> Vec<String> {
    let look = || log::unwritable(&config.proxy);
    match privileges::as_daemon(&config.global, !config.groups.is_empty(), look) {
        Some(Ok(found)) => found,
        // That it can't look so is said of what it reads.
        Some(Err(_)) | None => look(),
    }
}

/// A key is a secret between the machine's administrator and lbctl.
fn open_keys(config: &Config) -> Vec<String> {
    let told = |path: PathBuf| {
        let path = path.display().to_string();
        let shown = path.escape_debug();
        format!("{shown} has a private key that everybody on this machine may read: chmod o= {shown}")
    };
    config::certificates::open_keys(&config.files).into_iter().map(told).collect()
}

fn fatal(message: String) -> Finding {
    Finding { fatal: true, place: None, message }
}

fn warning(message: String) -> Finding {
    Finding { fatal: false, place: None, message }
}

fn check_group(group: &GroupConfig, local: &[LocalAddress], runs: bool, findings: &mut Vec<Finding>) {
    for member in &group.members {
        let Some(interface) = interface_of(member, local) else {
            let Interface::Holding(address) = member.interface else { continue };
            findings.push(fatal(format!(
                "no interface has {address}, this node's address; give [vip.{}] an `interface`",
                member.vip
            )));
            continue;
        };
        check_interface(interface, member, local, runs, findings);
    }
}

fn check_interface(
    interface: &str,
    member: &MemberConfig,
    local: &[LocalAddress],
    runs: bool,
    findings: &mut Vec<Finding>,
) {
    let vip = &member.vip;
    if nix::net::if_::if_nametoindex(interface).is_err() {
        findings.push(fatal(format!("[vip.{vip}] is on interface {interface}, which does not exist here")));
        return;
    }
    let own: Vec<_> = local.iter().filter(|local| local.interface == interface).collect();
    let family = member.family();
    if let Some(unicast) = member.transport.unicast() {
        if !own.iter().any(|local| local.address == unicast.source) {
            findings.push(fatal(format!(
                "interface {interface} of [vip.{vip}] does not have {}, from which this node is to advertise by unicast; \
                 write the right address into unicast_addresses, or another `interface`",
                unicast.source
            )));
            return;
        }
        let looped = |peer: &IpAddr| local.iter().find(|local| local.address == *peer);
        findings.extend(unicast.peers.iter().filter_map(|peer| {
            let here = &looped(peer)?.interface;
            Some(fatal(format!(
                "{peer}, where [vip.{vip}] reaches another node by unicast, is an address of this machine (interface {here}): what that \
                 node sends is dropped here; remove it, or write that node's own one into unicast_addresses"
            )))
        }));
    } else if !own.iter().any(|local| local.is_source(family)) {
        let message = match family {
            Family::Ipv4 => format!(
                "interface {interface} of [vip.{vip}] has no IPv4 address; advertisements need one as their source"
            ),
            Family::Ipv6 => format!(
                "interface {interface} of [vip.{vip}] has no link-local IPv6 address; advertisements over IPv6 need one as \
                 their source. Is IPv6 off there? sysctl net.ipv6.conf.{interface}.disable_ipv6"
            ),
        };
        findings.push(fatal(message));
        return;
    }
    if own.iter().any(|local| !local.up) {
        findings.push(warning(format!("interface {interface} of [vip.{vip}] is down")));
    }
    let outside = outside_networks(member, interface, local);
    for address in member.addresses.iter().map(|one| one.address) {
        if let Some(holder) = local.iter().find(|local| local.address == address) {
            if runs {
                continue;
            }
            findings.push(warning(format!(
                "{address} of [vip.{vip}] is on interface {} already; if no lbctl runs here, remove it",
                holder.interface
            )));
        } else if outside.contains(&address) {
            findings.push(warning(outside_warning(address, vip, interface)));
        }
    }
}

/// Numbers of capabilities in the kernel's `linux/capability.h`, and what they are for.
const RIGHTS: [(&str, u32, &str); 2] = [
    ("CAP_NET_ADMIN", 12, "to add and remove addresses"),
    ("CAP_NET_RAW", 13, "to send and receive advertisements"),
];

fn check_rights(findings: &mut Vec<Finding>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(rights) = line.and_then(|rights| u64::from_str_radix(rights.trim(), 16).ok()) else { return };
    for (name, bit, purpose) in RIGHTS {
        if rights & (1 << bit) == 0 {
            findings.push(warning(format!(
                "you don't have {name}; whoever starts `lbctl run` needs it {purpose}"
            )));
        }
    }
}

fn check_ports(config: &Config, findings: &mut Vec<Finding>) {
    let running = UnixStream::connect(DEFAULT_SOCKET).is_ok();
    for frontend in &config.proxy.frontends {
        for bind in &frontend.binds {
            if let Err(error) = probe(bind.address) {
                findings.push(unbound(&frontend.name, bind.address, &error, running));
            }
        }
        findings.extend(frontend.unix.iter().flat_map(|bind| unix::check(bind, &frontend.name, running)));
    }
}

/// Why `address` can't be bound. A node that runs already (`running`) holds its own ports.
fn unbound(frontend: &str, address: SocketAddr, error: &io::Error, running: bool) -> Finding {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse if running => warning(format!(
            "{address} of frontend {frontend} is taken; by the lbctl that runs here, or else \
             `ss -ltnp 'sport = :{port}'` names the process"
        )),
        io::ErrorKind::AddrInUse => fatal(format!(
            "{address} of frontend {frontend} is taken by another process; `ss -ltnp 'sport = :{port}'` names it"
        )),
        io::ErrorKind::PermissionDenied => warning(format!(
            "you have no right to bind {address} of frontend {frontend}; whoever starts `lbctl run` needs \
             CAP_NET_BIND_SERVICE"
        )),
        _ => fatal(format!("{address} of frontend {frontend} can't be bound: {error}")),
    }
}

/// Binds and lets go; IP_FREEBIND as the proxy does, since a vip is not here yet.
fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_an_error_unless_lbctl_runs_here_already() {
        let address = SocketAddr::from(([192, 0, 2, 10], 80));
        let error = io::Error::from(io::ErrorKind::AddrInUse);
        assert!(unbound("web", address, &error, false).fatal);
        let finding = unbound("web", address, &error, true);
        assert!(!finding.fatal);
        assert_eq!(
            finding.message,
            "192.0.2.10:80 of frontend web is taken; by the lbctl that runs here, or else \
             `ss -ltnp 'sport = :80'` names the process"
        );
    }
}
