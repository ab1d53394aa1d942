//! Why a reload was refused: for who asked, for the log, and for the status.

use lb_proxy::ReloadError;

use crate::config::{Diagnostics, diagnostic::Severity};

/// Why nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::daemon) enum Refused {
    /// The file is bad, or a file that it names.
    File {
        /// What `lbctl check` prints.
        report: String,
        /// Its errors, one line each.
        lines: Vec<String>,
    },
    /// It can't come into force now. One sentence without a full stop.
    Now(String),
    /// A reload can't bring it into force. The same, and it says what can.
    Never(String),
}

impl Refused {
    /// For the log.
    pub(super) fn lines(&self) -> &[String] {
        match self {
            Self::File { lines, .. } => lines,
            Self::Now(why) | Self::Never(why) => std::slice::from_ref(why),
        }
    }

    /// For the status: the first, and how many there are besides.
    pub(super) fn summary(&self) -> String {
        let (first, more) = match self.lines() {
            [first, more @ ..] => (first.as_str(), more.len()),
            [] => ("", 0),
        };
        match more {
            0 => first.to_owned(),
            1 => format!("{first} (and 1 other error)"),
            n => format!("{first} (and {n} other errors)"),
        }
    }
}

impl From<Diagnostics> for Refused {
    fn from(diagnostics: Diagnostics) -> Self {
        let errors = diagnostics.headlines().zip(diagnostics.iter());
        let errors = errors.filter(|(_, diagnostic)| diagnostic.severity == Severity::Error);
        Self::File {
            report: format!("{diagnostics}{}. Nothing was changed.", diagnostics.summary()),
            lines: errors.map(|(line, _)| line).collect(),
        }
    }
}

impl From<ReloadError> for Refused {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Maps(errors) => {
                let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
                let summary =
                    if lines.len() == 1 { "1 error".to_owned() } else { format!("{} errors", lines.len()) };
                Self::File { report: format!("{}\n{summary}. Nothing was changed.", lines.join("\n")), lines }
            }
            error @ (ReloadError::Bind(_) | ReloadError::Busy | ReloadError::Worker { .. }) => {
                Self::Now(error.to_string())
            }
            error @ ReloadError::Threads { .. } => Self::Never(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_report_is_that_of_check_and_the_log_gets_the_errors_alone() {
        let file = "[global]\nthreads = 1\n[frontend.web]\nbind = 7\ndefault_backend = \"app\"\n";
        let diagnostics = config::parse(file, "lb.toml").expect_err("a bad file");
        let refused = Refused::from(diagnostics.clone());
        let Refused::File { report, lines } = &refused else { panic!("{refused:?}") };
        assert_eq!(*report, format!("{diagnostics}{}. Nothing was changed.", diagnostics.summary()));
        assert_eq!(lines.len(), diagnostics.errors());
        assert!(lines.iter().all(|line| line.starts_with("lb.toml:") && !line.contains('\n')), "{lines:?}");
        let more = lines.len() - 1;
        assert_eq!(more, 1, "{lines:?}");
        assert_eq!(refused.summary(), format!("{} (and 1 other error)", lines[0]));
    }
}
