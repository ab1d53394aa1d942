//! One check of one server: the I/O, and its outcome in words.

use std::{io, net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::config::{Check, CheckKind};

/// A status line has to end within this.
const STATUS_LINE: usize = 1024;

/// What a check found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) passed: bool,
    pub(crate) what: String,
}

/// Checks a server once, within `check.timeout`.
pub(crate) async fn probe(check: &Check, address: SocketAddr) -> Outcome {
    let result = timeout(check.timeout, async {
        match &check.kind {
            CheckKind::Tcp => tcp(address).await,
            CheckKind::Http { method, path, host } => http(address, method, path, host.as_deref()).await,
        }
    });
    match result.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => failed(describe(&error)),
        Err(_) => failed(format!("no answer within {}", in_words(check.timeout))),
    }
}

async fn tcp(address: SocketAddr) -> io::Result<Outcome> {
    let stream = TcpStream::connect(address).await?;
    // Ended by a reset: no TIME_WAIT is left behind, here or there.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(Outcome { passed: true, what: "connected".to_owned() })
}

async fn http(address: SocketAddr, method: &str, path: &str, host: Option<&str>) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(address).await?;
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lbctl\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(256);
    while !line.contains(&b'\n') && line.len() < STATUS_LINE {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    if line.is_empty() {
        return Ok(failed("connection closed without an answer".to_owned()));
    }
    let Some(status) = status(&line) else {
        return Ok(failed("the answer is not HTTP".to_owned()));
    };
    Ok(if (200..400).contains(&status) {
        Outcome { passed: true, what: format!("HTTP {status}") }
    } else {
        failed(format!("HTTP {status} on {method} {path}"))
    })
}

/// The status code of `HTTP/1.x NNN` (RFC 9112 section 4).
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..4)?;
    if !minor.is_ascii_digit() || !matches!(digits[3], b' ' | b'\r' | b'\n') {
        return None;
    }
    std::str::from_utf8(&digits[..3]).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

fn failed(what: String) -> Outcome {
    Outcome { passed: false, what }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::TimedOut => "no answer to connect".to_owned(),
        _ => error.to_string(),
    }
}

fn in_words(duration: Duration) -> String {
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
    fn status_is_read_from_a_status_line_and_nothing_else() {
        for (line, expected) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.0 404 Not Found\r\n", Some(404)),
            (b"HTTP/1.1 503\r\n", Some(503)),
            (b"HTTP/1.1 2000\r\n", None),
            (b"HTTP/1.1 20\r\n", None),
            (b"HTTP/1.1 +20 x\r\n", None),
            (b"HTTP/2.0 200 OK\r\n", None),
            (b"220 mail ESMTP\r\n", None),
            (b"", None),
        ] {
            assert_eq!(status(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn timeouts_are_told_in_seconds_or_milliseconds() {
        assert_eq!(in_words(Duration::from_secs(2)), "2 s");
        assert_eq!(in_words(Duration::from_millis(1_500)), "1500 ms");
    }
}
