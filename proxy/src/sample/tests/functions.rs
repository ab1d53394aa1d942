//! Each function makes what its name says.

use super::*;

/// Applies functions to a value that a header has.
fn applied(value: &[u8], functions: &str) -> Option<Vec<u8>> {
    let mut world = World::new();
    world.request.fields = vec![(b"v".to_vec(), value.to_vec())];
    let names = Names::default();
    let text = format!("{{request.header.v|{functions}}}");
    let place = place(&names, Stage::Request, Text::Plain);
    let expression = Expression::parse(&text, &place).unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.with(&world.facts(), |value| value.map(<[u8]>::to_vec))
}

#[test]
fn functions_make_one_text_of_another() {
    let cases = [
        ("AbC-ü", "lower", "abc-ü"),
        ("AbC-ü", "upper", "ABC-ü"),
        (" a b\t", "trim", "a b"),
        ("12345", "length", "5"),
        ("", "length", "0"),
        ("a:b:c", "field(1, \":\")", "a"),
        ("a:b:c", "field(3, ':')", "c"),
        ("a:b:c", "field(-1, ':')", "c"),
        ("a:b:c", "field(-3, ':')", "a"),
        ("a::c", "field(2, ':')", ""),
        ("a.b:c", "field(2, \".:\")", "b"),
        (" a, b ,c", "word(2, \", \")", "b"),
        (" a, b ,c, ", "word(-1, \", \")", "c"),
        ("abcdef", "bytes(2)", "cdef"),
        ("abcdef", "bytes(2, 3)", "cde"),
        ("abcdef", "bytes(9, 3)", ""),
        ("/v12/x/v3/", "regsub(\"/v([0-9]+)/\", \"/$1/\")", "/12/x/v3/"),
        ("/v12/x/v3/", "regsub(\"/v([0-9]+)/\", \"/${1}v/\", \"g\")", "/12v/x/3v/"),
        ("ABab", "regsub(\"a\", \"x\", \"gi\")", "xBxb"),
        ("a.b", r#"regsub("\.", "$$")"#, "a$b"),
        ("a\"b", r#"regsub("\"", "'")"#, "a'b"),
        ("none", "regsub(\"x\", \"y\")", "none"),
        ("a%20b%2Fc+d%zz%4", "url_decode", "a b/c+d%zz%4"),
        ("a b/ü~", "url_encode", "a%20b%2F%C3%BC~"),
        ("user:pass", "base64", "dXNlcjpwYXNz"),
        ("dXNlcjpwYXNz", "base64_decode", "user:pass"),
        ("dXNlcjpwYXNz", "base64_decode|field(1, ':')", "user"),
        ("Az", "hex", "417a"),
        ("<a href='x'>&\"", "html", "&lt;a href=&#39;x&#39;&gt;&amp;&quot;"),
        ("a\"b\\c\n</x>", "json", "a\\\"b\\\\c\\u000a\\u003c/x\\u003e"),
        ("123456789", "crc32", "3421780262"),
        ("abc", "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("abc", "xxh64", "4952883123889572249"),
        ("192.0.2.77", "mask(24, 64)", "192.0.2.0"),
        ("2001:db8:1:2:3::4", "mask(24, 64)", "2001:db8:1:2::"),
        ("192.0.2.77", "mask(0, 0)", "0.0.0.0"),
        ("2001:db8::1", "mask(32, 128)", "2001:db8::1"),
        ("192.0.2.77", "mask(24)", "192.0.2.0"),
        ("010.1.2.3:80", "address", "10.1.2.3"),
        ("FE80::1", "address", "fe80::1"),
        ("007x", "number", "7"),
        ("+12", "number", "12"),
        ("-3.5", "number", "-3"),
        ("-0", "number", "0"),
        ("x7", "number", "0"),
        ("99999999999999999999", "number", "9223372036854775807"),
        ("a-b", "word(3, '-', '')|crc32", "0"),
        ("a-b", "word(2, '-', 'none')", "b"),
        ("a-b", "field(3, '-', 'none')", "none"),
        ("a", "xxh64", "-3292477735350538661"),
        ("x", "default(\"y\")", "x"),
        ("", "default(\"y\")", "y"),
        ("", "default(\"it's\")", "it's"),
        ("A:B", "lower | field( 2 , ':' ) | default( 'z' )", "b"),
    ];
    for (value, functions, expected) in cases {
        let made = applied(value.as_bytes(), functions);
        let made = made.map(|made| String::from_utf8_lossy(&made).into_owned());
        assert_eq!(made.as_deref(), Some(expected), "{value} | {functions}");
    }
}

#[test]
fn what_is_not_there_has_no_value_until_a_default() {
    for functions in
        ["field(4, ':')", "field(-4, ':')", "word(1, 'abc:')", "base64_decode", "mask(8, 8)", "address"]
    {
        assert_eq!(applied(b"a:b:c", functions), None, "{functions}");
        let with_default = format!("{functions}|lower|default('d')|upper");
        assert_eq!(applied(b"a:b:c", &with_default), Some(b"D".to_vec()), "{functions}");
    }
    assert_eq!(applied(b"2001:db8::1", "mask(24)"), None);
    assert_eq!(rendered("[{request.header.absent|word(1, '-', 'none')|length}]"), "[]");
    assert_eq!(rendered("[{request.header.absent|lower|length}]"), "[]");
    assert_eq!(rendered("[{request.header.absent|default('-')}]"), "[-]");
}

#[test]
fn bytes_that_are_no_text_go_through() {
    assert_eq!(applied(&[0xff, b'A', 0x80], "lower"), Some(vec![0xff, b'a', 0x80]));
    assert_eq!(applied(&[b'a', 0xff, 0x80, b'b'], "json"), Some("a\u{fffd}\u{fffd}b".into()));
    assert_eq!(applied(b"%ff%00", "url_decode"), Some(vec![0xff, 0]));
    assert_eq!(applied(&[0xff, b'x'], "regsub('x', 'y')"), Some(vec![0xff, b'y']));
}

#[test]
fn no_function_makes_a_text_without_bound() {
    let long = vec![b'a'; 30_000];
    let made = applied(&long, "regsub('a', 'bbbbbbbbbb', 'g')|html|regsub('b', 'cccccccccc', 'g')").unwrap();
    assert_eq!(made.len(), 64 * 1024);
}

#[test]
fn every_function_of_the_table_can_be_used_as_the_table_says() {
    let names = Names::new(vec!["NAME".to_owned()]);
    for row in FUNCTIONS {
        assert_eq!(row.usage.split('(').next(), Some(row.name));
        assert!(
            Template::parse(
                &format!("{{client.ip|{}}}", row.usage),
                &place(&names, Stage::Connection, Text::Plain)
            )
            .is_ok(),
            "{}",
            row.usage
        );
    }
}

#[test]
fn a_map_gives_the_value_of_a_key_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.map");
    std::fs::write(&file, "www.example.com blue\n").unwrap();
    let mut world = World::new();
    world.maps = Maps::load(&[MapFile {
        name: "tenants".into(),
        file,
        kind: MapKind::Exact,
        place: crate::config::Place("lb.toml:1:8".into()),
    }])
    .unwrap();
    let names = Names::new(vec!["tenants".to_owned()]);
    let place = place(&names, Stage::Request, Text::Plain);
    assert_eq!(world.render("{request.host|map('tenants')|upper}", &place), "BLUE");
    assert_eq!(world.render("{request.path|map('tenants')|default('none')}", &place), "none");
    assert_eq!(world.render("{request.path|map('tenants', 'none')}", &place), "none");
    assert_eq!(world.render("{request.host|map('tenants', 'none')}", &place), "blue");
    // What is not there is in no map.
    assert_eq!(world.render("{request.header.x-absent|map('tenants', 'none')}", &place), "");
    let error = Template::parse("{request.path|map('tenants', 1)}", &place).unwrap_err();
    assert!(error.to_string().contains("in quotes"), "{error}");
    let error = Template::parse("{request.host|map('tenant')}", &place).unwrap_err();
    assert_eq!(error.to_string(), "no map is called `tenant`");
    assert_eq!(error.fault.candidates(), Some(("tenant", vec!["tenants"])));
}
