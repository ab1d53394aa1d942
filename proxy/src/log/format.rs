//! What a line about traffic says.

pub(super) mod haproxy;
pub(super) mod json;
pub(super) mod template;

use std::time::Duration;

use super::record::{Record, ServedBy, Times};
use crate::config::{Backend, Frontend, Mode, Server};

/// All that is known when a line is written.
pub(super) struct Line<'a> {
    pub(super) record: &'a Record,
    pub(super) frontend: &'a Frontend,
    pub(super) backend: Option<&'a Backend>,
    pub(super) server: Option<&'a Server>,
    /// From the first byte to now.
    pub(super) total: Duration,
    /// Bytes to the client; see also [`Line::counted`].
    pub(super) sent: u64,
    /// Bytes from the client.
    pub(super) received: u64,
    pub(super) load: Load,
    /// More comes after it.
    pub(super) is_early: bool,
    /// The client speaks TLS.
    pub(super) is_tls: bool,
}

/// Connections at this moment.
pub(super) struct Load {
    pub(super) process: u32,
    pub(super) frontend: u32,
    /// At its servers and in line.
    pub(super) backend: u64,
    pub(super) server: u32,
}

impl Line<'_> {
    /// As in HAProxy: the frontend's where no backend was chosen.
    fn backend_name(&self) -> &str {
        self.backend.map_or(&self.frontend.name, |backend| &backend.name)
    }

    fn is_http(&self) -> bool {
        self.frontend.mode == Mode::Http
    }

    /// `bytes`, as HAProxy counts them: neither a head that could not be read nor its answer are of an exchange.
    fn counted(&self, bytes: u64) -> u64 {
        if self.is_http() && self.record.line().is_none() { 0 } else { bytes }
    }

    /// From the first byte to now.
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.total.as_millis()).unwrap_or(u64::MAX)
    }

    /// Who answered, but for the proxy itself.
    fn server_name(&self) -> Option<&str> {
        match self.record.served_by {
            ServedBy::Statistics => Some("<STATS>"),
            ServedBy::Server(_) | ServedBy::Nobody => self.server.map(|server| &*server.name),
        }
    }

    /// The two letters of who ended it, and where.
    fn code(&self) -> [char; 2] {
        self.record.code.unwrap_or(['-', '-'])
    }
}
