//! Two sessions over an emulated wire, and what one must refuse.

mod signed;
mod simulated;
mod versions;

use super::*;

const LB1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
const LB2: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 12));

/// The daemon of that node.
fn from(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, PORT)
}

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000 + milliseconds * 1_000_000)
}

fn local(node: &str, file: &str, state: State) -> Local {
    Local {
        node: node.to_owned(),
        file: file.to_owned(),
        signs: None,
        drained: None,
        groups: vec![LocalGroup {
            name: "default".to_owned(),
            state,
            since: at(0),
            why: "started".to_owned(),
            priority: 254,
            ready: Ready::Yes,
            announced: None,
            refused: Refused::default(),
        }],
        addresses: Vec::new(),
    }
}

fn lb1() -> Session {
    Session::new(at(0), "boot-1".to_owned(), local("lb1", "aaaa", State::Active), [("lb2".to_owned(), LB2)])
}

fn lb2(boot: &str, start: Moment) -> Session {
    Session::new(start, boot.to_owned(), local("lb2", "aaaa", State::Backup), [("lb1".to_owned(), LB1)])
}

/// Lets `session` say what is due and returns the last datagram.
fn said(session: &mut Session, now: Moment) -> Option<Vec<u8>> {
    session.handle_timeout(now);
    std::iter::from_fn(|| session.poll_transmit()).last().map(|(_, bytes)| bytes)
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

#[test]
fn a_hello_is_said_once_a_second_and_on_a_change() {
    let mut session = lb1();
    assert!(said(&mut session, at(0)).is_some());
    assert_eq!(session.poll_timeout(), at(1_000));
    assert!(said(&mut session, at(999)).is_none());
    session.handle_local(at(500), local("lb1", "aaaa", State::Active));
    assert_eq!(session.poll_timeout(), at(1_000), "nothing changed");
    session.handle_local(at(500), local("lb1", "aaaa", State::Backup));
    assert!(said(&mut session, at(500)).is_some());
    session.handle_local(at(501), local("lb1", "aaaa", State::Active));
    assert_eq!(session.poll_timeout(), at(600), "never faster than ten a second");
}

#[test]
fn a_peer_is_known_by_what_it_says() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    let bytes = said(&mut two, at(2_000)).expect("due");
    one.handle_datagram(at(2_001), from(LB2), Some(255), &bytes);
    assert_eq!(events(&mut one), [Event::Appeared { peer: "lb2".to_owned(), why: "first hello" }]);
    let group = one.peers()[0].group("default").expect("known");
    assert_eq!((group.state, group.priority, group.age_ms), (State::Backup, 254, 2_000));
    assert_eq!(one.counters().get("hello_received"), Some(&1));
}

#[test]
fn a_peer_that_stops_talking_is_silent_within_three_seconds_and_reappears() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    let bytes = said(&mut two, at(0)).expect("due");
    one.handle_datagram(at(0), from(LB2), Some(255), &bytes);
    events(&mut one);
    one.handle_timeout(at(2_749));
    assert_eq!(events(&mut one), []);
    one.handle_timeout(at(2_750));
    assert_eq!(events(&mut one), [Event::Silent { peer: "lb2".to_owned() }]);
    assert_eq!(one.peers()[0].group("default"), None, "what a silent node said is stale");
    let bytes = said(&mut two, at(9_000)).expect("due");
    one.handle_datagram(at(9_000), from(LB2), Some(255), &bytes);
    assert_eq!(events(&mut one), [Event::Appeared { peer: "lb2".to_owned(), why: "after a silence" }]);
}

#[test]
fn a_peer_that_never_spoke_is_silent_too() {
    let mut session = lb1();
    session.handle_timeout(at(2_750));
    assert_eq!(events(&mut session), [Event::Silent { peer: "lb2".to_owned() }]);
}

#[test]
fn a_restarted_peer_appears_again_and_hellos_of_its_past_are_refused() {
    let (mut one, mut old) = (lb1(), lb2("boot-2", at(0)));
    let recorded = said(&mut old, at(0)).expect("due");
    one.handle_datagram(at(0), from(LB2), Some(255), &recorded);
    events(&mut one);
    let fresh = said(&mut lb2("boot-3", at(1_000)), at(1_000)).expect("due");
    one.handle_datagram(at(1_000), from(LB2), Some(255), &fresh);
    assert_eq!(events(&mut one), [Event::Appeared { peer: "lb2".to_owned(), why: "after a restart" }]);
    for replayed in [&recorded, &fresh] {
        one.handle_datagram(at(1_100), from(LB2), Some(255), replayed);
    }
    assert_eq!(one.counters().get("hello_replay"), Some(&2));
    assert_eq!(events(&mut one), []);
}

#[test]
fn a_hello_that_was_routed_or_comes_from_a_stranger_is_refused() {
    let bytes = said(&mut lb2("boot-2", at(0)), at(0)).expect("due");
    let misnamed = said(
        &mut Session::new(
            at(0),
            "b".to_owned(),
            local("lb9", "aaaa", State::Active),
            [("x".to_owned(), LB1)],
        ),
        at(0),
    )
    .expect("due");
    let (peer, stranger) = (from(LB2), from(IpAddr::from([198, 51, 100, 7])));
    // Anybody on that node can bind another port.
    let other_user = SocketAddr::new(LB2, 40_000);
    let table: [(SocketAddr, Option<u8>, &[u8], &str); 7] = [
        (peer, Some(254), &bytes, "hello_ttl"),
        (peer, None, &bytes, "hello_ttl"),
        (stranger, Some(255), &bytes, "hello_stranger"),
        (other_user, Some(255), &bytes, "hello_port"),
        (peer, Some(255), &misnamed, "hello_other_name"),
        (peer, Some(255), b"LBH\x07{}", "hello_other_version"),
        (peer, Some(255), b"LBH\x01{", "hello_malformed"),
    ];
    for (source, ttl, bytes, counter) in table {
        let mut session = lb1();
        session.handle_datagram(at(1), source, ttl, bytes);
        assert_eq!(session.counters().get(counter), Some(&1), "{counter}");
        assert!(session.peers()[0].last.is_none());
        let unreadable = matches!(counter, "hello_other_version" | "hello_malformed");
        let told = Event::Refused { peer: "lb2".to_owned(), why: Refusal::Unreadable };
        assert_eq!(events(&mut session), if unreadable { vec![told] } else { vec![] }, "{counter}");
    }
}

#[test]
fn a_differing_file_is_reported_once_and_not_faster_than_once_a_minute() {
    let mut one = lb1();
    let mut two = lb2("boot-2", at(0));
    let mut drifts = Vec::new();
    for (now, file) in [(0, "aaaa"), (1_000, "bbbb"), (2_000, "bbbb"), (3_000, "cccc"), (62_000, "dddd")] {
        two.handle_local(at(now), local("lb2", file, State::Backup));
        let bytes = said(&mut two, at(now)).expect("due");
        one.handle_datagram(at(now), from(LB2), Some(255), &bytes);
        drifts.extend(events(&mut one).into_iter().filter_map(|event| match event {
            Event::FileDiffers { theirs, .. } => Some((now, theirs)),
            _ => None,
        }));
    }
    assert_eq!(drifts, [(1_000, "bbbb".to_owned()), (62_000, "dddd".to_owned())]);
}

#[test]
fn a_node_that_ends_says_so_at_once_and_what_it_said_before_is_stale() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    let bytes = said(&mut two, at(0)).expect("due");
    one.handle_datagram(at(0), from(LB2), Some(255), &bytes);
    events(&mut one);
    two.handle_ending(at(20), local("lb2", "aaaa", State::Initialize));
    let last = said(&mut two, at(20)).expect("at once");
    one.handle_datagram(at(21), from(LB2), Some(255), &last);
    assert_eq!(events(&mut one), [Event::Ended { peer: "lb2".to_owned() }]);
    assert!(one.peers()[0].silent && one.peers()[0].has_ended());
    assert_eq!(one.peers()[0].group("default"), None);
    one.handle_timeout(at(9_000));
    assert_eq!(events(&mut one), [], "its silence is no news");
    let fresh = said(&mut lb2("boot-3", at(9_000)), at(9_000)).expect("due");
    one.handle_datagram(at(9_000), from(LB2), Some(255), &fresh);
    assert_eq!(events(&mut one), [Event::Appeared { peer: "lb2".to_owned(), why: "after a silence" }]);
    assert!(!one.peers()[0].silent);
}

/// What a forger on the same network says in the name of lb2.
fn forged(boot: &str, counter: u64, ending: bool) -> Vec<u8> {
    let mut session = lb2(boot, at(0));
    session.counter = counter - 1;
    session.ending = ending;
    said(&mut session, at(0)).expect("due")
}

#[test]
fn a_forged_restart_does_not_silence_the_peer_itself() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    let recorded = said(&mut two, at(0)).expect("due");
    one.handle_datagram(at(0), from(LB2), Some(255), &recorded);
    one.handle_datagram(at(500), from(LB2), Some(255), &forged("boot-x", 1, false));
    let bytes = said(&mut two, at(1_000)).expect("due");
    one.handle_datagram(at(1_000), from(LB2), Some(255), &bytes);
    let (heard, last) = one.peers()[0].last.as_ref().expect("heard");
    assert_eq!((*heard, last.boot.as_str()), (at(1_000), "boot-2"));
    one.handle_datagram(at(1_100), from(LB2), Some(255), &recorded);
    assert_eq!(one.counters().get("hello_replay"), Some(&1));
}

#[test]
fn a_forged_counter_does_not_silence_the_peer_itself() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    one.handle_datagram(at(0), from(LB2), Some(255), &said(&mut two, at(0)).expect("due"));
    one.handle_datagram(at(500), from(LB2), Some(255), &forged("boot-2", u64::MAX, false));
    assert_eq!(one.counters().get("hello_jump"), Some(&1));
    one.handle_datagram(at(1_000), from(LB2), Some(255), &said(&mut two, at(1_000)).expect("due"));
    assert_eq!(one.peers()[0].last.as_ref().expect("heard").0, at(1_000));
}

#[test]
fn a_peer_may_be_far_ahead_after_a_silence() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    one.handle_datagram(at(0), from(LB2), Some(255), &said(&mut two, at(0)).expect("due"));
    one.handle_timeout(at(3_500));
    one.handle_datagram(at(9_000), from(LB2), Some(255), &forged("boot-2", 5_000, false));
    assert_eq!(one.peers()[0].last.as_ref().expect("heard").0, at(9_000));
}

#[test]
fn a_forger_writes_a_bounded_number_of_lines() {
    let mut one = lb1();
    for n in 1..1_000 {
        one.handle_datagram(at(n), from(LB2), Some(255), &forged(&format!("boot-{n}"), 1, n % 2 == 0));
    }
    assert_eq!(events(&mut one).len(), 16);
    one.handle_datagram(at(5_000), from(LB2), Some(255), &forged("boot-y", 1, false));
    assert_eq!(events(&mut one).len(), 1);
}

#[test]
fn next_process_knows_what_was_heard_and_is_the_same_node_to_the_others() {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    let heard = said(&mut two, at(0)).expect("due");
    one.handle_datagram(at(0), from(LB2), Some(255), &heard);
    let bytes = said(&mut one, at(0)).expect("due");
    two.handle_datagram(at(0), from(LB1), Some(255), &bytes);
    events(&mut two);
    let known = serde_json::to_string(&one.known()).expect("words");
    let known: KnownSession = serde_json::from_str(&known).expect("the same");
    let next_with = |known| {
        let local = local("lb1", "aaaa", State::Active);
        let mut next = Session::new(at(500), "boot-9".to_owned(), local, [("lb2".to_owned(), LB2)]);
        next.go_on(known);
        next
    };
    let mut next = next_with(known.clone());
    assert!(next.peers()[0].group("default").is_some());
    next.handle_datagram(at(500), from(LB2), Some(255), &heard);
    assert_eq!(next.counters().get("hello_replay"), Some(&1));
    let bytes = said(&mut next, at(500)).expect("due");
    two.handle_datagram(at(500), from(LB1), Some(255), &bytes);
    assert_eq!((events(&mut two), two.counters().get("hello_received")), (vec![], Some(&2)));
    // That process ends, and the one before goes on.
    let mut again = next_with(known.under("boot-10".to_owned()));
    let bytes = said(&mut again, at(600)).expect("due");
    two.handle_datagram(at(600), from(LB1), Some(255), &bytes);
    assert_eq!(events(&mut two), [Event::Appeared { peer: "lb1".to_owned(), why: "after a restart" }]);
}
