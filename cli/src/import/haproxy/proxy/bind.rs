//! `bind`, and the address that old files have behind `listen NAME`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_proxy::config::Alpn;

use super::{
    Proxy,
    parameter::{self, Parameter, with},
    tls::{self, Certificates, Tls},
};
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            lexer::Word,
            section::Section,
            table::{missing, needless, row},
        },
        notes::Notes,
    },
};

/// A place to listen at.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Bind {
    pub(in crate::import::haproxy) address: Address,
    /// The other family of `:::80`, which may stand in the file by itself.
    pub(in crate::import::haproxy) is_implied: bool,
    /// Whoever connects begins with a PROXY header.
    pub(in crate::import::haproxy) accepts_proxy: bool,
    /// `ssl`
    pub(in crate::import::haproxy) tls: Option<Tls>,
    /// `proto h2`
    pub(in crate::import::haproxy) is_http2: bool,
    pub(in crate::import::haproxy) span: Span,
}

impl Bind {
    /// May clients speak HTTP/2 there, in mode http?
    pub(in crate::import::haproxy) fn speaks_http2(&self) -> bool {
        self.is_http2 || self.tls.as_ref().is_some_and(|tls| tls.alpn.contains(&Alpn::H2.name()))
    }

    /// Do clients come by IPv6?
    pub(in crate::import::haproxy) fn is_ipv6(&self) -> bool {
        matches!(self.address, Address::Socket(SocketAddr::V6(_)) | Address::Descriptor(_))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::import::haproxy) enum Address {
    Socket(SocketAddr),
    /// A socket that is passed with this number.
    Descriptor(u64),
    /// A path, or `@` and a name; its rights and owners.
    Unix(String, Vec<(&'static str, Value)>),
}

/// What the parameters of one `bind` add up to.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    v6_only: bool,
    accepts_proxy: bool,
    /// Rights and owners of a Unix socket.
    owners: Vec<(&'static str, Value)>,
    is_tls: bool,
    is_http2: bool,
    pub(super) tls: Tls,
    /// It must not be opened without what is missing.
    pub(super) is_unfit: bool,
}

/// A port for each, and no more than that.
const MOST_PORTS: u32 = 256;

const OF_CRT: &str = "A file, a folder, or a name to which `.rsa` and `.ecdsa` are added. The first one is for who asks for no name that is there. Names are those of the subjectAltName; HAProxy takes the common name as well.";
const OF_LIST: &str = "Its lines are converted; what they have between brackets is not there.";
const OF_VERSIONS: &str = "Older ones than 1.2 are not there.";
const OF_CIPHERS: &str = "Those that are there, in the order of the list.";
pub(super) const OF_CURVES: &str =
    "Of the list those that are there: X25519MLKEM768, X25519, P-256 and P-384.";
const OF_SOCKETS: &str = "Of Unix sockets.";

#[rustfmt::skip] // a row to a line
pub(super) const PARAMETERS: &[Parameter<Parameters>] = &[
    with(0, row("v4v6", "", |bind, _| { bind.v6_only = false; Ok(()) }, "two entries", "Both families stand beside each other.")),
    with(0, row("v6only", "", |bind, _| { bind.v6_only = true; Ok(()) }, "`\"[::]:80\"`", "")),
    with(0, needless("transparent", "", "addresses of a `[vip.*]` are bound on every node at any time; foreign ones need `net.ipv4.ip_nonlocal_bind`")),
    with(1, needless("name, id", "", "a listener is known by its address")),
    with(1, needless("nice", "", "no client goes before others")),
    with(1, needless("process, thread", "", "all workers take connections")),
    with(1, needless("shards", "", "each worker has a listener of its own")),
    with(1, needless("backlog", "", "the kernel's queue is as long as the system allows")),
    with(0, needless("defer-accept", "", "a connection costs little until it says something")),
    with(0, needless("tfo", "", "TCP Fast Open is not used")),
    with(1, needless("tcp-ut", "", "write `tcp_keepalive` for clients that vanished")),
    with(1, needless("mss", "", "the kernel chooses")),
    with(2, needless("expose-fd", "", "sockets need not be passed on for a reload, and `lbctl upgrade` passes them on by itself")),
    with(1, missing("interface", "", "write the address of that interface")),
    with(1, missing("namespace", "", "start lbctl in that namespace")),
    with(1, missing("maxconn", "", "write `maxconn` of the frontend")),
    with(1, row("mode", "", rights, "`mode`", OF_SOCKETS)),
    with(1, row("user", "", |bind, line| owner(bind, line, "user"), "`user`", OF_SOCKETS)),
    with(1, row("group", "", |bind, line| owner(bind, line, "group"), "`group`", OF_SOCKETS)),
    with(1, row("uid", "", |bind, line| owner(bind, line, "user"), "`user`", OF_SOCKETS)),
    with(1, row("gid", "", |bind, line| owner(bind, line, "group"), "`group`", OF_SOCKETS)),
    with(1, needless("level, severity-output", "", "only of the stats socket")),
    with(0, row("accept-proxy", "", |bind, _| { bind.accepts_proxy = true; Ok(()) }, "`accept_proxy`", "Of whoever connects; write the networks of the proxies in front.")),
    with(1, row("accept-netscaler-cip", "", unfit, "", "It is not there: the listener is left out, since its clients would be refused.")),
    with(1, row("proto", "", proto, "`http2`", "Of `h2`: with `ssl` it is `tls.alpn`. HTTP/1 is served as well.")),
    with(0, row("ssl", "", |bind, _| { bind.is_tls = true; Ok(()) }, "`tls`", "")),
    with(1, row("crt", "", |bind, line| { bind.tls.certificates.push(Certificates::Path(line.only()?.clone())); Ok(()) }, "`tls`", OF_CRT)),
    with(1, row("crt-list", "", |bind, line| { bind.tls.certificates.push(Certificates::List(line.only()?.clone())); Ok(()) }, "`tls.certificate.sni`", OF_LIST)),
    with(0, row("strict-sni", "", |bind, _| { bind.tls.strict_sni = true; Ok(()) }, "`tls.strict_sni`", "")),
    with(1, row("ssl-min-ver", "", |bind, line| tls::lowest(&mut bind.tls, line), "`tls.min_version`", OF_VERSIONS)),
    with(1, row("ssl-max-ver", "", |bind, line| tls::highest(&mut bind.tls, line), "`tls.max_version`", OF_VERSIONS)),
    with(0, row("no-sslv3, no-tlsv10, no-tlsv11, no-tlsv12, no-tlsv13, force-sslv3, force-tlsv10, force-tlsv11, force-tlsv12, force-tlsv13", "", |bind, line| tls::switch(&mut bind.tls, line), "`tls.min_version`, `tls.max_version`", OF_VERSIONS)),
    with(1, row("ciphers", "", |bind, line| { bind.tls.ciphers = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphers`", OF_CIPHERS)),
    with(1, row("ciphersuites", "", |bind, line| { bind.tls.ciphersuites = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphersuites`", OF_CIPHERS)),
    with(1, row("alpn", "", tls::protocols, "`tls.alpn`", "`h2`, `http/1.1` and `http/1.0`, in mode http. Where there is none, `http/1.1` alone, as before HAProxy 2.8.")),
    with(1, row("verify", "", tls::verify, "`tls.verify`", "")),
    with(1, row("ca-file", "", tls::authorities, "`tls.ca_file`", "With `verify`.")),
    with(1, row("ca-verify-file", "", tls::authorities, "`tls.ca_file`", "Clients are told its names as well.")),
    with(1, row("crl-file", "", |bind, line| { bind.tls.crl_file = Some(line.only()?.clone()); Ok(()) }, "`tls.crl_file`", "With `verify`.")),
    with(1, row("crt-ignore-err, ca-ignore-err", "", tls::ignored, "", "A client whose certificate is wrong is refused in its handshake.")),
    with(1, needless("client-sigalgs", "", "clients may sign with all that is understood")),
    with(1, missing("ca-sign-file, ca-sign-pass", "", "certificates are not made for who asks")),
    with(0, missing("generate-certificates", "", "certificates are not made for who asks")),
    with(0, needless("no-ca-names", "", "clients are told the names of the authorities")),
    with(1, row("curves", "", |bind, line| { bind.tls.curves = Some(line.only()?.clone()); Ok(()) }, "`tls.curves`", OF_CURVES)),
    with(1, missing("sigalgs", "", "each certificate signs with all that its key can, and that the client understands")),
    with(1, needless("ecdhe", "", "clients choose the group")),
    with(1, needless("npn", "", "nobody asks with NPN any more")),
    with(0, needless("no-alpn", "", "a client that gives http/1.1 as one of its protocols is told that it is spoken")),
    with(1, needless("tls-ticket-keys", "", "with a `secret_file` in `[cluster]` both nodes derive the keys of tickets from it")),
    with(0, row("no-tls-tickets", "", |bind, _| { bind.tls.no_tickets = true; Ok(()) }, "`tls.tickets`", "Sessions go on with tickets alone: without them each handshake is a full one.")),
    with(0, needless("allow-0rtt", "", "early data is not taken: clients send it behind the handshake")),
    with(0, row("prefer-client-ciphers", "", |bind, _| { bind.tls.prefers_client = true; Ok(()) }, "`tls.prefer_client_ciphers`", "")),
    with(1, needless("quic-cc-algo, quic-socket", "", "there is no QUIC")),
    with(0, needless("quic-force-retry", "", "there is no QUIC")),
];

/// `mode 660`
fn rights(bind: &mut Parameters, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    let Some(mode) = u32::from_str_radix(&word.text, 8).ok().filter(|mode| *mode <= 0o777) else {
        // Nobody shall have more rights than were meant.
        bind.is_unfit = true;
        let why = format!(
            "`{}` is no mode in octal digits, as in 660; the listener is left out",
            shown(&word.text)
        );
        return Err(Fault::at(word, why));
    };
    bind.owners.push(("mode", Value::Text(format!("{mode:04o}"))));
    Ok(())
}

fn owner(bind: &mut Parameters, directive: &Directive<'_>, key: &'static str) -> Done {
    let word = directive.only()?;
    let value = word.text.parse().map_or_else(|_| Value::text(&word.text), Value::Integer);
    bind.owners.retain(|(known, _)| *known != key);
    bind.owners.push((key, value));
    Ok(())
}

fn unfit(bind: &mut Parameters, directive: &Directive<'_>) -> Done {
    bind.is_unfit = true;
    let why = "it is not there; without it this listener would refuse its clients, so it is left out";
    Err(format!("`{}`: {why}", directive.keyword).into())
}

fn proto(bind: &mut Parameters, directive: &Directive<'_>) -> Done {
    match directive.get(0) {
        Some("h1") => Ok(()),
        Some("h2") => {
            bind.is_http2 = true;
            let why = "clients that begin with HTTP/1.1 are served as well here";
            directive.notes.differ(directive.span, why);
            Ok(())
        }
        _ => {
            bind.is_unfit = true;
            Err("`proto`: HTTP/1 and HTTP/2 are spoken here; this listener is left out".into())
        }
    }
}

/// `bind ADDRESSES [PARAMETERS]`
pub(super) fn read(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let Some((first, parameters)) = directive.arguments.split_first() else {
        return Err("`bind` takes an address with a port, and there is none".into());
    };
    add(proxy, first, parameters, directive.span, directive.notes)
}

/// `listen NAME ADDRESS:PORT [PARAMETERS]`: how HAProxy had it up to version 1.4.
pub(super) fn read_head(proxy: &mut Proxy, section: &Section, notes: &Notes<'_>) {
    let Some((first, parameters)) = section.head.words.get(2..).and_then(<[Word]>::split_first) else {
        return;
    };
    if first.text == "from" || !proxy.is_frontend() {
        return;
    }
    let end = parameters.iter().position(|word| word.text == "from").unwrap_or(parameters.len());
    let span = section.head.span();
    match add(proxy, first, &parameters[..end], span, notes) {
        Ok(()) => notes.advise(
            first.span,
            "an address behind the name of a section is how HAProxy had it up to version 1.4; converted to `bind`",
        ),
        Err(fault) => proxy.lose(span, fault, notes),
    }
}

fn add(proxy: &mut Proxy, addresses: &Word, words: &[Word], span: Span, notes: &Notes<'_>) -> Done {
    let mut parameters = Parameters::default();
    if !parameter::apply("bind", PARAMETERS, words, &mut parameters, notes) {
        proxy.lost.push(span);
    }
    if parameters.is_unfit {
        return Ok(());
    }
    if let Some((key, _)) = parameters.owners.first().filter(|_| !addresses.text.split(',').any(is_unix)) {
        notes.advise(span, format!("`{key}` is of Unix sockets: it is left out"));
    }
    if parameters.is_http2 {
        parameters.tls.alpn = vec![Alpn::H2.name()];
    }
    let tls = parameters.is_tls.then(|| parameters.tls.clone());
    if tls.is_none() && !parameters.tls.is_empty() {
        notes.advise(
            span,
            "without `ssl` it is in clear text, there as here: what it says of TLS is left out",
        );
    }
    for text in addresses.text.split(',') {
        for address in parse(text, &parameters).map_err(|why| Fault::at(addresses, why))? {
            let is_implied =
                matches!(address, Address::Socket(address) if address.is_ipv4()) && text.contains("::");
            if is_implied {
                let why = "a client of IPv4 is 192.0.2.1 here, in logs and headers as well, and ::ffff:192.0.2.1 in HAProxy: with `v6only` and a `bind` of its own for IPv4 it is the same in both";
                notes.differ(span, why);
            }
            let accepts_proxy = parameters.accepts_proxy;
            let is_http2 = parameters.is_http2 && tls.is_none();
            proxy.binds.push(Bind { address, is_implied, accepts_proxy, tls: tls.clone(), is_http2, span });
        }
    }
    Ok(())
}

/// `ssl-default-bind-options`: what it says of all listeners is added to `tls`.
pub(in crate::import::haproxy) fn tls_options(
    keyword: &str,
    words: &[Word],
    tls: &mut Tls,
    notes: &Notes<'_>,
) {
    let mut parameters = Parameters { tls: std::mem::take(tls), ..Parameters::default() };
    parameter::apply(keyword, PARAMETERS, words, &mut parameters, notes);
    *tls = parameters.tls;
}

/// Rights and owners alone, as `unix-bind` has them.
pub(in crate::import::haproxy) fn owners(
    keyword: &str,
    words: &[Word],
    notes: &Notes<'_>,
) -> Vec<(&'static str, Value)> {
    let mut parameters = Parameters::default();
    parameter::apply(keyword, PARAMETERS, words, &mut parameters, notes);
    parameters.owners
}

fn is_unix(text: &str) -> bool {
    !matches!(unix(text), Ok(None))
}

/// The path of a Unix socket, or `@` and its name, if it is one.
pub(super) fn unix(text: &str) -> Result<Option<String>, String> {
    if text.starts_with('/') {
        return Ok(Some(text.to_owned()));
    }
    match text.split_once('@') {
        Some(("unix", path)) => Ok(Some(path.to_owned())),
        Some(("abnsz", name)) => Ok(Some(format!("@{name}"))),
        Some(("abns", name)) => Err(format!(
            "`{}`: HAProxy fills the name with NULs, and nobody else does; with both sides changed, write `unix:@{}`",
            shown(text),
            shown(name)
        )),
        _ => Ok(None),
    }
}

/// One address, with a range of ports at most.
fn parse(text: &str, parameters: &Parameters) -> Result<Vec<Address>, String> {
    let wrong = || format!("`{}` is no address with a port, as in 192.0.2.10:80 or *:80", shown(text));
    if let Some(number) = text.strip_prefix("fd@") {
        let number = number.parse::<u64>().ok().filter(|number| (3..=1_048_575).contains(number));
        return match number {
            Some(number) => Ok(vec![Address::Descriptor(number)]),
            None => Err(format!("`{}` is no passed socket; they have numbers of 3 and more", shown(text))),
        };
    }
    let family = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@", "ipv4@tcp@"]
        .iter()
        .find(|family| text.starts_with(**family));
    let bare = family.map_or(text, |family| &text[family.len()..]);
    if let Some(path) = unix(text)? {
        return Ok(vec![Address::Unix(path, parameters.owners.clone())]);
    }
    if bare.contains('@') {
        return Err(format!("`{}`: this kind of address is not there", shown(text)));
    }
    let (host, ports) = bare.rsplit_once(':').ok_or_else(wrong)?;
    let (low, high) = match ports.split_once('-') {
        Some((low, high)) => {
            (low.parse::<u16>().map_err(|_| wrong())?, high.parse::<u16>().map_err(|_| wrong())?)
        }
        None => {
            let port = ports.parse::<u16>().map_err(|_| wrong())?;
            (port, port)
        }
    };
    if low == 0 || low > high {
        return Err(wrong());
    }
    if u32::from(high - low) >= MOST_PORTS {
        return Err(format!("`{}` is more than {MOST_PORTS} ports; write those that are used", shown(text)));
    }
    let is_v6 = family.is_some_and(|family| family.contains('6'));
    let hosts = match host.trim_matches(['[', ']']) {
        "" | "*" if is_v6 => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        "" | "*" | "0.0.0.0" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        "::" if parameters.v6_only => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        // Linux gives it both families unless `net.ipv6.bindv6only` says otherwise.
        "::" => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host => vec![host.parse().map_err(|_| {
            format!("`{}`: a listener needs an address; names are not looked up here", shown(text))
        })?],
    };
    let each = |port| hosts.iter().map(move |host| Address::Socket(SocketAddr::new(*host, port)));
    Ok((low..=high).flat_map(each).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<String>, String> {
        let show = |address: Address| match address {
            Address::Socket(address) => address.to_string(),
            Address::Descriptor(number) => format!("fd {number}"),
            Address::Unix(path, _) => format!("unix {path}"),
        };
        Ok(parse(text, &Parameters::default())?.into_iter().map(show).collect())
    }

    #[test]
    fn addresses_are_those_of_haproxy() {
        let cases: [(&str, &[&str]); 13] = [
            (":80", &["0.0.0.0:80"]),
            ("*:80", &["0.0.0.0:80"]),
            ("192.0.2.1:80", &["192.0.2.1:80"]),
            ("ipv4@*:80", &["0.0.0.0:80"]),
            ("ipv6@:80", &["[::]:80"]),
            (":::80", &["[::]:80", "0.0.0.0:80"]),
            ("[2001:db8::1]:80", &["[2001:db8::1]:80"]),
            ("2001:db8::1:80", &["[2001:db8::1]:80"]),
            ("*:80-82", &["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:82"]),
            ("fd@5", &["fd 5"]),
            ("/run/app.sock", &["unix /run/app.sock"]),
            ("unix@/run/app.sock", &["unix /run/app.sock"]),
            ("abnsz@app", &["unix @app"]),
        ];
        for (text, addresses) in cases {
            assert_eq!(parsed(text).unwrap(), addresses, "{text}");
        }
        for text in [
            "",
            "80",
            "*",
            "*:0",
            "*:82-80",
            "*:1-60000",
            "*:70000",
            "www:80",
            "fd@1",
            "fd@x",
            "abns@x",
            "quic4@:443",
            "1.2.3.4:x",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
