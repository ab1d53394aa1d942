//! The one form of a path that rules compare and servers get.
//!
//! `/admin`, `//admin`, `/%61dmin` and `/x/../admin` are one resource to many servers. A rule that compares bytes would
//! let three of them pass. So where a rule looks at the path, the path is brought to its normal form first (RFC 3986
//! §6.2.2, and no empty elements), and it is this form that the server gets: what was matched is what is forwarded.
//! What stays ambiguous even so is refused: an encoded slash, backslash or NUL, a plain backslash, a `%` without digits,
//! and `..;x`, which servers that take `;` for the begin of a parameter read as `..`. Other parameters stay where they are,
//! and rules don't see them: [`super::parameters`].

use crate::hex;

/// What happens to paths that can be read in two ways, where a rule looks at the path.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AmbiguousPath {
    /// They are brought to their normal form; 400 if there is none. Rules look at them without parameters (`/a;x`).
    #[default]
    Normalize,
    /// They are answered with 400; those with parameters as well.
    Refuse,
    /// They are compared and forwarded as they were sent, as HAProxy does.
    Pass,
}

/// A path has no normal form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ambiguous;

/// Appends the normal form of `path` to the empty `out`; false, and nothing appended, if `path` is in it.
pub(crate) fn normalize(path: &[u8], out: &mut Vec<u8>) -> Result<bool, Ambiguous> {
    if path.first() != Some(&b'/') || is_plain(path) {
        return Ok(false);
    }
    decode_unreserved(path, out)?;
    if out.split(|&byte| byte == b'/').any(is_dots_with_parameters) {
        out.clear();
        return Err(Ambiguous);
    }
    remove_dots(out);
    if out == path {
        out.clear();
        return Ok(false);
    }
    Ok(true)
}

/// How a path that somebody wrote looks where rules compare it, the bytes that no request target has (RFC 9112 §3.2)
/// being percent-encoded first; `None` if it has no normal form.
pub fn normal_form(path: &str) -> Option<String> {
    let mut sent = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            sent.push(byte.into());
        } else {
            sent.push_str(&format!("%{byte:02X}"));
        }
    }
    let mut normal = Vec::new();
    match normalize(sent.as_bytes(), &mut normal) {
        Ok(true) => String::from_utf8(normal).ok(),
        Ok(false) => Some(sent),
        Err(Ambiguous) => None,
    }
}

/// Dots, and a parameter that some servers would cut off.
fn is_dots_with_parameters(element: &[u8]) -> bool {
    let rest = element.strip_prefix(b"..").or_else(|| element.strip_prefix(b"."));
    rest.is_some_and(|rest| rest.starts_with(b";") || rest.starts_with(b"%3B"))
}

/// Does some element of it, however it is spelled, lead to the one above?
pub(crate) fn climbs(path: &[u8]) -> bool {
    // The dots that an element consists of so far.
    let mut dots = Some(0_usize);
    let mut rest = path;
    loop {
        let byte = match rest {
            [] => return dots == Some(2),
            [b'%', high, low, after @ ..] if hex::value(*high).is_some() && hex::value(*low).is_some() => {
                rest = after;
                hex::value(*high).zip(hex::value(*low)).map_or(b'%', |(high, low)| high << 4 | low)
            }
            [byte, after @ ..] => {
                rest = after;
                *byte
            }
        };
        dots = match byte {
            b'/' | b'\\' | b';' if dots == Some(2) => return true,
            b'/' | b'\\' => Some(0),
            b'.' => dots.map(|dots| dots + 1),
            _ => None,
        };
    }
}

/// Nothing in it that could be written in another way.
fn is_plain(path: &[u8]) -> bool {
    memchr::memchr2(b'%', b'\\', path).is_none()
        && !path.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

fn decode_unreserved(path: &[u8], out: &mut Vec<u8>) -> Result<(), Ambiguous> {
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'\\' => return Err(Ambiguous),
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err(Ambiguous) };
                let (Some(high_value), Some(low_value)) = (hex::value(*high), hex::value(*low)) else {
                    return Err(Ambiguous);
                };
                match high_value << 4 | low_value {
                    b'/' | b'\\' | 0 => return Err(Ambiguous),
                    plain if plain.is_ascii_alphanumeric() || matches!(plain, b'-' | b'.' | b'_' | b'~') => {
                        out.push(plain);
                    }
                    _ => out.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
                }
                rest = after;
            }
            _ => out.push(*byte),
        }
    }
    Ok(())
}

/// RFC 3986 §5.2.4, in place; and no empty elements.
pub(super) fn remove_dots(path: &mut Vec<u8>) {
    let (mut read, mut write) = (0, 0);
    while read < path.len() {
        // `read` is at a slash, `write` where the next element would be written with its slash.
        let start = read + 1;
        let end = memchr::memchr(b'/', &path[start..]).map_or(path.len(), |at| start + at);
        let is_last = end == path.len();
        match &path[start..end] {
            b"" if !is_last => {}
            b"." if !is_last => {}
            b".." => {
                write = memchr::memrchr(b'/', &path[..write]).unwrap_or(0);
                if is_last {
                    path[write] = b'/';
                    write += 1;
                }
            }
            element => {
                let length = if element == b"." { 0 } else { element.len() };
                path[write] = b'/';
                path.copy_within(start..start + length, write + 1);
                write += 1 + length;
            }
        }
        read = end;
    }
    path.truncate(write);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> Result<String, Ambiguous> {
        let mut out = Vec::new();
        let changed = normalize(path.as_bytes(), &mut out)?;
        Ok(if changed { String::from_utf8(out).unwrap() } else { path.to_owned() })
    }

    #[test]
    fn spellings_of_one_path_become_one() {
        for path in [
            "/admin",
            "//admin",
            "/%61dmin",
            "/./admin",
            "/x/../admin",
            "/../admin",
            "///admin",
            "/%2e/admin",
            "/x/%2E%2e/admin",
            "/x//../admin",
            "/.//admin",
            "/a/b/../../admin",
        ] {
            assert_eq!(normal(path).as_deref(), Ok("/admin"), "{path}");
        }
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a//", "/a/"),
            ("/a/../", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a;b=..;c", "/a;b=..;c"),
            ("/..a/b..", "/..a/b.."),
            ("/%c3%a4", "/%C3%A4"),
            ("/a%20b%3f", "/a%20b%3F"),
            ("/%7Euser", "/~user"),
            ("/%2541", "/%2541"),
            ("*", "*"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_servers_may_take_for_a_slash_is_refused() {
        for path in [
            "/x/..%2fadmin",
            "/%2Fadmin",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%",
            "/a%4",
            "/a%zz",
            "/x/..;/admin",
            "/x/%2e.;a=b/admin",
            "/x/.%2e%3bv/admin",
            "/x/.%3b/admin",
            "/.;/admin",
            "/x/..%3b/admin",
            "/x/%2e%3Ba/admin",
        ] {
            assert_eq!(normal(path), Err(Ambiguous), "{path}");
        }
    }

    #[test]
    fn elements_that_lead_upwards_are_found_in_every_spelling() {
        for path in [
            "/a/..",
            "/../a",
            "..",
            "/a/%2e./b",
            "/a/%2E%2e",
            "/a/..;b/c",
            "/a/..%3Bb",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5C..",
        ] {
            assert!(climbs(path.as_bytes()), "{path}");
        }
        for path in ["/", "/a/.", "/a/...", "/..a", "/a..", "/a/.;../b", "/a;../b", "/%2e%252e", "/a/%2e"] {
            assert!(!climbs(path.as_bytes()), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(path in "/([a./]|%2e|%61|%25){0,24}") {
            let once = normal(&path).unwrap();
            prop_assert_eq!(normal(&once).unwrap(), once.clone());
            prop_assert!(once.starts_with('/') && !once.contains("//"));
            prop_assert!(once.split('/').all(|element| element != "." && element != ".."));
        }
    }
}
