//! What is answered without a server: pages of the operator's own, and a monitor's question.

use super::BackendId;
use crate::{
    http::target::split_absolute,
    rules::{Action, Condition, Network, RequireAuth, Rule},
};

/// A page of the operator's own for one status (HAProxy `errorfile`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorPage {
    /// 400..=599, one that lbctl answers itself.
    pub status: u16,
    /// Where it comes from.
    pub source: PageSource,
    /// Field lines, each with its CRLF; none that frames the message or speaks of the connection.
    pub fields: Vec<u8>,
    /// The content, at most 64 kB.
    pub content: Vec<u8>,
}

/// As the configuration has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PageSource {
    /// The file that it was read from.
    File(String),
    /// It is somewhere else, and clients are led there (HAProxy `errorloc`).
    Location {
        /// What stands in Location: a reference in ASCII.
        location: String,
        /// 302, 303 or 307, which is sent instead of the status.
        status: u16,
    },
}

impl ErrorPage {
    /// One that leads to `location` with this status instead.
    pub fn elsewhere(status: u16, location: String, sent: u16) -> Self {
        let fields = format!("Cache-Control: no-cache\r\nLocation: {location}\r\n").into_bytes();
        let source = PageSource::Location { location, status: sent };
        Self { status, source, fields, content: Vec::new() }
    }

    /// What its status line says.
    pub(crate) fn sent(&self) -> u16 {
        match self.source {
            PageSource::File(_) => self.status,
            PageSource::Location { status, .. } => status,
        }
    }
}

/// Answers a question about this node here (HAProxy `monitor-uri`): 200, or 503 while it should not get traffic. Never
/// logged, and not counted among the requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Monitor {
    /// The whole target of the request.
    pub uri: String,
    /// Any of them makes it 503.
    pub fail_if: Vec<TooFew>,
}

/// Where the statistics are, which whoever started the proxy answers with (HAProxy `stats uri`): requests whose target
/// begins with `uri`; after the frontend's rules and before those of a backend.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Begins with `/`. The same as `metrics`: these alone are here.
    pub uri: String,
    /// Who may ask, by address; everybody if it is empty.
    pub allow: Vec<Network>,
    /// Who may ask, by name and password; everybody if there is none.
    pub users: Option<RequireAuth>,
    /// That everybody may ask is meant.
    pub is_public: bool,
    /// The path of the metrics, if they are here.
    pub metrics: Option<String>,
}

/// What of the statistics a request is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// The page, the CSV or the JSON.
    Page,
    /// The metrics.
    Metrics,
}

impl Statistics {
    /// Everybody may ask, and nothing says that this is meant.
    pub fn is_open_by_omission(&self) -> bool {
        self.allow.is_empty() && self.users.is_none() && !self.is_public
    }

    /// Is there more than metrics?
    pub fn has_page(&self) -> bool {
        self.metrics.as_ref() != Some(&self.uri)
    }

    /// Is a request with this target for them?
    pub fn takes(&self, target: &[u8]) -> bool {
        self.wanted(target).is_some()
    }

    /// What is wanted, and what stands behind its URI in this target, if it is for the statistics: path and query, whatever
    /// the form of the target. Bytes are compared, as in HAProxy, so a rule on the path is not about all that is answered:
    /// `allow` and `users` are. The path of the metrics is one path.
    pub(crate) fn wanted<'t>(&self, target: &'t [u8]) -> Option<(Wanted, &'t [u8])> {
        let path = split_absolute(target).map_or(target, |(_, _, path)| path);
        let query = self.metrics.as_ref().and_then(|metrics| path.strip_prefix(metrics.as_bytes()));
        match query {
            Some(query @ ([] | [b'?', ..])) => Some((Wanted::Metrics, query)),
            _ if !self.has_page() => None,
            _ => Some((Wanted::Page, path.strip_prefix(self.uri.as_bytes())?)),
        }
    }

    /// As rules: they run on requests for it, after those of the frontend.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let stranger = Condition::Not(Box::new(Condition::Source(self.allow.clone())));
        let deny = (!self.allow.is_empty()).then(|| Rule { when: stranger, then: vec![Action::Deny(403)] });
        let ask = |users: &RequireAuth| Rule {
            when: Condition::ALWAYS,
            then: vec![Action::RequireAuth(users.clone())],
        };
        deny.into_iter().chain(self.users.as_ref().map(ask)).collect()
    }
}

/// A backend has fewer usable servers than that (HAProxy `monitor fail if { nbsrv(backend) lt 1 }`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooFew {
    /// Which.
    pub backend: BackendId,
    /// At least 1.
    pub usable_below: u32,
}
