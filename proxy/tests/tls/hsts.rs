//! Strict-Transport-Security: who is told, and with which responses.

use std::{net::SocketAddr, time::Duration};

use lb_proxy::{
    Proxy,
    config::{Hsts, Mode},
    rules::{Action, Condition, Content, PathPattern, Respond, Rule},
    sample::{Names, Place, Stage, Template, Text},
};
use tokio::io::AsyncWriteExt;

use crate::{
    certificates::config,
    peer::{VERSIONS, apart, ask, client, connect},
    rig::{Scripted, read_head},
};

const TOLD: &str = "Strict-Transport-Security: max-age=60; includeSubDomains\r\n";

/// What is said in this field by the answer to `path`, and its status.
async fn told(front: SocketAddr, path: &'static str) -> (String, String) {
    let head = apart(move || {
        let mut peer = connect(front, &client(VERSIONS[1]), "a.example");
        ask(&mut peer, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), 0)
    })
    .await;
    of_head(&head)
}

fn of_head(head: &str) -> (String, String) {
    let is_told = |line: &&str| line.to_ascii_lowercase().starts_with("strict-transport-security:");
    (head[9..12].to_owned(), head.split_inclusive("\r\n").filter(is_told).collect())
}

fn rule(path: &str, then: Action) -> Rule {
    Rule { when: Condition::Path(vec![PathPattern::Exact(path.into())]), then: vec![then] }
}

#[tokio::test]
async fn client_over_tls_is_told_once_with_every_response_and_one_without_never() {
    let server = Scripted::start(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            let response =
                b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(response).await.unwrap();
        }
    })
    .await;
    let mut config = config(Mode::Http, &[server.address]);
    let plain = config.frontends[0].binds[0].clone();
    config.frontends[0].binds.push(plain);
    config.frontends[0].hsts = Some(Hsts::new(Duration::from_secs(60), true, false));
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: Text::Field, names: &names };
    let own = "max-age=7";
    let own = lb_proxy::rules::Text::new(own, Template::parse(own, &place).unwrap());
    let headers = vec![("strict-Transport-security".to_owned(), own)];
    let respond = Respond { status: 410, content: Content::Empty, headers, denies: false };
    config.frontends[0].rules =
        vec![rule("/denied", Action::Deny(403)), rule("/own", Action::Respond(respond))];
    let proxy = Proxy::start(config).unwrap();
    let [secured, plain] = [0, 1].map(|at| proxy.status().frontends[0].binds[at].address.unwrap());

    let expected = |status: &str, field: &str| (status.to_owned(), field.to_owned());
    assert_eq!(told(secured, "/").await, expected("200", TOLD), "in the place of the server's");
    assert_eq!(told(secured, "/denied").await, expected("403", TOLD));
    let own = expected("410", "strict-Transport-security: max-age=7\r\n");
    assert_eq!(told(secured, "/own").await, own, "a rule's own");
    for (path, answer) in [
        // The server's own affair.
        ("/", expected("200", "strict-transport-security: max-age=1\r\n")),
        ("/denied", expected("403", "")),
    ] {
        let mut stream = tokio::net::TcpStream::connect(plain).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(of_head(&read_head(&mut stream).await.unwrap()), answer);
    }
}
