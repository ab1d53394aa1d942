//! Bytes into text: what is none is told in one sentence.

use std::borrow::Cow;

use crate::config::{
    Diagnostics,
    diagnostic::{Report, Span},
};

/// A file beyond this is not a configuration.
const LARGEST: usize = 4 << 20;

/// The text of the file called `name`. Where one of `comments` begins one, the rest of a line may be of another encoding.
pub(super) fn text<'b>(bytes: &'b [u8], name: &str, comments: &[char]) -> Result<Cow<'b, str>, Diagnostics> {
    if bytes.len() > LARGEST {
        let message = format!(
            "has {} bytes, and at most {LARGEST} bytes (4 MiB) are read; that is no configuration",
            bytes.len()
        );
        return Err(Diagnostics::unreadable(name, message));
    }
    let text = String::from_utf8_lossy(bytes);
    let refuse = |at: usize, message: &str| {
        let report = Report::new(&text);
        report.error(Span { start: at, end: at + 1 }, message);
        report.finish(name)
    };
    if let Some(at) = text.find('\0') {
        return Err(refuse(at, "a byte 0 is in no text: this is no configuration"));
    }
    if let Cow::Owned(_) = text {
        // Old files have comments of other times in them, and nothing but people reads those.
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let comment = line.find(comments).unwrap_or(line.len());
            if let Some(at) = line[..comment].find(char::REPLACEMENT_CHARACTER) {
                return Err(refuse(start + at, "not UTF-8 text from here on; save the file as UTF-8"));
            }
            start += line.len();
        }
    }
    Ok(text)
}
