//! Responses of HTTP/1 servers that are changed on their way: a client of HTTP/2 gets what one of HTTP/1.1 gets, in its own form.

use std::{io::Write as _, net::SocketAddr};

use rustls::version::TLS13;
use tokio::io::AsyncWriteExt;

use super::{
    client::{self, Answer, Client},
    edited_cases::{Case, cases},
    frames::*,
    peer,
    rig::{self, Scripted},
};

/// HTTP/2 has none of these (RFC 9113 §8.2.2).
fn is_of_hop(name: &str) -> bool {
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"].contains(&name)
}

/// Answers each request with these bytes, and ends where nothing else says where the content does.
async fn saying(response: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        while rig::read_head(&mut stream).await.is_some() {
            if stream.write_all(response.as_bytes()).await.is_err() || response.starts_with("HTTP/1.0") {
                return;
            }
        }
    })
    .await
}

fn of_http2(front: SocketAddr, case: &Case) -> Answer {
    let mut client = Client::silent_over_tls(front);
    client.begin();
    client.send(&client::request(1, END_STREAM, case.method, "/", case.fields));
    client.answer(1)
}

/// What a client of HTTP/1.1 gets, as one of HTTP/2 has it.
fn of_http1(front: SocketAddr, case: &Case) -> Answer {
    let mut peer = peer::connect(front, &peer::client(&TLS13), "a.example");
    let lines: String = case.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let connection = if case.fields.iter().any(|(name, _)| *name == "te") { "te, close" } else { "close" };
    let request =
        format!("{} / HTTP/1.1\r\nHost: a.example\r\nConnection: {connection}\r\n{lines}\r\n", case.method);
    peer.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut peer, &mut bytes).unwrap();
    let mut answer = Answer::default();
    loop {
        let end = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap() + 4;
        let rest = bytes.split_off(end);
        let head = std::mem::replace(&mut bytes, rest);
        let head = str::from_utf8(&head).unwrap().strip_suffix("\r\n\r\n").unwrap().to_owned();
        let (line, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut fields = vec![(":status".to_owned(), line[9..12].to_owned())];
        let is_chunked = lines.to_ascii_lowercase().contains("transfer-encoding: chunked");
        fields.extend(self::fields(lines));
        if line[9..].starts_with('1') {
            answer.interim.push(fields);
            continue;
        }
        answer.fields = fields;
        if is_chunked && case.method != "HEAD" {
            let trailers;
            (answer.content, trailers) = unchunked(&bytes);
            answer.trailers = self::fields(&trailers);
        } else {
            answer.content = bytes;
        }
        return answer;
    }
}

/// Of lines; those that HTTP/2 has not are left out.
fn fields(lines: &str) -> Vec<(String, String)> {
    let parts = lines.lines().map(|line| line.split_once(':').unwrap());
    let fields = parts.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    fields.filter(|(name, _)| !is_of_hop(name)).collect()
}

fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, String) {
    let mut content = Vec::new();
    loop {
        let end = memchr::memmem::find(bytes, b"\r\n").unwrap();
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        if size == 0 {
            return (content, str::from_utf8(bytes).unwrap().strip_suffix("\r\n").unwrap().to_owned());
        }
        content.extend(&bytes[..size]);
        bytes = bytes[size..].strip_prefix(b"\r\n").unwrap();
    }
}

#[tokio::test]
async fn changed_responses_are_the_same_for_clients_of_both_versions() {
    let mut failures = Vec::new();
    for case in cases() {
        let server = saying(case.server).await;
        let mut config = client::config_over_tls(&[server.address]);
        (case.change)(&mut config);
        let proxy = client::start(config);
        let front = rig::address(&proxy);
        let (name, has) = (case.name, case.has);
        let [lines, fields] = peer::apart(move || [of_http1(front, &case), of_http2(front, &case)]).await;
        for (field, value) in has {
            let has = lines.fields.iter().filter(|(known, found)| known == field && found == value).count();
            if has != 1 {
                failures.push(format!("{name}: no {field}: {value} in {:?}", lines.fields));
            }
        }
        if fields != lines || fields.fields.iter().any(|(field, _)| is_of_hop(field)) {
            failures.push(format!("{name}: HTTP/2 {fields:?}\nHTTP/1 {lines:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
