use super::*;
use crate::{
    config::model::{Means, Wants},
    control::EventKind,
    daemon::journal::{News, Subject},
};

fn notify(name: &str, to: &[&str]) -> Notify {
    Notify {
        name: name.to_owned(),
        means: Means::Command(vec!["/nowhere/at/all".to_owned()]),
        timeout: Duration::from_secs(1),
        wants: Wants { to: to.iter().map(|state| (*state).to_owned()).collect(), ..Wants::default() },
    }
}

fn happens(journal: &Journal, count: usize) {
    for number in 0..count {
        let to = if number % 2 == 0 { "down" } else { "up" }.to_owned();
        let subject = Subject { kind: EventKind::Server, name: "app/web1".to_owned(), group: None };
        journal.change("lb1", subject, News { to, ..News::default() });
    }
}

fn counts(notifiers: &Notifiers, journal: &Journal) -> Vec<(String, u64, u64, u64, u64)> {
    let one = |one: Notifier| (one.name, one.told_total, one.failed_total, one.lost_total, one.waiting);
    notifiers.report(journal).into_iter().map(one).collect()
}

#[tokio::test]
async fn each_is_told_what_it_wants_from_when_it_is_there_and_a_failure_is_a_problem_with_its_reason() {
    let journal = Arc::new(Journal::default());
    happens(&journal, 3);
    let mut notifiers = Notifiers::default();
    // There is nobody who runs commands.
    notifiers.follow(&[notify("a", &["down"]), notify("b", &[])], &journal, &Runner::default());
    happens(&journal, 0);
    journal.change(
        "lb1",
        Subject { kind: EventKind::Server, name: "app/web2".to_owned(), group: None },
        News { to: "up".to_owned(), ..News::default() },
    );
    notifiers.flush(&journal).await;
    assert_eq!(
        counts(&notifiers, &journal),
        [("a".to_owned(), 0, 0, 0, 0), ("b".to_owned(), 0, 1, 0, 0)],
        "what was before is not told"
    );
    let problems: Vec<_> = notifiers.problems().collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].what, "[notify.b] is not told what happens");
    assert!(
        problems[0].look_at.starts_with("command /nowhere/at/all: the process that runs commands"),
        "{problems:?}"
    );
}

#[tokio::test]
async fn whom_another_file_still_has_goes_on_where_it_is_and_the_next_process_as_well() {
    let journal = Arc::new(Journal::default());
    let mut notifiers = Notifiers::default();
    let runner = Runner::default();
    notifiers.follow(&[notify("a", &[]), notify("gone", &[])], &journal, &runner);
    happens(&journal, 1);
    notifiers.flush(&journal).await;
    notifiers.follow(&[notify("b", &[]), notify("a", &["up"])], &journal, &runner);
    journal.change(
        "lb1",
        Subject { kind: EventKind::Server, name: "app/web1".to_owned(), group: None },
        News { to: "up".to_owned(), ..News::default() },
    );
    notifiers.flush(&journal).await;
    assert_eq!(counts(&notifiers, &journal), [("b".to_owned(), 0, 1, 0, 0), ("a".to_owned(), 0, 2, 0, 0)]);
    let known = notifiers.pause();
    happens(&journal, 1);
    notifiers.idle().await;
    assert_eq!(counts(&notifiers, &journal)[0].4, 1, "nothing begins any more");
    let mut next = Notifiers::default();
    next.go_on(known);
    next.follow(&[notify("a", &[]), notify("new", &[])], &journal, &runner);
    next.flush(&journal).await;
    assert_eq!(counts(&next, &journal), [("a".to_owned(), 0, 1, 0, 0), ("new".to_owned(), 0, 0, 0, 0)]);
    notifiers.resume();
    notifiers.flush(&journal).await;
    assert_eq!(
        counts(&notifiers, &journal)[0],
        ("b".to_owned(), 0, 2, 0, 0),
        "if there is no next one after all"
    );
}

#[tokio::test]
async fn what_has_left_the_journal_before_its_turn_is_counted_as_lost() {
    let journal = Arc::new(Journal::default());
    let mut notifiers = Notifiers::default();
    notifiers.follow(&[notify("a", &["nothing"])], &journal, &Runner::default());
    happens(&journal, 2_000);
    notifiers.flush(&journal).await;
    assert_eq!(counts(&notifiers, &journal), [("a".to_owned(), 0, 0, 976, 0)]);
}
