//! One check of one server: the I/O around a [`Talk`].

use std::{io, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    outcome::Outcome,
    talk::{Inbox, LARGEST_ANSWER, Step, Talk},
};
use crate::{
    Endpoint,
    config::{Address, Check, ProxyVersion, Source},
    proxy_protocol::introduction::encode_own,
    status::CheckCode,
    upstream::{dial, is_exhausted},
};

/// Room for each read.
const READ: usize = 4 * 1024;

/// Checks the server at `address` once, from `source`, within `check.timeout`; `proxy` says that a header of our own goes first.
/// Whatever happens, its socket is closed afterwards.
pub(crate) async fn probe(
    check: &Check,
    address: &Address,
    source: &Source,
    proxy: Option<ProxyVersion>,
) -> Outcome {
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
    if check.kind.only_connects() {
        // Ended by a reset: no TIME_WAIT is left behind, here or there.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
    let exchange = async {
        if let Some(version) = proxy {
            let source = stream.local_addr().map_or(Endpoint::Unix, Endpoint::from);
            stream.write_all(&encode_own(version, source, address.into())).await?;
        }
        converse(&mut stream, &mut talk).await
    };
    match timeout_at(deadline, exchange).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => failed(CheckCode::Broken, describe(&error), &system_words(&error), &talk),
        Err(_) => {
            let what = format!("no answer within {}", in_words(check.timeout));
            failed(CheckCode::L7Timeout, what, "", &talk)
        }
    }
}

async fn converse(stream: &mut TcpStream, talk: &mut Talk<'_>) -> io::Result<Outcome> {
    let mut inbox = Inbox::default();
    loop {
        match talk.step(&mut inbox) {
            Step::Say(bytes) => {
                // A server that ended may have said why.
                if let Err(error) = stream.write_all(&bytes).await
                    && inbox.ended
                {
                    return Err(error);
                }
            }
            Step::Listen if inbox.ended || inbox.bytes.len() > LARGEST_ANSWER => {
                return Ok(Outcome::new(CheckCode::L7Response, "the answer is too long"));
            }
            Step::Listen => {
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
                let _ = stream.try_write(farewell);
                return Ok(outcome);
            }
        }
    }
}

/// As C's `strerror` says it, or what we say.
fn system_words(error: &io::Error) -> String {
    let words = error.to_string();
    match error.raw_os_error().and_then(|number| words.strip_suffix(&format!(" (os error {number})"))) {
        Some(words) => words.to_owned(),
        None => words,
    }
}

pub(crate) fn describe(error: &io::Error) -> String {
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
