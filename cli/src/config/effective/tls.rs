//! `tls` of a `bind`.

use lb_proxy::config::{Tls, TlsFiles, TlsVersion};

use super::{list, quoted};

/// `{ certificate = "site.pem", strict_sni = false, min_version = "1.2", max_version = "1.3" }`
pub(super) fn write(tls: &Tls) -> String {
    let certificates = match &*tls.files {
        [TlsFiles { certificate, key, names: None }] => {
            format!("certificate = {}{}", quoted(certificate), of_key(key))
        }
        several => format!("certificate = {}", list(several.iter().map(of_list))),
    };
    let strict = tls.strict_sni;
    let spoken = spoken((tls.min_version, tls.max_version), [&tls.ciphers, &tls.ciphersuites, &tls.curves]);
    let clients = match &tls.clients {
        None => ", verify = \"none\"".to_owned(),
        Some(asked) => {
            let verify = if asked.is_required { "required" } else { "optional" };
            format!(
                ", verify = \"{verify}\"{}{}",
                files("ca_file", &asked.ca_files),
                files("crl_file", &asked.crl_files)
            )
        }
    };
    let alpn = match &*tls.alpn {
        [] => String::new(),
        protocols => {
            format!(", alpn = {}", list(protocols.iter().map(|protocol| quoted(protocol.name()))))
        }
    };
    let order = format!("prefer_client_ciphers = {}, tickets = {}", tls.prefers_client, tls.tickets);
    format!("{{ {certificates}, strict_sni = {strict}{clients}{alpn}, {spoken}, {order} }}")
}

/// Files of authorities and the like, behind other keys.
pub(super) fn files(key: &str, files: &[String]) -> String {
    match files {
        [] => String::new(),
        files => format!(", {key} = {}", list(files.iter().map(|file| quoted(file)))),
    }
}

/// Versions, and ciphers of TLS 1.2, of TLS 1.3, and groups.
pub(super) fn spoken(
    (low, high): (TlsVersion, TlsVersion),
    [ciphers, ciphersuites, curves]: [&[&str]; 3],
) -> String {
    let names = |key: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!(", {key} = {}", list(names.iter().map(|name| quoted(name)))),
    };
    let (low, high) = (low.name(), high.name());
    let ciphers = names("ciphers", ciphers) + &names("ciphersuites", ciphersuites) + &names("curves", curves);
    format!("min_version = \"{low}\", max_version = \"{high}\"{ciphers}")
}

pub(super) fn of_key(key: &Option<String>) -> String {
    key.as_ref().map(|key| format!(", key = {}", quoted(key))).unwrap_or_default()
}

fn of_list(files: &TlsFiles) -> String {
    let certificate = quoted(&files.certificate);
    if files.key.is_none() && files.names.is_none() {
        return certificate;
    }
    let names =
        files.names.as_ref().map(|names| format!(", sni = {}", list(names.iter().map(|name| quoted(name)))));
    format!("{{ certificate = {certificate}{}{} }}", of_key(&files.key), names.unwrap_or_default())
}
