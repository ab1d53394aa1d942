//! Texts with placeholders.

use lb_proxy::sample::{Place, Template, TemplateError};

use crate::config::{diagnostic::Report, raw::rules::within, reader::At, text};

/// `None` if something is wrong with it, which is reported where it is.
pub(super) fn parse(written: &At<String>, place: &Place<'_>, report: &Report<'_>) -> Option<Template> {
    match Template::parse(&written.value, place) {
        Ok(template) => Some(template),
        Err(error) => {
            wrong(written, &error, report);
            None
        }
    }
}

pub(super) fn wrong(written: &At<String>, error: &TemplateError, report: &Report<'_>) {
    let near = error.fault.candidates().and_then(|(name, known)| text::nearest(name, known));
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    report.error(within(written, error.range.clone(), report), format!("{}{hint}", error.fault));
}
