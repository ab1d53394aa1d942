use super::{Step::*, *};
use crate::config::{HttpCheck, HttpExpect, HttpVersion, Pattern, SequenceStep, SmtpGreeting};

const ADDRESS: &str = "192.0.2.21:80";

/// Plays a whole talk with a server that says `answers` in turn, each to what it was told, and then ends. Returns what
/// it was told, the word and what is said of it.
fn play(kind: &CheckKind, answers: &[&[u8]]) -> (Vec<Vec<u8>>, String) {
    let (told, outcome) = end(kind, answers);
    (told, format!("{} {}", outcome.code.word(), outcome.what).trim().to_owned())
}

/// The same in HAProxy's words: `L7STS 421 busy`.
fn in_haproxys_words(kind: &CheckKind, answers: &[&[u8]]) -> String {
    let (_, outcome) = end(kind, answers);
    let status =
        if outcome.code.has_status() { outcome.status.unwrap_or(0).to_string() } else { String::new() };
    format!("{} {status} {}", outcome.code.word(), outcome.info)
}

fn end(kind: &CheckKind, answers: &[&[u8]]) -> (Vec<Vec<u8>>, Outcome) {
    let mut talk = Talk::new(kind, ADDRESS.parse().unwrap());
    let (mut inbox, mut told, mut answers) = (Inbox::default(), Vec::new(), answers.iter());
    loop {
        match talk.step(&mut inbox) {
            Say(bytes) => told.push(bytes),
            Listen => {
                assert!(!inbox.ended, "listens to who has gone");
                match answers.next() {
                    Some(answer) => inbox.bytes.extend_from_slice(answer),
                    None => inbox.ended = true,
                }
            }
            End(outcome, farewell) => {
                if !farewell.is_empty() {
                    told.push(farewell.to_vec());
                }
                return (told, outcome);
            }
        }
    }
}

/// The same outcome however the bytes are cut.
fn verdict(kind: &CheckKind, answer: &[u8]) -> String {
    let (_, whole) = play(kind, &[answer]);
    let bytes: Vec<&[u8]> = answer.chunks(1).collect();
    let (_, cut) = play(kind, &bytes);
    assert_eq!(whole, cut, "{}", answer.escape_ascii());
    whole
}

fn http(change: impl FnOnce(&mut HttpCheck)) -> CheckKind {
    let mut check = HttpCheck::new("GET", "/health");
    change(&mut check);
    CheckKind::Http(Box::new(check))
}

fn content(text: &str) -> HttpExpect {
    HttpExpect { status: Vec::new(), content: Some(Pattern::Bytes(text.into())) }
}

#[test]
fn http_asks_what_the_file_says() {
    let (told, _) = play(&http(|_| {}), &[b"HTTP/1.1 200 OK\r\n\r\n"]);
    assert_eq!(
        told[0].escape_ascii().to_string(),
        "GET /health HTTP/1.1\\r\\nHost: 192.0.2.21:80\\r\\nUser-Agent: lbctl\\r\\nAccept: */*\\r\\nConnection: close\\r\\n\\r\\n"
    );
    let kind = http(|check| {
        check.method = "POST".into();
        check.version = HttpVersion::Http10;
        check.host = Some("example.com".into());
        check.headers = vec![("accept".into(), "text/plain".into()), ("X-Check".into(), "1".into())];
        check.body = Some("ping".into());
    });
    let (told, _) = play(&kind, &[b"HTTP/1.0 200 OK\r\n\r\n"]);
    assert_eq!(
        told[0].escape_ascii().to_string(),
        "POST /health HTTP/1.0\\r\\nHost: example.com\\r\\nUser-Agent: lbctl\\r\\naccept: text/plain\\r\\nX-Check: 1\\r\\n\
         Content-Length: 4\\r\\nConnection: close\\r\\n\\r\\nping"
    );
}

#[test]
fn http_status_decides() {
    let expected = |range| http(|check| check.expect.status = vec![range]);
    for (kind, answer, outcome) in [
        (http(|_| {}), &b"HTTP/1.1 200 OK\r\n\r\n"[..], "L7OK 200"),
        (http(|_| {}), b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", "L7OK 302"),
        (http(|_| {}), b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "L7OK 204"),
        (http(|_| {}), b"HTTP/1.1 404 Not Found\r\n\r\n", "L7STS 404 on GET /health"),
        (http(|_| {}), b"HTTP/1.1 503\r\n\r\n", "L7STS 503 on GET /health"),
        (expected(401..=401), b"HTTP/1.1 401 X\r\n\r\n", "L7OK 401"),
        (expected(401..=401), b"HTTP/1.1 200 OK\r\n\r\n", "L7STS 200 on GET /health"),
        (
            http(|check| check.refuse.status = vec![302..=302]),
            b"HTTP/1.1 302 Found\r\n\r\n",
            "L7STS 302 on GET /health",
        ),
    ] {
        assert_eq!(verdict(&kind, answer), outcome, "{}", answer.escape_ascii());
    }
}

#[test]
fn http_answers_are_read_strictly() {
    for (answer, outcome) in [
        (&b""[..], "L7RSP connection closed without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "L7RSP answer ends too early"),
        (b"220 mail ESMTP\r\n\r\n", "L7RSP the answer is not HTTP"),
        (b"HTTP/1.1 2000\r\n\r\n", "L7RSP"),
        (b"HTTP/1.1 20\r\n\r\n", "L7RSP"),
        (b"HTTP/1.1 +20 x\r\n\r\n", "L7RSP"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "L7RSP"),
        (b"HTTP/1.1 200 OK\nX: y\n\n", "L7RSP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "L7RSP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "L7RSP"),
    ] {
        let found = verdict(&http(|_| {}), answer);
        assert!(found.starts_with(outcome), "{}: {found}", answer.escape_ascii());
    }
}

#[test]
fn http_content_is_searched_in_every_framing() {
    let kind = http(|check| check.expect = content("all is well"));
    for (answer, outcome) in [
        (&b"HTTP/1.0 200 OK\r\n\r\nhere all is well"[..], "L7OK 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well", "L7OK 200"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n5\r\n well\r\n0\r\n\r\n",
            "L7OK 200",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nall is well",
            "L7RSP 200 without the expected content on GET /health",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nall", "L7RSP content ends too early"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 11\r\n\r\nall is well", "L7STS 500 on GET /health"),
    ] {
        assert_eq!(verdict(&kind, answer), outcome, "{}", answer.escape_ascii());
    }
    let kind = http(|check| {
        check.refuse = HttpExpect {
            status: Vec::new(),
            content: Some(Pattern::Regex(crate::expression::builder("(?i)maintenance").build().unwrap())),
        };
    });
    assert_eq!(verdict(&kind, b"HTTP/1.0 200 OK\r\n\r\nwelcome"), "L7OK 200");
    assert_eq!(
        verdict(&kind, b"HTTP/1.0 200 OK\r\n\r\nMAINTENANCE"),
        "L7RSP 200 with content that must not come on GET /health"
    );
}

#[test]
fn endless_http_content_ends_the_check_after_16_kb() {
    let kind = http(|check| check.expect = content("never said"));
    let filler = vec![b'x'; 4096];
    let mut answers = vec![&b"HTTP/1.0 200 OK\r\n\r\n"[..]];
    answers.extend(std::iter::repeat_n(&*filler, 1000));
    let mut talk = Talk::new(&kind, ADDRESS.parse().unwrap());
    let mut inbox = Inbox::default();
    assert!(matches!(talk.step(&mut inbox), Say(_)));
    let mut said = 0;
    for answer in answers {
        inbox.bytes.extend_from_slice(answer);
        said += answer.len();
        if let End(outcome, _) = talk.step(&mut inbox) {
            assert_eq!(outcome.what, "200 without the expected content on GET /health");
            assert!(said < 25_000, "{said}");
            return;
        }
    }
    panic!("it listens for ever");
}

fn mysql(user: Option<&str>) -> CheckKind {
    CheckKind::Mysql { user: user.map(str::to_owned) }
}

/// What MariaDB 10.11 of Debian 12 greets with.
const GREETING: &[u8] = b"\x47\0\0\0\x0a5.5.5-10.11.6-MariaDB\0\x07\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0ijklmnopqrst\0mysq";

#[test]
fn mysql_logs_in_without_a_password_and_says_goodbye() {
    let (told, outcome) = play(&mysql(Some("check")), &[GREETING, b"\x07\0\0\x02\0\0\0\x02\0\0\0"]);
    assert_eq!(outcome, "L7OK 5.5.5-10.11.6-MariaDB");
    // HandshakeResponse41: sequence 1, capabilities, 16 MiB, utf8, 23 zeros, the name, no password, its plugin.
    let mut login = b"\x3d\0\0\x01\x01\x82\x08\0\0\0\0\x01\x21".to_vec();
    login.extend_from_slice(&[0; 23]);
    login.extend_from_slice(b"check\0\0mysql_native_password\0");
    assert_eq!(told, [login, b"\x01\0\0\0\x01".to_vec()]);
}

#[test]
fn mysql_outcomes() {
    let refused = b"\x17\0\0\x02\xff\x15\x04#28000Access denied!";
    let too_many = b"\x10\0\0\0\xff\x10\x04Too many here";
    let switch: &[u8] = b"\x0a\0\0\x02\xfesha2\0abcd";
    let ok: &[u8] = b"\x07\0\0\x04\0\0\0\x02\0\0\0";
    for (user, answers, outcome) in [
        (None, &[GREETING][..], "L7OK 5.5.5-10.11.6-MariaDB"),
        (Some("check"), &[GREETING, refused], "L7STS 1045 Access denied!"),
        (Some("check"), &[too_many], "L7STS 1040 Too many here"),
        (Some("check"), &[GREETING, switch, ok], "L7OK 5.5.5-10.11.6-MariaDB"),
        (Some("check"), &[GREETING, switch, refused], "L7STS 1045 Access denied!"),
        (Some("check"), &[GREETING, switch, switch], "L7RSP the server asks for a password"),
        (Some("check"), &[GREETING], "L7RSP connection closed without an answer"),
        (None, &[&GREETING[..20]], "L7RSP answer ends too early"),
        (None, &[b"SSH-2.0-OpenSSH_9.2\r\n"], "L7RSP the answer is not MySQL"),
        (None, &[b"\0\0\0\0"], "L7RSP the answer is not MySQL"),
        (None, &[b"\x02\0\0\0\x09x"], "L7RSP the answer is not MySQL"),
        (None, &[b"\x02\0\0\0\x0ax"], "L7RSP the answer is not MySQL"),
    ] {
        let (_, found) = play(&mysql(user), answers);
        assert_eq!(found, outcome, "{answers:?}");
    }
    let (told, _) = play(&mysql(Some("check")), &[GREETING, switch, ok]);
    assert_eq!(told[1], b"\0\0\0\x03");
}

#[test]
fn smtp_outcomes() {
    let smtp = |greeting| CheckKind::Smtp { greeting, domain: "lb.example.com".into() };
    let (told, outcome) = play(
        &smtp(SmtpGreeting::Ehlo),
        &[b"220-mail\r\n220 ESMTP\r\n", b"250-mail\r\n250-SIZE 1000\r\n250 HELP\r\n", b"221 bye\r\n"],
    );
    assert_eq!(outcome, "L7OK 221");
    assert_eq!(told, [b"EHLO lb.example.com\r\n".to_vec(), b"QUIT\r\n".to_vec()]);
    let (told, _) = play(&smtp(SmtpGreeting::Helo), &[b"220 mail\r\n", b"250 hello\r\n", b"221 bye\r\n"]);
    assert_eq!(told[0], b"HELO lb.example.com\r\n");
    for (answers, outcome) in [
        (&[&b"554 go away\r\n"[..]][..], "L7STS 554 go away"),
        (&[b"220 mail\r\n", b"421 too busy\r\n"], "L7STS 421 too busy"),
        (&[b"HTTP/1.1 200 OK\r\n"], "L7RSP the answer is not SMTP"),
        (&[b"220mail\r\n"], "L7RSP the answer is not SMTP"),
        (&[b"22\r\n"], "L7RSP the answer is not SMTP"),
        (&[b"120 wait\r\n"], "L7STS 120 wait"),
        (&[b"220 mail\r\n"], "L7STS connection closed without an answer"),
        (&[b"220 mail\r\n", b"250 hello\r\n"], "L7STS connection closed without an answer"),
        (&[b"220-mail\r\n220"], "L7RSP answer ends too early"),
    ] {
        assert_eq!(play(&smtp(SmtpGreeting::Helo), answers).1, outcome, "{answers:?}");
    }
    let endless: Vec<&[u8]> = std::iter::repeat_n(&b"220-more\r\n"[..], 1000).collect();
    assert_eq!(play(&smtp(SmtpGreeting::Helo), &endless).1, "L7RSP the reply has no end");
}

#[test]
fn pgsql_outcomes() {
    let kind = CheckKind::Pgsql { user: "check".into() };
    let (told, outcome) = play(&kind, &[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"]);
    assert_eq!(outcome, "L7OK PostgreSQL server is ok");
    assert_eq!(told, [b"\0\0\0\x14\0\x03\0\0user\0check\0\0".to_vec(), b"X\0\0\0\x04".to_vec()]);
    for (answer, outcome) in [
        (&b"R\0\0\0\x08\0\0\0\0"[..], "L7OK PostgreSQL server is ok"),
        (b"E\0\0\0\x1dSFATAL\0C57P03\0Mstarting\0\0", "L7RSP starting"),
        (b"N\0\0\0\x08\0\0\0\0", "L7STS the answer is not PostgreSQL"),
        (b"R\0\0\0\x08\0\0\0\xff", "L7STS the answer is not PostgreSQL"),
        (b"HTTP/1.1 400 Bad Request\r\n", "L7STS the answer is not PostgreSQL"),
        (b"R\0\0\0\x08\0\0", "L7STS answer ends too early"),
    ] {
        assert_eq!(verdict(&kind, answer), outcome, "{}", answer.escape_ascii());
    }
}

#[test]
fn redis_outcomes() {
    let (told, outcome) = play(&CheckKind::Redis, &[b"+PONG\r\n"]);
    assert_eq!(
        (told[0].as_slice(), outcome.as_str()),
        (&b"*1\r\n$4\r\nPING\r\n"[..], "L7OK Redis server is ok")
    );
    for (answer, outcome) in [
        (&b"-NOAUTH Authentication required.\r\n"[..], "L7STS NOAUTH Authentication required."),
        (b"+PANG\r\n", "L7STS the answer is not Redis"),
        (b"+PONG", "L7STS answer ends too early"),
    ] {
        assert_eq!(verdict(&CheckKind::Redis, answer), outcome);
    }
    assert_eq!(verdict(&CheckKind::Redis, &[b'x'; 3000]), "L7STS the answer is not Redis");
}

#[test]
fn sequences_go_step_by_step() {
    let bytes = |text: &[u8]| Pattern::Bytes(text.to_vec());
    let kind = CheckKind::Sequence(vec![
        SequenceStep::Expect(bytes(b"+OK")),
        SequenceStep::Send(b"CAPA\r\n".to_vec()),
        SequenceStep::Expect(Pattern::Regex(
            crate::expression::builder("(?m)^(STLS|PIPELINING)\r$").build().unwrap(),
        )),
        SequenceStep::Send(vec![0, 0xff]),
        SequenceStep::Expect(bytes(&[0xff, 0])),
    ]);
    let capabilities: &[u8] = b"+OK\r\nTOP\r\nSTLS\r\nUIDL\r\n";
    let (told, outcome) = play(&kind, &[b"+OK ready\r\n", capabilities, &[1, 0xff, 0]]);
    assert_eq!((told.len(), told[1].as_slice(), outcome.as_str()), (2, &[0, 0xff][..], "L7OK"));
    for (answers, outcome) in [
        (&[&b"-ERR\r\n"[..]][..], "L7RSP the answer does not match at step 1"),
        (&[], "L7RSP connection closed without an answer at step 1"),
        (&[b"+OK\r\n", b"TOP\r\n"], "L7RSP the answer does not match at step 3"),
    ] {
        assert_eq!(play(&kind, answers).1, outcome, "{answers:?}");
    }
    let endless: Vec<&[u8]> = std::iter::repeat_n(&[b'x'; 1024][..], 100).collect();
    assert_eq!(play(&kind, &endless).1, "L7RSP the answer does not match at step 1");
    assert_eq!(play(&CheckKind::Sequence(Vec::new()), &[]).1, "L4OK");
    assert_eq!(play(&CheckKind::Sequence(vec![SequenceStep::Connect]), &[]).1, "L4OK");
}

#[test]
fn what_must_not_come_is_waited_for_until_the_server_ends() {
    let bytes = |text: &[u8]| Pattern::Bytes(text.to_vec());
    let kind = CheckKind::Sequence(vec![
        SequenceStep::Refuse(bytes(b"ERR")),
        SequenceStep::Expect(bytes(b"OK")),
        SequenceStep::Expect(bytes(b"ready")),
    ]);
    for (answers, outcome) in [
        (&[&b"ready and OK"[..]][..], "L7OK"),
        (&[b"ready", b" and OK", b"ERR"], "L7RSP the answer has what must not be in it at step 1"),
        (&[b"ready"], "L7RSP the answer does not match at step 2"),
        (&[], "L7RSP connection closed without an answer at step 1"),
    ] {
        assert_eq!(play(&kind, answers).1, outcome, "{answers:?}");
    }
}

/// Each kind of check and each way to fail as HAProxy 2.6 tells it: the table of `proxy/tests/differential/checks.rs`, here without
/// sockets.
#[test]
fn outcomes_are_told_in_the_words_of_haproxy() {
    let status = http(|_| {});
    let wanted = http(|check| check.expect = content("well"));
    let unwanted = http(|check| check.refuse = content("BAD"));
    let (greeting, user) = (mysql(None), mysql(Some("u")));
    let denied = b"\x17\0\0\x02\xff\x15\x04#28000Access denied!";
    let smtp = CheckKind::Smtp { greeting: SmtpGreeting::Helo, domain: "localhost".into() };
    let pgsql = CheckKind::Pgsql { user: "u".into() };
    let text = CheckKind::Sequence(vec![
        SequenceStep::Connect,
        SequenceStep::Send(b"PING\r\n".to_vec()),
        SequenceStep::Expect(Pattern::Bytes(b"PONG".to_vec())),
        SequenceStep::Refuse(Pattern::Binary(b"BAD".to_vec())),
    ]);
    let table: &[(&CheckKind, &[&[u8]], &str)] = &[
        (&status, &[b"HTTP/1.1 200 OK\r\n\r\n"], "L7OK 200 "),
        (&status, &[b"HTTP/1.1 404 Not \"here\"\r\n\r\n"], "L7STS 404 Not \"here\""),
        (&status, &[b"HTTP/1.1 503\r\n\r\n"], "L7STS 503 "),
        (&status, &[b"nonsense"], "L7RSP  "),
        (&status, &[], "L7RSP  "),
        (&wanted, &[b"HTTP/1.0 200 OK\r\n\r\nill"], "L7RSP  HTTP content check did not match"),
        (&wanted, &[b"HTTP/1.0 200 OK\r\n\r\n"], "L7RSP  HTTP content check could not find a response body"),
        (
            &wanted,
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nill"],
            "L7RSP  HTTP content check did not match",
        ),
        (&unwanted, &[b"HTTP/1.0 200 OK\r\n\r\nBAD"], "L7RSP  HTTP check matched unwanted content"),
        (
            &unwanted,
            &[b"HTTP/1.0 200 OK\r\n\r\n"],
            "L7RSP  HTTP content check could not find a response body",
        ),
        (&greeting, &[GREETING], "L7OK 0 5.5.5-10.11.6-MariaDB"),
        (&greeting, &[b"\x10\0\0\0\xff\x10\x04Too many here"], "L7STS 1040 Too many here"),
        (&greeting, &[], "L7RSP  TCPCHK got an empty response at step 2"),
        (&greeting, &[&GREETING[..9]], "L7RSP  "),
        (&user, &[GREETING, denied], "L7STS 1045 #28000Access denied!"),
        (&user, &[], "L7RSP  TCPCHK got an empty response at step 3"),
        (&user, &[GREETING], "L7RSP  "),
        (&smtp, &[b"220 mx\r\n", b"250 mx\r\n", b"221 bye bye\r\n"], "L7OK 221 bye bye"),
        (&smtp, &[b"421 busy\r\n"], "L7STS 421 busy"),
        (&smtp, &[b"220 mx\r\n", b"502 what?\r\n"], "L7STS 502 what?"),
        (&smtp, &[b"garbage\r\n"], "L7RSP  garbage"),
        (&smtp, &[b"O"], "L7RSP  O"),
        (&smtp, &[], "L7RSP  TCPCHK got an empty response at step 2"),
        (&smtp, &[b"220 mx\r\n"], "L7STS 0 TCPCHK got an empty response at step 5"),
        (&smtp, &[b"220 mx\r\n", b"250 mx\r\n"], "L7STS 0 TCPCHK got an empty response at step 7"),
        (&pgsql, &[b"R\0\0\0\x08\0\0\0\x05"], "L7OK 0 PostgreSQL server is ok"),
        (&pgsql, &[b"E\0\0\0\x1dSFATAL\0C57P03\0Mstarting\0\0"], "L7RSP  FATAL"),
        (&pgsql, &[b"garbage\r\n"], "L7STS 0 PostgreSQL unknown error"),
        (&pgsql, &[], "L7RSP  TCPCHK got an empty response at step 3"),
        (&CheckKind::Redis, &[b"+PONG\r\n"], "L7OK 0 Redis server is ok"),
        (
            &CheckKind::Redis,
            &[b"-NOAUTH Authentication required.\r\n"],
            "L7STS 0 -NOAUTH Authentication required.",
        ),
        (&CheckKind::Redis, &[b"O"], "L7STS 0 O"),
        (&CheckKind::Redis, &[], "L7STS 0 TCPCHK got an empty response at step 2"),
        (&text, &[b"PONG\r\n"], "L7OK 0 (tcp-check)"),
        (&text, &[b"PANG\r\n"], "L7RSP  TCPCHK did not match content 'PONG' at step 3"),
        (&text, &[b"PONG BAD\r\n"], "L7RSP  TCPCHK matched unwanted content (binary) at step 4"),
        (&text, &[], "L7RSP  TCPCHK got an empty response at step 3"),
    ];
    for (kind, answers, expected) in table {
        assert_eq!(in_haproxys_words(kind, answers), *expected, "{kind:?} {answers:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_talk_panic_or_pass_by_chance(answer in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        for kind in [http(|check| check.expect = content("x")), mysql(Some("u")), CheckKind::Redis,
            CheckKind::Pgsql { user: "u".into() },
            CheckKind::Smtp { greeting: SmtpGreeting::Helo, domain: "d".into() }] {
            let (_, outcome) = play(&kind, &[&answer]);
            proptest::prop_assert!(outcome.starts_with("L7RSP") || outcome.starts_with("L7STS"), "{}", outcome);
        }
    }
}
