//! One check of one server: the I/O around a [`Talk`].

use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::{
    outcome::Outcome,
    talk::{Inbox, LARGEST_ANSWER, Step, Talk},
};
use crate::{
    Endpoint,
    config::{Address, Alpn, Check, CheckKind, ProxyVersion, Source},
    http2::Asking,
    proxy_protocol::introduction::encode_own,
    status::CheckCode,
    tls::{Connector, PeerName, SecuredStream},
    upstream::{dial, is_exhausted},
};

/// Room for each read.
const READ: usize = 4 * 1024;

/// What stands below the talk of a check.
#[derive(Debug, Default)]
pub(crate) struct Below {
    /// A header of our own goes first.
    pub(crate) proxy: Option<ProxyVersion>,
    /// TLS is spoken.
    pub(crate) tls: Option<Arc<Connector>>,
    /// The name that the server is told then, if not its own.
    pub(crate) sni: Option<PeerName>,
    /// HTTP/2 is spoken without TLS.
    pub(crate) http2: bool,
}

/// Checks the server at `address` once, from `source`, within `check.timeout`. Whatever happens, its socket is closed
/// afterwards.
pub(crate) async fn probe(check: &Check, address: &Address, source: &Source, below: &Below) -> Outcome {
    let deadline = Instant::now() + check.timeout;
    let mut talk = Talk::new(&check.kind, address.into());
    let failed = |code, what: String, info: &str, talk: &Talk<'_>| {
        let is_connected =
            !matches!(code, CheckCode::L4Timeout | CheckCode::L4Connection | CheckCode::Socket);
        let info = [info.as_bytes(), &talk.place(is_connected)].concat();
        Outcome::new(code, what).saying(info)
    };
    let mut stream = match timeout_at(deadline, dial(address, source, None)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return failed(CheckCode::L4Timeout, describe(&error), "", &talk);
        }
        Ok(Err(error)) => {
            let is_ours = is_exhausted(&error);
            let code = if is_ours { CheckCode::Socket } else { CheckCode::L4Connection };
            return failed(code, describe(&error), &system_words(&error), &talk);
        }
        Err(_) => {
            let what = format!("no answer to connect within {}", in_words(check.timeout));
            return failed(CheckCode::L4Timeout, what, "", &talk);
        }
    };
    if check.kind.only_connects() && below.tls.is_none() {
        // Ended by a reset: no TIME_WAIT is left behind, here or there.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
    let mut is_shaking = below.tls.is_some();
    let exchange = async {
        if let Some(version) = below.proxy {
            let source = stream.local_addr().map_or(Endpoint::Unix, Endpoint::from);
            stream.write_all(&encode_own(version, source, address.into())).await?;
        }
        let is_http = matches!(check.kind, CheckKind::Http(_));
        let Some(connector) = &below.tls else {
            let spoken = if below.http2 && is_http { Spoken::Http2 } else { Spoken::AsItIs };
            return Ok(Ok(converse(&mut stream, &mut talk, spoken).await?));
        };
        let name = below.sni.clone().unwrap_or_else(|| connector.name(address.ip()));
        let mut stream = match SecuredStream::shake_hands(stream, connector, &name).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        is_shaking = false;
        let is_http2 = is_http && stream.has_agreed_on(Alpn::H2);
        let spoken = if is_http2 { Spoken::Http2OverTls } else { Spoken::AsItIs };
        let mut outcome = converse(&mut stream, &mut talk, spoken).await?;
        stream.leave().await;
        if outcome.code == CheckCode::L4Ok {
            outcome.code = CheckCode::L6Ok;
        }
        Ok(Ok(outcome))
    };
    match timeout_at(deadline, exchange).await {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => {
            failed(CheckCode::L6Response, error.of_server(), error.haproxys_of_server(), &talk)
        }
        Ok(Err(error)) => failed(CheckCode::Broken, describe(&error), &system_words(&error), &talk),
        Err(_) if is_shaking => {
            let what = format!("the TLS handshake was not over within {}", in_words(check.timeout));
            failed(CheckCode::L6Timeout, what, "", &talk)
        }
        Err(_) => {
            let what = format!("no answer within {}", in_words(check.timeout));
            failed(CheckCode::L7Timeout, what, "", &talk)
        }
    }
}

/// How a talk goes over its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spoken {
    AsItIs,
    /// Its request and the answer are those of a stream.
    Http2,
    Http2OverTls,
}

async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    talk: &mut Talk<'_>,
    spoken: Spoken,
) -> io::Result<Outcome> {
    let mut inbox = Inbox::default();
    let mut asking: Option<Asking> = None;
    loop {
        match talk.step(&mut inbox) {
            Step::Say(mut bytes) => {
                if spoken != Spoken::AsItIs {
                    bytes = asking.insert(Asking::new(&bytes, spoken == Spoken::Http2OverTls)).out();
                }
                // A server that ended may have said why.
                if let Err(error) = say(stream, &bytes).await
                    && inbox.ended
                {
                    return Err(error);
                }
            }
            Step::Listen if inbox.ended || inbox.bytes.len() > LARGEST_ANSWER => {
                return Ok(Outcome::new(CheckCode::L7Response, "the answer is too long"));
            }
            Step::Listen if asking.as_ref().is_some_and(Asking::is_over) => inbox.ended = true,
            Step::Listen => {
                if let Some(asking) = &mut asking {
                    let mut bytes = Vec::with_capacity(READ);
                    let length = stream.read_buf(&mut bytes).await?;
                    inbox.ended = length == 0;
                    if let Err(what) = asking.receive(&bytes, &mut inbox.bytes) {
                        return Ok(Outcome::new(CheckCode::L7Response, what));
                    }
                    let _ = say(stream, &asking.out()).await;
                    continue;
                }
                inbox.bytes.reserve(READ);
                match stream.read_buf(&mut inbox.bytes).await {
                    Ok(length) => inbox.ended = length == 0,
                    // What came before the end says more than how it ended.
                    Err(_) if !inbox.bytes.is_empty() => inbox.ended = true,
                    Err(error) => return Err(error),
                }
            }
            Step::End(outcome, farewell) => {
                // What is written now leaves even though the socket is closed next.
                poll_once(stream, farewell).await;
                return Ok(outcome);
            }
        }
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Writes what can be written at once.
async fn poll_once(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    poll_fn(|context| {
        let _ = Pin::new(&mut *stream).poll_write(context, bytes);
        Poll::Ready(())
    })
    .await;
}

/// As C's `strerror` says it, or what we say.
fn system_words(error: &io::Error) -> String {
    let words = error.to_string();
    match error.raw_os_error().and_then(|number| words.strip_suffix(&format!(" (os error {number})"))) {
        Some(words) => words.to_owned(),
        None => words,
    }
}

/// A connection that was not made, in a clause.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::TimedOut => "no answer to connect".to_owned(),
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => "no right to connect".to_owned(),
        _ => error.to_string(),
    }
}

pub(crate) fn in_words(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_told_in_seconds_or_milliseconds() {
        assert_eq!(in_words(Duration::from_secs(2)), "2 s");
        assert_eq!(in_words(Duration::from_millis(1_500)), "1500 ms");
    }
}
