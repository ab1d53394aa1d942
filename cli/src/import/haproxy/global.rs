//! `global`, however often it is there, and the sections that end in our `[global]` as well: `resolvers`.

use std::{path::Path, time::Duration};

use super::{
    directive::{Directive, Done, Fault, shown},
    lexer::Word,
    proxy::{self, Log, Tls},
    section::{Line, Section},
    table::{self, How, Row, missing, needless, row},
    values,
};
use crate::{
    config::{diagnostic::Span, text},
    import::{document::Value, notes::Notes},
};

/// What `[global]` gets.
#[derive(Debug, Default)]
pub(super) struct Global {
    pub(super) maxconn: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) nameservers: Vec<Value>,
    /// Lines that are not in our file.
    pub(super) lost: Vec<Span>,
    /// A line of our file that is not in force, and why.
    pub(super) commented: Vec<String>,
    /// `unix-bind`: what comes before all paths; rights and owners.
    pub(super) unix_bind: (String, Vec<(&'static str, Value)>),
    /// `ssl-default-bind-*`
    pub(super) bind_tls: Tls,
    /// `ssl-default-server-*`
    pub(super) server_tls: Tls,
    /// `ssl-server-verify none`
    pub(super) trusts_servers: bool,
    /// `h2-workaround-bogus-websocket-clients`
    pub(super) without_websocket: bool,
    /// `crt-base`
    pub(super) certificates: String,
    /// `ca-base`
    pub(super) authorities: String,
    pub(super) nosplice: Option<Span>,
    /// `tune.comp.maxlevel`
    pub(super) compression_level: Option<u64>,
    /// `maxcompcpuusage`
    pub(super) compression_cpu: Option<u64>,
    /// `user`, `uid`: the later one.
    pub(super) user: Option<Value>,
    /// `group`, `gid`: the later one.
    pub(super) group: Option<Value>,
    /// `hard-stop-after`
    pub(super) drain_timeout: Option<Value>,
    pub(super) logs: Vec<Log>,
    pub(super) tag: Option<Word>,
    /// Headers have a name of the machine: this one, or its own.
    pub(super) sends_hostname: bool,
    pub(super) hostname: Option<String>,
    daemon: Option<Span>,
    debug: Option<Span>,
    chroot: Option<Word>,
    /// Files that lines name, for what is said about `chroot`.
    files: Vec<Word>,
}

const TUNING: &str = "a limit of HAProxy's own making; ours are in docs/configuration.md, those of a head in docs/http1.md (H25)";

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Global>] = &[
    row("maxconn", "", |global, line| { global.maxconn = Some(values::number(line.only()?)?).filter(|maxconn| *maxconn > 0); Ok(()) }, "`maxconn`", "Without it HAProxy takes what `ulimit -n` allows, lbctl 20000."),
    row("nbthread", "", threads, "`threads`", ""),
    row("nbproc", "", processes, "", "One process with a worker for each core; HAProxy refuses the word since 2.5."),
    row("daemon", "", |global, line| { global.daemon = Some(line.span); leave_out(line, "`lbctl run` stays in the foreground, as systemd wants it, and goes to the background with --daemon") }, "", "`lbctl run` stays in the foreground, as systemd wants it, and goes to the background with `--daemon`."),
    row("debug", "", |global, line| { global.debug = Some(line.span); Ok(()) }, "", "`lbctl trace` shows heads as they pass, on a running node."),
    row("pidfile", "", pidfile, "", "systemd knows the process; `lbctl run --pidfile PATH` writes it to a file."),
    row("chroot", "", chroot, "", "As a comment. lbctl shuts itself in, with Landlock: [What it may do](operations.md#what-it-may-do)."),
    row("user", "", |global, line| { global.user = Some(Value::Text(line.only()?.text.clone())); Ok(()) }, "`user`", "A reload reads as this user what the file names; HAProxy reads it as root."),
    row("group", "", |global, line| { global.group = Some(Value::Text(line.only()?.text.clone())); Ok(()) }, "`group`", ""),
    row("uid", "", |global, line| { global.user = Some(Value::Integer(values::number(line.only()?)?)); Ok(()) }, "`user`", "A user whom the machine does not know needs a `group`, too."),
    row("gid", "", |global, line| { global.group = Some(Value::Integer(values::number(line.only()?)?)); Ok(()) }, "`group`", ""),
    row("log", "", log, "`log`", "What happens to requests and servers. What lbctl says of itself goes to stderr, and so to the journal."),
    row("log-send-hostname", "", hostname, "`log.format = \"rfc3164\"`, `log.hostname`", ""),
    row("log-tag", "", |global, line| { global.tag = Some(line.only()?.clone()); Ok(()) }, "`log.tag`", "Without it `haproxy`, as there."),
    needless("stats socket", "", "`lbctl status` and curl ask the control socket, /run/lbctl/control.sock"),
    needless("stats timeout, stats maxconn, stats bind-process", "", "of the stats socket, which is not there"),
    row("setenv", "", |_, _| Ok(()), "", "Put in where the variable stands."),
    row("presetenv", "", |_, _| Ok(()), "", "Put in where the variable stands."),
    row("unsetenv", "", |_, _| Ok(()), "", "Put in where the variable stands."),
    row("resetenv", "", |_, _| Ok(()), "", "Put in where the variable stands."),
    needless("master-worker, mworker-max-reloads", "", "`lbctl reload` (or SIGHUP): one process, which reads its file anew"),
    row("hard-stop-after", "", hard_stop, "`drain_timeout`", "At most 1h. Without it a soft stop waits for ever there, and 5 s here."),
    needless("grace, close-spread-time", "", "`lbctl stop` drains"),
    needless("quiet", "", "little is said at the start"),
    needless("zero-warning", "", "`lbctl check` shows warnings"),
    needless("strict-limits", "", "too few open files are a warning, and fewer connections are taken"),
    needless("ulimit-n, fd-hard-limit", "", "follows from `maxconn`"),
    needless("default-path", "", "files are beside the file that names them"),
    needless("description", "", "write a comment"),
    needless("node", "", "a node has its name in `[cluster]`"),
    needless("localpeer", "", "there are no peers"),
    needless("cluster-secret", "", "there is no QUIC"),
    needless("cpu-map, cpu-policy, cpu-set, numa-cpu-mapping", "", "the system places the workers"),
    needless("thread-groups, thread-group", "", "workers share nothing but limits"),
    row("unix-bind", "", unix_bind, "`bind`", "What it says of all Unix sockets is written at each of them."),
    needless("set-dumpable", "", "the system decides on core dumps"),
    needless("insecure-fork-wanted", "", "nothing is forked"),
    needless("insecure-setuid-wanted", "", "nothing is started"),
    needless("expose-experimental-directives, expose-deprecated-directives", "", "there are none"),
    needless("external-check", "", "no program is started"),
    needless("h1-case-adjust, h1-case-adjust-file", "", "names of headers are forwarded as they came"),
    needless("h1-accept-payload-with-any-method", "", "content is forwarded with any method"),
    needless("h1-do-not-close-on-insecure-transfer-encoding", "", "docs/http1.md says what is refused"),
    row("h2-workaround-bogus-websocket-clients", "", |global, _| { global.without_websocket = true; Ok(()) }, "`http2_websocket = false`", "Of all listeners with HTTP/2."),
    needless("pp2-never-send-local", "", "checks say LOCAL in version 2 of the header all the same"),
    needless("server-state-base, server-state-file", "", "servers keep their state over a reload"),
    needless("spread-checks, max-spread-checks", "", "checks are spread"),
    needless("busy-polling, noepoll, nopoll, nogetaddrinfo, noreuseport, noevports, nokqueue, no-memory-trimming, maxpipes, maxzlibmem, maxcomprate", "", TUNING),
    row("nosplice", "", |global, line| { global.nosplice = Some(line.span); Ok(()) }, "`splice = \"never\"`", "Of `[defaults]`."),
    missing("maxconnrate, maxsessrate", "", "no limit on new connections of all clients together; `per_source` limits each"),
    missing("maxsslconn, maxsslrate", "", "write `maxconn` of the frontend, and `per_source`"),
    row("crt-base", "", |global, line| { global.certificates = line.only()?.text.clone(); Ok(()) }, "`tls`", "It is put before the names of certificates."),
    needless("key-base", "", "a key is found beside its certificate"),
    row("ca-base", "", |global, line| { global.authorities = line.only()?.text.clone(); Ok(()) }, "`tls.ca_file`", "It is put before the names of authorities and of what they have revoked."),
    missing("issuers-chain-path", "", "write the certificates of a chain behind their own, in one file"),
    missing("set-var, set-var-fmt", "", "there are no variables of the process; write the value"),
    row("maxcompcpuusage", "", compression_cpu, "`compression_cpu`", "Without compression it does nothing."),
    row("tune.comp.maxlevel", "", compression_level, "`compression.level`", "Of all sections."),
    needless("tune.ssl.*", "", "nothing of it is there to be set: no DHE, no memory of sessions, records as long as what is there to send; tickets are good for twelve hours"),
    needless("tune.*", "", TUNING),
    row("ssl-default-bind-options", "", |global, line| { proxy::tls_options("ssl-default-bind-options", line.arguments, &mut global.bind_tls, line.notes); Ok(()) }, "`tls`", "Of all listeners, as if they said it."),
    row("ssl-default-bind-ciphers", "", |global, line| { global.bind_tls.ciphers = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphers`", "Of all listeners that have none of their own."),
    row("ssl-default-bind-ciphersuites", "", |global, line| { global.bind_tls.ciphersuites = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphersuites`", "Of all listeners that have none of their own."),
    row("ssl-default-bind-curves", "", |global, line| { global.bind_tls.curves = Some(line.only()?.clone()); Ok(()) }, "`tls.curves`", "Of all listeners that have none of their own."),
    missing("ssl-default-bind-sigalgs, ssl-default-bind-client-sigalgs", "", "each certificate signs with all that its key can, and that the client understands"),
    needless("ssl-dh-param-file", "", "there is no DHE"),
    needless("ssl-load-extra-files, ssl-load-extra-del-ext", "", "a key is found beside its certificate in both forms, `site.pem.key` and `site.key`"),
    needless("ssl-mode-async, ssl-engine, ssl-provider, ssl-provider-path, ssl-propquery, ssl-security-level, ssl-skip-self-issued-ca", "", "of OpenSSL, which is not used"),
    row("ssl-default-server-options", "", |global, line| { global.server_tls = proxy::server_tls_options(line).over(&global.server_tls); Ok(()) }, "`tls`", "Of all servers with `ssl`, as if they said it."),
    row("ssl-default-server-ciphers", "", |global, line| { global.server_tls.ciphers = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphers`", "Of all servers that have none of their own."),
    row("ssl-default-server-ciphersuites", "", |global, line| { global.server_tls.ciphersuites = Some(line.only()?.clone()); Ok(()) }, "`tls.ciphersuites`", "Of all servers that have none of their own."),
    row("ssl-server-verify", "", |global, line| { global.trusts_servers = line.get(0) == Some("none"); Ok(()) }, "`tls.verify`", "Of all servers that say nothing themselves."),
    row("ssl-default-server-curves", "", |global, line| { global.server_tls.curves = Some(line.only()?.clone()); Ok(()) }, "`tls.curves`", "Of all servers that have none of their own."),
    missing("ssl-default-server-sigalgs, ssl-default-server-client-sigalgs", "", "all that are there are offered"),
    needless("httpclient.*", "", "nothing here asks over HTTP"),
    needless("profiling.*", "", "nothing is profiled"),
    missing("lua-*", "", "there is no Lua"),
    missing("wurfl-*, 51degrees-*, deviceatlas-*", "", "devices are not looked up"),
    missing("module-*", "", "nothing is loaded"),
];

#[rustfmt::skip] // a row to a line
const RESOLVERS: &[Row<Global>] = &[
    row("nameserver", "", nameserver, "`nameservers`", "Of `[global]`: there is one set of them."),
    needless("parse-resolv-conf", "", "that is what is done without `nameservers`"),
    needless("hold", "", "the TTL decides, and the last good answer is used on"),
    needless("resolve_retries", "", "each nameserver is asked twice"),
    needless("timeout resolve", "", "the TTL decides"),
    needless("timeout retry", "", "each nameserver has 1 s for an answer"),
    needless("accepted_payload_size", "", "answers are as long as DNS lets them be"),
];

/// What the book prints.
pub(super) fn known() -> [(&'static str, Vec<table::Known>); 2] {
    let of = |rows: &[Row<Global>]| rows.iter().map(|row| row.known).collect();
    [("global", of(ROWS)), ("resolvers", of(RESOLVERS))]
}

impl Global {
    /// One more section called `global`.
    pub(super) fn read(&mut self, section: &Section, notes: &Notes<'_>) {
        self.read_lines(section, ROWS, notes);
    }

    /// A section `resolvers`: its nameservers are those of all.
    pub(super) fn read_resolvers(&mut self, section: &Section, notes: &Notes<'_>) {
        self.read_lines(section, RESOLVERS, notes);
    }

    fn read_lines(&mut self, section: &Section, rows: &'static [Row<Self>], notes: &Notes<'_>) {
        for line in &section.lines {
            self.line(line, rows, notes);
        }
    }

    fn line(&mut self, line: &Line, rows: &'static [Row<Self>], notes: &Notes<'_>) {
        let first = line.words.first().map_or("", |word| word.text.as_str());
        let negated = first == "no" && line.words.len() > 1;
        let words = &line.words[usize::from(negated)..];
        let first = words.first().map_or("", |word| word.text.as_str());
        let by_prefix = || rows.iter().find(|row| row.known.names(first));
        let found = table::find(&[rows], words).or_else(|| by_prefix().map(|row| (row, 1)));
        let Some((row, count)) = found else {
            let names = rows.iter().flat_map(|row| row.known.name.split(", "));
            let hint = text::nearest(first, names)
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            self.lost.push(line.span());
            notes.lost(line.span(), format!("`{}` is no word that is known here{hint}", shown(first)));
            return;
        };
        let keyword = words[..count].iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        let directive =
            Directive { span: line.span(), keyword: &keyword, arguments: &words[count..], negated, notes };
        let result = match &row.how {
            How::By(convert) => convert(self, &directive),
            _ if negated => Ok(()),
            How::Needless => leave_out(&directive, row.known.note),
            How::Missing => Err(format!("`{}`: {}", shown(&keyword), row.known.note).into()),
        };
        if let Err(Fault { span, why }) = result {
            self.lost.push(line.span());
            notes.lost(span.unwrap_or(line.span()), why);
        }
    }

    /// What only shows when all of it was read.
    pub(super) fn finish(&mut self, notes: &Notes<'_>) {
        if let Some(debug) = self.debug {
            let message = match self.daemon {
                Some(daemon) => format!(
                    "`debug` shows every head on the terminal and keeps HAProxy in the foreground, so `daemon` (line {}) \
                     was without effect; both are left out",
                    notes.line(daemon)
                ),
                None => {
                    "`debug` is left out: it shows every head on the terminal, which is nothing for a service"
                        .to_owned()
                }
            };
            notes.advise(debug, message);
        }
        if let Some(chroot) = &self.chroot {
            let inside = self.files.iter().find(|file| Path::new(&file.text).starts_with(&chroot.text));
            let missing = || !Path::new(&chroot.text).exists();
            let more = match inside {
                Some(file) => format!(
                    "; it would have shut HAProxy in with its own files ({} in line {}), and a chroot should be an empty \
                     folder that nobody can write to",
                    file.text,
                    notes.line(file.span)
                ),
                None if missing() => format!("; the folder {} does not exist here", shown(&chroot.text)),
                None => String::new(),
            };
            let message = format!(
                "`chroot`: the root stays; systemd's ProtectSystem= and RootDirectory= shut a service in{more}"
            );
            notes.advise(chroot.span, message);
            self.commented.push(format!("chroot = {}: not in this version{more}", Value::text(&chroot.text)));
        }
    }
}

fn leave_out(directive: &Directive<'_>, why: &str) -> Done {
    directive.advise(format!("`{}` is left out: {why}", shown(directive.keyword)));
    Ok(())
}

fn threads(global: &mut Global, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    if word.text != "auto" {
        global.threads = Some(values::number(word)?).filter(|threads| *threads > 0);
    }
    Ok(())
}

/// There are no more processes than one in HAProxy, either, since 2.5.
fn processes(global: &mut Global, directive: &Directive<'_>) -> Done {
    let number = values::number(directive.only()?)?;
    if number > 1 {
        global.threads = Some(number);
        directive.advise(format!(
            "`nbproc {number}` is gone since HAProxy 2.5: there is one process, and it gets {number} workers; without `threads` it has one for each core"
        ));
    } else {
        directive.advise("`nbproc 1` is gone since HAProxy 2.5 and is left out: there is one process, with a worker for each core");
    }
    Ok(())
}

/// What a stop waits for at most.
fn hard_stop(global: &mut Global, directive: &Directive<'_>) -> Done {
    const LONGEST: Duration = Duration::from_secs(3600);
    let time = values::time(directive.only()?)?;
    if time > LONGEST {
        directive.notes.differ(directive.span, "longer than a stop waits here, 1h, which is written");
    }
    global.drain_timeout = Some(Value::Text(text::write_duration(time.min(LONGEST))));
    Ok(())
}

/// `maxcompcpuusage PERCENT`
fn compression_cpu(global: &mut Global, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    let percent = values::number(word)?;
    if percent > 100 {
        return Err(Fault::at(word, format!("{percent} is no share of 0 to 100 percent")));
    }
    if percent == 0 {
        directive.notes.differ(directive.span, "with 0 HAProxy compresses while it has nothing else to do; 0 is no compression here, 1 is written");
    }
    global.compression_cpu = Some(percent.max(1));
    Ok(())
}

fn compression_level(global: &mut Global, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    let level = values::number(word)?;
    if !(1..=9).contains(&level) {
        return Err(Fault::at(word, "a level of compression is 1 to 9"));
    }
    global.compression_level = Some(level);
    Ok(())
}

fn pidfile(global: &mut Global, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    global.files.push(word.clone());
    let folder = Path::new(&word.text).parent().unwrap_or(Path::new("/"));
    let missing = if folder.exists() {
        String::new()
    } else {
        format!(" (and the folder {} does not exist here)", shown(&folder.display().to_string()))
    };
    global
        .commented
        .push(format!("pidfile {}: lbctl run --pidfile PATH writes one{missing}", Value::text(&word.text)));
    leave_out(
        directive,
        &format!("systemd knows the process, and `lbctl run --pidfile PATH` writes it to a file{missing}"),
    )
}

fn chroot(global: &mut Global, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    global.chroot = Some(word.clone());
    global.lost.push(directive.span);
    Ok(())
}

fn log(global: &mut Global, directive: &Directive<'_>) -> Done {
    if directive.negated {
        global.logs.clear();
        return Ok(());
    }
    let entries = Some(proxy::log_target(directive.arguments)?);
    global.logs.push(Log { entries, span: directive.span });
    Ok(())
}

/// `log-send-hostname [NAME]`
fn hostname(global: &mut Global, directive: &Directive<'_>) -> Done {
    global.sends_hostname = true;
    global.hostname = directive.arguments.first().map(|name| name.text.clone());
    Ok(())
}

/// `unix-bind [prefix PATH] [mode MODE] [user NAME] [group NAME]`
fn unix_bind(global: &mut Global, directive: &Directive<'_>) -> Done {
    let mut words = directive.arguments.to_vec();
    if let Some(at) = words.iter().position(|word| word.text == "prefix") {
        let pair: Vec<Word> = words.drain(at..(at + 2).min(words.len())).collect();
        let [_, prefix] = pair.as_slice() else { return Err("`prefix` takes a path".into()) };
        global.unix_bind.0 = prefix.text.clone();
    }
    global.unix_bind.1 = proxy::owners("unix-bind", &words, directive.notes);
    Ok(())
}

/// `nameserver NAME ADDRESS:PORT`
fn nameserver(global: &mut Global, directive: &Directive<'_>) -> Done {
    let [_, address] = directive.arguments else {
        return Err("`nameserver` takes a name and an address".into());
    };
    let bare = address.text.strip_prefix("udp@").unwrap_or(&address.text);
    if let Err(why) = text::nameserver(bare) {
        return Err(Fault::at(address, format!("`{}` {why}", shown(&address.text))));
    }
    let value =
        Value::text(bare.strip_suffix(":53").filter(|host| text::nameserver(host).is_ok()).unwrap_or(bare));
    if !global.nameservers.contains(&value) {
        global.nameservers.push(value);
    }
    Ok(())
}
