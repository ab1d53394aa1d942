//! What stands in parentheses behind a word: `regsub("^/(a|b)","/\1",g)`. The second level of HAProxy's quoting.

/// The arguments up to the closing parenthesis, and what follows it. `text` begins behind the opening one.
pub(super) fn split(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut arguments = Vec::new();
    let mut argument = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (')', None) => {
                arguments.push(argument);
                if arguments.len() == 1 && arguments[0].is_empty() {
                    arguments.clear();
                }
                return Ok((arguments, &text[at + 1..]));
            }
            (',', None) => arguments.push(std::mem::take(&mut argument)),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => {
                let next = chars.peek().map(|(_, next)| *next);
                match next {
                    Some('n') => argument.push('\n'),
                    Some('r') => argument.push('\r'),
                    Some('t') => argument.push('\t'),
                    Some(next @ (' ' | '\\' | '\'' | '"' | ',' | ')')) => argument.push(next),
                    Some(_) | None => {
                        argument.push('\\');
                        continue;
                    }
                }
                chars.next();
            }
            (c, _) => argument.push(c),
        }
    }
    Err("a `(` has no `)`; parentheses and commas within an argument stand in quotes".into())
}

/// A word with its arguments: `name(a,b)` is `name` and two arguments, `name` has none. What follows is the rest.
pub(super) fn call(text: &str) -> Result<(&str, Vec<String>, &str), String> {
    let end = text.find(['(', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix('(') {
        Some(inner) => {
            let (arguments, rest) = split(inner)?;
            Ok((name, arguments, rest))
        }
        None => Ok((name, Vec::new(), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_cut_as_haproxy_cuts_them() {
        let cases: [(&str, &[&str], &str); 10] = [
            ("foo,blah,g)]", &["foo", "blah", "g"], "]"),
            (r#""^/(here)(/|$)","my/\1",g),x"#, &["^/(here)(/|$)", r"my/\1", "g"], ",x"),
            ("(foo|bar),blah,g)", &["(foo|bar"], ",blah,g)"),
            (r"\'foo\')", &["'foo'"], ""),
            (")", &[], ""),
            (",)", &["", ""], ""),
            ("1, ' ')", &["1", "  "], ""),
            ("2, ),b64dec", &["2", " "], ",b64dec"),
            (r#""a\"b")"#, &["a\"b"], ""),
            (r"a\,b)", &["a,b"], ""),
        ];
        for (text, arguments, rest) in cases {
            let (found, after) = split(text).unwrap();
            assert_eq!(
                (found.as_slice(), after),
                (arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>().as_slice(), rest),
                "{text}"
            );
        }
        assert!(split("a,b").is_err() && split("\"a)").is_err());
        assert_eq!(call("lower,x"), Ok(("lower", Vec::new(), ",x")));
        assert_eq!(call("hdr(host),x"), Ok(("hdr", vec!["host".to_owned()], ",x")));
    }
}
