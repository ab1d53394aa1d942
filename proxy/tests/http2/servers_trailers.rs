//! Trailers of requests on their way to servers that speak HTTP/2 (RFC 9113 §8.1).

use lb_proxy::rules::{Action, Condition, Rule, ValuePattern};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    client::{self, Client, request},
    frames::*,
    peer, rig,
    rig::Scripted,
    server::{self, Connection, ask, response},
};

type Fields = Vec<(String, String)>;

/// A server that tells content and trailers of each request.
async fn telling() -> (Scripted, UnboundedReceiver<(Vec<u8>, Fields)>) {
    let (tell, told) = unbounded_channel();
    let server = server::serving(vec![], move |mut connection: Connection| {
        let tell = tell.clone();
        async move {
            while let Some(asked) = connection.asked().await {
                let (mut content, mut trailers) = (Vec::new(), Fields::new());
                let mut is_all = asked.is_all;
                while !is_all {
                    let next = connection.next().await.unwrap();
                    is_all = next.flags & END_STREAM != 0;
                    match next.kind {
                        DATA => content.extend_from_slice(&next.payload),
                        _ => trailers = connection.read(&next).fields,
                    }
                }
                let _ = tell.send((content, trailers));
                connection.answer(asked.stream, b"ok").await;
            }
        }
    })
    .await;
    (server, told)
}

fn fields(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn trailers_of_http_1_1_reach_a_server() {
    let (server, mut told) = telling().await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    // All at once, and what could be taken for something of the head is not passed on.
    let trailers = "X-Sum: 1\r\nContent-Length: 5\r\nHost: b\r\nx-more:  2 \r\n";
    ask(&mut client, &format!("{head}3\r\nabc\r\n0\r\n{trailers}\r\n")).await;
    let expected = fields(&[("x-sum", "1"), ("x-more", "2")]);
    assert_eq!(told.recv().await.unwrap(), (b"abc".to_vec(), expected));
    assert!(response(&mut client).await.contains("ok"));
    // One after the other, behind content that is longer than a buffer, and in pieces.
    let content = "x".repeat(50_000);
    ask(&mut client, &format!("{head}{:x}\r\n{content}\r\n0\r\nX-S", content.len())).await;
    rig::eventually("content is sent", || proxy.status().backends[0].servers[0].traffic.bytes_in > 50_000)
        .await;
    ask(&mut client, "um: 3\r\n\r\n").await;
    assert_eq!(told.recv().await.unwrap(), (content.into_bytes(), fields(&[("x-sum", "3")])));
    assert!(response(&mut client).await.contains("ok"));
    // Without content.
    ask(&mut client, &format!("{head}0\r\nX-Sum: 4\r\n\r\n")).await;
    assert_eq!(told.recv().await.unwrap(), (vec![], fields(&[("x-sum", "4")])));
    assert!(response(&mut client).await.contains("ok"));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn trailers_of_http_2_reach_a_server() {
    let (server, mut told) = telling().await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        let sum = [field("x-sum", "1"), field("host", "b"), field("x-empty", "")].concat();
        for (stream, length) in [(1, None), (3, Some("3"))] {
            let length: Vec<_> = length.map(|length| ("content-length", length)).into_iter().collect();
            client.send(&request(stream, 0, "POST", "/", &length));
            client.send(&frame(DATA, 0, stream, b"abc"));
            client.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &sum));
            assert_eq!(client.answer(stream).content, b"ok");
        }
    })
    .await;
    assert_eq!(told.recv().await.unwrap(), (b"abc".to_vec(), fields(&[("x-sum", "1"), ("x-empty", "")])));
    // HTTP/1.1, which all goes through, has no place for them behind a Content-Length.
    assert_eq!(told.recv().await.unwrap(), (b"abc".to_vec(), vec![]));
}

/// A server may take trailers for fields of the head: those are not passed on that rules or lbctl itself would have removed there.
#[tokio::test]
async fn trailers_do_not_get_round_the_rules_of_requests() {
    let (server, mut told) = telling().await;
    let mut config = server::config(&[&server]);
    config.frontends[0].rules = vec![
        Rule { when: Condition::ALWAYS, then: vec![Action::DeleteHeader("Who".into())] },
        Rule {
            when: Condition::Header("Internal".into(), vec![ValuePattern::Present]),
            then: vec![Action::Deny(403)],
        },
    ];
    config.backends[0].options.server_name_header = Some("Server-Name".into());
    let proxy = client::start(config);
    let mut client = rig::connect(&proxy).await;
    let barred = "Who: admin\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nX-Sum: 1\r\ninternal: 1\r\nSERVER-name: a\r\n";
    for (content, more) in [("3\r\nabc\r\n", ""), ("", "X-Last: 2\r\n")] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}0\r\n{barred}{more}\r\n"
        );
        ask(&mut client, &request).await;
        assert!(response(&mut client).await.contains("ok"));
    }
    assert_eq!(told.recv().await.unwrap(), (b"abc".to_vec(), fields(&[("x-sum", "1")])));
    assert_eq!(told.recv().await.unwrap(), (vec![], fields(&[("x-sum", "1"), ("x-last", "2")])));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, 0, "POST", "/", &[]));
        let trailers = [field("who", "admin"), field("x-client", "a"), field("x-sum", "3")].concat();
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers));
        assert_eq!(client.answer(1).content, b"ok");
        // More than a server would get is not kept until it is there.
        client.send(&request(3, 0, "POST", "/", &[]));
        let long = [field("x-a", &"a".repeat(5000)), field("x-b", &"b".repeat(5000))].concat();
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &long));
        assert_eq!(client.answer(3).reset, Some(1), "PROTOCOL_ERROR");
    })
    .await;
    assert_eq!(told.recv().await.unwrap(), (vec![], fields(&[("x-sum", "3")])));
}

/// One of HTTP/1.1 beside such servers gets them in its own form.
#[tokio::test]
async fn trailers_reach_a_server_of_http_1_1_beside_others() {
    let (old, mut told) = client::telling().await;
    let (new, _) = telling().await;
    let mut config = server::config(&[&old, &new]);
    config.backends[0].servers[0].http2 = false;
    let proxy = client::start(config);
    let mut client = rig::connect(&proxy).await;
    for _ in 0..2 {
        let request = "POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
        ask(&mut client, request).await;
        assert!(response(&mut client).await.contains("ok"));
    }
    assert!(told.recv().await.unwrap().starts_with("POST /now HTTP/1.1\r\n"));
    assert_eq!(told.recv().await.unwrap(), "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
}
