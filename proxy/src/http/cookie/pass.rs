//! Where a backend's cookie meets its exchanges.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{CookiePolicy, Done, Persisted};
use crate::{
    config::BackendId,
    http::{
        head::request::Method,
        message::{Message, TooLarge},
    },
    upstream::Upstream,
    worker::Worker,
};

/// A request on its way to `backend`: what its cookie says, and its head without what servers shall not see.
/// `is_ignored` keeps it from being persisted; a rule has chosen the server `by_rule`, whatever the cookie says.
///
/// # Errors
/// No room for the head.
pub(crate) fn pass_request(
    policy: &CookiePolicy,
    worker: &Worker,
    backend: BackendId,
    is_ignored: bool,
    by_rule: Option<usize>,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Result<Persisted, TooLarge> {
    let persisted = if is_ignored {
        CookiePolicy::ignored()
    } else {
        let is_up = |server| worker.with_usable(backend, |usable| usable.keeps(server));
        let persisted = policy.read(message, is_up, now());
        by_rule.map_or(persisted, |server| persisted.overruled(server))
    };
    policy.edit_request(message, work)?;
    Ok(persisted)
}

/// The response of `upstream` on its way to the client; what was done with its cookie.
pub(crate) fn pass_response(
    policy: &CookiePolicy,
    upstream: &Upstream,
    method: Method,
    persisted: &Persisted,
    message: &mut Message<'_>,
    work: &mut Vec<u8>,
) -> Done {
    policy.edit_response(message, method, persisted, upstream.server_index(), now(), work)
}

/// Unix time.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
