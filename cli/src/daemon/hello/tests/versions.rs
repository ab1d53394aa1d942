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

/// Another value for what OLDER says of `member`; `member` is new there if OLDER does not say it.
fn saying(member: &str, value: &str) -> String {
    let known = [
        ("state", "\"Backup\""),
        ("age_ms", "12000"),
        ("why", "\"started\""),
        ("priority", "253"),
        ("ready", "\"yes\""),
    ];
    match known.iter().find(|(name, _)| *name == member) {
        Some((_, old)) => OLDER.replace(&format!("\"{member}\":{old}"), &format!("\"{member}\":{value}")),
        None if matches!(member, "announced_us" | "refuses" | "refused") => {
            OLDER.replace("\"ready\":\"yes\"", &format!("\"ready\":\"yes\",\"{member}\":{value}"))
        }
        None => OLDER.replace("\"groups\":[", &format!("\"{member}\":{value},\"groups\":[")),
    }
}

/// A newer program has words that this one does not know: it is heard all the same, and no more is taken for granted than is known.
#[test]
fn what_a_newer_program_says_is_read_as_what_promises_least_and_is_counted_and_told() {
    let fault = |word: &str| Ready::Fault {
        reason: format!("it says `{word}`, which lbctl {} does not know", env!("CARGO_PKG_VERSION")),
    };
    let (_, plain) = heard(OLDER);
    let group = |change: &dyn Fn(&mut GroupHello)| {
        let mut group = plain.clone();
        change(&mut group);
        group
    };
    let table = [
        ("ready", "\"resting\"", "ready resting", group(&|it| it.ready = fault("resting"))),
        (
            "ready",
            "{\"resting\":{\"until_ms\":5}}",
            "ready resting",
            group(&|it| it.ready = fault("resting")),
        ),
        // A word that is known, of which more is said than it is.
        (
            "ready",
            "{\"leaving\":{\"reasons\":[]}}",
            "ready leaving",
            group(&|it| it.ready = fault("leaving")),
        ),
        ("ready", "\"\\u001b[31m\"", "ready ?[31m", group(&|it| it.ready = fault("?[31m"))),
        ("state", "\"Yielding\"", "state Yielding", group(&|it| it.state = State::Initialize)),
        ("priority", "300", "priority 300", group(&|it| it.priority = 0)),
        ("priority", "-1", "priority -1", group(&|it| it.priority = 0)),
        ("age_ms", "0.5", "age_ms 0.5", group(&|it| it.age_ms = 0)),
        ("why", "{\"code\":7}", "why code", group(&|it| it.why = String::new())),
        ("announced_us", "\"now\"", "announced_us now", plain.clone()),
        (
            "refuses",
            "{\"paused\":[\"web\"]}",
            "refuses paused",
            group(&|it| it.refuses = Some("something that this node's program does not know".to_owned())),
        ),
        (
            "refused",
            "[\"frontend web\",{\"map\":\"x\"}]",
            "refused map",
            group(&|it| it.refused = vec!["frontend web".to_owned()]),
        ),
        ("signs", "3", "signs 3", plain.clone()),
        ("drained_ms", "\"long\"", "drained_ms long", plain.clone()),
        ("hears", "7", "hears 7", plain.clone()),
        ("ending", "\"soon\"", "ending soon", plain.clone()),
        ("shortened", "2", "shortened 2", plain.clone()),
        ("addresses", "{\"eth1\":[]}", "addresses eth1", plain.clone()),
        (
            "addresses",
            "[{\"interface\":\"eth1\",\"addresses\":[\"fe80::1%2\"]}]",
            "addresses fe80::1%2",
            plain.clone(),
        ),
    ];
    for (member, value, named, expected) in table {
        let said = saying(member, value);
        assert_ne!(said, OLDER, "{member}");
        let mut one = lb1();
        one.handle_datagram(at(0), from(LB2), Some(255), said.as_bytes());
        let again = said.replace("\"counter\":7", "\"counter\":8");
        one.handle_datagram(at(100), from(LB2), Some(255), again.as_bytes());
        let appeared = Event::Appeared { peer: "lb2".to_owned(), why: "first hello" };
        let told = Event::Puzzles { peer: "lb2".to_owned(), what: vec![named.to_owned()] };
        assert_eq!(events(&mut one), [appeared, told], "{member}: told once");
        let counted = ["hello_received", "hello_unknown_word", "hello_malformed"]
            .map(|it| one.counters().get(it).copied());
        assert_eq!(counted, [Some(2), Some(2), None], "{member}");
        let peer = &one.peers()[0];
        assert!(!peer.silent && !peer.has_ended(), "{member}");
        assert_eq!(peer.group("default"), Some(&expected), "{member}");
    }
}

/// A part of a group, or an address, of which nothing can be made leaves the others.
#[test]
fn what_can_be_understood_beside_what_can_not_is_kept() {
    let more = r#""groups":[7,{"title":"other"},"#;
    let read = message::decode(OLDER.replace("\"groups\":[", more).as_bytes(), None).expect("readable");
    assert_eq!(
        (read.groups.len(), read.unknown),
        (1, vec!["groups 7".to_owned(), "groups title".to_owned()])
    );
    let addresses =
        r#""addresses":[{"interface":"eth1","addresses":["mac 7","192.0.2.12"]},"eth2"],"groups":["#;
    let read = message::decode(OLDER.replace("\"groups\":[", addresses).as_bytes(), None).expect("readable");
    let expected = InterfaceAddresses { interface: "eth1".to_owned(), addresses: vec![LB2] };
    assert_eq!(read.addresses, [expected]);
    assert_eq!(read.unknown, ["addresses mac 7", "addresses eth2"]);
    // A forger does not fill lines by it.
    let many: String = (0..50).map(|n| format!("{{\"x{n}\":\"{}\"}},", "y".repeat(9))).collect();
    let read =
        message::decode(OLDER.replace("\"groups\":[", &format!("\"groups\":[{many}")).as_bytes(), None);
    assert_eq!(read.expect("readable").unknown.len(), 4);
}

/// Who says what boots it hears in a way that is not understood is no more believed than a recording is.
#[test]
fn boots_that_are_not_understood_are_not_taken_for_ours() {
    let read = message::decode(saying("hears", "{\"boot-1\":3}").as_bytes(), None).expect("readable");
    assert_eq!(read.hears, Some(Vec::new()));
    let read = message::decode(saying("hears", "[\"boot-1\",7]").as_bytes(), None).expect("readable");
    assert_eq!(read.hears, Some(vec!["boot-1".to_owned()]));
}

/// Who speaks must be said as ever.
#[test]
fn hello_without_what_says_who_speaks_is_none() {
    for (old, new) in [
        ("\"node\":\"lb2\"", "\"node\":2"),
        ("\"boot\":\"boot-2\"", "\"boot\":null"),
        ("\"counter\":7", "\"counter\":-7"),
        ("\"file\":\"aaaa\",", ""),
        ("\"groups\":[", "\"parts\":["),
    ] {
        let said = OLDER.replace(old, new);
        assert_ne!(said, OLDER, "{old}");
        assert_eq!(message::decode(said.as_bytes(), None), Err(message::DecodeError::Malformed), "{new}");
    }
}
