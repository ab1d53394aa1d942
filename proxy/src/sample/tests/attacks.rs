//! What a client writes stays within the place where it is put.

use super::*;

/// Renders a value that a client has in its query (encoded) and in a cookie, as `text`.
fn attack(value: &[u8], template: &str, text: Text) -> Vec<u8> {
    let mut world = World::new();
    world.request.cookies = vec![(b"v".to_vec(), value.to_vec())];
    world.request.path = value.to_vec();
    let encoded: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
    world.request.query = format!("v={encoded}").into_bytes();
    let names = Names::default();
    let template = Template::parse(template, &place(&names, Stage::Request, text)).unwrap();
    let mut out = Vec::new();
    template.render(&world.facts(), &mut out);
    out
}

#[test]
fn no_value_ends_a_field_line() {
    let payload = b"x\r\nSet-Cookie: admin=1\r\n\r\n<script>\0\x0b\x7f\ty";
    for template in ["{request.query.v|url_decode}", "{request.cookie.v}"] {
        let out = attack(payload, template, Text::Field);
        assert_eq!(out, b"x  Set-Cookie: admin=1    <script>   \ty", "{template}");
    }
    let through_base64 = attack(b"DQpYOiB5", "{request.cookie.v|base64_decode}", Text::Field);
    assert_eq!(through_base64, b"  X: y");
    let through_default = attack(b"", "{request.cookie.v|default('a')}", Text::Field);
    assert_eq!(through_default, b"a");
}

#[test]
fn no_value_ends_a_location_or_adds_a_field() {
    let out = attack(
        b"/a b\r\nX: y\0\"<>\\^`{|}\x7f\xff%0d?c=d#e",
        "https://example.com{request.query.v|url_decode}",
        Text::Location,
    );
    assert_eq!(out, b"https://example.com/a%20b%0D%0AX:%20y%00%22%3C%3E%5C%5E%60%7B%7C%7D%7F%FF%0d?c=d#e");
}

#[test]
fn a_path_does_not_become_another_host() {
    let cases: [(&[u8], &str, &[u8]); 8] = [
        (b"//evil.example", "{request.path}", b"/evil.example"),
        (b"///evil.example", "{request.path}", b"/evil.example"),
        (b"/\\evil.example", "{request.path}", b"/evil.example"),
        (b"/evil.example", "/{request.path}", b"/evil.example"),
        (b"\\evil.example", "/{request.path}", b"/evil.example"),
        (b"/\\/evil.example", "/{request.path}", b"/evil.example"),
        (b"//a//b", "/x{request.path}", b"/x//a//b"),
        (b"/ok//b", "{request.path}", b"/ok//b"),
    ];
    for (path, template, expected) in cases {
        let out = attack(path, template, Text::Location);
        assert_eq!(out, expected, "{template} {}", String::from_utf8_lossy(path));
    }
    for (path, template, expected) in [
        (&b"/"[..], "{request.path}/{request.query.v|url_decode}", &b"//"[1..]),
        (b"/", "{request.path}/evil.example", b"/evil.example"),
        (b"/", "{request.path}\\evil.example", b"/evil.example"),
        (b"", "/{request.path}/evil.example", b"/evil.example"),
        (b"/a", "{request.path}/b", b"/a/b"),
    ] {
        let out = attack(path, template, Text::Location);
        assert_eq!(out, expected, "{template} {}", String::from_utf8_lossy(path));
    }
    let split = attack(b"/", "{request.path}{request.path}evil.example", Text::Location);
    assert_eq!(split, b"/evil.example");
}

#[test]
fn no_value_makes_another_host_of_the_one_that_it_stands_in_or_behind() {
    let v = |before: &str, after: &str| format!("{before}{{request.query.v|url_decode}}{after}");
    let within = v("https://", ".example.com/x");
    let behind = v("https://www.example.com", "");
    let query = v("https://www.example.com", "?q");
    let port = v("https://www.example.com:", "/x");
    let twice = v("https://{request.cookie.v}", ".example.com");
    for (value, template, expected) in [
        ("shop", &within, "https://shop.example.com/x"),
        ("evil.com/", &within, "https://evil.com%2F.example.com/x"),
        ("/evil.com", &within, "https://%2Fevil.com.example.com/x"),
        ("evil.com?", &within, "https://evil.com%3F.example.com/x"),
        ("evil.com#", &within, "https://evil.com%23.example.com/x"),
        ("evil.com\\", &within, "https://evil.com%5C.example.com/x"),
        ("a@evil.com", &within, "https://a%40evil.com.example.com/x"),
        ("/a@b?c=d/#e", &behind, "https://www.example.com/a@b?c=d/#e"),
        ("?c=d@e", &behind, "https://www.example.com?c=d@e"),
        ("@evil.com/", &behind, "https://www.example.com/@evil.com/"),
        (".evil.com", &behind, "https://www.example.com/.evil.com"),
        ("evil.com", &behind, "https://www.example.com/evil.com"),
        (":8443", &behind, "https://www.example.com:8443"),
        (":80@evil.com/", &behind, "https://www.example.com:80%40evil.com%2F"),
        ("", &behind, "https://www.example.com"),
        ("x", &query, "https://www.example.com/x?q"),
        ("8443", &port, "https://www.example.com:8443/x"),
        ("1@evil.com", &port, "https://www.example.com:1%40evil.com/x"),
        ("[2001:db8::1]:81", &v("https://", "/x"), "https://[2001:db8::1]:81/x"),
        ("a/b", &twice, "https://a%2Fba%2Fb.example.com"),
        ("//evil.com", &v("//www.example.com", ""), "//www.example.com//evil.com"),
        ("//evil.com", &v("/x", ""), "/x//evil.com"),
        ("https://a/b?c", &v("", ""), "https://a/b?c"),
        ("https://a", &v("", ""), "https://a"),
        ("https://a", &v("", "{request.cookie.none}/b"), "https://a/b"),
        ("a@b", &v("https://www.example.com/", ""), "https://www.example.com/a@b"),
        ("a@b/c", &v("/login?back=https://", ".example.com"), "/login?back=https://a@b/c.example.com"),
        ("www.example.com", &v("https://", "{request.path}"), "https://www.example.com/www.example.com"),
    ] {
        let out = attack(value.as_bytes(), template, Text::Location);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{template} {value}");
    }
    let out = attack(b"/x?y", "https://www.{request.header.none}{request.path}", Text::Location);
    assert_eq!(out, b"https://www.%2Fx%3Fy", "no host, no path");
}

#[test]
fn a_rewritten_path_gets_no_query_and_no_second_request() {
    let out = attack(b"/a?b#c d\r\nGET / HTTP/1.1\r\n", "/new{request.query.v|url_decode}", Text::Path);
    assert_eq!(out, b"/new/a%3Fb%23c%20d%0D%0AGET%20/%20HTTP/1.1%0D%0A");
    let out = attack(b"a=b?c#d e", "x={request.query.v|url_decode}", Text::Query);
    assert_eq!(out, b"x=a=b?c%23d%20e");
}

#[test]
fn content_is_as_it_is_unless_a_function_makes_it_harmless() {
    let script = b"<script>alert(1)</script>\r\n\0";
    assert_eq!(attack(script, "{request.cookie.v}", Text::Content), script);
    assert_eq!(
        attack(script, "{request.cookie.v|html}", Text::Content),
        b"&lt;script&gt;alert(1)&lt;/script&gt;\r\n\0"
    );
}
