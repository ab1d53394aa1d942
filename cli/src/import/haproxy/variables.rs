//! Environment variables, as the lines of the file see them: those of the process, changed by `setenv` and its like.

use std::collections::BTreeMap;

/// What HAProxy gives to its file, and we can't know.
const OF_HAPROXY: [&str; 6] = [
    "HAPROXY_CFGFILES",
    "HAPROXY_CLI",
    "HAPROXY_LOCALPEER",
    "HAPROXY_MASTER_CLI",
    "HAPROXY_MWORKER",
    "HAPROXY_STARTUP_VERSION",
];

/// The variables at one line.
#[derive(Debug)]
pub(super) struct Variables<'t> {
    values: BTreeMap<String, String>,
    /// For `.LINE`.
    text: &'t str,
    file: String,
    section: String,
}

impl<'t> Variables<'t> {
    pub(super) fn new(environment: &[(String, String)], text: &'t str, file: &str) -> Self {
        Self {
            values: environment.iter().cloned().collect(),
            text,
            file: file.to_owned(),
            section: String::new(),
        }
    }

    /// The section that is read, for `.SECTION`.
    pub(super) fn enter(&mut self, section: &str) {
        section.clone_into(&mut self.section);
    }

    /// `at` is the byte of the file where it is asked for.
    pub(super) fn value(&self, name: &str, at: usize) -> Option<String> {
        match name {
            ".FILE" => Some(self.file.clone()),
            ".LINE" => {
                let before = self.text.as_bytes().get(..at).unwrap_or_default();
                Some((before.iter().filter(|byte| **byte == b'\n').count() + 1).to_string())
            }
            ".SECTION" => Some(self.section.clone()),
            name => self.values.get(name).cloned(),
        }
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// `$NAME` and `${NAME}` of an address, which HAProxy takes also without quotes. Names that have no value come second.
    pub(super) fn expanded(&self, address: &str) -> (String, Vec<String>) {
        let (mut out, mut unset) = (String::new(), Vec::new());
        let mut rest = address;
        while let Some((before, behind)) = rest.split_once('$') {
            out.push_str(before);
            let inner = behind.strip_prefix('{').unwrap_or(behind);
            let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
            let (name, after) = inner.split_at(end);
            match self.values.get(name) {
                Some(value) => out.push_str(value),
                None => unset.push(name.to_owned()),
            }
            rest = if inner.len() < behind.len() { after.strip_prefix('}').unwrap_or(after) } else { after };
        }
        out.push_str(rest);
        (out, unset)
    }

    /// Is it one that HAProxy sets itself?
    pub(super) fn is_of_haproxy(name: &str) -> bool {
        OF_HAPROXY.contains(&name)
    }

    /// `setenv`, `presetenv`, `unsetenv` and `resetenv`; `false` if it is none of them, or not well-formed.
    pub(super) fn change(&mut self, words: &[&str]) -> bool {
        match words {
            ["setenv", name, value] => {
                self.values.insert((*name).to_owned(), (*value).to_owned());
            }
            ["presetenv", name, value] => {
                self.values.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
            }
            ["unsetenv", names @ ..] if !names.is_empty() => {
                self.values.retain(|name, _| !names.contains(&name.as_str()));
            }
            ["resetenv", kept @ ..] => self.values.retain(|name, _| kept.contains(&name.as_str())),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_changes_its_variables_from_one_line_to_the_next() {
        let mut variables = Variables::new(&[("A".into(), "1".into())], "global\nsetenv B 2\n", "x.cfg");
        assert!(variables.change(&["presetenv", "A", "2"]) && variables.change(&["setenv", "B", "2"]));
        assert_eq!((variables.value("A", 0), variables.value("B", 0)), (Some("1".into()), Some("2".into())));
        assert!(variables.change(&["unsetenv", "A"]) && !variables.is_set("A"));
        assert!(variables.change(&["setenv", "C", "3"]) && variables.change(&["resetenv", "C"]));
        assert!(variables.is_set("C") && !variables.is_set("B"));
        assert!(!variables.change(&["setenv", "C"]) && !variables.change(&["unsetenv"]));
        variables.enter("web");
        let address = |text: &str| variables.expanded(text);
        assert_eq!(address("${C}.0.2.1:80$C"), ("3.0.2.1:803".into(), vec![]));
        assert_eq!(address("$B:${PORT}x"), (":x".into(), vec!["B".into(), "PORT".into()]));
        let pseudo = [".FILE", ".LINE", ".SECTION"].map(|name| variables.value(name, 8));
        assert_eq!(pseudo.map(Option::unwrap), ["x.cfg", "2", "web"]);
    }
}
