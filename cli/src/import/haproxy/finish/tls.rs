//! How a listener speaks TLS: what its `bind` says, and what `global` says of all of them.

use std::path::{Path, PathBuf};

use super::World;
use crate::{
    config::{authorities, certificates},
    import::{
        document::Value,
        haproxy::{
            ciphers,
            directive::{Fault, shown},
            fits,
            lexer::Word,
            proxy::{Certificates, Tls, Version},
        },
    },
};

use lb_proxy::{
    config::{Alpn, TlsFiles},
    tls::{CIPHERSUITES, CURVES},
};

/// A certificate, and the line that names it.
struct Entry<'w> {
    /// As HAProxy would open it.
    file: String,
    names: Vec<String>,
    word: &'w Word,
}

/// The value of `tls`; `is_http` says if HTTP is inside. `Err` is why there can't be such a listener.
pub(super) fn value(own: &Tls, is_http: bool, world: &World<'_>) -> Result<Value, Fault> {
    let tls = own.over(&world.file.global.bind_tls);
    let entries = entries(&tls, world)?;
    if entries.is_empty() {
        return Err("`ssl` without a `crt`: HAProxy refuses it, too".into());
    }
    tell_of_files(&entries, world);
    let certificates: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let file = Value::Text(world.maps.ours(&entry.file));
            match entry.names.is_empty() {
                true => file,
                false => {
                    let names = entry.names.iter().map(Value::text).collect();
                    Value::table([("certificate", file), ("sni", Value::one_or_list(names))])
                }
            }
        })
        .collect();
    let certificates = match &*certificates {
        [Value::Text(_)] => certificates[0].clone(),
        _ => Value::List(certificates),
    };
    let mut keys = Vec::new();
    if tls.strict_sni {
        keys.push(("strict_sni".to_owned(), Value::Flag(true)));
    }
    if tls.prefers_client {
        keys.push(("prefer_client_ciphers".to_owned(), Value::Flag(true)));
    }
    if tls.no_tickets {
        keys.push(("tickets".to_owned(), Value::Flag(false)));
    }
    if is_http {
        // HAProxy 2.6 speaks no HTTP/2 where nothing is said of it.
        let names = if tls.alpn.is_empty() { &[Alpn::Http11.name()] } else { &*tls.alpn };
        let names = names.iter().map(|name| Value::text(*name)).collect();
        keys.push(("alpn".to_owned(), Value::one_or_list(names)));
    }
    clients(&tls, world, &mut keys)?;
    spoken(&tls, LISTENER, world, &mut keys)?;
    let value = if keys.is_empty() {
        certificates
    } else {
        keys.insert(0, ("certificate".to_owned(), certificates));
        Value::Table(keys)
    };
    let bind = Value::table([("address", Value::text("*:1")), ("tls", value.clone())]);
    fits::takes_bind(&bind, &world.options.output)?;
    Ok(value)
}

/// What clients are asked for.
fn clients(tls: &Tls, world: &World<'_>, keys: &mut Vec<(String, Value)>) -> Result<(), Fault> {
    let Some((is_required, span)) = tls.verify else { return Ok(()) };
    if tls.ca_files.is_empty() {
        let why =
            "`verify` without a `ca-file`: no client would be taken; the listener is left out".to_owned();
        return Err(Fault { span: Some(span), why });
    }
    let based =
        |word: &Word| Path::new(&world.file.global.authorities).join(&word.text).display().to_string();
    let ca_files: Vec<_> = tls.ca_files.iter().map(based).collect();
    let crl_files: Vec<_> = tls.crl_file.iter().map(based).collect();
    let words: Vec<_> = tls.ca_files.iter().chain(&tls.crl_file).collect();
    let found = authorities::of_clients(&ca_files, &crl_files, is_required, world.maps.folder());
    tell_of_authorities(found.wrong, &words, world);
    let ours = |files: Vec<String>| {
        Value::one_or_list(files.iter().map(|file| Value::Text(world.maps.ours(file))).collect())
    };
    keys.push(("verify".to_owned(), Value::text(if is_required { "required" } else { "optional" })));
    keys.push(("ca_file".to_owned(), ours(ca_files)));
    if !crl_files.is_empty() {
        keys.push(("crl_file".to_owned(), ours(crl_files)));
    }
    Ok(())
}

/// What is wrong with files of authorities, by the words that name them.
pub(super) fn tell_of_authorities(wrong: Vec<(usize, String)>, words: &[&Word], world: &World<'_>) {
    for (at, why) in wrong {
        let message = format!(
            "\"{}\" {why}; `lbctl check` refuses our file until that is mended",
            shown(&words[at].text)
        );
        world.notes.advise(words[at].span, message);
    }
}

/// Who speaks TLS to clients, in notes.
const LISTENER: &str = "listener";

/// Versions, ciphers and curves of a `whose`: a [`LISTENER`] or a server.
pub(super) fn spoken(
    tls: &Tls,
    whose: &str,
    world: &World<'_>,
    keys: &mut Vec<(String, Value)>,
) -> Result<(), Fault> {
    let versions = tls.versions();
    if let (Some((_, span)), true) = (tls.lowest, versions.iter().any(|version| *version < Version::Tls12)) {
        let why = "versions before TLS 1.2 are not there: who knows no later one is not spoken to here";
        world.notes.differ(span, why);
    }
    let (mut v12, mut v13) = (versions.contains(&Version::Tls12), versions.contains(&Version::Tls13));
    let mut ordered = Vec::new();
    if let Some(list) = tls.ciphers.as_ref().filter(|_| v12) {
        let left = ciphers::chosen(&list.text);
        v12 = !left.is_empty();
        if v12 {
            ordered.push(("ciphers", left));
        } else {
            let why = format!("none of these ciphers is there: TLS 1.2 is not spoken by this {whose}");
            world.notes.differ(list.span, why);
        }
    }
    if let Some(list) = tls.ciphersuites.as_ref().filter(|_| v13) {
        let left: Vec<_> = list
            .text
            .split(':')
            .filter_map(|name| CIPHERSUITES.into_iter().find(|known| *known == name))
            .collect();
        v13 = !left.is_empty();
        if v13 {
            ordered.push(("ciphersuites", left));
        } else {
            let why = format!("none of these ciphers is there: TLS 1.3 is not spoken by this {whose}");
            world.notes.differ(list.span, why);
        }
    }
    if let Some(list) = &tls.curves {
        let mut left = Vec::new();
        for curve in list.text.split(':').filter_map(curve) {
            if !left.contains(&curve) {
                left.push(curve);
            }
        }
        if left.is_empty() {
            let all = CURVES.join(", ");
            world.notes.differ(list.span, format!("none of these curves is there: {all} are spoken"));
        } else {
            if left.len() > 1 && v12 && whose == LISTENER && !tls.prefers_client {
                let why = "the client's favourite of these curves is taken; in HAProxy that of the file with TLS 1.2";
                world.notes.advise(list.span, why);
            }
            ordered.push(("curves", left));
        }
    }
    match (v12, v13) {
        (true, true) => {}
        (true, false) => keys.push(("max_version".to_owned(), Value::text("1.2"))),
        (false, true) => keys.push(("min_version".to_owned(), Value::text("1.3"))),
        (false, false) => {
            let why = format!("no version of TLS is left that is spoken here: the {whose} is left out");
            return Err(why.into());
        }
    }
    for (key, names) in ordered {
        keys.push((key.to_owned(), Value::List(names.into_iter().map(Value::text).collect())));
    }
    Ok(())
}

/// OpenSSL has several names for some, and does not look at their case.
fn curve(name: &str) -> Option<&'static str> {
    let name = match &*name.to_ascii_lowercase() {
        "prime256v1" | "secp256r1" => "P-256",
        "secp384r1" => "P-384",
        _ => name,
    };
    CURVES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// All certificates, in HAProxy's order.
fn entries<'w>(tls: &'w Tls, world: &World<'_>) -> Result<Vec<Entry<'w>>, Fault> {
    let mut entries = Vec::new();
    for certificates in &tls.certificates {
        match certificates {
            Certificates::Path(word) => {
                entries.push(Entry { file: based(&word.text, world), names: Vec::new(), word });
            }
            Certificates::List(word) => {
                let lines = world
                    .maps
                    .lines(&word.text)
                    .map_err(|why| Fault::at(word, format!("{why}; the listener is left out")))?;
                for line in &lines {
                    entries.push(listed(line, word, world)?);
                }
            }
        }
    }
    Ok(entries)
}

/// With `crt-base` before it.
fn based(file: &str, world: &World<'_>) -> String {
    Path::new(&world.file.global.certificates).join(file).display().to_string()
}

/// A line of a `crt-list`: `FILE [OPTIONS] NAMES`
fn listed<'w>(line: &str, word: &'w Word, world: &World<'_>) -> Result<Entry<'w>, Fault> {
    let file = line.split([' ', '\t', '[']).next().unwrap_or_default();
    let rest = line[file.len()..].trim_start();
    let told = |what: String| format!("{what} (in {})", shown(&word.text));
    let (options, rest) = match rest.strip_prefix('[') {
        Some(open) => open
            .split_once(']')
            .ok_or_else(|| Fault::at(word, told(format!("`{}`: a `[` without its `]`", shown(line)))))?,
        None => ("", rest),
    };
    if options.split_whitespace().any(|option| option == "verify") && !options.contains("verify none") {
        let why = told(format!(
            "`[{}]`: clients are asked for certificates by whole listeners; the listener is left out",
            shown(options)
        ));
        return Err(Fault::at(word, why));
    }
    let mut options = options.split_whitespace();
    while let Some(option) = options.next() {
        match (option, options.next().unwrap_or_default()) {
            ("alpn", "http/1.1") | ("verify", "none") => {}
            (option, value) => {
                let what = format!(
                    "`[{} {}]`: a certificate has no options of its own",
                    shown(option),
                    shown(value)
                );
                world.notes.lost(word.span, told(what));
            }
        }
    }
    let mut names = Vec::new();
    for name in rest.split_whitespace() {
        if name.starts_with('!') || name == "*" {
            let why = told(format!(
                "`{}` as a name: which names a certificate is for is said, not for which it isn't",
                shown(name)
            ));
            world.notes.lost(word.span, why);
        } else {
            names.push(name.to_ascii_lowercase());
        }
    }
    Ok(Entry { file: based(file, world), names, word })
}

/// Files that are wrong here may be right where the proxy will run: our file names them.
fn tell_of_files(entries: &[Entry<'_>], world: &World<'_>) {
    let files = |entry: &Entry<'_>| TlsFiles { certificate: entry.file.clone(), key: None, names: None };
    let files: Vec<_> = entries.iter().map(files).collect();
    let folder: PathBuf = world.maps.folder().to_owned();
    for wrong in certificates::read(&files, &folder, std::time::SystemTime::now()).wrong {
        let message = format!(
            "\"{}\" {}; `lbctl check` refuses our file until that is mended",
            shown(&wrong.file),
            wrong.why
        );
        world.notes.advise(entries[wrong.entry].word.span, message);
    }
}
