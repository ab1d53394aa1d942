//! How much a hello has room for.

use super::{GroupHello, Hello, MAX_BYTES, SIGNATURE_ROOM, shorten_reasons, write};
use crate::control::Ready;

/// A boot, as long as they are.
const BOOT: &str = "00000000-0000-0000-0000-000000000000";

/// How many of `groups`, in their order, the hello of `node` has room for when it says the least of each: its state and that it is
/// ready. `peers` nodes are heard, which a signed one names.
pub(crate) fn room(node: &str, groups: &[&str], peers: usize, is_signed: bool) -> usize {
    let of_group = |name: &&str| GroupHello {
        name: (*name).to_owned(),
        state: lb_vrrp::State::Backup,
        // Three years.
        age_ms: 99_999_999_999,
        why: "a reason".to_owned(),
        priority: 253,
        ready: Ready::Yes,
        announced_us: None,
        refuses: None,
        refused: Vec::new(),
    };
    let mut hello = Hello {
        node: node.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: BOOT.to_owned(),
        counter: 99_999_999,
        file: "0".repeat(64),
        signs: Some("require".to_owned()),
        drained_ms: None,
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
        assert_eq!(room("lb1", &names[..8], 4, true), 8);
        assert_eq!((room("lb1", &names, 1, true), room("lb1", &names, 1, false)), (10, 11));
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
            said.groups.iter_mut().for_each(|group| group.ready = Ready::Yes);
            let secret = is_signed.then_some(&secret);
            let read = decode(&encode(&said, secret), secret).expect("readable");
            assert_eq!(read.groups.len(), count, "signed: {is_signed}");
        }
    }
}
