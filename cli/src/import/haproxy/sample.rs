//! Samples: `req.hdr(host),lower` of HAProxy is a placeholder with functions here, `{request.authority|lower}`.

mod converter;
mod fetch;

pub(super) use self::{
    converter::CONVERTERS,
    fetch::{FETCHES, available, has_one_value, is_only_in_conditions},
};

use std::cell::RefCell;

use super::{
    arguments,
    cond::Cond,
    directive::{Fault, shown},
    files::Maps,
    lexer::Word,
};
use crate::{config::diagnostic::Span, import::document::Value};

/// Where samples are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'s> {
    /// Takes in the files of maps.
    pub(super) maps: &'s Maps<'s>,
    pub(super) side: Side,
    pub(super) inexact: &'s Inexact,
}

/// What is converted, and is something else than in HAProxy for some requests: where, and why.
pub(super) type Inexact = RefCell<Vec<(Option<Span>, String)>>;

/// What there is to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    /// Mode tcp.
    Connection,
    Request,
    Response,
    /// A line of the log, when all is over.
    Log,
}

/// What kind of value it is, which says how it is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Type {
    Flag,
    Number,
    Address,
    Text,
}

/// A fetch as it is written: `hdr(host,-1)`, with what follows it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) converters: Vec<(String, Vec<String>)>,
}

/// What it is with us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sample {
    pub(super) base: Base,
    pub(super) functions: Vec<String>,
    pub(super) kind: Type,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Base {
    /// `client.ip`
    Placeholder(String),
    /// A text that is known now.
    Constant(String),
}

/// The variables of what is captured of requests, before the number.
pub(super) const CAPTURED: &str = "import_captured_";

/// Placeholders that are always an address.
const OF_CONNECTION: [&str; 3] = ["client.ip", "peer.ip", "local.ip"];

impl Scene<'_> {
    /// The words that were read since stand there.
    pub(super) fn stand_at(self, span: Span) {
        for (at, _) in self.inexact.borrow_mut().iter_mut() {
            at.get_or_insert(span);
        }
    }
}

impl Written {
    /// `text` is a fetch with its converters and nothing else.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, arguments, mut rest) = arguments::call(text.trim())?;
        let mut converters = Vec::new();
        while let Some(next) = rest.strip_prefix(',') {
            let (name, arguments, after) = arguments::call(next)?;
            rest = after;
            if !name.is_empty() {
                converters.push((name.to_owned(), arguments));
            }
        }
        if rest.is_empty() && !name.is_empty() {
            Ok(Self { name: name.to_owned(), arguments, converters })
        } else {
            Err(format!("`{}` is no sample", shown(text)))
        }
    }

    /// Without its converters.
    fn text(&self) -> String {
        format!("{}({})", self.name, self.arguments.join(","))
    }

    /// Is it one of several values by its number, other than the last? Of Host there is one.
    fn is_counted(&self) -> bool {
        let number = self.arguments.get(1).map(|number| number.trim());
        fetch::is_of_header(&self.name)
            && !self.arguments[0].eq_ignore_ascii_case("host")
            && number.is_some_and(|number| number != "-1")
    }
}

impl Sample {
    /// The sample that `text` is.
    pub(super) fn parse(text: &str, scene: Scene<'_>) -> Result<Self, String> {
        Self::of(&Written::parse(text)?, scene)
    }

    pub(super) fn of(written: &Written, scene: Scene<'_>) -> Result<Self, String> {
        available(written, scene.side)?;
        if let ("ssl_fc", Some(((name, texts), rest))) = (&*written.name, written.converters.split_first())
            && name == "iif"
        {
            return converter::of_scheme(texts, rest, scene);
        }
        let (mut sample, made) = match fetch::hexadecimal(written) {
            Some(found) => found,
            None => (fetch::fetch(written)?, 0),
        };
        if written.is_counted() {
            let why = format!(
                "`{}` of all lines of that name, as HAProxy counts: it stands in our file with the values of the last line, which is the same where there is one line",
                shown(&written.text())
            );
            scene.inexact.borrow_mut().push((None, why));
        }
        let is_digits = written.arguments.first().is_some_and(|name| has_one_value(name));
        if written.name.ends_with("_val") && !is_digits {
            let why = format!(
                "`{}` of a value that is no number, as `7 8` or `7.5`, is some number in HAProxy, and another or none here: what stands in our file is the same for digits alone; refuse other values before it",
                shown(&written.text())
            );
            scene.inexact.borrow_mut().push((None, why));
        }
        let mut converters = &written.converters[made..];
        while let [first, rest @ ..] = converters {
            let taken = converter::convert(&mut sample, first, rest, scene)?;
            converters = &rest[taken..];
        }
        Ok(sample)
    }

    /// `{client.ip|lower}`; `Err` is a text without braces.
    pub(super) fn placeholder(&self) -> Result<String, &str> {
        match &self.base {
            Base::Constant(text) => Err(text),
            Base::Placeholder(name) if self.functions.is_empty() => Ok(format!("{{{name}}}")),
            Base::Placeholder(name) => Ok(format!("{{{name}|{}}}", self.functions.join("|"))),
        }
    }

    /// As part of a template.
    pub(super) fn template(&self) -> String {
        match self.placeholder() {
            Ok(placeholder) => placeholder,
            Err(text) => braces(text),
        }
    }

    /// A text becomes a number as HAProxy makes one of it: what it begins with, and 0 where that is none.
    pub(super) fn be_read_as_number(&mut self) {
        const OF_CLIENT: [&str; 5] = [
            "request.header.",
            "request.header_value.",
            "request.query.",
            "request.cookie.",
            "response.header.",
        ];
        let is_count = |function: &String| ["length", "crc32", "number"].contains(&function.as_str());
        let is_ours = match (&self.base, self.functions.last()) {
            (_, Some(last)) => is_count(last),
            (Base::Placeholder(name), None) => !OF_CLIENT.iter().any(|of| name.starts_with(of)),
            (Base::Constant(_), None) => true,
        };
        if self.kind == Type::Number && is_ours {
            return;
        }
        self.functions.push("number".to_owned());
        self.kind = Type::Number;
    }

    /// A text becomes an address as HAProxy makes one of it, which takes four numbers whatever but a digit and a dot follows.
    pub(super) fn be_read_as_address(&mut self) {
        if self.kind != Type::Address {
            let rest = super::regex::IPV4_WITH_REST;
            self.functions.extend([format!("regsub({}, '$1')", quoted(rest)), "address".to_owned()]);
            self.kind = Type::Address;
        }
    }

    /// What is no address is no value of an address.
    pub(super) fn be_what_it_is(&mut self) {
        let is_address = |function: &String| function == "address" || function.starts_with("mask(");
        if !self.is_of_connection() && !self.functions.iter().any(is_address) {
            self.be_canonical();
        }
    }

    /// An address is written in one way, also where it was sent in another.
    pub(super) fn be_canonical(&mut self) {
        if self.kind == Type::Address && (!self.is_of_connection() || !self.functions.is_empty()) {
            self.functions.push("mask(32, 128)".to_owned());
        }
    }

    fn is_of_connection(&self) -> bool {
        matches!(&self.base, Base::Placeholder(name) if OF_CONNECTION.contains(&name.as_str()))
    }

    /// Where it has a value in HAProxy: a header may be missing, and a field of it.
    pub(super) fn presence(&self) -> Cond {
        const MAY_BE_MISSING: [&str; 11] = [
            "request.header.",
            "request.header_value.",
            "request.query.",
            "request.cookie.",
            "request.authority",
            "request.host",
            "request.user",
            "response.header.",
            "server.name",
            "tls.",
            "var.",
        ];
        let Base::Placeholder(name) = &self.base else { return Cond::Always };
        let is_default = |at: usize| self.functions.get(at).is_some_and(|next| next.starts_with("default("));
        let may_fail = |at: &usize| {
            let function = self.functions[*at].as_str();
            ["field(", "base64_decode", "address", "number"]
                .iter()
                .any(|failing| function.starts_with(failing))
                || function.starts_with("mask(") && (!self.is_of_connection() || !function.contains(','))
                || function.starts_with("map(") && !function.contains(',')
        };
        let asked = (0..self.functions.len()).rev().find(may_fail).map_or(0, |at| at + 1);
        let may_be_missing = MAY_BE_MISSING.iter().any(|missing| name.starts_with(missing)) && !is_default(0);
        let of = Self { functions: self.functions[..asked].to_vec(), ..self.clone() };
        let value = match of.placeholder() {
            Ok(placeholder) if asked > 0 || may_be_missing => {
                Cond::named("value", placeholder, vec![Value::Flag(true)])
            }
            _ => Cond::Always,
        };
        Cond::all(self.needs_more().into_iter().chain([value]))
    }

    /// What it takes to be there in HAProxy, and would be there here without: a query has a `?`. A cookie
    /// without a value that ends its line, and has no blank before it, is overlooked there.
    pub(super) fn needs_more(&self) -> Option<Cond> {
        let Base::Placeholder(name) = &self.base else { return None };
        let regex = |pattern: String| vec![Value::table([("regex", Value::Text(pattern))])];
        if name == "request.query" {
            let mark = Value::table([("contains", Value::text("?"))]);
            Some(Cond::named("value", "{request.target}", vec![mark]))
        } else {
            let cookie = name.strip_prefix("request.cookie.")?;
            let overlooked = regex(format!("(?:^|[;,]){}=$", super::regex::escape(cookie)));
            let has_text = Cond::named("cookie", cookie, regex(".".to_owned()));
            Some(Cond::any([Cond::named("header", "Cookie", overlooked).not(), has_text]))
        }
    }

    /// Is it the last value of a list of the request? Then it is one of them: in texts the last, in conditions any.
    pub(super) fn be_value_of_list(&mut self) -> bool {
        let Base::Placeholder(name) = &self.base else { return false };
        let Some(header) = name.strip_prefix("request.header.") else { return false };
        let [field, trim, ..] = self.functions.as_slice() else { return false };
        if !field.starts_with("field(-1, ") || trim != "trim" {
            return false;
        }
        self.base = Base::Placeholder(format!("request.header_value.{header}"));
        self.functions.drain(..2);
        true
    }

    pub(super) fn is_placeholder(&self, name: &str) -> bool {
        self.functions.is_empty() && matches!(&self.base, Base::Placeholder(known) if known == name)
    }
}

/// A sample, and what `concat` puts behind it, as part of a template.
pub(super) fn with_concat(text: &str, scene: Scene<'_>) -> Result<(Sample, String), String> {
    let mut written = Written::parse(text)?;
    let mut parts = Vec::new();
    while written.converters.last().is_some_and(|(name, _)| name == "concat") {
        let (_, arguments) = written.converters.pop().unwrap_or_default();
        let mut part = String::new();
        if let Some(start) = arguments.first() {
            part.push_str(&braces(start));
        }
        if let Some(name) = arguments.get(1).filter(|name| !name.is_empty()) {
            part.push_str(&format!("{{var.{}}}", variable(name.trim())?));
        }
        if let Some(end) = arguments.get(2) {
            part.push_str(&braces(end));
        }
        parts.insert(0, part);
    }
    let mut sample = Sample::of(&written, scene)?;
    if scene.side == Side::Request {
        sample.be_value_of_list();
    }
    Ok((sample, parts.concat()))
}

/// Text within a template.
pub(super) fn braces(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// An argument of a function.
pub(super) fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{}\"", text.replace('"', "\\\"")) } else { format!("'{text}'") }
}

/// `var(txn.name)`: ours. `txn` lasts as long as our `request`; `req` ends earlier, and gets names of its own.
pub(super) fn variable(name: &str) -> Result<String, String> {
    let (scope, rest) =
        name.split_once('.').ok_or_else(|| format!("`{}` is no variable, as in txn.name", shown(name)))?;
    let clean: String = rest.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match scope {
        "txn" => Ok(clean),
        "req" => Ok(format!("req_{clean}")),
        "sess" => Ok(format!("session.{clean}")),
        "res" => Ok(format!("response.{clean}")),
        other => Err(format!(
            "variables of the scope `{}` are not there; `txn`, `req`, `res` and `sess` are",
            shown(other)
        )),
    }
}

/// A sample that stands alone as the words of an action.
pub(super) fn of_word(word: &Word, scene: Scene<'_>) -> Result<Sample, Fault> {
    let sample = Sample::parse(&word.text, scene).map_err(|why| Fault::at(word, why))?;
    scene.stand_at(word.span);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_haproxy_reads_in_another_way_is_inexact() {
        let folder = std::path::PathBuf::new();
        let (maps, inexact) = (Maps::new(&folder), Inexact::default());
        for (text, is_inexact) in [
            ("req.hdr(X-Forwarded-For,1)", true),
            ("hdr_ip(x,-2),ipmask(24)", true),
            ("req.fhdr(x,1)", true),
            ("hdr(x,-1)", false),
            ("hdr(x),field(1,:)", false),
            ("hdr(host,1)", false),
            ("hdr_val(x)", true),
            ("urlp_val(x)", true),
            ("hdr_val(content-length)", false),
            ("str(a,1)", false),
            ("var(txn.a,1)", false),
        ] {
            let scene = Scene { maps: &maps, side: Side::Request, inexact: &inexact };
            Sample::parse(text, scene).unwrap_or_else(|why| panic!("{text}: {why}"));
            scene.stand_at(Span { start: 0, end: 1 });
            let found = inexact.take();
            assert_eq!(found.len(), usize::from(is_inexact), "{text}: {found:?}");
            assert!(found.iter().all(|(at, _)| at.is_some()), "{text}");
        }
    }

    #[test]
    fn samples_become_placeholders_with_functions() {
        let folder = std::path::PathBuf::new();
        let (maps, inexact) = (Maps::new(&folder), Inexact::default());
        let scene = Scene { maps: &maps, side: Side::Request, inexact: &inexact };
        let cases = [
            ("src", "{client.ip}"),
            ("src,ipmask(24)", "{client.ip|mask(24)}"),
            ("hdr(host)", "{request.authority}"),
            ("req.hdr(Host),lower", "{request.authority|lower}"),
            ("hdr(host),host_only", "{request.host}"),
            ("hdr(host),field(1,:)", "{request.host}"),
            ("hdr(host),field(1,:),lower", "{request.host|lower}"),
            ("req.hdr(user-agent)", "{request.header.user-agent|field(-1, ',')|trim}"),
            ("req.hdr(content-length)", "{request.header.content-length}"),
            ("req.fhdr(x-a)", "{request.header.x-a}"),
            ("hdr(x-a)", "{request.header.x-a|field(-1, ',')|trim}"),
            ("hdr(x-a,1)", "{request.header.x-a|field(1, ',')|trim}"),
            ("path,lower,regsub(^/a,/b,gi)", "{request.path|lower|regsub('^/a', '/b', 'gi')}"),
            (
                "path,regsub(\"^/(here)(/|$)\",\"my/\\1\",g)",
                "{request.path|regsub('^/(here)(/|$)', 'my/${1}', 'g')}",
            ),
            ("url_param(a),url_dec", "{request.query.a|url_decode}"),
            ("cook(SRV)", "{request.cookie.SRV}"),
            ("var(txn.a.b)", "{var.a_b}"),
            ("var(sess.a)", "{var.session.a}"),
            ("unique-id", "{request.id}"),
            ("src,sha2(256),hex", "{client.ip|sha256|upper}"),
            ("src,sha2(256),hex,lower", "{client.ip|sha256|upper|lower}"),
            ("path,hex", "{request.path|hex|upper}"),
            ("ssl_c_s_dn(CN)", "{tls.client.name}"),
            ("ssl_c_der,sha2(256),hex,lower", "{tls.client.sha256|lower}"),
            ("str(a{b}),upper", "A{{B}}"),
            ("int(5)", "5"),
            ("date,http_date", "{time.http}"),
            ("date", "{time.unix}"),
            ("pathq", "{request.target}"),
            ("path,word(2,/)", "{request.path|word(2, '/', '')}"),
            ("path,bytes(1,3)", "{request.path|bytes(1, 3)}"),
            ("path,url_enc,length", "{request.path|url_encode|length}"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Sample::parse(text, scene).map(|sample| sample.template()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for text in [
            "",
            "nothing",
            "src,nothing",
            "hdr",
            "src(",
            "ssl_c_s_dn(cn,2)",
            "ssl_c_serial",
            "rand(0)",
            "var(x)",
            "var(proc.x)",
            "path,sha1",
            "src)x",
        ] {
            assert!(Sample::parse(text, scene).is_err(), "{text}");
        }
    }
}
