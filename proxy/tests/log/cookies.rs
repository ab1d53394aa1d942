//! The third and the fourth letter: what the client's cookie said, and what became of it in the response.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::{BackendId, Cookie, CookieMode},
    rules::{Action, Condition, Rule},
};

use crate::{
    peers::*,
    rig::{Refusing, connect},
    syslog::Syslog,
};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Sets the cookie itself.
const SETS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: SRV=x; Path=/\r\n\r\nok";

fn inserted() -> Cookie {
    Cookie { indirect: true, ..Cookie::new("SRV") }
}

fn dated(maxidle: Option<Duration>, maxlife: Option<Duration>) -> Cookie {
    Cookie { maxidle, maxlife, ..inserted() }
}

/// The letters of a request with this `Cookie` field behind a backend with that policy. `app1` is the server that is there,
/// `app2` one that refuses and has nobody else.
async fn letters(policy: Cookie, response: &'static str, cookie: &str, rules: Vec<Rule>) -> String {
    let (syslog, server, dead) =
        (Syslog::start().await, Recording::answering(response).await, Refusing::new());
    let mut config = http_config(&[server.server.address, dead.address]);
    let backend = &mut config.backends[0];
    backend.cookie = Some(policy);
    (backend.retries, backend.redispatch) = (1, true);
    for (server, cookie) in backend.servers.iter_mut().zip(["app1", "app2"]) {
        server.cookie = Some(cookie.to_owned());
    }
    backend.servers[1].weight = 0;
    config.frontends[0].rules = rules;
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    ask(&mut connect(&proxy).await, &format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n")).await;
    let line = syslog.line().await;
    line.split(' ').nth(7).unwrap().to_owned()
}

#[tokio::test]
async fn third_letter_says_what_the_client_brought() {
    // 4 s after 1970, as the value has it.
    let old = "SRV=app1|AAAAB|AAAAB";
    for (policy, cookie, expected) in [
        (inserted(), "", "--NI"),
        (inserted(), "SRV=app1", "--VN"),
        (inserted(), "SRV=gone", "--II"),
        // Its server refuses, and another one takes it at the last attempt.
        (inserted(), "SRV=app2", "--DI"),
        (dated(Some(YEAR), None), old, "--EI"),
        (dated(None, Some(YEAR)), old, "--OI"),
    ] {
        assert_eq!(letters(policy, OK, cookie, Vec::new()).await, expected, "{cookie}");
    }
    let ignored = vec![Rule { when: Condition::ALWAYS, then: vec![Action::IgnorePersistence] }];
    assert_eq!(letters(inserted(), OK, "SRV=app1", ignored).await, "--UN");
    // Measured with HAProxy: a rule that has chosen the server leaves the cookie unused, even where both agree.
    let chosen = || {
        let then = vec![Action::Server { backend: BackendId(0), server: 0 }];
        vec![Rule { when: Condition::ALWAYS, then }]
    };
    for (policy, response, cookie, expected) in [
        (inserted(), OK, "", "--NN"),
        (inserted(), OK, "SRV=app1", "--UN"),
        (inserted(), OK, "SRV=app2", "--UN"),
        (inserted(), OK, "SRV=gone", "--UN"),
        (inserted(), SETS, "SRV=app1", "--UD"),
        (dated(Some(YEAR), None), OK, old, "--EU"),
    ] {
        assert_eq!(letters(policy, response, cookie, chosen()).await, expected, "{cookie}");
    }
}

#[tokio::test]
async fn fourth_letter_says_what_became_of_it_in_the_response() {
    let mode = |mode| Cookie { mode, ..Cookie::new("SRV") };
    for (policy, response, cookie, expected) in [
        // It is only read.
        (mode(CookieMode::Passive), OK, "SRV=app1", "----"),
        (mode(CookieMode::Passive), SETS, "", "----"),
        (Cookie { preserve: true, ..inserted() }, SETS, "", "--NP"),
        (inserted(), SETS, "SRV=app1", "--VD"),
        (inserted(), SETS, "", "--NI"),
        (mode(CookieMode::Rewrite), SETS, "", "--NR"),
        (mode(CookieMode::Prefix), SETS, "", "--NR"),
        // Valid for all of these years, and so long ago that it is renewed.
        (dated(Some(100 * YEAR), None), OK, "SRV=app1|AAAAB|AAAAB", "--VU"),
    ] {
        assert_eq!(letters(policy.clone(), response, cookie, Vec::new()).await, expected, "{policy:?}");
    }
}
