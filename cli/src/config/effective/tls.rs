//! `tls` of a `bind`.

use lb_proxy::config::Tls;

use super::quoted;

/// `{ certificate = "site.pem", min_version = "1.2", max_version = "1.3" }`
pub(super) fn write(tls: &Tls) -> String {
    let key = tls.files.key.as_ref().map(|key| format!(", key = {}", quoted(key))).unwrap_or_default();
    let certificate = quoted(&tls.files.certificate);
    let (low, high) = (tls.min_version.name(), tls.max_version.name());
    format!("{{ certificate = {certificate}{key}, min_version = \"{low}\", max_version = \"{high}\" }}")
}
