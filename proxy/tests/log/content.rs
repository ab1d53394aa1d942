//! How exchanges end whose client has sent a part of its content.

use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{LONG, counter, eventually},
    terminations::{Bench, SHORT, deaf, reset, server_saying, silent},
};

/// Answered before it is whole.
const HALF: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
const HALF_IN_CHUNKS: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

#[tokio::test]
async fn request_that_is_answered_before_its_end_ends_as_its_client_ends_it() {
    const RESPONSE: &[u8] = b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n";
    for (request, rest, expected) in [
        (HALF, Some("defghi"), "--"),
        (HALF_IN_CHUNKS, Some("3\r\ndef\r\n0\r\n\r\n"), "--"),
        (HALF_IN_CHUNKS, Some("zz\r\n"), "PD"),
        (HALF, Some("def"), "cD"),
        (HALF, None, "CD"),
        (HALF_IN_CHUNKS, None, "CD"),
    ] {
        let server = server_saying(RESPONSE, false).await;
        let bench = Bench::start(http_config(&[server.address]), |config| {
            config.frontends[0].timeout.client = if expected == "cD" { SHORT } else { LONG };
        })
        .await;
        let mut client = bench.sends(request).await;
        let answer = read_head(&mut client).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
        match rest {
            Some(rest) => client.write_all(rest.as_bytes()).await.unwrap(),
            None => reset(client),
        }
        assert_eq!(bench.outcome().await, format!("501 {expected}-- back/s1 T/T/T/T/T"));
        let aborts = u64::from(expected.ends_with('D') && expected != "PD");
        assert_eq!(bench.proxy.status().backends[0].servers[0].traffic.client_aborts, aborts, "{expected}");
    }
}

#[tokio::test]
async fn chunk_that_is_wrong_after_the_response_has_begun_is_pd() {
    let server = server_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false).await;
    let bench = Bench::start(http_config(&[server.address]), |_| {}).await;
    let mut client = bench.sends(HALF_IN_CHUNKS).await;
    read_head(&mut client).await.unwrap();
    client.write_all(b"zz\r\n").await.unwrap();
    assert_eq!(bench.outcome().await, "200 PD-- back/s1 T/T/T/T/T");
}

#[tokio::test]
async fn client_that_leaves_in_its_content_while_a_server_is_looked_for_is_cq_or_cc() {
    let server = silent().await;
    let (bench, _first) = Bench::busy(server.address, LONG).await;
    for (number, is_reset) in [(1, true), (2, false)] {
        let waiting = bench.sends(HALF).await;
        eventually("it waits", || counter(&bench.proxy, "queued_total") == number).await;
        if is_reset {
            reset(waiting)
        } else {
            drop(waiting)
        }
        assert_eq!(bench.outcome().await, "-1 CQ-- back/<NOSRV> T/T/-1/-1/T");
    }
    let (deaf, _filling) = deaf().await;
    let bench = Bench::start(http_config(&[deaf.local_addr().unwrap()]), |_| {}).await;
    let client = bench.sends(HALF_IN_CHUNKS).await;
    eventually("it is tried", || bench.proxy.status().backends[0].servers[0].in_flight == 1).await;
    reset(client);
    assert_eq!(bench.outcome().await, "-1 CC-- back/s1 T/T/-1/-1/T");
}
