//! What fits into a message to the daemon. A status grows with groups, moves, and whoever sends into the network; the daemon gets as much of
//! it as there is room for.

use super::protocol::{FromSpeaker, MESSAGE_MAX};

/// What is left of a status that is too long, step by step: strangers of a virtual router, moves of a group, and whether it has counters.
const STEPS: [(usize, usize, bool); 5] =
    [(2, usize::MAX, true), (2, 2, true), (1, 1, true), (1, 1, false), (0, 1, false)];

/// As it is sent; `None` if there is no room for it, however short.
pub(super) fn packet(message: &FromSpeaker) -> Option<Vec<u8>> {
    let whole = serde_json::to_vec(message).ok()?;
    if whole.len() <= MESSAGE_MAX {
        return Some(whole);
    }
    let FromSpeaker::Status { at, groups } = message else { return None };
    let (at, mut groups) = (*at, groups.clone());
    STEPS.into_iter().find_map(|(strangers, transitions, has_counters)| {
        groups.iter_mut().for_each(|group| group.shorten(at, strangers, transitions, has_counters));
        let shortened = FromSpeaker::Status { at, groups: std::mem::take(&mut groups) };
        let packet = serde_json::to_vec(&shortened).ok()?;
        if let FromSpeaker::Status { groups: left, .. } = shortened {
            groups = left;
        }
        (packet.len() <= MESSAGE_MAX).then_some(packet)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::IpAddr};

    use lb_vrrp::{
        GroupStatus, Moment, Moments, Readiness, State, Transition, VirtualAddress, Vrid,
        status::{Advertiser, MemberStatus, Rejected, Said},
    };

    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000_000);

    fn counters() -> BTreeMap<String, u64> {
        (0..10).map(|number| (format!("advertisements_{number}_sent"), 1_000_000_000)).collect()
    }

    fn advertiser(number: u8, is_heard: bool) -> Advertiser {
        let (source, why) = (IpAddr::from([198, 51, 100, number]), "the password is not ours".to_owned());
        let until = NOW + std::time::Duration::from_secs(u64::from(is_heard));
        let said = Said::Rejected(Rejected { source, why, at: NOW });
        Advertiser { said, since: Moment::from_nanos(u64::from(number)), until, is_node: number == 0 }
    }

    fn member() -> MemberStatus {
        let addresses = vec![VirtualAddress { address: [192, 0, 2, 10].into(), prefix: 32 }];
        MemberStatus {
            vip: "web".to_owned(),
            interface: Some("eth1".to_owned()),
            vrid: Vrid::new(51).expect("a number"),
            installed: addresses.clone(),
            addresses,
            heard: None,
            // A node, and eight strangers, of whom the first is heard no more.
            advertisers: (0..9).map(|number| advertiser(number, number != 1)).collect(),
            unsaid: 0,
            stolen: None,
            trouble: None,
            looped: Vec::new(),
            counters: counters(),
        }
    }

    fn group(number: usize, members: usize) -> GroupStatus {
        let transition = Transition {
            from: State::Backup,
            to: State::Active,
            reason: "nobody advertises".to_owned(),
            detected: NOW,
            at: NOW,
            moments: Moments::default(),
        };
        GroupStatus {
            name: format!("group{number}"),
            state: State::Active,
            since: NOW,
            reason: "nobody advertises".to_owned(),
            priority: 254,
            readiness: Readiness::Ready,
            members: vec![member(); members],
            untrusted: None,
            transitions: vec![transition; 20],
            counters: counters(),
        }
    }

    /// What the daemon reads of so many groups with so many virtual routers each.
    fn heard(groups: usize, members: usize) -> Vec<GroupStatus> {
        let groups: Vec<_> = (0..groups).map(|number| group(number, members)).collect();
        let packet = packet(&FromSpeaker::Status { at: NOW, groups }).expect("there is room");
        assert!(packet.len() <= MESSAGE_MAX);
        match serde_json::from_slice(&packet).expect("whole") {
            FromSpeaker::Status { groups, .. } => groups,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_of_few_is_said_as_it_is() {
        assert_eq!(heard(3, 2), (0..3).map(|number| group(number, 2)).collect::<Vec<_>>());
    }

    #[test]
    fn status_of_many_virtual_routers_is_whole_but_for_most_strangers_who_are_counted() {
        for (groups, members) in [(30, 3), (1, 150)] {
            let heard = heard(groups, members);
            assert_eq!(heard.len(), groups);
            let member = heard[0].members.last().expect("one");
            let numbers: Vec<_> =
                member.advertisers.iter().map(|one| one.said.source().to_string()).collect();
            assert_eq!(numbers, ["198.51.100.0", "198.51.100.2", "198.51.100.3"]);
            assert_eq!((member.unsaid, member.counters.len()), (5, 10));
            assert!(heard[0].transitions.len() >= 2);
        }
    }

    #[test]
    fn status_of_256_groups_has_the_state_of_each_and_the_node_that_is_heard() {
        let heard = heard(256, 1);
        assert_eq!(heard.len(), 256);
        for group in heard {
            assert_eq!((group.state, group.transitions.len()), (State::Active, 1));
            let member = &group.members[0];
            assert_eq!((member.advertisers.len(), member.unsaid, member.installed.len()), (1, 7, 1));
        }
    }

    #[test]
    fn message_for_which_there_is_no_room_is_not_cut() {
        let text = "x".repeat(MESSAGE_MAX);
        let log = FromSpeaker::Log { level: super::super::protocol::LogLevel::Info, text };
        assert_eq!(packet(&log), None);
        let groups = (0..2_000).map(|number| group(number, 1)).collect();
        assert_eq!(packet(&FromSpeaker::Status { at: NOW, groups }), None);
    }
}
