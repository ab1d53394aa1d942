//! What `bind` and `ssl-default-bind-*` say of TLS, until all of the file is known.

use lb_proxy::config::Alpn;

use super::bind::Parameters;
use crate::{
    config::diagnostic::Span,
    import::haproxy::{
        directive::{Directive, Done, Fault, shown},
        lexer::Word,
    },
};

/// A version of what HAProxy speaks, in their order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::import::haproxy) enum Version {
    Ssl30,
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// Where certificates are.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) enum Certificates {
    /// `crt`: a file or a folder.
    Path(Word),
    /// `crt-list`: a file that names others.
    List(Word),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Tls {
    pub(in crate::import::haproxy) certificates: Vec<Certificates>,
    pub(in crate::import::haproxy) lowest: Option<(Version, Span)>,
    pub(in crate::import::haproxy) highest: Option<(Version, Span)>,
    /// `no-tlsv12` and its like.
    pub(in crate::import::haproxy) without: Vec<Version>,
    pub(in crate::import::haproxy) ciphers: Option<Word>,
    pub(in crate::import::haproxy) ciphersuites: Option<Word>,
    pub(in crate::import::haproxy) curves: Option<Word>,
    pub(in crate::import::haproxy) no_tickets: bool,
    pub(in crate::import::haproxy) strict_sni: bool,
    pub(in crate::import::haproxy) prefers_client: bool,
    /// `alpn`, in its order.
    pub(in crate::import::haproxy) alpn: Vec<&'static str>,
    /// Clients are asked for certificates, and have to have one.
    pub(in crate::import::haproxy) verify: Option<(bool, Span)>,
    /// `ca-file`, `ca-verify-file`
    pub(in crate::import::haproxy) ca_files: Vec<Word>,
    pub(in crate::import::haproxy) crl_file: Option<Word>,
}

impl Tls {
    /// With what `global` says of all listeners, where this one says nothing.
    pub(in crate::import::haproxy) fn over(&self, defaults: &Self) -> Self {
        let mut tls = self.clone();
        tls.lowest = tls.lowest.or(defaults.lowest);
        tls.highest = tls.highest.or(defaults.highest);
        tls.without.extend(&defaults.without);
        tls.ciphers = tls.ciphers.or_else(|| defaults.ciphers.clone());
        tls.ciphersuites = tls.ciphersuites.or_else(|| defaults.ciphersuites.clone());
        tls.curves = tls.curves.or_else(|| defaults.curves.clone());
        tls.no_tickets |= defaults.no_tickets;
        tls.strict_sni |= defaults.strict_sni;
        tls.prefers_client |= defaults.prefers_client;
        tls
    }

    /// Is there nothing in it?
    pub(super) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
            && self.verify.is_none()
            && self.lowest.is_none()
            && self.ciphers.is_none()
            && !self.strict_sni
    }

    /// Those that are spoken; HAProxy begins with TLS 1.2.
    pub(in crate::import::haproxy) fn versions(&self) -> Vec<Version> {
        use Version::{Ssl30, Tls10, Tls11, Tls12, Tls13};
        let lowest = self.lowest.map_or(Tls12, |(version, _)| version);
        let highest = self.highest.map_or(Tls13, |(version, _)| version);
        let is_spoken =
            |version: &Version| (lowest..=highest).contains(version) && !self.without.contains(version);
        [Ssl30, Tls10, Tls11, Tls12, Tls13].into_iter().filter(is_spoken).collect()
    }
}

/// `ssl-min-ver TLSv1.2`
pub(super) fn lowest(tls: &mut Tls, directive: &Directive<'_>) -> Done {
    tls.lowest = Some((version(directive)?, directive.span));
    Ok(())
}

/// `ssl-max-ver TLSv1.2`
pub(super) fn highest(tls: &mut Tls, directive: &Directive<'_>) -> Done {
    tls.highest = Some((version(directive)?, directive.span));
    Ok(())
}

fn version(directive: &Directive<'_>) -> Result<Version, Fault> {
    let word = directive.only()?;
    Ok(match word.text.as_str() {
        "SSLv3" => Version::Ssl30,
        "TLSv1.0" => Version::Tls10,
        "TLSv1.1" => Version::Tls11,
        "TLSv1.2" => Version::Tls12,
        "TLSv1.3" => Version::Tls13,
        other => {
            return Err(Fault::at(word, format!("`{}` is no version of TLS, as in TLSv1.2", shown(other))));
        }
    })
}

/// `no-tlsv12`, `force-tlsv12`
pub(super) fn switch(tls: &mut Tls, directive: &Directive<'_>) -> Done {
    let version = match directive.keyword.rsplit('-').next() {
        Some("sslv3") => Version::Ssl30,
        Some("tlsv10") => Version::Tls10,
        Some("tlsv11") => Version::Tls11,
        Some("tlsv12") => Version::Tls12,
        _ => Version::Tls13,
    };
    if directive.keyword.starts_with("no-") {
        tls.without.push(version);
    } else {
        let only = Some((version, directive.span));
        (tls.lowest, tls.highest) = (only, only);
    }
    Ok(())
}

/// `alpn h2,http/1.1`
pub(super) fn protocols(bind: &mut Parameters, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    bind.tls.alpn.clear();
    for name in word.text.split(',').map(str::trim) {
        let Some(known) = Alpn::ALL.iter().find(|known| known.name() == name) else {
            let why = format!(
                "`alpn {}`: `h2` and `http/1.1` may be offered in mode http, and nothing in mode tcp",
                shown(name)
            );
            return Err(Fault::at(word, why));
        };
        if !bind.tls.alpn.contains(&known.name()) {
            bind.tls.alpn.push(known.name());
        }
    }
    Ok(())
}

/// `verify none|optional|required`
pub(super) fn verify(bind: &mut Parameters, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    bind.tls.verify = match word.text.as_str() {
        "none" => None,
        "optional" => Some((false, directive.span)),
        "required" => Some((true, directive.span)),
        other => {
            // Nobody shall get in who was to be kept out.
            bind.is_unfit = true;
            let why = format!("`verify {}` is not there; the listener is left out", shown(other));
            return Err(Fault::at(word, why));
        }
    };
    Ok(())
}

/// `ca-file FILE`, `ca-verify-file FILE`
pub(super) fn authorities(bind: &mut Parameters, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    if word.text.starts_with('@') {
        bind.is_unfit = true;
        let why =
            format!("`{}`: clients are judged by files alone; the listener is left out", shown(&word.text));
        return Err(Fault::at(word, why));
    }
    bind.tls.ca_files.push(word.clone());
    Ok(())
}

/// `crt-ignore-err all`
pub(super) fn ignored(_: &mut Parameters, directive: &Directive<'_>) -> Done {
    let why = "a client whose certificate is wrong is refused in its handshake here, and no rule sees it; in HAProxy rules decide by `ssl_c_verify`";
    directive.notes.differ(directive.span, why);
    Ok(())
}
