//! What counts as credentials.

use super::credentials::Credentials;
use crate::{
    http::{
        head::{Fields, Progress, request::Head},
        message::Message,
    },
    rules::UsedFields,
    sample::base64,
};

/// The name and the password that a request with these field lines has.
fn read(lines: &str) -> Option<(String, String)> {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let (mut fields, mut edits) = (Fields::default(), Vec::new());
    let head = Head::parse(bytes.as_bytes(), &mut Progress::default(), &mut fields).unwrap().unwrap();
    let request = head.check().unwrap();
    let message = Message::of_request(head, &request, &UsedFields::default(), &mut edits).unwrap();
    let mut room = b"before".to_vec();
    let found = Credentials::read(&message, &mut room)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Some((text(found.user), text(found.password)))
}

fn basic(credentials: &[u8]) -> String {
    let mut line = b"Authorization: Basic ".to_vec();
    base64::encode(credentials, &mut line);
    String::from_utf8(line).unwrap() + "\r\n"
}

#[test]
fn a_name_ends_at_the_first_colon() {
    for (credentials, user, password) in [
        ("anna:pw", "anna", "pw"),
        ("anna:", "anna", ""),
        ("anna:p:w:", "anna", "p:w:"),
        ("a b:p w", "a b", "p w"),
        ("änna:ß", "änna", "ß"),
    ] {
        assert_eq!(
            read(&basic(credentials.as_bytes())),
            Some((user.into(), password.into())),
            "{credentials}"
        );
    }
    let longest = format!("{}:{}", "u".repeat(255), "p".repeat(511));
    assert!(read(&basic(longest.as_bytes())).is_some());
    for line in ["authorization: basic YTpi", "AUTHORIZATION:BASIC  YTpi", "Authorization: Basic YTpi \t"] {
        assert_eq!(read(&format!("{line}\r\n")), Some(("a".into(), "b".into())), "{line}");
    }
}

#[test]
fn what_is_not_one_pair_is_none() {
    let long = |user: usize, password: usize| {
        basic(format!("{}:{}", "u".repeat(user), "p".repeat(password)).as_bytes())
    };
    for lines in [
        String::new(),
        "Authorization: \r\n".to_owned(),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic \r\n".to_owned(),
        "Authorization: BasicYTpi\r\n".to_owned(),
        "Authorization: Bearer YTpi\r\n".to_owned(),
        "Authorization: Basic YTpi, Basic YTpi\r\n".to_owned(),
        "Authorization: Basic YT pi\r\n".to_owned(),
        "Authorization: Basic YTpi=\r\n".to_owned(),
        "Authorization: Basic Y-pi\r\n".to_owned(),
        // A bit that stands for nothing: others decode it to `a:b`.
        "Authorization: Basic YTpiYz==\r\n".to_owned(),
        "Authorization: Basic ä\r\n".to_owned(),
        format!("{}{}", basic(b"a:b"), basic(b"a:b")),
        basic(b"anna"),
        basic(b":pw"),
        basic(b"anna:p\0w"),
        basic(b"an\nna:pw"),
        basic(b"anna:pw\x7f"),
        long(256, 1),
        long(1, 512),
        long(1, 6000),
    ] {
        assert_eq!(read(&lines), None, "{lines}");
    }
}
