//! What a server receives of requests of HTTP/2, byte for byte: nothing that a client says becomes a line, a second request or
//! another length.

use super::{
    client::{self, Client, request},
    frames::*,
    peer, rig,
};

/// Fields of a request, and the head that its server gets of them (without the first line and Host).
#[tokio::test]
async fn fields_reach_a_server_in_the_form_of_http_1_1() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], ""),
        (&[("accept", "*/*"), ("x-empty", "")], "accept: */*\r\nx-empty: \r\n"),
        (&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")], "x: y\r\ncookie: a=1; b=2\r\n"),
        (&[("host", "A.EXAMPLE"), ("x", "y")], "x: y\r\n"),
        (&[("x", "a\tb \u{fc}")], "x: a\tb \u{fc}\r\n"),
        (&[("te", "trailers")], "Connection: te\r\nTE: trailers\r\n"),
        (&[("content-length", "0")], "Content-Length: 0\r\n"),
        (&[("x-connection", "close"), ("trailer", "x")], "x-connection: close\r\n"),
        (&[("x", "0\u{a0}GET /b")], "x: 0\u{a0}GET /b\r\n"),
        (&[("expect", "100-continue")], ""),
    ];
    let (server, mut told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    for (fields, expected) in cases {
        let fields: Vec<(&str, &str)> = fields.to_vec();
        let answer = peer::apart(move || {
            let mut client = Client::begun(address);
            client.get(1, "/now?a=b", &fields);
            client.answer(1)
        })
        .await;
        assert_eq!((answer.status(), &*answer.content), ("200", &b"ok"[..]), "{answer:?}");
        let head = told.recv().await.unwrap();
        assert_eq!(head, format!("GET /now?a=b HTTP/1.1\r\nhost: a.example\r\n{expected}\r\n"));
    }
}

/// Fields beside those that every request has.
type Fields = Vec<(&'static str, String)>;

/// Content as DATA frames, and all that a server gets of the request.
#[tokio::test]
async fn content_reaches_a_server_in_a_framing_of_ours() {
    let data = |flags, payload: &[u8]| frame(DATA, flags, 1, payload);
    let end = |fields: &[(&str, &str)]| {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
    };
    let attack = b"0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        attack.len(),
        std::str::from_utf8(attack).unwrap()
    );
    let measured =
        format!("Content-Length: {}\r\n\r\n{}", attack.len(), std::str::from_utf8(attack).unwrap());
    let length = attack.len().to_string();
    let cases: Vec<(&str, Fields, Vec<u8>, String)> = vec![
        ("content that looks like the end", vec![], data(END_STREAM, attack), chunked.clone()),
        (
            "the same in two frames and an end",
            vec![],
            [data(0, attack), data(END_STREAM, b"")].concat(),
            chunked.clone(),
        ),
        (
            "the same behind padding",
            vec![],
            [frame(DATA, PADDED, 1, &[&[3][..], attack, &[0; 3]].concat()), data(END_STREAM, b"")].concat(),
            chunked.clone(),
        ),
        (
            "trailers are dropped where no server may speak HTTP/2",
            vec![],
            [data(0, attack), end(&[("x", "y"), ("content-length", "5")])].concat(),
            chunked,
        ),
        ("a length", vec![("content-length", length)], data(END_STREAM, attack), measured),
        (
            "no content",
            vec![],
            data(END_STREAM, b""),
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
    ];
    for (what, fields, rest, expected) in cases {
        let (server, mut told) =
            client::scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        let proxy = client::start(client::config(&[server.address]));
        let address = rig::address(&proxy);
        let answer = peer::apart(move || {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            let mut client = Client::begun(address);
            client.send(&[request(1, 0, "POST", "/", &fields), rest].concat());
            client.answer(1)
        })
        .await;
        assert_eq!(answer.status(), "200", "{what}: {answer:?}");
        let received = String::from_utf8(told.recv().await.unwrap()).unwrap();
        assert_eq!(received, format!("POST / HTTP/1.1\r\nhost: a.example\r\n{expected}"), "{what}");
    }
}

/// A request that turns out to be malformed in its content never looks whole to its server, and its connection serves no other.
#[tokio::test]
async fn content_that_is_not_its_length_never_looks_whole() {
    let (server, mut told) = client::scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, 0, "POST", "/", &[("content-length", "10")]));
        client.send(&frame(DATA, 0, 1, b"12345"));
        client
    })
    .await;
    rig::eventually("a server has it", || server.accepted() == 1).await;
    let answer = peer::apart(move || {
        let mut client = client;
        client.send(&frame(DATA, END_STREAM, 1, b"6789"));
        client.answer(1)
    })
    .await;
    assert_eq!(answer.reset, Some(super::rules::PROTOCOL_ERROR), "{answer:?}");
    let received = String::from_utf8(told.recv().await.unwrap()).unwrap();
    let (head, content) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with("Content-Length: 10") && content.len() < 10, "{received}");
    rig::counted(&proxy, "client_aborts_total", 1).await;
}
