//! Conditions as they are written in haproxy.cfg, and what `when` they are.

use super::*;
use crate::import::haproxy::{
    files::Maps,
    lexer,
    sample::{Inexact, Side},
    variables::Variables,
};

const ACLS: [&str; 9] = [
    "static path_end .gif .png",
    "static path_beg /static /img",
    "www hdr(host) -i www.example.com Shop.Example.com",
    "sub hdr_end(host) -i .example.com",
    "office src 192.0.2.0/24 10.12/8",
    "big req.hdr_val(content-length) gt 1000",
    "logged_in req.cook(SID) -m found",
    "bad hdr_sub(user-agent) -i bot",
    "tls ssl_fc",
];

fn words(text: &str) -> Vec<Word> {
    lexer::words(text, 0, &Variables::new(&[], "", "")).unwrap().words
}

fn when(text: &str, side: Side) -> Result<String, String> {
    let acls: Vec<_> = ACLS.map(words).into();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let (maps, inexact) = (Maps::new(&folder), Inexact::default());
    let scene = Scene { maps: &maps, side, inexact: &inexact };
    let scope = Scope { acls: &acls, scene, tests: Cell::new(0) };
    match condition(&words(text), &scope) {
        Ok(Cond::Never) => Ok("never".into()),
        Ok(cond) => Ok(cond.when().map_or_else(|| "always".into(), |value| value.to_string())),
        Err(fault) => Err(fault.why),
    }
}

#[test]
fn conditions_of_requests() {
    let cases = [
        ("if static", r"[{ path_suffix = ['.gif', '.png'] }, { path_regex = ['^/static', '^/img'] }]"),
        ("if www", r#"{ host = ["www.example.com", "shop.example.com"] }"#),
        ("if sub", r#"{ host = "*.example.com" }"#),
        ("unless office", r#"{ not = { source = ["192.0.2.0/24", "10.0.0.0/8"] } }"#),
        (
            "if www !office",
            r#"{ host = ["www.example.com", "shop.example.com"], not = { source = ["192.0.2.0/24", "10.0.0.0/8"] } }"#,
        ),
        (
            "if www or office",
            r#"[{ host = ["www.example.com", "shop.example.com"] }, { source = ["192.0.2.0/24", "10.0.0.0/8"] }]"#,
        ),
        (
            "if logged_in",
            r#"{ cookie = { SID = true }, any = [{ not = { header = { Cookie = { regex = "(?:^|[;,])SID=$" } } } }, { cookie = { SID = { regex = "." } } }] }"#,
        ),
        (
            "if !logged_in",
            r#"{ not = { cookie = { SID = true }, any = [{ not = { header = { Cookie = { regex = "(?:^|[;,])SID=$" } } } }, { cookie = { SID = { regex = "." } } }] } }"#,
        ),
        (
            "if ! logged_in",
            r#"{ not = { cookie = { SID = true }, any = [{ not = { header = { Cookie = { regex = "(?:^|[;,])SID=$" } } } }, { cookie = { SID = { regex = "." } } }] } }"#,
        ),
        ("if bad", r#"{ header = { user-agent = { regex = "(?i)bot" } } }"#),
        ("if tls", r#"{ scheme = "https" }"#),
        ("if !tls", r#"{ scheme = "http" }"#),
        ("if { path /a }", r#"{ path = "/a" }"#),
        ("if { path -i /A }", r#"{ path_regex = "(?i)^/A$" }"#),
        ("if { path_reg ^/user/[0-9]+$ }", r#"{ path_regex = "^/user/[0-9]+$" }"#),
        ("if { path_dir admin }", r#"{ path_regex = "(?:^|[/?])admin(?:[/?]|$)" }"#),
        ("if { path,lower -m beg /a }", r#"{ value = { "{request.path|lower}" = { prefix = "/a" } } }"#),
        (
            "if { path_len gt 9 }",
            r#"{ value = { "{request.path|length}" = { regex = "^0*(?:[1-9][0-9]{2,}|[2-9][0-9]|1[1-9]|10)$" } } }"#,
        ),
        ("if METH_GET", r#"{ method = ["GET", "HEAD"] }"#),
        ("if { method POST PUT }", r#"{ method = ["POST", "PUT"] }"#),
        ("if HTTP_1.0", r#"{ value = { "{request.version}" = "1.0" } }"#),
        ("if LOCALHOST", r#"{ source = ["127.0.0.0/8", "::1"] }"#),
        ("if TRUE", "always"),
        ("if FALSE", "never"),
        ("unless TRUE", "never"),
        ("if WAIT_END HTTP", "always"),
        (
            "if { hdr(host) -i a.com:8080 }",
            r#"{ value = { "{request.authority}" = { regex = '(?i)^a\.com:8080$' } } }"#,
        ),
        (
            "if { hdr_beg(host) -i Www. }",
            r#"{ value = { "{request.authority}" = { regex = '(?i)^Www\.' } } }"#,
        ),
        (
            "if { hdr_reg(host) -i ^(www|shop)\\. }",
            r#"{ value = { "{request.authority}" = { regex = '(?i)^(www|shop)\.' } } }"#,
        ),
        ("if { hdr(x-a) b }", r#"{ value = { "{request.header_value.x-a}" = "b" } }"#),
        ("if { req.fhdr(x-a) b }", r#"{ header = { x-a = "b" } }"#),
        (
            "if { hdr(content-type) -m beg text/ }",
            r#"{ value = { "{request.header_value.content-type}" = { prefix = "text/" } } }"#,
        ),
        (
            "if { req.fhdr(content-type) -m beg text/ }",
            r#"{ header = { content-type = { prefix = "text/" } } }"#,
        ),
        (
            "if { hdr_reg(user-agent) -i a.*b$ }",
            r#"{ value = { "{request.header_value.user-agent}" = { regex = "(?i)a.*b$" } } }"#,
        ),
        ("if { hdr(x-a) b,c }", r#"{ value = { "{request.header_value.x-a}" = "b,c" } }"#),
        (
            "if { hdr_end(host) -i .org:8080 }",
            r#"{ value = { "{request.authority}" = { regex = '(?i)\.org:8080$' } } }"#,
        ),
        (
            "if { hdr_end(host) .org :81 }",
            r#"[{ host = "*.org" }, { value = { "{request.authority}" = { suffix = ":81" } } }]"#,
        ),
        (
            "if { hdr_cnt(x) gt 3 }",
            r#"{ value = { "{request.header_count.x}" = { regex = "^0*(?:[1-9][0-9]{1,}|[5-9]|4)$" } } }"#,
        ),
        ("if { hdr_cnt(x-a) eq 0 }", "{ header = { x-a = false } }"),
        ("if { req.hdr_cnt(x-a) gt 0 }", "{ header = { x-a = true } }"),
        ("if { url_param(a) 1 }", r#"{ query = { a = "1" } }"#),
        ("if { urlp(a) -m found }", r#"{ value = { "{request.query.a}" = true } }"#),
        ("if { dst_port 80 8000:8010 }", r#"{ port = [80, "8000-8010"] }"#),
        ("if { dst_port gt 1023 }", r#"{ port = "1024-65535" }"#),
        ("if { dst 192.0.2.0/24 }", r#"{ value = { "{local.ip|mask(24, 128)}" = "192.0.2.0" } }"#),
        (
            "if { hdr_ip(x-forwarded-for,-1) 10.0.0.0/8 }",
            r#"{ value = { "{request.header.x-forwarded-for|field(-1, ',')|trim|address|mask(8, 128)}" = "10.0.0.0" } }"#,
        ),
        ("if { base_beg example.com/a }", r#"{ host = "example.com", path_regex = "^/a" }"#),
        ("if { var(txn.kind) -m str a b }", r#"{ value = { "{var.kind}" = ["a", "b"] } }"#),
        ("if { var(txn.ok) -m bool }", r#"{ value = { "{var.ok}" = { regex = "^[-+]?0*[1-9]" } } }"#),
        ("if { str(a) -m str a }", "always"),
        ("if { ssl_fc,not }", r#"{ scheme = "http" }"#),
        ("if !{ ssl_fc,not,not }", r#"{ scheme = "http" }"#),
        ("if { ssl_fc -m found }", "always"),
        ("if { req.hdr(host),lower -m found }", "{ header = { Host = true } }"),
        (
            "if { req.hdr(host),lower,field(4,.) -m found }",
            r#"{ value = { "{request.authority|lower|field(4, '.')}" = true } }"#,
        ),
        (
            "if { req.hdr(host),word(2,.),map(list.txt) -m found }",
            r#"{ value = { "{request.authority|word(2, '.', '')|map('list')}" = true } }"#,
        ),
        ("if { req.hdr(host),map(list.txt,a) -m found }", r#"{ value = { "{request.authority}" = true } }"#),
        ("if { urlp_val(n) lt 0 }", r#"{ query = { n = { regex = "^-0*[1-9]" } } }"#),
        (
            "if { urlp(n) -m int 0 :1 }",
            r#"{ query = { n = [{ regex = '^(?:\+?0*(?:0)(?:[^0-9]|$)|[^-+0-9]|-|\+(?:[^0-9]|$))' }, { regex = '^(?:\+?0*(?:[0-1])(?:[^0-9]|$)|[^-+0-9]|-|\+(?:[^0-9]|$))' }] } }"#,
        ),
        ("if { src_port lt 0 }", "never"),
        ("if { path -f list.txt }", r#"{ path = ["/from", "/a/file  "] }"#),
        ("if { query -m sub id= }", r#"{ value = { "{request.query}" = { contains = "id=" } } }"#),
        ("if { fe_name web }", r#"{ value = { "{frontend.name}" = "web" } }"#),
    ];
    let mut differ = Vec::new();
    for (text, expected) in cases {
        let found = when(text, Side::Request);
        let expected = expected
            .replace("['.gif', '.png']", "[\".gif\", \".png\"]")
            .replace("['^/static', '^/img']", "[\"^/static\", \"^/img\"]");
        if found.as_deref() != Ok(expected.as_str()) {
            differ.push(format!("{text}\n  {found:?}\n  {expected}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn what_can_not_be_asked_is_told_and_never_taken_for_something_else() {
    for text in [
        "if { ssl_fc,lower }",
        "if { ssl_fc 0 }",
        "if { ssl_fc -m str 0 }",
        "if { hdr_cnt(x),add(1) gt 0 }",
        "if { http_auth(staff),not }",
        "if { sc_http_req_rate(0),div(2) gt 20 }",
    ] {
        assert!(when(text, Side::Request).is_err(), "{text}");
    }
}

#[test]
fn conditions_of_responses_and_connections() {
    let cases = [
        ("if { status 500:599 }", Side::Response, r#"{ status = "500-599" }"#),
        (
            "if { res.hdr(content-type) -m beg text/ }",
            Side::Response,
            r#"{ header = { content-type = { regex = '(?:^|,)[ \t]*text/' } } }"#,
        ),
        ("if { method POST }", Side::Response, r#"{ method = "POST" }"#),
        ("if { src 192.0.2.1 }", Side::Response, r#"{ source = "192.0.2.1" }"#),
        (
            "if { src 192.0.2.1 } or { dst_port 25 }",
            Side::Connection,
            r#"[{ source = "192.0.2.1" }, { port = 25 }]"#,
        ),
    ];
    for (text, side, expected) in cases {
        assert_eq!(when(text, side).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_has_no_counterpart_says_why() {
    let cases = [
        ("if", Side::Request, "nothing follows `if`"),
        ("if nothing", Side::Request, "no `acl` is called `nothing`"),
        ("if ofice", Side::Request, "did you mean `office`?"),
        ("if { path /a", Side::Request, "this `{` has no `}`"),
        ("if !", Side::Request, "nothing follows the `!`"),
        ("if { }", Side::Request, "a test has nothing in it"),
        ("if { path }", Side::Request, "is compared with nothing"),
        ("if { path_reg ( }", Side::Request, "can't be used"),
        ("if { path_reg (?=a) }", Side::Request, "can't be used"),
        ("if { src www.example.com }", Side::Request, "names are not looked up"),
        ("if { ssl_c_version 3 }", Side::Request, "of TLS, `ssl_fc` and what is listed"),
        ("if { src_conn_rate lt 10 }", Side::Request, "whether it is more than a number"),
        ("if { src_conn_cnt gt 10 }", Side::Request, "stick table"),
        ("if { http_auth_group(staff) }", Side::Request, "groups behind it"),
        ("if { status 200 }", Side::Request, "there is no response yet"),
        ("if { path /a }", Side::Response, "has forgotten the request"),
        ("if { req.hdr_cnt(a) gt 0 }", Side::Response, "has forgotten the request"),
        ("if { res.hdr_cnt(a) gt 0 }", Side::Request, "there is no response yet"),
        ("if { path /a }", Side::Connection, "in mode tcp"),
        ("if { path -f none.txt }", Side::Request, "can't be read here"),
        ("if { path -m nope /a }", Side::Request, "`-m nope` is not there"),
        ("if { dst_port x }", Side::Request, "is no number"),
        ("if { zzz 1 }", Side::Request, "no sample that is known here"),
    ];
    for (text, side, expected) in cases {
        let why = when(text, side).expect_err(text);
        assert!(why.contains(expected), "{text}: {why}");
    }
}
