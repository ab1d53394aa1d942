//! An id for every request.

use crate::sample::{Names, Place, Stage, Template, Text};

/// How requests of a frontend are told apart, in logs and by servers.
#[derive(Clone, Debug)]
pub struct UniqueId {
    /// A server gets it in this field, which replaces what a client sent; [editable](crate::http::message::is_editable).
    pub header: Option<String>,
    /// Its text, as of a field of a request of the frontend.
    pub template: Template,
}

impl UniqueId {
    /// A random UUID.
    pub fn default_template() -> Template {
        let names = Names::default();
        let place = Place { stage: Stage::Request, backend: false, text: Text::Field, names: &names };
        Template::parse("{uuid}", &place).expect("a placeholder that exists everywhere")
    }
}
