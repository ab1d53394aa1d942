//! `server`, `default-server`, `server-template`, `dispatch`, and what may stand behind them.

use std::net::Ipv6Addr;

use super::{
    Proxy, bind,
    parameter::{self, Parameter, with},
    server_tls::{self, ServerTls},
    source::{NO_CLIENT, Source},
    tls::{self, Tls},
};
use crate::{
    config::{diagnostic::Span, text::write_duration},
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            lexer::Word,
            table::{missing, needless, row},
            values,
        },
    },
};

/// A server.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Server {
    pub(in crate::import::haproxy) name: Word,
    /// Or `unix:` and a path.
    pub(in crate::import::haproxy) host: String,
    /// Without one it is the port that the client connected to.
    pub(in crate::import::haproxy) port: Option<u16>,
    pub(in crate::import::haproxy) span: Span,
    /// Keys of its own table.
    pub(in crate::import::haproxy) own: Vec<(&'static str, Value)>,
    pub(in crate::import::haproxy) cookie: Option<Word>,
    pub(in crate::import::haproxy) source: Option<Source>,
    pub(in crate::import::haproxy) tls: ServerTls,
    /// It is spoken to in HTTP/2.
    pub(in crate::import::haproxy) is_http2: bool,
    /// The version of the PROXY header that it gets.
    pub(in crate::import::haproxy) send_proxy: Option<&'static str>,
    pub(in crate::import::haproxy) proxy_extensions: Vec<&'static str>,
    /// What our file has for a whole backend.
    pub(in crate::import::haproxy) shared: Vec<Shared>,
    pub(in crate::import::haproxy) check: Option<Span>,
    /// It takes its state from this one: `BACKEND/SERVER`.
    pub(in crate::import::haproxy) track: Option<Word>,
    pub(in crate::import::haproxy) agent: Option<Span>,
    /// It begins in maintenance.
    pub(in crate::import::haproxy) disabled: Option<Span>,
    /// It would not understand what it is told without something that is not there.
    pub(in crate::import::haproxy) is_unfit: bool,
}

/// A setting of a server that is one of its backend with us.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Shared {
    pub(in crate::import::haproxy) key: &'static str,
    pub(in crate::import::haproxy) value: Value,
    pub(in crate::import::haproxy) span: Span,
}

/// Servers that one template may stand for.
const MOST: u32 = 256;

const OF_SOCKS: &str =
    "servers are connected to directly, and this one is behind another proxy: it is left out";
const OF_PROXY_SSL: &str = "With `ssl` or `cert-cn` among `send_proxy.extensions`. Who has shown no certificate has none that is good here; HAProxy says it is.";

#[rustfmt::skip] // a row to a line
pub(super) const PARAMETERS: &[Parameter<Server>] = &[
    with(0, row("check", "", |server, line| { server.check = Some(line.span); Ok(()) }, "`check`", "Of the whole backend: all of its servers are checked or none.")),
    with(0, row("no-check", "", |server, _| { server.check = None; Ok(()) }, "", "")),
    with(1, row("inter", "", |server, line| time(server, line, "check.interval"), "`check.interval`, `check_interval`", "Of the backend where most servers have it, else of the server.")),
    with(1, row("fastinter", "", |server, line| time(server, line, "check.fast_interval"), "`check.fast_interval`, `check_fast_interval`", "Of the backend where most servers have it, else of the server.")),
    with(1, row("downinter", "", |server, line| time(server, line, "check.down_interval"), "`check.down_interval`, `check_down_interval`", "Of the backend where most servers have it, else of the server.")),
    with(1, row("rise", "", |server, line| number(server, line, "check.rise"), "`check.rise`, `check_rise`", "Of the backend where most servers have it, else of the server.")),
    with(1, row("fall", "", |server, line| number(server, line, "check.fall"), "`check.fall`, `check_fall`", "Of the backend where most servers have it, else of the server.")),
    with(1, row("port", "", |server, line| own(server, line, "check_port"), "`check_port`", "")),
    with(1, row("addr", "", |server, line| own_text(server, line, "check_address"), "`check_address`", "")),
    with(1, row("weight", "", |server, line| own(server, line, "weight"), "`weight`", "")),
    with(0, row("backup", "", |server, _| { put(server, "backup", Value::Flag(true)); Ok(()) }, "`backup`", "")),
    with(0, row("no-backup", "", |server, _| { server.own.retain(|(key, _)| *key != "backup"); Ok(()) }, "", "")),
    with(1, row("maxconn", "", |server, line| own(server, line, "maxconn"), "`maxconn`", "")),
    with(1, row("minconn", "", |server, line| own(server, line, "minconn"), "`minconn`", "")),
    with(1, row("cookie", "", |server, line| { server.cookie = line.arguments.first().cloned(); Ok(()) }, "`cookie`", "Two servers of a backend can't have one value.")),
    with(1, row("slowstart", "", |server, line| time(server, line, "slowstart"), "`slowstart`", "Of the backend.")),
    with(1, row("max-reuse", "", |server, line| number(server, line, "pool.max_requests"), "`pool.max_requests`", "Of the backend; one more, since it counts requests.")),
    with(1, row("observe", "", |server, line| shared_text(server, line, "observe.layer"), "`observe.layer`", "Of the backend.")),
    with(1, row("error-limit", "", |server, line| number(server, line, "observe.error_limit"), "`observe.error_limit`", "Of the backend.")),
    with(1, row("on-error", "", |server, line| shared_text(server, line, "observe.on_error"), "`observe.on_error`", "Of the backend.")),
    with(1, row("on-marked-down", "", |server, line| shared_text(server, line, "on_marked_down"), "`on_marked_down`", "Of the backend.")),
    with(0, row("agent-check", "", |server, line| { server.agent = Some(line.span); Ok(()) }, "`agent_check`", "Of the backend.")),
    with(0, row("no-agent-check", "", |server, _| { server.agent = None; Ok(()) }, "", "")),
    with(1, row("agent-port", "", |server, line| number(server, line, "agent_check.port"), "`agent_check.port`", "Of the backend.")),
    with(1, row("agent-addr", "", |server, line| shared_text(server, line, "agent_check.address"), "`agent_check.address`", "Of the backend.")),
    with(1, row("agent-inter", "", |server, line| time(server, line, "agent_check.interval"), "`agent_check.interval`", "Of the backend.")),
    with(1, row("agent-send", "", |server, line| shared_text(server, line, "agent_check.send"), "`agent_check.send`", "Of the backend.")),
    with(0, row("disabled", "", |server, line| { server.disabled = Some(line.span); Ok(()) }, "`disabled`", "It begins in maintenance, until `lbctl server BACKEND/SERVER ready`.")),
    with(0, row("enabled", "", |server, _| { server.disabled = None; Ok(()) }, "", "That is what a server is.")),
    with(1, needless("id, guid", "", "servers are known by their names")),
    with(1, needless("resolvers", "", "names are looked up with `nameservers` of `[global]`, or those of the system")),
    with(1, needless("init-addr", "", "the daemon starts in any case; a name that never resolved is a server that is down")),
    with(1, needless("init-state", "", "a server is used after its first good check, unless nothing else is left")),
    with(1, needless("resolve-prefer", "", "A is asked for, and AAAA only where there is no A")),
    with(1, needless("resolve-opts", "", "servers with one name spread over its addresses")),
    with(1, missing("resolve-net", "", "which of a name's addresses is nearest is not asked")),
    with(1, needless("pool-low-conn", "", "each worker keeps its own idle connections")),
    with(1, needless("pool-max-conn", "", "each worker keeps 64 idle connections for a server, or as many as were lately used at once")),
    with(1, needless("pool-purge-delay", "", "`pool.idle` closes them after 4s")),
    with(1, needless("log-proto", "", "only of log servers")),
    with(1, missing("maxqueue", "", "a line is as long as `timeout.queue` lets it be: make that shorter")),
    with(1, row("track", "", |server, line| { server.track = Some(line.only()?.clone()); Ok(()) }, "`check`, `check_port`, `check_address`", "The server is asked what the other one is asked, and where; of the whole backend.")),
    with(1, missing("redir", "", "write a rule with `redirect`")),
    with(1, missing("on-marked-up", "", "sessions on a backup server go on")),
    with(0, needless("stick", "", "that is what a server is")),
    with(0, missing("non-stick", "", "`stick` of the backend is for all of its servers")),
    with(1, row("source", "", |server, line| { server.source = Some(Source::parse(line.only()?)?); Ok(()) }, "`source`", "")),
    with(1, missing("usesrc", "", NO_CLIENT)),
    with(1, row("interface", "", interface, "`source.interface`", "Behind `source`.")),
    with(1, missing("namespace", "", "start lbctl in that namespace")),
    with(1, row("socks4", "", |server, line| unfit(server, line, OF_SOCKS), "", OF_SOCKS)),
    with(0, needless("check-via-socks4", "", "servers are checked directly")),
    with(0, row("send-proxy", "", |server, _| { server.send_proxy = Some("v1"); Ok(()) }, "`send_proxy`", "")),
    with(0, row("send-proxy-v2", "", |server, _| { server.send_proxy = Some("v2"); Ok(()) }, "`send_proxy`", "")),
    with(0, row("send-proxy-v2-ssl", "", send_proxy_ssl, "`send_proxy`", OF_PROXY_SSL)),
    with(0, row("send-proxy-v2-ssl-cn", "", send_proxy_ssl, "`send_proxy`", OF_PROXY_SSL)),
    with(0, row("check-send-proxy", "", |server, _| { put(server, "check_send_proxy", Value::Flag(true)); Ok(()) }, "`check_send_proxy`", "")),
    with(1, row("proxy-v2-options", "", proxy_options, "`send_proxy.extensions`", "`crc32c`, `authority`, `unique-id`, `ssl`, `cert-cn` and `ssl-cipher`. What ALPN agreed on is told by HAProxy unasked, and here with the extension `alpn`.")),
    with(1, missing("set-proxy-v2-tlv-fmt", "", "a server is told of the client, and of what `send_proxy.extensions` names")),
    with(0, row("no-send-proxy", "", |server, _| { server.send_proxy = None; Ok(()) }, "", "")),
    with(0, row("no-send-proxy-v2", "", |server, _| { server.send_proxy = None; Ok(()) }, "", "")),
    with(0, row("no-send-proxy-v2-ssl", "", |server, _| { server.send_proxy = None; Ok(()) }, "", "")),
    with(0, row("no-send-proxy-v2-ssl-cn", "", |server, _| { server.send_proxy = None; Ok(()) }, "", "")),
    with(0, row("no-check-send-proxy", "", |server, _| { server.own.retain(|(key, _)| *key != "check_send_proxy"); Ok(()) }, "", "")),
    with(1, row("proto", "", proto, "`http2`, `tls.alpn`", "`h1` is what is spoken, and `h2` with `ssl` is `alpn = \"h2\"`; a server for another one is left out.")),
    with(1, needless("check-proto", "", "checks over HTTP speak what the traffic does where they go to the same place")),
    with(1, needless("ws", "", "WebSocket is HTTP/1.1 towards servers")),
    with(1, missing("tcp-ut", "", "write `tcp_keepalive` for servers that vanished")),
    with(0, needless("tfo, no-tfo", "", "TCP Fast Open is not used")),
    with(1, missing("shard", "", "only of peers")),
    with(0, row("ssl", "", |server, line| { server.tls.ssl = Some(line.span); Ok(()) }, "`tls`", "")),
    with(0, row("no-ssl", "", |server, _| { server.tls.ssl = None; Ok(()) }, "", "")),
    with(0, row("check-ssl", "", |server, _| { server.tls.check_ssl = true; Ok(()) }, "`check_tls`", "")),
    with(0, row("no-check-ssl", "", |server, _| { server.tls.check_ssl = false; Ok(()) }, "", "Checks go the way of the traffic where they go to the same place.")),
    with(1, row("verify", "", server_tls::verify, "`tls.verify`", "With `required` the name is that of `sni`, else of `verifyhost`; without both it is not looked at: `\"chain\"`.")),
    with(1, row("ca-file", "", |server, line| { server.tls.ca_file = Some(line.only()?.clone()); Ok(()) }, "`tls.ca_file`", "`@system-ca` is what there is without it.")),
    with(1, row("crl-file", "", |server, line| { server.tls.crl_file = Some(line.only()?.clone()); Ok(()) }, "`tls.crl_file`", "")),
    with(1, row("crt", "", |server, line| { server.tls.certificate = Some(line.only()?.clone()); Ok(()) }, "`tls.certificate`", "")),
    with(1, row("sni", "", server_tls::sni, "`tls.sni`", "`str(NAME)` and `req.hdr(host)`.")),
    with(1, row("verifyhost", "", |server, line| { server.tls.verify_host = Some(line.only()?.clone()); Ok(()) }, "`tls.verify_name`", "Without `sni`, as in HAProxy.")),
    with(0, row("no-verifyhost", "", |server, _| { server.tls.verify_host = None; Ok(()) }, "", "")),
    with(1, row("check-sni", "", |server, line| { server.tls.check_sni = Some(line.only()?.clone()); Ok(()) }, "`check_sni`", "")),
    with(1, row("alpn", "", |server, line| { server.tls.alpn = Some(line.only()?.clone()); Ok(()) }, "`tls.alpn`", "In mode http `h2` and `http/1.1`.")),
    with(1, row("ciphers", "", |server, line| { server.tls.spoken.ciphers = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphers`", "")),
    with(1, row("ciphersuites", "", |server, line| { server.tls.spoken.ciphersuites = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphersuites`", "")),
    with(1, row("ssl-min-ver", "", |server, line| tls::lowest(&mut server.tls.spoken, line), "`tls.min_version`", "")),
    with(1, row("ssl-max-ver", "", |server, line| tls::highest(&mut server.tls.spoken, line), "`tls.max_version`", "")),
    with(0, row("no-sslv3, no-tlsv10, no-tlsv11, no-tlsv12, no-tlsv13, force-sslv3, force-tlsv10, force-tlsv11, force-tlsv12, force-tlsv13", "", |server, line| tls::switch(&mut server.tls.spoken, line), "`tls.min_version`, `tls.max_version`", "Versions before TLS 1.2 are not there.")),
    with(0, needless("ssl-reuse, no-ssl-reuse, tls-tickets, no-tls-tickets", "", "a session goes on where the server lets it")),
    with(0, needless("allow-0rtt", "", "nothing is sent before a handshake is over")),
    with(1, needless("npn", "", "it is no part of TLS any more")),
    with(1, needless("check-alpn", "", "checks offer what the traffic does")),
    with(1, missing("sigalgs, client-sigalgs", "", "all that are there are offered")),
    with(1, row("curves", "", |server, line| { server.tls.spoken.curves = Some(line.only()?.clone()); Ok(()) }, "`tls.curves`", bind::OF_CURVES)),
];

/// `server NAME ADDRESS [PARAMETERS]`
pub(super) fn read(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let [name, address, parameters @ ..] = directive.arguments else {
        return Err("`server` takes a name and an address".into());
    };
    let (host, port) = address_of(address)?;
    add(proxy, name.clone(), (host, port), parameters, directive);
    Ok(())
}

/// `default-server PARAMETERS`: what it says comes before what the lines of servers say.
pub(super) fn default(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let mut probe =
        empty(Word { text: String::new(), span: directive.span }, String::new(), None, directive.span);
    if !parameter::apply("server", PARAMETERS, directive.arguments, &mut probe, directive.notes) {
        proxy.lost.push(directive.span);
    }
    proxy.default_server.extend_from_slice(directive.arguments);
    Ok(())
}

/// `ssl-default-server-options`: what servers say of TLS that say nothing themselves.
pub(in crate::import::haproxy) fn tls_options(directive: &Directive<'_>) -> Tls {
    let mut probe =
        empty(Word { text: String::new(), span: directive.span }, String::new(), None, directive.span);
    parameter::apply(
        "ssl-default-server-options",
        PARAMETERS,
        directive.arguments,
        &mut probe,
        directive.notes,
    );
    probe.tls.spoken
}

/// `server-template PREFIX COUNT|LOW-HIGH ADDRESS [PARAMETERS]`
pub(super) fn template(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let [prefix, count, address, parameters @ ..] = directive.arguments else {
        return Err("`server-template` takes a name, a number and an address".into());
    };
    let bounds = match count.text.split_once('-') {
        Some((low, high)) => low.parse::<u32>().ok().zip(high.parse::<u32>().ok()),
        None => count.text.parse::<u32>().ok().map(|high| (1, high)),
    };
    let Some((low, high)) = bounds.filter(|(low, high)| low <= high) else {
        return Err(Fault::at(
            count,
            format!("`{}` is no number of servers, as in 5 or 1-5", shown(&count.text)),
        ));
    };
    if high - low >= MOST {
        return Err(Fault::at(
            count,
            format!("`{}` is more than {MOST} servers; write those that are there", count.text),
        ));
    }
    if address.text.starts_with('_') {
        return Err(Fault::at(address, "SRV records are not there; write a name and a port"));
    }
    let at = address_of(address)?;
    for number in low..=high {
        let name = Word { text: format!("{}{number}", prefix.text), span: prefix.span };
        // What is wrong with a parameter is said once.
        let quiet = crate::import::notes::Notes::new("", false);
        let directive = if number == low { *directive } else { Directive { notes: &quiet, ..*directive } };
        add(proxy, name, at.clone(), parameters, &directive);
    }
    Ok(())
}

/// `dispatch ADDRESS:PORT`: one server without a check.
pub(super) fn dispatch(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let address = directive.only()?;
    let at = address_of(address)?;
    let name = Word { text: "dispatch".into(), span: address.span };
    proxy.servers.push(empty(name, at.0, at.1, directive.span));
    Ok(())
}

fn add(
    proxy: &mut Proxy,
    name: Word,
    at: (String, Option<u16>),
    parameters: &[Word],
    directive: &Directive<'_>,
) {
    let mut server = empty(name, at.0, at.1, directive.span);
    // Those of `default-server` have been told of already.
    let quiet = crate::import::notes::Notes::new("", false);
    parameter::apply("server", PARAMETERS, &proxy.default_server, &mut server, &quiet);
    if !parameter::apply("server", PARAMETERS, parameters, &mut server, directive.notes) {
        proxy.lost.push(directive.span);
    }
    if !server.is_unfit {
        proxy.servers.push(server);
    }
}

fn empty(name: Word, host: String, port: Option<u16>, span: Span) -> Server {
    Server {
        name,
        host,
        port,
        span,
        own: Vec::new(),
        cookie: None,
        source: None,
        tls: ServerTls::default(),
        is_http2: false,
        send_proxy: None,
        proxy_extensions: Vec::new(),
        shared: Vec::new(),
        check: None,
        track: None,
        agent: None,
        disabled: None,
        is_unfit: false,
    }
}

/// Host and port, as our file takes them.
fn address_of(word: &Word) -> Result<(String, Option<u16>), Fault> {
    let text = word.text.as_str();
    let wrong =
        || Fault::at(word, format!("`{}` is no address of a server, as in 192.0.2.21:80", shown(text)));
    if let Some(path) = bind::unix(text).map_err(|why| Fault::at(word, why))? {
        return Ok((format!("unix:{path}"), None));
    }
    let family =
        ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"].iter().find(|family| text.starts_with(**family));
    let text = family.map_or(text, |family| &text[family.len()..]);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => (text, ""),
    };
    if port.starts_with(['+', '-']) {
        return Err(Fault::at(
            word,
            "a port that follows the client's is not there; write one server for each port",
        ));
    }
    let port = match port {
        "" => None,
        port => Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
    };
    let host = host.trim_matches(['[', ']']);
    if matches!(host, "" | "*" | "0.0.0.0" | "::") {
        return Err(Fault::at(
            word,
            "a server without an address would be where the client wanted to go; write the server's",
        ));
    }
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
    // The reader of our own files has the last word on what a host is.
    match crate::config::text::server_address(&format!("{host}:{}", port.unwrap_or(80))) {
        Ok(_) => Ok((host, port)),
        Err(why) => Err(Fault::at(word, format!("`{}` {why}", shown(text)))),
    }
}

fn interface(server: &mut Server, directive: &Directive<'_>) -> Done {
    server.source.get_or_insert_default().set_interface(&directive.only()?.text);
    Ok(())
}

fn unfit(server: &mut Server, directive: &Directive<'_>, why: &str) -> Done {
    server.is_unfit = true;
    Err(format!("`{}`: {why}", directive.keyword).into())
}

fn proto(server: &mut Server, directive: &Directive<'_>) -> Done {
    server.is_http2 = directive.get(0) == Some("h2");
    if server.is_http2 || directive.get(0) == Some("h1") {
        return Ok(());
    }
    unfit(server, directive, "servers are spoken to in HTTP/1.1 or HTTP/2: it is left out")
}

fn send_proxy_ssl(server: &mut Server, directive: &Directive<'_>) -> Done {
    server.send_proxy = Some("v2");
    tell(server, "ssl");
    if directive.keyword.ends_with("-cn") {
        tell(server, "cert-cn");
    }
    Ok(())
}

fn proxy_options(server: &mut Server, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    let mut unknown = None;
    for option in word.text.split(',') {
        match ["crc32c", "authority", "unique-id", "ssl", "cert-cn", "ssl-cipher"]
            .into_iter()
            .find(|known| *known == option)
        {
            Some(known) => tell(server, known),
            None => unknown = Some(option),
        }
    }
    match unknown {
        None => Ok(()),
        Some(option) => Err(Fault::at(word, format!("`{}` is not told to servers here", shown(option)))),
    }
}

/// What is said is said, also by other words.
fn tell(server: &mut Server, extension: &'static str) {
    if !server.proxy_extensions.contains(&extension) {
        server.proxy_extensions.push(extension);
    }
}

fn put(server: &mut Server, key: &'static str, value: Value) {
    server.own.retain(|(known, _)| *known != key);
    server.own.push((key, value));
}

fn own(server: &mut Server, directive: &Directive<'_>, key: &'static str) -> Done {
    let number = values::number(directive.only()?)?;
    // 0 connections are no limit there.
    if number > 0 || key == "weight" {
        put(server, key, Value::Integer(number));
    }
    Ok(())
}

fn own_text(server: &mut Server, directive: &Directive<'_>, key: &'static str) -> Done {
    put(server, key, Value::text(&directive.only()?.text));
    Ok(())
}

fn share(server: &mut Server, key: &'static str, value: Value, span: Span) {
    server.shared.retain(|shared| shared.key != key);
    server.shared.push(Shared { key, value, span });
}

fn time(server: &mut Server, directive: &Directive<'_>, key: &'static str) -> Done {
    let time = values::time(directive.only()?)?;
    share(server, key, Value::Text(write_duration(time)), directive.span);
    Ok(())
}

fn number(server: &mut Server, directive: &Directive<'_>, key: &'static str) -> Done {
    let number = values::number(directive.only()?)?;
    let number = if key == "pool.max_requests" { number.saturating_add(1) } else { number };
    share(server, key, Value::Integer(number), directive.span);
    Ok(())
}

fn shared_text(server: &mut Server, directive: &Directive<'_>, key: &'static str) -> Done {
    let word = directive.only()?;
    let text = match (key, word.text.as_str()) {
        ("on_marked_down", "shutdown-sessions") => "shutdown-sessions",
        ("on_marked_down", other) => {
            return Err(Fault::at(word, format!("`on-marked-down {}` is not there", shown(other))));
        }
        (_, text) => text,
    };
    share(server, key, Value::text(text), directive.span);
    Ok(())
}
