//! What rules can do to a head, byte for byte.

use super::*;
use crate::http::head::{Progress, request::Hop, request::Method};

/// What a server gets of `bytes` after `edit`.
fn edited(bytes: &[u8], edit: impl FnOnce(&mut Message<'_>) -> Result<(), TooLarge>) -> String {
    let mut fields = Fields::default();
    let head = request::Head::parse(bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
    let request = head.check().unwrap();
    let hop = Hop { forwarded_for: None, local: "192.0.2.10:80".parse().unwrap(), close: false };
    let mut scratch = b"old".to_vec();
    let mut message = Message::of_request(head, &request, &UsedFields::default(), &mut scratch).unwrap();
    edit(&mut message).unwrap();
    let mut out = Vec::new();
    message.encode_request(&request, &hop, &mut out);
    String::from_utf8(out).unwrap()
}

const GET: &[u8] = b"GET /a?b=1 HTTP/1.1\r\nHost: h:81\r\nX: 1\r\nY: 2\r\nx:3\r\n\r\n";

#[test]
fn an_unedited_message_is_written_as_its_head_is() {
    for bytes in [
        GET,
        b"GET http://A:80?q HTTP/1.1\r\nhost: a\r\nX:  1 \r\n\r\n",
        b"GET http://b/ HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: X-Y, te\r\nTE: trailers\r\nx-y: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    ] {
        let mut fields = Fields::default();
        let head = request::Head::parse(bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
        let request = head.check().unwrap();
        let hop = Hop { forwarded_for: None, local: "192.0.2.10:80".parse().unwrap(), close: false };
        let mut plain = Vec::new();
        head.encode(&request, &hop, &mut plain);
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.to_ascii_lowercase().split("\r\n").map(str::to_owned).collect();
            lines[1..].sort();
            lines
        };
        let plain = String::from_utf8(plain).unwrap();
        // An absolute target moves Host behind the others.
        assert_eq!(sorted(&edited(bytes, |_| Ok(()))), sorted(&plain));
    }
}

#[test]
fn fields_are_set_added_removed_and_rewritten() {
    type Edit = fn(&mut Message<'_>) -> Result<(), TooLarge>;
    let table: &[(Edit, &str)] = &[
        (|message| message.add(b"X", b"4"), "Host: h:81\r\nX: 1\r\nY: 2\r\nx: 3\r\nX: 4\r\n"),
        (|message| message.set(b"x", b"4"), "Host: h:81\r\nY: 2\r\nx: 4\r\n"),
        (
            |message| {
                message.remove(b"X");
                Ok(())
            },
            "Host: h:81\r\nY: 2\r\n",
        ),
        (
            |message| {
                message.rewrite(b"X", &mut Vec::new(), |value, out| {
                    out.extend_from_slice(value);
                    out.push(b'!');
                    value != b"1"
                })
            },
            "Host: h:81\r\nX: 1\r\nY: 2\r\nX: 3!\r\n",
        ),
        (
            |message| {
                message.set(b"A", b"1")?;
                message.set(b"a", b"2")?;
                message.set(b"Host", b"other")
            },
            "X: 1\r\nY: 2\r\nx: 3\r\na: 2\r\nHost: other\r\n",
        ),
    ];
    for (edit, expected) in table {
        assert_eq!(edited(GET, edit), format!("GET /a?b=1 HTTP/1.1\r\n{expected}\r\n"));
    }
}

#[test]
fn names_that_become_the_same_variable_go_with_the_one_that_a_rule_edits() {
    const LOOK_ALIKES: &[u8] =
        b"GET / HTTP/1.1\r\nHost: h\r\nX-User: a\r\nx_user: b\r\nX.USER: c\r\nX-Users: d\r\nXXUser: e\r\n\r\n";
    let others = "Host: h\r\nX-Users: d\r\nXXUser: e\r\n";
    let head = |lines: &str| format!("GET / HTTP/1.1\r\n{others}{lines}\r\n");
    let removed = edited(LOOK_ALIKES, |message| {
        message.remove(b"X-User");
        Ok(())
    });
    assert_eq!(removed, head(""));
    // What a rule has written is its own.
    let set = edited(LOOK_ALIKES, |message| {
        message.set(b"X_User", b"1")?;
        message.set(b"X-User", b"2")
    });
    assert_eq!(set, head("X_User: 1\r\nX-User: 2\r\n"));
    let rewritten = edited(LOOK_ALIKES, |message| {
        message.rewrite(b"X-User", &mut Vec::new(), |_, out| {
            out.push(b'!');
            true
        })
    });
    let lines = "X-User: !\r\nX-User: !\r\nX-User: !\r\n";
    assert_eq!(rewritten, format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}X-Users: d\r\nXXUser: e\r\n\r\n"));
    // A server's fields are no variables of anybody's.
    let (mut fields, mut scratch, mut out) = (Fields::default(), Vec::new(), Vec::new());
    let bytes = b"HTTP/1.1 200 OK\r\nX_A: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n";
    let parsed = response::Head::parse(bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
    let response = parsed.check(Method::Get, false).unwrap();
    let mut message = Message::of_response(parsed, &mut scratch);
    message.remove(b"X-A");
    let hop = response::Hop { framing: response.framing, close: false };
    message.put_response(&response, &hop, &mut response::Lines(&mut out));
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nX_A: 1\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn what_was_edited_is_seen_by_whoever_looks_next() {
    edited(GET, |message| {
        assert_eq!((message.path(), message.query()), (&b"/a"[..], Some(&b"b=1"[..])));
        message.set_path(b"/new")?;
        message.set(b"X", b"new")?;
        assert_eq!(message.target(), b"/new?b=1");
        assert_eq!(message.first(b"x"), Some(&b"new"[..]));
        assert_eq!(message.host(), Some(&b"h:81"[..]));
        assert_eq!(message.all(b"y").collect::<Vec<_>>(), [b"2"]);
        Ok(())
    });
}

#[test]
fn no_value_can_begin_a_line_of_its_own() {
    for value in
        ["a\r\nEvil: 1", "a\nEvil: 1", "a\rb", "a\0b", "\r\n\r\nGET /evil HTTP/1.1\r\n", "\x7f", " \t a \r\n"]
    {
        let got = edited(GET, |message| message.set(b"X", value.as_bytes()));
        assert_eq!(got.matches("\r\n").count(), 5, "{got:?}");
        let (_, line) = got.split_once("\r\nX: ").unwrap();
        let line = line.split("\r\n").next().unwrap();
        assert!(line.bytes().all(|byte| byte >= b' ' && byte != 0x7f), "{line:?}");
        assert_eq!(line, line.trim());
    }
}

#[test]
fn no_path_or_query_can_break_the_request_line() {
    for (path, query, expected) in [
        (&b"a b"[..], None, "/a%20b"),
        (b"/a?b#c", Some(&b"d#e f"[..]), "/a%3Fb%23c?d%23e%20f"),
        (b"/\r\nX: 1", Some(b"\r\n"), "/%0D%0AX:%201?%0D%0A"),
        (b"", Some(b""), "/?"),
        (b"*", None, "/*"),
        (b"/\xc3\xa4", Some(b"?"), "/%C3%A4??"),
    ] {
        let got = edited(GET, |message| {
            message.set_path(path)?;
            message.set_query(query)
        });
        assert_eq!(got.split("\r\n").next().unwrap(), format!("GET {expected} HTTP/1.1"));
    }
}

#[test]
fn a_query_of_the_whole_server_is_none() {
    let got = edited(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", |message| message.set_query(Some(b"x")));
    assert!(got.starts_with("OPTIONS * HTTP/1.1\r\n"), "{got}");
}

#[test]
fn what_connection_names_is_not_seen_and_can_not_remove_what_a_rule_adds() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, Cookie\r\nx-hop: evil\r\nCookie: c\r\n\r\n";
    let got = edited(bytes, |message| {
        assert_eq!(message.first(b"X-Hop"), None);
        assert_eq!(message.first(b"Cookie"), Some(&b"c"[..]));
        message.add(b"X-Hop", b"rule")
    });
    assert_eq!(got, "GET / HTTP/1.1\r\nHost: a\r\nCookie: c\r\nX-Hop: rule\r\n\r\n");
}

#[test]
fn edits_are_bounded() {
    edited(GET, |message| {
        assert_eq!(message.add(b"A", &[b'a'; MAX_EDITS]), Err(TooLarge));
        Ok(())
    });
    edited(GET, |message| {
        let added = (0..200).take_while(|_| message.add(b"A", b"b").is_ok()).count();
        assert_eq!(added, 128 - 4);
        Ok(())
    });
}

#[test]
fn names_that_decide_framing_or_belong_to_one_connection_are_not_editable() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Connection",
        "HTTP2-Settings",
        "Expect",
        "",
        "a b",
        "a:",
        "a\r\n",
    ] {
        assert!(!is_editable(name.as_bytes()), "{name:?}");
    }
    for name in ["Host", "X-Forwarded-For", "Authorization", "Set-Cookie", "a"] {
        assert!(is_editable(name.as_bytes()), "{name}");
    }
}

#[test]
fn a_response_is_written_with_its_edits() {
    let bytes =
        b"HTTP/1.1 200 Fine\r\nServer: s\r\nContent-Length: 2\r\nConnection: close, X-Y\r\nX-Y: 1\r\n\r\n";
    let mut fields = Fields::default();
    let head = response::Head::parse(bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
    let response = head.check(Method::Get, false).unwrap();
    let hop = response::Hop { framing: response.framing, close: false };
    let mut scratch = Vec::new();
    let mut message = Message::of_response(head, &mut scratch);
    assert_eq!((message.status(), message.reason()), (200, &b"Fine"[..]));
    message.remove(b"server");
    message.add(b"Strict-Transport-Security", b"max-age=1").unwrap();
    let mut out = Vec::new();
    message.put_response(&response, &hop, &mut response::Lines(&mut out));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 Fine\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\n"
    );
}

#[test]
fn rules_read_cookies_as_persistence_does() {
    let line = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: A=\"x;B=1\"; C = 2 ;D=\"3;E=4; none\r\n\r\n";
    edited(line, |message| {
        let found: Vec<_> = message.cookies().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"A", b"\"x;B=1\""), (b"C", b"2"), (b"D", b"\"3"), (b"E", b"4")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
        Ok(())
    });
}
