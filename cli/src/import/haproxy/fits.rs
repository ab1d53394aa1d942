//! Whether our file takes a value: the reader of it has the last word, so that what it refuses is never written.

use std::collections::BTreeSet;

use super::rule::{Rule, USABLE};
use crate::{
    config,
    import::document::{Value, key},
};

/// Where a value is to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    pub(super) is_http: bool,
    pub(super) is_frontend: bool,
    /// How the file will be called: pages are beside it.
    pub(super) file: &'p str,
}

impl Place<'_> {
    /// Lines of a section; `Err` is what the reader says.
    pub(super) fn takes(&self, lines: &str, elsewhere: &str) -> Result<(), String> {
        let mode = if self.is_http { "http" } else { "tcp" };
        let (frontend, backend) = if self.is_frontend { (lines, "") } else { ("", lines) };
        let file = format!(
            "[frontend.import-probe]\nmode = \"{mode}\"\nbind = \"*:1\"\ndefault_backend = \"import-probe\"\n{frontend}\n\
             [backend.import-probe]\nmode = \"{mode}\"\nservers = [\"192.0.2.1:80\"]\n{backend}\n{elsewhere}"
        );
        first_error(&file, self.file)
    }

    /// One key of a section.
    pub(super) fn takes_key(&self, name: &str, value: &Value) -> Result<(), String> {
        self.takes(&format!("{name} = {value}"), "")
    }

    /// One rule. Its variables are set before it, its backend or server is there; its maps and users are `elsewhere`.
    pub(super) fn takes_rule(&self, list: &str, rule: &Rule, elsewhere: &str) -> Result<(), String> {
        let mode = if self.is_http { "http" } else { "tcp" };
        let text = rule.value().to_string();
        let variables: BTreeSet<_> = variables(&text).map(|name| format!("{} = \"x\"", key(name))).collect();
        let variables: Vec<_> = variables.into_iter().collect();
        let lines = if variables.is_empty() {
            format!("{list} = [{text}]")
        } else {
            format!("{list} = [{{ set_var = {{ {} }} }}, {text}]", variables.join(", "))
        };
        if let Some(name) = rule.names("server") {
            let server = format!("server.{} = \"192.0.2.2:80\"", key(name));
            return Place { is_frontend: false, ..*self }.takes(&format!("{lines}\n{server}"), elsewhere);
        }
        let backend = rule.names("backend").filter(|name| !name.contains('{')).map(|name| {
            format!("[backend.{}]\nmode = \"{mode}\"\nservers = [\"192.0.2.2:80\"]\n", key(name))
        });
        let mut names = Vec::new();
        rule.cond.names_of(USABLE, &mut names);
        let counted = names.into_iter().map(|name| {
            format!("[backend.{}]\nmode = \"{mode}\"\nservers = [\"192.0.2.2:80\"]\n", key(name))
        });
        let mut others: Vec<String> = counted.chain(backend).collect();
        others.sort();
        others.dedup();
        self.takes(&lines, &format!("{elsewhere}{}", others.concat()))
    }
}

/// One entry of `bind`.
pub(super) fn takes_bind(value: &Value, file: &str) -> Result<(), String> {
    let text = format!("[frontend.import-probe]\nbind = {value}\n");
    first_error(&text, file)
}

/// The names in `{var.NAME}` of a text.
pub(super) fn variables(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
    text.split("{var.").skip(1).map(move |rest| &rest[..rest.find(ends).unwrap_or(rest.len())])
}

/// The message of the first error.
pub(super) fn first_error(file: &str, name: &str) -> Result<(), String> {
    match config::parse_alone(file, name) {
        Ok(_) => Ok(()),
        Err(report) => {
            let error =
                report.iter().find(|diagnostic| diagnostic.severity == config::diagnostic::Severity::Error);
            Err(error.map_or_else(|| "our file does not take it".to_owned(), |error| error.message.clone()))
        }
    }
}
