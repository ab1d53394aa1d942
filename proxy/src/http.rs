//! The HTTP/1 session of a client's connection.

use crate::{connection::Connection, stream::Stream};

/// Serves a connection of a frontend with [`crate::config::Mode::Http`].
pub(crate) async fn serve<S: Stream>(connection: &Connection<S>) {
    let _ = connection;
}
