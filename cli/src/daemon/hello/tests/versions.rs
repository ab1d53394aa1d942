//! Nodes of different versions, as they stand side by side while a pair is upgraded: what either says is literal here, so that
//! it stays understood.

use super::*;

/// What this version says, with everything that there is to say. A member is never taken out, renamed or given another meaning
/// without another number in front.
const SAID: &str = concat!(
    "LBH\u{1}",
    r#"{"node":"lb2","version":"0.1.0","boot":"boot-2","counter":7,"file":"aaaa","signs":"off","drained_ms":9000,"hears":["boot-1"],"#,
    r#""groups":[{"name":"default","state":"Backup","age_ms":12000,"why":"started","priority":15,"#,
    r#""ready":{"degraded":{"reasons":["app has no usable server"]}},"announced_us":800,"refuses":"web is paused","refused":["frontend web"]}],"#,
    r#""addresses":[{"interface":"eth1","addresses":["192.0.2.12"]}],"shortened":true}"#,
);

/// What each version has to say, the first one as well.
const OLDER: &str = concat!(
    "LBH\u{1}",
    r#"{"node":"lb2","version":"0.0.9","boot":"boot-2","counter":7,"file":"aaaa","#,
    r#""groups":[{"name":"default","state":"Backup","age_ms":12000,"why":"started","priority":253,"ready":"yes"}]}"#,
);

/// What this version knows, and members of which it knows nothing wherever there may be some.
const NEWER: &str = concat!(
    "LBH\u{1}",
    r#"{"node":"lb2","version":"0.9.9","boot":"boot-2","later":{"a":[1,null]},"counter":7,"file":"aaaa","#,
    r#""groups":[{"name":"default","state":"Backup","age_ms":12000,"why":"started","priority":15,"later":7,"#,
    r#""ready":{"degraded":{"reasons":["app has no usable server"],"since_ms":5}}}],"#,
    r#""addresses":[{"interface":"eth1","addresses":["192.0.2.12"],"mtu":9000}],"latest":"x"}"#,
);

/// What lb1 makes of it: the version, and its part in the group.
fn heard(said: &str) -> (String, GroupHello) {
    let mut one = lb1();
    one.handle_datagram(at(0), from(LB2), Some(255), said.as_bytes());
    assert_eq!(events(&mut one), [Event::Appeared { peer: "lb2".to_owned(), why: "first hello" }], "{said}");
    let peer = &one.peers()[0];
    let (_, hello) = peer.last.as_ref().expect("heard");
    (hello.version.clone(), peer.group("default").expect("its part").clone())
}

#[test]
fn what_this_version_says_is_what_it_has_always_said() {
    let read = message::decode(SAID.as_bytes(), None).expect("readable");
    let again = message::encode(&read, None);
    assert_eq!(String::from_utf8(again).expect("text"), SAID);
    let last = Hello { ending: true, ..read };
    let again = String::from_utf8(message::encode(&last, None)).expect("text");
    assert_eq!(again, SAID.replace(r#","shortened""#, r#","ending":true,"shortened""#));
}

#[test]
fn peer_one_version_older_and_one_newer_is_known_by_what_it_says() {
    let (version, group) = heard(OLDER);
    assert_eq!(version, "0.0.9");
    assert_eq!((group.state, group.priority, group.ready), (State::Backup, 253, Ready::Yes));
    let unsaid = (group.announced_us, group.refuses, group.refused);
    assert_eq!(unsaid, (None, None, Vec::new()), "it does not say that");

    let (version, newer) = heard(NEWER);
    assert_eq!(version, "0.9.9");
    let (_, own) = heard(SAID);
    assert_eq!(newer, GroupHello { announced_us: None, refuses: None, refused: Vec::new(), ..own });
    let reasons = vec!["app has no usable server".to_owned()];
    assert_eq!(newer.ready, Ready::Degraded { reasons });
}

#[test]
fn peer_that_is_upgraded_and_goes_back_is_the_same_node_all_the_time() {
    let mut one = lb1();
    let as_version = |version: &str, counter: u64| {
        OLDER.replace("0.0.9", version).replace("\"counter\":7", &format!("\"counter\":{counter}"))
    };
    for (counter, version) in [(7, "0.0.9"), (8, "0.1.0"), (9, "0.9.9"), (10, "0.1.0")] {
        one.handle_datagram(at(0), from(LB2), Some(255), as_version(version, counter).as_bytes());
        let (_, hello) = one.peers()[0].last.as_ref().expect("heard");
        assert_eq!((&*hello.version, hello.counter), (version, counter));
    }
    assert_eq!(events(&mut one).len(), 1, "an upgrade is no restart");
}
