//! What `server` says of TLS, until all of the file is known.

use super::{Server, tls::Tls};
use crate::{
    config::diagnostic::Span,
    import::haproxy::{
        directive::{Directive, Done, Fault, shown},
        lexer::Word,
    },
};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct ServerTls {
    pub(in crate::import::haproxy) ssl: Option<Span>,
    pub(in crate::import::haproxy) check_ssl: bool,
    pub(in crate::import::haproxy) verify: Option<bool>,
    pub(in crate::import::haproxy) ca_file: Option<Word>,
    pub(in crate::import::haproxy) crl_file: Option<Word>,
    pub(in crate::import::haproxy) certificate: Option<Word>,
    /// As our file has it.
    pub(in crate::import::haproxy) sni: Option<String>,
    pub(in crate::import::haproxy) verify_host: Option<Word>,
    pub(in crate::import::haproxy) check_sni: Option<Word>,
    pub(in crate::import::haproxy) alpn: Option<Word>,
    /// Versions and ciphers.
    pub(in crate::import::haproxy) spoken: Tls,
}

/// The Host of the request, as our file has it.
const OF_HOST: &str = "{request.host}";

/// What the name of the authorities of the machine is.
pub(in crate::import::haproxy) const OF_SYSTEM: &str = "@system-ca";

/// `verify none|required`
pub(super) fn verify(server: &mut Server, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    server.tls.verify = Some(match word.text.as_str() {
        "none" => false,
        "required" => true,
        other => return Err(Fault::at(word, format!("`verify {}` is none or required", shown(other)))),
    });
    Ok(())
}

/// `sni EXPRESSION`
pub(super) fn sni(server: &mut Server, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    let text = word.text.replace(' ', "").to_ascii_lowercase();
    if let Some(name) = text.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
        server.tls.sni = Some(name.trim_matches(['"', '\'']).to_owned());
        return Ok(());
    }
    let (fetch, converters) = text.split_once(',').unwrap_or((&text, ""));
    let is_host = ["req.hdr(host)", "hdr(host)", "req.fhdr(host)", "req.hdr(host,-1)"].contains(&fetch);
    // A port is no part of a name here either.
    let is_name = converters.split("),").all(|converter| {
        ["", "lower", "host_only", "field(1,:", "field(1,:)", "field(1,\":\")"].contains(&converter)
    });
    if is_host && is_name {
        server.tls.sni = Some(OF_HOST.to_owned());
        return Ok(());
    }
    if fetch == "ssl_fc_sni" {
        server.tls.sni = Some(OF_HOST.to_owned());
        let why = "`ssl_fc_sni`: the server is told the Host of each request here, which with browsers is the same name";
        directive.notes.differ(word.span, why);
        return Ok(());
    }
    let why = format!(
        "`sni {}`: a server is told a name, as with str(NAME), or the Host of the request, as with req.hdr(host)",
        shown(&word.text)
    );
    Err(Fault::at(word, why))
}
