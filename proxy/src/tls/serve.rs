//! The handshake of a client's connection, under its deadline, counted and logged.

use std::pin::pin;

use super::{handshake::HandshakeError, stream::TlsStream};
use crate::{connection::Connection, metrics::Event};

/// Shakes hands with the client of a listener that has this number in its frontend. Says whether the connection is to be
/// served.
pub(crate) async fn shake_hands(connection: &Connection<TlsStream>, number: usize) -> bool {
    let limit = connection.frontend().timeout.client_handshake;
    let deadline = connection.worker().wheel().deadline();
    let outcome = deadline.limit(limit, pin!(connection.stream().shake_hands())).await;
    match outcome.unwrap_or(Err(HandshakeError::Elapsed)) {
        Ok(session) => {
            connection.count(Event::TlsHandshake);
            if session.is_resumed {
                connection.count(Event::TlsResumed);
            }
            connection.set_tls(session);
            true
        }
        Err(error) => {
            failed(connection, number, &error);
            false
        }
    }
}

fn failed(connection: &Connection<TlsStream>, number: usize, error: &HandshakeError) {
    let is_silent = !connection.stream().has_begun();
    connection.count(if is_silent { Event::NullConnection } else { Event::TlsFailed });
    if !is_silent || !connection.frontend().options.dontlognull {
        let why = match error {
            HandshakeError::NoCertificate | HandshakeError::TooLong | HandshakeError::Refused(_) => {
                Some(error.to_string())
            }
            HandshakeError::Empty
            | HandshakeError::Closed
            | HandshakeError::Elapsed
            | HandshakeError::Broken(_) => None,
        };
        connection.log_refused(number, error.words(), why.as_deref());
    }
    tracing::debug!(
        frontend = %connection.frontend().name,
        client = %connection.peer(),
        "no TLS with a client: {error}"
    );
}
