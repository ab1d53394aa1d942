//! Hellos of a cluster with a secret: who is believed, and who is told of.

use super::*;

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text).expect("long enough"))
}

fn ours() -> Option<Secret> {
    secret("correct horse battery staple")
}

/// lb1 with a secret, and lb2 with one.
fn pair(theirs: Option<Secret>) -> (Session, Session) {
    let (mut one, mut two) = (lb1(), lb2("boot-2", at(0)));
    one.handle_secret(ours());
    let signs = theirs.is_some();
    two.handle_secret(theirs);
    if signs {
        meet(&mut one, &mut two, at(0));
    }
    (one, two)
}

/// lb2 hears what lb1 has to say.
fn meet(one: &mut Session, two: &mut Session, now: Moment) {
    let bytes = said(one, now).expect("due");
    two.handle_datagram(now, from(LB1), Some(255), &bytes);
}

/// Somebody who says that he is lb2.
fn forger(secret: Option<Secret>) -> Session {
    let local = local("lb2", "bbbb", State::Active);
    let mut forger = Session::new(at(0), "boot-9".to_owned(), local, [("lb1".to_owned(), LB1)]);
    forger.handle_secret(secret);
    forger
}

/// lb1 gets what lb2 has to say, and what it was counted as.
fn hear(one: &mut Session, bytes: &[u8], now: Moment) -> Vec<&'static str> {
    let before = one.counters().clone();
    one.handle_datagram(now, from(LB2), Some(255), bytes);
    let differs = |(name, n): &(&&'static str, &u64)| before.get(*name) != Some(n);
    one.counters().iter().filter(differs).map(|(name, _)| *name).collect()
}

#[test]
fn nodes_with_one_secret_believe_each_other_whatever_their_clocks_say() {
    let (mut one, mut two) = pair(ours());
    for (theirs, here) in [(0, 0), (86_400_000, 1_000), (86_401_000, 1_000_000)] {
        let bytes = said(&mut two, at(theirs)).expect("due");
        assert_eq!(hear(&mut one, &bytes, at(here)), ["hello_received"]);
    }
    assert_eq!(one.peers()[0].group("default").map(|group| group.state), Some(State::Backup));
    assert!(one.is_proven());
    one.handle_secret(ours());
    assert!(one.is_proven(), "it is the same");
    one.handle_secret(secret("another secret of the cluster"));
    assert!(!one.is_proven());
}

#[test]
fn hello_of_a_forger_changes_nothing_and_is_told_once_a_minute() {
    let (mut one, mut two) = pair(ours());
    let right = said(&mut two, at(0)).expect("due");
    hear(&mut one, &right, at(0));
    events(&mut one);
    for (theirs, counter, why) in [
        (None, "hello_unsigned", Refusal::Unsigned),
        (secret("a secret of somebody else"), "hello_signature", Refusal::OtherSecret),
    ] {
        let forged = said(&mut forger(theirs), at(0)).expect("due");
        assert_eq!(hear(&mut one, &forged, at(100)), [counter]);
        assert_eq!(one.peers()[0].refusal(at(100)), Some(why));
    }
    one.proven = false;
    assert_eq!(
        hear(&mut one, &said(&mut forger(secret("a secret of somebody else")), at(0)).expect("due"), at(100)),
        ["hello_signature"]
    );
    assert!(!one.is_proven());
    let event = Event::Refused { peer: "lb2".to_owned(), why: Refusal::Unsigned };
    assert_eq!(events(&mut one), [event], "neither another boot nor another file, and one line");
    assert_eq!(one.peers()[0].group("default").map(|group| group.state), Some(State::Backup));
    let next = said(&mut two, at(1_000)).expect("due");
    assert_eq!(hear(&mut one, &next, at(1_000)), ["hello_received"]);
    assert_eq!(one.peers()[0].refusal(at(1_000)), None);
}

#[test]
fn recorded_hello_is_refused_also_after_a_restart_of_the_peer() {
    let (mut one, mut two) = pair(ours());
    let recorded = said(&mut two, at(0)).expect("due");
    hear(&mut one, &recorded, at(0));
    let mut restarted = lb2("boot-3", at(1_000));
    restarted.handle_secret(ours());
    meet(&mut one, &mut restarted, at(1_000));
    let fresh = said(&mut restarted, at(1_000)).expect("due");
    assert_eq!(hear(&mut one, &fresh, at(1_000)), ["hello_received"]);
    for replayed in [&recorded, &fresh] {
        assert_eq!(hear(&mut one, replayed, at(1_100)), ["hello_replay"]);
    }
}

/// The file of a node that is one version older has no secret: it hears this node, which does not believe it, and is named.
#[test]
fn peer_of_before_understands_a_signed_hello_and_is_not_believed_itself() {
    let (mut one, mut old) = pair(None);
    let signed = said(&mut one, at(0)).expect("due");
    old.handle_datagram(at(0), from(LB1), Some(255), &signed);
    assert_eq!(old.peers()[0].group("default").map(|group| group.state), Some(State::Active));
    let unsigned = said(&mut old, at(0)).expect("due");
    assert_eq!(hear(&mut one, &unsigned, at(0)), ["hello_unsigned"]);
    assert_eq!(one.peers()[0].refusal(at(2_749)), Some(Refusal::Unsigned));
    assert_eq!(one.peers()[0].refusal(at(2_750)), None, "it is silent after that");
}

#[test]
fn secret_comes_and_goes_while_the_nodes_run() {
    let (mut one, mut two) = pair(None);
    one.handle_secret(None);
    let bytes = said(&mut two, at(0)).expect("due");
    assert_eq!(hear(&mut one, &bytes, at(0)), ["hello_received"]);
    one.handle_secret(ours());
    let bytes = said(&mut two, at(1_000)).expect("due");
    assert_eq!(hear(&mut one, &bytes, at(1_000)), ["hello_unsigned"]);
    two.handle_secret(ours());
    meet(&mut one, &mut two, at(2_000));
    let bytes = said(&mut two, at(2_000)).expect("due");
    assert_eq!(hear(&mut one, &bytes, at(2_000)), ["hello_received"]);
}

/// What lb2 said to the lb1 of before, played once lb2 is gone.
#[test]
fn hello_that_was_recorded_before_this_node_began_shows_no_peer() {
    let (mut before, mut two) = pair(ours());
    let recorded = [0, 1_000].map(|time| said(&mut two, at(time)).expect("due"));
    for bytes in &recorded {
        assert_eq!(hear(&mut before, bytes, at(1_000)), ["hello_received"]);
    }
    let local = local("lb1", "aaaa", State::Active);
    let mut one = Session::new(at(5_000), "boot-7".to_owned(), local, [("lb2".to_owned(), LB2)]);
    one.handle_secret(ours());
    assert_eq!(said(&mut one, at(5_000)).map(|_| ()), Some(()));
    for bytes in &recorded {
        assert_eq!(hear(&mut one, bytes, at(5_100)), ["hello_one_sided"]);
    }
    assert_eq!(one.peers()[0].group("default"), None);
    assert!(one.is_proven(), "the secret is right all the same");
    // One that is there has an answer long before the next second.
    assert!(said(&mut one, at(5_200)).is_some(), "it speaks at once to whom it has not heard");
    meet(&mut one, &mut two, at(6_200));
    let bytes = said(&mut two, at(6_300)).expect("due");
    assert_eq!(hear(&mut one, &bytes, at(6_300)), ["hello_received"]);
}

#[test]
fn peer_of_before_that_names_nobody_is_believed_as_it_was() {
    let (mut one, two) = pair(ours());
    let hello = Hello { hears: None, ..two.hello(at(0)) };
    assert_eq!(hear(&mut one, &message::encode(&hello, ours().as_ref()), at(0)), ["hello_received"]);
}
