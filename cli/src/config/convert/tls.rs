//! `tls`: certificates and keys are read with the file, so that what is wrong with them is found before anything starts.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_proxy::{
    config::{Alpn, Mode, Tls, TlsClients, TlsFiles, TlsVersion},
    tls::{CURVE_OF_TLS13, Certificate, Certificates, ChainEnd, Clients, Shown, X509},
};

use crate::config::{
    authorities::{self, Found},
    certificates,
    diagnostic::{Report, Span},
    raw::{self, BindAddress},
    reader::At,
    self_signed,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// So long before its end a certificate is worth a warning.
const SOON: Duration = DAY.saturating_mul(30);

/// For whom a certificate of our own is, unless the file says so; beside the addresses of the listener.
const OF_LAB: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What `tls` of a `bind` with these addresses says.
fn convert(
    raw: &raw::Tls,
    mode: Mode,
    folder: &Path,
    addresses: &[IpAddr],
    report: &Report<'_>,
) -> Option<Tls> {
    let spoken = spoken(&raw.spoken, report)?;
    if let Some(at) = raw.alpn.as_ref().filter(|_| mode == Mode::Tcp) {
        report.error(at.span, "alpn needs mode = \"http\"; in mode tcp any protocol may be inside");
    }
    let alpn = match (mode, &raw.alpn) {
        (Mode::Tcp, _) => Vec::new(),
        (Mode::Http, Some(at)) => at.value.clone(),
        (Mode::Http, None) => vec![Alpn::H2, Alpn::Http11, Alpn::Http10],
    };
    let files: Vec<TlsFiles> = raw.certificates.iter().map(files_of).collect();
    let shown = match &*raw.certificates {
        _ if !report.has_certificates() => Vec::new(),
        [only] if only.file.value == self_signed::WORD => {
            self_signed(only, addresses, report).map(|shown| (0, shown)).into_iter().collect()
        }
        _ => read(raw, &files, folder, report),
    };
    if shown.is_empty() && report.has_certificates() {
        return None;
    }
    let certificates = Certificates::new(shown.iter().map(|(_, shown)| shown.clone()).collect());
    for (entry, hidden) in certificates.load().hidden(raw.strict_sni).filter_map(|at| shown.get(at)) {
        if let Some(entry) = raw.certificates.get(*entry) {
            let (file, why) = (hidden.file.escape_debug(), why_hidden(hidden));
            report.warning(entry.file.span, format!("\"{file}\" is shown to no client: {why}"));
        }
    }
    let clients = match &raw.clients {
        Some(asked) => Some(clients(asked, folder, report)?),
        None => None,
    };
    Some(Tls {
        files,
        certificates: Arc::new(certificates),
        strict_sni: raw.strict_sni,
        prefers_client: raw.prefers_client,
        tickets: raw.tickets,
        clients,
        alpn,
        min_version: spoken.min_version,
        max_version: spoken.max_version,
        ciphers: spoken.ciphers,
        ciphersuites: spoken.ciphersuites,
        curves: spoken.curves,
    })
}

/// Versions, ciphers and groups.
pub(super) struct Spoken {
    pub(super) min_version: TlsVersion,
    pub(super) max_version: TlsVersion,
    pub(super) ciphers: Vec<&'static str>,
    pub(super) ciphersuites: Vec<&'static str>,
    pub(super) curves: Vec<&'static str>,
}

/// `None` if no version is left, which is told.
pub(super) fn spoken(raw: &raw::Spoken, report: &Report<'_>) -> Option<Spoken> {
    let (low, high) = (&raw.min_version, &raw.max_version);
    let min_version = low.as_ref().map_or(TlsVersion::Tls12, |at| at.value);
    let max_version = high.as_ref().map_or(TlsVersion::Tls13, |at| at.value);
    if let Some(at) = low.as_ref().or(high.as_ref()).filter(|_| min_version > max_version) {
        let message = format!(
            "no version is left: min_version is {}, max_version {}",
            min_version.name(),
            max_version.name()
        );
        report.error(at.span, message);
        return None;
    }
    let names =
        |list: &Option<At<Vec<&'static str>>>| list.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    for (key, list, version) in
        [("ciphers", &raw.ciphers, TlsVersion::Tls12), ("ciphersuites", &raw.ciphersuites, TlsVersion::Tls13)]
    {
        if let Some(at) = list.as_ref().filter(|_| !(min_version..=max_version).contains(&version)) {
            let message =
                format!("{key} has no effect: it is of TLS {}, which is not spoken here", version.name());
            report.warning(at.span, message);
        }
    }
    if let Some(at) =
        raw.curves.as_ref().filter(|at| min_version == TlsVersion::Tls12 && at.value == [CURVE_OF_TLS13])
    {
        let message = format!(
            "{CURVE_OF_TLS13} is of TLS 1.3: nobody agrees on TLS 1.2 here; add another one, or write min_version = \"1.3\""
        );
        report.warning(at.span, message);
    }
    Some(Spoken {
        min_version,
        max_version,
        ciphers: names(&raw.ciphers),
        ciphersuites: names(&raw.ciphersuites),
        curves: names(&raw.curves),
    })
}

/// What is wrong with files of authorities, of which there are `count`, and of lists behind them.
pub(super) fn tell_of_authorities<T>(
    all: &[(&str, Span)],
    count: usize,
    found: &Found<T>,
    consequence: &str,
    report: &Report<'_>,
) {
    found.paths.iter().for_each(|path| report.note_file(path));
    for (at, why) in &found.wrong {
        if let Some((name, span)) = all.get(*at) {
            report.error(*span, format!("\"{}\" {why}", name.escape_debug()));
        }
    }
    let now = SystemTime::now();
    for (at, _) in found.ends.iter().filter(|(_, end)| *end < now) {
        if let Some((name, span)) = all.get(count + at) {
            let name = name.escape_debug();
            let message = format!(
                "\"{name}\" is out of date: its authority has promised a newer list, and {consequence} until that is here"
            );
            report.stale(*span, message);
        }
    }
}

/// The authorities of clients, out of their files.
fn clients(raw: &raw::TlsClients, folder: &Path, report: &Report<'_>) -> Option<TlsClients> {
    let names = |files: &[At<String>]| files.iter().map(|at| at.value.clone()).collect::<Vec<_>>();
    let (ca_files, crl_files) = (names(&raw.ca_files), names(&raw.crl_files));
    if ca_files.is_empty() {
        return None;
    }
    let authorities = if report.has_certificates() {
        let found = authorities::of_clients(&ca_files, &crl_files, raw.is_required, folder);
        let all = raw.ca_files.iter().chain(&raw.crl_files);
        let all: Vec<_> = all.map(|at| (&*at.value, at.span)).collect();
        tell_of_authorities(&all, ca_files.len(), &found, "no client is taken", report);
        found.made?
    } else {
        lb_proxy::tls::Authorities::none(raw.is_required)
    };
    Some(TlsClients {
        is_required: raw.is_required,
        ca_files,
        crl_files,
        clients: Arc::new(Clients::new(authorities)),
    })
}

fn why_hidden(hidden: &Shown) -> &'static str {
    if hidden.names().is_empty() {
        "it has no name, and is not the first"
    } else {
        "for each of its names another one stands before it"
    }
}

fn files_of(raw: &raw::TlsCertificate) -> TlsFiles {
    TlsFiles {
        certificate: raw.file.value.clone(),
        key: raw.key.as_ref().map(|key| key.value.clone()),
        names: raw.sni.clone(),
    }
}

/// The entry of a listener, if it has `tls`.
pub(super) fn of_bind(
    bind: &raw::Bind,
    mode: Mode,
    file: &raw::File,
    report: &Report<'_>,
) -> Option<Arc<Tls>> {
    convert(bind.tls.as_ref()?, mode, &file.folder, &addresses(bind, file), report).map(Arc::new)
}

/// Those that a client may have written where it wants to connect.
fn addresses(bind: &raw::Bind, file: &raw::File) -> Vec<IpAddr> {
    match &bind.address {
        BindAddress::Address { address, .. } if address.ip().is_unspecified() => Vec::new(),
        BindAddress::Address { address, .. } => vec![address.ip()],
        BindAddress::Vip { vip, .. } => {
            let known = file.vips.iter().find(|known| known.name.value == vip.value);
            known.map(|known| known.value.served().collect()).unwrap_or_default()
        }
        BindAddress::Unix(_) | BindAddress::Inherited(_) => Vec::new(),
    }
}

/// The one that is made for a listener.
fn self_signed(raw: &raw::TlsCertificate, addresses: &[IpAddr], report: &Report<'_>) -> Option<Shown> {
    let mut names = raw.sni.clone().unwrap_or_else(|| OF_LAB.map(str::to_owned).to_vec());
    names.extend(addresses.iter().map(IpAddr::to_string).filter(|address| !OF_LAB.contains(&&**address)));
    report.warning(
        raw.file.span,
        "no client can verify a certificate that lbctl makes itself: whoever is on the way can take its place. It is for a lab",
    );
    self_signed::of(&names)
        .map_err(|why| report.error(raw.file.span, format!("the certificate of its own {why}")))
        .ok()
}

/// What several listeners have, by their place.
pub(super) fn by_place<T>(listeners: impl Iterator<Item = Option<T>>) -> BTreeMap<usize, T> {
    listeners.enumerate().filter_map(|(place, tls)| Some((place, tls?))).collect()
}

/// With the entry of each.
fn read(raw: &raw::Tls, files: &[TlsFiles], folder: &Path, report: &Report<'_>) -> Vec<(usize, Shown)> {
    let found = certificates::read(files, folder, SystemTime::now());
    found.paths.iter().for_each(|path| report.note_file(path));
    for wrong in found.wrong {
        let Some(entry) = raw.certificates.get(wrong.entry) else { continue };
        let at = entry.key.as_ref().filter(|_| wrong.is_key).unwrap_or(&entry.file);
        let message = format!("\"{}\" {}", wrong.file.escape_debug(), wrong.why);
        // One of many customers' is no reason to serve nobody after the next start.
        if wrong.is_of_folder && !found.shown.is_empty() {
            report.stale(at.span, format!("{message}; a node runs without it"));
        } else {
            report.error(at.span, message);
        }
    }
    for one in &found.unstapled {
        let Some(entry) = raw.certificates.get(one.entry) else { continue };
        let message = format!("\"{}\" {}: it is shown to no client", one.file.escape_debug(), one.why);
        // One that has not been renewed yet is no reason to hold anything up: clients that are not shown one ask for it themselves.
        match one.is_of_time {
            true => report.warning(entry.file.span, message),
            false => report.stale(entry.file.span, message),
        }
    }
    for (entry, shown) in &found.shown {
        if let Some(entry) = raw.certificates.get(*entry) {
            tell_of((entry.file.span, "clients"), &shown.file, &shown.certificate, report);
        }
    }
    found.shown
}

/// What is wrong with a certificate that can be shown.
pub(super) fn tell_of(at: (Span, &str), file: &str, certificate: &Certificate, report: &Report<'_>) {
    let now = SystemTime::now();
    tell_of_dates(at, file, certificate.facts(), now, report);
    // One that is over later changes nothing.
    if let Some(end) = certificate.chain_end().filter(|end| end.not_after < certificate.facts().not_after) {
        tell_of_chain(at, file, end, now, report);
    }
    if let Some(fault) = certificate.chain_fault() {
        report.warning(at.0, format!("\"{}\" {fault}", file.escape_debug()));
    }
}

/// An authority that is over, or soon, as if it were the certificate itself.
fn tell_of_chain(
    (span, others): (Span, &str),
    file: &str,
    ChainEnd { subject, not_after }: &ChainEnd,
    now: SystemTime,
    report: &Report<'_>,
) {
    const RENEW: &str =
        "put the one in its place that the authority offers now, or leave it out if they have it as a root";
    let what = format!("\"{}\" has a certificate of its authority {subject} that", file.escape_debug());
    let left = not_after.duration_since(now).ok();
    tell_of_end(span, (&what, *not_after, left), (&format!("most {others} refuse it"), RENEW), report);
}

/// An end that is past, or near, by how much time is `left`: of `what`, which begins the sentence, with what follows and what to do.
fn tell_of_end(
    span: Span,
    (what, end, left): (&str, SystemTime, Option<Duration>),
    (then, mend): (&str, &str),
    report: &Report<'_>,
) {
    let day = date(end);
    match left {
        None => report.stale(span, format!("{what} has expired on {day}: {then}; {mend}")),
        Some(left) if left < SOON => {
            let days = left.as_secs() / DAY.as_secs();
            report.warning(span, format!("{what} expires on {day}, in {days} days; {mend}"));
        }
        Some(_) => {}
    }
}

fn date(moment: SystemTime) -> time::Date {
    time::OffsetDateTime::from(moment).date()
}

/// One that is over does not keep a node from running: it may have others that are not.
fn tell_of_dates(
    (span, others): (Span, &str),
    file: &str,
    facts: &X509,
    now: SystemTime,
    report: &Report<'_>,
) {
    let name = format!("\"{}\"", file.escape_debug());
    let end = (&*name, facts.not_after, facts.remaining(now));
    tell_of_end(span, end, (&format!("{others} refuse it"), "renew it"), report);
    if facts.not_before > now {
        let message = format!(
            "{name} is not valid before {}: {others} refuse it until then; is the clock right?",
            date(facts.not_before)
        );
        report.warning(span, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_that_is_near_is_a_warning_and_one_that_is_past_fails_a_check() {
        let text = "\"site.pem\"";
        let span = Span { start: 0, end: text.len() };
        let (begin, end) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + 365 * DAY);
        let facts = X509 { not_before: begin, not_after: end, names: Vec::new(), sha256: [0; 32] };
        let told = |now: SystemTime| {
            let report = Report::new(text);
            tell_of_dates((span, "clients"), "site.pem", &facts, now, &report);
            let told = report.finish("lb.toml");
            (told.headlines().collect::<Vec<_>>().join("\n"), told.errors(), told.stale())
        };
        assert_eq!(told(end - SOON), (String::new(), 0, 0));
        let soon = "lb.toml:1:1: \"site.pem\" expires on 1971-01-01, in 29 days; renew it";
        assert_eq!(told(end - SOON + Duration::from_secs(1)), (soon.to_owned(), 0, 0));
        let last = "lb.toml:1:1: \"site.pem\" expires on 1971-01-01, in 0 days; renew it";
        assert_eq!(told(end), (last.to_owned(), 0, 0));
        let over = "lb.toml:1:1: \"site.pem\" has expired on 1971-01-01: clients refuse it; renew it";
        assert_eq!(told(end + Duration::from_secs(1)), (over.to_owned(), 0, 1));
        let early = told(begin - Duration::from_secs(1)).0;
        assert!(early.starts_with("lb.toml:1:1: \"site.pem\" is not valid before 1970-01-01: "), "{early}");
    }

    #[test]
    fn authority_that_is_over_or_soon_is_told_of_like_the_certificate_itself() {
        let text = "\"site.pem\"";
        let span = Span { start: 0, end: text.len() };
        let not_after = SystemTime::UNIX_EPOCH + 365 * DAY;
        let told = |now: SystemTime| {
            let report = Report::new(text);
            let end = ChainEnd { subject: "/CN=lower".into(), not_after };
            tell_of_chain((span, "clients"), "site.pem", &end, now, &report);
            let told = report.finish("lb.toml");
            (told.headlines().collect::<Vec<_>>().join("\n"), told.errors(), told.stale())
        };
        assert_eq!(told(not_after - SOON), (String::new(), 0, 0));
        let line = |rest: &str| {
            format!("lb.toml:1:1: \"site.pem\" has a certificate of its authority /CN=lower that {rest}")
        };
        let renew = "put the one in its place that the authority offers now, or leave it out if they have it as a root";
        let soon = line(&format!("expires on 1971-01-01, in 29 days; {renew}"));
        assert_eq!(told(not_after - SOON + Duration::from_secs(1)), (soon, 0, 0));
        let over = line(&format!("has expired on 1971-01-01: most clients refuse it; {renew}"));
        assert_eq!(told(not_after + Duration::from_secs(1)), (over, 0, 1));
    }
}
