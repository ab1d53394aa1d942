//! `tls` of servers: what it names is read with the file, so that what is wrong is found before anything starts.

use std::{cell::RefCell, path::Path, sync::Arc, time::SystemTime};

use lb_proxy::{
    config::{Mode, ServerTls, ServerVerify, Sni, TlsFiles},
    tls::{Certificate, ServerContent, ServerFiles, Trusted},
};

use super::tls::{spoken, tell_of, tell_of_authorities};
use crate::config::{
    authorities, certificates,
    diagnostic::{Report, Span},
    raw,
    reader::At,
};

/// What HTTP is called where TLS asks (RFC 7301).
const HTTP: [&str; 3] = ["http/1.1", "http/1.0", "h2"];

/// What was read: many servers have the same.
#[derive(Debug, Default)]
pub(super) struct Known {
    trusted: RefCell<Vec<Trust>>,
    content: RefCell<Vec<ServerTls>>,
}

/// The files of authorities, those of lists, and what was in them.
type Trust = (Vec<String>, Vec<String>, Arc<Trusted>);

/// What servers are about.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) folder: &'c Path,
    pub(super) mode: Mode,
    pub(super) known: &'c Known,
    pub(super) report: &'c Report<'c>,
}

impl Context<'_> {
    /// What `tls` says that stands at `span`.
    pub(super) fn convert(&self, raw: &raw::ServerTls, span: Span) -> Option<ServerTls> {
        let Self { folder, mode, report, .. } = *self;
        let spoken = spoken(&raw.spoken, report)?;
        let verify = raw.verify.as_ref().map_or(ServerVerify::All, |at| at.value);
        if let Some(at) = raw.verify.as_ref().filter(|at| at.value == ServerVerify::Nothing) {
            report.warning(
                at.span,
                "whoever is on the way to a server can take its place, and read and change everything: let it be verified, by ca_file = \"ca.pem\" if its certificate is of an authority of your own",
            );
            for file in raw.ca_files.iter().chain(&raw.crl_files) {
                report.warning(file.span, "has no effect with verify = false");
            }
        }
        if let Some(at) = raw.sni.as_ref().filter(|at| at.value == Sni::OfHost && mode == Mode::Tcp) {
            report
                .error(at.span, "`{request.host}` needs mode = \"http\"; in mode tcp there are no requests");
        }
        let alpn = match &raw.alpn {
            Some(at) => self.alpn(at),
            None if mode == Mode::Http => vec![HTTP[0].into()],
            None => Vec::new(),
        };
        let names = |files: &[At<String>]| files.iter().map(|at| at.value.clone()).collect::<Vec<_>>();
        let trusted = match verify {
            ServerVerify::Nothing => None,
            ServerVerify::All | ServerVerify::Chain if !report.has_certificates() => None,
            ServerVerify::All | ServerVerify::Chain => Some(self.trusted(raw, span)?),
        };
        let file = raw.certificate.as_ref().map(|certificate| TlsFiles {
            certificate: certificate.value.clone(),
            key: raw.key.as_ref().map(|key| key.value.clone()),
            names: None,
        });
        let certificate = match (&raw.certificate, &file) {
            (Some(at), Some(file)) if report.has_certificates() => {
                Some(own(at, raw.key.as_ref(), file, folder, report)?)
            }
            _ => None,
        };
        let content = ServerContent { trusted, certificate };
        let mut tls = ServerTls {
            verify,
            ca_files: names(&raw.ca_files),
            crl_files: names(&raw.crl_files),
            sni: raw.sni.as_ref().map_or(Sni::OfServer, |at| at.value.clone()),
            verify_name: raw.verify_name.as_ref().map(|at| at.value.clone()),
            alpn,
            file,
            content: Arc::new(ServerFiles::new(content)),
            min_version: spoken.min_version,
            max_version: spoken.max_version,
            ciphers: spoken.ciphers,
            ciphersuites: spoken.ciphersuites,
            curves: spoken.curves,
        };
        self.share(&mut tls);
        Some(tls)
    }

    /// Those with the same files have them together: one look at them is enough for all.
    fn share(&self, tls: &mut ServerTls) {
        let is_verified = |tls: &ServerTls| tls.verify != ServerVerify::Nothing;
        let mut known = self.known.content.borrow_mut();
        let same = known.iter().find(|one| {
            is_verified(one) == is_verified(tls)
                && (&one.ca_files, &one.crl_files, &one.file) == (&tls.ca_files, &tls.crl_files, &tls.file)
        });
        match same {
            Some(same) => tls.content = Arc::clone(&same.content),
            None => known.push(tls.clone()),
        }
    }

    /// In mode http HTTP is spoken, and nothing else may be agreed on.
    fn alpn(&self, at: &At<Vec<Box<str>>>) -> Vec<Box<str>> {
        let other = at.value.iter().find(|name| !HTTP.contains(&&***name));
        if let Some(other) = other.filter(|_| self.mode == Mode::Http) {
            let message = format!(
                "servers of a backend in mode http are spoken to in HTTP/1.1 or HTTP/2 (`h2`); take `{}` out",
                other.escape_debug()
            );
            self.report.error(at.span, message);
        }
        at.value.clone()
    }

    fn trusted(&self, raw: &raw::ServerTls, span: Span) -> Option<Arc<Trusted>> {
        let names = |files: &[At<String>]| files.iter().map(|at| at.value.clone()).collect::<Vec<_>>();
        let (ca_files, crl_files) = (names(&raw.ca_files), names(&raw.crl_files));
        let known = self.known.trusted.borrow();
        if let Some((_, _, trusted)) = known.iter().find(|(ca, crl, _)| (ca, crl) == (&ca_files, &crl_files))
        {
            return Some(Arc::clone(trusted));
        }
        drop(known);
        let system: Vec<_> = authorities::of_system().into_iter().collect();
        let read = if ca_files.is_empty() { &system } else { &ca_files };
        if read.is_empty() {
            self.report.error(
                span,
                "this machine has no list of authorities (Debian's package ca-certificates has one); write ca_file = \"ca.pem\"",
            );
            return None;
        }
        let found = authorities::of_servers(read, &crl_files, self.folder);
        let spans = match &*raw.ca_files {
            [] => vec![span],
            files => files.iter().map(|at| at.span).collect(),
        };
        let spans = spans.into_iter().chain(raw.crl_files.iter().map(|at| at.span));
        let all: Vec<_> = read.iter().chain(&crl_files).map(String::as_str).zip(spans).collect();
        tell_of_authorities(&all, read.len(), &found, "no server is trusted", self.report);
        let trusted = Arc::new(found.made?);
        self.known.trusted.borrow_mut().push((ca_files, crl_files, Arc::clone(&trusted)));
        Some(trusted)
    }
}

/// What a server is shown that asks.
fn own(
    at: &At<String>,
    key: Option<&At<String>>,
    file: &TlsFiles,
    folder: &Path,
    report: &Report<'_>,
) -> Option<Certificate> {
    let found = certificates::read(std::slice::from_ref(file), folder, SystemTime::now());
    found.paths.iter().for_each(|path| report.note_file(path));
    for wrong in &found.wrong {
        let span = key.filter(|_| wrong.is_key).map_or(at.span, |key| key.span);
        report.error(span, format!("\"{}\" {}", wrong.file.escape_debug(), wrong.why));
    }
    match &*found.shown {
        [(_, only)] => {
            tell_of((at.span, "servers"), &only.file, &only.certificate, report);
            Some(only.certificate.clone())
        }
        [] => None,
        _ => {
            let message =
                format!("\"{}\" is several certificates; a server is shown one", at.value.escape_debug());
            report.error(at.span, message);
            None
        }
    }
}
