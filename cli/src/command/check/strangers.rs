//! `check --here`: does somebody else use our vrid here?

use std::{net::IpAddr, thread, time::Duration};

use lb_vrrp::{GroupConfig, Interface, MemberConfig, io::overhear};

use crate::interfaces::{LocalAddress, interface_of};

/// Others advertise once a second by default, and may be late.
const SHORTEST: Duration = Duration::from_millis(1_200);

/// Listens on all interfaces of these groups at once, for three intervals, and says who is heard and is no node of the
/// file. Says nothing without the right to listen: that is found elsewhere.
pub(super) fn find<'a>(groups: impl Iterator<Item = &'a GroupConfig>, local: &[LocalAddress]) -> Vec<String> {
    let members = groups.flat_map(|group| group.members.iter().map(move |member| (group, member)));
    thread::scope(|scope| {
        let listening: Vec<_> = members
            .map(|(group, member)| (scope.spawn(move || listen(member, local)), group, member))
            .collect();
        let mut said = Vec::new();
        for (heard, group, member) in listening {
            let strangers = heard.join().unwrap_or_default();
            let strangers = strangers.iter().filter(|(source, _)| !group.peers.contains(source));
            said.extend(strangers.map(|(source, priority)| sentence(member, *source, *priority)));
        }
        said
    })
}

/// Who advertises, but for this machine itself.
fn listen(member: &MemberConfig, local: &[LocalAddress]) -> Vec<(IpAddr, u8)> {
    let Some(interface) = interface_of(member, local) else { return Vec::new() };
    let Ok(index) = nix::net::if_::if_nametoindex(interface) else { return Vec::new() };
    let limit = SHORTEST.max(3 * member.interval.get());
    let heard = overhear(interface, index, member, limit).unwrap_or_default().into_iter();
    heard.filter(|(source, _)| local.iter().all(|own| own.address != *source)).collect()
}

fn sentence(member: &MemberConfig, source: IpAddr, priority: u8) -> String {
    let (vrid, vip) = (member.vrid, &member.vip);
    let who = match member.interface {
        Interface::Holding(_) if source.is_ipv4() => "it is no node of this file, so",
        Interface::Holding(_) | Interface::Named(_) => "unless that is a node of this file,",
    };
    format!(
        "{source} uses vrid {vrid} of [vip.{vip}] too, with priority {priority}; {who} one of the two clusters needs \
         another vrid"
    )
}
