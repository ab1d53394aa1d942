//! What a converted file does: HAProxy runs the file, lbctl what `import` made of it, both are asked the same, and what
//! clients and servers get is the same. A test without HAProxy fails: it has shown nothing.
#![allow(clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "what is looked at is text of our own")]

#[path = "converted/both.rs"]
mod both;
#[path = "converted/checks.rs"]
mod checks;
#[path = "converted/generated.rs"]
mod generated;
#[allow(dead_code, reason = "shared with the tests of the daemon")]
#[path = "daemon/harness.rs"]
mod harness;
#[path = "converted/tls.rs"]
mod tls;
#[path = "converted/values.rs"]
mod values;

use both::Both;

/// A request without content, of HTTP/1.1, that ends its connection.
fn get(target: &str, fields: &[&str]) -> String {
    let host =
        if fields.iter().any(|field| field.starts_with("Host:")) { "" } else { "Host: www.example.com\r\n" };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n")
}

fn post(target: &str, content: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    )
}

#[track_caller]
fn all_the_same(both: &Both, listener: &str, requests: &[String]) {
    let differ: Vec<_> =
        requests.iter().filter_map(|request| both.compare(listener, request).err()).collect();
    assert!(differ.is_empty(), "{} of {} differ\n{}", differ.len(), requests.len(), differ.join("\n"));
}

#[test]
fn rules_do_what_they_did() {
    let both = Both::start("rules");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let long = "x".repeat(101);
    let anna = "Authorization: Basic YW5uYTpzZWNyZXQ=";
    let bob = "Authorization: Basic Ym9iOm90aGVy";
    let requests = [
        get("/", &[]),
        get("/admin", &[]),
        get("/administrator?x", &[]),
        get("/", &["User-Agent: GoogleBot/2.1"]),
        get("/robots.txt", &[]),
        get("/gone", &[]),
        get("/MISSING", &[]),
        get("/staff", &[]),
        get("/staff/x", &[anna]),
        get("/staff", &[bob]),
        get("/staff", &["Authorization: Basic bob"]),
        get("/x", &["Host: old.example.com"]),
        get("/x", &["Host: OLD.example.com"]),
        get("/prefix/a?b=c", &[]),
        get("/dropped?b=c", &[]),
        get("/first", &[]),
        get("/private", &[]),
        get("/literal", &[]),
        get("/private", &["X-Token: a"]),
        get("/?debug=on", &[]),
        get("/?debug=onoff", &[]),
        get("/", &["X-Real-IP: 192.0.2.1", "X-Secret: 1", "x-secret: 2", "X-Via: other"]),
        get("/", &["X-Forwarded-For: 192.0.2.1"]),
        get("/", &["Cookie: a=1; tracking=abc; b=2"]),
        get("/api/users?x=1", &[]),
        get("/from/a/b?x=1", &[]),
        get("/query?x=1", &[]),
        get("/query", &[]),
        get("/logo.png", &[]),
        get("/static/x", &[]),
        get("/x", &["Host: WWW.example.com:8080"]),
        get("/shop/cart", &[]),
        get("/blog", &[]),
        get("/allowed", &[]),
        get("/forbidden", &[]),
        get("/~404", &[]),
        get("/~503", &[]),
        get("/~leak", &[]),
        get("/secure/x?y", &[]),
        post("/", "content"),
        post("/", &long),
        post("/static/form", "content"),
        get("/", &["Cookie: beta=yes"]),
        get("/", &["Cookie: a=1; beta=no"]),
        get("/", &["Host: b.example.com"]),
        get("/", &["Host: B.example.com:80"]),
        get("/", &["X-Hosts: a, www.Example.com"]),
        get("/", &["X-Hosts: example.com,b"]),
        get("/", &["X-Hosts: myexample.com", "X-Hosts: example.community"]),
        get("/", &[]).replace("GET", "PROPFIND"),
        get("/alive", &[]),
        get("/alive?x", &[]),
        get("/%2e%2e/admin", &[]),
        get("//admin", &[]),
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(),
        "nonsense\r\n\r\n".into(),
    ];
    all_the_same(&both, "WEB", &requests);
}

#[test]
fn what_operators_have_beside_the_common_rules_does_what_it_did() {
    let both = Both::start("operators");
    // Of several lines one is left, and a variable may have a `?`: both are said, and nothing else.
    let said = |what: &str| both.notes.matches(what).count();
    assert_eq!(
        (said("`replace-header` with samples"), said("`replace-path`: a `?`")),
        (1, 1),
        "{}",
        both.notes
    );
    assert_eq!(said("not converted") + said("not the same"), 2, "{}", both.notes);
    let anna = "Authorization: Basic YW5uYTpzZWNyZXQ=";
    let bob = "Authorization: Basic Ym9iOm90aGVy";
    let requests = [
        get("/", &[]),
        get("/admin", &[]),
        get("/admin/x", &[anna]),
        get("/admin/x", &[bob]),
        get("/", &[anna]),
        get("/", &[bob]),
        get("/", &["Authorization: Basic bob"]),
        get("/", &["X-List: a"]),
        get("/", &["X-List: a, b,c"]),
        get("/", &["X-List: a,b,c,d"]),
        get("/", &["X-List: a,b", "X-List: c, d"]),
        get("/", &["X-List: a", "X-List: b", "X-List: c"]),
        get("/", &["X-List: \"a,b\",c,d"]),
        get("/", &["X-List: a,,b"]),
        get("/", &["X-List:"]),
        get("/gone", &[]),
        get("/GONE", &["Host: EXAMPLE.com:80"]),
        get("/gone/x", &[]),
        get("/Also?x", &[]),
        get("/a/b?c=d", &[]),
        get("/method", &[]),
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(),
        get("/", &["X-Val: a,b1,bb", "X-Val: c,b"]),
        get("/", &["X-Rep: an old one"]),
        get("/", &["X-Rep: a new one"]),
        get("/replaced/a/b?c", &["X-Team: blue"]),
        get("/", &["X-Team: blue"]),
        get("/", &["X-Word: Basic abc"]),
        get("/", &["Origin: https://www.example.com"]),
        get("/", &["Origin: https://very-long.name.example.com"]),
        get("/", &["Origin: null", "X-Version: 123456"]),
        get("/dir?x=1", &[]),
        get("/dir/", &[]),
        get("/cookie", &[]),
        get("/forget", &[]),
        get("/slow", &[]),
        get("/slower", &[]),
        get("/up", &[]),
        get("/dead", &[]),
        get("/~404", &[]),
        get("/~405", &[]),
        get("/~500", &[]),
        get("/", &["X_User: 1", "X.Name: 2", "X-A1: 3", "X!: 4"]),
    ];
    all_the_same(&both, "WEB", &requests);
    let requests = [
        get("/", &[]),
        get("/", &["X_User: 1"]),
        get("/", &["X.Name: 1"]),
        get("/", &["x_seen: 1"]),
        get("/rule", &[]),
    ];
    all_the_same(&both, "OTHER", &requests);
}

#[test]
fn what_counts_is_counted_and_what_is_too_much_is_the_same() {
    let both = Both::start("limits");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let client = |value: &str| get("/", &[&format!("X-Client: {value}")]);
    let requests = [
        get("/login", &[]),
        // What another rule refuses has been counted, and what the limit is not about as well.
        get("/refused", &[]),
        get("/", &[]),
        get("/login", &[]),
        get("/", &[]),
        get("/login", &[]),
        get("/login/again", &[]),
        get("/", &[]),
        get("/", &[]),
        client("192.0.2.1"),
        client("192.0.2.1"),
        client("192.0.2.1"),
        client("192.0.2.1"),
        client("192.0.2.2"),
        // What is no address is nobody.
        client("me"),
        client("me"),
        client("me"),
        client("192.0.2.1.5"),
        client("192.0.2.1.5"),
        client("192.0.2.1.5"),
    ];
    all_the_same(&both, "WEB", &requests);
    // Behind `http-request` a request is a connection more, whatever it came by.
    let kept = |client: &str, count: usize| {
        let first = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Client: {client}\r\n\r\n").repeat(count - 1);
        format!("{first}{}", get("/", &[&format!("X-Client: {client}")]))
    };
    let refused = [kept("a", 2), kept("a", 2), kept("b", 3), kept("b", 1), kept("b", 1)]
        .map(|requests| both.ask("STATS", &requests).map(|answers| answers.matches("HTTP/1.1 429 ").count()));
    assert_eq!(refused, [[0, 0], [1, 1], [0, 0], [1, 1], [1, 1]], "of each kind of rate");
    let keys = [
        "/counted?key=a",
        "/counted?key=b",
        "/?key=a",
        "/counted?key=a",
        "/counted",
        "/counted?key=a",
        "/?key=a",
    ];
    all_the_same(&both, "OTHER", &keys.map(|target| get(target, &[])));
    // The table knows eight bytes of a key.
    let long = ["abcdefg1", "abcdefg2", "abcdefgh1", "abcdefgh2", "abcdefg1", "abcdefgh"];
    all_the_same(&both, "OTHER", &long.map(|key| get("/long", &[&format!("X-Long: {key}")])));
}

#[test]
fn clients_stay_where_they_were() {
    let mut both = Both::start("persistence");
    both.wait_for("WEB", &get("/backup", &[]), "X-Server: B");
    both.wait_for("WEB", &get("/chosen/dead", &[]), "X-Server: B");
    both.wait_until_servers("have been checked", |state| state != "unchecked");
    let requests = [
        get("/", &[]),
        get("/", &[]),
        get("/", &["Cookie: SRV=two"]),
        get("/", &["Cookie: a=1; SRV=one; b=2"]),
        get("/", &["Cookie: SRV=nobody"]),
        get("/x.png", &["Cookie: SRV=two"]),
        get("/", &["X-Server-Name: mine", "x-server-name: mine", "X-Server-Names: a", "Cookie: SRV=two"]),
        post("/", "X-Server-Name: content\r\n\r\n")
            .replace("Content-Length", "Cookie: SRV=one\r\nContent-Length"),
        get("/gone", &["Cookie: SRV=dead"]),
        get("/prefix", &[]),
        get("/prefix", &["Cookie: session=two~abc"]),
        get("/prefix", &["Cookie: session=abc"]),
        get("/rewrite", &[]),
        get("/rewrite", &["Cookie: session=one"]),
        get("/dead", &[]),
        get("/nowhere", &[]),
        get("/sticky", &[]),
        get("/sticky", &[]),
        get("/sticky", &[]),
        get("/sticky/b", &[]),
        get("/sticky", &[]),
        get("/sticky", &[]),
        get("/chosen/b", &[]),
        get("/chosen/b", &["Cookie: SRV=one"]),
        get("/chosen/b", &["Cookie: SRV=two; a=b"]),
        get("/chosen/b/~404", &["Cookie: SRV=nobody"]),
        get("/chosen/dead", &["Cookie: SRV=one"]),
        get("/chosen", &["Cookie: SRV=one"]),
        get("/chosen", &[]),
    ];
    all_the_same(&both, "WEB", &requests);
    // In which order they get their shares is nobody's business.
    let shares: Vec<_> = (0..8).map(|_| both.ask("WEB", &get("/weights", &[]))).collect();
    for program in [0, 1] {
        let of = |server: &str| {
            let field = format!("\r\nx-server: {server}\r\n");
            shares.iter().filter(|answers| answers[program].to_ascii_lowercase().contains(&field)).count()
        };
        assert_eq!([of("a"), of("b")], [6, 2], "program {program}");
    }
}

#[test]
fn statistics_and_pages_are_where_they_were() {
    let mut both = Both::start("statistics");
    both.wait_for("WEB", &get("/alive", &[]), "503");
    both.wait_for("WEB", &get("/shadow", &[]), "503");
    let requests = [
        get("/", &[]),
        get("/none", &[]),
        get("/denied", &[]),
        get("/led", &[]),
        get("/led/303", &[]),
        post("/led", "content"),
        get("/alive", &[]),
        get("/haproxy-stat", &[]),
    ];
    all_the_same(&both, "WEB", &requests);
    // HAProxy names a type of the content that there is not.
    for request in [post("/haproxy-stats", "s=a&action=disable&b=app"), post("/haproxy-stats;csv", "")] {
        for answer in both.ask("WEB", &request) {
            let answer = answer.to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 303 see other\r\n"), "{answer}");
            assert!(answer.contains("\r\nlocation: /haproxy-stats;st=deny\r\n"), "{answer}");
        }
    }
    all_the_same(&both, "STATS", &[get("/", &[]), get("/haproxy-stats", &[])]);
    let password = "Authorization: Basic bmFnaW9zOnNlY3JldA==";
    let rows = |answer: &str| {
        let (_, content) = answer.split_once("\r\n\r\n").expect("a head");
        let names = |line: &str| line.split(',').take(2).collect::<Vec<_>>().join(" ");
        content.lines().filter(|line| line.contains(',')).map(names).collect::<Vec<_>>()
    };
    for (listener, target, fields) in [
        ("WEB", "/haproxy-stats;csv", vec![]),
        ("WEB", "/haproxy-statsXYZ;csv", vec![]),
        ("STATS", "/stats;csv", vec![password]),
    ] {
        let [theirs, ours] = both.ask(listener, &get(target, &fields));
        let expected = [
            "# pxname svname",
            "web FRONTEND",
            "app a",
            "app BACKEND",
            "guarded FRONTEND",
            "shadow a",
            "shadow BACKEND",
            "none a",
            "none BACKEND",
        ];
        assert_eq!(rows(&ours), expected, "{ours}");
        assert_eq!(rows(&theirs), expected, "{theirs}");
    }
    for fields in [vec![], vec!["Authorization: Basic bmFnaW9zOnNlY3JldHM="]] {
        for answer in both.ask("STATS", &get("/stats", &fields)) {
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            assert!(answer.to_ascii_lowercase().contains("\r\nwww-authenticate: basic realm="), "{answer}");
        }
    }
}

#[test]
fn sections_without_servers_and_servers_at_rest_answer_as_they_did() {
    let both = Both::start("sections");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let targets = [
        "/",
        "/",
        "/b",
        "/slow",
        "/denied",
        "/empty",
        "/page",
        "/answers/hello",
        "/answers/none",
        "/answers/x",
        "/off",
        "/named",
        "/resting",
        "/merged//a///b//?c=//d",
        "/merged/a",
        "//merged//",
        "/dots/./a/././b/.c/.",
        "/dots/.",
        "/dots/a.",
        "/x//./y",
        "/password",
        "/proxy",
        "/ready",
        "/~418",
        "/allowed",
        "/weightless",
        "/led",
        "/led/none",
    ];
    all_the_same(&both, "WEB", &targets.map(|target| get(target, &[])));
    let requests = [
        get("/allowed", &["X-Client: 192.0.2.1"]),
        get("/", &["X-Client: 192.0.2.1"]),
        get("/weightless", &["Cookie: SRV=b"]),
    ];
    all_the_same(&both, "WEB", &requests);
    all_the_same(&both, "STATS", &["/", "/led/none"].map(|target| get(target, &[])));
    all_the_same(&both, "OTHER", &["/slow", "/denied", "/"].map(|target| get(target, &[])));
    let [_, ours] = both.ask("WEB", &get("/", &[]));
    assert!(ours.contains("\r\nX-Server: A\r\n"), "{ours}");
}

#[test]
fn what_is_not_there_and_lists_that_end_mean_the_same() {
    let both = Both::start("samples");
    // What no number is, no request below has, but for what it ends with; and what never holds does so in both.
    let is_of_numbers = |line: &str| line.contains("`hdr_val(x-n)` of a value that is no number");
    let lost: Vec<_> = both.notes.lines().filter(|line| line.contains("not converted")).collect();
    let (numbers, never): (Vec<_>, Vec<_>) = lost.into_iter().partition(|line| is_of_numbers(line));
    assert!(numbers.len() == 2 && never.iter().all(|line| line.contains("never holds")), "{}", both.notes);
    let requests = [
        get("/", &[]),
        get("/token", &[]),
        get("/token", &["X-Token: a"]),
        get("/token", &["X-Token:"]),
        get("/token", &["X-Token: red"]),
        get("/ip", &[]),
        get("/ip", &["X-Real-IP: 192.0.2.1"]),
        get("/ip", &["X-Real-IP: 127.9.9.9"]),
        get("/", &["X-Real-IP: nobody"]),
        get("/", &["X-Real-IP: 192.0.2.1, 192.0.2.2"]),
        get("/p?a=", &[]),
        get("/p?a=1", &[]),
        get("/p?b=1", &[]),
        get("/p/b/c", &[]),
        get("/p/b", &["Cookie: c=; b=1"]),
        get("/p/b", &["Cookie: c=1"]),
        get("/p//", &["Cookie: d=1"]),
        get("/last", &["X-L: 10.0.0.1"]),
        get("/last", &["X-L: 10.0.0.1, 192.0.2.1"]),
        get("/last", &["X-L: 10.0.0.1", "x-l: 192.0.2.1"]),
        get("/last", &["X-L: 192.0.2.1", "x-l: 192.0.2.2,10.0.0.1"]),
        get("/", &["X-L: Evil, ok"]),
        get("/", &["X-L: ok", "X-L: eVIL"]),
        get("/", &["X-L: evil", "X-L: ok,"]),
        get("/", &["X-L: devil"]),
        get("/", &["User-Agent: GoogleBOT/1", "User-Agent: ok"]),
        get("/", &["User-Agent: Mozilla/5.0 (X11) WebKit/5 (KHTML, like Gecko) Chrome/1 Safari/5"]),
        get("/", &["User-Agent: Mozilla/5.0 (X11) Safari/5", "User-Agent: curl/7 (KHTML"]),
        get("/", &["User-Agent: a,b", "If-Modified-Since: Wed, 21 Oct 2015 07:28:00 GMT"]),
        get("/", &["Host: www.example.org:8080"]),
        get("/", &["Host: WWW.example.org:8080"]),
        get("/", &["Host: WWW.example.ORG"]),
        get("/", &["Host: www.example.net"]),
        get("/", &["Host: b.ORG:8081"]),
    ];
    all_the_same(&both, "WEB", &requests);
    let numbers = [
        "7", "7, 1", "3, 12", "3, 9", "12,7", "4", "5", "10", "11", "007", "7x", "7,", ",7", ",", "", "0",
        "-0", "-7", "abc", "abc, 100", "1,2,3", "100", "99, 6",
    ];
    let numbers = numbers.map(|value| get("/", &[&format!("X-N: {value}")]));
    all_the_same(&both, "WEB", &numbers);
    all_the_same(&both, "WEB", &[get("/", &["X-N: 3", "X-N: 12"]), get("/", &["X-N: 3", "X-N: 8"])]);
    all_the_same(&both, "OTHER", &[get("/", &[])]);
}

#[test]
fn one_byte_leads_around_no_expression() {
    let both = Both::start("expressions");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let with = |target: &str, field: &str| get(target, &["X-Id: 1", field]);
    let requests = [
        with("/", "User-Agent: x sqlmap"),
        with("/", "User-Agent: \u{e9} sqlmap"),
        with("/", "User-Agent: \u{ff}\u{fe}\u{80}SQLmap\u{c3}"),
        with("/", "Cookie: a=1; admin=1"),
        with("/", "Cookie: a=\u{ff}; admin=1"),
        get("/", &["X-Id: \u{d9}\u{a1}"]),
        get("/", &["X-Id: 12"]),
        with("/?a=x+select", "X-Y: a"),
        with("/?a=%ff+select", "X-Y: a"),
        with("/%ff/passwd", "X-Y: a"),
        with("/%c3%a4;%ff", "X-Y: a"),
        with("/", "X-R: a\u{e9}secretb"),
    ];
    all_the_same(&both, "WEB", &requests);
    let values = [
        "+,-",
        "+",
        "a",
        "a&d",
        "e",
        "\u{c3}\u{a4}",
        "\u{a4}",
        "\u{e4}",
        "\u{c3}\u{a9}",
        "k",
        "K",
        "\u{e2}\u{84}\u{aa}",
        "\u{e9}x-\u{c3}\u{a4}xx",
    ];
    all_the_same(&both, "WEB", &values.map(|value| with("/", &format!("X-Y: {value}"))));
    // The tests above have shown something.
    let [theirs, _] = both.ask("WEB", &with("/", "User-Agent: \u{e9} sqlmap"));
    assert!(theirs.starts_with("HTTP/1.1 403 "), "{theirs}");
}

#[test]
fn what_a_file_is_made_of_means_the_same() {
    let both = Both::start("lists");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let requests = [
        get("/", &[]),
        get("/listed", &[]),
        get("/also", &[]),
        get("/listed/x", &[]),
        get("//a//b?n=a%20b&m=1", &["Cookie: c=d", "X-List: a, b", "X-List: c,d"]),
        get("/one/two/three", &["X-Request: mine"]),
        get("/~500", &["X-Client: 192.0.2.7"]),
    ];
    all_the_same(&both, "WEB", &requests);
    all_the_same(&both, "OTHER", &[get("/", &[]), get("/", &["X-Client: 192.0.2.7"])]);
    for answer in both.ask("OTHER", &get("/", &["Accept-Encoding: gzip"])) {
        assert!(answer.to_ascii_lowercase().contains("\r\ncontent-encoding: gzip\r\n"), "{answer:?}");
    }
}

#[test]
fn a_name_that_is_computed_leads_where_it_led() {
    let both = Both::start("named");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let requests = [
        get("/", &[]),
        get("/shop/cart", &[]),
        get("/blog", &[]),
        get("/team/x", &["X-Team: RED"]),
        // What no backend is called, or in another mode, is for the default, and nothing behind it counts.
        get("/team/last", &["X-Team: blue"]),
        get("/team", &[]),
        get("/?of=writers", &[]),
        get("/?of=Writers", &[]),
        get("/?of=writers%20", &[]),
        get("/last?of=nobody", &[]),
        get("/last?of=", &[]),
        get("/last", &[]),
    ];
    all_the_same(&both, "WEB", &requests);
    all_the_same(&both, "OTHER", &[get("/", &[])]);
}

#[test]
fn bytes_go_through_as_they_are() {
    let both = Both::start("tcp");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    all_the_same(&both, "WEB", &[get("/", &["a: b"]), get("/~404", &[])]);
    assert_eq!(both.ask("OTHER", &get("/", &[])), ["", ""]);
}

#[test]
fn the_articles_file_serves_as_it_did() {
    let both = Both::start("article");
    both.wait_until_servers("are up", |state| state == "up");
    let requests = [
        get("/", &[]),
        get("/", &["X-Forwarded-For: 192.0.2.1"]),
        get("/x?y", &["Cookie: SRV=app1inst2"]),
        get("/haproxy-status/", &[]),
    ];
    all_the_same(&both, "WEB", &requests);
    for answer in both.ask("WEB", &get("/haproxy-stats;csv", &[])) {
        assert!(answer.contains("\nweb_proxy,web2,"), "{answer}");
    }
}

#[test]
fn lines_of_the_log_say_what_they_said() {
    let both = Both::start("logs");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let agent = "User-Agent: a browser with a long name";
    let requests = [
        get("/", &[agent, "X-Tenant: blue", "Cookie: a=b; SESSION=1"]),
        get("/logo.png", &[]),
        get("/denied", &[agent]),
        get("/slower", &[agent]),
        get("/", &["User-Agent: a \"b\" {c|d}#", "X-Raw: a\"b/c\\d #{|} \u{c3}\u{a4} <&>"]),
        get("/dead", &["X-Tenant: a tenant"]),
        get("/a?b=\"c", &["Cookie: SESSION=1"]),
        post("/~404", "content"),
        get("/~405", &[]),
    ];
    for request in requests {
        let [theirs, ours] = both.lines("WEB", &request);
        assert_eq!(theirs, ours, "{request}");
    }
    for silent in [get("/quiet", &[]), get("/quiet/denied", &[]), get("/~204", &[])] {
        let _ = both.ask("WEB", &silent);
    }
    for request in [get("/", &[]), get("/quiet/loud", &[])] {
        let [theirs, ours] = both.lines("WEB", &request);
        assert_eq!(theirs, ours, "{request}");
        assert!(ours.contains(request.split(' ').nth(1).expect("a target")), "{ours}");
    }
    // Times, bytes and connections are other ones each time.
    let shape = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        [&words[2..4], &words[5..6], &words[7..10], &words[12..]].concat().join(" ")
    };
    let [theirs, ours] = both.lines("OTHER", &get("/x", &[])).map(|line| shape(&line));
    assert_eq!(theirs, ours);
    assert_eq!(ours, r#"other app/a 200 - - ---- "GET /x HTTP/1.1""#);
    let [theirs, ours] = both.lines("STATS", &get("/x", &[]));
    assert_eq!(theirs, ours);
}
