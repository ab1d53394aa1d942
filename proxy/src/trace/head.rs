//! A head as a tracer sees it.

use super::HEAD;
use crate::http::head::name::Name;

/// What stands in the place of a value that is not shown.
const HIDDEN: &[u8] = b"<hidden>";

/// `bytes` with their first [`HEAD`] bytes at most, and without the values of secret fields if these are not wanted.
pub(super) fn shown(bytes: &[u8], secrets: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().min(HEAD));
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let colon = line.iter().position(|&byte| byte == b':');
        match colon.filter(|&colon| !secrets && is_secret(&line[..colon])) {
            Some(colon) => {
                out.extend_from_slice(&line[..=colon]);
                out.push(b' ');
                out.extend_from_slice(HIDDEN);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
        if out.len() > HEAD {
            out.truncate(HEAD);
            break;
        }
    }
    out
}

fn is_secret(name: &[u8]) -> bool {
    matches!(Name::of(name), Name::Authorization | Name::ProxyAuthorization | Name::Cookie | Name::SetCookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_let_somebody_in_are_hidden_unless_they_are_wanted() {
        let head = b"GET /:Cookie HTTP/1.1\r\nHost: a:80\r\nCOOKIE: a=b\r\nset-cookie:c\r\nAuthorization:  Basic x\r\n\
                     Proxy-Authorization: y\r\nX-Cookie: z\r\n\r\n";
        assert_eq!(
            String::from_utf8_lossy(&shown(head, false)),
            "GET /:Cookie HTTP/1.1\r\nHost: a:80\r\nCOOKIE: <hidden>\r\nset-cookie: <hidden>\r\nAuthorization: <hidden>\r\n\
             Proxy-Authorization: <hidden>\r\nX-Cookie: z\r\n\r\n"
        );
        assert_eq!(shown(head, true), head);
    }

    #[test]
    fn long_heads_are_cut_off() {
        assert_eq!(shown(&[b'a'; 10_000], false).len(), HEAD);
        assert_eq!(shown(&b"a: b\n".repeat(10_000), false).len(), HEAD);
    }
}
