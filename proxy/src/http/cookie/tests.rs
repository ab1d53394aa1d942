//! Cookies byte for byte: what is found, what a server sees, what a client is told.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Cookie, CookieMode, SameSite, Server},
    http::{
        head::{
            Fields, Progress,
            request::{self, Method},
            response,
        },
        message::Message,
    },
    rules::UsedFields,
};

/// 1,000,000 in steps of four seconds: `AD0JA`.
const NOW: Duration = Duration::from_secs(4_000_000);

fn cookie(mode: CookieMode) -> Cookie {
    Cookie { mode, ..Cookie::new("SRV") }
}

fn indirect() -> Cookie {
    Cookie { indirect: true, ..cookie(CookieMode::Insert) }
}

/// Servers `app1`, `app2` and one without a value.
fn policy(cookie: &Cookie) -> CookiePolicy {
    let server = |index: usize, value: Option<&str>| {
        let mut server = Server::new(format!("s{index}"), std::net::SocketAddr::from(([192, 0, 2, 21], 80)));
        server.cookie = value.map(str::to_owned);
        server
    };
    CookiePolicy::new(cookie, &[server(0, Some("app1")), server(1, Some("app2")), server(2, None)])
}

/// What is read of these lines, and what of them a server sees.
fn request(cookie: &Cookie, lines: &[&str], is_up: impl Fn(usize) -> bool) -> (Persisted, Vec<String>) {
    let lines: String = lines.iter().map(|line| format!("Cookie: {line}\r\n")).collect();
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}X: 1\r\n\r\n").into_bytes();
    let mut fields = Fields::default();
    let head = request::Head::parse(&bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
    let request = head.check().unwrap();
    let (mut scratch, mut work) = (Vec::new(), Vec::new());
    let mut message = Message::of_request(head, &request, &UsedFields::default(), &mut scratch).unwrap();
    let policy = policy(cookie);
    let persisted = policy.read(&message, is_up, NOW);
    policy.edit_request(&mut message, &mut work).unwrap();
    let seen = message.all(b"Cookie").map(|value| String::from_utf8(value.to_vec()).unwrap()).collect();
    (persisted, seen)
}

/// The lines of a response's head, by the server with this index.
fn response(
    cookie: &Cookie,
    method: Method,
    persisted: &Persisted,
    server: usize,
    lines: &[&str],
) -> Vec<String> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let bytes = format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
    let mut fields = Fields::default();
    let head = response::Head::parse(&bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
    let (mut scratch, mut work) = (Vec::new(), Vec::new());
    let mut message = Message::of_response(head, &mut scratch);
    policy(cookie).edit_response(&mut message, method, persisted, server, NOW, &mut work);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    message.fields().map(|field| format!("{}: {}", text(field.name), text(field.value))).collect()
}

/// What a client says that has the cookie of this server.
fn persisted(server: usize) -> Persisted {
    let value = ["SRV=app1", "SRV=app2"][server];
    request(&cookie(CookieMode::Insert), &[value], |_| true).0
}

/// What a client with `value` is told after it was served by its own server.
fn renewed(cookie: &Cookie, value: &str) -> Vec<String> {
    let (persisted, _) = request(cookie, &[&format!("SRV={value}")], |_| true);
    response(cookie, Method::Get, &persisted, 0, &[])
}

#[test]
fn cookie_is_found_and_taken_out_and_the_others_stay() {
    let found = |lines: &[&str]| {
        let (persisted, seen) = request(&indirect(), lines, |_| true);
        (persisted.server, seen)
    };
    let table: &[(&[&str], Option<usize>, &[&str])] = &[
        (&[], None, &[]),
        (&["SRV=app1"], Some(0), &[]),
        (&["A=1; SRV=app2; B=2"], Some(1), &["A=1; B=2"]),
        (&["SRV=app2; B=2"], Some(1), &["B=2"]),
        (&["A=1; SRV=app2"], Some(1), &["A=1"]),
        (&["A=1;SRV=app2;B=2"], Some(1), &["A=1; B=2"]),
        (&["A=1 ; SRV = app2 ; B=2"], Some(1), &["A=1; B=2"]),
        // Several lines, of which one is left with nothing.
        (&["A=1", "SRV=app1", "B=2"], Some(0), &["A=1", "B=2"]),
        (&["A=1; SRV=app1", "SRV=app2; B=2"], Some(0), &["A=1", "B=2"]),
        // Twice: the first that leads somewhere counts, all are taken out.
        (&["SRV=app2; A=1; SRV=app1"], Some(1), &["A=1"]),
        (&["SRV=gone; A=1; SRV=app1"], Some(0), &["A=1"]),
        (&["SRV=; A=1; SRV=app1"], Some(0), &["A=1"]),
        // Look-alikes are other cookies.
        (&["XSRV=app1; SRVx=app1; srv=app1; S=app1"], None, &["XSRV=app1; SRVx=app1; srv=app1; S=app1"]),
        (&["A=SRV=app1"], None, &["A=SRV=app1"]),
        (&["A=1,SRV=app1"], None, &["A=1,SRV=app1"]),
        (&["A=1 SRV=app1"], None, &["A=1 SRV=app1"]),
        (&["SRV"], None, &["SRV"]),
        (&["=SRV; A"], None, &["=SRV; A"]),
        // Values are compared whole.
        (&["SRV=app"], None, &[]),
        (&["SRV=app11"], None, &[]),
        (&["SRV=APP1"], None, &[]),
        (&["SRV=\"app1\""], None, &[]),
        (&["SRV=app1 x"], None, &[]),
        (&["SRV=app1~x"], None, &[]),
        (&["SRV=app1=x"], None, &[]),
        (&["SRV=app1|"], None, &[]),
        (&["SRV=app1|AD0JA|AD0JA|AD0JA"], None, &[]),
        (&["SRV=app1|AD0J"], None, &[]),
        (&["SRV=app1|AD0J!"], None, &[]),
        (&["SRV=app1|AAAAA"], None, &[]),
        // Dates are understood also where none are given.
        (&["SRV=app1|AD0JA"], Some(0), &[]),
        (&["SRV=app1|AD0JA|AD0JA"], Some(0), &[]),
        // Quoted strings hide what is in them, stray quotes nothing.
        (&["A=\"x; SRV=app1; y\"; B=2"], None, &["A=\"x; SRV=app1; y\"; B=2"]),
        (&["A=\"x\\\"; SRV=app1; y\"; SRV=app2"], Some(1), &["A=\"x\\\"; SRV=app1; y\""]),
        (&["A=\"x; SRV=app1; B=2"], Some(0), &["A=\"x; B=2"]),
        (&["A=x\"; SRV=app1; B=\"2"], Some(0), &["A=x\"; B=\"2"]),
        (&["A=\"x; SRV=app1; B=\"2\""], Some(0), &["A=\"x; B=\"2\""]),
        (&["A=\"x\\"], None, &["A=\"x\\"]),
        // RFC 2965: attributes go with their cookie.
        (&["$Version=1; SRV=app1; $Path=/"], Some(0), &[]),
        (
            &["$Version=1; A=1; $Path=/a; SRV=app1; $Path=/; B=2"],
            Some(0),
            &["$Version=1; A=1; $Path=/a; B=2"],
        ),
        (
            &["$Version=\"1\"; SRV=app1; $Path=\"/\"; $Domain=\"a\"; B=2; $Path=\"/b\""],
            Some(0),
            &["$Version=\"1\"; B=2; $Path=\"/b\""],
        ),
        // Nothing to take out: as it came.
        (&["A=1;;  B=2 ;"], None, &["A=1;;  B=2 ;"]),
        (&[""], None, &[""]),
    ];
    for (lines, server, seen) in table {
        assert_eq!(found(lines), (*server, seen.iter().map(|&line| line.to_owned()).collect()), "{lines:?}");
    }
}

#[test]
fn server_sees_the_cookie_where_it_is_not_hidden() {
    for mode in [CookieMode::Insert, CookieMode::Rewrite, CookieMode::Passive] {
        let (persisted, seen) = request(&cookie(mode), &["A=1;SRV=app1;;B=2"], |_| true);
        assert_eq!((persisted.server, seen), (Some(0), vec!["A=1;SRV=app1;;B=2".to_owned()]));
    }
}

#[test]
fn of_several_servers_the_first_that_is_up_counts() {
    let server =
        |down: usize| request(&indirect(), &["SRV=app1; SRV=app2"], |server| server != down).0.server;
    assert_eq!([server(9), server(0), server(1)], [Some(0), Some(1), Some(0)]);
    // All are down: the one that it had first.
    assert_eq!(request(&indirect(), &["SRV=app2; SRV=app1"], |_| false).0.server, Some(1));
}

#[test]
fn prefix_is_taken_away_and_only_a_prefix() {
    let table: &[(&str, Option<usize>, &str)] = &[
        ("SRV=app1~abc", Some(0), "SRV=abc"),
        ("A=1; SRV=app2~a~b; B=2", Some(1), "A=1; SRV=a~b; B=2"),
        ("SRV=app1~", Some(0), "SRV="),
        ("SRV=app1~\"a;b\"", Some(0), "SRV=\"a; b\""),
        // A server that is gone: the application's part is still its own.
        ("SRV=gone~abc", None, "SRV=abc"),
        ("SRV=app1", None, "SRV=app1"),
        ("SRV=app1|x", None, "SRV=app1|x"),
        ("XSRV=app1~abc", None, "XSRV=app1~abc"),
    ];
    for (line, server, expected) in table {
        let (persisted, seen) = request(&cookie(CookieMode::Prefix), &[line], |_| true);
        assert_eq!((persisted.server, seen), (*server, vec![(*expected).to_owned()]), "{line}");
    }
}

#[test]
fn cookie_is_inserted_unless_the_client_has_it() {
    let none = Persisted::default();
    let insert = |persisted: &Persisted| response(&indirect(), Method::Get, persisted, 1, &["X: 1"]);
    assert_eq!(insert(&none), ["X: 1", "Set-Cookie: SRV=app2; path=/"]);
    assert_eq!(insert(&persisted(0)), ["X: 1", "Set-Cookie: SRV=app2; path=/"]);
    assert_eq!(insert(&persisted(1)), ["X: 1"]);
    assert_eq!(insert(&CookiePolicy::ignored()), ["X: 1"]);
}

#[test]
fn inserted_cookie_has_the_attributes_of_the_configuration() {
    let all = Cookie {
        domain: Some(".example.com".into()),
        httponly: true,
        secure: true,
        same_site: Some(SameSite::None),
        ..indirect()
    };
    assert_eq!(
        response(&all, Method::Get, &Persisted::default(), 0, &[]),
        ["Set-Cookie: SRV=app1; path=/; domain=.example.com; HttpOnly; Secure; SameSite=None"]
    );
    for (same_site, text) in [(SameSite::Strict, "Strict"), (SameSite::Lax, "Lax")] {
        let cookie = Cookie { same_site: Some(same_site), ..indirect() };
        let lines = response(&cookie, Method::Get, &Persisted::default(), 0, &[]);
        assert_eq!(lines, [format!("Set-Cookie: SRV=app1; path=/; SameSite={text}")]);
    }
}

#[test]
fn postonly_sets_it_in_answers_to_post_alone() {
    let cookie = Cookie { postonly: true, ..indirect() };
    let lines = |method| response(&cookie, method, &Persisted::default(), 0, &[]).len();
    assert_eq!([Method::Post, Method::Get, Method::Head, Method::Put].map(lines), [1, 0, 0, 0]);
}

#[test]
fn server_without_a_value_takes_the_cookie_away_from_who_has_one() {
    let (had, _) = request(&indirect(), &["SRV=app1"], |_| true);
    assert_eq!(
        response(&indirect(), Method::Get, &had, 2, &[]),
        ["Set-Cookie: SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/"]
    );
    let (unknown, _) = request(&indirect(), &["SRV=nonsense"], |_| true);
    assert_eq!(response(&indirect(), Method::Get, &unknown, 2, &[]).len(), 1);
    assert!(response(&indirect(), Method::Get, &Persisted::default(), 2, &[]).is_empty());
}

#[test]
fn cookie_that_the_server_sets_itself() {
    let set = "Set-Cookie: SRV=own; HttpOnly";
    let others = ["Set-Cookie: XSRV=1", "Set-Cookie: A=SRV=1", "Set-Cookie: srv=1"];
    let (none, direct) = (Persisted::default(), persisted(0));
    let lines = |cookie: &Cookie, persisted: &Persisted| {
        let lines = [others[0], set, others[1], others[2]];
        let mut lines = response(cookie, Method::Get, persisted, 0, &lines);
        lines.retain(|line| !others.contains(&line.as_str()));
        lines
    };
    let ours = "Set-Cookie: SRV=app1; path=/";
    let preserve = |cookie: Cookie| Cookie { preserve: true, ..cookie };
    let insert = || cookie(CookieMode::Insert);
    let rewrite = || cookie(CookieMode::Rewrite);
    let prefix = || cookie(CookieMode::Prefix);
    let passive = || cookie(CookieMode::Passive);
    let table: Vec<(Cookie, &Persisted, Option<&str>)> = vec![
        (insert(), &none, Some(ours)),
        (insert(), &direct, None),
        (preserve(insert()), &none, Some(set)),
        (preserve(insert()), &direct, Some(set)),
        (rewrite(), &none, Some("Set-Cookie: SRV=app1; HttpOnly")),
        (rewrite(), &direct, Some("Set-Cookie: SRV=app1; HttpOnly")),
        (prefix(), &none, Some("Set-Cookie: SRV=app1~own; HttpOnly")),
        (prefix(), &direct, Some("Set-Cookie: SRV=app1~own; HttpOnly")),
        (Cookie { indirect: true, ..prefix() }, &none, Some("Set-Cookie: SRV=app1~own; HttpOnly")),
        (Cookie { indirect: true, ..prefix() }, &direct, None),
        (preserve(Cookie { indirect: true, ..prefix() }), &direct, Some(set)),
        (passive(), &none, Some(set)),
        (passive(), &direct, Some(set)),
        (Cookie { indirect: true, ..passive() }, &direct, None),
    ];
    for (cookie, persisted, expected) in table {
        assert_eq!(lines(&cookie, persisted), Vec::from_iter(expected), "{cookie:?} {persisted:?}");
    }
}

#[test]
fn value_is_replaced_wherever_it_stands_in_the_line() {
    let set = |mode, line: &str| {
        let line = format!("Set-Cookie: {line}");
        response(&cookie(mode), Method::Get, &Persisted::default(), 1, &[&line])[0]["Set-Cookie: ".len()..]
            .to_owned()
    };
    let table = [
        ("SRV=x", "SRV=app2", "SRV=app2~x"),
        ("SRV=", "SRV=app2", "SRV=app2~"),
        ("SRV = x ; Path=/a", "SRV = app2 ; Path=/a", "SRV = app2~x ; Path=/a"),
        ("SRV=;Path=/", "SRV=app2;Path=/", "SRV=app2~;Path=/"),
        (
            "SRV=\"x\"; Expires=Thu, 01-Jan-1970 00:00:01 GMT",
            "SRV=app2; Expires=Thu, 01-Jan-1970 00:00:01 GMT",
            "SRV=app2~\"x\"; Expires=Thu, 01-Jan-1970 00:00:01 GMT",
        ),
        ("SRVx=1; SRV=2", "SRVx=1; SRV=2", "SRVx=1; SRV=2"),
        ("SRV", "SRV", "SRV"),
    ];
    for (line, rewritten, prefixed) in table {
        assert_eq!(set(CookieMode::Rewrite, line), rewritten);
        assert_eq!(set(CookieMode::Prefix, line), prefixed);
    }
    // A server without a value of its own is left alone.
    let lines =
        response(&cookie(CookieMode::Rewrite), Method::Get, &Persisted::default(), 2, &["Set-Cookie: SRV=x"]);
    assert_eq!(lines, ["Set-Cookie: SRV=x"]);
}

#[test]
fn nocache_keeps_what_sets_the_cookie_out_of_caches() {
    let cookie = Cookie { nocache: true, ..indirect() };
    let adds = |lines: &[&str]| {
        let lines = response(&cookie, Method::Get, &Persisted::default(), 0, lines);
        lines.iter().any(|line| line == "Cache-Control: private")
    };
    for lines in [
        &[][..],
        &["ETag: \"1\""],
        &["Cache-Control: public, max-age=60"],
        &["Cache-Control: no-cache=\"Set-Cookie\""],
        &["Cache-Control: max-age=01"],
        &["Cache-Control: max-age=0, s-maxage=600"],
        &["Cache-Control: S-MaxAge=600", "Cache-Control: max-age=0"],
        &["Cache-Control: s-maxage=0, s-maxage=600"],
    ] {
        assert!(adds(lines), "{lines:?}");
    }
    for lines in [
        &["Cache-Control: no-store"][..],
        &["Cache-Control: max-age=60, Private"],
        &["Cache-Control: max-age=60", "cache-control: no-cache"],
        &["Cache-Control: max-age=0"],
        &["Cache-Control: max-age=600, s-maxage=0"],
    ] {
        assert!(!adds(lines), "{lines:?}");
    }
    let had = persisted(0);
    assert!(response(&cookie, Method::Get, &had, 0, &[]).is_empty(), "nothing is set, nothing is said");
}

#[test]
fn moments_are_haproxys() {
    assert_eq!(date::encode(4_000_000), *b"AD0JA");
    assert_eq!(date::encode(3_999_997), *b"AD0JA");
    assert_eq!(date::decode(b"AD0JA"), Some(4_000_000));
    assert_eq!(date::encode((1 << 32) - 4), *b"/////");
    assert_eq!(date::decode(b"/////"), Some((1 << 32) - 4));
    for wrong in [&b""[..], b"AD0J", b"AD0JAA", b"AD0J-", b"AAAAA"] {
        assert_eq!(date::decode(wrong), None);
    }
}

#[test]
fn cookie_is_ignored_once_it_is_idle_or_lives_too_long() {
    let hour = Some(Duration::from_secs(3600));
    let moment = |ago: i64| String::from_utf8(date::encode((4_000_000 - ago) as u64).to_vec()).unwrap();
    let server =
        |cookie: &Cookie, value: &str| request(cookie, &[&format!("SRV=app1{value}")], |_| true).0.server;
    let idle = Cookie { maxidle: hour, ..indirect() };
    assert_eq!(server(&idle, &format!("|{}", moment(3600))), Some(0));
    assert_eq!(server(&idle, &format!("|{}", moment(3604))), None);
    assert_eq!(server(&idle, &format!("|{}", moment(-86_400))), Some(0));
    assert_eq!(server(&idle, &format!("|{}", moment(-86_404))), None);
    assert_eq!(server(&idle, ""), Some(0), "one without a date is taken");
    let life = Cookie { maxlife: hour, ..indirect() };
    assert_eq!(server(&life, &format!("|{}|{}", moment(9000), moment(3600))), Some(0));
    assert_eq!(server(&life, &format!("|{}|{}", moment(0), moment(3604))), None);
}

/// Its clients keep their servers, and a cookie of the hour that is to come lives that much longer at most.
#[test]
fn clock_that_jumps_by_an_hour_either_way_costs_no_client_its_server() {
    let day = Some(Duration::from_secs(86_400));
    let cookie = Cookie { maxidle: day, maxlife: day, ..indirect() };
    for jump in [-3600_i64, 3600] {
        let moment = String::from_utf8(date::encode((4_000_000 - jump) as u64).to_vec()).unwrap();
        let value = format!("SRV=app1|{moment}|{moment}");
        let (persisted, _) = request(&cookie, &[&value], |_| true);
        assert_eq!(persisted.server, Some(0), "{jump}");
        let set = response(&cookie, Method::Get, &persisted, 0, &[]);
        assert_eq!(set.is_empty(), jump < 0, "a date is renewed when it is older than now: {set:?}");
    }
}

#[test]
fn dates_are_given_and_renewed() {
    let hour = Some(Duration::from_secs(3600));
    let idle = Cookie { maxidle: hour, ..indirect() };
    let both = Cookie { maxidle: hour, maxlife: hour, ..indirect() };
    let new = |cookie: &Cookie| response(cookie, Method::Get, &Persisted::default(), 0, &[]);
    assert_eq!(new(&idle), ["Set-Cookie: SRV=app1|AD0JA; path=/"]);
    assert_eq!(new(&both), ["Set-Cookie: SRV=app1|AD0JA|AD0JA; path=/"]);
    // Renewed when it is older than now; the first moment stays.
    assert!(renewed(&idle, "app1|AD0JA").is_empty());
    assert_eq!(renewed(&idle, "app1|AD0I/"), ["Set-Cookie: SRV=app1|AD0JA; path=/"]);
    assert_eq!(renewed(&both, "app1|AD0I/|AD0I+"), ["Set-Cookie: SRV=app1|AD0JA|AD0I+; path=/"]);
    assert!(renewed(&both, "app1|AD0JA|AD0I+").is_empty());
    // Dates come and go with the configuration.
    assert_eq!(renewed(&idle, "app1"), ["Set-Cookie: SRV=app1|AD0JA; path=/"]);
    assert_eq!(renewed(&both, "app1|AD0JA"), ["Set-Cookie: SRV=app1|AD0JA|AD0JA; path=/"]);
    assert_eq!(renewed(&indirect(), "app1|AD0I/|AD0I+"), ["Set-Cookie: SRV=app1; path=/"]);
    assert!(renewed(&indirect(), "app1").is_empty());
    // A client that moves keeps the moment of its first one.
    let (persisted, _) = request(&both, &["SRV=app2|AD0I/|AD0I+"], |_| false);
    assert_eq!(
        response(&both, Method::Get, &persisted, 0, &[]),
        ["Set-Cookie: SRV=app1|AD0JA|AD0I+; path=/"]
    );
}

proptest! {
    #[test]
    fn other_cookies_survive_whatever_surrounds_them(
        before in "[A-Za-z]{1,3}=[ -:<-~]{0,12}",
        ours in "(app1|app2|gone|x;y|\"|)",
        after in "[a-z]{1,3}=[!#-:<-~]{0,12}",
    ) {
        prop_assume!(!before.starts_with("SRV=") && !before.contains('"'));
        let line = format!("{before}; SRV={ours}; {after}");
        let (_, seen) = request(&indirect(), &[&line], |_| true);
        let seen = seen.concat();
        prop_assert!(seen.contains(before.trim()), "{line} -> {seen}");
        prop_assert!(seen.ends_with(&after), "{line} -> {seen}");
        prop_assert!(!crumbs(seen.as_bytes()).any(|crumb| crumb.name == b"SRV"));
    }

    #[test]
    fn no_line_makes_it_panic_or_leaves_the_cookie_in(line in "[SRVab12 =;\"\\\\$|~,\t]{0,40}") {
        let line = line.trim();
        for cookie in [indirect(), cookie(CookieMode::Prefix)] {
            let (_, seen) = request(&cookie, &[line], |_| true);
            if cookie.indirect {
                let left = seen.iter().flat_map(|line| crumbs(line.as_bytes()));
                prop_assert!(!left.into_iter().any(|crumb| crumb.value_of(b"SRV").is_some()), "{line} -> {seen:?}");
            }
        }
    }
}
