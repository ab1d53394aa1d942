//! Whether rules look at how a client begins TLS.

use super::{Action, Rule};
use crate::config::{Backend, Frontend, LogFormat, Mode};

/// Does a rule of `frontend`, or of one of `backends` that it may choose, or its log look at the ClientHello of its clients? Then
/// that is waited for.
pub fn looks_at_client_hello(frontend: &Frontend, backends: &[Backend]) -> bool {
    let of_backends = frontend.backends().filter_map(|backend| backends.get(backend.0));
    let rules = frontend.rules.iter().chain(of_backends.flat_map(|backend| &backend.rules));
    frontend.mode == Mode::Tcp && (is_logged(&frontend.log.format) || rules.into_iter().any(looks))
}

fn looks(rule: &Rule) -> bool {
    let is_named = |action: &Action| matches!(action, Action::BackendNamed(named) if named.name().looks_at_client_hello());
    rule.when.looks_at_client_hello() || rule.then.iter().any(is_named)
}

fn is_logged(format: &LogFormat) -> bool {
    matches!(format, LogFormat::Template(template) if template.looks_at_client_hello())
}
