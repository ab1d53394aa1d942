//! How TLS is spoken to a server: what its line says, and what `global` says of all of them.

use std::path::Path;

use super::{World, tls::spoken};
use crate::{
    config::authorities,
    import::{
        document::Value,
        haproxy::{
            directive::{Fault, shown},
            lexer::Word,
            proxy::{OF_SYSTEM, Server},
        },
    },
};

/// Its keys in the table of the server. `Err` is why there can't be such a server.
pub(super) fn keys(server: &Server, is_http: bool, world: &World<'_>) -> Result<Vec<(String, Value)>, Fault> {
    let tls = &server.tls;
    let mut keys = Vec::new();
    let has_check = server.check.is_some();
    if server.is_http2 && is_http && tls.ssl.is_none() {
        keys.push(("http2".to_owned(), Value::Flag(true)));
    }
    if tls.ssl.is_none() && !(tls.check_ssl && has_check) {
        return Ok(keys);
    }
    let table = table(server, is_http, world)?;
    let value = if table.is_empty() { Value::Flag(true) } else { Value::Table(table) };
    if tls.ssl.is_some() {
        keys.push(("tls".to_owned(), value));
        if tls.check_ssl && has_check {
            keys.push(("check_tls".to_owned(), Value::Flag(true)));
        }
    } else {
        keys.push(("check_tls".to_owned(), value));
    }
    if let Some(name) = tls.check_sni.as_ref().filter(|_| has_check) {
        keys.push(("check_sni".to_owned(), Value::text(&name.text)));
    }
    Ok(keys)
}

fn table(server: &Server, is_http: bool, world: &World<'_>) -> Result<Vec<(String, Value)>, Fault> {
    let tls = &server.tls;
    let mut keys = Vec::new();
    let mut put = |key: &str, value: Value| keys.push((key.to_owned(), value));
    let is_verified = tls.verify.unwrap_or(!world.file.global.trusts_servers);
    if is_verified {
        let ca_file = tls.ca_file.as_ref().filter(|word| word.text != OF_SYSTEM);
        if tls.ca_file.is_none() {
            let why = "without a `ca-file` HAProxy refuses the server; here it is verified by the authorities of the machine";
            world.notes.advise(server.span, why);
        }
        if tls.sni.is_none() && tls.verify_host.is_none() {
            put("verify", Value::text("chain"));
        }
        let files = [("ca_file", ca_file), ("crl_file", tls.crl_file.as_ref())];
        tell_of_files(files.map(|(_, word)| word), world);
        for (key, word) in files {
            if let Some(word) = word {
                put(key, Value::Text(world.maps.ours(&based(word, &world.file.global.authorities))));
            }
        }
    } else {
        put("verify", Value::Flag(false));
    }
    // Where our file says nothing a server with a name is told that.
    let has_name = server.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
        && !server.host.starts_with("unix:");
    match (&tls.sni, is_http) {
        (Some(sni), false) if sni.starts_with('{') => {
            let why = "`sni`: a connection of mode tcp has no Host; its server is told no name";
            world.notes.lost(server.span, why);
            put("sni", Value::Flag(false));
        }
        (Some(sni), _) => put("sni", Value::text(sni)),
        (None, _) if has_name => put("sni", Value::Flag(false)),
        (None, _) => {}
    }
    if let (None, Some(name), true) = (&tls.sni, &tls.verify_host, is_verified) {
        put("verify_name", Value::text(&name.text));
    }
    if let Some(word) = &tls.certificate {
        let file = based(word, &world.file.global.certificates);
        put("certificate", Value::Text(world.maps.ours(&file)));
    }
    if let Some(word) = &tls.alpn {
        let names = word.text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let is_here = |name: &&str| !is_http || *name == "h2" || name.starts_with("http/1.");
        let left: Vec<_> = names.clone().filter(is_here).map(Value::text).collect();
        if let Some(other) = names.clone().find(|name| !is_here(name)) {
            if left.is_empty() {
                let why = format!("`alpn {}`: servers are spoken to in HTTP: it is left out", shown(other));
                return Err(Fault::at(word, why));
            }
            let why = format!("`{}`: servers are spoken to in HTTP", shown(other));
            world.notes.differ(word.span, why);
        }
        let has_http2 = left.contains(&Value::text("h2"));
        if server.is_http2 && is_http {
            // It is spoken whatever the server says.
            put("alpn", Value::text("h2"));
        } else if !is_http || has_http2 {
            put("alpn", Value::List(left));
        }
    } else if server.is_http2 && is_http && tls.ssl.is_some() {
        put("alpn", Value::text("h2"));
    }
    let of_all = tls.spoken.over(&world.file.global.server_tls);
    spoken(&of_all, "server", world, &mut keys)?;
    Ok(keys)
}

fn based(word: &Word, folder: &str) -> String {
    Path::new(folder).join(&word.text).display().to_string()
}

/// Files that are wrong here may be right where the proxy will run: our file names them.
fn tell_of_files([ca, crl]: [Option<&Word>; 2], world: &World<'_>) {
    let Some(ca) = ca else { return };
    let files = |word: Option<&Word>| -> Vec<String> {
        word.iter().map(|word| based(word, &world.file.global.authorities)).collect()
    };
    let words: Vec<_> = [Some(ca), crl].into_iter().flatten().collect();
    let found = authorities::of_servers(&files(Some(ca)), &files(crl), world.maps.folder());
    super::tls::tell_of_authorities(found.wrong, &words, world);
}
