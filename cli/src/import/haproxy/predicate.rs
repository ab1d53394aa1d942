//! What stands behind `.if`: `feature(OPENSSL) && !streq("$A",b) || 1`.
//!
//! ```text
//! or        = and *( "||" and )
//! and       = not *( "&&" not )
//! not       = *"!" ( "(" or ")" / integer / name "(" [ argument *( "," argument ) ] ")" )
//! ```

use super::{arguments, variables::Variables};

/// Parentheses and negations in each other.
const DEEPEST: usize = 64;

/// The version of HAProxy for which the file is read: none is newer, so that the newest words are taken.
const VERSION: [u32; 3] = [99, 0, 0];

/// What it is, or why it can't be said.
pub(super) fn evaluate(text: &str, variables: &Variables<'_>) -> Result<bool, String> {
    if text.trim().is_empty() {
        return Ok(false);
    }
    let mut parser = Parser { rest: text, variables, depth: 0 };
    let value = parser.or()?;
    if parser.peek().is_empty() {
        Ok(value)
    } else {
        Err(format!("`{}` is left over after the condition", shown(parser.rest.trim())))
    }
}

struct Parser<'t> {
    rest: &'t str,
    variables: &'t Variables<'t>,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn or(&mut self) -> Result<bool, String> {
        let mut value = self.and()?;
        while self.take("||") {
            value |= self.and()?;
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<bool, String> {
        let mut value = self.not()?;
        while self.take("&&") {
            value &= self.not()?;
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<bool, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("the condition is nested more than {DEEPEST} times"));
        }
        let value = if self.take("!") {
            !self.not()?
        } else if self.take("(") {
            let value = self.or()?;
            if !self.take(")") {
                return Err("a `(` of the condition has no `)`".into());
            }
            value
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn predicate(&mut self) -> Result<bool, String> {
        let rest = self.peek();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-+.".contains(c))).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        self.rest = after;
        if let Ok(number) = name.parse::<i64>() {
            return Ok(number != 0);
        }
        let unknown = || {
            format!(
                "`{}` is no condition; those are numbers, defined(), feature(), streq(), strneq(), strstr(), \
                 version_atleast(), version_before() and enabled()",
                shown(rest)
            )
        };
        let Some(inner) = after.strip_prefix('(') else { return Err(unknown()) };
        let (arguments, after) = arguments::split(inner)?;
        self.rest = after;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        match (name, arguments.as_slice()) {
            ("defined", [variable]) => Ok(self.variables.is_set(variable)),
            // As in the packages of distributions: everything but what needs other programs.
            ("feature", [feature]) => {
                Ok(!["QUIC", "51DEGREES", "DEVICEATLAS", "WURFL", "OT"].contains(feature))
            }
            ("enabled", [_]) => Ok(true),
            ("streq", [a, b]) => Ok(a == b),
            ("strneq", [a, b]) => Ok(a != b),
            ("strstr", [text, part]) => Ok(text.contains(part)),
            ("version_atleast" | "openssl_version_atleast" | "awslc_api_atleast", [version]) => {
                Ok(VERSION >= self::version(version)?)
            }
            ("version_before" | "openssl_version_before" | "awslc_api_before", [version]) => {
                Ok(VERSION < self::version(version)?)
            }
            ("ssllib_name_startswith", [name]) => Ok("OpenSSL".starts_with(name)),
            ("true", []) => Ok(true),
            ("false", []) => Ok(false),
            _ => Err(unknown()),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.peek().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn peek(&self) -> &'t str {
        self.rest.trim_start()
    }
}

/// `2.4-dev19` is 2.4.0.
fn version(text: &str) -> Result<[u32; 3], String> {
    let wrong = || format!("`{}` is no version; write it as in 2.4", shown(text));
    let numbers = text.split(['-', '_']).next().unwrap_or_default();
    let mut version = [0; 3];
    for (index, part) in numbers.split('.').enumerate() {
        *version.get_mut(index).ok_or_else(wrong)? = part.parse().map_err(|_| wrong())?;
    }
    Ok(version)
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_haproxy_reads_them() {
        let environment = [("A".to_owned(), "1".to_owned())];
        let variables = Variables::new(&environment, "", "");
        let cases = [
            ("", Some(false)),
            ("0", Some(false)),
            ("12", Some(true)),
            ("-1", Some(true)),
            ("!0", Some(true)),
            ("!!1", Some(true)),
            ("defined(A)", Some(true)),
            ("defined(B)", Some(false)),
            ("streq(a,a) && !streq(a,b)", Some(true)),
            ("strneq(a,a)||strneq( a,b)", Some(true)),
            ("1 || 1 && 0", Some(true)),
            ("(1 || 1) && 0", Some(false)),
            ("feature(OPENSSL) && (streq(x,yes) || 1)", Some(true)),
            ("version_atleast(2.4-dev19)", Some(true)),
            ("version_before(3.0)", Some(false)),
            ("streq(\"a b\",'a b')", Some(true)),
            ("foo", None),
            ("foo(1)", None),
            ("streq(a)", None),
            ("streq(a,b", None),
            ("(1", None),
            ("1 2", None),
            ("1 &&", None),
            ("version_atleast(x)", None),
            ("version_atleast(1.2.3.4)", None),
        ];
        for (text, expected) in cases {
            assert_eq!(evaluate(text, &variables).ok(), expected, "{text}");
        }
        for text in ["(".repeat(10_000), "!".repeat(10_000)] {
            assert!(evaluate(&text, &variables).is_err());
        }
    }
}
