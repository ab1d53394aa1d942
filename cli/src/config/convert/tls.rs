//! `tls`: certificates and keys are read here, so that what is wrong with them is found before anything starts.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_proxy::{
    config::{Tls, TlsFiles, TlsVersion},
    tls::{Certificate, X509},
};

use super::answers;
use crate::config::{
    diagnostic::{Report, Span},
    raw,
    reader::At,
};

/// Of a file with certificates or a key, in bytes.
const LARGEST: u64 = 1 << 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// So long before its end a certificate is worth a warning.
const SOON: Duration = DAY.saturating_mul(30);

/// What `tls` of a `bind` says.
pub(super) fn convert(raw: &raw::Tls, folder: &Path, report: &Report<'_>) -> Option<Tls> {
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
    let file = raw.certificate.as_ref()?;
    let certificate = read(file, raw.key.as_ref(), folder, report)?;
    tell_of_dates(file, certificate.facts(), SystemTime::now(), report);
    let files =
        TlsFiles { certificate: file.value.clone(), key: raw.key.as_ref().map(|key| key.value.clone()) };
    Some(Tls { files, certificate, min_version, max_version })
}

/// The entry of a listener, if it has `tls`.
pub(super) fn of_bind(bind: &raw::Bind, folder: &Path, report: &Report<'_>) -> Option<Arc<Tls>> {
    convert(bind.tls.as_ref()?, folder, report).map(Arc::new)
}

/// Those of several listeners, by their place.
pub(super) fn by_place(listeners: impl Iterator<Item = Option<Arc<Tls>>>) -> BTreeMap<usize, Arc<Tls>> {
    listeners.enumerate().filter_map(|(place, tls)| Some((place, tls?))).collect()
}

fn read(
    file: &At<String>,
    key: Option<&At<String>>,
    folder: &Path,
    report: &Report<'_>,
) -> Option<Certificate> {
    let content = |at: &At<String>| {
        answers::read_file(&folder.join(&at.value), LARGEST, report)
            .map_err(|why| tell(at.span, &at.value, &why, report))
            .ok()
    };
    // Both are looked at, so that one error does not hide the other.
    let (certificates, secret) = (content(file), key.map(content));
    let (certificates, secret) = (certificates?, secret.map_or(Some(None), |secret| secret.map(Some))?);
    match Certificate::from_pem(&certificates, secret.as_deref()) {
        Ok(certificate) => Some(certificate),
        Err(error) => {
            let at = key.filter(|_| error.is_of_key()).unwrap_or(file);
            tell(at.span, &at.value, &error.to_string(), report);
            None
        }
    }
}

fn tell(span: Span, file: &str, why: &str, report: &Report<'_>) {
    report.error(span, format!("\"{}\" {why}", file.escape_debug()));
}

/// One that is over does not keep a node from running: it may have others that are not.
fn tell_of_dates(file: &At<String>, facts: &X509, now: SystemTime, report: &Report<'_>) {
    let name = file.value.escape_debug();
    let date = |moment: SystemTime| time::OffsetDateTime::from(moment).date();
    match facts.remaining(now) {
        None => {
            let message =
                format!("\"{name}\" has expired on {}: clients refuse it; renew it", date(facts.not_after));
            report.stale(file.span, message);
        }
        Some(left) if left < SOON => {
            let (days, end) = (left.as_secs() / DAY.as_secs(), date(facts.not_after));
            report.warning(file.span, format!("\"{name}\" expires on {end}, in {days} days; renew it"));
        }
        Some(_) => {}
    }
    if facts.not_before > now {
        let message = format!(
            "\"{name}\" is not valid before {}: clients refuse it until then; is the clock right?",
            date(facts.not_before)
        );
        report.warning(file.span, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_that_is_near_is_a_warning_and_one_that_is_past_fails_a_check() {
        let text = "\"site.pem\"";
        let file = At::new("site.pem".to_owned(), Span { start: 0, end: text.len() });
        let (begin, end) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + 365 * DAY);
        let facts = X509 { not_before: begin, not_after: end, names: Vec::new() };
        let told = |now: SystemTime| {
            let report = Report::new(text);
            tell_of_dates(&file, &facts, now, &report);
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
}
