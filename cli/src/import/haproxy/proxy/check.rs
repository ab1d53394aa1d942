//! What servers are asked: `option httpchk` and its like, `http-check`, `tcp-check`.

use std::time::Duration;

use super::Proxy;
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            lexer::Word,
            regex,
            table::{Row, missing, needless, row},
            values,
        },
    },
};

/// What a section says about checks.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Checks {
    kind: Kind,
    /// Where it says what kind.
    pub(in crate::import::haproxy) span: Option<Span>,
    http: Http,
    /// Steps of `tcp-check`.
    steps: Vec<Value>,
    port: Option<u64>,
    /// They go over TLS there.
    is_tls: bool,
    pub(in crate::import::haproxy) timeout: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    Connect,
    Http,
    Sequence,
    /// A key of our `check`, and its value.
    Other(&'static str, Value),
}

#[derive(Clone, Debug, Default)]
struct Http {
    method: Option<String>,
    path: Option<String>,
    version: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    /// Statuses that are wanted, and content; then those that are not.
    expect: [Expect; 2],
    disable_on_404: bool,
}

#[derive(Clone, Debug, Default)]
struct Expect {
    status: Option<Value>,
    content: Option<(&'static str, Value)>,
}

const CONNECTION: &str = "servers are checked with a connection";
const LDAP: &str = "servers are checked with a connection; `check.sequence` can send and expect bytes";
const EXTERNAL: &str = "no program is started; servers are checked with a connection, and `agent_check` asks a program over there";

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("option httpchk", "dlb", httpchk, "`check.http`", "Its defaults are written: OPTIONS, HTTP/1.0. A Host is always sent here: the server's address, unless the file has another."),
    row("http-check send", "dlb", send, "`check.http`", "`body` and headers are texts here."),
    row("http-check expect", "dlb", expect, "`check.http.expect`, `check.http.expect_not`", "One status and one content for each; `hdr` and the messages are not there."),
    row("http-check disable-on-404", "dlb", |proxy, _| { proxy.checks.http.disable_on_404 = true; Ok(()) }, "`check.disable_on_404`", ""),
    row("http-check connect", "dlb", connect, "`check.port`", "With `port` alone."),
    needless("http-check comment", "dlb", "write a comment"),
    missing("http-check send-state", "dlb", "servers are not told of their state"),
    missing("http-check set-var, http-check set-var-fmt, http-check unset-var", "dlb", "checks have no variables"),
    row("option tcp-check", "dlb", |proxy, line| choose(proxy, line, Kind::Sequence), "`check.sequence`", "Without steps it is a connection."),
    row("tcp-check connect", "dlb", connect, "`{ connect = true }`, `check.port`", "Only as the first step, with `port` alone."),
    row("tcp-check send", "dlb", |proxy, line| step(proxy, line, "send"), "`{ send = .. }`", ""),
    row("tcp-check send-binary", "dlb", |proxy, line| step(proxy, line, "send_hex"), "`{ send_hex = .. }`", ""),
    row("tcp-check expect", "dlb", expect_step, "`{ expect = .. }` and its like", ""),
    needless("tcp-check comment", "dlb", "write a comment"),
    missing("tcp-check send-lf, tcp-check send-binary-lf", "dlb", "steps are texts without variables"),
    missing("tcp-check set-var, tcp-check set-var-fmt, tcp-check unset-var", "dlb", "checks have no variables"),
    row("option mysql-check", "dlb", mysql, "`check.mysql`", ""),
    row("option pgsql-check", "dlb", pgsql, "`check.pgsql`", ""),
    row("option smtpchk", "dlb", smtp, "`check.smtp`", "A greeting of several lines is one; HAProxy fails it."),
    row("option redis-check", "dlb", |proxy, line| choose(proxy, line, Kind::Other("redis", Value::Flag(true))), "`check.redis`", ""),
    row("option ldap-check", "dlb", |proxy, line| absent(proxy, line, LDAP), "", LDAP),
    row("option ssl-hello-chk", "dlb", ssl_hello, "`check.sequence`", "The hello, and what begins an answer to it, as bytes. The result is L7OK here, L6OK there."),
    row("option spop-check", "dlb", |proxy, line| absent(proxy, line, CONNECTION), "", CONNECTION),
    row("option external-check", "dlb", |proxy, line| absent(proxy, line, EXTERNAL), "", EXTERNAL),
    missing("external-check command, external-check path", "dlb", "no program is started"),
];

fn choose(proxy: &mut Proxy, directive: &Directive<'_>, kind: Kind) -> Done {
    if directive.negated {
        proxy.checks.kind = Kind::Connect;
        return Ok(());
    }
    (proxy.checks.kind, proxy.checks.span) = (kind, Some(directive.span));
    Ok(())
}

/// A ClientHello of SSL 3.0, as HAProxy sends one, and what it takes for an answer: the beginning of a handshake or of an alert.
fn ssl_hello(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    const CIPHERS: &str = "002f0035000a00050004";
    let body = format!("0300{}00{:04x}{CIPHERS}0100", "4c".repeat(32), CIPHERS.len() / 2);
    let message = format!("01{:06x}{body}", body.len() / 2);
    let hello = format!("160300{:04x}{message}", message.len() / 2);
    let steps = [("send_hex", Value::Text(hello)), ("expect_regex", Value::text(r"^[\x15\x16]"))];
    let steps = steps.map(|step| Value::table([step])).to_vec();
    choose(proxy, directive, Kind::Other("sequence", Value::List(steps)))
}

/// The check that comes last counts, so one that is not there takes the place of those before it all the same.
fn absent(proxy: &mut Proxy, directive: &Directive<'_>, instead: &str) -> Done {
    choose(proxy, directive, Kind::Connect)?;
    match directive.negated {
        true => Ok(()),
        false => Err(format!("`{}`: {instead}", directive.keyword).into()),
    }
}

/// `option httpchk [URI | METHOD URI [VERSION]]`. Old files have headers behind the version: `HTTP/1.1\r\nHost:\ x`.
fn httpchk(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    choose(proxy, directive, Kind::Http)?;
    let http = &mut proxy.checks.http;
    let (method, path, version) = match directive.arguments {
        [] => return Ok(()),
        [path] => (None, path, None),
        [method, path] => (Some(method), path, None),
        [method, path, version, ..] => (Some(method), path, Some(version)),
    };
    http.method = method.map(|word| word.text.clone());
    http.path = Some(path.text.clone());
    let Some(version) = version else { return Ok(()) };
    // Old files put headers behind the version, and spaces between them without a backslash.
    let rest: Vec<_> = directive.arguments[2..].iter().map(|word| word.text.as_str()).collect();
    let rest = rest.join(" ");
    let mut lines = rest.split("\r\n");
    http.version = lines.next().map(|version| version.trim().to_owned());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        match line.split_once(':') {
            Some((name, value)) => add_header(&mut http.headers, name.trim(), value.trim()),
            None => directive.lose(version, format!("`{}` behind the version is no header", shown(line))),
        }
    }
    Ok(())
}

fn add_header(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.push((name.to_owned(), value.to_owned()));
}

fn send(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let http = &mut proxy.checks.http;
    let mut words = directive.arguments.iter();
    while let Some(word) = words.next() {
        let mut next = || {
            let next = words.next().map(|word| word.text.clone());
            next.ok_or_else(|| {
                Fault::at(word, format!("`{}` takes a value, and there is none", shown(&word.text)))
            })
        };
        match word.text.as_str() {
            "meth" => http.method = Some(next()?),
            "uri" => http.path = Some(next()?),
            "ver" => http.version = Some(next()?),
            "hdr" => {
                let (name, value) = (next()?, next()?);
                if value.contains('%') {
                    return Err(Fault::at(word, "a header of a check is text without variables"));
                }
                add_header(&mut http.headers, &name, &value);
            }
            "body" => http.body = Some(next()?),
            "comment" => drop(next()?),
            other => {
                return Err(Fault::at(word, format!("`{}` of `http-check send` is not there", shown(other))));
            }
        }
    }
    Ok(())
}

/// What stands before `!`, a kind and a pattern, and only matters for messages.
fn skip_messages(words: &[Word]) -> &[Word] {
    const MESSAGES: [&str; 8] = [
        "min-recv",
        "comment",
        "ok-status",
        "error-status",
        "tout-status",
        "on-success",
        "on-error",
        "status-code",
    ];
    let mut words = words;
    while let [first, _, rest @ ..] = words {
        if !MESSAGES.contains(&first.text.as_str()) {
            break;
        }
        words = rest;
    }
    words
}

/// Turned around or not, the kind, the pattern.
fn pattern<'l>(directive: &Directive<'l>) -> Result<(usize, &'l Word, &'l Word), Fault> {
    match skip_messages(directive.arguments) {
        [not, kind, pattern] if not.text == "!" => Ok((1, kind, pattern)),
        [kind, pattern] => Ok((0, kind, pattern)),
        [first, ..] => {
            let instead = match directive.keyword.starts_with("http-check") {
                true => {
                    "write `status`, `rstatus`, `string` or `rstring`, which are: without one 2xx and 3xx are good, and nothing else"
                }
                false => "write `string`, `rstring` or `binary`, which are",
            };
            Err(Fault::at(first, format!("`{}` is not there; {instead}", shown(&first.text))))
        }
        [] => Err(format!("`{}` takes what is expected", directive.keyword).into()),
    }
}

fn expect(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let (not, kind, pattern) = pattern(directive)?;
    let expect = &mut proxy.checks.http.expect[not];
    let twice = || Fault::at(kind, "one status and one content can be expected; this one is a second");
    match kind.text.as_str() {
        "status" | "rstatus" => {
            let ranges = if kind.text == "status" { statuses(pattern)? } else { matching_statuses(pattern)? };
            if expect.status.replace(ranges).is_some() {
                return Err(twice());
            }
        }
        "string" | "rstring" => {
            let value = match kind.text.as_str() {
                "string" => ("string", Value::text(&pattern.text)),
                _ => ("regex", Value::Text(regex::convert(pattern, false)?)),
            };
            if expect.content.replace(value).is_some() {
                return Err(twice());
            }
        }
        other => {
            return Err(Fault::at(
                kind,
                format!("`{}` can't be expected; status, string and regex can", shown(other)),
            ));
        }
    }
    Ok(())
}

/// `200,300-310`
fn statuses(word: &Word) -> Result<Value, Fault> {
    let mut ranges = Vec::new();
    for part in word.text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let bounds = low.trim().parse::<u64>().ok().zip(high.trim().parse::<u64>().ok());
        match bounds.filter(|(low, high)| low <= high && *low >= 100 && *high <= 599) {
            Some((low, high)) if low == high => ranges.push(Value::Integer(low)),
            Some((low, high)) => ranges.push(Value::Text(format!("{low}-{high}"))),
            None => return Err(Fault::at(word, format!("`{}` is no status of 100 to 599", shown(part)))),
        }
    }
    Ok(Value::one_or_list(ranges))
}

/// The statuses that an expression matches, as ranges.
fn matching_statuses(word: &Word) -> Result<Value, Fault> {
    let pattern = regex::compile(&regex::convert(word, false)?).map_err(|why| Fault::at(word, why))?;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for status in (100..600_u64).filter(|status| pattern.is_match(status.to_string().as_bytes())) {
        match ranges.last_mut() {
            Some((_, high)) if *high + 1 == status => *high = status,
            _ => ranges.push((status, status)),
        }
    }
    if ranges.is_empty() {
        return Err(Fault::at(word, "no status of 100 to 599 matches"));
    }
    let range = |(low, high): (u64, u64)| match low == high {
        true => Value::Integer(low),
        false => Value::Text(format!("{low}-{high}")),
    };
    Ok(Value::one_or_list(ranges.into_iter().map(range).collect()))
}

fn connect(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if !proxy.checks.steps.is_empty() {
        return Err("a check is one connection; another one is not there".into());
    }
    let mut words = directive.arguments.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "default" => {}
            "comment" => drop(words.next()),
            "port" => proxy.checks.port = Some(values::number(words.next().unwrap_or(word))?),
            "ssl" => {
                proxy.checks.is_tls = true;
                directive.lose(
                    word,
                    "checks do not speak TLS: servers are checked with a connection alone, and what they were to be sent is left out",
                );
            }
            other => {
                return Err(Fault::at(
                    word,
                    format!("`{}` of a check's connection is not there", shown(other)),
                ));
            }
        }
    }
    proxy.checks.steps.push(Value::table([("connect", Value::Flag(true))]));
    Ok(())
}

fn step(proxy: &mut Proxy, directive: &Directive<'_>, key: &'static str) -> Done {
    let word = match directive.arguments {
        [word] => word,
        [word, comment, _] if comment.text == "comment" => word,
        _ => return Err(format!("`{}` takes one text", directive.keyword).into()),
    };
    proxy.checks.steps.push(Value::table([(key, Value::text(&word.text))]));
    Ok(())
}

fn expect_step(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let (not, kind, pattern) = pattern(directive)?;
    let (keys, value) = match kind.text.as_str() {
        "string" => (["expect", "expect_not"], Value::text(&pattern.text)),
        "binary" => (["expect_hex", "expect_not_hex"], Value::text(&pattern.text)),
        "rstring" => (["expect_regex", "expect_not_regex"], Value::Text(regex::convert(pattern, false)?)),
        other => {
            return Err(Fault::at(
                kind,
                format!("`{}` can't be expected; string, rstring and binary can", shown(other)),
            ));
        }
    };
    proxy.checks.steps.push(Value::table([(keys[not], value)]));
    Ok(())
}

fn mysql(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let user = match directive.arguments {
        [] => Vec::new(),
        [word, user, rest @ ..] if word.text == "user" => {
            if let Some(old) = rest.first().filter(|word| word.text == "pre-41") {
                directive.lose(old, "`pre-41`: servers older than MySQL 4.1 can't be logged into");
            }
            vec![("user".to_owned(), Value::text(&user.text))]
        }
        [first, ..] => {
            return Err(Fault::at(
                first,
                format!("`{}` is no word of `option mysql-check`", shown(&first.text)),
            ));
        }
    };
    choose(proxy, directive, Kind::Other("mysql", Value::Table(user)))
}

fn pgsql(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let user = match directive.arguments {
        [word, user] if word.text == "user" => Value::text(&user.text),
        [] => Value::text("postgres"),
        [first, ..] => return Err(Fault::at(first, "`option pgsql-check` takes `user NAME`")),
    };
    choose(proxy, directive, Kind::Other("pgsql", Value::table([("user", user)])))
}

fn smtp(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let greeting = |word: &Word| word.text.to_ascii_uppercase();
    let entries = match directive.arguments {
        [] => Vec::new(),
        [word, domain] if matches!(greeting(word).as_str(), "HELO" | "EHLO") => vec![
            ("greeting".to_owned(), Value::Text(greeting(word))),
            ("domain".to_owned(), Value::text(&domain.text)),
        ],
        [first, ..] => return Err(Fault::at(first, "`option smtpchk` takes `HELO NAME` or `EHLO NAME`")),
    };
    choose(proxy, directive, Kind::Other("smtp", Value::Table(entries)))
}

impl Checks {
    /// The entries of our `check`, but for the paces that servers set.
    pub(in crate::import::haproxy) fn entries(&self) -> Vec<(String, Value)> {
        let mut entries = Vec::new();
        let mut add = |key: &str, value: Value| entries.push((key.to_owned(), value));
        match &self.kind {
            // In clear text it would be a failure everywhere.
            _ if self.is_tls => {}
            Kind::Connect => {}
            Kind::Sequence => add("sequence", Value::List(self.steps.clone())),
            Kind::Other(key, value) => add(key, value.clone()),
            Kind::Http => {
                add("http", self.http.value());
                if self.http.disable_on_404 {
                    add("disable_on_404", Value::Flag(true));
                }
            }
        }
        if let Some(port) = self.port {
            add("port", Value::Integer(port));
        }
        if let Some(timeout) = self.timeout {
            add("timeout", values::limit(timeout));
        }
        entries
    }
}

impl Http {
    fn value(&self) -> Value {
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut add = |key: &str, value: Value| entries.push((key.to_owned(), value));
        let text = |text: &Option<String>, default: &str| Value::text(text.as_deref().unwrap_or(default));
        add("method", text(&self.method, "OPTIONS"));
        add("path", text(&self.path, "/"));
        add("version", text(&self.version, "HTTP/1.0"));
        // Those that a check writes itself are no headers of ours.
        let own = ["connection", "content-length", "transfer-encoding"];
        let (host, others): (Vec<_>, Vec<_>) = self
            .headers
            .iter()
            .filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()))
            .partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        if let Some((_, host)) = host.first() {
            add("host", Value::text(host));
        }
        if !others.is_empty() {
            let headers = others.iter().map(|(name, value)| (name.clone(), Value::text(value))).collect();
            add("headers", Value::Table(headers));
        }
        if let Some(body) = &self.body {
            add("body", Value::text(body));
        }
        let [wanted, refused] = &self.expect;
        // As soon as anything is expected, HAProxy asks no status but those that are named.
        let any = wanted.status.is_none()
            && (wanted.content.is_some() || refused.status.is_some() || refused.content.is_some());
        let any = any.then(|| Value::text("100-599"));
        for (key, expect, any) in [("expect", wanted, any), ("expect_not", refused, None)] {
            let mut inner = Vec::new();
            if let Some(status) = expect.status.clone().or(any) {
                inner.push(("status".to_owned(), status));
            }
            if let Some((kind, content)) = expect.content.clone() {
                inner.push((kind.to_owned(), content));
            }
            if !inner.is_empty() {
                add(key, Value::Table(inner));
            }
        }
        Value::Table(entries)
    }
}
