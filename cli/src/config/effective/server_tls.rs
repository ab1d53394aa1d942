//! `tls` of servers.

use lb_proxy::config::{Server, ServerTls, ServerVerify, Sni, TlsFiles};

use super::{is_listed, list, quoted, tls};
use crate::config::raw::OF_HOST;

/// What servers without keys of their own have from their backend.
pub(super) fn common(servers: &[Server]) -> Option<&ServerTls> {
    servers.iter().find(|server| is_listed(server))?.tls.as_deref()
}

/// The same of HTTP/2 without TLS.
pub(super) fn common_http2(servers: &[Server]) -> bool {
    servers.iter().find(|server| is_listed(server)).is_some_and(|server| server.http2)
}

/// Behind the address of a server.
pub(super) fn of_server(server: &Server, common: Option<&ServerTls>, common_http2: bool) -> String {
    let own = server.tls.as_deref();
    let mut keys = String::new();
    if server.http2 != common_http2 {
        keys += &format!(", http2 = {}", server.http2);
    }
    if own != common {
        keys += &format!(", tls = {}", write(own));
    }
    let check = server.check_tls.as_deref();
    if own.is_some() || check.is_some() {
        let check = if check == own { "true".to_owned() } else { write(check) };
        keys += &format!(", check_tls = {check}");
    }
    if let Some(name) = &server.check_sni {
        keys += &format!(", check_sni = {}", quoted(&name.to_string()));
    }
    keys
}

/// The value of `tls`.
pub(super) fn write(tls: Option<&ServerTls>) -> String {
    let Some(tls) = tls else { return "false".to_owned() };
    let verify = match tls.verify {
        ServerVerify::All => "true",
        ServerVerify::Chain => "\"chain\"",
        ServerVerify::Nothing => "false",
    };
    let files = tls::files("ca_file", &tls.ca_files) + &tls::files("crl_file", &tls.crl_files);
    let sni = match &tls.sni {
        Sni::OfServer => String::new(),
        Sni::OfHost => format!(", sni = {}", quoted(OF_HOST)),
        Sni::Name(name) => format!(", sni = {}", quoted(&name.to_string())),
        Sni::Nothing => ", sni = false".to_owned(),
    };
    let name = tls.verify_name.as_ref().map(|name| format!(", verify_name = {}", quoted(&name.to_string())));
    let certificate = match &tls.file {
        Some(TlsFiles { certificate, key, .. }) => {
            format!(", certificate = {}{}", quoted(certificate), tls::of_key(key))
        }
        None => String::new(),
    };
    let alpn = list(tls.alpn.iter().map(|name| quoted(name)));
    let spoken =
        tls::spoken((tls.min_version, tls.max_version), [&tls.ciphers, &tls.ciphersuites, &tls.curves]);
    format!(
        "{{ verify = {verify}{files}{sni}{}{certificate}, alpn = {alpn}, {spoken} }}",
        name.unwrap_or_default()
    )
}
