use std::{sync::Arc, time::Duration};

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::control::EventLine;

fn subject(name: &str) -> Subject {
    Subject { kind: EventKind::Server, name: name.to_owned(), group: None }
}

fn news(from: &str, to: &str) -> News {
    News { from: from.to_owned(), to: to.to_owned(), ..News::default() }
}

/// So many changes of one server.
fn fill(journal: &Journal, count: usize) {
    for number in 0..count {
        let to = if number % 2 == 0 { "down" } else { "up" };
        journal.change("lb1", subject("app/web1"), news("", to));
    }
}

#[test]
fn a_reader_sees_each_event_once_and_how_many_are_gone() {
    let journal = Journal::default();
    assert_eq!(journal.after(0, 10), Batch::default());
    fill(&journal, 3);
    let batch = journal.after(1, 10);
    assert_eq!((batch.lost, batch.newest), (0, 3));
    assert_eq!(batch.events.iter().map(|event| event.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(journal.after(3, 10), Batch { newest: 3, ..Batch::default() });
    // No more than he takes at once.
    let batch = journal.after(0, 2);
    assert_eq!((batch.lost, batch.newest, batch.events.len()), (0, 2, 2));
    // The first of them says what was said last.
    fill(&journal, 1_100);
    let batch = journal.after(3, 2_000);
    assert_eq!((batch.lost, batch.events.len(), batch.newest), (75, 1_024, 1_102));
    // What the proxy could not pass on is lost for all.
    journal.lose(5);
    fill(&journal, 1);
    let batch = journal.after(1_102, 10);
    assert_eq!((batch.lost, batch.newest), (5, 1_108));
    assert_eq!(batch.events.first().map(|event| event.number), Some(1_108));
}

#[test]
fn a_state_is_an_event_when_it_changes_and_a_change_is_told_once() {
    let journal = Journal::default();
    let told = |journal: &Journal| {
        let one = |event: Event| format!("{} {} {}", event.name, event.from, event.to);
        journal.last(10).into_iter().map(one).collect::<Vec<_>>()
    };
    journal.note("lb1", subject("a"), news("", "ready"));
    assert_eq!(told(&journal), Vec::<String>::new(), "it has begun");
    journal.note("lb1", subject("a"), news("", "ready"));
    journal.note("lb1", subject("a"), news("", "fault"));
    journal.note("lb1", subject("b"), news("stopped", "running"));
    assert_eq!(told(&journal), ["a ready fault", "b stopped running"]);
    assert!(!journal.is_news(&subject("a"), "fault") && journal.is_news(&subject("a"), "ready"));
    journal.change("lb1", subject("c"), news("up", "down"));
    journal.change("lb1", subject("c"), news("up", "down"));
    assert_eq!(told(&journal).len(), 3, "the second one says the same");
    journal.forget(|subject| subject.name == "a");
    journal.note("lb1", subject("a"), news("", "ready"));
    assert_eq!(told(&journal).len(), 3, "it is new again");
}

#[test]
fn the_process_that_takes_over_goes_on_with_numbers_and_states() {
    let before = Journal::default();
    before.note("lb1", subject("a"), news("stopped", "running"));
    fill(&before, 2_000);
    let known = serde_json::to_vec(&before.known()).expect("JSON");
    assert!(known.len() < 60_000, "{}", known.len());
    let next = Journal::default();
    next.go_on(serde_json::from_slice(&known).expect("understood"));
    assert_eq!(next.newest(), 2_001);
    let numbers = |journal: &Journal| journal.last(100).iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!(numbers(&next), numbers(&before));
    next.note("lb1", subject("a"), news("stopped", "running"));
    next.change("lb1", subject("app/web1"), news("down", "up"));
    assert_eq!(next.newest(), 2_001, "both were told by the process before");
    next.change("lb1", subject("app/web1"), news("up", "down"));
    assert_eq!(next.newest(), 2_002);
}

/// The lines that come until there is none, empty ones left out.
async fn read(lines: &mut mpsc::Receiver<Bytes>) -> Vec<EventLine> {
    let mut read = Vec::new();
    while let Ok(Some(line)) = tokio::time::timeout(Duration::from_millis(500), lines.recv()).await {
        if line.len() > 1 {
            read.push(serde_json::from_slice(&line).expect("a line"));
        }
    }
    read
}

fn numbers(lines: &[EventLine]) -> Vec<u64> {
    let number = |line: &EventLine| match line {
        EventLine::Event(event) => event.number,
        EventLine::Lost { .. } => 0,
        EventLine::Over { .. } => u64::MAX,
    };
    lines.iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_follower_who_stands_still_holds_nobody_up_and_is_told_what_he_missed() {
    let journal = Arc::new(Journal::default());
    fill(&journal, 150);
    let (sender, mut lines) = mpsc::channel(2);
    run(&journal, Wanted { follow: true, after: None }, true, sender, ()).expect("one of few");
    assert_eq!(numbers(&read(&mut lines).await), (51..=150).collect::<Vec<_>>(), "the last ones");
    // He reads nothing while more happens than is kept.
    fill(&journal, 5_000);
    tokio::time::sleep(Duration::from_secs(30)).await;
    fill(&journal, 5_000);
    let lines_read = read(&mut lines).await;
    let lost: u64 =
        lines_read.iter().map(|line| if let EventLine::Lost { lost } = line { *lost } else { 0 }).sum();
    let events = lines_read.iter().filter(|line| matches!(line, EventLine::Event(_))).count() as u64;
    assert_eq!(lost + events, 10_000);
    assert!(lost > 5_000, "{lost}");
    journal.end(End::Over);
    assert_eq!(numbers(&read(&mut lines).await), [u64::MAX]);
    assert!(lines.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_has_had_some_is_told_the_rest_and_who_does_not_follow_is_told_that_these_are_all() {
    let journal = Arc::new(Journal::default());
    fill(&journal, 3);
    for (after, expected) in
        [(Some(1), vec![2, 3]), (Some(3), vec![]), (Some(700), vec![1, 2, 3]), (None, vec![1, 2, 3])]
    {
        let (sender, mut lines) = mpsc::channel(2);
        run(&journal, Wanted { follow: false, after }, true, sender, ()).expect("one of few");
        let expected: Vec<_> = expected.into_iter().chain([u64::MAX]).collect();
        assert_eq!(numbers(&read(&mut lines).await), expected, "{after:?}");
    }
    // Another process goes on: no line says that it is over.
    let (sender, mut lines) = mpsc::channel(2);
    run(&journal, Wanted { follow: true, after: Some(3) }, true, sender, ()).expect("one of few");
    journal.end(End::Elsewhere);
    assert_eq!(read(&mut lines).await, []);
    assert!(lines.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn followers_are_few_and_one_who_reads_nothing_makes_room() {
    let journal = Arc::new(Journal::default());
    fill(&journal, 100);
    let wanted = Wanted { follow: true, after: Some(0) };
    let follow = |may_change| {
        let (sender, lines) = mpsc::channel(2);
        run(&journal, wanted, may_change, sender, ()).map(|()| lines)
    };
    let all: Vec<_> = (0..16).map(|_| follow(false).expect("one of few")).collect();
    assert!(matches!(follow(false), Err(Refused::Full(_))));
    let other = follow(true).expect("who may change something is kept out by nobody who may only read");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let again = follow(false).expect("those before have read nothing for a minute");
    drop((all, other, again));
}

#[test]
fn what_the_query_may_say() {
    assert_eq!(Wanted::parse(""), Ok(Wanted::default()));
    assert_eq!(Wanted::parse("follow=true&after=17"), Ok(Wanted { follow: true, after: Some(17) }));
    for bad in ["after=x", "after", "follow=maybe", "last=3", "after=-1"] {
        assert!(
            matches!(Wanted::parse(bad), Err(Refused::Request(why)) if why.contains("after=NUMBER")),
            "{bad}"
        );
    }
}
