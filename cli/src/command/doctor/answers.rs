//! Does somebody have an address of a vip who should not?

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    thread,
    time::Duration,
};

use lb_vrrp::{
    GroupConfig, MemberConfig,
    io::{ask, overhear},
};

use super::{Findings, Scene};
use crate::interfaces::hardware_address;

const CHECK: &str = "addresses";

/// Hardware addresses that answer, by the address that was asked for.
type Answers = BTreeMap<IpAddr, BTreeSet<[u8; 6]>>;

/// Machines answer within milliseconds; a sleeping one takes longer.
const LIMIT: Duration = Duration::from_millis(600);

/// Others advertise once a second by default, and may be late.
const SHORTEST: Duration = Duration::from_millis(1_200);

pub(super) fn look(scene: &Scene<'_>, findings: &mut Findings) {
    for (group, member, interface, index) in scene.members() {
        // lo and the like have none, and nobody to ask.
        let Some(mac) = hardware_address(interface).filter(|mac| *mac != [0; 6]) else { continue };
        match ask_all(interface, index, mac, member) {
            Ok(answers) if answers.is_empty() => {}
            Ok(answers) => say(scene, group, member, (interface, index), &answers, findings),
            Err(error) => {
                findings.note(format!(
                    "who answers for the addresses on {interface} could not be asked: {error}"
                ));
            }
        }
    }
}

/// All at once, so that a vip of many addresses takes no longer.
fn ask_all(interface: &str, index: u32, mac: [u8; 6], member: &MemberConfig) -> io::Result<Answers> {
    thread::scope(|scope| {
        let asked: Vec<_> = member
            .addresses
            .iter()
            .map(|one| {
                let address = one.address;
                (address, scope.spawn(move || ask(interface, index, mac, address, LIMIT)))
            })
            .collect();
        let mut answers = Answers::new();
        for (address, asked) in asked {
            let from = asked.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))?;
            if !from.is_empty() {
                answers.insert(address, from);
            }
        }
        Ok(answers)
    })
}

fn say(
    scene: &Scene<'_>,
    group: &GroupConfig,
    member: &MemberConfig,
    (interface, index): (&str, u32),
    answers: &Answers,
    findings: &mut Findings,
) {
    let is_ours =
        scene.local.iter().any(|local| member.addresses.iter().any(|one| one.address == local.address));
    // Another node of the file that advertises may answer, one machine of it.
    let advertised = || {
        let limit = SHORTEST.max(3 * member.interval.get());
        let heard = overhear(interface, index, member, limit).unwrap_or_default();
        heard.keys().any(|source| {
            group.peers.contains(source) || scene.local.iter().all(|own| own.address != *source)
        })
    };
    let allowed = if is_ours { 0 } else { usize::from(advertised()) };
    for (address, from) in answers.iter().filter(|(_, from)| from.len() > allowed) {
        let who = if is_ours {
            "this node has it as well"
        } else if allowed > 0 {
            "one of them is the node that advertises"
        } else {
            "and no node advertises it"
        };
        findings.fatal(
            CHECK,
            format!(
                "{interface}: {address} of [vip.{}] is answered by {}, {who}: clients reach that machine. Take the address off it \
                 (ip address del {address}, and its network configuration), or give the vip another one",
                member.vip,
                shown(from)
            ),
        );
    }
}

fn shown(from: &BTreeSet<[u8; 6]>) -> String {
    let one = |mac: &[u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    from.iter().map(one).collect::<Vec<_>>().join(" and ")
}
