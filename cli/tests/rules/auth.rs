//! Rules that ask for a name and a password.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use crate::rig::{Rig, field, status};

const HOST: &str = "Host: www.example.com\r\n";

/// anna and bob have the password `pw`, carl has `pä:w`; none takes long.
const USERS: &str = "[users.staff]\n\
    user.anna = \"$6$rounds=1000$saltsalt$nII71HJmawaDYdXrUHYtoWV/pe6ZN/eQzrZXdKjhrcMU0onLRg6A5m38udZu.lA6f53rIQturF4FMx1X99KF/0\"\n\
    user.bob = \"$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW\"\n\
    group.admins = [\"anna\"]\n\
    group.everybody = [\"anna\", \"bob\"]\n";

/// The field line for a name and a password.
fn basic(user: &str, password: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut line = "Authorization: Basic ".to_owned();
    for group in format!("{user}:{password}").as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(*group.get(at).unwrap_or(&0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=3 {
            let digit = char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]);
            line.push(if at <= group.len() { digit } else { '=' });
        }
    }
    line + "\r\n"
}

fn rig(rules: &str) -> Rig {
    Rig::new(&format!("rules = [{rules}]"), "", USERS)
}

#[test]
fn who_has_no_good_password_is_asked_for_one() {
    let rig = rig(
        r#"{ when = { path_prefix = "/admin" }, require_auth = { users = "staff", realm = 'The "admin" \' } }"#,
    );
    let challenge = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 92\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n\
        WWW-Authenticate: Basic realm=\"The \\\"admin\\\" \\\\\", charset=\"UTF-8\"\r\nConnection: close\r\n\r\n";
    let refused = [
        String::new(),
        basic("anna", "PW"),
        basic("anna", ""),
        basic("nobody", "pw"),
        basic("", "pw"),
        basic("anna", "pw").replace("Basic", "Bearer"),
        format!("{}{}", basic("anna", "pw"), basic("anna", "pw")),
        "Authorization: Basic !!!\r\n".to_owned(),
        basic("anna", &"x".repeat(5000)),
    ];
    for credentials in &refused {
        let answer = rig.get("//admin/x", &format!("{HOST}{credentials}"));
        assert!(answer.starts_with(challenge), "{credentials}: {answer}");
        // The same a second time, when it is known.
        assert_eq!(rig.get("/admin", &format!("{HOST}{credentials}")), answer);
    }
    assert!(rig.taken().is_empty());
    assert_eq!(rig.counter("unauthorized_total"), 2 * refused.len() as u64);
    assert_eq!(status(&rig.get("/", HOST)), 200);
    for user in ["anna", "bob"] {
        rig.taken();
        assert_eq!(status(&rig.get("/admin", &format!("{HOST}{}", basic(user, "pw")))), 200, "{user}");
        assert!(rig.taken()[0].1.contains(basic(user, "pw").trim()), "a server gets the credentials, too");
    }
}

#[test]
fn a_page_of_ones_own_has_the_challenge_and_head_has_no_content() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("401.html");
    std::fs::write(&page, "log in").unwrap();
    let frontend = format!(
        "error_page = {{ 401 = {:?} }}\nrules = [{{ require_auth = \"staff\" }}]",
        page.display().to_string()
    );
    let rig = Rig::new(&frontend, "", USERS);
    let head = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n\
        WWW-Authenticate: Basic realm=\"staff\", charset=\"UTF-8\"\r\nConnection: close\r\n\r\n";
    assert_eq!(rig.get("/", HOST), format!("{head}log in"));
    assert_eq!(rig.send(&format!("HEAD / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n")), head);
}

#[test]
fn groups_decide_who_of_a_list_passes() {
    let rig = rig(
        r#"{ when = { path = "/admin" }, require_auth = { users = "staff", groups = ["admins"] } },
           { when = { path = "/all" }, require_auth = { users = "staff", groups = ["everybody", "admins"] } }"#,
    );
    for (user, target, expected) in
        [("anna", "/admin", 200), ("bob", "/admin", 401), ("anna", "/all", 200), ("bob", "/all", 200)]
    {
        let answer = rig.get(target, &format!("{HOST}{}", basic(user, "pw")));
        assert_eq!(status(&answer), expected, "{user} {target}");
    }
}

#[test]
fn the_name_is_known_to_later_rules_and_nobody_can_claim_it() {
    let rig = Rig::new(
        r#"rules = [
            { set_header = { "X-Before" = "{request.user}" } },
            { when = { path_prefix = "/in" }, require_auth = "staff" },
            { set_header = { "X-User" = "{request.user}" } },
            { when = { path_prefix = "/in" }, delete_header = "Authorization" },
            { when = { value = { "{request.user}" = "bob" } }, backend = "other" },
            { when = { path = "/who" }, require_auth = "staff", respond = { body = "{request.user}" } }]"#,
        "",
        USERS,
    );
    let claim = "X-User: admin\r\nX-Before: admin\r\n";
    rig.get("/in", &format!("{HOST}{claim}{}", basic("anna", "pw")));
    let (server, head) = rig.taken().remove(0);
    assert_eq!((server, field(&head, "X-User"), field(&head, "X-Before")), ("app", Some("anna"), Some("")));
    assert_eq!(field(&head, "Authorization"), None);
    rig.get("/in", &format!("{HOST}{}", basic("bob", "pw")));
    assert_eq!(rig.taken().remove(0).0, "other");
    // Credentials that no rule asked for say nothing.
    rig.get("/", &format!("{HOST}{claim}{}", basic("anna", "pw")));
    assert_eq!(field(&rig.taken().remove(0).1, "X-User"), Some(""));
    assert!(rig.get("/who", &format!("{HOST}{}", basic("anna", "pw"))).ends_with("\r\n\r\nanna"));
}

#[test]
fn one_connection_serves_several_users_and_requests_sent_at_once() {
    let rig = rig(
        r#"{ require_auth = "staff" }, { set_var = { "session.n" = "{var.session.n}x" } }, { respond = { body = "{request.user} {var.session.n}\n" } }"#,
    );
    let mut client = rig.connect();
    let get = |user: &str, close: &str| format!("GET / HTTP/1.1\r\n{HOST}{}{close}\r\n", basic(user, "pw"));
    let close = "Connection: close\r\n";
    let requests =
        [get("anna", ""), get("bob", ""), get("eve", ""), get("anna", ""), get("bob", close)].concat();
    client.write_all(requests.as_bytes()).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    let contents: Vec<_> = answers.lines().filter(|line| line.ends_with('x')).collect();
    // Each once, though rules may run twice for a request.
    assert_eq!(contents, ["anna x", "bob xx", "anna xxx", "bob xxxx"], "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 401 ").count(), 1);
}

#[test]
fn what_a_rule_has_done_before_it_asks_is_done_once() {
    let rig = rig(
        r#"{ set_var = { "session.n" = "{var.session.n}x" } }, { set_path = "/a{request.path}" }, { add_header = { "X-N" = "{var.session.n}" } },
           { require_auth = "staff" }"#,
    );
    rig.get("/", &format!("{HOST}{}", basic("anna", "pw")));
    let (_, head) = rig.taken().remove(0);
    assert!(head.starts_with("GET /a/ HTTP/1.1\r\n"), "{head}");
    assert_eq!((field(&head, "X-N"), head.matches("X-N").count()), (Some("x"), 1));
}

#[test]
fn a_limit_counts_a_request_once_however_often_its_rules_run() {
    let rig = rig(
        r#"{ rate_limit = { by = "source", rate = "3/1h" } }, { require_auth = "staff" }, { rate_limit = { by = "{request.user}", rate = "1/1h" } }"#,
    );
    let ask = |user: &str, password: &str| status(&rig.get("/", &format!("{HOST}{}", basic(user, password))));
    assert_eq!([ask("anna", "pw"), ask("anna", "pw")], [200, 429]);
    assert_eq!([ask("bob", "pw"), ask("bob", "guess")], [200, 429]);
}

#[test]
fn a_limit_says_the_same_of_a_request_each_time_its_rules_run() {
    let rig = rig(
        r#"{ rate_limit = { by = "source", rate = "1/1h", set_var = "much" } }, { require_auth = "staff" }, { when = { value = { "{var.much}" = true } }, deny = 429 }"#,
    );
    let ask = |user: &str| status(&rig.get("/", &format!("{HOST}{}", basic(user, "pw"))));
    assert_eq!([ask("anna"), ask("bob"), ask("anna")], [200, 429, 429]);
}

#[test]
fn a_backend_asks_as_well_and_two_lists_are_two() {
    let guests = "[users.guests]\nuser.anna = \"$5$saltsalt$0rl.MZtoLLPP3X0Rdl8riRnphIcAXJY27/aOAyK2hB5\"\n\
        user.dora = \"$5$saltsalt$0rl.MZtoLLPP3X0Rdl8riRnphIcAXJY27/aOAyK2hB5\"\n";
    let rig = Rig::new(
        r#"rules = [{ when = { path = "/front" }, require_auth = "staff" }]"#,
        r#"rules = [{ when = { path = ["/front", "/back"] }, require_auth = "guests" }]"#,
        &format!("{USERS}{guests}"),
    );
    for (user, target, expected) in [
        ("anna", "/front", 200),
        ("bob", "/front", 401),
        ("dora", "/front", 401),
        ("dora", "/back", 200),
        ("bob", "/back", 401),
    ] {
        let answer = rig.get(target, &format!("{HOST}{}", basic(user, "pw")));
        assert_eq!(status(&answer), expected, "{user} {target}");
    }
}

#[test]
fn users_of_a_file_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("staff.htpasswd");
    std::fs::write(
        &file,
        "# staff\n\n carl:$5$saltsalt$0rl.MZtoLLPP3X0Rdl8riRnphIcAXJY27/aOAyK2hB5:a comment\n",
    )
    .unwrap();
    let users = format!("[users.staff]\nfile = {:?}\ngroup.one = \"carl\"\n", file.display().to_string());
    let rig = Rig::new(r#"rules = [{ require_auth = { users = "staff", groups = "one" } }]"#, "", &users);
    assert_eq!(status(&rig.get("/", &format!("{HOST}{}", basic("carl", "pw")))), 200);
    assert_eq!(status(&rig.get("/", &format!("{HOST}{}", basic("carl", "no")))), 401);
}

#[test]
fn a_client_that_leaves_while_its_password_is_checked_costs_nobody_anything() {
    // To check the whole line would take the test's time many times over.
    let slow = "[users.slow]\nuser.anna = \"$2b$09$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW\"\n\
        [users.fast]\nuser.anna = \"$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW\"\n";
    let rig = Rig::new(
        r#"rules = [{ when = { path = "/slow" }, require_auth = "slow" }, { when = { path = "/fast" }, require_auth = "fast" }]"#,
        "",
        slow,
    );
    let mut clients: Vec<_> = (0..100).map(|_| rig.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let credentials = basic("anna", &format!("guess {number}"));
        client.write_all(format!("GET /slow HTTP/1.1\r\n{HOST}{credentials}\r\n").as_bytes()).unwrap();
    }
    // Everybody else is served meanwhile.
    assert_eq!(status(&rig.get("/", HOST)), 200);
    drop(clients);
    assert_eq!(status(&rig.get("/fast", &format!("{HOST}{}", basic("anna", "pw")))), 200);
    assert_eq!(rig.counter("auth_busy_total"), 0);
}

#[test]
fn too_many_passwords_at_once_are_refused_and_traffic_goes_on() {
    let slow = "[users.slow]\nuser.anna = \"$2b$11$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW\"\n";
    let rig = Rig::new(r#"rules = [{ when = { path = "/slow" }, require_auth = "slow" }]"#, "", slow);
    let ask = |number: usize| {
        let mut client = rig.connect();
        let credentials = basic("anna", &format!("guess {number}"));
        client.write_all(format!("GET /slow HTTP/1.1\r\n{HOST}{credentials}\r\n").as_bytes()).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    };
    // 128 of one source are in line, and few have been checked.
    let mut waiting: Vec<_> = (0..160).map(ask).collect();
    let begun = Instant::now();
    let mut refused = 0;
    while refused < 4 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody is refused");
        for client in &mut waiting {
            let mut answer = [0; 1024];
            let Ok(length) = client.read(&mut answer) else { continue };
            let answer = String::from_utf8_lossy(&answer[..length]);
            if status(&answer) == 429 {
                assert_eq!(field(&answer, "Retry-After"), Some("1"), "{answer}");
                refused += 1;
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(rig.counter("auth_busy_total") >= refused);
    assert_eq!(status(&rig.get("/", HOST)), 200);
}

#[test]
fn rules_on_responses_know_who_asked() {
    let rig = Rig::new(
        r#"rules = [{ set_var = { "session.before" = "{request.path}" } }, { require_auth = "staff" }]
           response_rules = [{ set_header = { "X-User" = "{request.user} {var.session.before} {request.method}" } }]"#,
        "",
        USERS,
    );
    for (user, target) in [("anna", "/a"), ("bob", "/b"), ("anna", "/c")] {
        let answer = rig.get(target, &format!("{HOST}{}", basic(user, "pw")));
        assert_eq!(field(&answer, "X-User"), Some(format!("{user} {target} GET").as_str()), "{answer}");
    }
}

#[test]
fn a_password_can_be_a_condition_and_nobody_is_asked() {
    let rig = rig(r#"{ require_auth = { users = "staff", groups = ["admins"], set_var = "is_admin" } },
           { require_auth = { users = "staff", set_var = "is_staff" } },
           { when = { path_prefix = "/admin", value = { "{var.is_admin}" = false } }, deny = 403 },
           { when = { value = { "{var.is_staff}" = true } }, set_header = { "X-User" = "{request.user}" } }"#);
    for (target, credentials, expected, user) in [
        ("/", String::new(), 200, None),
        ("/admin", String::new(), 403, None),
        ("/admin", basic("anna", "pw"), 200, Some("anna")),
        ("/admin", basic("bob", "pw"), 403, None),
        ("/", basic("bob", "pw"), 200, Some("bob")),
        ("/", basic("bob", "wrong"), 200, None),
    ] {
        let answer = rig.get(target, &format!("{HOST}{credentials}"));
        assert_eq!(status(&answer), expected, "{target} {credentials}: {answer}");
        if expected == 200 {
            let head = rig.taken().remove(0).1;
            assert_eq!(field(&head, "X-User"), user, "{target} {credentials}: {head}");
        }
    }
}
