//! A connection to somebody on the network who is told.

use std::{
    fmt::Debug,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_proxy::{health::describe, resolve::lookup, tls::SecuredStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::config::model::Remote;

/// Of a name's addresses so many are tried.
const TRIED: usize = 4;

/// With TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Stream for T {}

/// Connects, to the first of its addresses that answers; why not, in a clause. `limit`: for all of them.
pub(super) async fn connect(remote: &Remote, limit: Duration) -> Result<TcpStream, String> {
    let host = &remote.host;
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let found = lookup(&remote.resolver, host).await;
            found.map_err(|error| format!("the address of {host} is not known: {error}"))?.addresses
        }
    };
    let mut why = String::new();
    let share = limit / u32::try_from(addresses.len().clamp(1, TRIED)).unwrap_or(1);
    for address in addresses.into_iter().take(TRIED) {
        let address = SocketAddr::new(address, remote.port);
        let connected = timeout(share, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("{address}: {}", describe(&error)),
        }
    }
    Err(why)
}

/// What it speaks over the connection, as the file says.
pub(super) async fn secure(stream: TcpStream, remote: &Remote) -> Result<Box<dyn Stream>, String> {
    Ok(match &remote.tls {
        Some(tls) => Box::new(SecuredStream::to(stream, &remote.host, tls).await?),
        None => Box::new(stream),
    })
}
