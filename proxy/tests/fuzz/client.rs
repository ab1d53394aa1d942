//! Clients of a proxy: what they sent, and the responses that they got, read strictly.

use std::time::Duration;

use lb_proxy::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    oracle::{self, Response},
    rig,
};

/// Far more than an answer takes.
const LONG: Duration = rig::LONG;

/// What matters of a request for who reads its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) to_head: bool,
    /// By HTTP/1.0: a content may end with the connection.
    pub(crate) is_old: bool,
}

/// What a client got.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// One for each request that is answered, up to one that ends the connection.
    pub(crate) responses: Vec<Response>,
    /// Bytes behind them, up to the end.
    pub(crate) rest: Vec<u8>,
    /// It was reset, which may happen to whoever sends more after a request that ends its connection.
    pub(crate) is_reset: bool,
}

/// Sends `portions` one after the other, and reads as many responses as were asked for; then ends its side.
pub(crate) async fn converse(proxy: &Proxy, portions: &[&[u8]], asked: &[Asked]) -> Result<Heard, String> {
    let mut client = rig::connect(proxy).await;
    client.set_nodelay(true).unwrap();
    for portion in portions {
        // A proxy that has refused the beginning may have closed.
        if client.write_all(portion).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let (mut heard, mut bytes) = (Heard::default(), Vec::new());
    while heard.responses.len() < asked.len() {
        let Some(response) = next(&mut client, &mut bytes, asked[heard.responses.len()], &mut heard).await?
        else {
            break;
        };
        let is_last = response.closes();
        heard.responses.push(response);
        if is_last {
            break;
        }
    }
    let _ = client.shutdown().await;
    heard.is_reset |= timeout(LONG, client.read_to_end(&mut bytes)).await.expect("never ends").is_err();
    heard.rest = bytes;
    Ok(heard)
}

/// The next response, without those that only say that there will be one; `None` at the end.
async fn next(
    client: &mut TcpStream,
    bytes: &mut Vec<u8>,
    asked: Asked,
    heard: &mut Heard,
) -> Result<Option<Response>, String> {
    let mut is_all = false;
    loop {
        match oracle::response(bytes, asked.to_head, is_all && asked.is_old)? {
            Some((response, length)) => {
                bytes.drain(..length);
                if response.status != 100 {
                    return Ok(Some(response));
                }
            }
            None if is_all => return Ok(None),
            None => match timeout(LONG, client.read_buf(bytes)).await.expect("no answer") {
                Ok(0) => is_all = true,
                Ok(_) => {}
                Err(_) => (is_all, heard.is_reset) = (true, true),
            },
        }
    }
}
