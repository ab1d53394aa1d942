//! How somebody is told: by what, and with which of its keys.

use lb_proxy::config::{Mode, ResolverConfig, ServerTls};
use std::{path::Path, sync::Arc};

use crate::config::{
    convert::{secret, server_tls},
    diagnostic::{Report, Span},
    model::{Hidden, Means, Remote, Webhook},
    raw::{self, Named, Url},
    reader::At,
};

/// Of a file with headers, in bytes.
const LARGEST: u64 = 16 << 10;

/// Headers that are those of the connection or of what is sent.
const OWN: [&str; 6] =
    ["host", "connection", "content-length", "content-type", "transfer-encoding", "expect"];

/// What all of them are made with.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) folder: &'c Path,
    pub(super) resolver: &'c ResolverConfig,
    pub(super) known: &'c server_tls::Known,
    pub(super) report: &'c Report<'c>,
}

/// A key that only one kind has.
struct Owned {
    key: &'static str,
    of: &'static str,
    span: Option<Span>,
}

impl Context<'_> {
    pub(super) fn convert(&self, named: &Named<raw::Notify>) -> Option<Means> {
        let raw = &named.value;
        let given = [
            raw.command.as_ref().map(|at| ("command", at.span)),
            raw.url.as_ref().map(|at| ("url", at.span)),
        ];
        let given: Vec<_> = given.into_iter().flatten().collect();
        let Some((first, _)) = given.first() else {
            if !self.report.has_errors() {
                let name = &named.name.value;
                let message = format!(
                    "[notify.{name}] tells nobody; write command = [\"/usr/local/bin/tell\"] or url = \"https://hooks.example.com/lb\""
                );
                self.report.error(named.name.span, message);
            }
            return None;
        };
        for (key, span) in given.iter().skip(1) {
            let message = format!("`{key}` beside `{first}`: each who is told has a [notify.*] of its own");
            self.report.error(*span, message);
        }
        self.check_keys(raw, first);
        match (&raw.command, &raw.url) {
            (Some(command), _) => Some(Means::Command(command.value.clone())),
            (None, Some(url)) => self.webhook(raw, url).map(Box::new).map(Means::Webhook),
            (None, None) => None,
        }
    }

    /// Those of another kind would do nothing.
    fn check_keys(&self, raw: &raw::Notify, means: &str) {
        let keys = [
            Owned { key: "headers_file", of: "url", span: raw.headers_file.as_ref().map(|at| at.span) },
            Owned { key: "ca_file", of: "url", span: raw.ca_files.first().map(|at| at.span) },
        ];
        for Owned { key, of, span } in keys {
            if let Some(span) = span.filter(|_| of != means) {
                self.report
                    .error(span, format!("`{key}` belongs to `{of}`, and this one is told by `{means}`"));
            }
        }
    }

    fn webhook(&self, raw: &raw::Notify, url: &At<Url>) -> Option<Webhook> {
        let Url { text, is_tls, host, port, authority, path } = &url.value;
        if let Some(at) = raw.ca_files.first().filter(|_| !is_tls) {
            self.report.error(at.span, "there is no certificate to look at: the URL begins with http://");
        }
        let headers = match &raw.headers_file {
            Some(file) => self.headers(file),
            None => Vec::new(),
        };
        if let Some(file) = raw.headers_file.as_ref().filter(|_| !is_tls && !is_here(host)) {
            let message = "whoever is on the way can read what is in it, since the URL begins with http://: let it begin with https://";
            self.report.warning(file.span, message);
        }
        let tls = if *is_tls { Some(self.tls(&raw.ca_files, url.span)?) } else { None };
        Some(Webhook {
            remote: self.remote((host, *port), &raw.ca_files, tls),
            url: text.clone(),
            authority: authority.clone(),
            path: path.clone(),
            headers_file: raw.headers_file.as_ref().map(|file| file.value.clone()),
            headers,
        })
    }

    fn remote(
        &self,
        (host, port): (&str, u16),
        ca_files: &[At<String>],
        tls: Option<Arc<ServerTls>>,
    ) -> Remote {
        Remote {
            host: host.to_owned(),
            port,
            ca_files: ca_files.iter().map(|at| at.value.clone()).collect(),
            tls,
            resolver: self.resolver.clone(),
        }
    }

    /// `span`: of what wants it.
    fn tls(&self, ca_files: &[At<String>], span: Span) -> Option<Arc<ServerTls>> {
        let Self { folder, known, report, .. } = *self;
        let context = server_tls::Context { folder, mode: Mode::Tcp, known, report };
        let raw = raw::ServerTls { ca_files: ca_files.to_vec(), ..Default::default() };
        context.convert(&raw, span).map(Arc::new)
    }

    /// Lines `Name: value`, as curl(1) reads them behind `-H @`.
    fn headers(&self, file: &At<String>) -> Vec<(String, Hidden)> {
        let wrong =
            |why: &str| self.report.error(file.span, format!("\"{}\" {why}", file.value.escape_debug()));
        let text = match secret::read(&self.folder.join(&file.value), LARGEST, self.report) {
            Ok(text) => text,
            Err(why) => {
                wrong(&why);
                return Vec::new();
            }
        };
        let mut headers = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            match header(line) {
                Ok(header) => headers.push(header),
                Err(why) => wrong(&format!("line {number} {why}")),
            }
        }
        if headers.is_empty() && !self.report.has_errors() {
            wrong("has no header in it; write a line as in `Authorization: Bearer 4b1d`");
        }
        headers
    }
}

/// What leaves for it does not leave this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Nothing of the line is repeated in what is wrong with it.
fn header(line: &str) -> Result<(String, Hidden), String> {
    let (name, value) = line.split_once(':').ok_or("is no header, as in `Authorization: Bearer 4b1d`")?;
    let name = hyper::header::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "begins with no name of a header, as in `Authorization: Bearer 4b1d`")?;
    let value = value.trim();
    if value.is_empty() || hyper::header::HeaderValue::from_str(value).is_err() {
        return Err("has no value that a header can have".to_owned());
    }
    if OWN.contains(&name.as_str()) {
        return Err(format!("is a header that lbctl writes itself: `{name}`"));
    }
    Ok((name.as_str().to_owned(), Hidden::new(value)))
}
