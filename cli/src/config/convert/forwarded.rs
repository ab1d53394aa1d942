//! What servers are told of who has sent a request. `[defaults]` speaks to frontends alone: a backend that says nothing leaves it to
//! them, and that of a `[listen.*]` is its frontend's.

use lb_proxy::config::{BackendForwarded, Forwarded, ForwardedHeader, Mode};

use super::backend::value;
use crate::config::{
    diagnostic::Report,
    raw::{Kind, Section},
};

/// Of a frontend, or of a `[listen.*]`.
pub(super) fn frontend(
    section: &Section,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> Option<Forwarded> {
    if mode == Mode::Tcp {
        complain(section, report);
        return None;
    }
    let at = section.forwarded.as_ref().or(defaults.forwarded.as_ref())?;
    let forwarded = at.value.as_ref()?;
    // Two lines of the same would be two hops to whoever counts them.
    if value(&section.forwardfor, &defaults.forwardfor) == Some(true)
        && forwarded.headers.contains(&ForwardedHeader::For)
    {
        report.error(at.span, "forwardfor adds X-Forwarded-For as well, so servers would get it twice; write forwardfor = false");
    }
    Some(forwarded.clone())
}

/// Of a backend.
pub(super) fn backend(section: &Section, mode: Mode, report: &Report<'_>) -> BackendForwarded {
    match &section.forwarded {
        Some(_) if section.kind != Kind::Backend => BackendForwarded::AsFrontend,
        Some(_) if mode == Mode::Tcp => {
            complain(section, report);
            BackendForwarded::AsFrontend
        }
        Some(at) => at.value.clone().map_or(BackendForwarded::Off, BackendForwarded::Own),
        None => BackendForwarded::AsFrontend,
    }
}

fn complain(section: &Section, report: &Report<'_>) {
    if let Some(at) = section.forwarded.as_ref().filter(|at| at.value.is_some()) {
        report.error(at.span, "forwarded needs mode = \"http\"; in mode tcp bytes are forwarded as they are");
    }
}
