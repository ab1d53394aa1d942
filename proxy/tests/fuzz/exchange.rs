//! Whole connections through a running proxy: what reaches a server is what the codec decided, request by request.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use lb_proxy::{
    Proxy,
    config::Mode,
    http::{
        body::{Decoder, Framing},
        head::{Fields, Progress, request::Head},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    heads, mutate,
    oracle::{self, Request},
    rig::{self, Scripted},
};

/// Mutated connections of an ordinary run; each costs about a millisecond.
const ROUNDS: u64 = 300;

/// At how many bytes a connection of the corpus is split, at most.
const SPLITS: usize = 150;

/// What a server has understood.
pub(crate) type Log = Arc<Mutex<Vec<Result<Request, String>>>>;

/// A server that reads strictly, and answers each request once it is whole.
pub(crate) async fn server(log: Log) -> Scripted {
    Scripted::start(move |mut stream| {
        let log = Arc::clone(&log);
        async move {
            let mut bytes = Vec::new();
            loop {
                match oracle::request(&bytes) {
                    Ok(Some((request, length))) => {
                        bytes.drain(..length);
                        log.lock().unwrap().push(Ok(request));
                        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err()
                        {
                            return;
                        }
                    }
                    Ok(None) => match stream.read_buf(&mut bytes).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    },
                    Err(error) => {
                        log.lock().unwrap().push(Err(format!("{error}: {}", bytes.escape_ascii())));
                        return;
                    }
                }
            }
        }
    })
    .await
}

/// What the codec makes of a connection: every whole request, up to the first that is refused or ends it.
fn decided(bytes: &[u8]) -> Vec<Request> {
    let (mut requests, mut rest) = (Vec::new(), bytes.to_vec());
    loop {
        let mut fields = Fields::default();
        let Ok(Some(head)) = Head::parse(&rest, &mut Progress::default(), &mut fields) else {
            return requests;
        };
        let Ok(request) = head.check() else { return requests };
        let Some((_, out)) = heads::forwarded(&rest) else { return requests };
        let line = out.split(|&byte| byte == b'\r').next().unwrap();
        let mut parts = line.split(|&byte| byte == b' ').map(<[u8]>::to_vec);
        let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
        rest.drain(..request.length);
        let mut decoder = Decoder::new(request.framing, false);
        let Ok(step) = decoder.decode(&mut rest) else { return requests };
        if !decoder.is_done() && !matches!(request.framing, Framing::None | Framing::Length(0)) {
            return requests;
        }
        let content = rest[..step.payload].to_vec();
        rest.drain(..step.consumed);
        requests.push(Request { method, target, content });
        if !request.persistent {
            return requests;
        }
    }
}

/// Sends `portions` one after the other and reads to the end; `None` if the connection was reset, which may happen to
/// whoever sends more after a request that ends its connection.
async fn converse(proxy: &Proxy, portions: &[&[u8]]) -> Option<Vec<u8>> {
    let mut client = rig::connect(proxy).await;
    client.set_nodelay(true).unwrap();
    for portion in portions {
        // A proxy that has refused the beginning may have closed.
        if client.write_all(portion).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = client.shutdown().await;
    rig::read_all(&mut client).await.ok()
}

/// Checks one connection. Which requests arrive may depend on when the client's end is seen; what arrives may not.
pub(crate) async fn check(proxy: &Proxy, log: &Log, portions: &[&[u8]]) {
    let bytes = portions.concat();
    let expected = decided(&bytes);
    let response = converse(proxy, portions).await;
    let got = std::mem::take(&mut *log.lock().unwrap());
    let input = bytes.escape_ascii();
    let mut understood = Vec::new();
    for request in got {
        understood.push(request.unwrap_or_else(|error| panic!("a server got {error}, of b\"{input}\"")));
    }
    assert!(
        expected.starts_with(&understood),
        "decided {expected:?}, a server understood {understood:?}, of b\"{input}\""
    );
    let Some(response) = response else { return };
    let answers = response.windows(9).filter(|window| window == b"HTTP/1.1 ").count();
    assert!(answers >= understood.len(), "{answers} answers, of b\"{input}\"");
}

#[tokio::test]
async fn what_reaches_a_server_is_what_was_decided_wherever_a_connection_is_split() {
    let corpus = mutate::corpus("exchange");
    let log = Log::default();
    let server = server(Arc::clone(&log)).await;
    let proxy = Proxy::start(rig::config(Mode::Http, &[server.address])).unwrap();
    for (file, bytes) in &corpus {
        // In one piece everything that was decided arrives: the comparison is about something.
        check(&proxy, &log, &[bytes]).await;
        let step = bytes.len().div_ceil(SPLITS);
        for at in (0..bytes.len()).step_by(step.max(1)) {
            check(&proxy, &log, &[&bytes[..at], &bytes[at..]]).await;
        }
        println!("exchange {file}: {} decided", decided(bytes).len());
    }
    let (seed, limit) = mutate::plan();
    let (mut random, start, mut rounds) = (mutate::Random(seed), Instant::now(), 0);
    while limit.map_or(rounds < ROUNDS, |limit| start.elapsed() < limit) {
        let bytes = mutate::mutated(&corpus, &mut random);
        let at = random.below(bytes.len() + 1);
        check(&proxy, &log, &[&bytes[..at], &bytes[at..]]).await;
        rounds += 1;
    }
    println!("exchange: {rounds} mutated, none wrong");
}

/// The comparison would be empty if nothing arrived.
#[tokio::test]
async fn a_connection_of_many_requests_arrives_whole() {
    let log = Log::default();
    let server = server(Arc::clone(&log)).await;
    let proxy = Proxy::start(rig::config(Mode::Http, &[server.address])).unwrap();
    let bytes = mutate::corpus("exchange").into_iter().find(|(file, _)| file == "pipelined").unwrap().1;
    let mut client = rig::connect(&proxy).await;
    client.write_all(&bytes).await.unwrap();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let expected = decided(&bytes);
    assert_eq!(expected.len(), 4);
    let got = rig::read_n(&mut client, answer.len() * expected.len()).await;
    assert_eq!(String::from_utf8(got).unwrap(), answer.repeat(expected.len()));
    let understood: Vec<Request> = log.lock().unwrap().drain(..).map(Result::unwrap).collect();
    assert_eq!(understood, expected);
}
