//! `unique_id` of a frontend.

use lb_proxy::{
    config::{Backend, Frontend, Mode, ProxyExtension, UniqueId},
    sample::{Fault, Names, Place, Stage, Text},
};

use super::template;
use crate::config::{diagnostic::Report, raw};

/// The id of requests of a frontend, `None` for none.
pub(super) fn convert(
    raw: Option<&raw::UniqueId>,
    mode: Mode,
    names: &Names,
    report: &Report<'_>,
) -> Option<UniqueId> {
    let raw = raw?;
    if mode == Mode::Tcp {
        report.error(raw.span, "unique_id needs mode = \"http\"; in mode tcp there are no requests");
        return None;
    }
    let place = Place { stage: Stage::Request, backend: false, text: Text::Field, names };
    let template = match &raw.template {
        Some(written) => {
            let template = template::parse(written, &place, report)?;
            if template.uses_request_id() {
                report.error(written.span, "the id can't be made of itself; take `request.id` out");
            }
            template
        }
        None => UniqueId::default_template(),
    };
    let header = match &raw.header {
        Some(header) if !lb_proxy::http::message::is_editable(header.value.as_bytes()) => {
            let name = header.value.escape_debug();
            let fault = Fault::Name { name: name.to_string(), kind: "name of a header that can be set" };
            report.error(header.span, fault.to_string());
            return None;
        }
        Some(header) => Some(header.value.clone()),
        None => None,
    };
    Some(UniqueId { header, template })
}

/// Is some server told the ids of requests?
pub(super) fn is_told(backends: &[Backend]) -> bool {
    let sent =
        backends.iter().flat_map(|backend| &backend.servers).filter_map(|server| server.send_proxy.as_ref());
    sent.flat_map(|send| &send.extensions).any(|extension| *extension == ProxyExtension::UniqueId)
}

/// An id for the requests of every frontend that has none: some template asks for it, or a server is told it.
pub(super) fn complete(frontends: &mut [Frontend]) {
    for frontend in frontends.iter_mut().filter(|frontend| frontend.mode == Mode::Http) {
        let id = || UniqueId { header: None, template: UniqueId::default_template() };
        frontend.unique_id.get_or_insert_with(id);
    }
}
