//! `error_page` and `monitor_uri`: the files are read here, so that a page that is missing or too large is found before
//! anything starts.

use std::path::Path;

use lb_proxy::{
    config::{self, Backend, ErrorPage, Mode, Monitor, TooFew},
    file::{self, ReadError},
};

use super::backend;
use crate::config::{
    diagnostic::Report,
    raw::{Page, PageSource, Section},
};

/// A page is at most so large.
pub(super) const LARGEST: u64 = 64 * 1024;

/// Of a section in this mode; `defaults` are those of `[defaults]`, where they have a meaning.
pub(super) fn pages(
    section: &Section,
    defaults: &[Page],
    mode: Mode,
    folder: &Path,
    report: &Report<'_>,
) -> Vec<ErrorPage> {
    if mode == Mode::Tcp {
        for page in &section.error_pages {
            report.error(page.span, "error_page needs mode = \"http\"; in mode tcp nothing is said");
        }
        return Vec::new();
    }
    let own = |status| section.error_pages.iter().any(|page| page.status == status);
    let all = section.error_pages.iter().chain(defaults.iter().filter(|page| !own(page.status)));
    let page = |page: &Page| match &page.source {
        PageSource::Location { location, status } => {
            Some(ErrorPage::elsewhere(page.status, location.clone(), *status))
        }
        PageSource::File(file) => match read(page.status, &file.value, folder, report) {
            Ok(page) => Some(page),
            Err(why) => {
                report.error(file.span, format!("\"{}\" {why}", file.value.escape_debug()));
                None
            }
        },
    };
    all.filter_map(page).collect()
}

fn read(status: u16, file: &str, folder: &Path, report: &Report<'_>) -> Result<ErrorPage, String> {
    let path = folder.join(file);
    let bytes = read_file(&path, LARGEST, report)?;
    let (fields, content) = if bytes.starts_with(b"HTTP/1.") {
        whole_response(&bytes)?
    } else {
        // HAProxy's pages have names like 503.http.
        let kind = content_type(&path).unwrap_or("text/html");
        (format!("Cache-Control: no-cache\r\nContent-Type: {kind}\r\n").into_bytes(), bytes)
    };
    Ok(ErrorPage { status, source: config::PageSource::File(file.to_owned()), fields, content })
}

/// The content of a file of at most so many bytes, or the end of a sentence about it.
pub(super) fn read_file(path: &Path, largest: u64, report: &Report<'_>) -> Result<Vec<u8>, String> {
    report.note_file(path);
    file::read(path, largest).map_err(|error| match error {
        ReadError::TooLarge => format!("is larger than {} kB", largest / 1024),
        error => error.to_string(),
    })
}

/// HAProxy's files begin with a head. Its fields are kept, but for those that lbctl writes itself.
fn whole_response(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let end = |pattern: &[u8]| bytes.windows(pattern.len()).position(|window| window == pattern);
    let (head, content) = match (end(b"\r\n\r\n"), end(b"\n\n")) {
        (Some(at), other) if other.is_none_or(|other| at < other) => (&bytes[..at], &bytes[at + 4..]),
        (_, Some(at)) => (&bytes[..at], &bytes[at + 2..]),
        _ => return Err("begins with a status line and has no empty line before its content".into()),
    };
    let head = std::str::from_utf8(head).map_err(|_| "has a head that is not ASCII".to_owned())?;
    let mut fields = Vec::new();
    for line in head.lines().skip(1) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("has the line \"{}\" in its head", line.escape_debug()))?;
        let fine = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
        if !fine {
            return Err(format!("has the line \"{}\" in its head", line.escape_debug()));
        }
        let own = ["connection", "content-length", "keep-alive", "transfer-encoding"];
        if !own.contains(&name.to_ascii_lowercase().as_str()) {
            fields.extend_from_slice(format!("{name}: {}\r\n", value.trim()).as_bytes());
        }
    }
    Ok((fields, content.to_vec()))
}

/// The type of a file, by the end of its name.
pub(super) fn content_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        "html" | "htm" => "text/html",
        "txt" => "text/plain",
        "css" => "text/css",
        "js" => "text/javascript",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

/// Of a frontend in this mode.
pub(super) fn monitor(
    section: &Section,
    mode: Mode,
    backends: &[Backend],
    report: &Report<'_>,
) -> Option<Monitor> {
    let raw = section.monitor.as_ref()?;
    if mode == Mode::Tcp {
        report.error(raw.uri.span, "monitor_uri needs mode = \"http\"");
        return None;
    }
    let mut fail_if = Vec::new();
    for few in &raw.fail_if {
        let Some(backend) = backend::named(&few.backend, backends, report) else { continue };
        let servers = backends.get(backend.0).map_or(0, |backend| backend.servers.len());
        if usize::try_from(few.usable_below).is_ok_and(|below| below > servers && servers > 0) {
            let message = format!(
                "`{}` never has {} usable servers, it has {servers} in all: {} always answers 503",
                few.backend.value, few.usable_below, raw.uri.value
            );
            report.warning(few.backend.span, message);
        }
        fail_if.push(TooFew { backend, usable_below: few.usable_below });
    }
    Some(Monitor { uri: raw.uri.value.clone(), fail_if })
}
