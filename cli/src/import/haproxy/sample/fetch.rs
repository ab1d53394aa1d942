//! Where a sample begins: `src`, `req.hdr(NAME)`.

use super::{Base, Sample, Side, Type, Written, variable};
use crate::import::haproxy::{directive::shown, table::Known};

/// A row: names that mean the same, and what they are.
pub(in crate::import::haproxy) struct Fetch {
    pub(in crate::import::haproxy) known: Known,
    kind: Type,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    /// A placeholder.
    At(&'static str),
    /// One of the request that HAProxy still knows when the response comes.
    Kept(&'static str),
    /// A placeholder that ends with the argument.
    Of(&'static str),
    /// One of a header, in whose lines values stand between commas.
    Header(&'static str),
    /// Only in conditions; of what.
    Condition(&'static str),
    Constant(&'static str),
    Special(fn(&Written) -> Result<Sample, String>),
    Missing,
}

const fn at(
    name: &'static str,
    kind: Type,
    placeholder: &'static str,
    becomes: &'static str,
    note: &'static str,
) -> Fetch {
    Fetch { known: Known { name, becomes, note }, kind, source: Source::At(placeholder) }
}

const fn of(
    name: &'static str,
    kind: Type,
    source: Source,
    becomes: &'static str,
    note: &'static str,
) -> Fetch {
    Fetch { known: Known { name, becomes, note }, kind, source }
}

const fn missing(name: &'static str, note: &'static str) -> Fetch {
    Fetch { known: Known { name, becomes: "", note }, kind: Type::Text, source: Source::Missing }
}

const TLS: &str = "of TLS, `ssl_fc` and what is listed here is known";
const TABLE: &str = "what a stick table counts is asked by `rate_limit` (requests) and `per_source` (connections and requests) alone: write one of them with the same key";

/// All that are known.
#[rustfmt::skip] // a row to a line
pub(in crate::import::haproxy) const FETCHES: &[Fetch] = &[
    at("src", Type::Address, "client.ip", "`source`, `{client.ip}`", ""),
    at("src_port", Type::Number, "client.port", "`{client.port}`", ""),
    at("fc_src", Type::Address, "peer.ip", "`{peer.ip}`", ""),
    at("dst, fc_dst", Type::Address, "local.ip", "`{local.ip}`", ""),
    at("dst_port, fc_dst_port", Type::Number, "local.port", "`port`, `{local.port}`", ""),
    at("fe_name", Type::Text, "frontend.name", "`{frontend.name}`", ""),
    at("be_name", Type::Text, "backend.name", "`{backend.name}`", ""),
    at("srv_name", Type::Text, "server.name", "`{server.name}`", ""),
    at("hostname", Type::Text, "hostname", "`{hostname}`", ""),
    of("unique-id", Type::Text, Source::Kept("request.id"), "`{request.id}`", ""),
    of("uuid", Type::Text, Source::Special(uuid), "`{uuid}`", "Version 4."),
    of("rand", Type::Number, Source::Special(rand), "`{random}`", "With a range: `{random\\|modulo(100)}`."),
    of("date", Type::Number, Source::Special(date), "`{time.unix}`", "With `http_date`: `{time.http}`."),
    of("method, capture.req.method", Type::Text, Source::Kept("request.method"), "`method`, `{request.method}`", "In responses, too."),
    at("path", Type::Text, "request.path", "`path`, `path_suffix`, `path_regex`, `{request.path}`", "`path_beg /a` is `path_regex = '^/a'`: our `path_prefix` is made of whole elements."),
    at("pathq, url", Type::Text, "request.target", "`{request.target}`", "Without scheme and host, also where the client sent them."),
    of("capture.req.uri", Type::Text, Source::Kept("request.target"), "`{request.target}`", "In responses, too; as the rules left it, and not as it came."),
    at("query", Type::Text, "request.query", "`{request.query}`", ""),
    at("req.ver, req_ver", Type::Text, "request.version", "`{request.version}`", ""),
    of("req.hdr, hdr", Type::Text, Source::Header("request.header."), "`host`, `header`, `{request.header_value.NAME}`", "`hdr(host)` with a name is `host`, which has no port and counts no case. Of other headers HAProxy compares each value between commas, as `value` does with that placeholder."),
    of("req.fhdr, fhdr", Type::Text, Source::Of("request.header."), "`header`, `{request.header.NAME}`", ""),
    of("req.hdr_val, hdr_val", Type::Number, Source::Header("request.header."), "`header`", "A comparison of numbers is a `regex`."),
    of("req.hdr_ip, hdr_ip", Type::Address, Source::Header("request.header."), "`{request.header_value.NAME\\|address}`", "With the number of the value, as `hdr_ip(x-forwarded-for,-1)`, of `{request.header.NAME}`."),
    of("req.hdr_cnt, hdr_cnt", Type::Number, Source::Of("request.header_count."), "`{request.header_count.NAME}`", "Whether there is one is `header = { NAME = true }`."),
    of("req.fhdr_cnt", Type::Number, Source::Of("request.header_lines."), "`{request.header_lines.NAME}`", "Whether there is one is `header = { NAME = true }`."),
    of("req.cook, cook, cookie", Type::Text, Source::Of("request.cookie."), "`cookie`, `{request.cookie.NAME}`", ""),
    of("req.cook_val, cook_val", Type::Number, Source::Of("request.cookie."), "`cookie`", "A comparison of numbers is a `regex`."),
    of("req.cook_cnt, cook_cnt", Type::Number, Source::Condition("request"), "`cookie = { NAME = true }`", "Whether there is one; not how many."),
    of("url_param, urlp", Type::Text, Source::Of("request.query."), "`query`, `{request.query.NAME}`", "`query` compares what is decoded."),
    of("urlp_val, url_param_val", Type::Number, Source::Of("request.query."), "`query`", "A comparison of numbers is a `regex`."),
    at("base", Type::Text, "request.base", "`host` and `path`, `{request.base}`", "Compared as a whole, or by its beginning with a `/` in it, it is a host and a path."),
    at("status", Type::Number, "response.status", "`status`, `{response.status}`", ""),
    of("res.hdr, shdr", Type::Text, Source::Header("response.header."), "`header`, `{response.header.NAME}`", "As `req.hdr`."),
    of("res.fhdr", Type::Text, Source::Of("response.header."), "`header`, `{response.header.NAME}`", ""),
    of("res.hdr_val, shdr_val", Type::Number, Source::Header("response.header."), "`header`", ""),
    of("res.hdr_cnt, shdr_cnt, res.fhdr_cnt", Type::Number, Source::Condition("response"), "`header = { NAME = true }`", "Whether there is one; not how many."),
    of("var", Type::Text, Source::Special(var), "`{var.NAME}`", "`txn.a` is `a`, `req.a` is `req_a`, `sess.a` is `session.a`; other characters become `_`."),
    of("str", Type::Text, Source::Special(constant), "the text", ""),
    of("int", Type::Number, Source::Special(constant), "the number", ""),
    of("bool", Type::Flag, Source::Special(constant), "", "Known when the file is converted."),
    of("env", Type::Text, Source::Special(env), "", "Write the value: our file knows no environment."),
    of("always_true, TRUE", Type::Flag, Source::Constant("1"), "", ""),
    of("always_false, FALSE", Type::Flag, Source::Constant("0"), "", ""),
    of("wait_end, req.proto_http, req_proto_http", Type::Flag, Source::Constant("1"), "", "Nothing waits here, and what is read in mode http is HTTP."),
    of("ssl_fc", Type::Flag, Source::Special(secure), "`scheme = \"https\"`", "As a text it is made of `{request.scheme}`."),
    at("ssl_fc_sni", Type::Text, "tls.sni", "`{tls.sni}`", "In lower case."),
    of("ssl_fc_has_sni", Type::Flag, Source::Condition("tls"), "`{tls.sni}`", "Whether there is one."),
    at("ssl_fc_protocol", Type::Text, "tls.version", "`{tls.version}`", ""),
    at("ssl_fc_cipher", Type::Text, "tls.cipher", "`{tls.cipher}`", ""),
    of("ssl_c_used", Type::Flag, Source::Special(shown_by_client), "`{tls.client.used}`", ""),
    of("ssl_c_verify, ssl_c_err, ssl_c_ca_err, ssl_c_ca_err_depth", Type::Number, Source::Special(verified), "", "0 over TLS: a client whose certificate is wrong is refused in its handshake."),
    of("ssl_c_s_dn", Type::Text, Source::Special(subject), "`{tls.client.subject}`, `{tls.client.name}`", "As a whole, or its `cn`."),
    of("ssl_c_i_dn", Type::Text, Source::Special(subject), "`{tls.client.issuer}`", "As a whole."),
    of("ssl_c_serial, ssl_c_sha1, ssl_c_der", Type::Text, Source::Special(octets), "`{tls.client.serial}`, `{tls.client.sha1}`, `{tls.client.sha256}`", "With `hex` behind it, and `ssl_c_der` with `sha2(256),hex`."),
    of("ssl_fc_is_resumed", Type::Flag, Source::Special(resumed), "`{tls.resumed}`", ""),
    of("nbsrv", Type::Number, Source::Condition(""), "`usable_below`, `monitor_uri.fail_if`", "In conditions of frontends, and in `monitor fail`."),
    at("http_auth_user", Type::Text, "request.user", "`{request.user}`", "Behind a rule with `require_auth`: one whose password was good."),
    of("http_auth, http_auth_group", Type::Flag, Source::Condition("request"), "`require_auth`", "With `http-request auth`; in other rules a variable that `require_auth` sets."),
    missing("http_auth*", "passwords are asked for by `require_auth` alone"),
    of("src_http_req_rate, sc_http_req_rate, sc0_http_req_rate, sc1_http_req_rate, sc2_http_req_rate", Type::Number, Source::Condition(""), "`rate_limit.set_var`", "In any condition: `gt` a number."),
    of("src_conn_rate, sc_conn_rate, sc0_conn_rate, sc1_conn_rate, sc2_conn_rate", Type::Number, Source::Condition(""), "`per_source.connection_rate`", "In a rule that refuses, without other conditions; as `http_req_rate` of what `http-request` tracks."),
    of("src_conn_cur, sc_conn_cur, sc0_conn_cur, sc1_conn_cur, sc2_conn_cur", Type::Number, Source::Condition(""), "`per_source.connections`", "In a rule that refuses, without other conditions; not of what `http-request` tracks."),
    at("fc_pp_authority", Type::Text, "proxy_header.authority", "`{proxy_header.authority}`", ""),
    at("fc_pp_unique_id", Type::Text, "proxy_header.unique_id", "`{proxy_header.unique_id}`", ""),
    missing("src_is_local, dst_is_local, fc_src_is_local, fc_dst_is_local, dst_conn, fc_pp_*, fc_rcvd_proxy, fc_http_major, fc_err*, fc_rtt*, fc_*", "nothing here says it"),
    missing("src_*, sc_*, sc0_*, sc1_*, sc2_*, table_*", TABLE),
    missing("be_conn*, be_sess_rate, be_id, be_*, fe_conn, fe_sess_rate, fe_req_rate, fe_*, avg_queue, queue, connslots, srv_*", "conditions know the request, not the load"),
    missing("req.body*, res.body*, req.len, req_len, res.len, req.payload*, res.payload*, payload, payload_lv, req.hdrs*, res.hdrs*, distcc_*, mqtt_*", "content is not looked at"),
    at("req.ssl_sni, req_ssl_sni", Type::Text, "client_hello.sni", "`sni`, `{client_hello.sni}`", "In mode tcp; in lower case."),
    at("req.ssl_alpn", Type::Text, "client_hello.alpn", "`{client_hello.alpn}`", "In mode tcp."),
    of("req.ssl_hello_type, req_ssl_hello_type", Type::Number, Source::Condition("client_hello"), "`{client_hello.version}`", "Whether it is 1."),
    missing("req.ssl_*, req_ssl_*, res.ssl_*, rep_ssl_*, ssl_*", TLS),
    missing("lua.*", "there is no Lua"),
    missing("wurfl-get*, 51d.*, da-csv*", "devices are not looked up"),
    missing("req.rdp_cookie*, rdp_cookie*, req_rdp_cookie*", "RDP is not read"),
    of("capture.req.hdr", Type::Text, Source::Special(captured), "`{var.import_captured_NUMBER}`", "A rule at the beginning keeps what was captured."),
    missing("bc_*, capture.*, res.cook*, scook*, res.ver, resp_ver, res.hdr_ip, shdr_ip, res.hdr_names, req.hdr_names, res.cache*, res.comp*, set-cookie, url_ip, url_port, url32*, base32*, baseq, http_first_req, stopping, proc, nbproc, thread, cpu_*, lat_ns_*, prio_*, cur_*, fcgi.*, so_*, last_rule_*, date_us, bin, ipv4, ipv6, meth, internal.*", "nothing here says it"),
];

/// The row of a name.
pub(in crate::import::haproxy) fn find(name: &str) -> Option<&'static Fetch> {
    FETCHES.iter().find(|fetch| fetch.known.names(name))
}

/// Is it no sample, but something that is asked?
pub(in crate::import::haproxy) fn is_only_in_conditions(name: &str) -> bool {
    matches!(find(name).map(|row| row.source), Some(Source::Condition(_)))
}

/// Is it about a header, which may be there several times?
pub(super) fn is_of_header(name: &str) -> bool {
    let source = find(name).map(|row| row.source);
    matches!(source, Some(Source::Header(of) | Source::Of(of)) if of.ends_with("header."))
}

/// Has it one value in every request that is not refused? HAProxy splits all others at commas, a date as well.
pub(in crate::import::haproxy) fn has_one_value(header: &str) -> bool {
    header.eq_ignore_ascii_case("content-length")
}

/// Is there something to look at? What HAProxy asks where it is not known never matches, and is no way to write a rule.
pub(in crate::import::haproxy) fn available(written: &Written, side: Side) -> Result<(), String> {
    let of = match find(&written.name).map(|row| row.source) {
        Some(Source::At(of) | Source::Of(of) | Source::Header(of) | Source::Condition(of)) => of,
        // Of a scope: `req.` ends with the request.
        _ if written.name == "var" => written.arguments.first().map_or("", String::as_str),
        _ => return Ok(()),
    };
    let why = match (of.split('.').next().unwrap_or_default(), side) {
        ("client_hello", Side::Request | Side::Response) => {
            "what a client begins TLS with is looked at in mode tcp"
        }
        ("request", Side::Connection) => "in mode tcp nothing of a request is known",
        ("req", Side::Response | Side::Log) => {
            "variables of `req` have ended in HAProxy when the response comes; `txn` has those that are still there"
        }
        ("response" | "server", Side::Request | Side::Connection) => "there is no response yet",
        ("request", Side::Response) => {
            "HAProxy has forgotten the request when its response comes; keep it with `http-request set-var(txn.NAME)`"
        }
        _ => return Ok(()),
    };
    Err(format!("`{}`: {why}", shown(&written.name)))
}

pub(super) fn fetch(written: &Written) -> Result<Sample, String> {
    let Some(row) = find(&written.name) else {
        let names = FETCHES.iter().flat_map(|fetch| fetch.known.name.split(", "));
        let hint = crate::config::text::nearest(&written.name, names);
        let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let tls = if written.name.starts_with("ssl_") { format!("; {TLS}") } else { hint };
        return Err(format!("`{}` is no sample that is known here{tls}", shown(&written.name)));
    };
    let named = |prefix: &str| match written.arguments.first() {
        Some(argument) if !argument.is_empty() => Ok(format!("{prefix}{argument}")),
        _ => Err(format!("`{}` takes a name in parentheses", written.name)),
    };
    let placeholder =
        |name: String| Sample { base: Base::Placeholder(name), functions: Vec::new(), kind: row.kind };
    match row.source {
        Source::At(name) | Source::Kept(name) => Ok(placeholder(name.to_owned())),
        Source::Of(prefix) => Ok(placeholder(named(prefix)?)),
        Source::Header(prefix) => {
            let name = named(prefix)?;
            let header = &name[prefix.len()..];
            if prefix == "request.header." && header.eq_ignore_ascii_case("host") {
                return Ok(placeholder("request.authority".to_owned()));
            }
            let occurrence = written.arguments.get(1).map(|number| number.parse::<i64>());
            let mut sample = placeholder(name.clone());
            // One of IPv4 may have zeros before its numbers, and a port.
            let address = (row.kind == Type::Address).then(|| "address".to_owned());
            match occurrence {
                None if has_one_value(header) => {}
                None => sample.functions = part(-1),
                Some(Ok(number)) if number != 0 => sample.functions = part(number),
                Some(_) => {
                    return Err(format!(
                        "`{}` counts its values from 1, or from the end with -1",
                        written.name
                    ));
                }
            }
            sample.functions.extend(address);
            Ok(sample)
        }
        Source::Constant(text) => {
            Ok(Sample { base: Base::Constant(text.to_owned()), functions: Vec::new(), kind: row.kind })
        }
        Source::Special(make) => Ok(Sample { kind: row.kind, ..make(written)? }),
        Source::Condition(_) => Err(format!("`{}` is not there as a text", written.name)),
        Source::Missing => Err(format!("`{}`: {}", written.name, row.known.note)),
    }
}

/// One value between commas.
fn part(number: i64) -> Vec<String> {
    vec![format!("field({number}, ',')"), "trim".to_owned()]
}

fn plain(base: Base) -> Sample {
    Sample { base, functions: Vec::new(), kind: Type::Text }
}

fn uuid(written: &Written) -> Result<Sample, String> {
    match written.arguments.first().map(String::as_str) {
        None | Some("4") => Ok(plain(Base::Placeholder("uuid".into()))),
        Some(_) => Err("only `uuid` of version 4 is there".into()),
    }
}

fn rand(written: &Written) -> Result<Sample, String> {
    let mut sample = plain(Base::Placeholder("random".into()));
    if let Some(range) = written.arguments.first() {
        let range = range.parse::<u32>().ok().filter(|range| *range > 0);
        let range = range.ok_or("`rand` takes a number of 1 and more")?;
        sample.functions.push(format!("modulo({range})"));
    }
    Ok(sample)
}

fn secure(_: &Written) -> Result<Sample, String> {
    let functions = ["regsub('^https$', '1')", "regsub('^http$', '0')"].map(str::to_owned).to_vec();
    Ok(Sample { functions, ..plain(Base::Placeholder("request.scheme".into())) })
}

fn shown_by_client(_: &Written) -> Result<Sample, String> {
    let functions = vec!["default('0')".to_owned()];
    Ok(Sample { functions, ..plain(Base::Placeholder("tls.client.used".into())) })
}

/// 0, where TLS is spoken.
fn verified(_: &Written) -> Result<Sample, String> {
    let functions = vec!["regsub('^1$', '0')".to_owned()];
    Ok(Sample { functions, ..plain(Base::Placeholder("tls.client.used".into())) })
}

/// `ssl_c_s_dn`, `ssl_c_s_dn(cn)`, `ssl_c_i_dn`
fn subject(written: &Written) -> Result<Sample, String> {
    let part = written.arguments.first().map(|part| part.to_ascii_lowercase()).unwrap_or_default();
    let number = written.arguments.get(1).map_or("1", String::as_str);
    let name = match (written.name.as_str(), &*part, number) {
        ("ssl_c_s_dn", "", _) if written.arguments.len() < 2 => "tls.client.subject",
        ("ssl_c_s_dn", "cn", "1") => "tls.client.name",
        ("ssl_c_i_dn", "", _) if written.arguments.len() < 2 => "tls.client.issuer",
        (name, ..) => {
            return Err(format!(
                "`{name}({})`: the whole of it is there, and `ssl_c_s_dn(cn)`",
                shown(&written.arguments.join(","))
            ));
        }
    };
    Ok(plain(Base::Placeholder(name.into())))
}

fn octets(written: &Written) -> Result<Sample, String> {
    Err(format!(
        "`{}` is there in hexadecimal alone: `ssl_c_serial,hex`, `ssl_c_sha1,hex`, `ssl_c_der,sha2(256),hex`",
        written.name
    ))
}

/// Octets of a client's certificate in hexadecimal, and how many converters make them so.
pub(super) fn hexadecimal(written: &Written) -> Option<(Sample, usize)> {
    let converters: Vec<_> = written.converters.iter().map(|(name, _)| name.as_str()).collect();
    let bits =
        written.converters.first().and_then(|(_, arguments)| arguments.first()).map_or("256", String::as_str);
    let (name, taken) = match (written.name.as_str(), &*converters) {
        ("ssl_c_serial", ["hex", ..]) => ("tls.client.serial", 1),
        ("ssl_c_sha1", ["hex", ..]) => ("tls.client.sha1", 1),
        ("ssl_c_der", ["sha2", "hex", ..]) if bits == "256" => ("tls.client.sha256", 2),
        _ => return None,
    };
    Some((plain(Base::Placeholder(name.into())), taken))
}

fn resumed(_: &Written) -> Result<Sample, String> {
    let functions = vec!["default('0')".to_owned()];
    Ok(Sample { functions, ..plain(Base::Placeholder("tls.resumed".into())) })
}

fn date(written: &Written) -> Result<Sample, String> {
    match written.arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["0"] => Ok(plain(Base::Placeholder("time.unix".into()))),
        ["0", "ms"] => Ok(plain(Base::Placeholder("time.unix_ms".into()))),
        _ => Err("`date` has no offset here".into()),
    }
}

fn var(written: &Written) -> Result<Sample, String> {
    let name = written.arguments.first().ok_or("`var` takes a name in parentheses")?;
    let mut sample = plain(Base::Placeholder(format!("var.{}", variable(name)?)));
    if let Some(default) = written.arguments.get(1) {
        sample.functions.push(format!("default({})", super::quoted(default)));
    }
    Ok(sample)
}

/// See [`super::CAPTURED`].
fn captured(written: &Written) -> Result<Sample, String> {
    let number = written.arguments.first().and_then(|number| number.parse::<usize>().ok());
    let number = number.ok_or("`capture.req.hdr` takes the number of what is captured, the first is 0")?;
    Ok(plain(Base::Placeholder(format!("var.{}{number}", super::CAPTURED))))
}

fn constant(written: &Written) -> Result<Sample, String> {
    let text = written.arguments.first().map(String::as_str).unwrap_or_default();
    let text = match (written.name.as_str(), text) {
        ("bool", "true" | "yes" | "1") => "1",
        ("bool", _) => "0",
        (_, text) => text,
    };
    Ok(plain(Base::Constant(text.to_owned())))
}

fn env(_: &Written) -> Result<Sample, String> {
    Err("`env`: our file knows no environment; write the value, or a variable in double quotes before you import".into())
}
