//! Lookups and faults of maps.

use super::*;
use crate::config::Place;

fn map(kind: MapKind, text: &str) -> Map {
    Map::parse(text.as_bytes(), kind).unwrap_or_else(|(line, why)| panic!("{line:?}: {why}"))
}

fn value<'m>(map: &'m Map, text: &str) -> Option<&'m str> {
    map.find(text.as_bytes()).map(|index| std::str::from_utf8(&map.values[index]).unwrap())
}

#[test]
fn lines_are_a_key_and_the_rest() {
    let map = map(MapKind::Exact, "# hosts\r\n\r\n  a.example \t app one \r\nb.example app2\n#c d\n");
    assert_eq!(value(&map, "a.example"), Some("app one"));
    assert_eq!(value(&map, "b.example"), Some("app2"));
    for text in ["A.example", "a.exampl", "a.example ", "#c", ""] {
        assert_eq!(value(&map, text), None, "{text}");
    }
}

#[test]
fn the_longest_prefix_or_suffix_wins() {
    let prefixes = map(MapKind::Prefix, "/ root\n/shop shop\n/shop/admin admin\n");
    for (text, expected) in [
        ("/", Some("root")),
        ("/sho", Some("root")),
        ("/shop", Some("shop")),
        ("/shop/administration", Some("admin")),
        ("shop", None),
        ("", None),
    ] {
        assert_eq!(value(&prefixes, text), expected, "{text}");
    }
    let suffixes = map(MapKind::Suffix, ".example.com any\n.shop.example.com shop\n.png image\n");
    for (text, expected) in [
        ("www.example.com", Some("any")),
        ("a.shop.example.com", Some("shop")),
        ("shop.example.com", Some("any")),
        ("/a.png", Some("image")),
        ("example.com", None),
    ] {
        assert_eq!(value(&suffixes, text), expected, "{text}");
    }
}

#[test]
fn the_network_with_the_longest_prefix_wins() {
    let networks = map(
        MapKind::Network,
        "0.0.0.0/0 any4\n192.0.2.0/24 net\n192.0.2.128/25 half\n192.0.2.200 one\n2001:db8::/32 six\n::/0 any6\n\
         2001:db8::1 host6\n",
    );
    for (text, expected) in [
        ("198.51.100.1", Some("any4")),
        ("192.0.2.1", Some("net")),
        ("192.0.2.129", Some("half")),
        ("192.0.2.200", Some("one")),
        ("::ffff:192.0.2.200", Some("one")),
        ("2001:db8::1", Some("host6")),
        ("2001:db8::2", Some("six")),
        ("2001:db9::2", Some("any6")),
        ("192.0.2", None),
        ("", None),
    ] {
        assert_eq!(value(&networks, text), expected, "{text}");
    }
}

#[test]
fn the_first_expression_that_matches_wins() {
    let expressions = map(MapKind::Regex, "^/api/v[0-9]+/ api\n^/api any\n\\.(png|jpg)$ image\n");
    for (text, expected) in [
        ("/api/v12/x.png", Some("api")),
        ("/api/x.png", Some("any")),
        ("/x.jpg", Some("image")),
        ("/x", None),
    ] {
        assert_eq!(value(&expressions, text), expected, "{text}");
    }
    assert!(expressions.find(b"\xff.png").is_some());
    assert!(map(MapKind::Regex, "^.*png image").find(b"\xff.png").is_some());
}

#[test]
fn a_line_that_is_wrong_is_named() {
    let cases = [
        (MapKind::Exact, "a b\nc\n", 2, "the key `c` has no value; write both on one line"),
        (MapKind::Exact, "a b\n\n# c\na d\n", 4, "the key `a` is in line 1 already; keep one"),
        (MapKind::Exact, "a b\x01\n", 1, "control characters can't be in a map; take them out"),
        (
            MapKind::Network,
            "10.0.0.0/33 x",
            1,
            "`10.0.0.0/33` is no network; write it as in 192.0.2.0/24 or 2001:db8::/32",
        ),
        (
            MapKind::Network,
            "10.0.0.1/8 x",
            1,
            "`10.0.0.1/8` has bits beyond its prefix; write 10.0.0.0/8 or the address alone",
        ),
        (
            MapKind::Network,
            "2001:db8::1/32 x",
            1,
            "`2001:db8::1/32` has bits beyond its prefix; write 2001:db8::/32 or the address alone",
        ),
        (MapKind::Network, "host x", 1, "`host` is no network; write it as in 192.0.2.0/24 or 2001:db8::/32"),
        (
            MapKind::Network,
            "10.0.0.1 x\n10.0.0.1/32 y",
            2,
            "the key `10.0.0.1/32` is in line 1 already; keep one",
        ),
        (MapKind::Regex, "a b\n( x", 2, "the regular expression is wrong: unclosed group"),
    ];
    for (kind, text, line, why) in cases {
        let fault = Map::parse(text.as_bytes(), kind).unwrap_err();
        assert_eq!(fault, (Some(line), why.to_owned()), "{text}");
    }
}

#[test]
fn each_file_that_is_wrong_is_named_and_nothing_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        MapFile {
            name: name.to_owned(),
            file: path,
            kind: MapKind::Exact,
            place: Place("lb.toml:1:8".into()),
        }
    };
    let (good, bad) = (file("good", "a b\n"), file("bad", "a\n"));
    let missing = MapFile {
        name: "missing".into(),
        file: folder.path().join("none"),
        kind: MapKind::Exact,
        place: Place("lb.toml:1:8".into()),
    };
    let maps = Maps::load(std::slice::from_ref(&good)).unwrap();
    assert_eq!((maps.value(0, b"a"), maps.value(1, b"a")), (Some(b"b".as_slice()), None));
    let errors = Maps::load(&[good, bad.clone(), missing.clone()]).unwrap_err();
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            format!(
                "lb.toml:1:8: map `bad`: {}:1: the key `a` has no value; write both on one line",
                bad.file.display()
            ),
            format!("lb.toml:1:8: map `missing`: {}: does not exist", missing.file.display()),
        ]
    );
}

/// A list instead of a table would take minutes here.
#[test]
fn a_hundred_thousand_keys_are_loaded_and_found() {
    let text: String = (0..100_000).map(|n| format!("host{n}.example.com backend{n}\n")).collect();
    let exact = map(MapKind::Exact, &text);
    for n in 0..100_000 {
        assert_eq!(value(&exact, &format!("host{n}.example.com")), Some(format!("backend{n}").as_str()));
    }
    let suffix = map(MapKind::Suffix, &text);
    assert_eq!(value(&suffix, "www.host99999.example.com"), Some("backend99999"));
}
