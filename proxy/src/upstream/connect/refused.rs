//! Why a search found nothing.

use std::sync::Arc;

use super::Search;
use crate::{
    error::Error,
    health::probe::in_words,
    refusals::{Noted, Why},
    status::ServerState,
};

/// Servers that are told of one by one.
const TOLD: usize = 8;

impl Search {
    /// Notes why nothing was found; `waited` says that it was in line for too long.
    pub(crate) fn refused(&self, waited: bool) -> Noted {
        let node = self.worker.node();
        let why = match &self.failure {
            _ if waited => Why::Full,
            Some(_) => Why::NotConnected,
            None => Why::NoServer,
        };
        node.backends[self.backend.0].shared.refusals.note(why, node.now(), || match (why, &self.failure) {
            (Why::NotConnected, Some((server, cause))) => self.not_connected(*server, cause),
            (Why::Full, _) => self.full(),
            // Status shows these words for an hour.
            _ => format!("no usable server: {}", node.why(self.backend, None)),
        })
    }

    /// Notes that the answer of `server` did not come, or made no sense, so the client got `status`.
    pub(crate) fn unanswered(&self, server: usize, status: u16) -> Noted {
        let (node, config) = (self.worker.node(), &self.config().servers[server]);
        let what = match status {
            504 => {
                let within = in_words(self.config().timeout.server);
                format!("no answer within {within} (timeout.server)")
            }
            _ => {
                "it closed the connection without a whole answer, or the answer is not valid HTTP".to_owned()
            }
        };
        // Not that of another one: servers and kinds differ from one request to the next.
        let reason: Arc<str> = format!("{status} for {} at {}: {what}", config.name, config.address).into();
        let refusals = &node.backends[self.backend.0].shared.refusals;
        Noted {
            reason: Arc::clone(&reason),
            ..refusals.note(Why::Unanswered, node.now(), || reason.to_string())
        }
    }

    /// Why an attempt to connect failed.
    pub(super) fn cause(&self, error: &Error) -> String {
        match &error.source {
            Some(source) => source.to_string(),
            None => format!("no answer within {} (timeout.connect)", in_words(self.config().timeout.connect)),
        }
    }

    fn not_connected(&self, server: usize, cause: &str) -> String {
        let server = &self.config().servers[server];
        let at = if server.name == server.address.to_string() {
            String::new()
        } else {
            format!(" at {}", server.address)
        };
        format!("no server could be connected to, at last {}{at}: {cause}", server.name)
    }

    fn full(&self) -> String {
        let state = &self.worker.node().backends[self.backend.0];
        let servers = self.config().servers.iter().zip(&state.servers);
        let is_full = servers.filter_map(|(config, shared)| {
            let health = shared.health();
            let max = health.maxconn(config)?;
            let is_up = matches!(health.state(), ServerState::Up | ServerState::NoCheck);
            is_up.then(|| format!("{} has {} of {max}", config.name, shared.in_flight()))
        });
        let full: Vec<_> = is_full.take(TOLD).collect();
        let within = in_words(self.config().timeout.queue);
        format!("no slot of a full server became free within {within} (timeout.queue): {}", full.join(", "))
    }
}
