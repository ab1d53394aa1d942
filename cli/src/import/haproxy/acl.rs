//! `acl` and `if`: named and anonymous tests, combined with `or`, `!` and nothing at all, into a [`Cond`].

mod compare;
mod special;

use std::cell::Cell;

use super::{
    cond::Cond,
    directive::{Fault, shown},
    lexer::Word,
    sample::{Scene, Written},
};
use crate::config::diagnostic::Span;

/// What conditions are read with.
pub(super) struct Scope<'s> {
    /// The words of each `acl` of the section, its name first.
    pub(super) acls: &'s [Vec<Word>],
    pub(super) scene: Scene<'s>,
    /// Tests in each other: a test may name no other, so this only counts work.
    pub(super) tests: Cell<usize>,
}

/// Lists that are there without being declared.
const PREDEFINED: [(&str, &str); 23] = [
    ("FALSE", "always_false"),
    ("HTTP", "req.proto_http"),
    ("HTTP_1.0", "req.ver 1.0"),
    ("HTTP_1.1", "req.ver 1.1"),
    ("HTTP_2.0", "req.ver 2.0"),
    ("HTTP_3.0", "req.ver 3.0"),
    ("HTTP_CONTENT", "req.hdr_val(content-length) gt 0"),
    ("HTTP_URL_ABS", "url_reg ^[^/:]*://"),
    ("HTTP_URL_SLASH", "url_beg /"),
    ("HTTP_URL_STAR", "url *"),
    ("LOCALHOST", "src 127.0.0.1/8 ::1"),
    ("METH_CONNECT", "method CONNECT"),
    ("METH_DELETE", "method DELETE"),
    ("METH_GET", "method GET HEAD"),
    ("METH_HEAD", "method HEAD"),
    ("METH_OPTIONS", "method OPTIONS"),
    ("METH_POST", "method POST"),
    ("METH_PUT", "method PUT"),
    ("METH_TRACE", "method TRACE"),
    ("RDP_COOKIE", "req.rdp_cookie_cnt gt 0"),
    ("REQ_CONTENT", "req.len gt 0"),
    ("TRUE", "always_true"),
    ("WAIT_END", "wait_end"),
];

/// More tests than this in one condition are no condition.
const MOST_TESTS: usize = 2_000;

/// What the words from `if` or `unless` on say; no words say `Always`.
pub(super) fn condition(words: &[Word], scope: &Scope<'_>) -> Result<Cond, Fault> {
    scope.tests.set(0);
    let Some((keyword, words)) = words.split_first() else { return Ok(Cond::Always) };
    if words.is_empty() {
        return Err(Fault::at(keyword, format!("nothing follows `{}`", shown(&keyword.text))));
    }
    let cond = disjunction(words, &mut |test| named(test, scope), &mut |test| self::test(test, scope))?;
    Ok(if keyword.text == "unless" { cond.not() } else { cond })
}

/// `a !b or c`, where names and tests in braces are given to those who know them.
pub(super) fn disjunction(
    mut words: &[Word],
    named: &mut dyn FnMut(&Word) -> Result<Cond, Fault>,
    test: &mut dyn FnMut(&[Word]) -> Result<Cond, Fault>,
) -> Result<Cond, Fault> {
    let (mut any, mut all) = (Vec::new(), Vec::new());
    while let Some((first, rest)) = words.split_first() {
        words = rest;
        if matches!(first.text.as_str(), "or" | "||") {
            any.push(Cond::all(std::mem::take(&mut all)));
            continue;
        }
        let bare = first.text.trim_start_matches('!');
        let mut is_negated = (first.text.len() - bare.len()) % 2 == 1;
        let mut word = Word { text: bare.to_owned(), span: first.span };
        // `!` may stand alone before what it negates.
        while word.text.is_empty() {
            let Some((next, rest)) = words.split_first() else {
                return Err(Fault::at(first, "nothing follows the `!`"));
            };
            words = rest;
            let bare = next.text.trim_start_matches('!');
            is_negated ^= (next.text.len() - bare.len()) % 2 == 1;
            word = Word { text: bare.to_owned(), span: next.span };
        }
        let one = if word.text == "{" {
            let end = words.iter().position(|word| word.text == "}");
            let Some(end) = end else {
                return Err(Fault::at(&word, "this `{` has no `}`; both stand between spaces"));
            };
            let inner = &words[..end];
            words = &words[end + 1..];
            test(inner)?
        } else {
            named(&word)?
        };
        all.push(if is_negated { one.not() } else { one });
    }
    any.push(Cond::all(all));
    Ok(Cond::any(any))
}

/// All tests under one name: any of them.
fn named(word: &Word, scope: &Scope<'_>) -> Result<Cond, Fault> {
    let lists: Vec<_> =
        scope.acls.iter().filter(|acl| acl.first().is_some_and(|name| name.text == word.text)).collect();
    if !lists.is_empty() {
        let tests = lists.iter().map(|acl| {
            test(&acl[1..], scope).map_err(|fault| Fault {
                span: fault.span,
                why: format!("`acl {}`: {}", shown(&word.text), fault.why),
            })
        });
        return Ok(Cond::any(tests.collect::<Result<Vec<_>, _>>()?));
    }
    if let Some((_, text)) = PREDEFINED.iter().find(|(name, _)| *name == word.text) {
        let words: Vec<_> =
            text.split(' ').map(|text| Word { text: text.to_owned(), span: word.span }).collect();
        return test(&words, scope).map_err(|fault| Fault {
            span: Some(word.span),
            why: format!("`{}`: {}", word.text, fault.why),
        });
    }
    let names = scope.acls.iter().filter_map(|acl| acl.first()).map(|name| name.text.as_str());
    let hint =
        crate::config::text::nearest(&word.text, names).map(|name| format!("; did you mean `{name}`?"));
    Err(Fault::at(word, format!("no `acl` is called `{}`{}", shown(&word.text), hint.unwrap_or_default())))
}

/// How values are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Match {
    Found,
    Flag,
    Number,
    Length,
    Address,
    Exact,
    Prefix,
    Suffix,
    Contains,
    Directory,
    Domain,
    Regex,
}

const MATCHES: [(&str, Match); 12] = [
    ("found", Match::Found),
    ("bool", Match::Flag),
    ("int", Match::Number),
    ("len", Match::Length),
    ("ip", Match::Address),
    ("str", Match::Exact),
    ("beg", Match::Prefix),
    ("end", Match::Suffix),
    ("sub", Match::Contains),
    ("dir", Match::Directory),
    ("dom", Match::Domain),
    ("reg", Match::Regex),
];

/// A value to compare with.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) word: Word,
    /// `-i`
    pub(super) fold: bool,
}

/// A criterion with its flags and values.
#[derive(Clone)]
pub(super) struct Test {
    /// The criterion.
    pub(super) word: Word,
    pub(super) sample: Written,
    /// As the name or `-m` says.
    pub(super) by: Option<Match>,
    /// `gt` and its like.
    pub(super) operator: Option<String>,
    pub(super) patterns: Vec<Pattern>,
}

/// `CRITERION [FLAGS] [OPERATOR] VALUES`
fn test(words: &[Word], scope: &Scope<'_>) -> Result<Cond, Fault> {
    scope.tests.set(scope.tests.get() + 1);
    let Some((criterion, rest)) = words.split_first() else { return Err("a test has nothing in it".into()) };
    if scope.tests.get() > MOST_TESTS {
        return Err(Fault::at(criterion, "the condition has too many tests"));
    }
    let mut sample = Written::parse(&criterion.text).map_err(|why| Fault::at(criterion, why))?;
    let by = take_suffix(&mut sample);
    let mut test = Test { word: criterion.clone(), sample, by, operator: None, patterns: Vec::new() };
    flags(&mut test, rest, scope)?;
    compare::compare(&test, scope)
}

/// `path_beg` is `path` compared by its beginning, unless a converter stands between.
fn take_suffix(sample: &mut Written) -> Option<Match> {
    let is_whole = |name: &str| {
        super::sample::FETCHES.iter().any(|fetch| fetch.known.name.split(", ").any(|known| known == name))
    };
    if is_whole(&sample.name) {
        return None;
    }
    let (name, suffix) = sample.name.rsplit_once('_').filter(|(name, _)| is_whole(name))?;
    let by =
        MATCHES.iter().find(|(word, _)| *word == suffix && !matches!(suffix, "found" | "bool" | "int"))?.1;
    sample.name = name.to_owned();
    sample.converters.is_empty().then_some(by)
}

fn flags(test: &mut Test, words: &[Word], scope: &Scope<'_>) -> Result<(), Fault> {
    let mut fold = false;
    let mut words = words.iter();
    let mut is_first = true;
    while let Some(word) = words.next() {
        let value = |next: Option<&Word>| {
            next.cloned()
                .ok_or_else(|| Fault::at(word, format!("`{}` takes a value, and there is none", word.text)))
        };
        match word.text.as_str() {
            "--" => {
                test.patterns.extend(words.map(|word| Pattern { word: word.clone(), fold }));
                return Ok(());
            }
            // Behind the first value these are values themselves.
            "-i" if is_first => fold = true,
            "-n" if is_first => {}
            "-u" if is_first => drop(value(words.next())?),
            "-M" if is_first => return Err(Fault::at(word, "`-M`: a map is asked with the converter `map`")),
            "-m" if is_first => {
                let method = value(words.next())?;
                let known = MATCHES.iter().find(|(name, _)| *name == method.text);
                test.by = match known {
                    Some((_, by)) => Some(*by),
                    None => {
                        return Err(Fault::at(&method, format!("`-m {}` is not there", shown(&method.text))));
                    }
                };
            }
            "-f" if is_first => {
                let file = value(words.next())?;
                let lines = scope.scene.maps.lines(&file.text).map_err(|why| Fault::at(&file, why))?;
                let span: Span = file.span;
                test.patterns
                    .extend(lines.into_iter().map(|text| Pattern { word: Word { text, span }, fold }));
            }
            "eq" | "ge" | "gt" | "le" | "lt" if is_first => {
                (test.operator, is_first) = (Some(word.text.clone()), false);
            }
            _ => {
                is_first = false;
                test.patterns.push(Pattern { word: word.clone(), fold });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
