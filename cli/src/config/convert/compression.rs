//! Which responses are compressed. `[defaults]` speaks to frontends alone: a backend that says nothing leaves it to them.

use lb_proxy::config::{BackendCompression, Compression, Mode};

use super::backend::value;
use crate::config::{diagnostic::Report, raw::Section};

/// Of a frontend, or of the first half of a `[listen.*]`.
pub(super) fn frontend(
    section: &Section,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> Option<Compression> {
    if mode == Mode::Tcp {
        complain(section, report);
        return None;
    }
    value(&section.compression, &defaults.compression).flatten()
}

/// Of a backend, or of the second half of a `[listen.*]`.
pub(super) fn backend(section: &Section, mode: Mode, report: &Report<'_>) -> BackendCompression {
    match &section.compression {
        None => BackendCompression::AsFrontend,
        Some(_) if mode == Mode::Tcp => {
            // A listen has been told as a frontend.
            if !section.kind.is_frontend() {
                complain(section, report);
            }
            BackendCompression::AsFrontend
        }
        Some(at) => at.value.clone().map_or(BackendCompression::Off, BackendCompression::Own),
    }
}

fn complain(section: &Section, report: &Report<'_>) {
    if let Some(at) = section.compression.as_ref().filter(|at| at.value.is_some()) {
        report
            .error(at.span, "compression needs mode = \"http\"; in mode tcp bytes are forwarded as they are");
    }
}
