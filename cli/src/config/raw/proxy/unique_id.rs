//! `unique_id`: an id for every request.

use crate::config::{
    diagnostic::Span,
    reader::{At, Value},
};

#[derive(Debug)]
pub(crate) struct UniqueId {
    pub(crate) span: Span,
    pub(crate) header: Option<At<String>>,
    pub(crate) template: Option<At<String>>,
}

impl UniqueId {
    pub(super) fn read(value: &Value<'_>, title: &str) -> Option<Self> {
        let expected = "a table, as in { header = \"X-Request-Id\" }";
        let fields = value.fields(format!("`unique_id` of {title}"), expected)?;
        let id = Self {
            span: value.span,
            header: fields.string("header", "the name of a header, as in \"X-Request-Id\""),
            template: fields.string("template", "text with placeholders, as in \"{uuid}\""),
        };
        fields.finish(|_| None);
        Some(id)
    }
}
