//! Messages that are refused because they are not valid are kept, with their bytes and the place of the fault.

use lb_proxy::{
    Endpoint, Proxy,
    invalid::{InvalidKind, InvalidMessage},
    rules::{Action, Condition, Rule, Text},
    sample::{self, Names, Place, Stage, Template},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::{GET, OK, Recording, ask, assert_own, http_config, read_message},
    rig::*,
    witness::Witness,
};

async fn kept(proxy: &Proxy) -> Vec<InvalidMessage> {
    let (messages, silent) = proxy.invalid_messages(LONG).await;
    assert_eq!(silent, 0);
    messages
}

/// From the byte that is wrong on.
fn from_fault(message: &InvalidMessage) -> String {
    String::from_utf8_lossy(&message.bytes[message.position - message.skipped..]).into_owned()
}

#[tokio::test]
async fn requests_are_kept_with_who_sent_them_and_what_is_wrong() {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!(witness.says().await, "200 ----");
    assert_eq!(kept(&proxy).await, []);
    let mut client = connect(&proxy).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    assert_own(&answer, "400 Bad Request", true);
    assert_eq!(witness.says().await, "400 PR--");
    counted(&proxy, "bad_requests_total", 1).await;
    let [message] = &kept(&proxy).await[..] else { panic!("one") };
    assert_eq!((message.kind, message.frontend.as_str()), (InvalidKind::Request, "front"));
    assert_eq!((&message.server, message.client), (&None, Endpoint::Ip(client.local_addr().unwrap())));
    assert_eq!(message.reason, "invalid field name");
    assert_eq!((message.length, message.skipped), (request.len(), 0));
    assert_eq!(message.bytes, request.as_bytes());
    assert_eq!(from_fault(message), " y: z\r\n\r\n");
    assert!(message.at.elapsed().unwrap() < LONG);
}

#[tokio::test]
async fn host_that_a_rule_has_written_is_not_shown_as_the_fault_of_the_client() {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: sample::Text::Field, names: &names };
    let source = "{request.header.x-h}";
    let text = Text::new(source, Template::parse(source, &place).unwrap());
    config.frontends[0].rules =
        vec![Rule { when: Condition::ALWAYS, then: vec![Action::SetHeader("Host".into(), text)] }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-H: b c\r\n\r\n").await.unwrap();
    assert!(read_all(&mut client).await.unwrap().starts_with(b"HTTP/1.1 400 "));
    assert_eq!(kept(&proxy).await, []);
}

#[tokio::test]
async fn responses_are_kept_with_the_server_that_sent_them() {
    let answers = ["HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx", "junk\r\n\r\n"];
    let mut servers = Vec::new();
    for answer in answers {
        servers.push(Recording::answering(answer).await);
    }
    let mut config = http_config(&[servers[0].server.address, servers[1].server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    for _ in answers {
        assert_own(&ask(&mut connect(&proxy).await, GET).await, "502 Bad Gateway", false);
        assert_eq!(witness.says().await, "502 PH--");
    }
    counted(&proxy, "bad_responses_total", 2).await;
    let messages = kept(&proxy).await;
    let seen: Vec<_> = messages
        .iter()
        .map(|one| (one.server.as_ref().unwrap().1.as_str(), one.reason.as_str(), from_fault(one)))
        .collect();
    assert_eq!(
        seen,
        [
            ("s1", "invalid Content-Length", ", 2\r\n\r\nx".to_owned()),
            ("s2", "invalid start line", "junk\r\n\r\n".to_owned())
        ]
    );
    assert!(messages.iter().all(|one| one.kind == InvalidKind::Response && one.frontend == "front"));
    assert_eq!(messages[0].server.as_ref().unwrap().0, "back");
}

#[tokio::test]
async fn content_is_kept_from_where_it_was_not_passed_on_yet() {
    let server = Scripted::start(|mut stream| async move {
        read_message(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}5\r\nhello\r\nzz\r\n").as_bytes()).await.unwrap();
    })
    .await;
    let proxy = Proxy::start(http_config(&[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    // It came with the head, so that is no response either.
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 502 "));
    let mut client = connect(&proxy).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(format!("{head}5\r\nhello\r\n3\r\nabcd\r\n").as_bytes()).await.unwrap();
    read_all(&mut client).await.unwrap();
    let messages = kept(&proxy).await;
    let seen: Vec<_> = messages.iter().map(|one| (one.kind, one.reason.as_str(), from_fault(one))).collect();
    assert_eq!(
        seen,
        [
            (InvalidKind::ResponseContent, "invalid chunk size", "zz\r\n".to_owned()),
            (InvalidKind::RequestContent, "chunk without CRLF", "d\r\n".to_owned())
        ]
    );
    // What stands before it was moved by the decoder, as far as it is not kept.
    assert!(messages[0].bytes.ends_with(b"lo\r\nzz\r\n"), "{:?}", messages[0]);
}

#[tokio::test]
async fn of_a_long_message_the_bytes_around_the_fault_are_kept() {
    let server = Recording::answering(OK).await;
    let proxy = Proxy::start(http_config(&[server.server.address])).unwrap();
    for number in 0..40 {
        let mut client = connect(&proxy).await;
        let long = "x".repeat(7_000);
        let request =
            format!("GET /{number} HTTP/1.1\r\nHost: a\r\nA: {long}\r\nB: \u{1}\r\nC: {long}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut client).await.unwrap();
    }
    let messages = kept(&proxy).await;
    assert_eq!(messages.len(), 16);
    let last = &messages[15];
    assert_eq!((last.bytes.len(), last.position - last.skipped), (2_048, 1_536));
    assert!(from_fault(last).starts_with("\u{1}\r\nC: xxx"));
}
