//! Whole connections through running proxies: what reaches a server is what the codec decided, request by request, and what
//! comes back is the answer to it and to nobody else's.

use std::time::Instant;

use lb_proxy::http::{
    body::{Decoder, Framing},
    head::{Fields, Progress, Version, request::Head},
};

use crate::{
    client::{self, Asked, Heard},
    heads, mutate,
    oracle::{self, Framed, Request},
    rig,
    stage::{COOKIE, KINDS, Stage, VALUE},
    verdict::{Decided, from_server, number, walk},
};

/// Mutated connections of an ordinary run; each costs a few milliseconds.
const ROUNDS: u64 = 400;

/// At how many bytes a connection of the corpus is split, at most.
const SPLITS: usize = 60;

/// Where the requests of the client go that is there at the same time.
const NEIGHBOUR: &str = "/of-the-neighbour/";

/// What the codec makes of a connection to `local`: every whole request, up to the first that is refused or ends it.
fn decided(bytes: &[u8], local: std::net::SocketAddr) -> Vec<Decided> {
    let (mut all, mut rest) = (Vec::new(), bytes.to_vec());
    loop {
        let mut fields = Fields::default();
        let Ok(Some(head)) = Head::parse(&rest, &mut Progress::default(), &mut fields) else { return all };
        let Ok(request) = head.check() else { return all };
        let Some((_, out)) = heads::forwarded_by(&rest, local) else { return all };
        let (lines, length) = oracle::head(&out).unwrap().expect("a whole head");
        let mut parts = lines[0].split(|&byte| byte == b' ').map(<[u8]>::to_vec);
        let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
        let (fields, framed) = oracle::fields(&lines[1..]).unwrap();
        rest.drain(..request.length);
        let mut decoder = Decoder::new(request.framing, false);
        let Ok(step) = decoder.decode(&mut rest) else { return all };
        if !decoder.is_done() && !matches!(request.framing, Framing::None | Framing::Length(0)) {
            return all;
        }
        let content = rest[..step.payload].to_vec();
        rest.drain(..step.consumed);
        let asked = Asked { to_head: method == b"HEAD", is_old: request.version == Version::Http10 };
        all.push(Decided { request: Request { method, target, fields, framed, content }, asked, length });
        if !request.persistent {
            return all;
        }
    }
}

/// Checks one connection, with another client beside it.
pub(crate) async fn check(stage: &Stage, portions: &[&[u8]]) {
    let bytes = portions.concat();
    if let Err(error) = compare(stage, portions, &bytes).await {
        panic!("{:?}: {error}, of b\"{}\"", stage.kind, bytes.escape_ascii());
    }
}

async fn compare(stage: &Stage, portions: &[&[u8]], bytes: &[u8]) -> Result<(), String> {
    let decided = decided(bytes, rig::address(&stage.proxy));
    let asked: Vec<_> = decided.iter().map(|one| one.asked).collect();
    let (heard, neighbour) =
        tokio::join!(client::converse(&stage.proxy, portions, &asked), neighbour(&stage.proxy));
    let (heard, neighbour) = (heard?, neighbour?);
    let understood = stage.understood().map_err(|error| format!("a server got {error}"))?;
    let (others, own): (Vec<_>, Vec<_>) =
        understood.into_iter().partition(|(_, request)| request.target.starts_with(NEIGHBOUR.as_bytes()));
    // Its answers are those to its requests.
    let numbers: Vec<_> = others.iter().map(|(number, _)| *number).collect();
    let answered: Vec<_> = neighbour.responses.iter().filter_map(number).collect();
    if answered != numbers || numbers.len() != 2 || !neighbour.rest.is_empty() || neighbour.is_reset {
        return Err(format!("the neighbour's requests {others:?} got {neighbour:?}"));
    }
    for response in &neighbour.responses {
        from_server(stage.kind, response, Asked { to_head: false, is_old: false })?;
    }
    walk(stage.kind, &decided, &own, &heard)
}

/// A client that asks twice.
async fn neighbour(proxy: &lb_proxy::Proxy) -> Result<Heard, String> {
    let requests = format!(
        "GET {NEIGHBOUR}1 HTTP/1.1\r\nHost: n\r\nCookie: {COOKIE}={VALUE}\r\n\r\n\
         GET {NEIGHBOUR}2 HTTP/1.1\r\nHost: n\r\nAccept-Encoding: gzip\r\n\r\n"
    );
    let asked = Asked { to_head: false, is_old: false };
    client::converse(proxy, &[requests.as_bytes()], &[asked; 2]).await
}

#[tokio::test]
async fn what_reaches_a_server_is_what_was_decided_and_its_answer_reaches_the_client() {
    let corpus = mutate::corpus("exchange");
    let (seed, limit) = mutate::plan();
    let (mut random, mut stages) = (mutate::Random(seed), Vec::new());
    for kind in KINDS {
        let stage = Stage::start(kind).await;
        for (file, bytes) in &corpus {
            check(&stage, &[bytes]).await;
            let step = bytes.len().div_ceil(SPLITS);
            for at in (0..bytes.len()).step_by(step.max(1)) {
                check(&stage, &[&bytes[..at], &bytes[at..]]).await;
            }
            println!("{kind:?} {file}: {} decided", decided(bytes, rig::address(&stage.proxy)).len());
        }
        stages.push(stage);
    }
    let (start, mut rounds) = (Instant::now(), 0);
    while limit.map_or(rounds < ROUNDS, |limit| start.elapsed() < limit) {
        let bytes = mutate::mutated(&corpus, &mut random);
        let at = random.below(bytes.len() + 1);
        let stage = &stages[random.below(stages.len())];
        check(stage, &[&bytes[..at], &bytes[at..]]).await;
        rounds += 1;
    }
    println!("exchange: {rounds} mutated, none wrong");
}

/// The comparison would be empty if nothing arrived.
#[tokio::test]
async fn a_connection_of_many_requests_arrives_whole() {
    for kind in KINDS {
        let stage = Stage::start(kind).await;
        let bytes = mutate::corpus("exchange").into_iter().find(|(file, _)| file == "pipelined").unwrap().1;
        let decided = decided(&bytes, rig::address(&stage.proxy));
        let asked: Vec<_> = decided.iter().map(|one| one.asked).collect();
        assert_eq!(asked.len(), 4);
        let heard = client::converse(&stage.proxy, &[&bytes], &asked).await.unwrap();
        let understood = stage.understood().unwrap();
        assert_eq!((understood.len(), heard.responses.len()), (4, 4), "{kind:?}: {heard:?}");
        walk(kind, &decided, &understood, &heard).unwrap();
        // And it would find what is wrong.
        let mut other = understood.clone();
        other[1].1.framed = Framed::Length(1);
        walk(kind, &decided, &other, &heard).unwrap_err();
        let mut swapped = heard;
        swapped.responses.swap(0, 1);
        walk(kind, &decided, &understood, &swapped).unwrap_err();
        walk(kind, &decided, &understood[..3], &swapped).unwrap_err();
    }
}
