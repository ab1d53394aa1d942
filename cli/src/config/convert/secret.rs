//! Files with a secret in them.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::answers;
use crate::config::diagnostic::Report;

/// What stands in a file of at most so many bytes that nobody else may read; or the end of a sentence about it.
pub(super) fn read(path: &Path, largest: u64, report: &Report<'_>) -> Result<String, String> {
    let bytes = answers::read_file(path, largest, report)?;
    let mode = fs::metadata(path).map_or(0, |found| found.mode());
    if mode & 0o007 != 0 {
        return Err(format!(
            "has the mode {:04o}, so everybody on this machine may know it: chmod o= {}, and write a new secret into it",
            mode & 0o7777,
            path.display()
        ));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|_| "\0".to_owned()))
}
