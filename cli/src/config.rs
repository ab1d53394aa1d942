//! The configuration file: text -> tables with spans (`reader`) -> what was written (`raw`) -> what it means
//! (`convert`, `model`), all errors at once (`diagnostic`).

use std::{
    io::{self, Read},
    panic,
    path::Path,
    thread,
};

use lb_proxy::file::{self, ReadError};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

pub mod diagnostic;
pub mod model;

pub(crate) mod authorities;
pub(crate) mod certificates;
mod convert;
mod effective;
mod identify;
mod rate;
mod raw;
mod reader;
pub(crate) mod self_signed;
mod syntax;
pub(crate) mod text;

#[cfg(test)]
mod tests;

pub use diagnostic::Diagnostics;
pub use effective::effective;
pub use identify::{Unidentified, identify};
pub use model::Config;

pub(crate) use convert::{
    MAXCONN, loops,
    statistics::{hidden_route, open as statistics_are_open},
};

use diagnostic::Report;

/// Where the file is unless told otherwise.
pub const DEFAULT_FILE: &str = "/etc/lbctl/lb.toml";

/// As much as the first thread of a process has.
const STACK: usize = 8 << 20;

/// A file beyond this is not a configuration.
pub(crate) const LARGEST_FILE: u64 = 4 << 20;

/// Reads and converts the file at `path`; `-` is standard input.
pub fn load(path: &Path) -> Result<Config, Diagnostics> {
    let read = || load_here(path);
    let config = thread::scope(|scope| {
        let thread = thread::Builder::new().name("configuration".to_owned()).stack_size(STACK);
        match thread.spawn_scoped(scope, read) {
            Ok(reader) => reader.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
            Err(_) => read(),
        }
    })?;
    // A copy: what was made there lies among what the tables of the text have left. The C library gives a thread an area of its own as long as
    // there are not many, and all of that which nobody shares is free when this is dropped: it goes back to the kernel (decision 53).
    Ok(config.clone())
}

fn load_here(path: &Path) -> Result<Config, Diagnostics> {
    let (name, bytes) = read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Diagnostics::unreadable(&name, format!("not UTF-8 text (line {line}); save it as UTF-8"))
    })?;
    let mut config = parse(&text, &name)?;
    for map in &mut config.proxy.maps {
        // Beside the file that names it, wherever the program was started.
        map.file = path.parent().unwrap_or(Path::new("")).join(&map.file);
    }
    Ok(config)
}

/// The bytes of the file at `path`, `-` being standard input, and how reports call it.
pub(crate) fn read(path: &Path) -> Result<(String, Vec<u8>), Diagnostics> {
    let from_stdin = path == Path::new("-");
    let name = if from_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let read = if from_stdin { read_all(io::stdin().lock()) } else { read_file(path) };
    match read {
        Ok(bytes) => Ok((name, bytes)),
        Err(why) => Err(Diagnostics::unreadable(&name, why)),
    }
}

/// Converts `text`; `name` is how the report calls the file.
pub fn parse(text: &str, name: &str) -> Result<Config, Diagnostics> {
    parse_with(Report::new(text), text, name)
}

/// As [`parse`] for a file that is meant for another machine: its certificates are not looked for.
pub fn parse_alone(text: &str, name: &str) -> Result<Config, Diagnostics> {
    parse_with(Report::new(text).without_certificates(), text, name)
}

fn parse_with(report: Report<'_>, text: &str, name: &str) -> Result<Config, Diagnostics> {
    report.hide_users();
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        report.file_error("the file is empty; `lbctl init` prints a first one");
        return Err(report.finish(name));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if !syntax::report(text, table.get_ref(), &errors, &report) {
        return Err(report.finish(name));
    }
    let mut file = raw::File::read(table.get_ref(), &report);
    name.clone_into(&mut file.name);
    file.folder = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
    let mut config = convert::convert(&file, &report);
    let failed = report.has_errors();
    config.files = report.take_files();
    let diagnostics = report.finish(name);
    if failed {
        return Err(diagnostics);
    }
    config.hash = hash(text.as_bytes());
    config.warnings = diagnostics;
    Ok(config)
}

/// SHA-256 in lower-case hexadecimal.
fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, LARGEST_FILE).map_err(|error| match error {
        ReadError::TooLarge => too_large(path.metadata().ok().map(|file| file.len())),
        ReadError::Pipe => {
            "is a pipe, not a file; `lbctl check -` and `lbctl run -` read standard input".to_owned()
        }
        error => error.to_string(),
    })
}

fn read_all(source: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    source
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("can't be read: {error}"))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(too_large(None));
    }
    Ok(bytes)
}

/// It is not read to its end, so no place in it is wrong; `size` where that is known.
fn too_large(size: Option<u64>) -> String {
    let size = size.map_or_else(|| "more".to_owned(), |size| format!("{size} bytes"));
    format!("has {size}, and at most {LARGEST_FILE} bytes (4 MiB) are read; that is no configuration")
}
