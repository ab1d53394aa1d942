//! Metrics for Prometheus, in its text format, made from the report that `lbctl status` prints.
//!
//! ```text
//! Status ──┬──> own: names of lbctl, with their units
//!          └──> haproxy: names and labels of the exporter that HAProxy has built in
//! ```
//! The names are in `docs/metrics.md`; a test compares.

mod haproxy;
mod own;
mod process;
mod text;

#[cfg(test)]
mod tests;

pub use process::Process;

use self::text::Text;
use crate::{control::Status, output::text::printable};

/// What the answer is, for `Content-Type`.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whose names.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Names {
    /// Those of lbctl.
    #[default]
    Own,
    /// Those of the exporter in HAProxy 2.6, for dashboards and alerts that exist.
    Haproxy,
}

impl Names {
    /// From the query of a request, with its `?`. Other parameters are left alone.
    ///
    /// # Errors
    /// Nobody has such names, in a sentence.
    pub fn parse(query: &[u8]) -> Result<Self, String> {
        let parameters = query.strip_prefix(b"?").unwrap_or_default();
        let wanted = parameters.split(|byte| *byte == b'&').filter_map(|one| one.strip_prefix(b"names="));
        let mut names = Self::default();
        for wanted in wanted {
            names = match wanted {
                b"haproxy" => Self::Haproxy,
                b"lbctl" => Self::Own,
                other => {
                    let found = String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned();
                    return Err(format!(
                        "names is `haproxy` or `lbctl` (which is the default), found `{}`",
                        printable(&found)
                    ));
                }
            };
        }
        Ok(names)
    }
}

/// The whole text.
pub fn metrics(status: &Status, process: &Process, names: Names) -> String {
    let mut text = Text::default();
    match names {
        Names::Own => own::write(&mut text, status, process),
        Names::Haproxy => haproxy::write(&mut text, status, process),
    }
    text.into()
}
