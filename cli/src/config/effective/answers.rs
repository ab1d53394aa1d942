//! What is answered without a server, as TOML.

use lb_proxy::config::{Backend, ErrorPage, Monitor, PageSource};

use super::{line, list, quoted};

pub(super) fn pages(out: &mut String, pages: &[ErrorPage]) {
    for page in pages {
        let source = match &page.source {
            PageSource::File(file) => quoted(file),
            PageSource::Location { location, status } => {
                format!("{{ location = {}, status = {status} }}", quoted(location))
            }
        };
        line(out, &format!("error_page.{}", page.status), source);
    }
}

pub(super) fn monitor(out: &mut String, monitor: &Monitor, backends: &[Backend]) {
    let fail_if = monitor.fail_if.iter().filter_map(|few| {
        let backend = quoted(&backends.get(few.backend.0)?.name);
        Some(format!("{{ backend = {backend}, usable_below = {} }}", few.usable_below))
    });
    line(out, "monitor_uri", format!("{{ uri = {}, fail_if = {} }}", quoted(&monitor.uri), list(fail_if)));
}
