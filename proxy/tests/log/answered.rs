//! Exchanges that end here: a rule answers or refuses them, whatever a server says.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use lb_proxy::{
    auth::PasswordHash,
    config::{User, UserList},
    rules::{
        Action, Condition, Content, LimitedBy, PathPattern, RateLimit, RequireAuth, Respond, Rule,
        Text as Written, ValuePattern,
    },
    sample::{Names, Place, Stage, Template, Text},
    table::Rate,
};

use crate::{
    peers::*,
    rig::{connect, counter},
    terminations::Bench,
};

fn always(action: Action) -> Vec<Rule> {
    vec![Rule { when: Condition::ALWAYS, then: vec![action] }]
}

#[tokio::test]
async fn request_whose_like_comes_too_often_is_pr_429() {
    let server = Recording::answering(OK).await;
    let rate = Rate { count: NonZeroU32::MIN, per: Duration::from_secs(43_200) };
    let limit = RateLimit::new(LimitedBy::Source, rate, NonZeroU32::new(10).unwrap(), 64, 429);
    let bench = Bench::start(http_config(&[server.server.address]), |config| {
        config.frontends[0].rules = always(Action::RateLimit(limit));
    })
    .await;
    let mut client = connect(&bench.proxy).await;
    for expected in ["200 ---- back/s1 T/T/T/T/T", "429 PR-- front/<NOSRV> T/-1/-1/-1/T"] {
        ask(&mut client, GET).await;
        assert_eq!(bench.outcome().await, expected);
    }
}

/// Of `pw`, with the fewest rounds.
const QUICK: &str = "$5$rounds=1000$abc$zdUXQ3de2d3x/8MYX1t30oZjPfJThZR5heHeVDYi8j6";
const SLOW: &str = "$2b$11$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW";

fn users(hash: &str) -> Vec<UserList> {
    let users =
        vec![User { name: "anna".into(), hash: PasswordHash::parse(hash).unwrap(), is_of_file: false }];
    vec![UserList { name: "staff".into(), file: None, users, groups: Vec::new() }]
}

fn require() -> Vec<Rule> {
    always(Action::RequireAuth(RequireAuth::new(0, Vec::new(), "staff")))
}

#[tokio::test]
async fn request_that_is_answered_by_a_rule_or_asked_for_a_password_is_lr() {
    let server = Recording::answering(OK).await;
    let answer = |status, content, denies| {
        let answer = Respond { status, content, headers: Vec::new(), denies };
        always(Action::Respond(answer))
    };
    for (rules, status, code, denied) in [
        (answer(204, Content::Empty, false), 204, "LR", 0),
        (answer(204, Content::Empty, true), 204, "PR", 1),
        (answer(404, Content::Page, false), 404, "LR", 0),
        (answer(404, Content::Page, true), 404, "PR", 1),
        (require(), 401, "LR", 0),
    ] {
        let bench = Bench::start(http_config(&[server.server.address]), |config| {
            config.users = users(QUICK);
            config.frontends[0].rules = rules;
        })
        .await;
        let _client = bench.sends(GET).await;
        assert_eq!(bench.outcome().await, format!("{status} {code}-- front/<NOSRV> T/-1/-1/-1/T"));
        assert_eq!(counter(&bench.proxy, "denied_total"), denied);
    }
}

#[tokio::test]
async fn request_whose_password_would_wait_behind_too_many_is_rr_429() {
    let server = Recording::answering(OK).await;
    let bench = Bench::start(http_config(&[server.server.address]), |config| {
        (config.threads, config.maxconn) = (NonZeroUsize::MIN, 1_000);
        config.users = users(SLOW);
        config.frontends[0].rules = require();
        // Of those whose turn it was.
        config.frontends[0].log.dontlog_normal = true;
    })
    .await;
    // 128 of one source are in line, and few have been checked.
    let mut waiting = Vec::new();
    while counter(&bench.proxy, "auth_busy_total") == 0 {
        assert!(waiting.len() < 1_000, "nobody is refused");
        let mut guess = Vec::new();
        lb_proxy::sample::base64::encode(format!("anna:{}", waiting.len()).as_bytes(), &mut guess);
        let guess = String::from_utf8(guess).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {guess}\r\n\r\n");
        waiting.push(bench.sends(&request).await);
    }
    assert_eq!(bench.outcome().await, "429 RR-- front/<NOSRV> T/-1/-1/-1/T");
}

#[tokio::test]
async fn response_that_rules_refuse_or_make_too_large_is_ph() {
    let names = Names::default();
    let place = Place { stage: Stage::Response, backend: true, text: Text::Field, names: &names };
    let large = "x".repeat(20_000);
    let text = Written::new(large.as_str(), Template::parse(&large, &place).unwrap());
    let server = Recording::answering(OK).await;
    for (action, status) in [(Action::Deny(403), 403), (Action::AddHeader("X-Large".into(), text), 500)] {
        let bench = Bench::start(http_config(&[server.server.address]), |config| {
            let when = Condition::Header("Content-Length".into(), vec![ValuePattern::Present]);
            let then = vec![action.clone(), action];
            config.backends[0].response_rules = vec![Rule { when, then }];
        })
        .await;
        let _client = bench.sends(GET).await;
        assert_eq!(bench.outcome().await, format!("{status} PH-- back/s1 T/T/T/-1/T"));
    }
}

#[tokio::test]
async fn response_in_whose_place_a_rule_has_put_an_answer_is_lh() {
    let server = Recording::answering(OK).await;
    for content in [Content::Empty, Content::Page] {
        let bench = Bench::start(http_config(&[server.server.address]), |config| {
            let respond = Respond { status: 410, content, headers: Vec::new(), denies: false };
            config.backends[0].response_rules = always(Action::Respond(respond));
        })
        .await;
        let _client = bench.sends(GET).await;
        assert_eq!(bench.outcome().await, "410 LH-- back/s1 T/T/T/-1/T");
    }
}

#[tokio::test]
async fn request_that_a_rule_silences_has_no_line_whatever_becomes_of_it() {
    let server = Recording::answering(OK).await;
    let on = |path: &str, then: Vec<Action>| Rule {
        when: Condition::Path(vec![PathPattern::Exact(path.to_owned())]),
        then,
    };
    for asap in [false, true] {
        let bench = Bench::start(http_config(&[server.server.address]), |config| {
            config.frontends[0].log.asap = asap;
            config.frontends[0].rules = vec![
                on("/alive", vec![Action::Log(false)]),
                on("/refused", vec![Action::Log(false), Action::Deny(403)]),
                on("/", vec![Action::Log(false)]),
                on("/", vec![Action::Log(true)]),
            ];
            config.frontends[0].response_rules = vec![on("/quiet", vec![Action::Log(false)])];
        })
        .await;
        let mut client = connect(&bench.proxy).await;
        for (path, status) in [("/alive", "200"), ("/refused", "403"), ("/quiet", "200"), ("/", "200")] {
            let answer = ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        }
        // The first line there is.
        let line = bench.outcome().await;
        assert!(line.starts_with("200 ---- back/s1 "), "{line}");
    }
}
