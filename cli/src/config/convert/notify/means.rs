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

/// Of one with a password or a URL.
const LINE: u64 = 4 << 10;

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
    of: &'static [&'static str],
    span: Option<Span>,
}

impl Context<'_> {
    pub(super) fn convert(&self, named: &Named<raw::Notify>) -> Option<Means> {
        let raw = &named.value;
        let given = [
            raw.command.as_ref().map(|at| ("command", at.span)),
            raw.url.as_ref().map(|at| ("url", at.span)),
            raw.url_file.as_ref().map(|at| ("url_file", at.span)),
            raw.smtp.as_ref().map(|at| ("smtp", at.span)),
        ];
        let given: Vec<_> = given.into_iter().flatten().collect();
        let Some((first, _)) = given.first() else {
            if !self.report.has_errors() {
                let name = &named.name.value;
                let message = format!(
                    "[notify.{name}] tells nobody; write command = [\"/usr/local/bin/tell\"], url = \"https://hooks.example.com/lb\" or smtp = \"mail.example.com:587\""
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
        match (&raw.command, &raw.smtp) {
            (Some(command), _) => Some(Means::Command(command.value.clone())),
            (None, Some(smtp)) => self.mail(raw, smtp).map(Box::new).map(Means::Mail),
            (None, None) => self.webhook(raw).map(Box::new).map(Means::Webhook),
        }
    }

    /// Those of another kind would do nothing.
    fn check_keys(&self, raw: &raw::Notify, means: &str) {
        let of = |key, of: &'static [&'static str], span| Owned { key, of, span };
        let keys = [
            of("headers_file", &["url", "url_file"], raw.headers_file.as_ref().map(|at| at.span)),
            of("ca_file", &["url", "url_file", "smtp"], raw.ca_files.first().map(|at| at.span)),
            of("security", &["smtp"], raw.security.as_ref().map(|at| at.span)),
            of("sender", &["smtp"], raw.sender.as_ref().map(|at| at.span)),
            of("recipients", &["smtp"], raw.recipients.as_ref().map(|at| at.span)),
            of("user", &["smtp"], raw.user.as_ref().map(|at| at.span)),
            of("password_file", &["smtp"], raw.password_file.as_ref().map(|at| at.span)),
            of("mail_interval", &["smtp"], raw.mail_interval.as_ref().map(|at| at.span)),
        ];
        for Owned { key, of, span } in keys {
            if let Some(span) = span.filter(|_| !of.contains(&means)) {
                let of = of.join("` or `");
                self.report
                    .error(span, format!("`{key}` belongs to `{of}`, and this one is told by `{means}`"));
            }
        }
    }

    fn webhook(&self, raw: &raw::Notify) -> Option<Webhook> {
        let from_file;
        let (span, url) = match (&raw.url, &raw.url_file) {
            (Some(at), _) => (at.span, &at.value),
            (None, Some(file)) => {
                from_file = self.url(file)?;
                (file.span, &from_file)
            }
            (None, None) => return None,
        };
        let Url { text, is_tls, host, port, authority, path } = url;
        if let Some(at) = raw.ca_files.first().filter(|_| !is_tls) {
            self.report.error(at.span, "there is no certificate to look at: the URL begins with http://");
        }
        let headers = match &raw.headers_file {
            Some(file) => self.headers(file),
            None => Vec::new(),
        };
        let secrets = [&raw.url_file, &raw.headers_file].into_iter().flatten();
        for file in secrets.filter(|_| !is_tls && !is_here(host)) {
            let message = "whoever is on the way can read what is in it, since the URL begins with http://: let it begin with https://";
            self.report.warning(file.span, message);
        }
        let tls = if *is_tls { Some(self.tls(&raw.ca_files, span)?) } else { None };
        let name = |file: &Option<At<String>>| file.as_ref().map(|file| file.value.clone());
        Some(Webhook {
            remote: self.remote((host, *port), &raw.ca_files, tls),
            url: Hidden::new(text),
            url_file: name(&raw.url_file),
            authority: authority.clone(),
            path: Hidden::new(path),
            headers_file: name(&raw.headers_file),
            headers,
        })
    }

    fn url(&self, file: &At<String>) -> Option<Url> {
        let url = Url::read(&self.secret_line(file)?);
        url.map_err(|why| self.wrong(file, &format!("has a URL in it that {why}"))).ok()
    }

    fn wrong(&self, file: &At<String>, why: &str) {
        self.report.error(file.span, format!("\"{}\" {why}", file.value.escape_debug()));
    }

    /// Of a file that nobody else may read, and that has no other.
    pub(super) fn secret_line(&self, file: &At<String>) -> Option<String> {
        let read = secret::read(&self.folder.join(&file.value), LINE, self.report).and_then(|text| {
            let line = text.trim_end_matches(['\n', '\r']);
            let is_line = !line.is_empty() && !line.chars().any(char::is_control);
            is_line
                .then(|| line.to_owned())
                .ok_or_else(|| "has to have one line in it, and nothing else".to_owned())
        });
        read.map_err(|why| self.wrong(file, &why)).ok()
    }

    pub(super) fn remote(
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
    pub(super) fn tls(&self, ca_files: &[At<String>], span: Span) -> Option<Arc<ServerTls>> {
        let Self { folder, known, report, .. } = *self;
        let context = server_tls::Context { folder, mode: Mode::Tcp, known, report };
        let raw = raw::ServerTls { ca_files: ca_files.to_vec(), ..Default::default() };
        context.convert(&raw, span).map(Arc::new)
    }

    /// Lines `Name: value`, as curl(1) reads them behind `-H @`.
    fn headers(&self, file: &At<String>) -> Vec<(String, Hidden)> {
        let wrong = |why: &str| self.wrong(file, why);
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
pub(super) fn is_here(host: &str) -> bool {
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
