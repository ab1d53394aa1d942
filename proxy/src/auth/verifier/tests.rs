use std::time::{Duration, Instant};

use super::*;
use crate::{
    auth::PasswordHash,
    config::{Group, User},
};

/// Of `pw`, with the fewest rounds.
const PW: &str = "$5$rounds=1000$abc$zdUXQ3de2d3x/8MYX1t30oZjPfJThZR5heHeVDYi8j6";

fn lists() -> Vec<UserList> {
    let user = |name: &str| User {
        name: name.to_owned(),
        hash: PasswordHash::parse(PW).unwrap(),
        is_of_file: false,
    };
    let users = vec![user("anna"), user("bob")];
    vec![UserList { name: "staff".into(), file: None, users, groups: Vec::<Group>::new() }]
}

/// The 192.0.2.`host` wants to be `user`.
fn question(verifier: &Verifier, user: &str, password: &str, host: u8) -> Question {
    let key = verifier.key(format!("{user}:{password}").as_bytes());
    verifier.question(key, 0, user.as_bytes(), password.as_bytes().into(), [192, 0, 2, host].into())
}

fn outcome(answer: oneshot::Receiver<Result<Outcome, Busy>>) -> Outcome {
    answer.blocking_recv().unwrap().unwrap()
}

#[test]
fn only_the_right_password_of_a_known_user_is_granted() {
    let verifier = Verifier::with(&lists(), 1);
    for (user, password, expected) in [
        ("anna", "pw", Outcome::Granted(0)),
        ("bob", "pw", Outcome::Granted(1)),
        ("anna", "pW", Outcome::Refused),
        ("anna", "", Outcome::Refused),
        // The stand-in has this password, and is nobody.
        ("carl", "pw", Outcome::Refused),
        ("", "pw", Outcome::Refused),
    ] {
        let answer = verifier.ask(question(&verifier, user, password, 1)).unwrap();
        assert_eq!(outcome(answer), expected, "{user} {password}");
    }
}

#[test]
fn what_is_known_is_answered_without_a_thread() {
    let verifier = Verifier::with(&lists(), 1);
    outcome(verifier.ask(question(&verifier, "anna", "pw", 1)).unwrap());
    outcome(verifier.ask(question(&verifier, "anna", "no", 1)).unwrap());
    // With nobody who serves it only what is known comes.
    verifier.shared.state().is_over = true;
    let mut known = verifier.ask(question(&verifier, "anna", "pw", 2)).unwrap();
    assert_eq!(known.try_recv(), Ok(Ok(Outcome::Granted(0))));
    let mut known = verifier.ask(question(&verifier, "anna", "no", 2)).unwrap();
    assert_eq!(known.try_recv(), Ok(Ok(Outcome::Refused)));
    let mut unknown = verifier.ask(question(&verifier, "bob", "pw", 2)).unwrap();
    assert!(unknown.try_recv().is_err());
}

/// One that starts no thread, so that the line can be looked at.
fn idle() -> Verifier {
    let mut verifier = Verifier::with(&lists(), 1);
    verifier.threads = 0;
    verifier
}

#[test]
fn a_source_with_many_questions_holds_up_no_other() {
    let verifier = idle();
    let mut answers = Vec::new();
    let mut ask =
        |password: &str, host| answers.push(verifier.ask(question(&verifier, "anna", password, host)));
    for number in 0..5 {
        ask(&format!("guess {number}"), 1);
    }
    for number in 0..3 {
        ask(&format!("guess {number}, too"), 2);
    }
    ask("pw", 3);
    let mut state = verifier.shared.state();
    let mut take = || String::from_utf8(state.take().unwrap().question.password.into()).unwrap();
    assert_eq!([take(), take(), take()], ["guess 0", "guess 0, too", "pw"]);
    assert_eq!([take(), take()], ["guess 1", "guess 1, too"]);
    drop(state);
    // Whoever comes now does not wait for what is in line.
    ask("late", 4);
    let mut state = verifier.shared.state();
    let mut take = || String::from_utf8(state.take().unwrap().question.password.into()).unwrap();
    assert_eq!([take(), take(), take(), take()], ["late", "guess 2", "guess 2, too", "guess 3"]);
}

#[test]
fn the_line_is_bounded_for_a_source_and_in_all_and_who_has_left_is_in_no_line() {
    let verifier = idle();
    let ask = |number: usize, host| verifier.ask(question(&verifier, "anna", &number.to_string(), host));
    let mut first: Vec<_> = (0..MOST_OF_SOURCE).map(|number| ask(number, 1).unwrap()).collect();
    assert_eq!(ask(1000, 1).unwrap_err(), Busy::Source);
    first.pop();
    first.push(ask(1000, 1).unwrap());
    let hosts = 2..=u8::try_from(MOST / MOST_OF_SOURCE).unwrap();
    let others = hosts.flat_map(|host| (0..MOST_OF_SOURCE).map(move |number| (number, host)));
    let mut others: Vec<_> = others.map(|(number, host)| ask(number + 2000, host).unwrap()).collect();
    // Who has fewer gets the place of the youngest question of one that has most.
    let newcomer = ask(1, 99).unwrap();
    assert_eq!(others.pop().unwrap().try_recv(), Ok(Err(Busy::Source)));
    assert!(others.iter_mut().chain(&mut first).all(|answer| answer.try_recv().is_err()));
    drop(newcomer);
    drop(others);
    assert!(ask(1, 99).is_ok());
    drop(first);
    assert!(verifier.shared.state().take().is_none());
}

#[test]
fn a_full_line_of_sources_that_have_one_question_each_is_full() {
    let verifier = idle();
    let ask = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let password = number.to_be_bytes();
        let key = verifier.key(&password);
        verifier.ask(verifier.question(key, 0, b"anna", password.into(), [198, 51, high, low].into()))
    };
    let waiting: Vec<_> = (0..u16::try_from(MOST).unwrap()).map(|number| ask(number).unwrap()).collect();
    assert_eq!(ask(60_000).unwrap_err(), Busy::All);
    drop(waiting);
}

/// One that makes the thread panic which takes it.
fn fatal(verifier: &Verifier) -> Question {
    Question { list: usize::MAX, ..question(verifier, "anna", "pw", 1) }
}

#[test]
fn a_thread_that_panics_is_replaced() {
    let verifier = Verifier::with(&lists(), 1);
    assert!(verifier.ask(fatal(&verifier)).unwrap().blocking_recv().is_err());
    // The thread may still be counted.
    assert_eq!(outcome(verifier.ask(question(&verifier, "anna", "pw", 1)).unwrap()), Outcome::Granted(0));
}

#[test]
fn what_is_in_line_when_a_thread_panics_is_answered() {
    let mut verifier = idle();
    let lost = verifier.ask(fatal(&verifier)).unwrap();
    let next = verifier.ask(question(&verifier, "anna", "pw", 1)).unwrap();
    // The only thread takes the first one, and nobody asks anything after that.
    verifier.threads = 1;
    let shared = &verifier.shared;
    shared.start_thread(&mut shared.state());
    assert!(lost.blocking_recv().is_err());
    assert_eq!(outcome(next), Outcome::Granted(0));
    assert_eq!(shared.state().threads, 1);
}

#[test]
fn threads_end_with_the_verifier() {
    let verifier = Verifier::with(&lists(), 4);
    let answers: Vec<_> =
        (0..8).map(|number| verifier.ask(question(&verifier, "anna", &number.to_string(), 1))).collect();
    answers.into_iter().for_each(|answer| assert_eq!(outcome(answer.unwrap()), Outcome::Refused));
    let shared = Arc::downgrade(&verifier.shared);
    assert!(verifier.shared.state().threads <= 2);
    drop(verifier);
    let begun = Instant::now();
    while shared.strong_count() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "a thread never ended");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn who_is_known_stays_known_as_long_as_the_users_are_the_same() {
    let mut config = Config {
        desk: None,
        ticket_secret: None,
        threads: std::num::NonZeroUsize::MIN,
        maxconn: 1,
        node: String::new(),
        log: Vec::new(),
        maps: Vec::new(),
        users: lists(),
        resolver: Default::default(),
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        frontends: Vec::new(),
        backends: Vec::new(),
    };
    let first = Verifier::new(&config, None);
    assert!(Arc::ptr_eq(&first, &Verifier::new(&config, Some(&first))));
    config.users[0].users[0].hash = PasswordHash::parse(&PW.replace("zdUXQ3de", "xdUXQ3de")).unwrap();
    assert!(!Arc::ptr_eq(&first, &Verifier::new(&config, Some(&first))));
}
