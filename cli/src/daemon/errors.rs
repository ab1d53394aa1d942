//! `GET /v1/errors`: messages that the workers have refused, asked of them and put into text.

use std::{sync::Arc, time::Duration};

use lb_proxy::{
    Proxy,
    invalid::{self, InvalidKind},
};

use crate::control::{ErrorsReport, InvalidMessage, Timestamp};

/// For a worker to answer. One that is stalled is left out.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks all workers.
pub(super) async fn report(proxy: Arc<Proxy>) -> ErrorsReport {
    let (messages, silent_workers) = proxy.invalid_messages(LIMIT).await;
    let status = proxy.status();
    ErrorsReport {
        at: Timestamp::now(),
        messages: messages.into_iter().map(message).collect(),
        silent_workers,
        frontends: status.frontends.into_iter().map(|frontend| frontend.name).collect(),
        backends: status.backends.into_iter().map(|backend| backend.name).collect(),
    }
}

fn message(found: invalid::InvalidMessage) -> InvalidMessage {
    let (backend, server) = found.server.unzip();
    let kind = match found.kind {
        InvalidKind::Request => "request",
        InvalidKind::RequestContent => "request_content",
        InvalidKind::Response => "response",
        InvalidKind::ResponseContent => "response_content",
    };
    InvalidMessage {
        at: found.at.into(),
        kind: kind.to_owned(),
        frontend: found.frontend,
        backend,
        server,
        client: found.client.to_string(),
        reason: found.reason,
        position: found.position,
        length: found.length,
        skipped: found.skipped,
        bytes: escaped(&found.bytes),
    }
}

/// Every byte in a way that a terminal can show and that can be turned back.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_shown_as_they_are_or_escaped() {
        assert_eq!(
            super::escaped(b"GET /\\ \"a\"\t\r\n\0\x7f\xc3"),
            "GET /\\\\ \"a\"\\t\\r\\n\\x00\\x7f\\xc3"
        );
    }
}
