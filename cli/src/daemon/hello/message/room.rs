//! How much a hello has room for.

use super::{GroupHello, Hello, MAX_BYTES, SIGNATURE_ROOM, shorten_reasons, write};
use crate::control::Ready;

/// A boot, as long as they are.
const BOOT: &str = "00000000-0000-0000-0000-000000000000";

/// Longest, in milliseconds and microseconds: three years.
const LONG: u64 = 99_999_999_999;
const LONG_MICROS: u64 = 1000 * LONG;

/// Of all that a node can say of a group the longest, with reasons of nothing.
fn longest_ready() -> Ready {
    let reason = || "a reason".to_owned();
    let all = [
        Ready::Yes,
        Ready::Degraded { reasons: Vec::new() },
        Ready::Starting { reason: reason() },
        Ready::Leaving { reason: reason() },
        Ready::Fault { reason: reason() },
    ];
    let length = |ready: &Ready| serde_json::to_vec(ready).map_or(0, |text| text.len());
    all.into_iter().max_by_key(length).unwrap_or(Ready::Yes)
}

/// How many of `groups`, in their order, the hello of `node` has room for when it says the least of each: its state and how ready it is
/// for it, whatever that is. `peers` nodes are heard, which a signed one names.
pub(crate) fn room(node: &str, groups: &[&str], peers: usize, is_signed: bool) -> usize {
    let ready = longest_ready();
    let of_group = |name: &&str| GroupHello {
        name: (*name).to_owned(),
        state: lb_vrrp::State::Initialize,
        age_ms: LONG,
        why: "a reason".to_owned(),
        priority: 253,
        ready: ready.clone(),
        announced_us: Some(LONG_MICROS),
        refuses: Some("a reason".to_owned()),
        refused: Vec::new(),
    };
    let mut hello = Hello {
        node: node.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: BOOT.to_owned(),
        counter: 99_999_999,
        file: "0".repeat(64),
        signs: Some("require".to_owned()),
        drained_ms: Some(LONG),
        hears: is_signed.then(|| vec![BOOT.to_owned(); peers]),
        groups: groups.iter().map(of_group).collect(),
        addresses: Vec::new(),
        ending: false,
        shortened: true,
        unknown: Vec::new(),
    };
    shorten_reasons(&mut hello, 0, 0);
    let most = if is_signed { MAX_BYTES - SIGNATURE_ROOM } else { MAX_BYTES };
    while write(&hello).len() > most && hello.groups.pop().is_some() {}
    hello.groups.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::hello::message::{decode, encode, tests::hello};

    #[test]
    fn a_file_of_one_group_or_a_few_has_room_and_one_of_many_has_not() {
        let names: Vec<_> = (1..=40).map(|number| format!("group{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(room("lb1", &names[..1], 1, true), 1);
        assert_eq!(room("lb1", &names[..5], 4, true), 5);
        assert_eq!((room("lb1", &names, 1, true), room("lb1", &names, 1, false)), (5, 6));
    }

    /// What is said of a file that has room is that there is.
    #[test]
    fn so_many_groups_are_in_a_hello_however_long_its_reasons_are() {
        let secret = lb_vrrp::Secret::new("correct horse battery staple").expect("long enough");
        for is_signed in [false, true] {
            let names: Vec<_> = (0..40).map(|number| format!("group{number}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let count = room("lb1", &names, 1, is_signed);
            let mut said = hello(count, &"x".repeat(300));
            said.hears = is_signed.then(|| vec![BOOT.to_owned()]);
            said.drained_ms = Some(LONG);
            let secret = is_signed.then_some(&secret);
            let reason = || "x".repeat(300);
            for ready in [
                Ready::Yes,
                Ready::Degraded { reasons: vec![reason(); 8] },
                Ready::Starting { reason: reason() },
                Ready::Leaving { reason: reason() },
                Ready::Fault { reason: reason() },
                Ready::Fault { reason: "x".to_owned() },
            ] {
                for group in &mut said.groups {
                    group.state = lb_vrrp::State::Initialize;
                    (group.age_ms, group.announced_us) = (LONG, Some(LONG_MICROS));
                    group.refuses = Some(reason());
                    group.ready = ready.clone();
                }
                let read = decode(&encode(&said, secret), secret).expect("readable");
                assert_eq!(read.groups.len(), count, "signed: {is_signed}, {ready:?}");
            }
        }
    }
}
