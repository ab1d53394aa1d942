//! What may follow a sample: `,lower`, `,field(1,:)`.

use super::{Base, Sample, Scene, Side, Type, quoted};
use crate::{
    config::diagnostic::Span,
    import::haproxy::{directive::shown, lexer::Word, regex, table::Known},
};

/// A row.
pub(in crate::import::haproxy) struct Converter {
    pub(in crate::import::haproxy) known: Known,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// A function without arguments, and what its value is.
    Plain(&'static str, Type),
    /// Functions made of the arguments.
    With(fn(&[String]) -> Result<Vec<String>, String>, Type),
    /// It is part of another one, or works on the sample as a whole.
    Special,
    Missing,
}

const fn plain(
    name: &'static str,
    function: &'static str,
    becomes: &'static str,
    note: &'static str,
) -> Converter {
    Converter { known: Known { name, becomes, note }, how: How::Plain(function, Type::Text) }
}

const fn with(
    name: &'static str,
    make: fn(&[String]) -> Result<Vec<String>, String>,
    becomes: &'static str,
    note: &'static str,
) -> Converter {
    Converter { known: Known { name, becomes, note }, how: How::With(make, Type::Text) }
}

const fn special(name: &'static str, becomes: &'static str, note: &'static str) -> Converter {
    Converter { known: Known { name, becomes, note }, how: How::Special }
}

const fn missing(name: &'static str, note: &'static str) -> Converter {
    Converter { known: Known { name, becomes: "", note }, how: How::Missing }
}

/// All that are known.
#[rustfmt::skip] // a row to a line
pub(in crate::import::haproxy) const CONVERTERS: &[Converter] = &[
    plain("lower", "lower", "`lower`", ""),
    plain("upper", "upper", "`upper`", ""),
    Converter { known: Known { name: "length", becomes: "`length`", note: "" }, how: How::Plain("length", Type::Number), },
    with("field", |arguments| cut("field", arguments), "`field`", "Without a count."),
    with("word", |arguments| cut("word", arguments), "`word`", "Without a count."),
    with("bytes", bytes, "`bytes`", ""),
    with("regsub", regsub, "`regsub`", ""),
    plain("url_dec", "url_decode", "`url_decode`", "`+` stays."),
    plain("url_enc", "url_encode", "`url_encode`", ""),
    plain("base64", "base64", "`base64`", ""),
    plain("b64dec", "base64_decode", "`base64_decode`", ""),
    with("hex", |_| Ok(vec!["hex".into(), "upper".into()]), "`hex\\|upper`", "Digits are capitals there."),
    plain("json", "json", "`json`", "Of UTF-8."),
    Converter { known: Known { name: "crc32", becomes: "`crc32`", note: "" }, how: How::Plain("crc32", Type::Number), },
    Converter { known: Known { name: "xxh64", becomes: "`xxh64`", note: "With seed 0." }, how: How::Plain("xxh64", Type::Number), },
    special("sha2", "`sha256`", "As `sha2(256),hex`."),
    Converter { known: Known { name: "ipmask", becomes: "`mask`", note: "" }, how: How::With(mask, Type::Address), },
    special("host_only", "`{request.host}`", "Of `hdr(host)`."),
    special("http_date", "`{time.http}`", "Of `date`."),
    with("ltrim, rtrim", trim, "`trim`", "Of spaces, at both ends."),
    special("map, map_str, map_str_int, map_str_ip, map_int, map_int_int, map_int_ip", "`map(\"NAME\")`, `[map.NAME]`", "With the second argument, too. Values are texts."),
    special("map_beg, map_beg_int, map_beg_ip", "`map(\"NAME\")`", "With `match = \"prefix\"`: the longest key."),
    special("map_end, map_end_int, map_end_ip", "`map(\"NAME\")`", "With `match = \"suffix\"`: the longest key, not the first line."),
    special("map_ip, map_ip_int, map_ip_ip", "`map(\"NAME\")`", "With `match = \"network\"`."),
    special("map_reg, map_reg_int, map_reg_ip", "`map(\"NAME\")`", "With `match = \"regex\"`."),
    missing("map_dom*", "write its keys as expressions, for `map_reg`: `(^|[.:/?])example[.]com([.:/?]|$)` for example.com"),
    missing("map_sub*, map_dir*, map_regm", "write its keys as expressions, for `map_reg`: maps go from text to text, by the whole, a beginning, an end, a network or an expression"),
    special("concat", "the text, `{var.NAME}`", "At the end, in texts; not in conditions."),
    special("iif", "`{request.scheme}`", "Of `ssl_fc`, or of what is known when the file is converted."),
    missing("add_item, strcmp, secure_memcmp, bool, not, and, or, xor, cpl, add, sub, mul, div, mod, neg, even, odd", "there is no arithmetic; a rule with `when` and `set_var` decides"),
    missing("sha1, digest, hmac, djb2, sdbm, wt6, xxh3, xxh32, crc32c", "`sha256`, `crc32` and `xxh64` are there"),
    missing("ub64enc, ub64dec, hex2i, be2hex, be2dec, htonl, ltime, utime, ms_ltime, ms_utime", "nothing here does the same"),
    missing("json_query, jwt_verify, jwt_header_query, jwt_payload_query, protobuf, ungrpc, fix_*, mqtt_*, aes_*, cut_crlf, distcc_*", "content is not looked at"),
    missing("in_table, table_*", "what a stick table counts is asked by `rate_limit` (requests) and `per_source` (connections and requests) alone: write one of them with the same key"),
    missing("set-var, unset-var, language, nbsrv, srv_queue, debug, capture-req, capture-res, x509_v_err_str", "nothing here does the same"),
    missing("51d.*, da-csv-conv", "devices are not looked up"),
    missing("port_only", "write `{local.port}`, or `field(2, ':')` of the authority"),
];

/// Applies one; `rest` are those behind it, of which the returned number was taken as well.
pub(super) fn convert(
    sample: &mut Sample,
    (name, arguments): &(String, Vec<String>),
    rest: &[(String, Vec<String>)],
    scene: Scene<'_>,
) -> Result<usize, String> {
    let row = CONVERTERS.iter().find(|row| row.known.names(name));
    let Some(row) = row else {
        let names = CONVERTERS.iter().flat_map(|row| row.known.name.split(", "));
        let hint = crate::config::text::nearest(name, names).map(|name| format!("; did you mean `{name}`?"));
        return Err(format!(
            "`{}` is no converter that is known here{}",
            shown(name),
            hint.unwrap_or_default()
        ));
    };
    // What is known now is computed now, where that is easy.
    if let Base::Constant(text) = &mut sample.base {
        match name.as_str() {
            "lower" => text.make_ascii_lowercase(),
            "upper" => text.make_ascii_uppercase(),
            "length" => *text = text.len().to_string(),
            "iif" => {
                let [yes, no] = arguments.as_slice() else { return Err("`iif` takes two texts".into()) };
                *text = if text == "0" || text.is_empty() { no.clone() } else { yes.clone() };
            }
            _ => return Err(format!("`{name}` of a text that is known already: write its result")),
        }
        return Ok(0);
    }
    let is_authority = sample.is_placeholder("request.authority");
    match (name.as_str(), arguments.first().map(String::as_str)) {
        ("host_only", _) if is_authority => sample.base = Base::Placeholder("request.host".into()),
        // The usual way to take the port away.
        ("field", Some("1")) if is_authority && arguments.get(1).is_some_and(|by| by == ":") => {
            sample.base = Base::Placeholder("request.host".into());
        }
        ("http_date", None) if sample.is_placeholder("time.unix") => {
            sample.base = Base::Placeholder("time.http".into());
        }
        ("sha2", None | Some("256")) if rest.first().is_some_and(|(next, _)| next == "hex") => {
            sample.functions.extend(["sha256".into(), "upper".into()]);
            sample.kind = Type::Text;
            return Ok(1);
        }
        (map, Some(file)) if row.known.name.starts_with("map") && matches!(row.how, How::Special) => {
            let inexact = |why| scene.inexact.borrow_mut().push((None, why));
            scene.maps.first_of_ends(file, map).into_iter().for_each(inexact);
            scene.maps.twice(file, map).into_iter().for_each(inexact);
            if ["map_int", "map_int_int", "map_int_ip"].contains(&name.as_str()) {
                scene.maps.odd_number(file, map).into_iter().for_each(inexact);
                sample.be_read_as_number();
            }
            let map = scene.maps.add(file, map)?;
            // What is not there finds nothing, and has no default either.
            let otherwise = arguments.get(1).map(|text| format!(", {}", quoted(text))).unwrap_or_default();
            sample.functions.push(format!("map({}{otherwise})", quoted(&map)));
            sample.kind = match name.rsplit('_').next() {
                Some("int") if name != "map_int" => Type::Number,
                Some("ip") if name != "map_ip" => Type::Address,
                _ => Type::Text,
            };
        }
        _ => match row.how {
            How::Plain(function, kind) => {
                let first = arguments.first().map(String::as_str).unwrap_or_default();
                match (name.as_str(), first) {
                    ("url_dec", "1") => sample.functions.push(format!("regsub({}, ' ', 'g')", quoted(r"\+"))),
                    ("b64dec", _) => {
                        let why = "`b64dec` of text without its padding, or with last bits that stand for nothing: the former is decoded here and the latter in HAProxy";
                        scene.inexact.borrow_mut().push((None, why.into()));
                    }
                    ("json", _) if scene.side != Side::Log => {
                        let why = "`json` means the same for ASCII and is written in another way here: `/` as it is, `<`, `>` and `&` as \\u003c and its like; what is not ASCII is UTF-8";
                        scene.inexact.borrow_mut().push((None, why.into()));
                    }
                    (_, "") | ("json", _) | ("url_dec" | "crc32" | "xxh64", "0") | ("url_enc", "query") => {}
                    ("crc32", _) => {
                        return Err(
                            "`crc32` is there as it is, and not spread any further (`crc32(1)`)".into()
                        );
                    }
                    ("xxh64", _) => return Err("`xxh64` has the seed 0 here".into()),
                    _ => {
                        return Err(format!(
                            "`{name}({})` is not there: `{name}` takes no argument here",
                            shown(first)
                        ));
                    }
                }
                sample.functions.push(function.to_owned());
                sample.kind = kind;
            }
            How::With(make, kind) => {
                if kind == Type::Address {
                    sample.be_read_as_address();
                }
                sample.functions.extend(make(arguments)?);
                sample.kind = kind;
            }
            How::Special => return Err(format!("`{name}` is not there in this place")),
            How::Missing => return Err(format!("`{name}`: {}", row.known.note)),
        },
    }
    Ok(0)
}

/// `ssl_fc,iif(https,http)`
pub(super) fn of_scheme(
    texts: &[String],
    mut rest: &[(String, Vec<String>)],
    scene: Scene<'_>,
) -> Result<Sample, String> {
    let [yes, no] = texts else { return Err("`iif` takes two texts".into()) };
    let base = Base::Placeholder("request.scheme".to_owned());
    let mut sample = Sample { base, functions: Vec::new(), kind: Type::Text };
    let becomes = |scheme: &str, text: &str| {
        let text = regex::replacement(&text.replace('\\', "\\\\"));
        (scheme != text).then(|| format!("regsub('^{scheme}$', {})", quoted(&text)))
    };
    // What the first makes must be nothing to the second.
    let (first, second) = match (yes.as_str(), no.as_str()) {
        ("http", "https") => return Err("`iif(http,https)` says the opposite of what is".into()),
        ("http", _) => (becomes("http", no), becomes("https", yes)),
        _ => (becomes("https", yes), becomes("http", no)),
    };
    sample.functions.extend(first.into_iter().chain(second));
    while let [next, more @ ..] = rest {
        let taken = convert(&mut sample, next, more, scene)?;
        rest = &more[taken..];
    }
    Ok(sample)
}

fn cut(function: &str, arguments: &[String]) -> Result<Vec<String>, String> {
    let [index, delimiters] = arguments else {
        return Err(format!("`{function}` takes a number and delimiters here"));
    };
    let index = index.parse::<i32>().ok().filter(|index| *index != 0);
    let index = index.ok_or_else(|| format!("`{function}` counts from 1, or from the end with -1"))?;
    // A text of fewer words has an empty one more; of fewer fields it has none.
    let otherwise = if function == "word" { ", ''" } else { "" };
    Ok(vec![format!("{function}({index}, {}{otherwise})", quoted(delimiters))])
}

fn bytes(arguments: &[String]) -> Result<Vec<String>, String> {
    let number = |text: &String| text.parse::<u32>().map_err(|_| "`bytes` takes numbers from 0".to_owned());
    match arguments {
        [start] => Ok(vec![format!("bytes({})", number(start)?)]),
        [start, length] => Ok(vec![format!("bytes({}, {})", number(start)?, number(length)?)]),
        _ => Err("`bytes` takes a start and a length".into()),
    }
}

fn regsub(arguments: &[String]) -> Result<Vec<String>, String> {
    let (pattern, with, flags) = match arguments {
        [pattern, with] => (pattern, with, ""),
        [pattern, with, flags] => (pattern, with, flags.as_str()),
        _ => return Err("`regsub` takes an expression, its replacement and flags".into()),
    };
    let word = Word { text: pattern.clone(), span: Span { start: 0, end: 0 } };
    let pattern = regex::convert(&word, false).map_err(|fault| fault.why)?;
    let with = regex::replacement(with);
    let flags = if flags.is_empty() { String::new() } else { format!(", {}", quoted(flags)) };
    Ok(vec![format!("regsub({}, {}{flags})", quoted(&pattern), quoted(&with))])
}

fn mask(arguments: &[String]) -> Result<Vec<String>, String> {
    let bits = |text: &String| {
        text.trim().parse::<u8>().map_err(|_| format!("`ipmask({})` takes numbers of bits", shown(text)))
    };
    match arguments {
        [v4] => Ok(vec![format!("mask({})", bits(v4)?)]),
        [v4, v6] => Ok(vec![format!("mask({}, {})", bits(v4)?, bits(v6)?)]),
        _ => Err("`ipmask` takes numbers of bits".into()),
    }
}

fn trim(arguments: &[String]) -> Result<Vec<String>, String> {
    match arguments {
        [] => Ok(vec!["trim".into()]),
        [characters] if characters.trim().is_empty() => Ok(vec!["trim".into()]),
        _ => Err("only white space can be trimmed".into()),
    }
}
