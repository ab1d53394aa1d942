//! Formats of logs as templates: `%ci:%cp %[req.hdr(host),lower]`.

use std::collections::BTreeSet;

use lb_proxy::sample::LOG_WORDS;

use super::{
    cond::Cond,
    directive::{Fault, shown},
    lexer::Word,
    sample::{self, Scene, Side},
    table::Known,
};

/// A variable: `%NAME`.
pub(super) struct Variable {
    pub(super) known: Known,
    /// `None` if nothing here says it.
    template: Option<&'static str>,
}

const fn is(name: &'static str, template: &'static str, becomes: &'static str) -> Variable {
    Variable { known: Known { name, becomes, note: "" }, template: Some(template) }
}

/// All that stand for something here.
#[rustfmt::skip] // a row to a line
pub(super) const VARIABLES: &[Variable] = &[
    is("ci", "{client.ip}", "`{client.ip}`"),
    is("cp", "{client.port}", "`{client.port}`"),
    is("fi", "{local.ip}", "`{local.ip}`"),
    is("fp", "{local.port}", "`{local.port}`"),
    is("f", "{frontend.name}", "`{frontend.name}`"),
    is("ft", "{frontend.name}", "`{frontend.name}`"),
    is("b", "{backend.name}", "`{backend.name}`"),
    is("s", "{server.name}", "`{server.name}`"),
    is("H", "{hostname}", "`{hostname}`"),
    is("pid", "{pid}", "`{pid}`"),
    is("ID", "{request.id}", "`{request.id}`"),
    is("HM", "{request.method}", "`{request.method}`"),
    is("HP", "{request.path}", "`{request.path}`"),
    is("HPO", "{request.path}", "`{request.path}`"),
    is("HU", "{request.target}", "`{request.target}`"),
    is("HV", "HTTP/{request.version}", "`HTTP/{request.version}`"),
    is("r", "{request.method} {request.target} HTTP/{request.version}", "`{request.method} {request.target} HTTP/{request.version}`"),
    is("ST", "{response.status}", "`{response.status}`"),
    is("Ts", "{time.unix}", "`{time.unix}`"),
    Variable { known: Known { name: "t, T, tr, trg, trl, Tl, ms, Ta, Tc, Td, Th, Ti, Tq, TR, Tr, Tt, Tu, Tw, B, U, CC, CS, ac, bc, bi, bp, bq, fc, lc, hr, hrl, hs, hsl, rc, rt, sc, si, sp, sq, sslc, sslv, ts, tsc, HQ", becomes: "", note: "Only known when a request ends, or not at all", }, template: None, },
];

/// A format, with what is fixed in it escaped.
pub(super) fn convert(word: &Word, scene: Scene<'_>) -> Result<String, Fault> {
    let text = convert_text(&word.text, scene).map_err(|why| Fault::at(word, why))?;
    scene.stand_at(word.span);
    Ok(text)
}

fn convert_text(text: &str, scene: Scene<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    let mut quotes = false;
    // All of them at once: one is enough to lose the whole text.
    let mut wrong: Vec<String> = Vec::new();
    while let Some(at) = rest.find('%') {
        push_text(&mut out, &rest[..at], scene.side);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let mut quoted = quotes;
        if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| format!("the `%{{` of `{}` has no `}}`", shown(text)))?;
            quoted = flags(&after[..end], quotes).unwrap_or_else(|why| {
                wrong.push(why);
                quotes
            });
            rest = &after[end + 1..];
        }
        if let Some(after) = rest.strip_prefix('[') {
            let (inner, after) =
                brackets(after).ok_or_else(|| format!("the `%[` of `{}` has no `]`", shown(text)))?;
            match sample::with_concat(inner, scene) {
                Ok((mut sample, behind)) => {
                    if !behind.is_empty() && sample.presence() != Cond::Always {
                        let why = "`concat` of what is not there is nothing in HAProxy, and here what it puts behind it";
                        scene.inexact.borrow_mut().push((None, why.to_owned()));
                    }
                    sample.be_what_it_is();
                    let sample = format!("{}{behind}", sample.template());
                    push(&mut out, &of_log(sample, scene.side), quoted, scene.side);
                }
                Err(why) => wrong.push(why),
            }
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (name, after) = variable_name(rest, end);
        rest = after;
        if name == "o" {
            quotes = quoted;
            continue;
        }
        match variable(name, scene.side) {
            Ok(template) => push(&mut out, template, quoted && QUOTED.contains(&name), scene.side),
            Err(why) => wrong.push(why),
        }
    }
    push_text(&mut out, rest, scene.side);
    if wrong.is_empty() {
        return Ok(out);
    }
    let mut known = BTreeSet::new();
    wrong.retain(|why| known.insert(why.clone()));
    Err(wrong.join("; "))
}

/// In a line HAProxy writes a sample as it is, and of what a server has not said there is nothing.
fn of_log(template: String, side: Side) -> String {
    if side != Side::Log {
        return template;
    }
    let template = template
        .replace("{response.status", "{log.server.status")
        .replace("{server.name", "{server.name|regsub('^<NOSRV>$', '')");
    let of_others = ["{request.", "{response.header.", "{var.", "{tls.", "{client_hello."];
    let is_one = template.matches('{').count() == 1 && of_others.iter().any(|of| template.starts_with(of));
    match template.strip_suffix('}') {
        Some(open) if is_one && !open.ends_with("|json") => format!("{open}|raw}}"),
        _ => template,
    }
}

/// What stands for `%NAME`.
fn variable(name: &str, side: Side) -> Result<&'static str, String> {
    if side == Side::Log {
        let at = LOG_WORDS.iter().position(|row| row.word.strip_prefix('%') == Some(name));
        let at = at.ok_or_else(|| format!("`%{}` is no variable of a format", shown(name)))?;
        // One that says `Likewise` means the row above.
        let why = || LOG_WORDS[..=at].iter().rev().find(|row| !row.note.starts_with("Likewise"));
        return LOG_WORDS[at].template.ok_or_else(|| {
            format!("`%{name}` is not there: {}", why().map_or("", |row| row.note.trim_end_matches('.')))
        });
    }
    match VARIABLES.iter().find(|variable| variable.known.names(name)) {
        Some(Variable { template: Some(template), .. }) => Ok(template),
        Some(_) => Err(format!("`%{name}` is only known when a request ends, or not at all")),
        None => Err(format!("`%{}` is no variable of a format", shown(name))),
    }
}

/// The longest name that is one: `%cp_` ends before `_`, `%cix` is `ci` and an `x`.
fn variable_name(text: &str, end: usize) -> (&str, &str) {
    let is_known = |name: &str| name == "o" || VARIABLES.iter().any(|variable| variable.known.names(name));
    let length = (1..=end).rev().find(|length| is_known(&text[..*length])).unwrap_or(end);
    text.split_at(length)
}

/// Variables that stand in quotes with `+Q`: neither numbers nor dates do.
const QUOTED: [&str; 23] = [
    "ci", "fi", "f", "ft", "b", "s", "H", "ID", "HM", "HP", "HPO", "HQ", "HU", "HV", "r", "CC", "CS", "hr",
    "hs", "bi", "si", "sslc", "sslv",
];

/// What is fixed. In a line of the log there is one blank between words, and none before the first.
fn push_text(out: &mut String, text: &str, side: Side) {
    for c in text.chars() {
        match c {
            c if side == Side::Log && c.is_ascii_whitespace() => {
                if !(out.is_empty() || out.ends_with(' ')) {
                    out.push(' ');
                }
            }
            '{' | '}' => out.extend([c, c]),
            c => out.push(c),
        }
    }
}

fn push(out: &mut String, template: &str, quoted: bool, side: Side) {
    if !quoted {
        match template.strip_suffix("|json}") {
            // Of nothing it makes an empty text, and there is `-`.
            Some(open) if side == Side::Log => out.extend([open, "|json|default('-')}"]),
            _ => out.push_str(template),
        }
        return;
    }
    out.push('"');
    // What is not there is nothing between quotes, and `-` without them.
    match template.strip_suffix('}') {
        Some(open) if side == Side::Log && !template.contains("default(") && template.starts_with('{') => {
            out.push_str(open);
            out.push_str("|default('')}");
        }
        _ => out.push_str(template),
    }
    out.push('"');
}

/// `+Q,-X`: whether values stand in quotes then.
fn flags(text: &str, mut quotes: bool) -> Result<bool, String> {
    for flag in text.split(',').filter(|flag| !flag.is_empty()) {
        match flag {
            "+Q" => quotes = true,
            "-Q" => quotes = false,
            "-X" | "-E" => {}
            other => return Err(format!("the flag `{}` of a format is not there", shown(other))),
        }
    }
    Ok(quotes)
}

/// Up to the bracket that closes: brackets within parentheses are of an expression.
fn brackets(text: &str) -> Option<(&str, &str)> {
    let (mut depth, mut quote) = (0_usize, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', _) => drop(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            (']', None) if depth == 0 => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::{files::Maps, sample::Inexact};

    #[test]
    fn formats_become_templates() {
        let folder = std::path::PathBuf::new();
        let (maps, inexact) = (Maps::new(&folder), Inexact::default());
        let scene = Scene { maps: &maps, side: Side::Request, inexact: &inexact };
        let cases = [
            ("plain", "plain"),
            ("a{b}%%", "a{{b}}%"),
            ("%ci:%cp", "{client.ip}:{client.port}"),
            ("%ci_%fp", "{client.ip}_{local.port}"),
            ("%[src]", "{client.ip}"),
            ("https://%[hdr(host),lower]%[pathq]", "https://{request.authority|lower}{request.target}"),
            ("%{+Q}[src]", "\"{client.ip}\""),
            ("%{+Q}o %ci %{-Q}cp", "\" \"{client.ip}\" {client.port}".strip_prefix('"').unwrap()),
            ("%[path,regsub(\"[a]\",x)]", "{request.path|regsub('[a]', 'x')}"),
            ("%[str(%)]", "%"),
        ];
        for (text, expected) in cases {
            assert_eq!(convert_text(text, scene).as_deref(), Ok(expected), "{text}");
        }
        for text in ["%", "%[src", "%{+X}o", "%{+Q", "%Ta", "%zz", "%[nothing]"] {
            assert!(convert_text(text, scene).is_err(), "{text}");
        }
    }
    #[test]
    fn formats_of_the_log_have_words_of_their_own() {
        let folder = std::path::PathBuf::new();
        let (maps, inexact) = (Maps::new(&folder), Inexact::default());
        let scene = Scene { maps: &maps, side: Side::Log, inexact: &inexact };
        let cases = [
            ("%ci %ST %r", "{client.ip} {log.status} {log.request}"),
            (
                "%{+Q}r {%[req.hdr(host),lower]}",
                "\"{log.request|default('')}\" {{{request.authority|lower|raw}}}",
            ),
            (
                "%{+Q}o %ci  %ST %t %CC ",
                "\"{client.ip|default('')}\" {log.status} {log.date} \"{log.cookie.request|default('')}\" ",
            ),
            ("%{+Q}[src]%{-Q}cp", "\"{client.ip|default('')}\"{client.port}"),
            ("%ts%tsc", "{log.termination|bytes(0, 2)}{log.termination}"),
            ("%[res.fhdr(a)] %[var(txn.b)]", "{response.header.a|raw} {var.b|raw}"),
            ("%[status] %[var(txn.b),json]", "{log.server.status} {var.b|json|default('-')}"),
            ("%[srv_name]", "{server.name|regsub('^<NOSRV>$', '')}"),
            (
                "%{+Q}hr %{+Q}[var(txn.b)]",
                "\"{log.headers.request|default('')}\" \"{var.b|raw|default('')}\"",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(convert_text(text, scene).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("%lc", "Lines are not counted"),
            ("%bp", "The kernel would have to be asked"),
            ("%zz", "no variable of a format"),
        ] {
            let found = convert_text(text, scene);
            assert!(found.as_ref().is_err_and(|found| found.contains(why)), "{text}: {found:?}");
        }
    }

    #[test]
    fn all_that_is_not_there_is_said_at_once() {
        let folder = std::path::PathBuf::new();
        let (maps, inexact) = (Maps::new(&folder), Inexact::default());
        let scene = Scene { maps: &maps, side: Side::Log, inexact: &inexact };
        let why = convert_text("%{+X}o %ci %lc %[nothing] %zz %lc %ST", scene).unwrap_err();
        for part in ["`+X`", "`%lc`", "`nothing`", "`%zz`"] {
            assert_eq!(why.matches(part).count(), 1, "{part}: {why}");
        }
    }
}
