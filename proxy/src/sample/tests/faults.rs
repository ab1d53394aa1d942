//! What is wrong with a template is said with its place.

use super::*;

#[track_caller]
fn fault(text: &str, stage: Stage, becomes: Text) -> (String, String) {
    let error = Template::parse(text, &place(&Names::default(), stage, becomes)).unwrap_err();
    (text[error.range.clone()].to_owned(), error.to_string())
}

#[test]
fn each_fault_points_at_its_bytes_and_says_what_to_write() {
    let cases = [
        ("a {client.ip", "{", "a `{` has no `}`; for the character itself write `{{`"),
        ("a {", "{", "a `{` has no `}`; for the character itself write `{{`"),
        ("a } b", "}", "a `}` has no `{`; for the character itself write `}}`"),
        ("a { } b", "{ }", "no placeholder between the braces; write one, as in `{client.ip}`"),
        ("{clinet.ip}", "clinet.ip", "no placeholder is called `clinet.ip`"),
        ("{request.header.}", "request.header.", "no placeholder is called `request.header.`"),
        ("{request.header.a:b}", "request.header.a:b", "`a:b` is no name of a header"),
        ("{tls.nsi}", "tls.nsi", "no placeholder is called `tls.nsi`"),
        (
            "{client.ip}{var.x}",
            "var.x",
            "no rule sets the variable of `var.x` for this place; write a `set_var`",
        ),
        ("{client.ip|lowre}", "lowre", "no function is called `lowre`"),
        ("{client.ip|}", "", "no function is called ``"),
        ("{client.ip lower}", "l", "only `|` and a function may follow, as in `{request.path|lower}`"),
        ("{client.ip|lower(1)}", "lower(1)", "`lower` takes no arguments; write `lower`"),
        (
            "{client.ip|field}",
            "field",
            "`field` takes a number and delimiters in quotes; write `field(2, \":\")`",
        ),
        (
            "{client.ip|field(0,'.')}",
            "field(0,'.')",
            "the first is 1, the last is -1; write `field(2, \":\")`",
        ),
        (
            "{client.ip|field(1,'')}",
            "field(1,'')",
            "at least one delimiter is wanted; write `field(2, \":\")`",
        ),
        ("{client.ip|field(x)}", "x", "arguments are numbers, or text in quotes; write `field(2, \":\")`"),
        (
            "{client.ip|field(1 '.')}",
            "'",
            "arguments are numbers, or text in quotes; write `field(2, \":\")`",
        ),
        ("{client.ip|default('x)}", "'", "a quote is not closed; write `default(\"none\")`"),
        ("{client.ip|bytes(-1)}", "bytes(-1)", "both count from 0; write `bytes(0, 8)`"),
        (
            "{client.ip|mask(33, 64)}",
            "mask(33, 64)",
            "prefix lengths are 0..32 for IPv4 and 0..128 for IPv6; write `mask(24, 64)`",
        ),
        ("a\u{7}b", "\u{7}", "control characters can't be sent here; take it out"),
    ];
    for (text, range, message) in cases {
        let found = fault(text, Stage::Response, Text::Field);
        assert_eq!(found, (range.to_owned(), message.to_owned()), "{text}");
    }
}

#[test]
fn a_regular_expression_that_does_not_compile_or_is_too_large_is_refused() {
    let write = "write `regsub(\"^/v([0-9]+)/\", \"/$1/\", \"gi\")`";
    let cases = [
        ("regsub('(', 'x')", "the regular expression is wrong: unclosed group"),
        ("regsub('a{1000}{1000}', 'x')", "the regular expression is too large"),
        (
            "regsub('a', '$1')",
            "the expression has no group `1`; a group is `$1` or `${1}`, the character itself `$$`",
        ),
        (
            "regsub('(a)', '$1b')",
            "the expression has no group `1b`; a group is `$1` or `${1}`, the character itself `$$`",
        ),
        ("regsub('a', 'b', 'x')", "`x` is no flag; flags are g and i"),
        ("regsub('a')", "`regsub` takes a regular expression and its replacement, in quotes"),
    ];
    for (function, message) in cases {
        let (range, found) = fault(&format!("{{client.ip|{function}}}"), Stage::Request, Text::Plain);
        assert_eq!((range.as_str(), found), (function, format!("{message}; {write}")));
    }
}

#[test]
fn a_placeholder_exists_only_where_its_row_says() {
    let names = Names::default();
    for row in PLACEHOLDERS.iter().filter(|row| row.name != "var.NAME") {
        let text = format!("{{{}}}", row.name);
        let exists = |stage, backend| {
            Template::parse(&text, &Place { stage, backend, text: Text::Plain, names: &names }).is_ok()
        };
        let found = [
            exists(Stage::Connection, false),
            exists(Stage::Request, false),
            exists(Stage::Request, true),
            exists(Stage::Response, true),
        ];
        let expected = match row.since {
            Since::Connection => [true; 4],
            Since::ClientHello => [true, false, false, false],
            Since::Request => [false, true, true, true],
            Since::Head => [false, true, true, false],
            Since::Backend => [false, false, true, true],
            Since::Response | Since::Server => [false, false, false, true],
            Since::Log => [false; 4],
        };
        assert_eq!(found, expected, "{}", row.name);
    }
    let (_, message) = fault("{response.status}", Stage::Request, Text::Plain);
    assert_eq!(
        message,
        "`response.status` does not exist here; it does where a response is worked on, and in logs of mode http"
    );
    // In the logs of tcp frontends and in those of http frontends.
    for row in PLACEHOLDERS.iter().filter(|row| row.name != "var.NAME") {
        let text = format!("{{{}}}", row.name);
        let exists = |stage| {
            Template::parse(&text, &Place { stage, backend: true, text: Text::Log, names: &names }).is_ok()
        };
        let expected = match row.since {
            Since::Connection | Since::Backend | Since::Server | Since::Log => [true, true],
            Since::ClientHello => [true, false],
            Since::Head => [false, false],
            Since::Request | Since::Response => [false, true],
        };
        assert_eq!([exists(Stage::Connection), exists(Stage::Response)], expected, "{}", row.name);
    }
}

#[test]
fn text_of_the_file_must_fit_where_it_is_put() {
    for (text, becomes, character) in [
        ("/a b", Text::Path, " "),
        ("/a?b", Text::Path, "?"),
        ("/ä", Text::Location, "ä"),
        ("a#b", Text::Query, "#"),
    ] {
        let (range, message) = fault(text, Stage::Request, becomes);
        assert_eq!(range, character);
        assert_eq!(message, format!("`{character}` can't be in a URI; write it percent-encoded"));
    }
    let names = Names::default();
    assert!(Template::parse("https://x/?a#b", &place(&names, Stage::Request, Text::Location)).is_ok());
    assert!(Template::parse("a\nb\0", &place(&names, Stage::Request, Text::Content)).is_ok());
}

#[test]
fn an_expression_is_one_placeholder_alone() {
    let names = Names::default();
    let place = place(&names, Stage::Request, Text::Plain);
    assert!(Expression::parse("{client.ip|lower}", &place).is_ok());
    for text in ["client.ip", "{client.ip} ", "a{client.ip}", "{{client.ip}}", ""] {
        assert_eq!(Expression::parse(text, &place).unwrap_err().fault, Fault::NotOne, "{text}");
    }
}

#[test]
fn unknown_names_come_with_what_could_have_been_meant() {
    let names = Names::default();
    let error = Template::parse("{clinet.ip}", &place(&names, Stage::Request, Text::Plain)).unwrap_err();
    let (written, known) = error.fault.candidates().unwrap();
    assert_eq!(written, "clinet.ip");
    assert!(known.contains(&"client.ip"));
}
